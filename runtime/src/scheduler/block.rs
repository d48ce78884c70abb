//! Blocking: how a routine stops until somebody readies it.
//!
//! This is the narrow side of the interface between primitives and scheduler: [`block`] here,
//! [`ready`](super::ready) there. A primitive never puts its routine on a wait list itself: it hands
//! [`block`] a commit function, and the worker calls that after the switch, when the routine's
//! stack is at rest.

use crate::routine::life::Ticket;
use crate::routine::{RoutineRef, context};
use crate::scheduler::threads::{Here, ThreadSlot};
use crate::scheduler::worker::Post;
use crate::scheduler::{Shared, explore, threads};
use crate::snapshot::{RoutineKind, WaitReason};
use std::sync::atomic::Ordering::Relaxed;

/// Where a call comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// A routine that may suspend.
    Routine(RoutineRef),
    /// A routine that is panicking: it may not suspend, because the panic count is its thread's.
    Panicking(RoutineRef),
    /// A thread that is no worker.
    Thread,
    /// A worker between turns: a destructor that some library runs inside the scheduler.
    Scheduler,
}

/// A caller of an operation that may wait. Right until it does.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) here: Here,
    pub(crate) context: Context,
}

/// Where the caller is.
#[inline]
pub(crate) fn context() -> Context {
    caller().context
}

/// The same with its thread.
#[inline]
pub(crate) fn caller() -> Caller {
    let here = Here::find();
    Caller {
        here,
        context: context_of(here),
    }
}

#[inline]
fn context_of(here: Here) -> Context {
    let routine = match here.slot().map(ThreadSlot::running) {
        None => return Context::Thread,
        Some(None) => return Context::Scheduler,
        Some(Some(routine)) => routine,
    };
    if std::thread::panicking() {
        Context::Panicking(routine)
    } else {
        Context::Routine(routine)
    }
}

/// Whether a cancel of the blocked routine ends its wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Yes: the caller looks for a cancel afterwards.
    ByCancel,
    /// No: something of its frame is on loan.
    Never,
}

/// What the worker calls after the switch: puts the routine where somebody will ready it and
/// returns true, or returns false if there is nothing to wait for any more.
pub(crate) type Commit<'a> = &'a mut dyn FnMut(RoutineRef, Ticket) -> bool;

/// Blocks the calling routine. Returns when it was readied, perhaps for no reason: the caller looks
/// again at what it waits for.
///
/// Only from [`Context::Routine`].
pub(crate) fn block(why: WaitReason, interrupt: Interrupt, commit: Commit<'_>) {
    block_me(running(), why, interrupt, commit);
}

/// As [`block`], for a caller that knows itself to be the running routine `me`.
#[inline]
pub(crate) fn block_me(me: RoutineRef, why: WaitReason, interrupt: Interrupt, commit: Commit<'_>) {
    switch_out(
        me,
        &Post::Block {
            why,
            interrupt,
            // The worker calls it before this frame is resumed, so the lifetime may be forgotten.
            // SAFETY: only the lifetime of the pointee changes.
            commit: unsafe {
                std::mem::transmute::<
                    Commit<'_>,
                    *mut (dyn FnMut(RoutineRef, Ticket) -> bool + 'static),
                >(commit)
            },
        },
    );
    if explore::is_live() {
        explore::tell_where(why);
    }
    // A notice left over has done its work, or every later inspection would wake the routine. Not
    // within a poll: there the notice may be for the future, which looks for it when the poll has
    // returned.
    if me.header().kind() == RoutineKind::Stackful {
        me.header().life.take_notice();
    }
}

/// Blocks the calling routine where nothing but a cancel wakes it.
///
/// Only from [`Context::Routine`].
pub(crate) fn sleep_until_cancelled(why: WaitReason) {
    let mut stay = |_: RoutineRef, _: Ticket| true;
    let commit: &mut (dyn FnMut(RoutineRef, Ticket) -> bool + 'static) = &mut stay;
    switch_out(
        running(),
        &Post::Block {
            why,
            interrupt: Interrupt::ByCancel,
            commit,
        },
    );
}

/// Gives way: the running routine `me` goes to the end of its home's queue.
///
/// Only from [`Context::Routine`].
#[inline]
pub(crate) fn give_way(me: RoutineRef) {
    switch_out(me, &Post::Yield);
}

/// The routine that runs. Only from [`Context::Routine`].
fn running() -> RoutineRef {
    threads::running_here().expect("the caller is a routine")
}

/// Leaves a wish with the worker and suspends the running routine `me` until it is resumed.
#[inline(always)]
fn switch_out(me: RoutineRef, post: &Post) {
    // SAFETY: `me` is the routine that runs, on its stack; `Context::Routine` excludes panicking.
    unsafe { context::suspend(me.header().stack.load(Relaxed), post) };
}

/// Whether `target` can only run on the thread that `me` runs on, or when `me` has left its home.
pub(crate) fn needs_thread_of(target: RoutineRef, me: RoutineRef) -> bool {
    let same_runtime = std::ptr::eq(target.shared(), me.shared());
    same_runtime
        && (me.shared().roster.active() == 1
            || target.header().home.load(Relaxed) == me.header().home.load(Relaxed))
}

/// Whether `me` holds its thread: nobody else runs there while it waits.
pub(crate) fn is_held(me: RoutineRef) -> bool {
    let Some(home) = threads::home_here() else {
        return false;
    };
    // SAFETY: 1: `me` runs on the calling thread, so the thread's home does; and it is of `me`'s runtime.
    unsafe { (*home).held() }.get() == me.as_ptr()
}

/// Refuses a wait for routines that `me` is about to spawn on `shared` and that nothing ends but their end,
/// if `me` keeps its thread while it waits: another thread must be there to run them. Of a thread that
/// is held the other workers may know nothing but that it is: if all do so, all wait for each other.
pub(crate) fn assert_can_wait_for_fresh(shared: &Shared, me: RoutineRef, call: &str) {
    if !std::ptr::eq(shared, me.shared()) {
        return;
    }
    assert!(
        !is_held(me),
        "`{call}` in `hold_thread` would wait for routines while it keeps a thread from running them"
    );
    assert!(
        !std::thread::panicking() || shared.roster.active() > 1,
        "`{call}` in a destructor of a panicking routine would wait for routines that only this thread \
         could run"
    );
}

/// Refuses a blocking call in scheduler context.
pub(crate) fn refuse_in_scheduler(call: &str) -> ! {
    panic!(
        "`{call}` would block inside the scheduler: a destructor that runs between two turns may \
         not wait"
    );
}
