//! How a segment is had, linked to the stack of the caller, and given back.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use super::SegmentError;
use crate::current;
use crate::routine::{RoutineRef, context};
use crate::scheduler::block::{self, Context};
use crate::scheduler::{Shared, worker};
use crate::snapshot::GuardMode;
use crate::stack::altstack::AltStack;
use crate::stack::{OutOfStacks, Slot, StackArena, StackClass, StackConfig, overflow};
use crate::thread_state;

impl From<OutOfStacks> for SegmentError {
    fn from(why: OutOfStacks) -> SegmentError {
        match why {
            OutOfStacks::Limit | OutOfStacks::Guards => SegmentError::Limit,
            OutOfStacks::Kernel { errno } => {
                SegmentError::NoMemory(io::Error::from_raw_os_error(errno))
            }
        }
    }
}

/// As [`with_segment`](super::with_segment).
pub(super) fn run<F, R>(class: StackClass, f: F) -> Result<R, SegmentError>
where
    F: FnOnce() -> R,
{
    let mut f = Some(f);
    let mut result = None;
    // Caught on the segment, and thrown again when it has gone.
    let mut run = || result = f.take().map(|f| catch_unwind(AssertUnwindSafe(f)));
    match block::context() {
        Context::Routine(me) | Context::Panicking(me) => run_in_routine(me, class, &mut run)?,
        Context::Thread | Context::Scheduler => run_on_thread(class, &mut run)?,
    }
    match result.expect("it ran on the segment") {
        Ok(value) => Ok(value),
        Err(payload) => resume_unwind(payload),
    }
}

fn run_in_routine(
    me: RoutineRef,
    class: StackClass,
    run: &mut dyn FnMut(),
) -> Result<(), SegmentError> {
    let shared = me.shared();
    let mut segment = shared.take_segment(class)?;
    let figures = me.header().extra_or_new().segments();
    figures.enter();
    shared.arena.tally().segment_taken();
    let part = me.header().stack.load(Relaxed);
    // SAFETY: 1: `me` is the routine that runs, here, and a started routine keeps its part; 2: `run`
    // catches what `f` throws; 3: the slot is ours and fresh.
    let lowest_sp = unsafe { context::run_on_segment(part, &mut segment, run) };
    shared.arena.tally().segment_given_back();
    figures.leave();
    // SAFETY: 1: `f` has returned or unwound, so that nothing of it is left on the segment; 2: it is this
    // arena's.
    unsafe { shared.give_segment_back(segment, lowest_sp) };
    Ok(())
}

/// The segments of threads that run no routine.
fn arena_of_threads() -> Result<&'static Arc<StackArena>, SegmentError> {
    static ARENA: OnceLock<Option<Arc<StackArena>>> = OnceLock::new();
    let made = ARENA.get_or_init(|| {
        StackArena::new(StackConfig {
            default_class: StackClass::SMALLEST,
            guard: GuardMode::Auto,
            max_stacks: None,
        })
        .ok()
    });
    let unsupported = || SegmentError::NoMemory(io::ErrorKind::Unsupported.into());
    made.as_ref().ok_or_else(unsupported)
}

fn run_on_thread(class: StackClass, run: &mut dyn FnMut()) -> Result<(), SegmentError> {
    let arena = arena_of_threads()?;
    overflow::install(current::OVERFLOW_HOOKS);
    // A thread that the standard library has not made may have none, and then an overflow ends it without
    // a word.
    let _altstack = AltStack::if_none();
    let mut segment = arena.take_apart(class)?;
    let before =
        thread_state::with(|thread| thread.move_native_stack(segment.low(), segment.high()));
    corosensei::on_stack(&mut segment, run);
    thread_state::with(|thread| thread.move_native_stack(before.0, before.1));
    // SAFETY: `f` has returned or unwound, so that nothing of it is left on the segment, which is this
    // arena's.
    unsafe { arena.give_back_apart(segment) };
    Ok(())
}

impl Shared {
    fn take_segment(&self, class: StackClass) -> Result<Slot, OutOfStacks> {
        worker::with_core_of(self, |core| match core {
            Some(core) => core.take_stack(class),
            None => self.arena.take_apart(class),
        })
    }

    /// # Safety
    /// 1. Exclusive: nothing on the slot is used any more.
    /// 2. Alive: it came from [`take_segment`](Self::take_segment).
    unsafe fn give_segment_back(&self, slot: Slot, lowest_sp: usize) {
        worker::with_core_of(self, |core| match core {
            // SAFETY: 1 and 2 by the caller.
            Some(core) => unsafe { core.give_stack_back(slot, lowest_sp) },
            None => {
                // SAFETY: 1 and 2 by the caller.
                unsafe { self.arena.give_back_apart(slot) };
                if let Some(routine) = self.stack_waiters.pop() {
                    self.inject(routine);
                }
            }
        });
    }
}
