//! Travelling homes in a turn: which identity it runs under, and where that goes afterwards.
//!
//! A fresh routine starts on a clean identity, of which each worker keeps one ready. It is bound to it when it
//! first stops; until then, and when it ends, the identity is the worker's to use again. A bound routine is
//! common: any worker takes it from a deque and mounts its identity. Only two things keep it: another routine of
//! the same identity that runs ([`crate::homes`] tells how the second one waits), and a thread that it holds.
//!
//! The base is restored and everything of the turn that lies in the identity's block is settled before the routine
//! is put where others find it. The door is left *after* that: the commit of a blocking routine lies in its
//! frame, so nobody may resume the routine before the commit has returned, though it can be found already. (In
//! version 1 that is so because the thread that calls the commit is the only one that could.) A routine that yields has no
//! commit, and its door is left first.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

use super::WorkerCore;
use crate::homes::{self, Homes, Identity};
use crate::routine::RoutineRef;
use crate::routine::body::TurnEnd;
use crate::routine::context::{self, StackPart};
use crate::scheduler::stats;
use crate::scheduler::threads::ThreadSlot;
use crate::scheduler::timers::NEVER;
use crate::snapshot::Source;
use crate::stack::OutOfStacks;
use crate::thread_state::ThreadState;

/// What the system says that has no room for another thread.
#[cfg(not(stackless))]
const AGAIN: i32 = libc::EAGAIN;

/// Nobody asks the system.
#[cfg(stackless)]
const AGAIN: i32 = 0;

/// How an identity is left after a turn.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// Its routine holds the thread: the door stays shut.
    Stay,
    /// Routines are bound to it.
    Open,
    /// It is clean.
    PutBy,
}

/// The identity of a turn, entered.
#[derive(Clone, Copy)]
pub(super) struct Mounted<'a> {
    homes: &'a Homes,
    pub(super) identity: &'a Identity,
    /// Whether the routine was bound to it before the turn.
    is_bound: bool,
}

impl<'a> Mounted<'a> {
    /// This crate's state in the identity's block.
    pub(super) fn state(&self) -> &'a ThreadState {
        // SAFETY: 1: entered when this was made, and left by who uses it last.
        unsafe { self.identity.state() }
    }
}

impl WorkerCore {
    /// Enters the identity for a turn of `routine`. `None` if it cannot run now: it was put where it will be
    /// found again.
    pub(super) fn enter_identity<'a>(
        &self,
        homes: &'a Homes,
        slot: &ThreadSlot,
        routine: RoutineRef,
    ) -> Option<Mounted<'a>> {
        let header = routine.header();
        let carrier = slot.carrier();
        if header.stack.load(Relaxed).is_null() {
            let identity = self
                .clean_identity(homes, slot)
                .or_else(|| homes.share(carrier));
            if identity.is_none() {
                // All are mounted, and the system refuses another.
                self.wait_for_stack(routine, OutOfStacks::Kernel { errno: AGAIN });
            }
            return identity.map(|identity| Mounted {
                homes,
                identity,
                is_bound: false,
            });
        }
        let identity = homes.at(header.home.load(Relaxed));
        let is_inside = identity.held_on(routine).is_some();
        if !is_inside && !identity.door.try_enter(carrier.thread_id()) {
            stats::add(&self.stats().busy_homes, 1);
            identity
                .door
                .wait(routine, |other| self.push_local(other, Source::Local));
            return None;
        }
        Some(Mounted {
            homes,
            identity,
            is_bound: true,
        })
    }

    fn clean_identity<'a>(&self, homes: &'a Homes, slot: &ThreadSlot) -> Option<&'a Identity> {
        let kept = self.clean.replace(homes::NONE);
        let identity = if kept == homes::NONE {
            homes.take(self.now.get())?
        } else {
            homes.at(kept)
        };
        identity.door.take_up(slot.carrier().thread_id());
        Some(identity)
    }

    /// Resumes the routine under its identity.
    ///
    /// # Safety
    /// 1. As [`context::resume`] demands.
    #[inline(never)]
    pub(super) unsafe fn resume_under(
        &self,
        mounted: Mounted<'_>,
        slot: &ThreadSlot,
        part: *mut StackPart,
    ) -> Option<TurnEnd> {
        stats::add(&self.stats().mounts, 1);
        let state = mounted.state();
        let own = self.thread();
        state
            .slot
            .store(std::ptr::from_ref(slot).cast_mut(), Relaxed);
        // The counters that this thread writes alone.
        state.ordinal.store(own.ordinal.load(Relaxed), Relaxed);
        let credentials = homes::credentials_changed();
        // SAFETY: 1: entered, and left after this turn; 2: what is inlined is the switch, which has the slot
        // given, and a call that is not inlined; the switch's contract is the caller's.
        let (end, still_panicking) = unsafe {
            mounted.identity.run_under(slot.carrier(), || {
                let end = context::resume(part, slot);
                let still_panicking = end.is_some() && panicking_here();
                (end, still_panicking)
            })
        };
        homes::check_not_forked();
        if still_panicking
            || (end.is_some() && is_left_there(&end))
            || credentials != homes::credentials_changed()
        {
            mounted.identity.spoil();
        }
        end
    }

    /// Takes what is of the turn out of the identity's block, and binds or unbinds the routine, which is
    /// still ours. Returns how the identity is to be left.
    pub(super) fn settle_identity(
        &self,
        mounted: Mounted<'_>,
        routine: RoutineRef,
        is_left_there: bool,
    ) -> Way {
        let Mounted {
            homes,
            identity,
            is_bound,
        } = mounted;
        let state = mounted.state();
        state.slot.store(null_mut(), Relaxed);
        // Of the donor's destructors, should it end now: they run beside this thread.
        state.ordinal.store(0, Relaxed);
        if is_left_there {
            if !is_bound {
                homes.bind(identity);
            }
            return match identity.held_on(routine) {
                Some(_) => Way::Stay,
                None => Way::Open,
            };
        }
        let others = if is_bound {
            homes.unbind(identity)
        } else {
            identity.routines() > 0
        };
        if others { Way::Open } else { Way::PutBy }
    }

    /// Leaves the identity after a turn, or one that did not come about.
    pub(super) fn leave_identity(&self, mounted: Mounted<'_>, slot: &ThreadSlot, way: Way) {
        let Mounted {
            homes, identity, ..
        } = mounted;
        let carrier = slot.carrier().thread_id();
        match way {
            Way::Stay => {}
            Way::Open => identity
                .door
                .leave(carrier, |other| self.push_local(other, Source::Local)),
            Way::PutBy => {
                identity.door.put_by(carrier);
                if self.clean.get() == homes::NONE && !identity.is_spoilt() {
                    self.clean.set(identity.index());
                } else {
                    homes.give_back(identity, self.now.get());
                }
            }
        }
    }

    /// Ends homes that have been free for long. Returns when that is to be asked again.
    pub(super) fn end_idle_homes(&self) -> u64 {
        let Ok(homes) = &self.shared.homes else {
            return NEVER;
        };
        if homes.expires() <= self.now.get() {
            homes.end_idle(self.now.get());
        }
        homes.expires()
    }

    /// Gives the clean identity back that the worker keeps ready.
    pub(super) fn give_identity_back(&self) {
        let kept = self.clean.replace(homes::NONE);
        if let Ok(homes) = &self.shared.homes
            && kept != homes::NONE
        {
            homes.give_back(homes.at(kept), self.now.get());
        }
    }
}

/// Whether the routine is on its stack still: it has stopped, or it overflowed and will never go on, so that its
/// home is lost with it.
pub(super) fn is_left_there(end: &Option<TurnEnd>) -> bool {
    match end {
        None => true,
        #[cfg(not(portable))]
        Some(TurnEnd::Overflowed) => true,
        Some(TurnEnd::Ended | TurnEnd::Pending) => false,
    }
}

/// Whether the block in force counts a panic. Never inlined: it has a thread-local in it.
#[inline(never)]
fn panicking_here() -> bool {
    std::thread::panicking()
}
