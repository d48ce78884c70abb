//! A home: what started routines are bound to, and where they queue.

use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};

use super::spares::Tenants;
use crate::routine::Header;
use crate::scheduler::inbox::Inbox;
use crate::scheduler::lists::{Lists, SharedLists};

/// See the module's text. Aligned to two cache lines, because processors fetch lines in pairs.
#[repr(align(128))]
pub(crate) struct Home {
    lists: SharedLists,
    held: Held,
    /// Readied by others.
    pub(crate) inbox: Inbox,
    pub(crate) index: u32,
    /// The routine in the LIFO slot, which holds it. Written by the thread that runs the home.
    pub(crate) lifo: AtomicPtr<Header>,
    /// Number of the routine that holds the thread, 0 for none.
    pub(crate) held_by: AtomicU64,
    /// Routines bound to it, that is with a stack. Written by the thread that runs the home.
    pub(crate) bound: AtomicU32,
    /// A routine that may hold the thread started here, and nobody is to start beside it; of no meaning when nothing
    /// is bound. Written by the thread that runs the home.
    pub(crate) has_suspect: AtomicBool,
}

/// The routine that holds the thread, or null.
struct Held(Cell<*mut Header>);

// SAFETY: the cell is reached by `Home::held` alone, whose callers run the home, one thread at a time.
unsafe impl Sync for Held {}
// SAFETY: as for `Sync`; the pointer is of a block that outlives the home.
unsafe impl Send for Held {}

impl Home {
    pub(super) fn new(index: u32) -> Home {
        Home {
            lists: SharedLists::new(),
            held: Held(Cell::new(null_mut())),
            inbox: Inbox::new(),
            index,
            lifo: AtomicPtr::new(null_mut()),
            held_by: AtomicU64::new(0),
            bound: AtomicU32::new(0),
            has_suspect: AtomicBool::new(false),
        }
    }

    /// The home's queues.
    ///
    /// # Safety
    /// 1. Exclusive: the calling thread runs this home as long as the result is used.
    #[inline]
    pub(crate) unsafe fn lists(&self) -> &Lists {
        // SAFETY: 1 by the caller.
        unsafe { self.lists.get() }
    }

    /// The routine that holds the thread: between its turns nobody else runs.
    ///
    /// # Safety
    /// 1. Exclusive: as for [`lists`](Self::lists).
    #[inline]
    pub(crate) unsafe fn held(&self) -> &Cell<*mut Header> {
        &self.held.0
    }

    /// What is bound to it. By the thread that runs the home.
    pub(crate) fn tenants(&self) -> Tenants {
        match self.bound.load(Relaxed) {
            0 => Tenants::None,
            _ if self.has_suspect.load(Relaxed) => Tenants::Suspect,
            _ => Tenants::Some,
        }
    }

    /// Routines in its lists and its inbox. As exact as a count that changes meanwhile can be.
    pub(crate) fn queued(&self) -> u64 {
        let lifo = u64::from(!self.lifo.load(Relaxed).is_null());
        self.lists.len() + self.inbox.len() + lifo
    }
}
