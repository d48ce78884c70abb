//! A worker whose thread is held: the routine that holds it blocks, and nobody else runs here until it
//! goes on.
//!
//! The routine blocks as ever: the worker calls its commit after the switch, and whoever readies it puts
//! it into this home's queues. What differs is the worker, which looks for that one routine only. It
//! serves its deadlines, because that routine's may be among them, and the poller if it gets the seat.
//! A home that wants a worker gets this one, until the routine is ready. Common work is for others: a worker that is woken for it passes the wake on, as one does that has
//! found something else (steps E1 to E3 of `docs/scheduler.md`).

use super::WorkerCore;
use crate::routine::{Header, RoutineRef};
use crate::scheduler::threads::ThreadSlot;
use crate::snapshot::RoutineState;

impl WorkerCore {
    /// The routine that holds the thread.
    #[inline]
    pub(crate) fn held(&self) -> Option<RoutineRef> {
        // SAFETY: 1: the calling thread holds the worker that runs the home.
        let held: *mut Header = unsafe { self.home().held() }.get();
        // SAFETY: it holds the thread from within its own frame, so it has not ended.
        (!held.is_null()).then(|| unsafe { RoutineRef::from_ptr(held) })
    }

    /// Waits until the routine that holds the thread can go on, and takes it from where it was put. False if
    /// another home got the worker meanwhile.
    pub(super) fn wait_for_held(&self, slot: &ThreadSlot, held: RoutineRef) -> bool {
        self.date_last_turn();
        // What lies here is for those who can steal it.
        if !self.local.is_empty() {
            self.shared.notify_work();
        }
        loop {
            self.drain_inbox();
            self.serve_timers();
            if self.take_held(held) {
                return true;
            }
            if self.leave_service(slot, false) || self.serve_wanting(slot, false) {
                return false;
            }
            if self.has_assigned() {
                // Whoever placed it may have woken only us.
                self.shared.notify_work();
            }
            if self.park(false, None) {
                self.stop_searching();
            }
        }
    }

    /// Whether the last look before sleep finds something for the routine that holds the thread.
    pub(super) fn held_must_stay(&self, held: RoutineRef) -> bool {
        !self.home().inbox.is_empty() || is_runnable(held) || self.shared.threads.desk.wanting() > 0
    }

    fn take_held(&self, held: RoutineRef) -> bool {
        // It may be on its way into the inbox; then this is asked again.
        is_runnable(held) && (self.take_lifo(held) || self.take_queued(held))
    }
}

pub(super) fn is_runnable(routine: RoutineRef) -> bool {
    routine.header().life.state() == RoutineState::Runnable
}
