//! A worker's own stacks: the last ones used, still in its cache and backed by memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::arena::WarmCount;
use super::{OutOfStacks, Slot, StackArena, StackClass, residency};

/// Most slots that a pool keeps. With [`KEPT_BYTES`] each, a worker holds 1 MiB of stack that nobody
/// uses at most; and a burst of any size leaves no more.
const CAPACITY: usize = 64;
/// Bytes at the top of a warm slot that stay resident: what routines commonly touch.
const KEPT_BYTES: usize = 16 << 10;

/// Stacks of the default class that one worker has ready. Others go through the arena.
///
/// Owned by the worker's thread; dropping it gives all warm slots to the arena.
#[derive(Debug)]
pub(crate) struct StackPool {
    arena: Arc<StackArena>,
    /// Last in, first out: the slot used last is the one still in the cache.
    warm: Vec<Slot>,
    count: Arc<WarmCount>,
}

impl StackPool {
    pub(crate) fn new(arena: Arc<StackArena>) -> StackPool {
        let count = arena.add_pool();
        StackPool {
            arena,
            warm: Vec::with_capacity(CAPACITY),
            count,
        }
    }

    /// A guarded stack of `class`. Never allocates but when the arena grows.
    pub(crate) fn take(&mut self, class: StackClass) -> Result<Slot, OutOfStacks> {
        self.arena.admit()?;
        if class == self.arena.default_class()
            && let Some(slot) = self.warm.pop()
        {
            self.publish();
            return Ok(slot);
        }
        self.arena.take(class).inspect_err(|_| self.arena.release())
    }

    /// Takes back a slot of this pool's arena. `lowest_sp` is the lowest stack pointer seen while it
    /// was in use: a slot that was used deep, or that the pool has no room for, gives its memory
    /// back to the kernel.
    ///
    /// A depth that nobody saw (reached and left between two suspensions) stays resident while the
    /// slot is warm.
    ///
    /// # Safety
    ///
    /// 1. Exclusive: the routine that ran on the slot has ended, and nothing points into the slot.
    ///    (Otherwise drop the slot, which leaks it.)
    /// 2. Alive: the slot came from a pool of the same arena.
    pub(crate) unsafe fn give_back(&mut self, slot: Slot, lowest_sp: usize) {
        if slot.class() == self.arena.default_class() && self.warm.len() < CAPACITY {
            let kept = slot.high() - KEPT_BYTES;
            if lowest_sp < kept {
                // SAFETY: `residency::discard` 1 and 2: the slot is owned, mapped, and by the
                // caller's 1 nothing on it is used any more.
                unsafe { residency::discard(slot.low(), kept) };
            }
            self.warm.push(slot);
            self.publish();
        } else {
            // SAFETY: by the caller's 1 nothing on the slot is used; by its 2 it is this arena's.
            unsafe { self.arena.give_back(slot) };
        }
        // Last, so that whoever is admitted by it finds the slot where it was put.
        self.arena.release();
    }

    fn publish(&self) {
        self.count.0.store(self.warm.len() as u64, Relaxed);
    }
}

impl Drop for StackPool {
    fn drop(&mut self) {
        self.arena.remove_pool(&self.count);
        for slot in self.warm.drain(..) {
            // SAFETY: a warm slot carries no routine and is this arena's, both by the contract of
            // the `give_back` that put it here.
            unsafe { self.arena.give_back(slot) };
        }
    }
}
