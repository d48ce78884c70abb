//! Which address belongs to which stack slot: asked by the fault handler, for all arenas at once.
//!
//! A signal handler has only an address, may take no lock and may not allocate. So every segment of
//! every arena of the process is one word in a fixed table. One word is read and written whole,
//! hence a reader needs no protocol: it sees a segment or does not. All orderings are relaxed: the
//! word is all that is published, and a thread that runs on a slot has got it, through the arena's
//! lock or the scheduler's queues, after the word was written.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{StackClass, page_bytes};

/// 4 TiB of the usual segments of 1 GiB: 67 million stacks of 64 KiB.
const MAX_SEGMENTS: usize = 4096;

/// Every segment begins at a multiple of this, which frees the word's low bits for its two sizes.
/// It is also what one page of page tables maps, so that segments share none.
pub(super) const SEGMENT_ALIGN: usize = 2 << 20;

/// Bits of each of the two sizes in the low bits of an entry's word.
const LOG2_BITS: u32 = 6;
const LOG2_MASK: usize = (1 << LOG2_BITS) - 1;

const _: () = assert!(1 << (2 * LOG2_BITS) <= SEGMENT_ALIGN);

/// Start address | log2 of the segment's bytes << 6 | log2 of its slots' bytes; 0 is a free entry.
static TABLE: [AtomicUsize; MAX_SEGMENTS] = [const { AtomicUsize::new(0) }; MAX_SEGMENTS];

/// A run of slots of one class, reserved in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) start: NonZeroUsize,
    pub(super) log2_bytes: u32,
    pub(super) class: StackClass,
}

/// A segment's place in the table. Not `Clone`: [`withdraw`] uses it up.
#[derive(Debug)]
pub(super) struct Entry(usize);

/// The slot that an address lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) slot_start: usize,
    pub(super) slot_bytes: usize,
    /// Whether the address lies in the slot's guard page.
    pub(super) in_guard: bool,
}

impl Segment {
    pub(super) fn bytes(&self) -> usize {
        1 << self.log2_bytes
    }

    fn to_word(self) -> usize {
        debug_assert_eq!(self.start.get() % SEGMENT_ALIGN, 0);
        self.start.get() | (self.log2_bytes as usize) << LOG2_BITS | usize::from(self.class.log2())
    }

    fn from_word(word: usize) -> Option<Segment> {
        Some(Segment {
            start: NonZeroUsize::new(word & !(SEGMENT_ALIGN - 1))?,
            log2_bytes: (word >> LOG2_BITS & LOG2_MASK) as u32,
            class: StackClass((word & LOG2_MASK) as u8),
        })
    }

    fn hit(&self, address: usize) -> Option<Hit> {
        let offset = address.checked_sub(self.start.get())?;
        if offset >= self.bytes() {
            return None;
        }
        let slot_bytes = self.class.bytes();
        let into_slot = offset % slot_bytes;
        Some(Hit {
            slot_start: address - into_slot,
            slot_bytes,
            in_guard: into_slot < page_bytes(),
        })
    }
}

/// Makes a segment known; `None` when the table is full.
pub(super) fn publish(segment: Segment) -> Option<Entry> {
    let word = segment.to_word();
    TABLE
        .iter()
        .position(|entry| entry.compare_exchange(0, word, Relaxed, Relaxed).is_ok())
        .map(Entry)
}

/// Forgets a segment. To be called before its memory is unmapped: afterwards the same addresses may
/// be somebody else's, whose faults are not ours to explain.
pub(super) fn withdraw(entry: Entry) {
    TABLE[entry.0].store(0, Relaxed);
}

/// The slot that `address` lies in, whichever arena it belongs to. Async-signal-safe.
pub(super) fn find(address: usize) -> Option<Hit> {
    TABLE
        .iter()
        .filter_map(|entry| Segment::from_word(entry.load(Relaxed)))
        .find_map(|segment| segment.hit(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses at which the kernel maps nothing for user space, so that real arenas of tests that
    /// run beside this one are never hit.
    const NOWHERE: usize = 0x7000_0000_0000_0000;

    #[test]
    fn an_address_finds_its_slot_until_the_segment_is_withdrawn() {
        let class = StackClass::for_bytes(64 << 10).unwrap();
        let segment = Segment {
            start: NonZeroUsize::new(NOWHERE).unwrap(),
            log2_bytes: 22,
            class,
        };
        let entry = publish(segment).unwrap();
        let third = NOWHERE + 2 * class.bytes();
        let hit = |slot_start, in_guard| {
            Some(Hit {
                slot_start,
                slot_bytes: class.bytes(),
                in_guard,
            })
        };
        assert_eq!(find(NOWHERE - 1), None);
        assert_eq!(find(NOWHERE), hit(NOWHERE, true));
        assert_eq!(find(third + page_bytes() - 1), hit(third, true));
        assert_eq!(find(third + page_bytes()), hit(third, false));
        assert_eq!(find(third - 1), hit(third - class.bytes(), false));
        assert_eq!(find(NOWHERE + segment.bytes()), None);
        withdraw(entry);
        assert_eq!(find(third), None);
    }
}
