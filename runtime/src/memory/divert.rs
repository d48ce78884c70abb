//! Sending allocations through a second allocator while a session of a foreign heap profiler runs.
//!
//! Such an allocator takes a backtrace of every call, on top of wherever the routine happens to be.
//! dhat 0.3.3 needs 3.3 KiB for it in a debug build; one that also looks names up needs 24. A
//! routine's stack is not made for that, so the call runs on a stack of its own, borrowed from a
//! pool for just that call. Unwinding through the change of stacks works (corosensei describes it to
//! the unwinder), so the backtraces are whole.

use std::num::NonZeroUsize;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};

use corosensei::stack::{Stack, StackPointer};

use crate::thread_state::{self, ThreadState};

/// Usable bytes of a borrowed stack: ten times the 24 KiB of a backtrace with names.
const SIZE: usize = 256 * 1024;

/// Kept unmapped below a stack: `STACK_ALIGNMENT` and every page size in use divide it.
const GUARD: usize = 64 * 1024;

static DIVERTED: AtomicBool = AtomicBool::new(false);

pub(super) fn set(on: bool) {
    DIVERTED.store(on, Relaxed);
}

/// Relaxed: a thread that still misses the switch allocates past the session, no worse than having
/// done so just before it.
#[inline(always)]
pub(super) fn is_on() -> bool {
    DIVERTED.load(Relaxed)
}

/// Runs `second`, a call of the second allocator, where it has stack enough; where that cannot be
/// had, `system` instead.
///
/// While the call runs, what it allocates itself goes to the second allocator at once, on the stack
/// it has: it is there already.
#[cold]
#[inline(never)]
pub(super) fn call<R>(second: impl FnOnce() -> R, system: impl FnOnce() -> R) -> R {
    if thread_state::with(|thread| thread.apart.load(Relaxed) != 0) {
        return system();
    }
    let inside = Inside::enter();
    // An allocator that panics would unwind out of `GlobalAlloc`, which is undefined behaviour.
    let no_unwinding = AbortOnUnwind;
    let result = if inside.nested || !on_routine_stack() {
        second()
    } else {
        match SpareStack::take() {
            Some(mut spare) => corosensei::on_stack(&mut spare, second),
            None => system(),
        }
    };
    std::mem::forget(no_unwinding);
    result
}

fn on_routine_stack() -> bool {
    thread_state::with(|thread| !thread.routine().is_null())
}

/// Whether this thread is inside a call of the second allocator.
#[inline(always)]
pub(super) fn is_inside(thread: &ThreadState) -> bool {
    thread.in_instrument.load(Relaxed) != 0
}

/// While one lives, this thread's calls go to the system; see [`super::apart`].
pub(super) struct Apart;

impl Apart {
    pub(super) fn enter() -> Apart {
        thread_state::with(|thread| {
            let depth = thread.apart.load(Relaxed);
            thread.apart.store(depth + 1, Relaxed);
        });
        Apart
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        thread_state::with(|thread| {
            let depth = thread.apart.load(Relaxed);
            thread.apart.store(depth - 1, Relaxed);
        });
    }
}

struct Inside {
    nested: bool,
}

impl Inside {
    fn enter() -> Inside {
        thread_state::with(|thread| {
            let depth = thread.in_instrument.load(Relaxed);
            thread.in_instrument.store(depth + 1, Relaxed);
            Inside { nested: depth != 0 }
        })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        thread_state::with(|thread| {
            let depth = thread.in_instrument.load(Relaxed);
            thread.in_instrument.store(depth - 1, Relaxed);
        });
    }
}

struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        const TEXT: &[u8] = b"openwork: the allocator of a heap profile panicked\n";
        // SAFETY: writes a constant to a descriptor; an error changes nothing.
        unsafe { libc::write(libc::STDERR_FILENO, TEXT.as_ptr().cast(), TEXT.len()) };
        std::process::abort();
    }
}

/// A stack out of the pool, given back when dropped.
struct SpareStack {
    /// Lowest address of its mapping, the guard included.
    mapping: NonZeroUsize,
}

/// Mappings that wait to be used, 0 where there is none. As many as calls ever overlapped, up to
/// this number; what exceeds it is unmapped after use.
static SPARE: [AtomicUsize; 16] = [const { AtomicUsize::new(0) }; 16];

impl SpareStack {
    fn take() -> Option<SpareStack> {
        for place in &SPARE {
            // AcqRel here and in `drop`: the next user's writes come after the last one's.
            if place.load(Relaxed) != 0
                && let Some(mapping) = NonZeroUsize::new(place.swap(0, AcqRel))
            {
                return Some(SpareStack { mapping });
            }
        }
        // SAFETY: a new mapping at an address of the system's choice; nobody else's memory is
        // touched.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                GUARD + SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return None;
        }
        let spare = SpareStack {
            mapping: NonZeroUsize::new(address as usize)?,
        };
        // SAFETY: the lower part of the mapping just made, which nobody uses yet.
        if unsafe { libc::mprotect(address, GUARD, libc::PROT_NONE) } != 0 {
            // Without its guard it must not become a stack, nor go to the pool.
            spare.unmap();
            return None;
        }
        Some(spare)
    }

    fn unmap(self) {
        let mapping = self.mapping.get();
        std::mem::forget(self);
        // SAFETY: the mapping is this value's own, and nothing runs on it: the call it was borrowed
        // for is over, or never began.
        unsafe { libc::munmap(mapping as *mut libc::c_void, GUARD + SIZE) };
    }
}

impl Drop for SpareStack {
    fn drop(&mut self) {
        for place in &SPARE {
            if place
                .compare_exchange(0, self.mapping.get(), AcqRel, Relaxed)
                .is_ok()
            {
                return;
            }
        }
        SpareStack {
            mapping: self.mapping,
        }
        .unmap();
    }
}

// SAFETY: the guard is `mprotect`ed before a value of this type leaves `take`; above it are `SIZE`
// usable bytes. Both ends are multiples of the page size, and so of the alignment asked for.
unsafe impl Stack for SpareStack {
    fn base(&self) -> StackPointer {
        self.mapping.saturating_add(GUARD + SIZE)
    }

    fn limit(&self) -> StackPointer {
        self.mapping
    }
}
