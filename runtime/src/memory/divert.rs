//! Sending allocations through a second allocator while a session of a foreign heap profiler runs.
//!
//! Such an allocator takes a backtrace of every call, on top of wherever the routine happens to be.
//! dhat 0.3.3 needs 3.3 KiB for it in a debug build; one that also looks names up needs 24. A
//! routine's stack is not made for that, so the call runs on a stack of its own, borrowed from a
//! pool for just that call. Unwinding through the change of stacks works (corosensei describes it to
//! the unwinder), so the backtraces are whole.

#[cfg(not(portable))]
mod spare_stack;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::thread_state::{self, ThreadState};

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
        elsewhere(second, system)
    };
    std::mem::forget(no_unwinding);
    result
}

#[cfg(not(portable))]
use spare_stack::elsewhere;

/// A routine's stack is a thread's here, and large enough.
#[cfg(portable)]
fn elsewhere<R>(second: impl FnOnce() -> R, _system: impl FnOnce() -> R) -> R {
    second()
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
        // Not by `eprintln`, which may allocate.
        let _ =
            std::io::stderr().write_all(b"openwork: the allocator of a heap profile panicked\n");
        std::process::abort();
    }
}
