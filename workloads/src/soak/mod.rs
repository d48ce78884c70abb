//! A long-run test: everything at once, for as long as one likes, and nothing lost.
//!
//! A soak goes in rounds. Each round builds a runtime of its own and grows a tree of routines from a seed:
//! they use channels, locks, meeting points, scopes, tokens, timers and the blocking pool together, and
//! panic, are aborted, cancelled and given up on the way. A round ends in one of five ways: the tree is
//! waited for; its workload is cancelled; the runtime is shut down with or without time to drain, or just
//! dropped. Then the books must balance: every value that was made was dropped, once; what was spawned has
//! ended; panics are those that were raised on purpose; no deadline, no stack and no waiter is left; and no
//! deed has seen another promise broken.
//!
//! The seed decides what is done, but not when: rounds on several threads differ from run to run. Every
//! fourth round is therefore a [deterministic](openwork::deterministic) run, which a seed repeats to the
//! last turn.
//!
//! ```
//! use openwork_workloads::soak::{Request, run};
//! use std::time::Duration;
//!
//! let request = Request { duration: Duration::from_millis(100), ..Request::default() };
//! let report = run(&request, |_| {}).unwrap();
//! assert!(report.rounds > 0 && report.values > 0);
//! ```

mod channels;
mod deeds;
mod ledger;
mod locks;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use openwork::deterministic::{Config, Failure, Run as Explored};
use openwork::{Builder, Handle, Runtime, Workload};
use thiserror::Error;

use crate::limits::{Bound, LimitExceeded};
use deeds::{Random, World, grow};

/// Bound of [`Request::workers`].
pub const WORKERS: Bound = Bound {
    field: "workers",
    min: 1,
    max: 256,
    default: 4,
    unit: "workers",
};

/// Bound of [`Request::deeds`].
pub const DEEDS: Bound = Bound {
    field: "deeds",
    min: 1,
    max: 1_000_000,
    default: 2_000,
    unit: "deeds a round",
};

/// How long a round that makes no progress is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Depth of the tree.
const DEPTH: u32 = 5;

/// Deeds of a round that is a deterministic run: it has one thread, and each is explored.
const DEEDS_REPEATABLE: u64 = 100;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Decides what the routines do.
    pub seed: u64,
    /// No round begins afterwards.
    pub duration: Duration,
    /// Most workers of a round's runtime; each round has from one to so many.
    pub workers: u64,
    /// Most deeds of a round.
    pub deeds: u64,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            seed: 1,
            duration: Duration::from_secs(1),
            workers: WORKERS.default,
            deeds: DEEDS.default,
        }
    }
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rounds that ended well.
    pub rounds: u64,
    /// Of these, the ones that were deterministic runs.
    pub repeatable: u64,
    /// Pieces of work: a pipeline, a contended lock, a scope.
    pub deeds: u64,
    /// Routines spawned and ended, without those of deterministic runs.
    pub routines: u64,
    /// Of these, the ones that panicked, on purpose.
    pub panicked: u64,
    /// Of these, the ones that were cancelled.
    pub cancelled: u64,
    /// Values made and dropped.
    pub values: u64,
}

/// Why a soak ended.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SoakError {
    /// The request is out of bounds.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The system refused a runtime.
    #[error("round {round}: no runtime: {why}")]
    NoRuntime {
        /// Number of the round, from 0.
        round: u64,
        /// What the system said.
        why: String,
    },
    /// A promise does not hold.
    #[error("round {round} of seed {seed}: {}", what.join("; "))]
    Broken {
        /// Number of the round, from 0.
        round: u64,
        /// The request's seed.
        seed: u64,
        /// What does not hold.
        what: Vec<String>,
    },
}

/// How a round ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Drained,
    Cancelled,
    ShutDownLater,
    ShutDownNow,
    Dropped,
}

/// Soaks until the time is over, or something is broken. `progress` is called after each round.
///
/// Not from a routine: it waits for whole runtimes.
///
/// # Errors
/// [`SoakError`]. After [`SoakError::Broken`] a runtime may be left behind whose routines do not end.
pub fn run(request: &Request, mut progress: impl FnMut(&Report)) -> Result<Report, SoakError> {
    WORKERS.check(request.workers)?;
    DEEDS.check(request.deeds)?;
    let began = Instant::now();
    let mut report = Report::default();
    while began.elapsed() < request.duration || report.rounds == 0 {
        let round = report.rounds;
        // Neighbouring rounds of neighbouring seeds have nothing in common.
        let seed = request
            .seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(round);
        let what = if round % 4 == 3 {
            repeatable_round(seed, request, &mut report)
        } else {
            round_on_threads(seed, request, &mut report)
                .map_err(|why| SoakError::NoRuntime { round, why })?
        };
        if !what.is_empty() {
            return Err(SoakError::Broken {
                round,
                seed: request.seed,
                what,
            });
        }
        report.rounds += 1;
        progress(&report);
    }
    Ok(report)
}

/// Returns what is broken.
fn repeatable_round(seed: u64, request: &Request, report: &mut Report) -> Vec<String> {
    let world = World::new(request.deeds.min(DEEDS_REPEATABLE), false);
    let ran = explore(&world, seed);
    let mut broken = world.ledger.verdict();
    if let Err(failure) = ran {
        broken.push(failure.to_string());
    }
    report.repeatable += 1;
    report.deeds += world.deeds.load(Relaxed);
    report.values += world.ledger.made();
    broken
}

fn explore(world: &Arc<World>, seed: u64) -> Result<Explored<()>, Failure> {
    let root = world.clone();
    let config = Config::new().spurious_wakes(seed.is_multiple_of(2));
    config.run(seed, move || grow(&root, seed, DEPTH))
}

/// Returns what is broken; an error if the system gave no runtime.
fn round_on_threads(
    seed: u64,
    request: &Request,
    report: &mut Report,
) -> Result<Vec<String>, String> {
    let random = &mut Random::new(seed);
    let workers = 1 + random.below(request.workers);
    let runtime = Runtime::builder()
        .workers(workers as usize)
        .record_turns(random.percent(50))
        .build()
        .map_err(|why| why.to_string())?;
    let handle = runtime.handle();
    let world = World::new(request.deeds, true);
    let workload = Workload::new("soak");
    let (done, is_done) = mpsc::channel::<()>();
    for _ in 0..1 + random.below(16) {
        let (world, seed, done) = (world.clone(), random.next(), done.clone());
        let root = move || {
            let _done = done;
            grow(&world, seed, DEPTH);
        };
        let root = Builder::new().on(&handle).workload(&workload).spawn(root);
        root.map_err(|why| why.to_string())?.detach();
    }
    drop(done);
    let end = match random.below(10) {
        0 => End::Dropped,
        1 | 2 => End::ShutDownNow,
        3 => End::ShutDownLater,
        4 => End::Cancelled,
        _ => End::Drained,
    };
    if !matches!(end, End::Drained) {
        // In mid-flight, wherever that is.
        let _ = is_done.recv_timeout(random.micros(20_000));
    }
    let mut broken = Vec::new();
    match end {
        End::Drained => wait_for(&handle, &is_done, &mut broken),
        End::Cancelled => {
            workload.cancel(&handle);
            wait_for(&handle, &is_done, &mut broken);
        }
        End::ShutDownLater | End::ShutDownNow | End::Dropped => {}
    }
    let time = match end {
        End::ShutDownNow => Duration::ZERO,
        End::ShutDownLater => random.micros(20_000),
        _ => PATIENCE,
    };
    if matches!(end, End::Dropped) || !broken.is_empty() {
        drop(runtime);
    } else if let Err(remaining) = runtime.shutdown(time) {
        broken.push(format!("{end:?}: {remaining}: {:?}", remaining.routines));
    }
    // What the blocking pool still held goes with its threads.
    let since = Instant::now();
    while !world.ledger.is_even() && since.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    broken.extend(world.ledger.verdict());
    broken.extend(unbalanced(&handle, &world));
    let counts = handle.snapshot().routines;
    report.deeds += world.deeds.load(Relaxed);
    report.values += world.ledger.made();
    report.routines += counts.spawned;
    report.panicked += counts.panicked;
    report.cancelled += counts.cancelled;
    Ok(broken)
}

/// Waits until all routines have ended and all deadlines are served or taken back, as long as turns are
/// run: there is none so far away that it could be waited for.
fn wait_for(handle: &Handle, is_done: &mpsc::Receiver<()>, broken: &mut Vec<String>) {
    let (mut before, mut since) = (0, Instant::now());
    loop {
        // The roots come first; what they have left behind is soon done.
        if is_done.recv_timeout(PATIENCE / 60) == Err(RecvTimeoutError::Disconnected) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let snapshot = handle.snapshot();
        let pending: u64 = snapshot.workers.iter().map(|w| w.timers.pending).sum();
        if snapshot.routines.live() == 0 && pending == 0 {
            return;
        }
        let turns = snapshot.workers.iter().map(|worker| worker.turns()).sum();
        if turns != before {
            (before, since) = (turns, Instant::now());
        } else if since.elapsed() > PATIENCE {
            broken.push(format!(
                "no turn was run for {PATIENCE:?}, and {pending} deadlines are left"
            ));
            handle.routines(&mut |view| broken.push(format!("{view:?}")));
            return;
        }
    }
}

/// What the books of a runtime that has ended show.
fn unbalanced(handle: &Handle, world: &Arc<World>) -> Vec<String> {
    let snapshot = handle.snapshot();
    let routines = &snapshot.routines;
    let raised = world.raised.load(Relaxed);
    let mut wrong = Vec::new();
    let mut expect = |so: bool, what: &dyn Fn() -> String| {
        if !so {
            wrong.push(what());
        }
    };
    expect(routines.live() == 0, &|| {
        format!("not all have ended: {routines:?}")
    });
    expect(routines.panicked == raised, &|| {
        format!("{raised} panics were raised, {} counted", routines.panicked)
    });
    expect(snapshot.panics == raised, &|| {
        format!("{raised} panics were raised, {} logged", snapshot.panics)
    });
    expect(snapshot.stacks.in_use == 0, &|| {
        format!("{} stacks are in use", snapshot.stacks.in_use)
    });
    expect(snapshot.injector_depth == 0, &|| {
        format!("{} routines in the injector", snapshot.injector_depth)
    });
    for worker in &snapshot.workers {
        let id = worker.id.get();
        expect(worker.queue_depth() == 0, &|| {
            format!("worker {id} has {} routines queued", worker.queue_depth())
        });
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A short soak from a fresh seed, which is printed.
    #[test]
    fn a_short_soak_breaks_nothing() {
        let seed = match std::env::var("OPENWORK_TEST_SEED") {
            Ok(text) => text.parse().expect("a number"),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_nanos() as u64,
        };
        println!("to repeat, set OPENWORK_TEST_SEED={seed}");
        let request = Request {
            seed,
            duration: Duration::from_secs(3),
            ..Request::default()
        };
        match run(&request, |_| {}) {
            Ok(report) => assert!(report.rounds > 0 && report.deeds > 0, "{report:?}"),
            Err(why) => panic!("{why}"),
        }
    }

    /// What the module's text says of every fourth round.
    #[test]
    fn a_repeatable_round_is_the_same_again() {
        for seed in 0..20 {
            let again = || {
                let world = World::new(DEEDS_REPEATABLE, false);
                let ran = explore(&world, seed).unwrap();
                let counts = (world.deeds.load(Relaxed), world.ledger.made());
                (ran.steps, ran.took, ran.schedule.to_string(), counts)
            };
            assert_eq!(again(), again(), "seed {seed}");
        }
    }

    #[test]
    fn a_request_out_of_bounds_is_refused() {
        let request = Request {
            workers: 0,
            ..Request::default()
        };
        assert!(matches!(run(&request, |_| {}), Err(SoakError::Limit(_))));
    }
}
