//! The stacks of one routine: its own and, while it is in [`with_segment`](crate::with_segment), those
//! that are linked to it.
//!
//! ```text
//!   own slot                  segment                   segment in the segment
//!   ┌──────────────┐     ┌──► ┌──────────────┐     ┌──► ┌──────────────┐
//!   │ frames       │     │    │ frames       │     │    │ frames       │
//!   │ with_segment │ ────┘    │ with_segment │ ────┘    │ ...          │ the current one
//!   └──────────────┘          └──────────────┘          └──────────────┘
//! ```
//!
//! What the routine's part says of bounds and depth is always said of the current stack, so that a
//! suspension writes the same words wherever it happens. What it said of the one before lies in the
//! frame that left that one, and is put back when the segment's call returns.

use std::ops::Range;

/// A stack that was left for a segment. Lies in the frame that left it.
#[derive(Debug)]
pub(crate) struct LeftStack {
    stack: Extent,
    /// The stack pointer of the frame that left it, or an address in that frame.
    sp: usize,
}

impl LeftStack {
    pub(super) fn new(stack: Extent) -> LeftStack {
        LeftStack {
            stack,
            sp: stack.base,
        }
    }

    /// The frame that leaves it is at this address.
    pub(super) fn leave_at(&mut self, sp: usize) {
        self.sp = sp;
    }
}

/// Where a routine's current stack lies, and the ones it has left for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Lowest usable address.
    pub(crate) low: usize,
    /// End of the frames.
    pub(crate) base: usize,
    /// Null in the routine's own stack.
    left: *const LeftStack,
}

impl Extent {
    pub(super) fn new(low: usize, base: usize, left: *const LeftStack) -> Extent {
        Extent { low, base, left }
    }

    /// Whether one of the routine's stacks begins in this slot.
    ///
    /// # Safety
    /// 1. As for [`before`](Self::before).
    pub(crate) unsafe fn reach(self, slot: &Range<usize>) -> bool {
        // SAFETY: 1 by the caller.
        slot.contains(&self.low)
            || unsafe { self.before() }.is_some_and(|(before, _)| {
                // SAFETY: as above.
                unsafe { before.reach(slot) }
            })
    }

    pub(super) fn left(self) -> *const LeftStack {
        self.left
    }

    /// Without segments.
    #[cfg(test)]
    pub(crate) fn alone(low: usize, base: usize) -> Extent {
        Extent::new(low, base, std::ptr::null())
    }

    /// The stack that was left for this one, and the stack pointer with which it was left; `None` for
    /// a routine's own.
    ///
    /// # Safety
    /// 1. Exclusive: the routine runs on this thread, which is here or in a signal handler, or is held
    ///    inspected.
    pub(crate) unsafe fn before(self) -> Option<(Extent, usize)> {
        // SAFETY: by 1 the frames of the routine stay, and with them what lies in them.
        let left = unsafe { self.left.as_ref() }?;
        Some((left.stack, left.sp))
    }

    /// The routine's own stack, and the stack pointer with which it was left; `None` while it is the
    /// current one.
    ///
    /// # Safety
    /// 1. As for [`before`](Self::before).
    pub(crate) unsafe fn own(self) -> Option<(Extent, usize)> {
        // SAFETY: 1 by the caller.
        let mut found = unsafe { self.before() }?;
        // SAFETY: 1 by the caller.
        while let Some(before) = unsafe { found.0.before() } {
            found = before;
        }
        Some(found)
    }
}
