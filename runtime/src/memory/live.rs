//! Sampled blocks that are still alive, so that their frees are found.
//!
//! Every free in the program asks here, and nearly every answer is "no": a filter of 8 KiB, which
//! stays in the nearest cache, says so with one load. Behind it are buckets of eight entries.
//!
//! The entry of an address is written by the thread that allocates the block and removed by the
//! thread that frees it. The program itself orders these two (it passed the pointer on), so a free
//! finds its block's entry with relaxed loads; what needs care is only that two inserts do not take
//! one entry, and that an entry is not taken while it is read.

use std::sync::atomic::{
    AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use super::sampler::Weight;
use super::sites::Site;

/// At 512 KiB a sample, room for a live heap of 16 GiB if it were spread evenly.
const BUCKETS: usize = 4096;
const ENTRIES: usize = 8;

/// Address of a free entry, and of one that is being written. No block lies at either.
const FREE: usize = 0;
const TAKEN: usize = 1;

/// What is known about a sampled block.
#[derive(Clone, Copy)]
pub(super) struct Sampled {
    pub(super) site: &'static Site,
    pub(super) weight: Weight,
}

/// The addresses fill the first cache line, which is all that a search reads.
#[repr(align(64))]
struct Bucket {
    addresses: [AtomicUsize; ENTRIES],
    entries: [Entry; ENTRIES],
}

struct Entry {
    site: AtomicU32,
    objects: AtomicU64,
    bytes: AtomicU64,
}

static TABLE: [Bucket; BUCKETS] = [const {
    Bucket {
        addresses: [const { AtomicUsize::new(FREE) }; ENTRIES],
        entries: [const {
            Entry {
                site: AtomicU32::new(0),
                objects: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
            }
        }; ENTRIES],
    }
}; BUCKETS];

/// Entries in use in each bucket; raised before an entry is written, lowered after it is free again.
static FILTER: [AtomicU16; BUCKETS] = [const { AtomicU16::new(0) }; BUCKETS];

/// Multiplicative: takes the middle bits, on which all bits of an address have an influence.
#[inline(always)]
fn bucket(address: usize) -> usize {
    ((address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % BUCKETS
}

/// Whether no sampled block can be at `address`. The answer is certain for a block that the caller
/// owns, and worthless for any other.
#[inline(always)]
pub(super) fn surely_absent(address: usize) -> bool {
    FILTER[bucket(address)].load(Relaxed) == 0
}

/// Keeps a block; `false` if its bucket is full.
pub(super) fn insert(address: usize, sampled: Sampled) -> bool {
    let index = bucket(address);
    let bucket = &TABLE[index];
    FILTER[index].fetch_add(1, Relaxed);
    for (place, entry) in bucket.addresses.iter().zip(&bucket.entries) {
        // Acquire: pairs with the Release in `remove`, whose reads of the entry are then over.
        if place.load(Relaxed) == FREE
            && place
                .compare_exchange(FREE, TAKEN, Acquire, Relaxed)
                .is_ok()
        {
            entry.site.store(sampled.site.index(), Relaxed);
            entry.objects.store(sampled.weight.objects, Relaxed);
            entry.bytes.store(sampled.weight.bytes, Relaxed);
            place.store(address, Release);
            return true;
        }
    }
    FILTER[index].fetch_sub(1, Relaxed);
    false
}

/// Takes the block at `address` out, which the caller owns and is about to free.
#[cold]
#[inline(never)]
pub(super) fn remove(address: usize) -> Option<Sampled> {
    let index = bucket(address);
    let bucket = &TABLE[index];
    let at = bucket
        .addresses
        .iter()
        .position(|place| place.load(Relaxed) == address)?;
    let entry = &bucket.entries[at];
    let sampled = Sampled {
        site: Site::at(entry.site.load(Relaxed)),
        weight: Weight {
            objects: entry.objects.load(Relaxed),
            bytes: entry.bytes.load(Relaxed),
        },
    };
    // Release pairs with the acquire exchange in `insert`.
    bucket.addresses[at].store(FREE, Release);
    FILTER[index].fetch_sub(1, Relaxed);
    Some(sampled)
}

#[cfg(test)]
mod tests {
    use super::super::sites;
    use super::*;

    /// Addresses that no allocation of the test program can have.
    const NOWHERE: usize = 0xffff_8000_0000_0000;

    #[test]
    fn a_block_is_found_once() {
        let site = sites::find_or_add(&[0x11fe_0001]).unwrap();
        let weight = Weight {
            objects: 7,
            bytes: 70,
        };
        assert!(remove(NOWHERE).is_none());
        assert!(insert(NOWHERE, Sampled { site, weight }));
        assert!(!surely_absent(NOWHERE));
        let found = remove(NOWHERE).unwrap();
        assert_eq!((found.site.index(), found.weight), (site.index(), weight));
        assert!(remove(NOWHERE).is_none());
    }

    /// A full bucket refuses, and takes again once an entry is free.
    #[test]
    fn a_full_bucket_refuses() {
        let site = sites::find_or_add(&[0x11fe_0002]).unwrap();
        let sampled = Sampled {
            site,
            weight: Weight {
                objects: 1,
                bytes: 1,
            },
        };
        let wanted = bucket(NOWHERE + 0x1000);
        let addresses: Vec<usize> = (1..)
            .map(|i| NOWHERE + 0x1000 * i)
            .filter(|&a| bucket(a) == wanted)
            .take(ENTRIES + 1)
            .collect();
        let (last, first) = addresses.split_last().unwrap();
        assert!(first.iter().all(|&a| insert(a, sampled)));
        assert!(!insert(*last, sampled));
        assert!(remove(first[3]).is_some());
        assert!(insert(*last, sampled));
        assert!(addresses.iter().filter(|&&a| remove(a).is_some()).count() == ENTRIES);
        assert!(surely_absent(*last));
    }
}
