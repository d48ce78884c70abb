//! Sections: stretches in which a thread is inside the runtime.
//!
//! A worker's data are touched, and the runtime's locks are held, in sections only. Between two of them a
//! routine runs code of its own, and nothing of the worker is borrowed; so there, and nowhere else, the
//! worker is taken from a thread, or the thread stopped. A section that finds no worker goes on without one.
//!
//! A section is a depth in the thread's slot: one up at its beginning, one down at its end, plain stores.
//! Scheduler context is a section as a whole: the loop runs at depth 1. The switch to a routine leaves it
//! ([`ThreadSlot::leave_for_routine`]) and the switch back enters it
//! ([`ThreadSlot::enter_for_switch`]), so a routine never suspends within a section of its own.

use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::compiler_fence;

use super::{Here, ThreadSlot};
use crate::scheduler::Shared;
use crate::scheduler::worker::WorkerCore;
use crate::thread_state;

/// A section of the calling thread, until it is dropped. Nothing on a thread of no runtime.
pub(crate) struct Section(*const ThreadSlot);

impl Section {
    #[inline]
    pub(crate) fn enter() -> Section {
        Section::enter_of(thread_state::slot())
    }

    /// As [`enter`](Self::enter), for a caller that knows the calling thread's slot.
    #[inline]
    pub(crate) fn enter_of(slot: *const ThreadSlot) -> Section {
        let section = Section(slot);
        if let Some(slot) = section.slot() {
            slot.leash
                .section
                .store(slot.leash.section.load(Relaxed) + 1, Relaxed);
            // What follows is inside, for whoever looks at this thread from a signal handler or after it
            // has made all threads pass a fence.
            compiler_fence(SeqCst);
        }
        section
    }

    /// The same for a caller that knows where it is.
    #[inline]
    pub(crate) fn enter_here(here: Here) -> Section {
        Section::enter_of(here.slot().map_or(std::ptr::null(), std::ptr::from_ref))
    }

    #[inline]
    pub(crate) fn slot(&self) -> Option<&ThreadSlot> {
        // SAFETY: the slot of the calling thread, which lives until that has left it, in scheduler context.
        unsafe { self.0.as_ref() }
    }

    /// The worker that the calling thread holds.
    #[inline]
    pub(crate) fn core(&self) -> Option<&WorkerCore> {
        // SAFETY: workers live as long as threads of their runtime, and the thread that holds one is alone
        // in touching it.
        unsafe { self.slot()?.grip.own().as_ref() }
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot() {
            // Release, as in `leave_for_routine`.
            slot.leash
                .section
                .store(slot.leash.section.load(Relaxed) - 1, Release);
        }
    }
}

/// Begins a section that [`lower`] ends. Nothing on a thread of no runtime.
#[inline]
pub(crate) fn raise() {
    // Only its end needs the value.
    std::mem::forget(Section::enter());
}

/// Ends a section that [`raise`] began on this side of a switch.
#[inline]
pub(crate) fn lower() {
    drop(Section(thread_state::slot()));
}

/// Whether the calling thread, which is in a section, may switch to its scheduler at once: it holds a worker, and
/// in a section it keeps it.
#[inline]
pub(crate) fn can_switch(here: Here) -> bool {
    here.slot().is_some_and(|slot| !slot.grip.own().is_null())
}

/// Waits until the calling thread holds a worker. In no section: whoever waits holds no lock.
#[cold]
pub(crate) fn regain() {
    let section = Section::enter();
    if let Some(slot) = section.slot()
        && section.core().is_none()
    {
        slot.regain();
    }
}

/// As [`regain`], where the running routine can as well go on without: not if it was let go because others may wait
/// for what it holds, nor where workers stay with those who do.
#[cold]
pub(crate) fn regain_if_fair() {
    let section = Section::enter();
    if let Some(slot) = section.slot()
        && section.core().is_none()
        && !slot.leash.was_released()
        && slot.shared().tunables.hand_off()
    {
        slot.regain();
    }
}

/// Runs `f` on the worker that this thread holds, in a section. `f` must not suspend.
#[inline]
pub(crate) fn with_core<R>(f: impl FnOnce(Option<&WorkerCore>) -> R) -> R {
    let section = Section::enter();
    f(section.core())
}

/// As [`with_core`], but only if it is a worker of `shared`.
#[inline]
pub(crate) fn with_core_of<R>(shared: &Shared, f: impl FnOnce(Option<&WorkerCore>) -> R) -> R {
    with_core(|core| f(core.filter(|core| std::ptr::eq(&*core.shared, shared))))
}

impl ThreadSlot {
    /// The switch to a routine comes next.
    #[inline]
    pub(crate) fn leave_for_routine(&self) {
        // Release pairs with the acquire load of whoever takes the worker: what was done to it is visible.
        self.leash.section.store(0, Release);
    }

    /// The routine that runs here is about to switch back to scheduler context, for which the thread needs a
    /// worker.
    #[inline]
    pub(crate) fn enter_for_switch(&self) {
        self.leash.section.store(1, Relaxed);
        compiler_fence(SeqCst);
        if self.grip.own().is_null() {
            self.regain();
        }
    }

    /// The worker that the thread holds, for its loop.
    ///
    /// # Safety
    /// 1. Exclusive: called by this thread in scheduler context, while it holds one.
    #[inline]
    pub(crate) unsafe fn held_core(&self) -> &WorkerCore {
        // SAFETY: 1 by the caller; as in `Section::core`.
        unsafe { &*self.grip.own() }
    }
}
