//! Hand-off: how workers change threads.
//!
//! A worker leaves its thread in one of these ways:
//!
//! - *Taken from a thread that sleeps in the kernel*, by the monitor, while a routine runs there that is in
//!   no section ([`Shared::take_from_blocked`]; see [`grip`](super::grip)). A thread that comes back
//!   without its worker acts like one that is none of the runtime's: it readies by inbox and injector.
//!   Where it needs a worker, which is before the switch that ends its turn, it wants one ([`Desk::want`])
//!   and sleeps in its bed until it has one ([`ThreadSlot::regain`]). It waits for one
//!   at `checkpoint()` too, and nowhere else, because it may hold locks there.
//! - *Taken from a thread that was stopped* in a signal's handler ([`Shared::take_from_frozen`]). Its home
//!   wants a worker at once.
//! - *Given away by its thread* in scheduler context, to a home that wants one
//!   ([`WorkerCore::serve_wanting`](crate::scheduler::worker::WorkerCore)), or to a spare thread on which a fresh
//!   routine had better begin ([`apart`](crate::scheduler::worker)).
//! - *Put down by its thread* in scheduler context, because it goes out of service ([`Desk::put_down`]).
//!
//! [`Desk::put_down`]: super::desk::Desk::put_down
//!
//! Who owns a worker at such a moment makes it ready for the thread that gets it
//! ([`WorkerCore::bind`](crate::scheduler::worker::WorkerCore::bind)), stores it there and ends that thread's sleep.

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;

use super::ThreadSlot;
use super::desk::{Pushed, Refused};
use super::slot::Bed;
#[cfg(not(portable))]
use crate::monitor::membarrier;
use crate::scheduler::Shared;
use crate::scheduler::parker::Woken;
use crate::scheduler::worker::WorkerCore;
use crate::snapshot::HandOff;
use crate::time;

/// How long a thread stays that has neither worker nor anything bound to it.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What came of taking a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The thread in this slot has it now.
    Given { to: u32 },
    /// No thread is there that could have it.
    NobodyToTake,
    /// The thread is inside the runtime.
    InSection,
    /// The turn is over, or the thread is awake.
    TurnOver,
    /// The thread has no worker.
    NoWorker,
    /// The system has no barrier for it.
    Unsupported,
    /// Somebody is at the desk: to be tried again.
    Busy,
}

impl Shared {
    /// The thread in `slot` was seen asleep in the kernel for `slept_ns`, in turn `turn`: gives its worker to
    /// another one.
    ///
    /// For the monitor. Waits for nothing, allocates and frees nothing.
    #[cfg(not(portable))]
    pub(crate) fn take_from_blocked(&self, slot: usize, turn: u64, slept_ns: u64) -> Taken {
        if membarrier::register().is_err() {
            return Taken::Unsupported;
        }
        let slot = &self.threads.slots()[slot];
        if self.threads.desk.spare() == 0 && self.threads.desk.wanting() == 0 {
            return Taken::NobodyToTake;
        }
        let Some(core) = slot.grip.mark() else {
            return Taken::NoWorker;
        };
        membarrier::on_all_threads();
        let over = slot.leash.turn.load(Relaxed) != turn;
        // Acquire pairs with the release stores that end sections.
        if over || slot.leash.section.load(Acquire) != 0 {
            slot.grip.wipe(core);
            return if over {
                Taken::TurnOver
            } else {
                Taken::InSection
            };
        }
        // SAFETY: workers live as long as threads of their runtime; its number never changes.
        let worker = unsafe { (*core).index };
        let taken = self.threads.desk.take(slot.index, worker, false, || {
            let taken = slot.grip.take(core);
            if taken {
                // The thread may be back, but gets no worker, and ends no turn, before the desk is free.
                // SAFETY: the grip gave it to us.
                unsafe { (*core).leave_turn(HandOff::Blocked) };
            }
            taken
        });
        match taken {
            Ok(to) => {
                // Counted before anybody can run on it, and see the count.
                self.monitor.watch.note_retaken(slept_ns);
                // SAFETY: 1: the grip gave it to us; 2: the desk has named its thread.
                unsafe { self.give(core, to, HandOff::Blocked) }
            }
            Err(why) => {
                slot.grip.wipe(core);
                if why == Refused::Kept {
                    self.look_again(slot.index);
                }
                why.into()
            }
        }
    }

    /// The thread in `slot` sleeps in the handler of the signal that stopped it: gives its worker to
    /// another one, and queues its home for one. Without a worker it is queued alone.
    ///
    /// For the monitor, as [`take_from_blocked`](Self::take_from_blocked).
    pub(crate) fn take_from_frozen(&self, slot: usize) -> Taken {
        let slot = &self.threads.slots()[slot];
        let core = slot.grip.peek();
        if core.is_null() {
            return match self.threads.desk.try_want(slot.index) {
                None => Taken::Busy,
                Some(queued) => {
                    if queued {
                        self.notify_work();
                    }
                    Taken::NoWorker
                }
            };
        }
        // SAFETY: as in `take_from_blocked`.
        let worker = unsafe { (*core).index };
        let taken = self.threads.desk.take(slot.index, worker, true, || {
            slot.grip.let_go();
            // SAFETY: the thread sleeps in its handler, outside every section, and has let go.
            unsafe { (*core).leave_turn(HandOff::Frozen) };
            true
        });
        match taken {
            // SAFETY: 1: as above; 2: the desk has named its thread.
            Ok(to) => unsafe { self.give(core, to, HandOff::Frozen) },
            Err(why) => why.into(),
        }
    }

    /// A frozen thread goes on without a worker, as one that has come back from the kernel does. False if it
    /// is not waiting for one, or somebody is at the desk.
    pub(crate) fn release_frozen(&self, slot: usize) -> bool {
        let slot = &self.threads.slots()[slot];
        self.threads.desk.try_release(slot.index) == Some(true) && slot.release()
    }

    /// Something was pushed into the home's inbox, or may have been while nobody would have noticed.
    #[inline]
    pub(crate) fn home_has_work(&self, home: u32) {
        // Between the push and the look at the word; partners are the fences of whoever changes words.
        fence(SeqCst);
        match self.threads.desk.pushed(home) {
            Pushed::Wake(worker) => self.wake_worker_after_fence(worker as usize),
            Pushed::Queued => self.notify_work(),
            Pushed::Nothing => {}
        }
    }

    /// After the home's word was changed by somebody else than its thread's own coming and going.
    pub(crate) fn look_again(&self, home: u32) {
        // Between the change and the look into the inbox; partner is the fence in `home_has_work`.
        fence(SeqCst);
        if !self.threads.home(home).inbox.is_empty() {
            self.home_has_work(home);
        }
    }

    /// Gives a worker to the thread that the desk has named.
    ///
    /// # Safety
    /// 1. Exclusive: the caller owns the worker.
    /// 2. Exclusive: the desk has named `to` for it, so nobody else gives that thread one.
    pub(crate) unsafe fn give(&self, core: *mut WorkerCore, to: u32, why: HandOff) -> Taken {
        self.threads.note_hand_off(why);
        // SAFETY: by the caller.
        unsafe { self.give_uncounted(core, to) };
        Taken::Given { to }
    }

    /// The same for a worker that nobody held.
    ///
    /// # Safety
    /// 1. Exclusive: as for [`give`](Self::give).
    /// 2. Exclusive: as for [`give`](Self::give).
    pub(crate) unsafe fn give_uncounted(&self, core: *mut WorkerCore, to: u32) {
        let slot = self.threads.slot(to);
        // SAFETY: 1 by the caller; workers live as long as threads of their runtime.
        unsafe { (*core).bind_for_other(slot) };
        slot.grip.give(core);
        if !slot.thaw() {
            slot.bed.wake(false, || {});
        }
    }
}

impl From<Refused> for Taken {
    fn from(why: Refused) -> Taken {
        match why {
            Refused::Busy => Taken::Busy,
            Refused::Nobody => Taken::NobodyToTake,
            Refused::Kept => Taken::TurnOver,
        }
    }
}

impl ThreadSlot {
    /// Waits until the thread has a worker. On its own thread, in a section that is no other's, before
    /// the switch that ends a turn.
    #[cold]
    #[inline(never)]
    pub(super) fn regain(&self) {
        let shared = self.shared();
        self.absence.want(time::now_ns());
        while self.grip.own().is_null() {
            if shared.threads.desk.want(self.index) {
                shared.notify_work();
            }
            self.go_to_bed(Bed::Wanting);
            self.bed.take_token();
            self.go_to_bed(Bed::Up);
        }
    }

    /// Sleeps until the thread is given a worker. False if it is to end: because the runtime does, or
    /// because nobody has needed it for long.
    pub(crate) fn rest(&self) -> bool {
        let desk = &self.shared().threads.desk;
        let home = self.shared().threads.home(self.index);
        self.go_to_bed(Bed::Spare);
        // Whoever ends the runtime tells those that are spare by then, not those that become so later.
        let late = desk.is_closed() && desk.retire(self.index);
        if !late {
            loop {
                let woken = self.bed.park(Some(KEEP_ALIVE));
                if woken != Woken::TimedOut {
                    break;
                }
                if home.bound.load(Relaxed) == 0 && desk.retire(self.index) {
                    self.shared().threads.note_retirement();
                    break;
                }
            }
        }
        self.go_to_bed(Bed::Up);
        !self.grip.own().is_null()
    }
}
