//! The lists of those who may run in one place only: of a home, for routines that are bound to it, and of
//! a worker, for the few common ones that it alone is to run. No thief sees them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::home_queue::HomeQueue;
use crate::priority::Priority;
use crate::routine::RoutineRef;

/// Lists that lie where others see them, for their length.
pub(crate) struct SharedLists(Lists);

// SAFETY: the links in the lists are reached by `get` alone, whose callers are one thread at a time; the
// length is atomic.
unsafe impl Sync for SharedLists {}
// SAFETY: as for `Sync`; the pointers are of blocks that outlive the lists.
unsafe impl Send for SharedLists {}

impl SharedLists {
    pub(crate) fn new() -> SharedLists {
        SharedLists(Lists::new())
    }

    /// # Safety
    /// 1. Exclusive: the lists are the calling thread's as long as the result is used.
    #[inline]
    pub(crate) unsafe fn get(&self) -> &Lists {
        &self.0
    }

    /// Routines in all of them.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }
}

/// See the module's text. Used by one thread at a time.
pub(crate) struct Lists {
    /// Readied by a deadline or the poller: these go before the others, in order, or they would wait a
    /// whole round.
    urgent: HomeQueue,
    normal: HomeQueue,
    high: HomeQueue,
    low: HomeQueue,
    len: AtomicU64,
}

impl Lists {
    fn new() -> Lists {
        Lists {
            urgent: HomeQueue::new(),
            normal: HomeQueue::new(),
            high: HomeQueue::new(),
            low: HomeQueue::new(),
            len: AtomicU64::new(0),
        }
    }

    /// Routines in all of them.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Relaxed)
    }

    fn of_level(&self, priority: Priority) -> &HomeQueue {
        match priority {
            Priority::High => &self.high,
            Priority::Low => &self.low,
            Priority::Normal => unreachable!("normal ones have a list of their own"),
        }
    }

    /// Adds a routine at the end of the list that its priority names.
    #[inline]
    pub(crate) fn push(&self, routine: RoutineRef) {
        if routine.header().is_normal() {
            self.push_to(&self.normal, routine);
        } else {
            self.push_to(self.of_level(routine.header().priority()), routine);
        }
    }

    /// Adds a routine before all of normal priority that are there for another reason.
    #[inline]
    pub(crate) fn push_urgent(&self, routine: RoutineRef) {
        if routine.header().is_normal() {
            self.push_to(&self.urgent, routine);
        } else {
            self.push_to(self.of_level(routine.header().priority()), routine);
        }
    }

    #[inline]
    fn push_to(&self, list: &HomeQueue, routine: RoutineRef) {
        list.push_back(routine);
        self.len.store(self.len() + 1, Relaxed);
    }

    #[inline]
    pub(crate) fn pop_urgent(&self) -> Option<RoutineRef> {
        self.pop_from(&self.urgent)
    }

    /// Takes one of normal priority that is not urgent.
    #[inline]
    pub(crate) fn pop_unhurried(&self) -> Option<RoutineRef> {
        self.pop_from(&self.normal)
    }

    /// Takes one of high or low priority.
    pub(crate) fn pop_level(&self, priority: Priority) -> Option<RoutineRef> {
        self.pop_from(self.of_level(priority))
    }

    /// Whether one of high or low priority is there.
    pub(crate) fn has_level(&self, priority: Priority) -> bool {
        !self.of_level(priority).is_empty()
    }

    #[inline]
    fn pop_from(&self, list: &HomeQueue) -> Option<RoutineRef> {
        let routine = list.pop_front()?;
        self.len.store(self.len() - 1, Relaxed);
        Some(routine)
    }

    /// Takes this one out, wherever it is, if it is there.
    pub(crate) fn remove(&self, routine: RoutineRef) -> bool {
        let lists = [&self.urgent, &self.normal, &self.high, &self.low];
        let found = lists.iter().any(|list| list.remove(routine));
        if found {
            self.len.store(self.len() - 1, Relaxed);
        }
        found
    }
}
