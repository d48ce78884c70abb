//! A thread as others see it.

use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8};

use super::absence::Absence;
use super::grip::Grip;
use crate::homes::Carrier;
use crate::monitor::Watch;
use crate::monitor::leash::Leash;
use crate::profile::frames;
use crate::routine::{Header, RoutineRef};
use crate::scheduler::Shared;
use crate::scheduler::parker::Parker;
use crate::scheduler::worker::WorkerCore;
use crate::snapshot::WaitReason;
use crate::thread_state::{self, ThreadState};

/// Where a thread sleeps that has no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Bed {
    /// It does not.
    Up,
    /// Between turns: it has nothing to run, or its home waits for a worker.
    Spare,
    /// At the end of a turn, with a routine on it.
    Wanting,
}

/// One OS thread that can hold a worker. Written by that thread, but for its grip and what wakes it.
///
/// Everything is atomic, because a thread that watches and signal handlers read it. Aligned to two cache
/// lines, because processors fetch lines in pairs.
#[repr(C, align(128))]
pub(crate) struct ThreadSlot {
    /// The worker that the thread holds.
    pub(crate) grip: Grip<WorkerCore>,
    /// The routine whose turn runs here, null in scheduler context.
    pub(crate) routine: AtomicPtr<Header>,
    /// What a monitor and the handler of its signal know of the thread; the depth of sections among it, see
    /// [`section`](super::section).
    pub(crate) leash: Leash,
    /// What the poll that runs here waits for, when it has said so.
    wait_reason: AtomicU8,
    /// The poll that runs here wants its next turn at once.
    again: AtomicBool,
    /// What the runtime adds to its routines' numbers in a `sync::holder`.
    pub(crate) runtime: u64,
    /// Where the thread sleeps while it has no worker.
    pub(super) bed: Parker,
    in_bed: AtomicU8,
    /// While it has no worker in the middle of a turn.
    pub(crate) absence: Absence,
    /// Its thread-local state, for whoever makes a worker ready for it.
    state: AtomicPtr<ThreadState>,
    /// Its runtime, null until the thread has begun. Not counted: the thread itself keeps it.
    shared: AtomicPtr<Shared>,
    /// The thread's right to mount travelling homes, null where there are none.
    carrier: AtomicPtr<Carrier>,
    /// Its number, and for now that of its home.
    pub(crate) index: u32,
}

impl ThreadSlot {
    pub(super) fn new(index: u32, runtime: u64, watch: &Arc<Watch>) -> ThreadSlot {
        ThreadSlot {
            grip: Grip::new(),
            routine: AtomicPtr::new(null_mut()),
            leash: Leash::new(watch.clone()),
            wait_reason: AtomicU8::new(WaitReason::Future as u8),
            again: AtomicBool::new(false),
            runtime,
            bed: Parker::new(),
            in_bed: AtomicU8::new(Bed::Up as u8),
            absence: Absence::new(),
            state: AtomicPtr::new(null_mut()),
            shared: AtomicPtr::new(null_mut()),
            carrier: AtomicPtr::new(null_mut()),
            index,
        }
    }

    /// Makes the calling thread this one, in scheduler context.
    pub(crate) fn enter(&self, shared: &Arc<Shared>) {
        if thread_state::with(|t| t.native_high.load(Relaxed)) == 0 {
            let (low, high) = frames::thread_stack().unwrap_or((0, 0));
            thread_state::with(|t| {
                t.native_low.store(low, Relaxed);
                t.native_high.store(high, Relaxed);
            });
        }
        if shared.homes.is_ok() {
            let carrier = Box::into_raw(Box::new(Carrier::enter()));
            self.carrier.store(carrier, Relaxed);
        }
        self.leash.section.store(1, Relaxed);
        self.shared.store(Arc::as_ptr(shared).cast_mut(), Relaxed);
        self.state
            .store(thread_state::address().cast_mut(), Relaxed);
        thread_state::with(|t| t.slot.store(std::ptr::from_ref(self).cast_mut(), Relaxed));
        // Who sees its number sees that the thread is in scheduler context.
        self.leash.enter();
    }

    /// The calling thread is this one no longer.
    pub(crate) fn leave(&self) {
        thread_state::with(|t| t.slot.store(null_mut(), Relaxed));
        self.leash.leave();
        let carrier = self.carrier.swap(null_mut(), Relaxed);
        if !carrier.is_null() {
            // SAFETY: `enter` made it, on this thread, which mounts nothing any more.
            drop(unsafe { Box::from_raw(carrier) });
        }
    }

    /// Its right to mount homes. Only by the thread itself, where homes travel.
    #[inline]
    pub(crate) fn carrier(&self) -> &Carrier {
        // SAFETY: `enter` stored it, and the thread has not left.
        unsafe { &*self.carrier.load(Relaxed) }
    }

    /// Its thread-local state. For whoever owns a worker that the thread is to hold.
    pub(crate) fn state(&self) -> *const ThreadState {
        self.state.load(Relaxed)
    }

    /// The thread, which is the caller, holds this worker.
    pub(crate) fn hold(&self, core: *const WorkerCore) {
        self.grip.give(core.cast_mut());
    }

    /// The thread, which is the caller, holds its worker no longer.
    pub(crate) fn let_go(&self) {
        self.grip.let_go();
    }

    /// Whether the thread sleeps for want of a worker.
    pub(crate) fn in_bed(&self) -> Bed {
        match self.in_bed.load(Relaxed) {
            bed if bed == Bed::Spare as u8 => Bed::Spare,
            bed if bed == Bed::Wanting as u8 => Bed::Wanting,
            _ => Bed::Up,
        }
    }

    pub(super) fn go_to_bed(&self, bed: Bed) {
        self.in_bed.store(bed as u8, Relaxed);
    }

    /// As [`thaw`](Self::thaw), without a worker.
    pub(super) fn release(&self) -> bool {
        self.leash.release()
    }

    /// Lets the thread go on that sleeps in the handler of the signal that stopped it. False if it does not.
    pub(super) fn thaw(&self) -> bool {
        self.leash.thaw()
    }

    /// Its runtime. Only by the thread itself.
    #[inline]
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: `enter` stored it, and the thread holds a reference until it has left.
        unsafe { &*self.shared.load(Relaxed) }
    }

    /// One more reference to its runtime. Only by the thread itself.
    pub(crate) fn clone_shared(&self) -> Arc<Shared> {
        let shared = self.shared.load(Relaxed).cast_const();
        // SAFETY: as in `shared`; it came from an `Arc`, whose count is raised before the value that
        // will lower it is made.
        unsafe {
            Arc::increment_strong_count(shared);
            Arc::from_raw(shared)
        }
    }

    /// The routine that runs here. Only by the thread itself.
    #[inline]
    pub(crate) fn running(&self) -> Option<RoutineRef> {
        let routine = self.routine.load(Relaxed);
        // SAFETY: the worker stores the routine that it runs, and its block lives through the turn.
        (!routine.is_null()).then(|| unsafe { RoutineRef::from_ptr(routine) })
    }

    /// What a pending poll waits for.
    #[inline]
    pub(crate) fn set_wait_reason(&self, why: WaitReason) {
        self.wait_reason.store(why as u8, Relaxed);
    }

    #[inline]
    pub(crate) fn wait_reason(&self) -> WaitReason {
        WaitReason::from_u8(self.wait_reason.load(Relaxed))
    }

    /// The poll that runs wants its next turn at once.
    pub(crate) fn set_again(&self) {
        self.again.store(true, Relaxed);
    }

    /// Whether the poll that has just returned wants its next turn at once, left as it is.
    pub(crate) fn wants_again(&self) -> bool {
        self.again.load(Relaxed)
    }

    /// Whether the poll that has just returned wants its next turn at once.
    #[inline]
    pub(crate) fn take_again(&self) -> bool {
        let again = self.again.load(Relaxed);
        if again {
            self.again.store(false, Relaxed);
        }
        again
    }
}
