//! Routines of high and low priority that any worker may run: one queue each for the whole runtime.
//!
//! Deques hold normal ones only, so that thieves and the owner need not look at each routine they take.
//! Where no other priority is ever asked for, a worker pays one load of a word that nobody writes. Bound
//! ones lie in lists of their home; which comes when is [`worker`](super::worker)'s.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_deque::{Injector, Steal};

use crate::priority::Priority;
use crate::routine::RoutineRef;

/// See the module's text.
pub(crate) struct Levels {
    used: AtomicBool,
    high: Injector<RoutineRef>,
    low: Injector<RoutineRef>,
}

impl Levels {
    pub(crate) fn new() -> Levels {
        Levels {
            used: AtomicBool::new(false),
            high: Injector::new(),
            low: Injector::new(),
        }
    }

    /// Whether there ever was a routine of another priority than normal.
    #[inline]
    pub(crate) fn are_used(&self) -> bool {
        // Relaxed: stored before the first of them is queued anywhere, and read after whatever tells
        // a worker of work (see `docs/scheduler.md`).
        self.used.load(Relaxed)
    }

    /// A routine of this priority is about to be queued.
    pub(crate) fn note(&self, priority: Priority) {
        if priority != Priority::Normal && !self.are_used() {
            self.used.store(true, Relaxed);
        }
    }

    /// Adds one of high or low priority. The caller notifies.
    pub(crate) fn push(&self, routine: RoutineRef) {
        self.queue(routine.header().priority()).push(routine);
    }

    pub(crate) fn pop(&self, priority: Priority) -> Option<RoutineRef> {
        loop {
            match self.queue(priority).steal() {
                Steal::Success(routine) => return Some(routine),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    pub(crate) fn waits(&self, priority: Priority) -> bool {
        !self.queue(priority).is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.high.len() + self.low.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.are_used() || (self.high.is_empty() && self.low.is_empty())
    }

    fn queue(&self, priority: Priority) -> &Injector<RoutineRef> {
        match priority {
            Priority::High => &self.high,
            Priority::Low => &self.low,
            Priority::Normal => unreachable!("normal ones have queues of their own"),
        }
    }
}
