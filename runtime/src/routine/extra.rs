//! What only few routines have, beside the block: it has room for what all of them have.
//!
//! Null until a routine of the block needs something of it, then kept with the block and freed with the
//! slabs: a recycled block allocates nothing, and a walker may follow the pointer. It is empty when a
//! routine is born, and emptied by its end.

use std::ptr::null_mut;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::routine::Header;
use crate::scope::ScopeData;

/// See the module's text.
pub(crate) struct Extra {
    /// The scope that waits for this routine: a strong reference, or null. Taken at the end.
    pub(crate) scope: AtomicPtr<ScopeData>,
}

impl Extra {
    fn new() -> Extra {
        Extra {
            scope: AtomicPtr::new(null_mut()),
        }
    }
}

impl Header {
    /// What the routine has beside its block, if its block ever needed any.
    pub(crate) fn extra(&self) -> Option<&Extra> {
        // Acquire pairs with the release store in `extra_or_new`, for walkers.
        // SAFETY: once stored it stays as long as the block; see `free_extra`.
        unsafe { self.extra.load(Acquire).as_ref() }
    }

    /// The same, made if need be. Only by whoever owns the routine.
    pub(crate) fn extra_or_new(&self) -> &Extra {
        match self.extra() {
            Some(extra) => extra,
            None => {
                let extra = Box::into_raw(Box::new(Extra::new()));
                // Release: see `extra`.
                self.extra.store(extra, Release);
                // SAFETY: as in `extra`.
                unsafe { &*extra }
            }
        }
    }

    /// Frees it, with the block.
    ///
    /// # Safety
    /// 1. Exclusive: the slabs are being dropped: nobody reads the block any more.
    pub(crate) unsafe fn free_extra(&self) {
        let extra = self.extra.load(Acquire);
        if !extra.is_null() {
            // SAFETY: it was made by `extra_or_new`, and by 1 nobody has it.
            drop(unsafe { Box::from_raw(extra) });
        }
    }
}
