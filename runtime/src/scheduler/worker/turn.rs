//! One turn: enter the routine, come back, put it where it belongs.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::mount::{Mounted, is_left_there};
use super::{Post, WorkerCore};
#[cfg(not(portable))]
use crate::hold;
use crate::homes::Homes;
#[cfg(not(portable))]
use crate::join::StackOverflow;
use crate::memory;
#[cfg(not(portable))]
use crate::routine::body;
use crate::routine::body::{TurnEnd, Unrun};
use crate::routine::context::{self, StackPart};
use crate::routine::life::CancelLevel;
use crate::routine::{Header, NOBODY, RoutineRef};
#[cfg(not(portable))]
use crate::scheduler::Shared;
use crate::scheduler::block::{Commit, Interrupt};
use crate::scheduler::strategy::class::Deed;
use crate::scheduler::threads::ThreadSlot;
use crate::scheduler::{ready, stats};
use crate::snapshot::{RoutineState, Source, WaitReason};
#[cfg(not(portable))]
use crate::spawn::spawn_internal;
#[cfg(not(portable))]
use crate::stack::StackClass;
use crate::stack::{OutOfStacks, Slot};
use crate::thread_state::ThreadState;
#[cfg(not(portable))]
use std::sync::Arc;

impl WorkerCore {
    /// For callers that are not the loop's own.
    #[inline(never)]
    pub(super) fn turn_apart<'a>(
        &'a self,
        slot: &'a ThreadSlot,
        routine: RoutineRef,
    ) -> Option<&'a WorkerCore> {
        self.turn(slot, routine)
    }

    /// Runs one turn on the calling thread, which is `slot`'s. Returns the worker that the thread holds
    /// afterwards; `None` if it went to another thread, with the routine. Inlined into the loop, but for what homes
    /// that travel add.
    #[inline(always)]
    pub(super) fn turn<'a>(
        &'a self,
        slot: &'a ThreadSlot,
        routine: RoutineRef,
    ) -> Option<&'a WorkerCore> {
        match &self.shared.homes {
            Err(_) => self.turn_as(slot, routine, None),
            Ok(homes) => self.turn_with_identity(homes, slot, routine),
        }
    }

    #[inline(never)]
    fn turn_with_identity<'a>(
        &'a self,
        homes: &'a Homes,
        slot: &'a ThreadSlot,
        routine: RoutineRef,
    ) -> Option<&'a WorkerCore> {
        match self.enter_identity(homes, slot, routine) {
            None => Some(self),
            mounted => self.turn_as(slot, routine, mounted),
        }
    }

    /// See [`turn`](Self::turn); `mounted` is the home that travels under which it runs.
    #[inline(always)]
    fn turn_as<'a>(
        &'a self,
        slot: &'a ThreadSlot,
        routine: RoutineRef,
        mounted: Option<Mounted<'a>>,
    ) -> Option<&'a WorkerCore> {
        let header = routine.header();
        let mut part = header.stack.load(Relaxed);
        if part.is_null() {
            // Nothing is bound to a thread where homes travel.
            if self.shared.apart.is_armed() && self.starts_elsewhere(slot, routine) {
                return None;
            }
            match self.stack_for(routine, mounted.map(|mounted| mounted.identity.index())) {
                Some(fresh) => part = fresh,
                None => {
                    if let Some(mounted) = mounted {
                        let way = self.settle_identity(mounted, routine, false);
                        self.leave_identity(mounted, slot, way);
                    }
                    return Some(self);
                }
            }
        }
        let source = header.source();
        if source.is_urgent() {
            // It has waited for something outside, and long.
            // SAFETY: we took the routine from a queue, so we run it.
            unsafe { context::prefetch_frames(part) };
        }
        let first = header.life.start_turn();
        let began = self.now.get();
        let stats = self.stats();
        if first {
            stats::add(&stats.started, 1);
        }
        stats.count_turn(source);
        if header.note_turn(self.index, began) {
            stats::add(&stats.migrations, 1);
        }
        if let Some(workload) = header.workload() {
            workload.turns.fetch_add(1, Relaxed);
        }
        let state = mounted.map_or(self.thread(), |mounted| mounted.state());
        self.enter_routine(slot, state, routine, began);
        // SAFETY: we took the routine from a queue, so we run it; if it is bound, its home runs on this
        // thread, because only that home's queues hold it, or it is mounted; the slot is this thread's.
        let end = unsafe {
            match mounted {
                None => context::resume(part, slot),
                Some(mounted) => self.resume_under(mounted, slot, part),
            }
        };
        // SAFETY: 1: we are this thread, back in scheduler context.
        let core = unsafe { slot.held_core() };
        core.leave_routine(
            slot,
            mounted.map_or(core.thread(), |mounted| mounted.state()),
        );
        let Some(mounted) = mounted else {
            core.after_turn(slot, routine, part, end);
            return Some(core);
        };
        let way = core.settle_identity(mounted, routine, is_left_there(&end));
        // SAFETY: we run the routine, which has suspended.
        if end.is_none() && matches!(unsafe { &*context::post(part) }, Post::Yield) {
            core.leave_identity(mounted, slot, way);
            core.after_turn(slot, routine, part, end);
        } else {
            // A commit lies in the routine's frame: nobody may resume it before that has returned.
            core.after_turn(slot, routine, part, end);
            core.leave_identity(mounted, slot, way);
        }
        Some(core)
    }

    /// Inlined into the turn, as that is into the loop: it comes with each of them.
    #[inline(always)]
    fn after_turn(
        &self,
        slot: &ThreadSlot,
        routine: RoutineRef,
        part: *mut StackPart,
        end: Option<TurnEnd>,
    ) {
        if self.shared.record.load(Relaxed) {
            self.record_turn_end(slot, routine, part, end);
        } else {
            self.note_turn_end(routine.header());
        }
        match end {
            Some(TurnEnd::Ended) => self.after_end(routine, part),
            Some(TurnEnd::Pending) => self.after_pending(slot, routine, part),
            #[cfg(not(portable))]
            Some(TurnEnd::Overflowed) => self.after_overflow(routine),
            None => self.after_suspension(routine, part),
        }
    }

    /// A stack for a fresh turn. `None` if there is none to be had: the routine is put among those
    /// that wait for one. `identity` is that of a home that travels.
    fn stack_for(&self, routine: RoutineRef, identity: Option<u32>) -> Option<*mut StackPart> {
        let header = routine.header();
        let taken = self.pool.borrow_mut().take(header.class());
        match taken {
            Ok(slot) => {
                let waited = header.awaits_stack();
                // SAFETY: 1: we took the routine from a queue, so we run it, and it has no stack.
                let part = unsafe { context::prepare(routine, slot) };
                let home = identity.unwrap_or_else(|| {
                    let home = self.home();
                    home.bound.store(home.bound.load(Relaxed) + 1, Relaxed);
                    home.index
                });
                header.home.store(home, Relaxed);
                header.stack.store(part, Relaxed);
                if waited && self.shared.stack_waiters.wait_for_system() {
                    self.revive_stack_waiter();
                }
                Some(part)
            }
            Err(why) => {
                self.wait_for_stack(routine, why);
                None
            }
        }
    }

    /// See [`crate::scheduler::stack_waiters`].
    pub(super) fn wait_for_stack(&self, routine: RoutineRef, why: OutOfStacks) {
        let header = routine.header();
        let waiters = &self.shared.stack_waiters;
        let by_system = why != OutOfStacks::Limit;
        // Only at the second refusal: the figures may be a moment old.
        let fails = by_system && !why.may_heal_elsewhere() && header.was_refused_by_system();
        if fails && self.shared.arena.figures().in_use == 0 {
            self.fail_without_stack(routine, why);
            return;
        }
        header.set_awaiting_stack(by_system);
        let wake_others = by_system && !waiters.wait_for_system();
        waiters.push(routine, by_system);
        if wake_others {
            // Stacks that are free may lie warm with those who sleep.
            self.shared.wake_all();
        }
        // A stack may have come back between our look and the push.
        if !by_system && self.shared.arena.has_room() {
            self.revive_stack_waiter();
        }
    }

    /// A stack is free: whoever has waited longest may try again.
    fn revive_stack_waiter(&self) {
        if let Some(routine) = self.shared.stack_waiters.pop() {
            self.push_local(routine, Source::Local);
        }
    }

    /// Ends a routine for which there will be no stack. Its destructors run here, on the thread's
    /// own stack, where they cannot block.
    fn fail_without_stack(&self, routine: RoutineRef, why: OutOfStacks) {
        let header = routine.header();
        let stats = self.stats();
        if header.life.state() == RoutineState::New {
            stats::add(&stats.started, 1);
        }
        let vtable = header.vtable.get().expect("set at birth");
        // SAFETY: 1: we took the routine from a queue; 2: it has no stack, so it is between turns.
        unsafe { (vtable.end_unrun)(routine, Unrun::NoStack(why)) };
        header.life.end();
        routine.release();
        stats::add(&stats.gone, 1);
    }

    #[inline]
    fn enter_routine(
        &self,
        slot: &ThreadSlot,
        state: &ThreadState,
        routine: RoutineRef,
        began: u64,
    ) {
        let header = routine.header();
        // What a stackful routine's own executor has left there is not about this turn.
        slot.set_wait_reason(WaitReason::Future);
        slot.leash
            .turn
            .store(slot.leash.turn.load(Relaxed) + 1, Relaxed);
        state.workload.store(header.workload.load(Relaxed), Relaxed);
        slot.routine.store(routine.as_ptr(), Relaxed);
        let stats = self.stats();
        stats.turn_started.store(began, Relaxed);
        // Release pairs with the acquire load of the snapshot: who sees the routine sees its start.
        stats.routine.store(routine.as_ptr(), Release);
    }

    #[inline]
    fn leave_routine(&self, slot: &ThreadSlot, state: &ThreadState) {
        memory::settle(state);
        slot.routine.store(null_mut(), Relaxed);
        state.workload.store(null_mut(), Relaxed);
        self.stats().routine.store(null_mut(), Relaxed);
    }

    /// A stack for a segment of the routine that runs here.
    #[cfg(not(portable))]
    pub(crate) fn take_stack(&self, class: StackClass) -> Result<Slot, OutOfStacks> {
        self.pool.borrow_mut().take(class)
    }

    /// Takes back what [`take_stack`](Self::take_stack) of this runtime gave.
    ///
    /// # Safety
    /// 1. Exclusive: nothing on the slot is used any more.
    /// 2. Alive: it is of this runtime's arena.
    pub(crate) unsafe fn give_stack_back(&self, slot: Slot, lowest_sp: usize) {
        // SAFETY: 1 and 2 by the caller.
        unsafe { self.pool.borrow_mut().give_back(slot, lowest_sp) };
        // After the stack went back.
        if !self.shared.stack_waiters.is_empty() {
            self.revive_stack_waiter();
        }
    }

    fn take_stack_back(&self, routine: RoutineRef, part: *mut StackPart) {
        let header = routine.header();
        header.stack.store(null_mut(), Relaxed);
        header.home.store(NOBODY, Relaxed);
        header.depth.store(0, Relaxed);
        if self.shared.homes.is_err() {
            let home = self.home();
            home.bound.store(home.bound.load(Relaxed) - 1, Relaxed);
        }
        // SAFETY: 1: we ran the routine, and its body has returned; 2: the header's pointer to it is
        // cleared.
        let (slot, lowest) = unsafe { context::dismantle(part) };
        // SAFETY: 1: the body has returned, so nothing on the slot is used any more; 2: it came from
        // this arena.
        unsafe { self.give_stack_back(slot, lowest) };
    }

    fn after_end(&self, routine: RoutineRef, part: *mut StackPart) {
        self.shared.note_class(routine.header());
        self.take_stack_back(routine, part);
        routine.header().life.end();
        routine.release();
        // Last: a shutdown that sees it frees everything.
        stats::add(&self.stats().gone, 1);
    }

    /// The frames of the routine were given up. Its stack stays as it is for ever; what else an end needs may
    /// run foreign code, so another routine does it.
    #[cfg(not(portable))]
    #[cold]
    #[inline(never)]
    fn after_overflow(&self, routine: RoutineRef) {
        let header = routine.header();
        hold::take_from(routine);
        let part = header.stack.swap(null_mut(), Relaxed);
        // SAFETY: 1: we ran the routine, and its turn is over.
        let why = unsafe { context::overflow(part) };
        header.home.store(NOBODY, Relaxed);
        header.depth.store(0, Relaxed);
        if self.shared.homes.is_err() {
            let home = self.home();
            home.bound.store(home.bound.load(Relaxed) - 1, Relaxed);
        }
        self.shared.arena.tally().contained();
        // Dropped even where the new routine does not run any more.
        let ending = Ending {
            routine,
            why,
            on: self.shared.clone(),
        };
        spawn_internal("overflow", move || drop(ending));
    }

    fn after_pending(&self, slot: &ThreadSlot, routine: RoutineRef, part: *mut StackPart) {
        self.take_stack_back(routine, part);
        let header = routine.header();
        let why = slot.wait_reason();
        if slot.take_again() {
            self.count_yield(header);
            header.touch(self.now.get());
            header.life.requeue();
            self.push_local(routine, Source::Local);
            return;
        }
        header.touch(self.now.get());
        header.note_habit(Deed::Wait);
        self.stats().count_block(why);
        let ticket = header.life.block(why);
        // From here on a waker may have it; only the exchange inside `wake` gives it back to us. It
        // may even have ended meanwhile, and the block be another routine's, of any kind: then that
        // one is woken for no reason, which everything that blocks puts up with.
        if header.life.has_notice() {
            ready::ready(routine, ticket, Source::Local);
        }
    }

    #[inline(always)]
    fn after_suspension(&self, routine: RoutineRef, part: *mut StackPart) {
        let header = routine.header();
        // SAFETY: we run the routine.
        let depth = unsafe { context::depth(part) };
        if let Some(seen) = context::observe_depth(routine, depth) {
            self.stats().count_depth(header, seen);
        }
        // SAFETY: we run the routine, which suspended; the post lies in its frame, which lives until
        // it is resumed, which only this thread can do.
        match unsafe { &*context::post(part) } {
            Post::Yield => {
                self.count_yield(header);
                header.touch(self.now.get());
                header.life.requeue();
                if ready::home_of(&self.shared, routine).is_some() {
                    self.push_back(routine);
                    self.deque_comes_next();
                } else {
                    self.push_local(routine, Source::Local);
                    self.home_comes_next();
                }
            }
            &Post::Block {
                why,
                interrupt,
                commit,
            } => {
                header.touch(self.now.get());
                header.note_habit(Deed::Wait);
                self.stats().count_block(why);
                let ticket = header.life.block(why);
                // SAFETY: the routine's frame lives until it is resumed, which only this thread
                // can do; and it is called once.
                let commit: Commit<'_> = unsafe { &mut *commit };
                let waits = commit(routine, ticket);
                let cancelled = || header.life.cancel_level() != CancelLevel::None;
                if !waits || (interrupt == Interrupt::ByCancel && cancelled()) {
                    ready::ready(routine, ticket, Source::Inbox);
                }
            }
        }
    }

    pub(super) fn count_yield(&self, header: &Header) {
        stats::add(&self.stats().yields, 1);
        header.note_habit(Deed::Yield);
        if let Some(workload) = header.workload() {
            workload.yields.fetch_add(1, Relaxed);
        }
    }
}

/// The end of a routine whose frames were given up, carried out by its destructor.
#[cfg(not(portable))]
struct Ending {
    routine: RoutineRef,
    why: StackOverflow,
    on: Arc<Shared>,
}

#[cfg(not(portable))]
impl Drop for Ending {
    fn drop(&mut self) {
        // SAFETY: 1: the worker that ran the routine left it to us, and it will not run any more.
        unsafe { body::end_overflowed(self.routine, self.why) };
        self.routine.header().life.end();
        self.routine.release();
        // Last: a shutdown that sees it frees everything. By whichever thread drops us.
        // Release pairs with the acquire load in `Shared::totals`.
        self.on.foreign.gone.fetch_add(1, Release);
    }
}
