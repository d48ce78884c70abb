//! Routines that do what a scheduler suffers from, with a witness beside them.
//!
//! The witness is a turn routine that sleeps 10 ms again and again and notes how late each sleep ends:
//! that is what everybody else feels. Run a lab with preemption or hand-off switched off, then on.

use std::collections::VecDeque;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use openwork::{Builder, Handle, JoinHandle, SpawnError, Turn, Workload, blocking, is_cancelled};

use crate::latency::{Latencies, Latency};
use crate::limits::{Bound, LimitExceeded, check_product};
use crate::run::{Run, RunError, Watch};

/// Bound of [`Request::routines`].
pub const ROUTINES: Bound = Bound {
    field: "routines",
    min: 1,
    max: 1_000,
    default: 16,
    unit: "routines",
};

/// Bound of [`Request::ms`].
pub const MS: Bound = Bound {
    field: "ms",
    min: 1,
    max: 10_000,
    default: 100,
    unit: "ms",
};

/// Most milliseconds of all routines together: ten minutes of one CPU.
pub const MAX_TOTAL_MS: u64 = 600_000;

/// How long the witness sleeps.
const SLEEP: Duration = Duration::from_millis(10);
/// A loop looks this often whether it is over.
const LOOK_EVERY: u32 = 20_000;
/// In an imbalance, one routine in so many is heavy, and has so many times the work.
const HEAVY: u64 = 10;
/// A turn of an imbalanced routine.
const TURN: Duration = Duration::from_millis(1);

/// What the routines do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Compute, and never call the runtime.
    Spin,
    /// Sleep in the kernel, by the standard library: the runtime is told nothing.
    BlockingCall,
    /// The same on the pool for blocking calls.
    BlockingPool,
    /// Turn routines, a tenth of which have ten times the work; these come first, on one worker.
    Imbalance,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [
        Kind::Spin,
        Kind::BlockingCall,
        Kind::BlockingPool,
        Kind::Imbalance,
    ];

    /// The name used in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Spin => "spin",
            Kind::BlockingCall => "blocking-call",
            Kind::BlockingPool => "blocking-pool",
            Kind::Imbalance => "imbalance",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What each routine does.
    pub kind: Kind,
    /// How many routines.
    pub routines: u64,
    /// For how long each does it, in milliseconds; of an imbalance, for how long a light one does.
    pub ms: u64,
}

/// A request that is within all limits.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    request: Request,
}

impl Plan {
    /// The request it was made from.
    pub fn request(&self) -> Request {
        self.request
    }
}

/// What a lab showed.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What was asked for.
    pub request: Request,
    /// From the first spawn to the last end.
    pub duration: Duration,
    /// What it takes at best: all workers busy all the time, or all routines asleep at once.
    pub at_best: Duration,
    /// How late the witness's sleeps ended; `None` if the lab was over before the first one.
    pub late: Option<Latency>,
    /// How many sleeps that is of.
    pub sleeps: u64,
}

impl Request {
    /// How long routine `index` is busy.
    fn busy(&self, index: u64) -> Duration {
        let times = match self.kind {
            Kind::Imbalance if index < self.heavy() => HEAVY,
            _ => 1,
        };
        Duration::from_millis(self.ms * times)
    }

    fn heavy(&self) -> u64 {
        match self.kind {
            Kind::Imbalance => self.routines.div_ceil(HEAVY),
            _ => 0,
        }
    }

    fn total_ms(&self) -> u64 {
        self.ms * (self.routines + self.heavy() * (HEAVY - 1))
    }

    fn at_best(&self, workers: usize) -> Duration {
        match self.kind {
            Kind::BlockingCall | Kind::BlockingPool => Duration::from_millis(self.ms),
            Kind::Spin | Kind::Imbalance => {
                let shared = self.total_ms().div_ceil(workers.max(1) as u64);
                Duration::from_millis(shared).max(self.busy(0))
            }
        }
    }
}

/// Checks a request against the limits.
///
/// # Errors
/// [`LimitExceeded`] names the first field out of bounds, or `total_ms`, that of all routines together.
pub fn check(request: &Request) -> Result<Plan, LimitExceeded> {
    ROUTINES.check(request.routines)?;
    MS.check(request.ms)?;
    check_product("total_ms", request.total_ms(), MAX_TOTAL_MS, "ms")?;
    Ok(Plan { request: *request })
}

/// Starts the run on `handle`'s runtime; its routines belong to `workload`.
///
/// # Errors
/// When the runtime takes no new routine.
pub fn start(handle: &Handle, plan: Plan, workload: &Workload) -> Result<Run<Report>, SpawnError> {
    let watch = Watch::new(plan.request.routines, "routines");
    let workers = handle.workers();
    Run::start("lab", handle, workload, watch, move |watch| {
        root(plan.request, &watch, workers)
    })
}

fn root(request: Request, watch: &Watch, workers: usize) -> Result<Report, RunError> {
    let over = Arc::new(AtomicBool::new(false));
    let witness = Builder::new()
        .name("witness")
        .spawn_turns(Witness::new(over.clone()), Witness::turn)?;
    let begun = Instant::now();
    let mut routines = Routines(VecDeque::new());
    for index in 0..request.routines {
        let builder = Builder::new().name(&format!("{} {index}", request.kind));
        let (busy, watch) = (request.busy(index), watch.clone());
        routines.0.push_back(match request.kind {
            Kind::Imbalance => builder.spawn_turns(busy, move |left| {
                spin(TURN.min(*left));
                *left = left.saturating_sub(TURN);
                match left.is_zero() {
                    true => {
                        watch.add(1);
                        Turn::Done(())
                    }
                    false => Turn::Again,
                }
            })?,
            kind => builder.spawn(move || {
                match kind {
                    Kind::BlockingCall => thread::sleep(busy),
                    Kind::BlockingPool => blocking(move || thread::sleep(busy)),
                    Kind::Spin | Kind::Imbalance => spin(busy),
                }
                watch.add(1);
            })?,
        });
    }
    while let Some(routine) = routines.0.pop_front() {
        routine.join()?;
    }
    let duration = begun.elapsed();
    over.store(true, Relaxed);
    let seen = witness.join()?;
    Ok(Report {
        request,
        duration,
        at_best: request.at_best(workers),
        sleeps: seen.len(),
        late: seen.summary(),
    })
}

/// The routines not yet joined: without a root nobody wants their work.
struct Routines(VecDeque<JoinHandle<()>>);

impl Drop for Routines {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Computes for as long as that takes of the clock, or until the routine is cancelled. It asks for its
/// cancel, which is no place to give way.
fn spin(time: Duration) {
    let begun = Instant::now();
    let mut number = 1_u64;
    while begun.elapsed() < time && !is_cancelled() {
        for _ in 0..LOOK_EVERY {
            number = black_box(
                number
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            );
        }
    }
}

/// Sleeps again and again, and notes how late it wakes.
struct Witness {
    over: Arc<AtomicBool>,
    due: Option<Instant>,
    late: Option<Latencies>,
}

impl Witness {
    fn new(over: Arc<AtomicBool>) -> Witness {
        Witness {
            over,
            due: None,
            late: Some(Latencies::new()),
        }
    }

    fn turn(&mut self) -> Turn<Latencies> {
        let now = Instant::now();
        if let (Some(due), Some(late)) = (self.due, &mut self.late) {
            let late_ns = now.saturating_duration_since(due).as_nanos();
            late.record(u64::try_from(late_ns).unwrap_or(u64::MAX));
        }
        // A sleep that lasted to the end counts: it is the one that everything was in the way of.
        if self.over.load(Relaxed) {
            return Turn::Done(self.late.take().unwrap_or_else(Latencies::new));
        }
        self.due = Some(now + SLEEP);
        Turn::Sleep(SLEEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwork::Runtime;

    fn run(kind: Kind, routines: u64, ms: u64) -> Report {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let plan = check(&Request { kind, routines, ms }).unwrap();
        let run = start(&runtime.handle(), plan, &Workload::new("lab")).unwrap();
        run.into_join().join().unwrap().unwrap()
    }

    /// Breaks if a lab ends early, loses a routine, or has no witness. How long it takes is not asserted:
    /// that is what the labs are there to show.
    #[test]
    fn each_kind_does_its_work_and_is_witnessed() {
        for kind in Kind::ALL {
            let report = run(kind, 8, 5);
            let shortest = Duration::from_millis(5);
            assert!(report.duration >= shortest, "{kind}: {report:?}");
            assert!(report.sleeps > 0, "{kind}: {report:?}");
            assert!(report.late.is_some(), "{kind}: {report:?}");
        }
    }

    #[test]
    fn a_loop_ends_when_it_is_cancelled() {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let workload = Workload::new("lab");
        let request = Request {
            kind: Kind::Spin,
            routines: 4,
            ms: 10_000,
        };
        let run = start(&runtime.handle(), check(&request).unwrap(), &workload).unwrap();
        while runtime.handle().snapshot().routines.running == 0 {
            thread::yield_now();
        }
        workload.cancel(&runtime.handle());
        assert!(!matches!(run.into_join().join(), Ok(Ok(_))));
    }

    #[test]
    fn the_limits_are_named() {
        #[track_caller]
        fn refused(routines: u64, ms: u64, field: &str) {
            let request = Request {
                kind: Kind::Spin,
                routines,
                ms,
            };
            assert_eq!(check(&request).unwrap_err().field, field);
        }
        refused(0, 1, "routines");
        refused(1_001, 1, "routines");
        refused(1, 0, "ms");
        refused(1, 10_001, "ms");
        refused(1_000, 601, "total_ms");
        let skewed = Request {
            kind: Kind::Imbalance,
            routines: 100,
            ms: 10,
        };
        // Ten of them have ten times the work.
        assert_eq!(skewed.total_ms(), 90 * 10 + 10 * 100);
        assert_eq!(skewed.at_best(2), Duration::from_millis(950));
        assert_eq!(skewed.at_best(64), Duration::from_millis(100));
    }
}
