//! A worker that has been in one turn for long. What is bound to its thread waits meanwhile.

use std::panic::Location;

use openwork::{RoutineId, WorkerId};

use super::{Finding, Kind, LONG_NS, spoken};

/// `site` is `None` when the routine could not be asked any more.
pub(crate) fn worker_stuck(
    worker: WorkerId,
    routine: RoutineId,
    site: Option<&'static Location<'static>>,
    for_ns: u64,
) -> Option<Finding> {
    let place = site.map_or(String::new(), |site| format!(", spawned at {site}"));
    (for_ns > LONG_NS).then(|| Finding {
        kind: Kind::WorkerStuck,
        text: format!(
            "Worker {worker} has been in one turn for {}: routine {routine}{place}.",
            spoken(for_ns)
        ),
        link: "#lanes",
    })
}
