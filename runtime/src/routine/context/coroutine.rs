//! The stack switch by corosensei: each routine has a slot of its own, and worker and routine take turns on
//! one thread.
//!
//! ```text
//!   high  ┌──────────────────────────────┐ end of the slot
//!         │ StackPart: coroutine, where  │ what a routine has only while it has a stack
//!         │ it suspended, the slot itself│
//!   base  ├──────────────────────────────┤ corosensei's base: the first frame lies below
//!         │ frames, growing down         │
//!         │ ...                          │
//!   low   ├──────────────────────────────┤
//!         │ guard page                   │
//!         └──────────────────────────────┘
//! ```

use std::arch::asm;
use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicPtr, AtomicUsize, compiler_fence};

use corosensei::stack::{Stack, StackPointer};
use corosensei::trap::CoroutineTrapHandler;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::StackFacts;
use super::trap::run_below_gap;
use crate::join::StackOverflow;
use crate::prefetch::{CACHE_LINE, prefetch};
use crate::routine::RoutineRef;
use crate::routine::body::TurnEnd;
use crate::routine::chain::{Extent, LeftStack};
use crate::scheduler::threads::ThreadSlot;
use crate::scheduler::worker::Post;
use crate::stack::{self, Slot};

/// Bytes kept at the top of each slot for [`StackPart`]. A multiple of the stack alignment.
const PART_BYTES: usize = 128;

const _: () = assert!(size_of::<StackPart>() <= PART_BYTES);

/// See the module's drawing. Lives at the top of the slot that its coroutine runs on.
pub(crate) struct StackPart {
    coroutine: ManuallyDrop<Coroutine<(), (), TurnEnd, RoutineStack>>,
    yielder: *const Yielder<(), ()>,
    /// Frame pointer, place in the code and stack pointer at the last suspension.
    saved_fp: usize,
    saved_pc: usize,
    saved_sp: usize,
    /// Bounds of the current stack: atomic, because signal handlers read them.
    base: AtomicUsize,
    low: AtomicUsize,
    lowest_sp: usize,
    /// The thread that runs the routine; of the last resumption.
    slot: *const ThreadSlot,
    /// The stack that was left for the current one, null as long as that is the routine's own.
    left: AtomicPtr<LeftStack>,
    /// What the routine asks its worker to do; of the last suspension.
    post: *const Post,
}

/// A slot less its [`StackPart`].
struct RoutineStack {
    slot: Slot,
    /// Kept, because every resume asks for it.
    base: StackPointer,
}

impl RoutineStack {
    fn new(slot: Slot) -> RoutineStack {
        let base = StackPointer::new(slot.high() - PART_BYTES);
        RoutineStack {
            slot,
            base: base.expect("a slot is not at address 0"),
        }
    }
}

// SAFETY: `Slot` has a guard page below its usable bytes and at least 28 KiB of them; taking
// `PART_BYTES` from the top keeps the base aligned and leaves far more than the minimum.
unsafe impl Stack for RoutineStack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    fn limit(&self) -> StackPointer {
        self.slot.limit()
    }
}

/// Bytes of a suspended routine's newest frames that its next turn is sure to touch: those between the
/// switch and the call that blocked, about 1 KiB in a release build.
const NEWEST_FRAMES: usize = 896;

/// Asks the processor for the routine's newest frames, ahead of a turn before which other code has had
/// the caches for long. Returning through them would wait for one line after the other, as the processor
/// cannot guess where a switched stack returns to.
///
/// # Safety
/// 1. Exclusive: the caller runs the routine that `part` belongs to.
pub(crate) unsafe fn prefetch_frames(part: *const StackPart) {
    // SAFETY: by 1 nobody writes the part.
    let (newest, base) = unsafe { ((*part).saved_sp, (*part).base.load(Relaxed)) };
    for line in (newest..base.min(newest + NEWEST_FRAMES)).step_by(CACHE_LINE) {
        prefetch(line as *const u8);
    }
}

/// Asks the processor for what [`prefetch_frames`] will look at; any address will do.
pub(crate) fn prefetch_part(part: *const StackPart) {
    prefetch(part.cast());
    prefetch(part.cast::<u8>().wrapping_add(CACHE_LINE));
}

/// Prepares `routine` to run its body on `slot`.
///
/// # Safety
/// 1. Exclusive: the caller runs `routine`, which has no stack.
pub(crate) unsafe fn prepare(routine: RoutineRef, slot: Slot) -> *mut StackPart {
    let part = (slot.high() - PART_BYTES) as *mut StackPart;
    let base = slot.high() - PART_BYTES;
    let low = slot.low();
    let root = move |yielder: &Yielder<(), ()>, ()| -> TurnEnd {
        // SAFETY: `part` was filled in by `prepare` before the first resume, lies above every
        // frame of this stack, and only this thread touches it.
        unsafe { (*part).yielder = yielder };
        let vtable = routine.header().vtable.get().expect("set at birth");
        // SAFETY: the caller of `resume` runs the routine, so its body is ours.
        let run = || unsafe { (vtable.run)(routine) };
        let end = if routine.header().is_contained() {
            run_below_gap(run)
        } else {
            run()
        };
        // SAFETY: as above.
        unsafe { enter_for_end(part) };
        end
    };
    let coroutine = Coroutine::with_stack(RoutineStack::new(slot), root);
    // SAFETY: the bytes from `part` to the slot's end are reserved for this value, mapped and
    // writable, and belong to the slot that we own; alignment: the end of a slot is page-aligned
    // and `PART_BYTES` a multiple of the alignment.
    unsafe {
        part.write(StackPart {
            coroutine: ManuallyDrop::new(coroutine),
            yielder: std::ptr::null(),
            saved_fp: 0,
            saved_pc: 0,
            saved_sp: base,
            base: AtomicUsize::new(base),
            low: AtomicUsize::new(low),
            lowest_sp: base,
            slot: std::ptr::null(),
            left: AtomicPtr::default(),
            post: std::ptr::null(),
        });
    }
    part
}

/// The last thing that a turn's body does: what follows is the scheduler's.
///
/// # Safety
/// 1. Exclusive: called by the routine that `part` belongs to.
pub(super) unsafe fn enter_for_end(part: *const StackPart) {
    // SAFETY: 1 by the caller; `resume` stored the slot of the thread that we run on.
    unsafe { (*(*part).slot).enter_for_switch() };
}

/// By which a signal handler can end the routine's turn.
///
/// # Safety
/// 1. Exclusive: called in a handler that interrupted the routine that `part` belongs to.
pub(super) unsafe fn trap_handler(part: *const StackPart) -> CoroutineTrapHandler<TurnEnd> {
    // SAFETY: 1 by the caller: `resume` waits for this routine, and what is read, the bounds of its stack,
    // nobody writes.
    unsafe { (*part).coroutine.trap_handler() }
}

/// Runs the routine on its stack until it suspends (`None`) or its turn's body returns.
///
/// # Safety
/// 1. Exclusive: the caller runs the routine that `part` belongs to, in scheduler context.
/// 2. Thread: this is the thread of the routine's home.
/// 3. Thread: `slot` is the calling thread's, which is in scheduler context.
/// 4. Unwinding: none; the body catches.
pub(crate) unsafe fn resume(part: *mut StackPart, slot: &ThreadSlot) -> Option<TurnEnd> {
    // SAFETY: 1 by the caller. The reference is to the coroutine alone, and the routine touches only the
    // other fields while it runs.
    let coroutine = unsafe {
        (*part).slot = slot;
        &mut (*part).coroutine
    };
    slot.leave_for_routine();
    match coroutine.resume(()) {
        CoroutineResult::Yield(()) => None,
        CoroutineResult::Return(end) => Some(end),
    }
}

/// Switches from the running routine to its worker, which finds `post`; returns when it is resumed.
///
/// Inlined, as far as the functions around it go: a processor predicts where a return goes by the
/// calls it has seen, and each return between here and the frame that goes on is predicted wrong
/// after a switch, at some 5 ns each.
///
/// # Safety
/// 1. Exclusive: called by the routine that `part` belongs to, on its own stack.
/// 2. Unwinding: the caller is not panicking; a panic count is the thread's, and a suspended
///    panic would leak it to other routines.
#[inline(always)]
pub(crate) unsafe fn suspend(part: *mut StackPart, post: &Post) {
    let (frame, sp, pc): (usize, usize, usize);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads registers.
    unsafe {
        asm!(
            "mov {}, rbp", "mov {}, rsp", "lea {}, [rip]",
            out(reg) frame, out(reg) sp, out(reg) pc,
            options(nomem, nostack, preserves_flags)
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads registers.
    unsafe {
        asm!(
            "mov {}, x29", "mov {}, sp", "adr {}, .",
            out(reg) frame, out(reg) sp, out(reg) pc,
            options(nomem, nostack, preserves_flags)
        );
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: reads registers.
    unsafe {
        asm!(
            "mv {}, s0", "mv {}, sp", "auipc {}, 0",
            out(reg) frame, out(reg) sp, out(reg) pc,
            options(nomem, nostack, preserves_flags)
        );
    }
    // SAFETY: 1 by the caller: only this routine's thread touches its part; the yielder was set by
    // the root frame, which is below us on this stack and still live.
    unsafe {
        (*part).post = post;
        (*part).saved_fp = frame;
        (*part).saved_pc = pc;
        // The switch itself adds some words.
        (*part).saved_sp = sp;
        (*part).lowest_sp = (*part).lowest_sp.min(sp);
        (*(*part).slot).enter_for_switch();
        (*(*part).yielder).suspend(());
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
    // SAFETY: 1 and 2 by the caller: the coroutine is done and read out once.
    unsafe {
        let lowest = (*part).lowest_sp;
        let coroutine = ManuallyDrop::into_inner(std::ptr::read(&raw const (*part).coroutine));
        (coroutine.into_stack().slot, lowest)
    }
}

/// What is known of a stack.
///
/// # Safety
/// 1. Exclusive: the caller runs the routine, or holds it inspected.
pub(crate) unsafe fn facts(part: *mut StackPart) -> Option<StackFacts> {
    // SAFETY: 1 by the caller; the fields are written by the routine's thread only while it runs.
    unsafe {
        Some(StackFacts {
            extent: extent(part)?,
            saved_fp: (*part).saved_fp,
            saved_pc: (*part).saved_pc,
            saved_sp: (*part).saved_sp,
        })
    }
}

/// Bytes of its own stack that a suspended routine uses: those of segments are not part of it.
///
/// # Safety
/// 1. Exclusive: the caller runs the routine, which has suspended.
#[inline]
pub(crate) unsafe fn depth(part: *const StackPart) -> usize {
    let end = part as usize + PART_BYTES;
    // SAFETY: 1 by the caller.
    unsafe {
        if (*part).left.load(Relaxed).is_null() {
            return end - (*part).saved_sp;
        }
        let left = extent(part).and_then(|stacks| stacks.own());
        left.map_or(0, |(_, sp)| end - sp)
    }
}

/// The stack that the routine runs on, or suspended on. Async-signal-safe: between two stacks it has no
/// bytes.
///
/// # Safety
/// 1. Alive: the routine has a stack, and its turn is not over, or it is held inspected.
pub(crate) unsafe fn extent(part: *const StackPart) -> Option<Extent> {
    // SAFETY: 1 by the caller.
    let part = unsafe { &*part };
    Some(Extent::new(
        part.low.load(Relaxed),
        part.base.load(Relaxed),
        part.left.load(Relaxed),
    ))
}

/// What was used up when the routine's frames were given up: the stack that it ran on.
///
/// # Safety
/// 1. Exclusive: the caller ran the routine, whose turn has ended so.
pub(crate) unsafe fn overflow(part: *const StackPart) -> StackOverflow {
    // SAFETY: 1 by the caller.
    let (low, on_segment) = unsafe {
        let part = &*part;
        (part.low.load(Relaxed), !part.left.load(Relaxed).is_null())
    };
    let (start, end) = stack::slot_of(low).expect("it lies in a slot of ours");
    StackOverflow::of((end - start) as u64, on_segment)
}

/// Whether the routine's own stack lies in the slot from `start` to `end`. Async-signal-safe.
pub(crate) fn is_within(part: *const StackPart, start: usize, end: usize) -> bool {
    (start..end).contains(&(part as usize))
}

/// Runs `run` on `segment` while the part says of that what it said of the stack before. Returns the lowest
/// stack pointer seen there.
///
/// Not generic, so that its frame is small, whatever is called: what lies below it on the stack that
/// is left is less than a page.
///
/// # Safety
/// 1. Exclusive: called by the routine that `part` belongs to, on its current stack.
/// 2. Unwinding: `run` does not unwind.
/// 3. Exclusive: nothing on `segment` is used by anybody.
#[inline(never)]
pub(crate) unsafe fn run_on_segment(
    part: *mut StackPart,
    segment: &mut Slot,
    run: &mut dyn FnMut(),
) -> usize {
    // SAFETY: 1 by the caller; only the routine itself moves to another stack.
    let (before, lowest_sp) = unsafe {
        let part = &*part;
        let before = Extent::new(
            part.low.load(Relaxed),
            part.base.load(Relaxed),
            part.left.load(Relaxed),
        );
        (before, part.lowest_sp)
    };
    let mut left = LeftStack::new(before);
    let here = std::ptr::from_ref(&left) as usize;
    left.leave_at(here);
    let on_segment = Extent::new(segment.low(), segment.high(), &left);
    // SAFETY: 1 by the caller; `left` outlives the stay on the segment.
    unsafe { move_to(part, on_segment, segment.high()) };
    corosensei::on_stack(segment, run);
    // SAFETY: 1 by the caller: back on the stack that was left.
    unsafe {
        let lowest = (*part).lowest_sp;
        move_to(part, before, lowest_sp.min(here));
        lowest
    }
}

/// From here on the part speaks of another stack.
///
/// # Safety
/// 1. Exclusive: called by the routine that `part` belongs to.
unsafe fn move_to(part: *mut StackPart, to: Extent, lowest_sp: usize) {
    // SAFETY: 1 by the caller.
    let bounds = unsafe {
        (*part).lowest_sp = lowest_sp;
        &*part
    };
    // A signal handler must not see one stack's beginning with another's end: in between there are no
    // bytes. The fences are for the compiler; a handler is on this thread.
    bounds.base.store(0, Relaxed);
    compiler_fence(SeqCst);
    bounds.low.store(to.low, Relaxed);
    bounds.left.store(to.left().cast_mut(), Relaxed);
    compiler_fence(SeqCst);
    bounds.base.store(to.base, Relaxed);
}
