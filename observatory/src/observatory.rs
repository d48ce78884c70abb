//! The observatory: a handle to the sampler's thread and to what it remembers.
//!
//! The thread takes a sample ten times a second while somebody watches and once a second otherwise.
//! In between it sleeps on a condition variable, so a new viewer or the end wake it at once.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use openwork::Handle;

use crate::history::History;
use crate::profile::Symbols;
use crate::sample::{Extra, Sample};
use crate::sampler::{Reports, Sampler};
use crate::timeline::{self, Timeline};

/// Between two samples while somebody watches.
const WATCHED: Duration = Duration::from_millis(100);
/// Between two samples otherwise.
const UNWATCHED: Duration = Duration::from_secs(1);
/// Between two readings of the rings while somebody watches. A ring holds 65,536 turns: nothing is
/// lost up to some three million turns a second of a worker, where ten readings a second would lose
/// all beyond 650,000.
const READ: Duration = Duration::from_millis(20);

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
    viewers_closed: AtomicU64,
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
            viewers_closed: AtomicU64::new(0),
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

    /// Reports a viewer that was closed because it took nothing for too long.
    pub fn add_viewer_closed(&self) {
        self.shared().viewers_closed.fetch_add(1, Relaxed);
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
        let mut sampler = Sampler::new(&self.handle, self.boot.clone());
        loop {
            let began = Instant::now();
            let viewers = {
                let state = self.lock();
                if state.stopped {
                    return;
                }
                state.viewers
            };
            let reports = Reports {
                viewers,
                bytes_sent: self.bytes_sent.load(Relaxed),
                samples_skipped: self.samples_skipped.load(Relaxed),
                viewers_closed: self.viewers_closed.load(Relaxed),
                extra: extra(),
            };
            let sample = Arc::new(sampler.take(reports));
            self.lock().history.push(sample.clone());
            self.changed.notify_all();
            for callback in unpoisoned(self.callbacks.lock()).iter() {
                callback(&sample);
            }
            while self.sleep(began) == Woken::ToRead {
                sampler.read();
            }
        }
    }

    /// Sleeps until something is to be done after a sample begun at `began`. The pace follows the
    /// viewers while asleep.
    fn sleep(&self, began: Instant) -> Woken {
        let asleep = Instant::now();
        let mut state = self.lock();
        loop {
            let watched = state.viewers > 0;
            let period = if watched { WATCHED } else { UNWATCHED };
            let left = period.saturating_sub(began.elapsed());
            if state.stopped || left.is_zero() {
                return Woken::ToSample;
            }
            let until_read = READ.saturating_sub(asleep.elapsed());
            if watched && until_read.is_zero() {
                return Woken::ToRead;
            }
            let step = if watched { left.min(until_read) } else { left };
            state = unpoisoned(self.changed.wait_timeout(state, step)).0;
        }
    }
}

/// What the thread is awake for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// To take a sample, or to end.
    ToSample,
    /// To read the rings.
    ToRead,
}

/// Tells those who wait that no sample will come, also when the thread ends by a panic.
struct StopsAtEnd<'a>(&'a Shared);

impl Drop for StopsAtEnd<'_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
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

/// The value behind a lock whose holder panicked: each of our critical sections leaves it whole.
fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}
