//! When destructors run, measured on every object.
//!
//! Without a collector an object's last owner runs its destructor at once. This makes `count`
//! objects, each an allocation of its own, lets go of them one by one, and measures the time from
//! letting go to the first line of `Drop`: two readings of the clock apart, so a part of the figure
//! is the clock itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openwork::time::now_ns;
use openwork::{Handle, SpawnError, Workload, yield_now};

use crate::latency::{Latencies, Latency};
use crate::limits::{Bound, LimitExceeded};
use crate::own::OwnMemory;
use crate::run::{Run, Watch};

/// Bound of [`Request::count`].
pub const COUNT: Bound = Bound {
    field: "count",
    min: 1,
    max: 1_000_000,
    default: 100,
    unit: "objects",
};

/// Objects made or let go of in one turn: 0.1 ms (`cargo bench --bench turns`).
const BATCH: u64 = 1000;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How many objects.
    pub count: u64,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            count: COUNT.default,
        }
    }
}

/// A request that is within its limits.
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

/// What became of the objects.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Objects made.
    pub created: u64,
    /// Destructors that ran before this report was made, counted by themselves.
    pub executed: u64,
    /// From the first object's making to the last one's end.
    pub duration: Duration,
    /// From letting go of an object to its destructor's first line.
    pub latency: Option<Latency>,
    /// Held by the run's own routines at the end.
    pub own: Option<OwnMemory>,
}

/// Checks a request against its limit.
///
/// # Errors
/// [`LimitExceeded`] when the count is out of bounds.
pub fn check(request: &Request) -> Result<Plan, LimitExceeded> {
    COUNT.check(request.count)?;
    Ok(Plan { request: *request })
}

/// Starts the run on `handle`'s runtime; its routine belongs to `workload`.
///
/// # Errors
/// When the runtime takes no new routine.
pub fn start(handle: &Handle, plan: Plan, workload: &Workload) -> Result<Run<Report>, SpawnError> {
    let watch = Watch::new(plan.request.count, "objects");
    let counted = workload.clone();
    Run::start("gc-finalizers", handle, workload, watch, move |watch| {
        Ok(root(plan.request.count, &watch, &counted))
    })
}

fn root(count: u64, watch: &Watch, workload: &Workload) -> Report {
    let begun = Instant::now();
    let register = Arc::new(Mutex::new(Latencies::new()));
    let mut objects = Vec::new();
    for index in 0..count {
        objects.push(Box::new(Finalized {
            let_go_at_ns: None,
            register: register.clone(),
        }));
        if index % BATCH == BATCH - 1 {
            yield_now();
        }
    }
    let created = objects.len() as u64;
    while !objects.is_empty() {
        let batch = objects.len().min(BATCH as usize);
        for mut object in objects.drain(objects.len() - batch..) {
            object.let_go_at_ns = Some(now_ns());
            drop(object);
        }
        watch.add(batch as u64);
        yield_now();
    }
    drop(objects);
    let duration = begun.elapsed();
    let latencies = Arc::into_inner(register)
        .expect("the objects that shared it are gone")
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Report {
        created,
        executed: latencies.len(),
        duration,
        latency: latencies.summary(),
        own: OwnMemory::read(workload),
    }
}

/// An object whose destructor reports its own delay.
struct Finalized {
    /// `None` until its owner lets go; a cancelled run drops such objects, which count for nothing.
    let_go_at_ns: Option<u64>,
    register: Arc<Mutex<Latencies>>,
}

impl Drop for Finalized {
    fn drop(&mut self) {
        let now = now_ns();
        if let Some(let_go) = self.let_go_at_ns {
            self.register
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .record(now.saturating_sub(let_go));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_bounded() {
        assert!(check(&Request::default()).is_ok());
        assert_eq!(check(&Request { count: 0 }).unwrap_err().limit(), 1);
        assert_eq!(
            check(&Request { count: 1_000_001 }).unwrap_err().limit(),
            1_000_000
        );
    }
}
