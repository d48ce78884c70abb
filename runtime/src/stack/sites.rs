//! How deep the stacks of each spawn site were: a table for each worker.
//!
//! A routine's depth goes with its routine; what a site needs outlives all of them. So the worker that
//! sees a routine deeper than ever before tells its table, which it alone writes, and whoever asks adds
//! the tables of all workers up. The table has a fixed size, and is made with its worker: it is
//! written between two turns, where nobody may wait for the allocator. A site that finds no room is
//! counted.

use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64};

use super::StackClass;
use crate::snapshot::StackSite;

/// Sites that a worker knows at most.
const SITES: usize = 256;
/// Places that a site is looked for in.
const PROBES: usize = 16;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Sites {
    entries: Box<[Entry]>,
    lost: AtomicU64,
}

/// What one worker knows of a site. Aligned, so that none lies on two cache lines.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Entry {
    /// Null while the entry is free.
    site: AtomicPtr<Location<'static>>,
    /// Largest class of its routines, as [`StackClass::raw`].
    class: AtomicU8,
    measured: AtomicU64,
    growths: AtomicU64,
    deepest: AtomicU64,
}

/// What a worker has seen of a routine's depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) class: StackClass,
    pub(crate) depth: u32,
    /// It was not measured before.
    pub(crate) first: bool,
    /// It has grown past a power of two.
    pub(crate) grown: bool,
}

impl Sites {
    pub(crate) fn new() -> Sites {
        Sites {
            entries: (0..SITES).map(|_| Entry::default()).collect(),
            lost: AtomicU64::new(0),
        }
    }

    /// Takes note of a routine that is deeper than it ever was. Only by the worker that has the table.
    pub(crate) fn note(&self, site: &'static Location<'static>, sight: Sight) {
        let Some(entry) = self.entry(site) else {
            self.lost.store(self.lost.load(Relaxed) + 1, Relaxed);
            return;
        };
        let add = |counter: &AtomicU64, yes: bool| {
            if yes {
                counter.store(counter.load(Relaxed) + 1, Relaxed);
            }
        };
        add(&entry.measured, sight.first);
        add(&entry.growths, sight.grown);
        if entry.deepest.load(Relaxed) < u64::from(sight.depth) {
            entry.deepest.store(u64::from(sight.depth), Relaxed);
        }
        if entry.class.load(Relaxed) < sight.class.raw() {
            entry.class.store(sight.class.raw(), Relaxed);
        }
        // Release pairs with the load in `add_to`: who sees the site sees figures of it.
        entry
            .site
            .store(std::ptr::from_ref(site).cast_mut(), Release);
    }

    /// The site's entry, or a free one.
    fn entry(&self, site: &'static Location<'static>) -> Option<&Entry> {
        let site = std::ptr::from_ref(site).cast_mut();
        // Fibonacci hashing of an address whose low bits say nothing.
        let first = (site as usize as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
        (0..PROBES)
            .map(|step| &self.entries[(first as usize + step) % SITES])
            .find(|entry| {
                let known = entry.site.load(Relaxed);
                known == site || known.is_null()
            })
    }

    /// Times that a site found no room.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Adds what is known here to what others know.
    pub(crate) fn add_to(&self, all: &mut Vec<StackSite>) {
        for entry in &self.entries {
            // Acquire pairs with the store in `note`.
            // SAFETY: `note` stored the address of a `&'static Location`.
            let Some(site) = (unsafe { entry.site.load(Acquire).as_ref() }) else {
                continue;
            };
            let class = StackClass::from_raw(entry.class.load(Relaxed));
            let found = StackSite {
                site,
                slot_bytes: class.bytes() as u64,
                measured: entry.measured.load(Relaxed),
                growths: entry.growths.load(Relaxed),
                high_water_bytes: entry.deepest.load(Relaxed),
            };
            // By what it says, not where it lies: a generic function has a copy for each instance.
            match all.iter_mut().find(|known| known.site == site) {
                Some(known) => {
                    known.slot_bytes = known.slot_bytes.max(found.slot_bytes);
                    known.measured += found.measured;
                    known.growths += found.growths;
                    known.high_water_bytes = known.high_water_bytes.max(found.high_water_bytes);
                }
                None => all.push(found),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(bytes: usize, depth: u32, first: bool) -> Sight {
        Sight {
            class: StackClass::for_bytes(bytes).unwrap(),
            depth,
            first,
            grown: !first,
        }
    }

    fn site() -> &'static Location<'static> {
        Box::leak(Box::new(*Location::caller()))
    }

    /// Two workers have seen the same site, one of them at two addresses.
    #[test]
    fn what_workers_know_of_a_site_adds_up() {
        let (one, other) = (Sites::new(), Sites::new());
        let mut sites = [(); 3].map(|()| site());
        sites[2] = Location::caller();
        one.note(sites[0], sight(64 << 10, 5_000, true));
        one.note(sites[0], sight(64 << 10, 9_000, false));
        one.note(sites[1], sight(32 << 10, 700, true));
        other.note(sites[0], sight(1 << 20, 6_000, true));
        other.note(sites[2], sight(64 << 10, 1, true));
        let mut all = Vec::new();
        one.add_to(&mut all);
        other.add_to(&mut all);
        assert_eq!(all.len(), 2, "the third was taken from another line");
        let found = all.iter().find(|found| found.site == sites[0]).unwrap();
        assert_eq!((found.measured, found.growths), (3, 1));
        assert_eq!((found.high_water_bytes, found.slot_bytes), (9_000, 1 << 20));
        assert_eq!(one.lost() + other.lost(), 0);
    }

    /// More sites than there is room for: each is either in the table or counted, and those that came
    /// first go on being measured.
    #[test]
    fn sites_without_room_are_counted() {
        let sites = Sites::new();
        let known: Vec<_> = (0..2 * SITES).map(|_| site()).collect();
        for site in &known {
            sites.note(site, sight(64 << 10, 1, true));
        }
        let held = sites
            .entries
            .iter()
            .filter(|e| !e.site.load(Relaxed).is_null());
        let held = held.count() as u64;
        assert_eq!(held + sites.lost(), 2 * SITES as u64);
        sites.note(known[0], sight(64 << 10, 2, false));
        assert_eq!(sites.entry(known[0]).unwrap().deepest.load(Relaxed), 2);
    }
}
