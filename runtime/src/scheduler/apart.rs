//! Which routines start apart: on a thread to which nothing is bound.
//!
//! A routine that sleeps in the kernel or is stopped by the monitor keeps its thread, and with it all that is bound
//! there. Nobody can tell before it starts whether it will. So what is known is kept by the place in the program
//! that spawns it: a site is *suspect* once a routine of it has lost its worker in the middle of a turn, and for a
//! while after that. A site of which nothing is known is not: most routines are harmless, and want to be near those that
//! they talk to.
//!
//! A table of fixed size that is never locked: the monitor writes to it. Places stay in it, so that two which fall on
//! the same entry do not displace each other with every spawn; when it is full, further places are not suspect.
//!
//! What is done with it is in `worker/apart.rs`; why, in `docs/scheduler.md`.

use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize};

use super::{Shared, spread};
use crate::config::Preemption;

/// Places that can be told apart.
const ENTRIES: usize = 512;

/// Entries that are looked at for one place.
const PROBES: usize = 8;

/// What one loss of a worker adds to the suspicion, and what each start apart takes off it is 1: of a site whose
/// routines hold their thread in less than a quarter of cases, most start as all others do.
const HELD: i32 = 4;
const SUSPICION_MAX: i32 = 32;

#[derive(Debug)]
struct Entry {
    /// Address of the location, 0 for none. Written once.
    site: AtomicUsize,
    suspicion: AtomicI32,
}

/// See the module's text. All of it is a guess, so relaxed is enough.
#[derive(Debug)]
pub(crate) struct Apart {
    /// Something may be suspect: fresh routines are looked at. Never taken back.
    armed: AtomicBool,
    entries: Box<[Entry]>,
    /// Fresh routines that were to start elsewhere when no such thread was spare.
    pub(crate) beside: AtomicU64,
}

impl Apart {
    pub(crate) fn new() -> Apart {
        let entry = |_| Entry {
            site: AtomicUsize::new(0),
            suspicion: AtomicI32::new(0),
        };
        Apart {
            armed: AtomicBool::new(false),
            entries: (0..ENTRIES).map(entry).collect(),
            beside: AtomicU64::new(0),
        }
    }

    /// Whether fresh routines are to be looked at.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Relaxed)
    }

    fn probe(&self, address: usize) -> impl Iterator<Item = &Entry> {
        let first = spread(address as u64) as usize;
        (first..first + PROBES).map(|at| &self.entries[at % ENTRIES])
    }

    /// Whether routines of this place are to start apart.
    fn is_suspect(&self, site: &'static Location<'static>) -> bool {
        let address = std::ptr::from_ref(site).addr();
        let known = self.probe(address);
        let mut same = known.filter(|entry| entry.site.load(Relaxed) == address);
        same.next()
            .is_some_and(|entry| entry.suspicion.load(Relaxed) > 0)
    }

    /// The place's entry, made if there is none; `None` if there is no room.
    fn entry(&self, site: &'static Location<'static>) -> Option<&Entry> {
        let address = std::ptr::from_ref(site).addr();
        self.probe(address).find(|entry| {
            let was = entry.site.compare_exchange(0, address, Relaxed, Relaxed);
            was.is_ok() || was == Err(address)
        })
    }

    fn change(&self, site: &'static Location<'static>, by: i32) {
        if let Some(entry) = self.entry(site) {
            let changed = |was: i32| Some((was + by).clamp(0, SUSPICION_MAX));
            let _ = entry.suspicion.fetch_update(Relaxed, Relaxed, changed);
        }
    }

    /// A routine of this place lost its worker in the middle of a turn. Waits for nothing and allocates nothing.
    pub(crate) fn note_held(&self, site: &'static Location<'static>) {
        self.change(site, HELD);
        if !self.is_armed() {
            self.armed.store(true, Relaxed);
        }
    }

    /// One of a place that was suspect starts apart.
    pub(crate) fn note_start(&self, site: &'static Location<'static>) {
        self.change(site, -1);
    }

    /// Places that are suspect now.
    pub(crate) fn suspects(&self) -> u64 {
        let suspect = |entry: &&Entry| entry.suspicion.load(Relaxed) > 0;
        self.entries.iter().filter(suspect).count() as u64
    }
}

impl Shared {
    /// Whether a routine of this place is to start apart.
    pub(crate) fn is_suspect(&self, site: &'static Location<'static>) -> bool {
        let tunables = &self.tunables;
        self.apart.is_suspect(site)
            && (tunables.hand_off() || tunables.preemption() == Preemption::Forced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_comes_at_once_and_goes_with_starts() {
        let apart = Apart::new();
        let site = Location::caller();
        assert!(!apart.is_suspect(site) && !apart.is_armed());
        apart.note_held(site);
        assert!(apart.is_armed());
        for _ in 0..HELD {
            assert!(apart.is_suspect(site));
            assert_eq!(apart.suspects(), 1);
            apart.note_start(site);
        }
        assert!(!apart.is_suspect(site));
        (0..100).for_each(|_| apart.note_held(site));
        (0..SUSPICION_MAX).for_each(|_| apart.note_start(site));
        assert!(!apart.is_suspect(site));
        assert_eq!(apart.suspects(), 0);
    }

    /// More places than there is room for: those that are in stay in, the others are not suspect.
    #[test]
    fn a_full_table_displaces_nobody() {
        let apart = Apart::new();
        let places: Vec<&'static Location<'static>> = (0..2 * ENTRIES)
            .map(|_| &*Box::leak(Box::new(*Location::caller())))
            .collect();
        places.iter().for_each(|place| apart.note_held(place));
        let suspects = apart.suspects();
        assert!(suspects >= ENTRIES as u64 / 2, "{suspects}");
        let seen = places.iter().filter(|place| apart.is_suspect(place));
        assert_eq!(seen.count() as u64, suspects);
    }
}
