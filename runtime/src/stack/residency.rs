//! What memory a stack holds, and giving back what it no longer needs.

use super::page_bytes;

/// Bytes below the stack pointer that a leaf function may use without moving it (x86-64; other
/// machines have less).
const RED_ZONE_BYTES: usize = 128;
/// Pages of a stack that are asked about without allocating: those of 4 MiB.
const PAGES_AT_ONCE: usize = 1024;

/// Bytes of memory behind `low..high`, in whole pages; `None` when the kernel does not say.
///
/// One system call for a stack of up to 4 MiB (1.1 us for 64 KiB). The answer may be old when it
/// arrives.
pub(crate) fn resident_bytes(low: usize, high: usize) -> Option<usize> {
    let page = page_bytes();
    debug_assert!(low.is_multiple_of(page) && low <= high);
    let mut pages = [0u8; PAGES_AT_ONCE];
    let mut resident = 0;
    for from in (low..high).step_by(PAGES_AT_ONCE * page) {
        let bytes = (high - from).min(PAGES_AT_ONCE * page);
        // SAFETY: mincore reads no memory of the range, which need not even be mapped, and writes
        // one byte for each of its at most PAGES_AT_ONCE pages.
        let asked = unsafe { libc::mincore(from as *mut _, bytes, pages.as_mut_ptr()) };
        if asked != 0 {
            return None;
        }
        let asked = &pages[..bytes.div_ceil(page)];
        resident += asked.iter().filter(|&&p| p & 1 == 1).count() * page;
    }
    Some(resident)
}

/// Gives the memory of a parked routine's stack back from its lowest usable address `low` up to one
/// page and a red zone short of `sp`. Costs 0.7 us when there is nothing to give.
///
/// The spare page has two uses. The stack pointer of a suspended coroutine is not to be had, only
/// the address of a local in the frame that suspended it, some words higher. And it is what the
/// routine is going to touch first when it goes on.
///
/// # Safety
///
/// 1. Exclusive: the routine is suspended and stays so during the call; nobody else reads its stack.
/// 2. Alive: `low..sp` lies in one slot, which is not given back meanwhile.
/// 3. `sp` is less than a page above the stack pointer at which the routine was suspended.
pub(crate) unsafe fn trim(low: usize, sp: usize) {
    let live = sp.saturating_sub(RED_ZONE_BYTES + page_bytes());
    let high = live - live % page_bytes();
    if low < high {
        // SAFETY: `discard` 1: suspended by 1, and by 3 the range ends below its red zone; 2 by 2.
        unsafe { discard(low, high) };
    }
}

/// Gives the memory of `low..high` back. It reads as zero afterwards.
///
/// # Safety
///
/// 1. Exclusive: nothing in the range is used, now or later, but as uninitialised stack.
/// 2. Alive: the range is whole pages of one slot, guard page excluded.
pub(super) unsafe fn discard(low: usize, high: usize) {
    debug_assert!(
        low < high && low.is_multiple_of(page_bytes()) && high.is_multiple_of(page_bytes())
    );
    // SAFETY: 1 and 2 are the caller's. A refusal (locked memory) leaves the pages as they are,
    // which is right though not thrifty.
    unsafe { libc::madvise(low as *mut _, high - low, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::snapshot::GuardMode;
    use crate::stack::{Slot, StackArena, StackClass, StackConfig, StackPool};

    fn with_slot(bytes: usize, test: impl FnOnce(&Slot)) {
        let class = StackClass::for_bytes(bytes).unwrap();
        let arena = StackArena::new(StackConfig {
            default_class: class,
            guard: GuardMode::Auto,
            max_stacks: None,
        })
        .unwrap();
        let mut pool = StackPool::new(Arc::clone(&arena));
        let slot = pool.take(class).unwrap();
        test(&slot);
        let low = slot.low();
        // SAFETY: 1: no routine ran on it; 2: it is the only arena here.
        unsafe { pool.give_back(slot, low) };
    }

    fn fill(from: usize, to: usize) {
        for word in (from..to).step_by(8) {
            // SAFETY: the callers below pass bounds within a slot that they own.
            unsafe { (word as *mut u64).write_volatile(word as u64) };
        }
    }

    /// What lies at or above the stack pointer, in the red zone below it, or in the spare page, is
    /// as it was; the rest is gone.
    #[test]
    fn trim_keeps_what_the_suspended_routine_needs() {
        let page = page_bytes();
        for short_of_page in [0, 8, 120, 128, 136, page / 2, page - 8] {
            with_slot(256 << 10, |slot| {
                fill(slot.low(), slot.high());
                let sp = slot.high() - 5 * page - short_of_page;
                // SAFETY: 1 and 3: no routine runs on the slot; 2: `sp` is within it.
                unsafe { trim(slot.low(), sp) };
                let kept = sp - RED_ZONE_BYTES - page;
                for word in (kept.next_multiple_of(8)..slot.high()).step_by(8) {
                    // SAFETY: within the slot that we own.
                    assert_eq!(unsafe { (word as *const u64).read_volatile() }, word as u64);
                }
                let resident = resident_bytes(slot.low(), slot.high()).unwrap();
                assert_eq!(resident, slot.high() - (kept - kept % page));
            });
        }
    }

    #[test]
    fn trim_has_nothing_to_give_near_the_guard() {
        with_slot(32 << 10, |slot| {
            fill(slot.low(), slot.high());
            let all = slot.high() - slot.low();
            for sp in [slot.low(), slot.low() + 64, slot.low() + page_bytes() + 128] {
                // SAFETY: 1 and 3: no routine runs on the slot; 2: `sp` is within it.
                unsafe { trim(slot.low(), sp) };
                assert_eq!(resident_bytes(slot.low(), slot.high()), Some(all));
            }
        });
    }

    /// Larger than one question to the kernel.
    #[test]
    fn residency_counts_touched_pages_wherever_they_are() {
        let page = page_bytes();
        with_slot(16 << 20, |slot| {
            assert_eq!(resident_bytes(slot.low(), slot.high()), Some(0));
            for page in [
                slot.low(),
                slot.low() + (PAGES_AT_ONCE - 1) * page,
                slot.low() + PAGES_AT_ONCE * page,
                slot.high() - page,
            ] {
                fill(page, page + 8);
            }
            assert_eq!(resident_bytes(slot.low(), slot.high()), Some(4 * page));
        });
    }
}
