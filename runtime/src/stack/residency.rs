//! What memory a stack holds, and giving back what it no longer needs.

use super::{Slot, page_bytes};

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
/// page and a red zone short of `sp`, and returns how many bytes that were. Costs about 1 us when
/// there is nothing to give, and otherwise 2 us for asking before and after: that makes the count exact.
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
pub(crate) unsafe fn trim(low: usize, sp: usize) -> usize {
    let live = sp.saturating_sub(RED_ZONE_BYTES + page_bytes());
    let high = live - live % page_bytes();
    if low >= high {
        return 0;
    }
    let before = resident_bytes(low, high);
    if before == Some(0) {
        return 0;
    }
    // SAFETY: `discard` 1: suspended by 1, and by 3 the range ends below its red zone; 2 by 2.
    unsafe { discard(low, high) };
    // Of locked memory nothing went back.
    let after = resident_bytes(low, high);
    before
        .zip(after)
        .map_or(0, |(before, after)| before - after.min(before))
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

/// Most slots whose memory [`discard_all`] gives back at once. With more the call gains little: the
/// interrupt that each call costs is a tenth of what its pages do.
pub(super) const BATCH: usize = 64;

/// Gives all memory of these slots back, in one call where the kernel has that.
///
/// A call of its own for each slot makes the kernel interrupt every processor that runs a thread of
/// this process, to flush what it knows of the page: with two workers that ended 20,000 sleepers,
/// more than half of the time was these interrupts. Linux flushes once for a whole
/// `process_madvise` since 6.16. For older ones, neighbours are at least taken together.
///
/// # Safety
///
/// 1. Exclusive: nothing on the slots is used, now or later, but as uninitialised stack.
/// 2. Alive: the slots are owned, by the caller.
pub(super) unsafe fn discard_all(slots: &mut [Slot]) {
    slots.sort_unstable_by_key(Slot::low);
    for batch in slots.chunks(BATCH) {
        let mut ranges = [const { Range::EMPTY }; BATCH];
        let mut count = 0;
        for slot in batch {
            if count > 0 && ranges[count - 1].end() == slot.start() {
                // With the guard between them: advice removes neither kind of guard.
                ranges[count - 1].0.iov_len += slot.bytes();
            } else {
                ranges[count] = Range::new(slot.low(), slot.high());
                count += 1;
            }
        }
        // SAFETY: 1 and 2 are the caller's, for each slot; between two in one range lies a guard.
        unsafe { discard_ranges(&ranges[..count]) };
    }
}

/// Whole pages, as the kernel takes them.
#[repr(transparent)]
struct Range(libc::iovec);

impl Range {
    const EMPTY: Range = Range::new(0, 0);

    const fn new(low: usize, high: usize) -> Range {
        Range(libc::iovec {
            iov_base: std::ptr::without_provenance_mut(low),
            iov_len: high - low,
        })
    }

    fn end(&self) -> usize {
        self.0.iov_base.addr() + self.0.iov_len
    }
}

/// # Safety
///
/// As [`discard`] for each range, of which each lies in one segment and begins and ends with a slot.
unsafe fn discard_ranges(ranges: &[Range]) {
    // SAFETY: the caller's.
    unsafe {
        let done = discard_at_once(ranges);
        discard_one_by_one(&ranges[done..]);
    }
}

/// # Safety
///
/// As [`discard_ranges`].
unsafe fn discard_one_by_one(ranges: &[Range]) {
    for range in ranges {
        // SAFETY: the caller's. For a refusal see `discard`.
        unsafe { libc::madvise(range.0.iov_base, range.0.iov_len, libc::MADV_DONTNEED) };
    }
}

/// One call for as many of the ranges as the kernel takes. Returns how many were dealt with.
///
/// # Safety
///
/// As [`discard_ranges`].
#[cfg(all(target_os = "linux", not(miri)))]
unsafe fn discard_at_once(ranges: &[Range]) -> usize {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// `PIDFD_SELF`, not yet in every version of the C headers: this process, without a descriptor,
    /// which a child after a `fork` would have, too. Kernels that do not know it refuse.
    const SELF: libc::c_int = -10_000;
    /// This kernel has refused, as it would each time.
    static REFUSED: AtomicBool = AtomicBool::new(false);

    if ranges.len() < 2 || REFUSED.load(Relaxed) {
        return 0;
    }
    // SAFETY: the ranges are read; what happens to them is the caller's.
    let advised = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            SELF,
            ranges.as_ptr(),
            ranges.len(),
            libc::MADV_DONTNEED,
            0,
        )
    };
    if advised < 0 {
        // Locked memory is refused as well, but by `madvise`, too, and is rare.
        REFUSED.store(true, Relaxed);
        return 0;
    }
    let mut left = advised as usize;
    let whole = |range: &&Range| {
        let fits = range.0.iov_len <= left;
        left = left.saturating_sub(range.0.iov_len);
        fits
    };
    ranges.iter().take_while(whole).count()
}

/// # Safety
///
/// None: it does nothing.
#[cfg(not(all(target_os = "linux", not(miri))))]
unsafe fn discard_at_once(_: &[Range]) -> usize {
    0
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

    /// Neighbours and others, more than a batch of them, in no order: their memory is gone, each guard
    /// is where it was, and of the slots between them nothing is missing.
    #[test]
    fn many_slots_give_their_memory_back_at_once() {
        for guard in [GuardMode::Auto, GuardMode::Mprotect] {
            let class = StackClass::SMALLEST;
            let config = StackConfig {
                default_class: class,
                guard,
                max_stacks: None,
            };
            let arena = StackArena::new(config).unwrap();
            let mut slots: Vec<Slot> = (0..3 * BATCH).map(|_| arena.take(class).unwrap()).collect();
            for slot in &slots {
                fill(slot.low(), slot.high());
            }
            let mut kept = Vec::new();
            for index in (0..slots.len()).rev().step_by(3) {
                kept.push(slots.swap_remove(index));
            }
            // SAFETY: 1: no routine runs on them; 2: they are ours.
            unsafe { discard_all(&mut slots) };
            for slot in &slots {
                assert_eq!(resident_bytes(slot.low(), slot.high()), Some(0));
            }
            for slot in &kept {
                let all = slot.high() - slot.low();
                assert_eq!(resident_bytes(slot.low(), slot.high()), Some(all));
            }
            for slot in slots.iter().chain(&kept) {
                assert!(!can_be_read(slot.start()), "a guard is gone");
            }
            for slot in slots.into_iter().chain(kept) {
                // SAFETY: no routine ran on it, and it is this arena's.
                unsafe { arena.give_back(slot) };
            }
        }
    }

    /// What kernels do that have no call for many ranges.
    #[test]
    fn ranges_are_discarded_one_by_one_where_they_must_be() {
        with_slot(64 << 10, |slot| {
            fill(slot.low(), slot.high());
            let page = page_bytes();
            let ranges =
                [0, 2, 4].map(|n| Range::new(slot.low() + n * page, slot.low() + (n + 1) * page));
            // SAFETY: no routine runs on the slot, and the ranges lie in it.
            unsafe { discard_one_by_one(&ranges) };
            let left = slot.high() - slot.low() - 3 * page;
            assert_eq!(resident_bytes(slot.low(), slot.high()), Some(left));
        });
    }

    /// Asks the kernel, which answers where a load would trap.
    fn can_be_read(address: usize) -> bool {
        let mut pipe = [0; 2];
        // SAFETY: fills in two descriptors.
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
        // SAFETY: the kernel checks the address itself; the descriptors are ours.
        let written = unsafe { libc::write(pipe[1], address as *const _, 1) };
        for end in pipe {
            // SAFETY: ours, and closed once.
            unsafe { libc::close(end) };
        }
        written == 1
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
