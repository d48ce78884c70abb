//! A thread that sleeps on what a routine bound to it most likely holds.

use openwork::snapshot::{HostageDeadlock, MonitorFigures};

use super::{Finding, Kind, counted, spoken};

/// Tells of the newest report for as long as there are hostages.
#[derive(Debug, Default)]
pub(crate) struct HostageDeadlocks {
    /// Where to read on.
    pub(crate) cursor: u64,
    /// Reports read; the newest stays.
    pub(crate) reports: Vec<HostageDeadlock>,
}

impl HostageDeadlocks {
    pub(crate) fn found(&mut self, monitor: &MonitorFigures, at_ns: u64) -> Option<Finding> {
        let newest = self.reports.pop()?;
        self.reports.clear();
        if monitor.hostages == 0 {
            return None;
        }
        let name = newest
            .name
            .as_ref()
            .map_or_else(String::new, |name| format!(" `{name}`"));
        let call = newest.call.name().unwrap_or("a system call");
        let text = format!(
            "Routine {}{name} has slept in {call} for {}, and {} can run on its thread alone: most likely one of them holds what it waits for, at {:#x}; spawned at {}.",
            newest.routine,
            spoken(at_ns.saturating_sub(newest.since_ns)),
            counted(newest.hostages, "other routine"),
            newest.futex_address,
            newest.site,
        );
        self.reports.push(newest);
        Some(Finding {
            kind: Kind::HostageDeadlock,
            text,
            link: "#threads",
        })
    }
}
