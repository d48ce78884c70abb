//! A great many routines at once, asleep or gone at once.
//!
//! With `sleep_ms` at 0 each routine ends in its first turn: a million of them need a handful of
//! stacks, because a routine has none before it starts and gives it back when it ends. With
//! `sleep_ms` above 0 all of them hold a stack, and the report says how much memory each is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use openwork::{Handle, SpawnError, Workload, scope, time, yield_now};

use crate::host::rss_bytes;
use crate::limits::{Bound, LimitExceeded, check_bytes};
use crate::run::{Run, Watch};

/// Bound of [`Request::routines`].
pub const ROUTINES: Bound = Bound {
    field: "routines",
    min: 1,
    max: 1_000_000,
    default: 100_000,
    unit: "routines",
};

/// Bound of [`Request::sleep_ms`].
pub const SLEEP_MS: Bound = Bound {
    field: "sleep_ms",
    min: 0,
    max: 60_000,
    default: 5_000,
    unit: "ms",
};

/// Memory reckoned in the check for a routine that sleeps: twice what is measured (4.4 KB).
const SLEEPER_BYTES: u64 = 8 << 10;
/// The same for one that ends at once: it waits without a stack (270 bytes measured).
const WAITING_BYTES: u64 = 512;

/// The root gives way after spawning this many: about 0.3 ms.
const BATCH: u64 = 1000;
/// How often memory is read while the crowd gathers.
const READINGS: u64 = 32;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How many routines.
    pub routines: u64,
    /// How long each sleeps, in milliseconds; 0: it ends at once.
    pub sleep_ms: u64,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            routines: ROUTINES.default,
            sleep_ms: SLEEP_MS.default,
        }
    }
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

/// What the crowd took.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What was asked for.
    pub request: Request,
    /// Time for the root to spawn all of them. Others run meanwhile, on its worker too.
    pub spawning: Duration,
    /// From the root's first turn to the last routine's end.
    pub duration: Duration,
    /// Most routines of the crowd alive at once, among the readings taken.
    pub live_peak: u64,
    /// Most stacks in use at once in the whole runtime, among the readings taken.
    pub stacks_peak: u64,
    /// Growth of the process's resident memory at its greatest, divided by the routines alive then.
    ///
    /// `None` when it did not grow: a second crowd lives in the pages of the first.
    pub resident_bytes_per_routine: Option<u64>,
}

/// Checks a request against the limits; `available` as for [`stress::check`](crate::stress::check).
///
/// # Errors
/// [`LimitExceeded`] names the first field out of bounds, or `resident_bytes` when so many routines
/// would take more than half of the available memory.
pub fn check(request: &Request, available: Option<u64>) -> Result<Plan, LimitExceeded> {
    ROUTINES.check(request.routines)?;
    SLEEP_MS.check(request.sleep_ms)?;
    if let Some(available) = available {
        let each = match request.sleep_ms {
            0 => WAITING_BYTES,
            _ => SLEEPER_BYTES,
        };
        check_bytes("resident_bytes", request.routines * each, available / 2)?;
    }
    Ok(Plan { request: *request })
}

/// Starts the run on `handle`'s runtime; its routines belong to `workload`.
///
/// # Errors
/// When the runtime takes no new routine.
pub fn start(handle: &Handle, plan: Plan, workload: &Workload) -> Result<Run<Report>, SpawnError> {
    let watch = Watch::new(plan.request.routines, "routines");
    let runtime = handle.clone();
    Run::start("crowd", handle, workload, watch, move |watch| {
        Ok(root(plan.request, watch, runtime))
    })
}

fn root(request: Request, watch: Watch, runtime: Handle) -> Report {
    let begun = Instant::now();
    let crowd = Crowd::new(request, watch, runtime);
    let mut spawning = Duration::ZERO;
    scope(|s| {
        for index in 0..request.routines {
            s.spawn(|| crowd.member());
            if index % BATCH == BATCH - 1 {
                yield_now();
            }
        }
        spawning = begun.elapsed();
        crowd.read(request.routines);
    });
    let peaks = crowd
        .peaks
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Report {
        request,
        spawning,
        duration: begun.elapsed(),
        live_peak: peaks.live,
        stacks_peak: peaks.stacks,
        resident_bytes_per_routine: peaks.resident_each,
    }
}

/// What all members share.
struct Crowd {
    sleep: Duration,
    /// Members that have begun, and the distance between two readings of memory in them.
    arrived: AtomicU64,
    stride: u64,
    watch: Watch,
    runtime: Handle,
    rss_before: Option<u64>,
    peaks: Mutex<Peaks>,
}

#[derive(Default)]
struct Peaks {
    live: u64,
    stacks: u64,
    grown: u64,
    resident_each: Option<u64>,
}

impl Crowd {
    fn new(request: Request, watch: Watch, runtime: Handle) -> Crowd {
        Crowd {
            sleep: Duration::from_millis(request.sleep_ms),
            arrived: AtomicU64::new(0),
            stride: (request.routines / READINGS).max(1),
            watch,
            runtime,
            rss_before: rss_bytes(),
            peaks: Mutex::default(),
        }
    }

    fn member(&self) {
        let arrived = self.arrived.fetch_add(1, Relaxed) + 1;
        if !self.sleep.is_zero() {
            if arrived.is_multiple_of(self.stride) || arrived == self.watch.progress().total {
                self.read(arrived);
            }
            time::sleep(self.sleep);
        }
        self.watch.add(1);
    }

    /// Reads memory and stacks while `born` members have been spawned, or have begun.
    fn read(&self, born: u64) {
        let live = born.saturating_sub(self.watch.progress().done);
        let stacks = self.runtime.snapshot().stacks.in_use;
        let rss = rss_bytes();
        let mut peaks = self.peaks.lock().unwrap_or_else(PoisonError::into_inner);
        peaks.live = peaks.live.max(live);
        peaks.stacks = peaks.stacks.max(stacks);
        if let (Some(before), Some(now)) = (self.rss_before, rss) {
            let grown = now.saturating_sub(before);
            if grown > peaks.grown && live > 0 {
                peaks.grown = grown;
                peaks.resident_each = Some(grown / live);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_that_end_at_once_need_little() {
        let burst = Request {
            routines: 1_000_000,
            sleep_ms: 0,
        };
        assert!(check(&burst, Some(2 << 30)).is_ok());
        let asleep = Request {
            sleep_ms: 1,
            ..burst
        };
        let error = check(&asleep, Some(2 << 30)).unwrap_err();
        assert_eq!((error.field, error.limit()), ("resident_bytes", 1 << 30));
    }

    #[test]
    fn each_field_has_its_bound() {
        let request = Request::default();
        let many = Request {
            routines: 1_000_001,
            ..request
        };
        assert_eq!(check(&many, None).unwrap_err().field, "routines");
        let long = Request {
            sleep_ms: 60_001,
            ..request
        };
        assert_eq!(check(&long, None).unwrap_err().field, "sleep_ms");
    }
}
