//! Threads and homes: what runs a worker's loop, and what started routines are bound to.
//!
//! Three things that were one come apart here. A *worker* is a scheduling slot
//! ([`WorkerCore`](super::worker::WorkerCore)): it lies on the heap and is touched by the thread that
//! holds it. A *thread* ([`ThreadSlot`]) runs routines while it holds a worker. A *home* ([`Home`]) is
//! what a started routine is bound to: its queues, and the inbox into which others put what they have
//! readied. A home here is a thread, and has its number; those that travel are [`crate::homes`].
//!
//! Slots and homes are made with the runtime and stay where they are as long as it lives, because others
//! read them: whoever readies a routine reads homes, whoever watches threads reads slots.
#![cfg_attr(
    portable,
    allow(dead_code, unused_imports, reason = "nobody takes a worker there")
)]

mod absence;
mod desk;
mod grip;
mod handoff;
mod home;
mod keeper;
pub(crate) mod section;
mod slot;
mod spares;

pub(crate) use desk::Leaves;
pub(crate) use handoff::Taken;
pub(crate) use home::Home;
pub(crate) use keeper::{NoThread, SPARE_AHEAD};
pub(crate) use slot::{Bed, ThreadSlot};
pub(crate) use spares::{Tenants, Wanted};

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::monitor::Watch;
use crate::routine::RoutineRef;
use crate::scheduler::Shared;
use crate::scheduler::apart::Apart;
use crate::snapshot::{AbsentThread, HandOff, ThreadFigures, WaitReason};
use crate::thread_state;
use desk::Desk;
use keeper::Keeper;

/// What a runtime knows of the calling thread. Right for one call, as long as nothing is suspended: behind a
/// switch the caller may be on another thread.
#[derive(Clone, Copy)]
pub(crate) struct Here(*const ThreadSlot);

impl Here {
    #[inline]
    pub(crate) fn find() -> Here {
        Here(thread_state::slot())
    }

    /// The calling thread's slot; `None` on a thread of no runtime.
    #[inline]
    pub(crate) fn slot(&self) -> Option<&ThreadSlot> {
        // SAFETY: the slot of the calling thread, which lives until that has left it, in scheduler context.
        unsafe { self.0.as_ref() }
    }
}

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

/// Whether the turn that runs here was asked to give way, which it does now. Once for each ask. Not one that was let go
/// without a worker: others may wait for what it holds, and to give way it would wait for theirs.
pub(crate) fn take_ask() -> bool {
    with_slot(|slot| {
        let goes_alone =
            |slot: &ThreadSlot| slot.leash.was_released() && slot.grip.peek().is_null();
        let asked = slot.is_some_and(|slot| slot.leash.is_asked() && !goes_alone(slot));
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

/// The home of the calling thread, whatever home its routine has; `None` on a thread of no runtime.
pub(crate) fn home_here() -> Option<*const Home> {
    with_slot(|slot| slot.map(|slot| std::ptr::from_ref(slot.shared().threads.home(slot.index))))
}

/// The turn that runs here gives way because its slice is over.
pub(crate) fn note_way() {
    with_slot(|slot| {
        if let Some(slot) = slot {
            slot.leash.note_way();
        }
    });
}

/// All threads and homes of a runtime.
pub(crate) struct Threads {
    slots: Box<[ThreadSlot]>,
    homes: Box<[Home]>,
    pub(crate) desk: Desk,
    keeper: Keeper,
    /// Threads that there are, and most that there ever were.
    total: AtomicU32,
    peak: AtomicU32,
    retired: AtomicU64,
    hand_offs: [AtomicU64; HandOff::COUNT],
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
            desk: Desk::new(max),
            keeper: Keeper::new(),
            total: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            retired: AtomicU64::new(0),
            hand_offs: Default::default(),
        }
    }

    /// A thread is about to be started. False if there are so many already.
    pub(crate) fn admit(&self, limit: usize) -> bool {
        let more = |total| ((total as usize) < limit).then_some(total + 1);
        let admitted = self.total.fetch_update(Relaxed, Relaxed, more);
        if let Ok(before) = admitted {
            self.peak.fetch_max(before + 1, Relaxed);
        }
        admitted.is_ok()
    }

    /// A thread has ended, or could not be started.
    pub(crate) fn note_end(&self) {
        self.total.fetch_sub(1, Relaxed);
    }

    fn note_retirement(&self) {
        self.retired.fetch_add(1, Relaxed);
    }

    fn note_hand_off(&self, why: HandOff) {
        self.hand_offs[why as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn total(&self) -> usize {
        self.total.load(Relaxed) as usize
    }

    /// No thread was there that could have had a worker: some are started.
    pub(crate) fn need_spares(&self) {
        self.keeper.ring();
    }

    pub(crate) fn figures(&self, limit: usize, apart: &Apart) -> ThreadFigures {
        let mut away = 0;
        let mut frozen = 0;
        for slot in &self.slots {
            let in_turn = !slot.routine.load(Relaxed).is_null();
            if slot.leash.is_frozen() {
                frozen += 1;
            } else if in_turn && slot.grip.peek().is_null() && slot.in_bed() == Bed::Up {
                away += 1;
            }
        }
        let (total, spare) = (self.total(), self.desk.spare());
        ThreadFigures {
            total: total as u64,
            spare: spare.into(),
            unbound: self.desk.unbound().into(),
            wanting: self.desk.wanting().into(),
            away,
            frozen,
            peak: self.peak.load(Relaxed).into(),
            limit: limit as u64,
            at_limit: total >= limit && spare == 0,
            started: self.keeper.started.load(Relaxed),
            refused: self.keeper.refused.load(Relaxed),
            retired: self.retired.load(Relaxed),
            handed_off_by: std::array::from_fn(|why| self.hand_offs[why].load(Relaxed)),
            suspect_sites: apart.suspects(),
            beside: apart.beside.load(Relaxed),
        }
    }

    /// Routines whose turns run on threads now, with a worker or without.
    pub(crate) fn running(&self) -> u64 {
        let runs = |slot: &&ThreadSlot| !slot.routine.load(Relaxed).is_null();
        self.slots.iter().filter(runs).count() as u64
    }

    /// Threads without a worker in the middle of a turn.
    pub(crate) fn absent(&self) -> Vec<AbsentThread> {
        self.slots.iter().filter_map(ThreadSlot::absent).collect()
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
