//! The inbox of a home: readies from other threads, many writers, one reader.
//!
//! An intrusive list linked by the routines' own `next`, pushed at its head by an exchange and
//! taken whole by the home, which turns it round. Taking all at once is what makes the simple list
//! safe: nobody ever follows a link of a list that somebody else may still take from.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::primitives::AtomicPtr;
use crate::routine::{Header, RoutineRef};
use std::sync::atomic::AtomicU64;

/// See the module's text.
pub(crate) struct Inbox {
    head: AtomicPtr<Header>,
    len: AtomicU64,
}

impl Inbox {
    pub(crate) fn new() -> Inbox {
        Inbox {
            head: AtomicPtr::new(null_mut()),
            len: AtomicU64::new(0),
        }
    }

    /// Adds a routine that the caller owns.
    pub(crate) fn push(&self, routine: RoutineRef) {
        self.len.fetch_add(1, Relaxed);
        let mut head = self.head.load(Relaxed);
        loop {
            routine.header().next.store(head, Relaxed);
            // Release pairs with the acquire swap in `drain`: the routine is visible to its home.
            match self
                .head
                .compare_exchange_weak(head, routine.as_ptr(), Release, Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Routines waiting here. As exact as a count that changes meanwhile can be.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Relaxed)
    }

    /// Whether there is something to drain.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Relaxed).is_null()
    }

    /// Takes everything, oldest first. Only by the home.
    pub(crate) fn drain(&self, mut each: impl FnMut(RoutineRef)) {
        // Acquire pairs with the release exchange in `push`.
        let mut newest = self.head.swap(null_mut(), Acquire);
        let mut oldest = null_mut();
        let mut count = 0;
        while !newest.is_null() {
            // SAFETY: the list was ours from the swap on, and its members' blocks are alive as
            // long as they are queued.
            let routine = unsafe { RoutineRef::from_ptr(newest) };
            let next = routine.header().next.load(Relaxed);
            routine.header().next.store(oldest, Relaxed);
            oldest = newest;
            newest = next;
            count += 1;
        }
        self.len.fetch_sub(count, Relaxed);
        while !oldest.is_null() {
            // SAFETY: as above.
            let routine = unsafe { RoutineRef::from_ptr(oldest) };
            oldest = routine.header().next.load(Relaxed);
            each(routine);
        }
    }
}
