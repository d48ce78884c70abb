//! A worker that has been in one turn for long. What is bound to its thread waits meanwhile.

use openwork::WorkerId;
use openwork::snapshot::RunningTurn;

use super::{Finding, Kind, LONG_NS, spoken};

pub(crate) fn worker_stuck(worker: WorkerId, turn: &RunningTurn, now_ns: u64) -> Option<Finding> {
    let for_ns = now_ns.saturating_sub(turn.start_ns);
    let RunningTurn { routine, site, .. } = turn;
    (for_ns > LONG_NS).then(|| Finding {
        kind: Kind::WorkerStuck,
        text: format!(
            "Worker {worker} has been in one turn for {}: routine {routine}, spawned at {site}.",
            spoken(for_ns)
        ),
        link: "#lanes",
    })
}
