//! Priorities, as one worker keeps them; the rule is told at [`Priority`].

use std::cell::Cell;

use super::WorkerCore;
use crate::priority::Priority;
use crate::routine::RoutineRef;
use crate::snapshot::Source;

/// High turns in a row, while others may wait.
const HIGH_IN_ROW: u32 = 15;
/// Turns that are given to others while a low one waits.
const LOW_AFTER: u32 = 63;

/// How long the rule has favoured whom.
pub(super) struct LevelRule {
    high_in_row: Cell<u32>,
    since_low: Cell<u32>,
    /// Bound ones and those that may run anywhere take turns, as home list and deque do.
    bound_first: Cell<bool>,
}

impl LevelRule {
    pub(super) fn new() -> LevelRule {
        LevelRule {
            high_in_row: Cell::new(0),
            since_low: Cell::new(0),
            bound_first: Cell::new(false),
        }
    }
}

impl WorkerCore {
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
        let bound = || {
            let (first, second) = self.own_lists_in_order();
            first
                .pop_level(priority)
                .or_else(|| second.pop_level(priority))
        };
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
        self.bound().has_level(priority)
            || self.own().has_level(priority)
            || self.shared.levels.waits(priority)
    }
}
