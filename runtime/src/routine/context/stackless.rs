//! No switch at all: a turn runs on the stack of the worker that runs it, and returns before anything else does.
//!
//! For machines without a way to leave one stack for another, and systems without threads: WebAssembly. A future and a turn loop
//! return between two turns anyway, so they run as everywhere; a closure runs to its end. Whatever would
//! suspend in the middle of a turn panics ([`suspend`]), before anything was lent or queued for the wait.

use super::StackFacts;
use crate::routine::RoutineRef;
use crate::routine::body::TurnEnd;
use crate::routine::chain::Extent;
use crate::scheduler::threads::ThreadSlot;
use crate::scheduler::worker::Post;
use crate::stack::Slot;

/// What a routine has only while it is in a turn.
pub(crate) struct StackPart {
    routine: RoutineRef,
    slot: Slot,
}

/// Nothing to ask the processor for.
///
/// # Safety
/// None.
pub(crate) unsafe fn prefetch_frames(_: *const StackPart) {}

/// As [`prefetch_frames`].
pub(crate) fn prefetch_part(_: *const StackPart) {}

/// Prepares `routine` for a turn.
///
/// # Safety
/// 1. Exclusive: the caller runs `routine`, which has no stack.
pub(crate) unsafe fn prepare(routine: RoutineRef, slot: Slot) -> *mut StackPart {
    Box::into_raw(Box::new(StackPart { routine, slot }))
}

/// Runs the turn to its end: never `None`.
///
/// # Safety
/// 1. Exclusive: the caller runs the routine that `part` belongs to, in scheduler context.
/// 2. Thread: `slot` is the calling thread's.
pub(crate) unsafe fn resume(part: *mut StackPart, slot: &ThreadSlot) -> Option<TurnEnd> {
    slot.leave_for_routine();
    // SAFETY: 1 by the caller: the body is ours to run, and nobody frees the part meanwhile.
    let end = unsafe {
        let routine = (*part).routine;
        let vtable = routine.header().vtable.get().expect("set at birth");
        (vtable.run)(routine)
    };
    slot.enter_for_switch();
    Some(end)
}

/// Refuses.
///
/// # Safety
/// None.
///
/// # Panics
/// Always: there is no other stack to go on with.
pub(crate) unsafe fn suspend(_: *mut StackPart, _: &Post) {
    panic!(
        "this call would wait in the middle of a routine's turn, and on WebAssembly a routine has no stack of its own to \
         wait on: await it in `spawn_future`, or return from a turn of `spawn_turns`"
    );
}

/// Not called: no routine suspends.
///
/// # Safety
/// None.
pub(crate) unsafe fn post(_: *const StackPart) -> *const Post {
    unreachable!("no routine suspends here")
}

/// Takes the slot back after the turn.
///
/// # Safety
/// 1. Exclusive: the caller ran the routine.
/// 2. Alive: `part` is not used afterwards.
pub(crate) unsafe fn dismantle(part: *mut StackPart) -> (Slot, usize) {
    // SAFETY: 1 and 2 by the caller: made by `prepare`, taken apart once.
    let part = unsafe { Box::from_raw(part) };
    (part.slot, 0)
}

/// Nothing.
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

/// Not measured.
///
/// # Safety
/// None.
pub(crate) unsafe fn depth(_: *const StackPart) -> usize {
    0
}
