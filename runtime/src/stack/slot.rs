//! One stack's address space, named by one word.

use std::num::NonZeroUsize;

use corosensei::stack::{Stack, StackPointer};

use super::{StackClass, page_bytes};

/// The right to use one slot of an arena: its lowest address, with the log2 of its size in the low
/// bits, which are zero in the address because a slot is aligned to its size.
///
/// There is one `Slot` value per slot in use and it cannot be cloned, so owning it is owning the
/// memory. It has no destructor on purpose: dropping it outside
/// [`StackPool::give_back`](super::StackPool::give_back) leaks the slot for ever, since a stack that
/// may still be live (of a routine that was frozen, or forgotten at shutdown) must never be handed
/// out again. The arena counts such a slot as in use and never unmaps it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slot(NonZeroUsize);

/// Holds any log2 up to [`StackClass::LARGEST`], and is below the alignment of every slot.
const CLASS_BITS: usize = 0x1f;

const _: () = assert!(StackClass::LARGEST.log2() as usize <= CLASS_BITS);
const _: () = assert!(StackClass::SMALLEST.bytes() > CLASS_BITS);

impl Slot {
    /// Names the slot that begins at `start`.
    ///
    /// # Safety
    ///
    /// 1. Exclusive: no other `Slot` names any byte of `start..start + class.bytes()`.
    /// 2. Alive: that range is mapped readable and writable, but for its lowest page, and stays so
    ///    for as long as the value, or any leaked copy of its address in a suspended stack, exists.
    /// 3. Guarded: before a routine runs on it, its lowest page traps.
    pub(super) unsafe fn new(start: NonZeroUsize, class: StackClass) -> Slot {
        debug_assert_eq!(
            start.get() % class.bytes(),
            0,
            "slots are aligned to their size"
        );
        Slot(start | usize::from(class.log2()))
    }

    pub(crate) fn class(&self) -> StackClass {
        StackClass((self.0.get() & CLASS_BITS) as u8)
    }

    /// Bytes of address space, guard page included.
    pub(crate) fn bytes(&self) -> usize {
        self.class().bytes()
    }

    /// Lowest address of the slot: the guard page's.
    pub(super) fn start(&self) -> usize {
        self.0.get() & !CLASS_BITS
    }

    /// Lowest usable address: the end of the guard page.
    pub(crate) fn low(&self) -> usize {
        self.start() + page_bytes()
    }

    /// One past the highest usable address, where the stack begins.
    pub(crate) fn high(&self) -> usize {
        self.start() + self.bytes()
    }
}

// SAFETY: `Slot::new`'s 3 gives the guard page; the smallest class minus one page is more than
// MIN_STACK_SIZE, on machines with large pages too (see `StackClass::smallest_here`); both ends are
// multiples of the page size and so of STACK_ALIGNMENT. The trait's implicit demand, that the memory
// outlives the coroutine, is `Slot::new`'s 2: a coroutine owns its `Slot`.
unsafe impl Stack for Slot {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.high()).expect("the end of a mapping is not null")
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.start()).expect("no mapping begins at null")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_one_word_and_remembers_its_class() {
        assert_eq!(size_of::<Option<Slot>>(), 8);
        for log2 in StackClass::SMALLEST.log2()..=StackClass::LARGEST.log2() {
            let class = StackClass(log2);
            let start = NonZeroUsize::new(class.bytes() * 3).unwrap();
            // SAFETY: a made-up address that is never touched, so 1 to 3 concern nobody.
            let slot = unsafe { Slot::new(start, class) };
            assert_eq!(slot.class(), class);
            assert_eq!(slot.start(), start.get());
            assert_eq!(slot.limit().get(), start.get());
            assert_eq!(slot.low(), start.get() + page_bytes());
            assert_eq!(slot.high(), slot.base().get());
            assert_eq!(slot.high(), start.get() + class.bytes());
        }
    }
}
