//! Routines that have not begun because no stack is free.

use super::{Finding, Kind, counted};

pub(crate) fn stack_limit(waiting: u64, limit: Option<u64>) -> Option<Finding> {
    let reason = match limit {
        Some(limit) => format!("All {limit} stacks are in use"),
        None => "No more stacks are to be had".to_owned(),
    };
    let rest = match waiting {
        0 => return None,
        1 => "waits for one before its first turn",
        _ => "wait for one before their first turn",
    };
    Some(Finding {
        kind: Kind::StackLimit,
        text: format!("{reason}; {} {rest}.", counted(waiting, "routine")),
        link: "#stacks",
    })
}
