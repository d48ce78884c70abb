//! What keeping data costs, on native memory.
//!
//! One routine allocates and writes blocks, and keeps all, none or every other one. The figures are
//! read while the kept blocks are still alive; measured after their last use they would show
//! nothing. There is no collector, so nothing is collected: what a collector would report is absent
//! from the [`Report`] rather than zero.

use std::time::Duration;

use openwork::{Handle, SpawnError, Workload};

use crate::churn::{self, Hashing, Orders};
use crate::limits::{Bound, LimitExceeded};
use crate::own::{OwnMemory, process_live_bytes};
use crate::pattern::Pattern;
use crate::run::{Run, RunError, Watch};
use crate::stress::{YIELD_EVERY, check_orders, per_second};

/// Bound of [`Request::allocations`].
pub const ALLOCATIONS: Bound = Bound {
    field: "allocations",
    min: 1,
    max: 1_000_000,
    default: 10_000,
    unit: "allocations",
};

/// Bound of [`Request::size_kb`].
pub const SIZE_KB: Bound = Bound {
    field: "size_kb",
    min: 1,
    max: 65_536,
    default: 1,
    unit: "KiB",
};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How many blocks.
    pub allocations: u64,
    /// Size of a block in KiB.
    pub size_kb: u64,
    /// What becomes of a block.
    pub pattern: Pattern,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            allocations: ALLOCATIONS.default,
            size_kb: SIZE_KB.default,
            pattern: Pattern::default(),
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
}

/// What the benchmark did and held.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What was asked for.
    pub request: Request,
    /// Blocks kept to the end.
    pub kept: u64,
    /// Blocks dropped as soon as they were written.
    pub dropped: u64,
    /// Bytes written, every one of every block.
    pub written_bytes: u64,
    /// Time to allocate and write everything; the release is not in it.
    pub duration: Duration,
    /// Alive in the whole process before the first allocation.
    pub live_before_bytes: Option<u64>,
    /// Alive in the whole process while every kept block is.
    pub live_after_bytes: Option<u64>,
    /// Held by the run's own routines while every kept block is alive.
    pub own: Option<OwnMemory>,
    /// Held by the run's own routines after the release.
    pub own_at_end: Option<OwnMemory>,
}

impl Report {
    /// Bytes written per second; `None` when it took no measurable time.
    pub fn throughput_bytes_per_second(&self) -> Option<f64> {
        per_second(self.written_bytes, self.duration)
    }
}

/// Checks a request against the limits, as [`stress::check`](crate::stress::check) does.
///
/// # Errors
/// [`LimitExceeded`] names the first field, or product of fields, that is out of bounds.
pub fn check(request: &Request, available: Option<u64>) -> Result<Plan, LimitExceeded> {
    ALLOCATIONS.check(request.allocations)?;
    SIZE_KB.check(request.size_kb)?;
    let orders = Orders {
        name: "benchmark",
        routines: 1,
        allocations: request.allocations,
        block_bytes: request.size_kb * 1024,
        pattern: request.pattern,
        hashing: Hashing::Nothing,
        yield_every: YIELD_EVERY.default,
    };
    check_orders(&orders, available)?;
    Ok(Plan {
        request: *request,
        orders,
    })
}

/// Starts the run on `handle`'s runtime; its routines belong to `workload`.
///
/// # Errors
/// When the runtime takes no new routine.
pub fn start(handle: &Handle, plan: Plan, workload: &Workload) -> Result<Run<Report>, SpawnError> {
    let watch = Watch::new(plan.orders.total_allocations(), "allocations");
    let counted = workload.clone();
    Run::start("gc-benchmark", handle, workload, watch, move |watch| {
        root(plan, &watch, &counted)
    })
}

fn root(plan: Plan, watch: &Watch, workload: &Workload) -> Result<Report, RunError> {
    let live_before_bytes = process_live_bytes();
    let churned = churn::run(plan.orders, watch)?;
    let own = OwnMemory::read(workload);
    let live_after_bytes = process_live_bytes();
    churned.shelf.release()?;
    Ok(Report {
        request: plan.request,
        kept: churned.tally.kept,
        dropped: churned.tally.dropped,
        written_bytes: churned.tally.written_bytes,
        duration: churned.took,
        live_before_bytes,
        live_after_bytes,
        own,
        own_at_end: OwnMemory::read(workload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_keep_nothing() {
        let plan = check(&Request::default(), Some(64 << 20)).unwrap();
        assert_eq!(plan.orders.allocated_bytes(), 10_000 << 10);
        assert_eq!(plan.orders.kept_bytes(), 0);
    }

    #[test]
    fn kept_data_is_limited() {
        let request = Request {
            allocations: 1_000_000,
            size_kb: 4,
            pattern: Pattern::LongLived,
        };
        assert_eq!(check(&request, None).unwrap_err().field, "kept_bytes");
    }
}
