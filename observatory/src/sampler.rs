//! The sampler: one thread that looks at the runtime and numbers what it saw.
//!
//! It runs ten times a second while somebody watches and once a second otherwise. Between two looks
//! it sleeps on a condition variable, so a new viewer or the end wake it at once.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use openwork::snapshot::{ResidencySample, Snapshot, StealRecord, WorkerSnapshot};
use openwork::{Handle, memory, time};

use crate::budget::Budget;
use crate::finding::{self, EventsLost, Finding, LongTurns};
use crate::history::History;
use crate::lanes::{self, Lane, Reel, Running, STEALS_PER_SAMPLE};
use crate::process::{Process, ThreadClock};
use crate::profile::Symbols;
use crate::rate::per_second;
use crate::sample::{Extra, Sample, Watching};
use crate::timeline::{self, Timeline};
use crate::waiting::Walk;

/// Between two samples while somebody watches.
const WATCHED: Duration = Duration::from_millis(100);
/// Between two samples otherwise.
const UNWATCHED: Duration = Duration::from_secs(1);
/// Between two measurements of what changes slowly or costs more.
const SLOW_NS: u64 = 1_000_000_000;
/// Routines whose stacks are looked at for residency.
const RESIDENCY_ROUTINES: usize = 64;

/// Why the sampler could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system refuses a thread.
    #[error("cannot start the sampler's thread: {0}")]
    Thread(#[from] io::Error),
    /// The first sample did not come to be: `extra` panicked.
    #[error("the sampler ended before its first sample")]
    Ended,
}

/// A runtime's sampler and what it remembers. Cloning is cheap and names the same one; the thread
/// ends with the last clone or by [`Observatory::stop`].
#[derive(Clone)]
pub struct Observatory {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and all others share.
struct Shared {
    handle: Handle,
    boot: Arc<str>,
    symbols: Symbols,
    state: Mutex<State>,
    /// Signalled on every sample, on a change of viewers, and at the end.
    changed: Condvar,
    callbacks: Mutex<Vec<Callback>>,
    bytes_sent: AtomicU64,
    samples_skipped: AtomicU64,
}

type Callback = Box<dyn Fn(&Arc<Sample>) + Send + Sync>;

#[derive(Default)]
struct State {
    history: History,
    viewers: u64,
    stopped: bool,
}

impl Observatory {
    /// Starts the sampler of `handle`'s runtime and waits for its first sample.
    ///
    /// `extra` is called on the sampler's thread for each sample; it should take microseconds. If
    /// it panics, sampling ends.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread, or when the first call of `extra` panics.
    pub fn start(
        handle: Handle,
        extra: impl Fn() -> Extra + Send + Sync + 'static,
    ) -> Result<Observatory, StartError> {
        let shared = Arc::new(Shared {
            handle,
            boot: boot(),
            symbols: Symbols::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            callbacks: Mutex::default(),
            bytes_sent: AtomicU64::new(0),
            samples_skipped: AtomicU64::new(0),
        });
        let thread = thread::Builder::new()
            .name("observatory".to_owned())
            .spawn({
                let shared = shared.clone();
                move || shared.run(Box::new(extra))
            })?;
        let observatory = Observatory {
            inner: Arc::new(Inner {
                shared,
                thread: Mutex::new(Some(thread)),
            }),
        };
        let begun = observatory
            .shared()
            .wait(|state| state.history.latest().is_some() || state.stopped)
            .history
            .latest()
            .is_some();
        if !begun {
            return Err(StartError::Ended);
        }
        Ok(observatory)
    }

    /// Names this life of the process: samples of another boot have other numbers.
    pub fn boot(&self) -> &Arc<str> {
        &self.shared().boot
    }

    /// The runtime that is looked at.
    pub fn handle(&self) -> &Handle {
        &self.shared().handle
    }

    /// The symbols of this program, resolved so far. Shared, so that an address is looked up once.
    pub fn symbols(&self) -> &Symbols {
        &self.shared().symbols
    }

    /// The newest sample.
    pub fn latest(&self) -> Arc<Sample> {
        let state = self.shared().lock();
        state
            .history
            .latest()
            .expect("start waits for the first sample")
            .clone()
    }

    /// The newest sample once it is newer than number `n`; `None` when `timeout` passes before, or
    /// when the sampler has stopped.
    pub fn wait_newer(&self, n: u64, timeout: Duration) -> Option<Arc<Sample>> {
        let newer = |state: &State| state.history.latest().is_some_and(|sample| sample.n > n);
        let state = self
            .shared()
            .wait_timeout(timeout, |state| newer(state) || state.stopped);
        newer(&state)
            .then(|| state.history.latest().cloned())
            .flatten()
    }

    /// Has `callback` called with each sample from the next one on, on the sampler's thread: it
    /// should only pass the sample on. If it panics, sampling ends. A callback that holds a clone of
    /// the observatory keeps it from ending with its last other clone.
    pub fn on_sample(&self, callback: impl Fn(&Arc<Sample>) + Send + Sync + 'static) {
        unpoisoned(self.shared().callbacks.lock()).push(Box::new(callback));
    }

    /// All samples after number `n` with their lanes, oldest first. `None` when one of them is gone
    /// (60 s are kept at 10 Hz), or when `n` was never given out: then the reader begins anew.
    pub fn since(&self, n: u64) -> Option<Vec<Arc<Sample>>> {
        self.shared().lock().history.since(n)
    }

    /// The samples after number `n` at one a second, without lanes, oldest first; up to ten minutes.
    pub fn history(&self, n: u64) -> Vec<Arc<Sample>> {
        self.shared().lock().history.seconds_after(n)
    }

    /// Who ran where between two moments (nanoseconds since the process began), drawn for `px`
    /// columns, from what the runtime's rings still hold. Copies the rings: some milliseconds.
    pub fn timeline(&self, from_ns: u64, to_ns: u64, px: u32) -> Timeline {
        timeline::timeline(self.handle(), from_ns, to_ns, px)
    }

    /// Counts a viewer for as long as the guard lives; the first one makes the sampler go faster at
    /// once.
    pub fn viewer(&self) -> ViewerGuard {
        let shared = self.shared().clone();
        shared.lock().viewers += 1;
        shared.changed.notify_all();
        ViewerGuard { shared }
    }

    /// Reports bytes sent to viewers.
    pub fn add_bytes_sent(&self, bytes: u64) {
        self.shared().bytes_sent.fetch_add(bytes, Relaxed);
    }

    /// Reports samples that a viewer was too slow to get.
    pub fn add_samples_skipped(&self, samples: u64) {
        self.shared().samples_skipped.fetch_add(samples, Relaxed);
    }

    /// Ends the sampler and waits for its thread; what was sampled stays readable. Called on the
    /// sampler's own thread, by a callback, it does not wait.
    pub fn stop(&self) {
        self.inner.stop();
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}

impl fmt::Debug for Observatory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observatory")
            .field("boot", self.boot())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn stop(&self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        let thread = unpoisoned(self.thread.lock()).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the thread was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Counts as a viewer until it is dropped.
pub struct ViewerGuard {
    shared: Arc<Shared>,
}

impl Drop for ViewerGuard {
    fn drop(&mut self) {
        self.shared.lock().viewers -= 1;
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for ViewerGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewerGuard").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    fn wait(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        unpoisoned(self.changed.wait_while(self.lock(), |state| !until(state)))
    }

    fn wait_timeout(
        &self,
        timeout: Duration,
        until: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        unpoisoned(
            self.changed
                .wait_timeout_while(self.lock(), timeout, |state| !until(state)),
        )
        .0
    }

    /// The thread.
    fn run(&self, extra: Box<dyn Fn() -> Extra + Send + Sync>) {
        let _stopped = StopsAtEnd(self);
        let mut sampler = Sampler::new(self);
        loop {
            let began = Instant::now();
            let (viewers, stopped) = {
                let state = self.lock();
                (state.viewers, state.stopped)
            };
            if stopped {
                return;
            }
            let sample = Arc::new(sampler.take(viewers, extra()));
            self.lock().history.push(sample.clone());
            self.changed.notify_all();
            for callback in unpoisoned(self.callbacks.lock()).iter() {
                callback(&sample);
            }
            self.sleep(began);
        }
    }

    /// Sleeps until the next sample is due after one begun at `began`. The pace follows the viewers
    /// while asleep.
    fn sleep(&self, began: Instant) {
        let mut state = self.lock();
        while !state.stopped {
            let period = if state.viewers > 0 {
                WATCHED
            } else {
                UNWATCHED
            };
            let Some(left) = period
                .checked_sub(began.elapsed())
                .filter(|left| !left.is_zero())
            else {
                return;
            };
            state = unpoisoned(self.changed.wait_timeout(state, left)).0;
        }
    }
}

/// Tells those who wait that no sample will come, also when the thread ends by a panic.
struct StopsAtEnd<'a>(&'a Shared);

impl Drop for StopsAtEnd<'_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

/// What the thread keeps from one sample to the next.
struct Sampler<'a> {
    shared: &'a Shared,
    n: u64,
    at_ns: u64,
    process: Process,
    clock: ThreadClock,
    /// One for each worker.
    turns: Vec<Reel>,
    /// Where to go on reading each worker's steals.
    steals: Vec<u64>,
    /// Whether the sample before was taken for a viewer.
    watched: bool,
    turns_lost: u64,
    steals_lost: u64,
    walk: Walk,
    long_turns: LongTurns,
    events_lost: EventsLost,
    slow: Slow,
}

/// Figures taken at most once a second, and kept in between.
struct Slow {
    /// When the own cost was measured last, and the thread's clock then.
    measured: Option<(u64, Option<u64>)>,
    cpu_ratio: Option<f64>,
    residency: Option<ResidencySample>,
    residency_budget: Budget,
}

/// What the rings gave since the sample before.
#[derive(Default)]
struct Drained {
    lanes: Vec<Lane>,
    steals: Vec<StealRecord>,
    merged: u64,
    omitted: u64,
}

impl<'a> Sampler<'a> {
    fn new(shared: &'a Shared) -> Sampler<'a> {
        let workers = shared.handle.workers();
        Sampler {
            shared,
            n: 0,
            at_ns: 0,
            process: Process::open(),
            clock: ThreadClock::open(),
            turns: (0..workers).map(|_| Reel::new()).collect(),
            steals: vec![0; workers],
            watched: false,
            turns_lost: 0,
            steals_lost: 0,
            walk: Walk::new(),
            long_turns: LongTurns::default(),
            events_lost: EventsLost::default(),
            slow: Slow::new(),
        }
    }

    fn take(&mut self, viewers: u64, extra: Extra) -> Sample {
        let shared = self.shared;
        let snapshot = shared.handle.snapshot();
        let at_ns = snapshot.at_ns;
        // Before the rings are read: a turn that ends meanwhile is then in a ring.
        let running: Vec<_> = snapshot
            .workers
            .iter()
            .zip(&mut self.turns)
            .map(|(worker, reel)| reel.running(&shared.handle, worker, at_ns))
            .collect();
        let drained = self.drain(&snapshot, &running, viewers > 0);
        let waiting = self.walk.at(&shared.handle, at_ns, &snapshot.routines);
        let usage = self.process.read();
        self.slow.take(&shared.handle, &self.clock, at_ns);

        let mut findings = self.findings(&snapshot, &running);
        findings.extend(waiting.and_then(finding::runnable_long));
        findings.extend(extra.findings.iter().cloned());

        let sample = Sample {
            boot: shared.boot.clone(),
            n: self.n + 1,
            at_ns,
            interval_ns: at_ns - self.at_ns,
            wall: wall(at_ns),
            memory: memory::is_counting().then(memory::totals),
            rss_bytes: usage.rss_bytes,
            process_cpu_ns: usage.cpu_ns,
            residency: self.slow.residency,
            oldest_runnable_ns: waiting.map(|waiting| waiting.oldest_ns),
            extra,
            lanes: drained.lanes,
            steals: drained.steals,
            merged: drained.merged,
            omitted: drained.omitted,
            findings,
            watching: Watching {
                viewers,
                sampler_cpu_ratio: self.slow.cpu_ratio,
                bytes_sent: shared.bytes_sent.load(Relaxed),
                samples_skipped: shared.samples_skipped.load(Relaxed),
                turns_lost: self.turns_lost,
                steals_lost: self.steals_lost,
            },
            snapshot,
        };
        self.n = sample.n;
        self.at_ns = at_ns;
        self.watched = viewers > 0;
        sample
    }

    /// Reads the rings. Drawn only for viewers; read always, for the turns that were too long.
    fn drain(
        &mut self,
        snapshot: &Snapshot,
        running: &[Option<Running>],
        watched: bool,
    ) -> Drained {
        let handle = &self.shared.handle;
        let mut drained = Drained::default();
        let cells_each = lanes::cells_each(snapshot.workers.len());
        for (i, worker) in snapshot.workers.iter().enumerate() {
            let (reel, steals) = (&mut self.turns[i], &mut self.steals[i]);
            let kept = reel.pending.len();
            let turns = handle.turns(worker.id, reel.cursor, &mut reel.pending);
            reel.cursor = turns.next;
            self.long_turns.look(worker.id, &reel.pending[kept..]);
            let stolen = handle.steals(worker.id, *steals, &mut drained.steals);
            *steals = stolen.next;
            if self.watched {
                self.turns_lost += turns.lost;
                self.steals_lost += stolen.lost;
            }
            if watched {
                let drawn = reel.draw(snapshot.at_ns, running[i], cells_each);
                drained.merged += drawn.merged;
                drained.lanes.push(Lane {
                    worker: worker.id,
                    cells: drawn.cells,
                });
            } else {
                reel.skip(snapshot.at_ns);
            }
        }
        if watched {
            (drained.steals, drained.omitted) = lanes::thin(drained.steals, STEALS_PER_SAMPLE);
        } else {
            drained.steals.clear();
        }
        drained
    }

    fn findings(&mut self, snapshot: &Snapshot, running: &[Option<Running>]) -> Vec<Finding> {
        let stuck = |(worker, running): (&WorkerSnapshot, &Option<Running>)| {
            let running = running.as_ref()?;
            let for_ns = snapshot.at_ns.saturating_sub(running.start_ns);
            let site = running.whose.map(|whose| whose.site);
            finding::worker_stuck(worker.id, worker.routine?, site, for_ns)
        };
        let stacks = &snapshot.stacks;
        let mut found: Vec<Finding> = snapshot
            .workers
            .iter()
            .zip(running)
            .filter_map(stuck)
            .collect();
        found.extend(self.long_turns.found(snapshot.at_ns));
        found.extend(
            self.events_lost
                .at(snapshot.at_ns, self.turns_lost + self.steals_lost),
        );
        found.extend(finding::stack_limit(stacks.waiting, stacks.limit));
        found
    }
}

impl Slow {
    const fn new() -> Slow {
        Slow {
            measured: None,
            cpu_ratio: None,
            residency: None,
            residency_budget: Budget::every(SLOW_NS),
        }
    }

    fn take(&mut self, handle: &Handle, clock: &ThreadClock, now_ns: u64) {
        let residency = self
            .residency_budget
            .spend(now_ns, || handle.sample_residency(RESIDENCY_ROUTINES));
        if let Some(residency) = residency {
            self.residency = residency;
        }
        let Some((measured_ns, cpu_before)) = self.measured else {
            self.measured = Some((now_ns, clock.cpu_ns()));
            return;
        };
        if now_ns - measured_ns >= SLOW_NS {
            let cpu_ns = clock.cpu_ns();
            let used = cpu_before.zip(cpu_ns);
            self.cpu_ratio = used
                .and_then(|(before, after)| per_second(before, after, now_ns - measured_ns))
                .map(|ns| ns / 1e9);
            self.measured = Some((now_ns, cpu_ns));
        }
    }
}

/// Six characters, other ones in each life of the process. Randomness comes from the keys that the
/// standard library draws for its hash maps.
fn boot() -> Arc<str> {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut bits = RandomState::new().hash_one(std::process::id());
    let digits = std::iter::repeat_with(|| {
        let digit = DIGITS[(bits % 36) as usize];
        bits /= 36;
        char::from(digit)
    });
    digits.take(6).collect::<String>().into()
}

fn wall(at_ns: u64) -> SystemTime {
    time::process_start() + Duration::from_nanos(at_ns)
}

/// The value behind a lock whose holder panicked: each of our critical sections leaves it whole.
fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}
