//! Priorities, as one worker keeps them; the rule is told at [`Priority`].

use std::cell::Cell;

use super::WorkerCore;
use crate::priority::Priority;
use crate::routine::RoutineRef;
use crate::scheduler::home_queue::HomeQueue;
use crate::scheduler::stats;
use crate::snapshot::Source;

/// High turns in a row, while others may wait.
const HIGH_IN_ROW: u32 = 15;
/// Turns that are given to others while a low one waits.
const LOW_AFTER: u32 = 63;

/// Bound routines by level, and how long the rule has favoured whom.
pub(super) struct LevelLists {
    high: HomeQueue,
    low: HomeQueue,
    high_in_row: Cell<u32>,
    since_low: Cell<u32>,
    /// Bound ones and those that may run anywhere take turns, as home list and deque do.
    bound_first: Cell<bool>,
}

impl LevelLists {
    pub(super) fn new() -> LevelLists {
        LevelLists {
            high: HomeQueue::new(),
            low: HomeQueue::new(),
            high_in_row: Cell::new(0),
            since_low: Cell::new(0),
            bound_first: Cell::new(false),
        }
    }

    fn list(&self, priority: Priority) -> &HomeQueue {
        match priority {
            Priority::High => &self.high,
            Priority::Low => &self.low,
            Priority::Normal => unreachable!("normal ones have a list of their own"),
        }
    }

    pub(super) fn remove(&self, routine: RoutineRef) -> bool {
        self.high.remove(routine) || self.low.remove(routine)
    }
}

impl WorkerCore {
    /// Adds a routine of high or low priority that only this worker may run.
    pub(super) fn push_bound_level(&self, routine: RoutineRef, source: Source) {
        let header = routine.header();
        header.set_source(source);
        self.levels.list(header.priority()).push_back(routine);
        stats::add(&self.stats().ring, 1);
    }

    /// The next routine, if the rule names one of high or low priority. Asked once a turn, as soon as
    /// there was one of another priority than normal.
    #[inline(never)]
    pub(super) fn next_by_level(&self) -> Option<RoutineRef> {
        let levels = &self.levels;
        if self.level_waits(Priority::Low) {
            levels.since_low.set(levels.since_low.get() + 1);
            if levels.since_low.get() > LOW_AFTER
                && let Some(routine) = self.pop_level(Priority::Low)
            {
                return Some(routine);
            }
        } else {
            levels.since_low.set(0);
        }
        let row = levels.high_in_row.get();
        if row < HIGH_IN_ROW
            && self.level_waits(Priority::High)
            && let Some(routine) = self.pop_level(Priority::High)
        {
            levels.high_in_row.set(row + 1);
            return Some(routine);
        }
        levels.high_in_row.set(0);
        None
    }

    /// When the rule named no high one and no normal one waits. Low first: if high ones wait, they have
    /// had their turns in a row.
    pub(super) fn pop_low_or_high(&self) -> Option<RoutineRef> {
        if !self.shared.levels.are_used() {
            return None;
        }
        self.pop_level(Priority::Low)
            .or_else(|| self.pop_level(Priority::High))
    }

    /// Whichever waits here, without the rule.
    pub(super) fn pop_any_level(&self) -> Option<RoutineRef> {
        if !self.shared.levels.are_used() {
            return None;
        }
        self.pop_level(Priority::High)
            .or_else(|| self.pop_level(Priority::Low))
    }

    pub(super) fn pop_level(&self, priority: Priority) -> Option<RoutineRef> {
        let bound_first = !self.levels.bound_first.get();
        self.levels.bound_first.set(bound_first);
        let bound = || self.pop_from(self.levels.list(priority));
        let common = || {
            let routine = self.shared.levels.pop(priority)?;
            routine.header().set_source(Source::Injector);
            Some(routine)
        };
        let found = if bound_first {
            bound().or_else(common)
        } else {
            common().or_else(bound)
        };
        if priority == Priority::Low && found.is_some() {
            self.levels.since_low.set(0);
        }
        found
    }

    fn level_waits(&self, priority: Priority) -> bool {
        !self.levels.list(priority).is_empty() || self.shared.levels.waits(priority)
    }
}
