//! What a routine runs, without its types: closure or future before, result after.
//!
//! Both lie in the routine's block when they fit into it and are aligned to a word; otherwise the
//! block holds a box. The result takes the place of the body.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use crate::cancel::CancelPayload;
use crate::join::StackOverflow;
use crate::local::table::drop_values;
use crate::routine::life::CancelLevel;
use crate::routine::{BODY_BYTES, Header, RoutineRef, waker};
use crate::scheduler::finish;
use crate::stack::OutOfStacks;

/// The body has not returned yet.
pub(crate) const PENDING: u8 = 0;
/// The block holds a value.
pub(crate) const VALUE: u8 = 1;
/// The block holds a panic's payload.
pub(crate) const PANICKED: u8 = 2;
/// The block holds nothing.
pub(crate) const CANCELLED: u8 = 3;
/// The block holds a [`StackOverflow`].
pub(crate) const OVERFLOWED: u8 = 4;

/// How a turn's body returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnEnd {
    /// The routine has ended; its result is stored and whoever waited was told.
    Ended,
    /// The future waits for its waker.
    Pending,
    /// The stack was used up, and its frames were given up.
    #[cfg(not(portable))]
    Overflowed,
}

/// Why a routine will not run any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unrun {
    /// Its runtime was shut down before it was spawned.
    Closed,
    /// No stack could be had for it, and none was in use that could have come back.
    NoStack(OutOfStacks),
}

/// The functions of one pair of body and result types.
pub(crate) struct VTable {
    /// Runs the body: to its end (closures) or for one poll (futures). Never unwinds.
    ///
    /// Safety: 1. Exclusive: the caller runs the routine, on its stack.
    pub(crate) run: unsafe fn(RoutineRef) -> TurnEnd,
    /// Ends a routine that will not run any more: drops its body. Never unwinds.
    ///
    /// Safety: 1. Exclusive: the caller owns the routine, which has not ended and is in no queue.
    /// 2. Thread: the routine is between turns or has never run, so that any thread may drop its
    ///    body.
    pub(crate) end_unrun: unsafe fn(RoutineRef, Unrun),
    /// Moves the value out to `*mut T`.
    ///
    /// Safety: 1. Exclusive: the outcome is `VALUE`, and nobody takes it again. 2. `T` is the
    /// routine's result type.
    pub(crate) take_value: unsafe fn(&Header, *mut ()),
    /// Drops the value.
    ///
    /// Safety: 1. as for `take_value`.
    pub(crate) drop_value: unsafe fn(&Header),
}

/// The functions of a closure `F` that returns a `T`.
pub(crate) fn closure_vtable<F: FnOnce() -> T, T>() -> &'static VTable {
    const {
        &VTable {
            run: run_closure::<F, T>,
            end_unrun: end_unrun::<F, T>,
            take_value: take_value::<T>,
            drop_value: drop_value::<T>,
        }
    }
}

/// The functions of a future `F`.
pub(crate) fn future_vtable<F: Future>() -> &'static VTable {
    const {
        &VTable {
            run: poll_future::<F>,
            end_unrun: end_unrun::<F, F::Output>,
            take_value: take_value::<F::Output>,
            drop_value: drop_value::<F::Output>,
        }
    }
}

const fn fits<X>() -> bool {
    size_of::<X>() <= BODY_BYTES && align_of::<X>() <= align_of::<u64>()
}

/// Address of an `X` in the block.
fn place<X>(header: &Header) -> *mut X {
    header.body.get().cast()
}

/// Stores `x` in the block or in a box.
///
/// # Safety
/// 1. Exclusive: the caller owns the body, and the block holds none.
pub(crate) unsafe fn put<X>(header: &Header, x: X) {
    // SAFETY: 1 by the caller; the place is aligned and large enough for either.
    unsafe {
        if fits::<X>() {
            place::<X>(header).write(x);
        } else {
            place::<*mut X>(header).write(Box::into_raw(Box::new(x)));
        }
    }
}

/// Moves the stored `X` out.
///
/// # Safety
/// 1. Exclusive: the caller owns the body; the block holds an `X`, and holds none afterwards.
unsafe fn take<X>(header: &Header) -> X {
    // SAFETY: 1 by the caller; a box was made by `put`.
    unsafe {
        if fits::<X>() {
            place::<X>(header).read()
        } else {
            *Box::from_raw(place::<*mut X>(header).read())
        }
    }
}

/// Address of the stored `X`; stable until it is taken or dropped.
///
/// # Safety
/// 1. Exclusive: the caller owns the body; the block holds an `X`.
unsafe fn address<X>(header: &Header) -> *mut X {
    if fits::<X>() {
        place::<X>(header)
    } else {
        // SAFETY: 1 by the caller; the box was made by `put`.
        unsafe { place::<*mut X>(header).read() }
    }
}

/// Drops the stored `X` where it is.
///
/// # Safety
/// 1. Exclusive: as for [`take`].
unsafe fn drop_stored<X>(header: &Header) {
    // SAFETY: 1 by the caller. A box is rebuilt and dropped without moving its content, as a
    // pinned future needs.
    unsafe {
        if fits::<X>() {
            place::<X>(header).drop_in_place();
        } else {
            drop(Box::from_raw(place::<*mut X>(header).read()));
        }
    }
}

unsafe fn take_value<T>(header: &Header, to: *mut ()) {
    // SAFETY: by the contract of `VTable::take_value`.
    unsafe { to.cast::<T>().write(take::<T>(header)) }
}

unsafe fn drop_value<T>(header: &Header) {
    // SAFETY: by the contract of `VTable::drop_value`.
    unsafe { drop_stored::<T>(header) }
}

/// Takes a panic's payload out.
///
/// # Safety
/// 1. Exclusive: the outcome is `PANICKED`, and nobody takes it again.
pub(crate) unsafe fn take_panic(header: &Header) -> Box<dyn Any + Send> {
    // SAFETY: 1 by the caller; `settle` stored exactly this type.
    unsafe { take(header) }
}

unsafe fn run_closure<F: FnOnce() -> T, T>(routine: RoutineRef) -> TurnEnd {
    let header = routine.header();
    // SAFETY: 1 by the contract of `VTable::run`: we run the routine for the first and only time,
    // so the body is the closure.
    let body = unsafe { take::<F>(header) };
    let result = if header.life.cancel_level() == CancelLevel::None {
        catch_unwind(AssertUnwindSafe(body))
    } else {
        // Cancelled before it began: only its captures are dropped, here, where user code may run.
        let dropped = catch_unwind(AssertUnwindSafe(move || drop(body)));
        Err(dropped
            .err()
            .unwrap_or_else(|| Box::new(CancelPayload::unraised())))
    };
    let result = drop_locals(header, result);
    settle(routine, result);
    TurnEnd::Ended
}

unsafe fn poll_future<F: Future>(routine: RoutineRef) -> TurnEnd {
    let header = routine.header();
    // Before the poll: a wake that comes during it must be seen after it.
    header.life.take_notice();
    // SAFETY: 1 by the contract of `VTable::run`: we run the routine and it has not ended, so the
    // body is the future.
    let future = unsafe { address::<F>(header) };
    let polled = if header.life.cancel_level() == CancelLevel::None {
        catch_unwind(AssertUnwindSafe(|| {
            let waker = waker::borrowed(routine);
            // SAFETY: the future stays at this address, in the block or its box, until it is
            // dropped there.
            let pinned = unsafe { Pin::new_unchecked(&mut *future) };
            pinned.poll(&mut Context::from_waker(&waker))
        }))
    } else {
        Err(Box::new(CancelPayload::unraised()) as Box<dyn Any + Send>)
    };
    let result = match polled {
        Ok(Poll::Pending) => return TurnEnd::Pending,
        Ok(Poll::Ready(value)) => Ok(value),
        Err(payload) => Err(payload),
    };
    // SAFETY: the future is not polled again, and `settle` puts the result in its place.
    let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { drop_stored::<F>(header) }));
    let result = drop_locals(header, after_drop(dropped, result));
    settle(routine, result);
    TurnEnd::Ended
}

/// Drops the routine-locals of a routine whose body is gone. A cancel leaves their destructors alone.
fn drop_locals<T>(
    header: &Header,
    result: Result<T, Box<dyn Any + Send>>,
) -> Result<T, Box<dyn Any + Send>> {
    match header.extra() {
        Some(extra) if !extra.locals().borrow().is_empty() => {
            header.life.shield();
            after_drop(drop_values(extra.locals()), result)
        }
        _ => result,
    }
}

/// The result after a destructor has run: its panic is reported unless the body's own came first.
fn after_drop<T>(
    dropped: Result<(), Box<dyn Any + Send>>,
    result: Result<T, Box<dyn Any + Send>>,
) -> Result<T, Box<dyn Any + Send>> {
    match (dropped, result) {
        (Ok(()), result) => result,
        (Err(second), Err(first)) if !first.is::<CancelPayload>() => {
            swallow(move || drop(second));
            Err(first)
        }
        (Err(payload), result) => {
            swallow(move || drop(result));
            Err(payload)
        }
    }
}

unsafe fn end_unrun<B, T>(routine: RoutineRef, why: Unrun) {
    let header = routine.header();
    // SAFETY: 1 by the contract of `VTable::end_unrun`: the body is still there, and ours.
    let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { drop_stored::<B>(header) }));
    let result: Result<T, _> = match (dropped, why) {
        (Err(payload), _) => Err(payload),
        (Ok(()), Unrun::Closed) => Err(Box::new(CancelPayload::unraised()) as Box<dyn Any + Send>),
        (Ok(()), Unrun::NoStack(why)) => {
            Err(Box::new(format!("no stack for the routine's turn: {why}")) as _)
        }
    };
    let result = drop_locals(header, result);
    settle(routine, result);
}

/// Ends a routine whose frames were given up, on another one's stack.
///
/// # Safety
/// 1. Exclusive: the caller owns the routine, which will not run any more; it releases it afterwards.
#[cfg(not(portable))]
pub(crate) unsafe fn end_overflowed(routine: RoutineRef, why: StackOverflow) {
    let header = routine.header();
    let extra = header.extra();
    // A value that was being made or looked up when the stack ended would be asked in the middle of that.
    let whole = extra.is_none_or(|extra| extra.locals().try_borrow_mut().is_ok());
    if let Some(extra) = extra.filter(|_| whole) {
        header.life.shield();
        if let Err(payload) = drop_values(extra.locals()) {
            swallow(move || drop(payload));
        }
    }
    // SAFETY: 1 by the caller; the body was moved to the frames that are gone.
    unsafe { put(header, why) };
    header.outcome.store(OVERFLOWED, Relaxed);
    finish::finish(routine, finish::End::Panicked(why.to_string()));
    if !whole {
        header.forget_extra();
    }
}

/// Takes what [`end_overflowed`] left.
///
/// # Safety
/// 1. Exclusive: the outcome is `OVERFLOWED`.
pub(crate) unsafe fn take_overflow(header: &Header) -> StackOverflow {
    // SAFETY: 1 by the caller.
    unsafe { take(header) }
}

/// Runs foreign code that must not stop the caller by a panic. Nobody is left to hear of the panic,
/// but its hook has run.
pub(crate) fn swallow(foreign: impl FnOnce()) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) else {
        return;
    };
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        // A payload whose destructor panics with another such payload could go on for ever.
        std::mem::forget(again);
    }
}

/// Stores the result and tells whoever waits for it.
fn settle<T>(routine: RoutineRef, result: Result<T, Box<dyn Any + Send>>) {
    let header = routine.header();
    let end = match result {
        Ok(value) => {
            // SAFETY: we run the routine, and its body was taken out.
            unsafe { put(header, value) };
            header.outcome.store(VALUE, Relaxed);
            finish::End::Returned
        }
        Err(payload) if payload.is::<CancelPayload>() => {
            header.outcome.store(CANCELLED, Relaxed);
            finish::End::Cancelled
        }
        Err(payload) => {
            let message = panic_message(&*payload);
            // SAFETY: as above.
            unsafe { put(header, payload) };
            header.outcome.store(PANICKED, Relaxed);
            finish::End::Panicked(message)
        }
    };
    finish::finish(routine, end);
}

/// Drops whatever result the block holds. Panics of the result's destructor are swallowed: there
/// is nobody left to hear of them.
///
/// # Safety
/// 1. Exclusive: the routine has an outcome, and nobody else takes it.
pub(crate) unsafe fn discard(header: &Header) {
    // Relaxed, and no exchange: the outcome is the caller's alone by 1.
    let outcome = header.outcome.load(Relaxed);
    if matches!(outcome, CANCELLED | PENDING | OVERFLOWED) {
        return;
    }
    header.outcome.store(CANCELLED, Relaxed);
    // SAFETY: 1 by the caller; the outcome says what the block holds.
    swallow(|| unsafe {
        match outcome {
            VALUE => (header.vtable.get().expect("set at birth").drop_value)(header),
            PANICKED => drop(take_panic(header)),
            _ => {}
        }
    });
}

/// The text of a panic's payload.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "the panic's payload is not text".to_owned()
    }
}
