//! Routines that could run and get no worker.

use super::{Finding, Kind, counted, spoken};
use crate::waiting::Waiting;

pub(crate) fn runnable_long(waiting: Waiting) -> Option<Finding> {
    let oldest = spoken(waiting.oldest_ns);
    let rest = match waiting.long {
        0 => return None,
        1 => format!("has waited for a worker for over a second: {oldest}."),
        _ => format!("have waited for a worker for over a second, the longest for {oldest}."),
    };
    Some(Finding {
        kind: Kind::RunnableLong,
        text: format!("{} {rest}", counted(waiting.long, "routine")),
        link: "#waiting",
    })
}
