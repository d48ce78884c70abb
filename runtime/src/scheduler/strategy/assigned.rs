//! What was given to one worker before it started: fresh routines that a key or a placement sends there.
//!
//! Two queues that anybody may fill and empty. *Keyed* routines are for that worker; only rebalancing takes
//! them elsewhere. *Placed* ones are open to thieves, as what lies in a deque is. The worker moves both to
//! its own lists and deque; see `worker/assigned.rs`.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crossbeam_deque::{Injector, Steal, Worker as LocalQueue};

use super::choose::Move;
use crate::routine::RoutineRef;

/// See the module's text.
pub(crate) struct Assigned {
    keyed: Injector<RoutineRef>,
    placed: Injector<RoutineRef>,
    /// What this worker is asked to fetch from another one: 0, or the other's number + 1 in the upper half
    /// and how many in the lower.
    request: AtomicU64,
}

impl Assigned {
    pub(crate) fn new() -> Assigned {
        Assigned {
            keyed: Injector::new(),
            placed: Injector::new(),
            request: AtomicU64::new(0),
        }
    }

    pub(crate) fn push_keyed(&self, routine: RoutineRef) {
        self.keyed.push(routine);
    }

    pub(crate) fn push_placed(&self, routine: RoutineRef) {
        self.placed.push(routine);
    }

    pub(crate) fn pop_keyed(&self) -> Option<RoutineRef> {
        loop {
            match self.keyed.steal() {
                Steal::Success(routine) => return Some(routine),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    pub(crate) fn pop_placed(&self) -> Option<RoutineRef> {
        loop {
            match self.placed.steal() {
                Steal::Success(routine) => return Some(routine),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// Takes up to so many placed ones, the first as the result, the others into `into`.
    pub(crate) fn take_placed(
        &self,
        into: &LocalQueue<RoutineRef>,
        limit: usize,
    ) -> Option<RoutineRef> {
        loop {
            match self.placed.steal_batch_with_limit_and_pop(into, limit) {
                Steal::Success(first) => return Some(first),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    pub(crate) fn has_keyed(&self) -> bool {
        !self.keyed.is_empty()
    }

    pub(crate) fn has_placed(&self) -> bool {
        !self.placed.is_empty()
    }

    pub(crate) fn keyed_len(&self) -> u64 {
        self.keyed.len() as u64
    }

    pub(crate) fn placed_len(&self) -> u64 {
        self.placed.len() as u64
    }

    /// Asks the worker to fetch work. A request that it has not seen yet is replaced.
    pub(crate) fn ask(&self, wanted: Move) {
        let request = ((wanted.from as u64 + 1) << 32) | u64::from(wanted.count);
        // Release pairs with the acquire in `take_request`, for whoever asks and then wakes.
        self.request.store(request, Release);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.request.load(Relaxed) != 0
    }

    /// The request, which is fulfilled by it: whom to take from, and how many.
    pub(crate) fn take_request(&self) -> Option<(usize, u32)> {
        // Acquire pairs with the release in `ask`.
        let request = self.request.swap(0, Acquire);
        let from = (request >> 32).checked_sub(1)?;
        Some((from as usize, request as u32))
    }
}
