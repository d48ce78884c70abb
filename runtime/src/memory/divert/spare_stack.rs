//! The stacks that diverted calls run on.

use std::num::NonZeroUsize;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};

use corosensei::stack::{Stack, StackPointer};

/// Usable bytes of a borrowed stack: ten times the 24 KiB of a backtrace with names.
const SIZE: usize = 256 * 1024;

/// Kept unmapped below a stack: `STACK_ALIGNMENT` and every page size in use divide it.
const GUARD: usize = 64 * 1024;

/// Runs `second` on a spare stack; `system` where there is none.
pub(super) fn elsewhere<R>(second: impl FnOnce() -> R, system: impl FnOnce() -> R) -> R {
    match SpareStack::take() {
        Some(mut spare) => corosensei::on_stack(&mut spare, second),
        None => system(),
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
