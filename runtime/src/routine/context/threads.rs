//! The stack switch by threads: each routine runs on an OS thread of its own, and a [`Baton`] says whether
//! that thread runs or its worker's.
//!
//! It needs nothing of the machine. Thread identity belongs to the routine by construction: what is
//! thread-local stays the routine's own, whichever worker resumes it. For the length of a turn the
//! routine's thread stands in for the worker's, which waits: it has the worker's
//! [`ThreadState`](crate::thread_state::ThreadState), so that what the public functions find is the same.
//!
//! A turn costs two exchanges between threads, some 10 us, where a switch of stacks costs 5 ns.

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::Arc;

use super::StackFacts;
use super::baton::Baton;
use crate::memory;
use crate::profile::frames;
use crate::routine::RoutineRef;
use crate::routine::body::TurnEnd;
use crate::routine::chain::Extent;
use crate::scheduler::threads::ThreadSlot;
use crate::scheduler::worker::Post;
use crate::stack::Slot;
use crate::thread_state::{self, ThreadState};

/// A routine's thread, as its worker reaches it.
#[derive(Debug)]
pub(crate) struct Carrier {
    baton: Baton,
    /// What the thread shall run; belongs to who has the baton.
    part: UnsafeCell<*mut StackPart>,
}

// SAFETY: the baton is atomic; the pointer is touched by the side that has it, and who passes it releases what
// the other one acquires.
unsafe impl Send for Carrier {}
// SAFETY: as above.
unsafe impl Sync for Carrier {}

impl Carrier {
    /// The worker's side has the baton.
    pub(crate) fn new() -> Carrier {
        Carrier {
            baton: Baton::new(),
            part: UnsafeCell::new(ptr::null_mut()),
        }
    }

    /// The worker's side: there will be nothing to run any more.
    pub(crate) fn dismiss(&self) {
        self.baton.dismiss();
    }
}

/// The body of a routine's thread: one routine's turns after the other's.
pub(crate) struct Runner(Arc<Carrier>);

impl Runner {
    pub(crate) fn new(carrier: Arc<Carrier>) -> Runner {
        Runner(carrier)
    }

    pub(crate) fn run(self) {
        let (low, high) = frames::thread_stack().unwrap_or((0, 0));
        thread_state::with(|thread| thread.set_native_stack(low, high));
        while self.0.baton.wait() {
            // SAFETY: `Baton::wait` gave us the baton, and `resume` set the part before it passed it.
            unsafe { first_turns(*self.0.part.get()) };
            self.0.baton.pass_back();
        }
    }
}

/// Runs the routine's body, from its first turn on this thread to its end.
///
/// # Safety
/// 1. Exclusive: the caller has the baton of the part's slot.
/// 2. Alive: the part lives until the baton is passed back.
unsafe fn first_turns(part: *mut StackPart) {
    let here = 0u8;
    // SAFETY: 1 and 2 by the caller. The body is ours, because the caller of `resume` runs the routine.
    unsafe {
        (*part).base = ptr::from_ref(&here).addr();
        (*part).lowest_sp = (*part).base;
        begin_turn(part);
        let routine = (*part).routine;
        let vtable = routine.header().vtable.get().expect("set at birth");
        let end = (vtable.run)(routine);
        (*part).end = Some(end);
        end_turn(part);
    }
}

/// This thread stands in for the worker's from here on.
///
/// # Safety
/// As [`first_turns`].
unsafe fn begin_turn(part: *mut StackPart) {
    // SAFETY: 1 and 2 by the caller; the worker's thread waits in `resume`, so its state is there.
    let worker = unsafe { &*(*part).worker };
    thread_state::with(|thread| thread.stand_in_for(worker));
}

/// No longer; the worker's goes on next.
///
/// # Safety
/// As [`first_turns`].
unsafe fn end_turn(part: *mut StackPart) {
    // SAFETY: 1 and 2 by the caller; the slot is that of the worker's thread, which waits.
    unsafe { (*(*part).thread).enter_for_switch() };
    thread_state::with(|thread| {
        memory::settle(thread);
        thread.stand_down();
    });
}

/// What a routine has only while it has a thread.
pub(crate) struct StackPart {
    routine: RoutineRef,
    slot: Slot,
    /// The thread that resumed it: what it keeps to itself, and what others see.
    worker: *const ThreadState,
    thread: *const ThreadSlot,
    /// How the body returned, if it has.
    end: Option<TurnEnd>,
    /// What the routine asks its worker to do; of the last suspension.
    post: *const Post,
    /// Addresses on the routine's stack: of its first frame, at the last suspension, and the lowest one seen.
    base: usize,
    saved_sp: usize,
    lowest_sp: usize,
}

/// Nothing to ask the processor for: the routine's thread may run elsewhere.
///
/// # Safety
/// None.
pub(crate) unsafe fn prefetch_frames(_: *const StackPart) {}

/// As [`prefetch_frames`].
pub(crate) fn prefetch_part(_: *const StackPart) {}

/// Prepares `routine` to run its body on `slot`.
///
/// # Safety
/// 1. Exclusive: the caller runs `routine`, which has no stack.
pub(crate) unsafe fn prepare(routine: RoutineRef, slot: Slot) -> *mut StackPart {
    let carrier = slot.carrier().clone();
    let part = Box::into_raw(Box::new(StackPart {
        routine,
        slot,
        worker: ptr::null(),
        thread: ptr::null(),
        end: None,
        post: ptr::null(),
        base: 0,
        saved_sp: 0,
        lowest_sp: 0,
    }));
    // SAFETY: a slot that carries no routine has its baton on our side.
    unsafe { *carrier.part.get() = part };
    part
}

/// Lets the routine's thread run until it suspends (`None`) or its turn's body returns.
///
/// # Safety
/// 1. Exclusive: the caller runs the routine that `part` belongs to, in scheduler context.
/// 2. Thread: any that holds a worker of its runtime; `slot` is the calling thread's, which is in
///    scheduler context.
/// 3. Unwinding: none; the body catches.
pub(crate) unsafe fn resume(part: *mut StackPart, slot: &ThreadSlot) -> Option<TurnEnd> {
    // SAFETY: 1 by the caller: the baton is on our side, before and after. The slot stays until
    // `dismantle`, which is our caller's too.
    unsafe {
        (*part).worker = thread_state::address();
        (*part).thread = slot;
        slot.leave_for_routine();
        (*part).slot.carrier().baton.run();
        (*part).end.take()
    }
}

/// Lets the running routine's worker go on, which finds `post`; returns when it is resumed.
///
/// # Safety
/// 1. Exclusive: called by the routine that `part` belongs to, on its own thread.
/// 2. Unwinding: the caller is not panicking, as with every back end.
pub(crate) unsafe fn suspend(part: *mut StackPart, post: &Post) {
    let sp = ptr::from_ref(&post).addr();
    // SAFETY: 1 by the caller: until the baton is passed back the part is ours, and then again.
    unsafe {
        (*part).post = post;
        (*part).saved_sp = sp;
        (*part).lowest_sp = (*part).lowest_sp.min(sp);
        end_turn(part);
        // The thread that runs this keeps it alive itself.
        let baton = &*ptr::from_ref(&(*part).slot.carrier().baton);
        baton.pass_back();
        assert!(
            baton.wait(),
            "a thread is dismissed when its routine has ended"
        );
        begin_turn(part);
    }
}

/// What the routine has asked for with its last suspension: lies in its frame.
///
/// # Safety
/// 1. Exclusive: the caller runs the routine, which has suspended.
pub(crate) unsafe fn post(part: *const StackPart) -> *const Post {
    // SAFETY: 1 by the caller.
    unsafe { (*part).post }
}

/// Takes the slot back after the body has returned.
///
/// # Safety
/// 1. Exclusive: the caller ran the routine, and [`resume`] returned `Some`.
/// 2. Alive: `part` is not used afterwards.
pub(crate) unsafe fn dismantle(part: *mut StackPart) -> (Slot, usize) {
    // SAFETY: 1 and 2 by the caller: made by `prepare`, taken apart once.
    let part = unsafe { Box::from_raw(part) };
    (part.slot, part.lowest_sp)
}

/// Nothing: only its own thread may look at such a stack.
///
/// # Safety
/// None.
pub(crate) unsafe fn facts(_: *mut StackPart) -> Option<StackFacts> {
    None
}

/// As [`facts`].
///
/// # Safety
/// None.
pub(crate) unsafe fn extent(_: *const StackPart) -> Option<Extent> {
    None
}

/// Bytes of its stack that a suspended routine uses, from its first frame on.
///
/// # Safety
/// 1. Exclusive: the caller runs the routine, which has suspended.
pub(crate) unsafe fn depth(part: *const StackPart) -> usize {
    // SAFETY: 1 by the caller.
    unsafe { (*part).base.saturating_sub((*part).saved_sp) }
}
