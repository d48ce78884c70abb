//! A routine's waker: one reference to its block.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::routine::life::Wake;
use crate::routine::{Header, RoutineRef};
use crate::scheduler::ready;
use crate::snapshot::Source;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);
static OF_WAIT: RawWakerVTable = RawWakerVTable::new(clone, end_wait, end_wait, |_| ());

/// A waker of `routine` that holds a reference of its own.
pub(crate) fn owned(routine: RoutineRef) -> Waker {
    routine.retain();
    // SAFETY: the vtable's functions keep `RawWaker`'s contract: the data is a block's address
    // with one reference for each waker, and blocks may be used from any thread.
    unsafe { Waker::new(routine.as_ptr().cast_const().cast(), &VTABLE) }
}

/// A waker that borrows the reference of whoever runs the routine.
pub(crate) fn borrowed(routine: RoutineRef) -> impl Deref<Target = Waker> {
    // SAFETY: as in `owned`; it is never dropped, so it needs no reference of its own while the
    // caller's lasts.
    ManuallyDrop::new(unsafe { Waker::new(routine.as_ptr().cast_const().cast(), &VTABLE) })
}

/// A waker of the calling routine for the wait that it has begun, without a reference: for somebody
/// of the same runtime, who uses it once. It may come when that wait is over: then it wakes a later one
/// for no reason, of whichever routine has the block by then, which everything that blocks puts up with.
///
/// # Safety
/// 1. Alive: it is used while the routine's runtime lives.
pub(crate) unsafe fn of_wait(routine: RoutineRef) -> Waker {
    // SAFETY: as in `owned`, but nothing is given back; by 1 the block is there when it is used.
    unsafe { Waker::new(routine.as_ptr().cast_const().cast(), &OF_WAIT) }
}

/// The routine behind one of our own wakers.
pub(crate) fn routine_of(waker: &Waker) -> Option<RoutineRef> {
    std::ptr::eq(waker.vtable(), &VTABLE).then(|| routine(waker.data()))
}

/// Wakes the routine, as from a source.
pub(crate) fn notify(routine: RoutineRef, source: Source) {
    if let Wake::Won(reason) = routine.header().life.notify() {
        ready::queue_woken(routine, reason, source);
    }
}

fn routine(data: *const ()) -> RoutineRef {
    // SAFETY: `data` is what `owned` or `borrowed` put there, and the waker's reference keeps the
    // block's slabs alive.
    unsafe { RoutineRef::from_ptr(data.cast_mut().cast::<Header>()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    routine(data).retain();
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    notify(routine(data), Source::Inbox);
    routine(data).release();
}

unsafe fn end_wait(data: *const ()) {
    let routine = routine(data);
    ready::ready(routine, routine.header().life.ticket(), Source::Inbox);
}

unsafe fn wake_by_ref(data: *const ()) {
    notify(routine(data), Source::Inbox);
}

unsafe fn drop_waker(data: *const ()) {
    routine(data).release();
}
