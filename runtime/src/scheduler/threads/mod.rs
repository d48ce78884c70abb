//! Threads and homes: what runs a worker's loop, and what started routines are bound to.
//!
//! Three things that were one come apart here. A *worker* is a scheduling slot
//! ([`WorkerCore`](super::worker::WorkerCore)): it lies on the heap and is touched by the thread that
//! holds it. A *thread* ([`ThreadSlot`]) runs routines while it holds a worker. A *home* ([`Home`]) is
//! what a started routine is bound to: its queues, and the inbox into which others put what they have
//! readied. A home is a thread for now, and has its number.
//!
//! Slots and homes are made with the runtime and stay where they are as long as it lives, because others
//! read them: whoever readies a routine reads homes, whoever watches threads reads slots.

mod home;
pub(crate) mod section;
mod slot;

pub(crate) use home::Home;
pub(crate) use slot::ThreadSlot;

use std::sync::Arc;

use crate::monitor::Watch;
use crate::routine::RoutineRef;
use crate::scheduler::Shared;
use crate::snapshot::WaitReason;
use crate::thread_state;

/// Runs `f` on the calling thread's slot; `None` on a thread of no runtime.
#[inline]
pub(crate) fn with_slot<R>(f: impl FnOnce(Option<&ThreadSlot>) -> R) -> R {
    // SAFETY: the slot of the calling thread, which lives until that has left it, and `f` keeps no part of it.
    f(unsafe { thread_state::slot().as_ref() })
}

/// The routine whose turn runs on the calling thread.
pub(crate) fn running_here() -> Option<RoutineRef> {
    with_slot(|slot| slot?.running())
}

/// Whether the calling thread is one of the runtime's.
pub(crate) fn is_inside(shared: &Shared) -> bool {
    with_slot(|slot| slot.is_some_and(|slot| std::ptr::eq(slot.shared(), shared)))
}

/// Whether the turn that runs here was asked to give way, which it does now. Once for each ask.
pub(crate) fn take_ask() -> bool {
    with_slot(|slot| {
        let asked = slot.is_some_and(|slot| slot.leash.is_asked());
        if let Some(slot) = slot.filter(|_| asked) {
            slot.leash.honour();
        }
        asked
    })
}

/// The poll that runs here is about to say that it is pending, for this reason.
pub(crate) fn poll_waits(why: WaitReason) {
    with_slot(|slot| {
        if let Some(slot) = slot {
            slot.set_wait_reason(why);
        }
    });
}

/// The runtime that the calling thread is of.
pub(crate) fn runtime_here() -> Option<Arc<Shared>> {
    with_slot(|slot| slot.map(ThreadSlot::clone_shared))
}

/// All threads and homes of a runtime.
pub(crate) struct Threads {
    slots: Box<[ThreadSlot]>,
    homes: Box<[Home]>,
}

impl Threads {
    /// Room for so many threads of the runtime `number`.
    pub(crate) fn new(max: usize, number: u64, watch: &Arc<Watch>) -> Threads {
        let max = max as u32;
        Threads {
            slots: (0..max)
                .map(|index| ThreadSlot::new(index, number, watch))
                .collect(),
            homes: (0..max).map(Home::new).collect(),
        }
    }

    pub(crate) fn slots(&self) -> &[ThreadSlot] {
        &self.slots
    }

    pub(crate) fn slot(&self, index: u32) -> &ThreadSlot {
        &self.slots[index as usize]
    }

    pub(crate) fn home(&self, index: u32) -> &Home {
        &self.homes[index as usize]
    }
}
