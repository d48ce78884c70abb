//! The places that samples were allocated at: a table that only grows, of fixed size, written
//! without locks and read at any time.
//!
//! It lies in the program's zeroed data, of which the system maps only what is touched: 2.3 MiB of
//! address space, and about 600 bytes of memory a site.

use std::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use super::HeapSite;
use super::sampler::{FRACTION, Weight};

/// Frames kept of a site, nearest first.
pub(super) const MAX_DEPTH: usize = 64;

/// Sites that are told apart.
const SITES: usize = 4096;

/// Entries looked at for one site before the table counts as full.
const PROBES: usize = 64;

/// [`Site::depth`] of an entry whose frames are still being written. Depths are kept plus one, so
/// that a site without frames differs from this.
const UNPUBLISHED: u32 = 0;

/// One place, and what was allocated there.
pub(super) struct Site {
    /// Names the entry's frames; 0 while it is free. Two stacks with one hash would be taken for
    /// one; with 4,096 sites and 64 bits that is one chance in two million million.
    hash: AtomicU64,
    /// Number of frames plus one. `Release` after the frames, `Acquire` before reading them.
    depth: AtomicU32,
    frames: [AtomicUsize; MAX_DEPTH],
    allocated_objects: AtomicU64,
    allocated_bytes: AtomicU64,
    freed_objects: AtomicU64,
    freed_bytes: AtomicU64,
}

static TABLE: [Site; SITES] = [const {
    Site {
        hash: AtomicU64::new(0),
        depth: AtomicU32::new(UNPUBLISHED),
        frames: [const { AtomicUsize::new(0) }; MAX_DEPTH],
        allocated_objects: AtomicU64::new(0),
        allocated_bytes: AtomicU64::new(0),
        freed_objects: AtomicU64::new(0),
        freed_bytes: AtomicU64::new(0),
    }
}; SITES];

impl Site {
    /// Its index in the table.
    pub(super) fn index(&'static self) -> u32 {
        ((&raw const *self as usize - &raw const TABLE as usize) / size_of::<Site>()) as u32
    }

    /// The site that has this index.
    pub(super) fn at(index: u32) -> &'static Site {
        &TABLE[index as usize]
    }

    pub(super) fn allocated(&self, weight: Weight) {
        self.allocated_objects.fetch_add(weight.objects, Relaxed);
        self.allocated_bytes.fetch_add(weight.bytes, Relaxed);
    }

    /// `Release` pairs with the `Acquire` in [`Site::read`]: who sees the free, sees the allocation
    /// that came before it.
    pub(super) fn freed(&self, weight: Weight) {
        self.freed_objects.fetch_add(weight.objects, Release);
        self.freed_bytes.fetch_add(weight.bytes, Release);
    }

    fn read(&self) -> Option<HeapSite> {
        // Acquire: pairs with the Release in `find_or_add`, so the frames are whole.
        let depth = match self.depth.load(Acquire) {
            UNPUBLISHED => return None,
            stored => stored as usize - 1,
        };
        let objects = |fixed: u64| fixed >> FRACTION;
        // Acquire, of both: pairs with the release in `freed`.
        let freed_objects = objects(self.freed_objects.load(Acquire));
        let freed_bytes = self.freed_bytes.load(Acquire);
        Some(HeapSite {
            frames: self.frames[..depth]
                .iter()
                .map(|f| f.load(Relaxed))
                .collect(),
            allocated_objects: objects(self.allocated_objects.load(Relaxed)),
            allocated_bytes: self.allocated_bytes.load(Relaxed),
            freed_objects,
            freed_bytes,
        })
    }
}

/// Every site known so far.
pub(super) fn read_all() -> Vec<HeapSite> {
    TABLE.iter().filter_map(Site::read).collect()
}

/// The entry of these frames; `None` if there is none and no room for one.
pub(super) fn find_or_add(frames: &[usize]) -> Option<&'static Site> {
    let hash = hash(frames);
    let first = hash as usize;
    for probe in 0..PROBES {
        let site = &TABLE[first.wrapping_add(probe) % SITES];
        match site.hash.compare_exchange(0, hash, Relaxed, Relaxed) {
            Ok(_) => {
                for (kept, &frame) in site.frames.iter().zip(frames) {
                    kept.store(frame, Relaxed);
                }
                // Release pairs with the acquire in `read`.
                site.depth
                    .store(frames.len().min(MAX_DEPTH) as u32 + 1, Release);
                return Some(site);
            }
            // Perhaps its frames are still being written by another thread: the counters are there
            // from the beginning, so nothing needs waiting for.
            Err(found) if found == hash => return Some(site),
            Err(_) => {}
        }
    }
    None
}

/// Never 0. Each frame is folded in and multiplied through, so that all 64 bits depend on all
/// frames and on their order.
fn hash(frames: &[usize]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &frame in frames {
        let product = u128::from(hash ^ frame as u64) * 0x9e37_79b9_7f4a_7c15;
        hash = (product as u64) ^ ((product >> 64) as u64);
        hash = hash.rotate_left(23).wrapping_add(0x9fb2_1c65_1e98_df25);
    }
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stack_is_one_site_and_its_beginning_another() {
        let frames = [0x5117_0001, 0x5117_0002, 0x5117_0003];
        let site = find_or_add(&frames).unwrap();
        assert_eq!(site.index(), find_or_add(&frames).unwrap().index());
        assert_ne!(site.index(), find_or_add(&frames[..2]).unwrap().index());
        assert!(std::ptr::eq(Site::at(site.index()), site));
    }

    #[test]
    fn the_order_of_frames_counts() {
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_ne!(hash(&[]), 0);
    }

    #[test]
    fn a_site_reads_back_what_was_recorded() {
        let frames = [0x5117_1001, 0x5117_1002];
        let site = find_or_add(&frames).unwrap();
        site.allocated(Weight {
            objects: 5 << FRACTION,
            bytes: 500,
        });
        site.freed(Weight {
            objects: 2 << FRACTION,
            bytes: 200,
        });
        let read = read_all().into_iter().find(|s| s.frames == frames).unwrap();
        assert_eq!(
            (
                read.allocated_objects,
                read.allocated_bytes,
                read.freed_objects,
                read.freed_bytes
            ),
            (5, 500, 2, 200)
        );
    }
}
