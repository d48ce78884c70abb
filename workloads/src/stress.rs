//! Many routines that allocate at once.
//!
//! Each routine makes `allocations` blocks, writes every byte of them, and then keeps or drops each
//! by its [`Pattern`]; a block to be dropped is hashed before (SHA-256), so that there is work to
//! balance. Kept blocks live until every routine has ended and `hold_ms` more have passed: the
//! memory chart steps up, stays, and steps down.

use std::time::{Duration, Instant};

use openwork::{Handle, SpawnError, Workload, time};

use crate::churn::{self, Hashing, Orders};
use crate::limits::{Bound, LimitExceeded, MAX_ALLOCATED_BYTES, check_bytes, kept_bytes_limit};
use crate::own::{OwnMemory, process_live_bytes};
use crate::pattern::Pattern;
use crate::run::{Run, RunError, Watch};

/// Bound of [`Request::routines`].
pub const ROUTINES: Bound = Bound {
    field: "goroutines",
    min: 1,
    max: 100_000,
    default: 1,
    unit: "routines",
};

/// Bound of [`Request::allocations`].
pub const ALLOCATIONS: Bound = Bound {
    field: "allocations",
    min: 1,
    max: 1_000_000,
    default: 10,
    unit: "allocations per routine",
};

/// Bound of [`Request::block_kb`].
pub const BLOCK_KB: Bound = Bound {
    field: "block_kb",
    min: 1,
    max: 65_536,
    default: 1024,
    unit: "KiB",
};

/// Bound of [`Request::hold_ms`].
pub const HOLD_MS: Bound = Bound {
    field: "hold_ms",
    min: 0,
    max: 60_000,
    default: 0,
    unit: "ms",
};

/// Bound of [`Request::yield_every`], which may be 0 besides.
pub const YIELD_EVERY: Bound = Bound {
    field: "yield_every",
    min: 1,
    max: 1_000_000,
    default: 10,
    unit: "allocations",
};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How many routines.
    pub routines: u64,
    /// Blocks that each routine allocates.
    pub allocations: u64,
    /// What becomes of a block.
    pub pattern: Pattern,
    /// Size of a block in KiB.
    pub block_kb: u64,
    /// How long kept blocks are held after the last allocation, in milliseconds.
    pub hold_ms: u64,
    /// Blocks after which a routine gives its worker back; it does so after each MiB too. 0: a hog,
    /// which never gives it back until all its blocks are made, or it is to end.
    pub yield_every: u64,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            routines: ROUTINES.default,
            allocations: ALLOCATIONS.default,
            pattern: Pattern::default(),
            block_kb: BLOCK_KB.default,
            hold_ms: HOLD_MS.default,
            yield_every: YIELD_EVERY.default,
        }
    }
}

/// A request that is within all limits.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    request: Request,
    orders: Orders,
}

impl Plan {
    /// The request it was made from.
    pub fn request(&self) -> Request {
        self.request
    }

    /// Bytes that will be allocated in all, freed ones included.
    pub fn allocated_bytes(&self) -> u64 {
        self.orders.allocated_bytes()
    }

    /// Bytes kept to the end.
    pub fn kept_bytes(&self) -> u64 {
        self.orders.kept_bytes()
    }

    /// Most bytes alive at once, kept and being written.
    pub fn live_bytes_max(&self) -> u64 {
        self.orders.live_bytes_max()
    }
}

/// What a stress run did and held.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What was asked for.
    pub request: Request,
    /// Blocks made by all routines.
    pub allocations: u64,
    /// Blocks kept to the end.
    pub kept: u64,
    /// Blocks dropped as soon as they were hashed.
    pub dropped: u64,
    /// Blocks of which the SHA-256 was taken: the dropped ones.
    pub hashed: u64,
    /// Bytes written, every one of every block.
    pub written_bytes: u64,
    /// Turns that the routines gave up of their own accord.
    pub yields: u64,
    /// From the root's first turn to the end of its release.
    pub duration: Duration,
    /// From the root's first turn to the end of the last allocating routine.
    pub allocating: Duration,
    /// Held by the run's own routines while every kept block is alive.
    pub own_at_peak: Option<OwnMemory>,
    /// Held by the run's own routines after the release.
    pub own_at_end: Option<OwnMemory>,
    /// Alive in the whole process while every kept block is.
    pub process_live_bytes_at_peak: Option<u64>,
    /// Alive in the whole process after the release.
    pub process_live_bytes_at_end: Option<u64>,
    /// Exclusive or of all hashes: the same request gives the same digest.
    pub digest: [u8; 32],
}

impl Report {
    /// Bytes written per second of the allocating phase; `None` when that took no measurable time.
    pub fn throughput_bytes_per_second(&self) -> Option<f64> {
        per_second(self.written_bytes, self.allocating)
    }
}

pub(crate) fn per_second(amount: u64, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| amount as f64 / time.as_secs_f64())
}

/// Checks a request against the limits, `available` being the bytes that the machine can give
/// ([`available_memory`](crate::available_memory)); `None` leaves the fixed limits alone.
///
/// # Errors
/// [`LimitExceeded`] names the first field, or product of fields, that is out of bounds.
pub fn check(request: &Request, available: Option<u64>) -> Result<Plan, LimitExceeded> {
    ROUTINES.check(request.routines)?;
    ALLOCATIONS.check(request.allocations)?;
    BLOCK_KB.check(request.block_kb)?;
    HOLD_MS.check(request.hold_ms)?;
    if request.yield_every != 0 {
        YIELD_EVERY.check(request.yield_every)?;
    }
    let orders = Orders {
        name: "stress",
        routines: request.routines,
        allocations: request.allocations,
        block_bytes: request.block_kb * 1024,
        pattern: request.pattern,
        hashing: Hashing::Dropped,
        yield_every: request.yield_every,
    };
    check_orders(&orders, available)?;
    Ok(Plan {
        request: *request,
        orders,
    })
}

/// The two limits on products of fields.
pub(crate) fn check_orders(orders: &Orders, available: Option<u64>) -> Result<(), LimitExceeded> {
    check_bytes(
        "allocated_bytes",
        orders.allocated_bytes(),
        MAX_ALLOCATED_BYTES,
    )?;
    check_bytes(
        "kept_bytes",
        orders.live_bytes_max(),
        kept_bytes_limit(available),
    )?;
    Ok(())
}

/// Starts the run on `handle`'s runtime; its routines belong to `workload`.
///
/// # Errors
/// When the runtime takes no new routine.
pub fn start(handle: &Handle, plan: Plan, workload: &Workload) -> Result<Run<Report>, SpawnError> {
    let watch = Watch::new(plan.orders.total_allocations(), "allocations");
    let counted = workload.clone();
    Run::start("stress", handle, workload, watch, move |watch| {
        root(plan, &watch, &counted)
    })
}

fn root(plan: Plan, watch: &Watch, workload: &Workload) -> Result<Report, RunError> {
    let begun = Instant::now();
    let churned = churn::run(plan.orders, watch)?;
    let own_at_peak = OwnMemory::read(workload);
    let process_live_bytes_at_peak = process_live_bytes();
    if plan.request.hold_ms > 0 {
        time::sleep(Duration::from_millis(plan.request.hold_ms));
    }
    churned.shelf.release()?;
    let tally = churned.tally;
    Ok(Report {
        request: plan.request,
        allocations: tally.kept + tally.dropped,
        kept: tally.kept,
        dropped: tally.dropped,
        hashed: tally.hashed,
        written_bytes: tally.written_bytes,
        yields: tally.yields,
        duration: begun.elapsed(),
        allocating: churned.took,
        own_at_peak,
        own_at_end: OwnMemory::read(workload),
        process_live_bytes_at_peak,
        process_live_bytes_at_end: process_live_bytes(),
        digest: tally.digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(request: Request, available: Option<u64>, field: &str, limit: u64) {
        let error = check(&request, available).unwrap_err();
        assert_eq!((error.field, error.limit()), (field, limit), "{error}");
    }

    #[test]
    fn the_defaults_are_allowed() {
        let plan = check(&Request::default(), Some(1 << 30)).unwrap();
        assert_eq!(plan.allocated_bytes(), 10 << 20);
        assert_eq!(plan.kept_bytes(), 0);
    }

    #[test]
    fn each_field_has_its_bound() {
        let with = |change: fn(&mut Request)| {
            let mut request = Request::default();
            change(&mut request);
            request
        };
        refused(with(|r| r.routines = 0), None, "goroutines", 1);
        refused(with(|r| r.routines = 100_001), None, "goroutines", 100_000);
        refused(with(|r| r.allocations = 0), None, "allocations", 1);
        refused(
            with(|r| r.allocations = 1_000_001),
            None,
            "allocations",
            1_000_000,
        );
        refused(with(|r| r.block_kb = 0), None, "block_kb", 1);
        refused(with(|r| r.block_kb = 65_537), None, "block_kb", 65_536);
        refused(with(|r| r.hold_ms = 60_001), None, "hold_ms", 60_000);
        refused(
            with(|r| r.yield_every = 1_000_001),
            None,
            "yield_every",
            1_000_000,
        );
        assert!(check(&with(|r| r.yield_every = 0), None).is_ok());
    }

    /// The request that brought the old service down: 100 routines keep 100 MiB each.
    #[test]
    fn ten_gigabytes_kept_are_refused() {
        let request = Request {
            routines: 100,
            allocations: 100,
            pattern: Pattern::LongLived,
            ..Request::default()
        };
        refused(request, None, "kept_bytes", 2 << 30);
        let flat = Request {
            pattern: Pattern::ShortLived,
            ..request
        };
        assert!(check(&flat, None).is_ok());
    }

    #[test]
    fn half_of_the_available_memory_may_be_kept() {
        let request = Request {
            allocations: 300,
            pattern: Pattern::LongLived,
            ..Request::default()
        };
        assert!(check(&request, Some(1 << 30)).is_ok());
        refused(request, Some(512 << 20), "kept_bytes", 256 << 20);
    }

    #[test]
    fn more_than_64_gibibytes_in_all_are_refused() {
        let request = Request {
            routines: 100_000,
            allocations: 1_000_000,
            block_kb: 65_536,
            ..Request::default()
        };
        refused(request, None, "allocated_bytes", 64 << 30);
    }
}
