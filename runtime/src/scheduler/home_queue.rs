//! One queue of a home or a worker: a list linked by the routines' own `next`, used by one thread at a
//! time, so it needs no synchronisation and never allocates.

use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

use crate::routine::{Header, RoutineRef};

/// See the module's text.
pub(crate) struct HomeQueue {
    head: Cell<*mut Header>,
    tail: Cell<*mut Header>,
}

impl HomeQueue {
    pub(crate) fn new() -> HomeQueue {
        HomeQueue {
            head: Cell::new(null_mut()),
            tail: Cell::new(null_mut()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_null()
    }

    /// Adds a routine that the caller owns at the end.
    pub(crate) fn push_back(&self, routine: RoutineRef) {
        routine.header().next.store(null_mut(), Relaxed);
        let tail = self.tail.replace(routine.as_ptr());
        if tail.is_null() {
            self.head.set(routine.as_ptr());
        } else {
            // SAFETY: members of the queue are owned by it, so their blocks are alive.
            unsafe { (*tail).next.store(routine.as_ptr(), Relaxed) };
        }
    }

    /// Takes this one out, if it is in. Looks at all that are before it.
    pub(crate) fn remove(&self, routine: RoutineRef) -> bool {
        let mut before = null_mut::<Header>();
        let mut at = self.head.get();
        while !at.is_null() {
            // SAFETY: as in `push_back`.
            let next = unsafe { (*at).next.load(Relaxed) };
            if at == routine.as_ptr() {
                if before.is_null() {
                    self.head.set(next);
                } else {
                    // SAFETY: as in `push_back`.
                    unsafe { (*before).next.store(next, Relaxed) };
                }
                if next.is_null() {
                    self.tail.set(before);
                }
                return true;
            }
            before = at;
            at = next;
        }
        false
    }

    /// Takes the first one.
    pub(crate) fn pop_front(&self) -> Option<RoutineRef> {
        let head = self.head.get();
        if head.is_null() {
            return None;
        }
        // SAFETY: as in `push_back`.
        let routine = unsafe { RoutineRef::from_ptr(head) };
        let next = routine.header().next.load(Relaxed);
        self.head.set(next);
        if next.is_null() {
            self.tail.set(null_mut());
        }
        Some(routine)
    }
}
