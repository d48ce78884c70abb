//! What routines turned out to be, by the place in the program that spawned them: a fresh one is taken for
//! what those before it were.
//!
//! A table of fixed size that is never locked. Two places that meet in one entry displace each other, and
//! a note that another thread overwrites is lost: it is a guess either way.

use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicUsize};

use crate::scheduler::spread;
use crate::snapshot::RoutineClass;

const ENTRIES: usize = 256;

/// So many routines of one class in a row outweigh whatever was before.
const SCORE_MAX: i32 = 8;

#[derive(Debug)]
struct Entry {
    site: AtomicUsize,
    /// Above 0: they compute; below: they wait.
    score: AtomicI32,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Sites {
    entries: Box<[Entry]>,
}

impl Sites {
    pub(crate) fn new() -> Sites {
        let entry = |_| Entry {
            site: AtomicUsize::new(0),
            score: AtomicI32::new(0),
        };
        Sites {
            entries: (0..ENTRIES).map(entry).collect(),
        }
    }

    fn entry(&self, site: &'static Location<'static>) -> (&Entry, usize) {
        let address = std::ptr::from_ref(site) as usize;
        let first = spread(address as u64) as usize;
        (&self.entries[first % ENTRIES], address)
    }

    /// A routine that was spawned at `site` has ended.
    pub(crate) fn note(&self, site: &'static Location<'static>, class: RoutineClass) {
        let (entry, address) = self.entry(site);
        let step = match class {
            RoutineClass::Cpu => 1,
            RoutineClass::Io => -1,
        };
        let score = if entry.site.load(Relaxed) == address {
            (entry.score.load(Relaxed) + step).clamp(-SCORE_MAX, SCORE_MAX)
        } else {
            entry.site.store(address, Relaxed);
            step
        };
        entry.score.store(score, Relaxed);
    }

    /// What a routine from `site` will be, if one was seen.
    pub(crate) fn guess(&self, site: &'static Location<'static>) -> Option<RoutineClass> {
        let (entry, address) = self.entry(site);
        if entry.site.load(Relaxed) != address {
            return None;
        }
        match entry.score.load(Relaxed) {
            1.. => Some(RoutineClass::Cpu),
            0 => None,
            _ => Some(RoutineClass::Io),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_follows_what_was_seen_of_late() {
        let sites = Sites::new();
        let site = Location::caller();
        assert_eq!(sites.guess(site), None);
        (0..100).for_each(|_| sites.note(site, RoutineClass::Cpu));
        assert_eq!(sites.guess(site), Some(RoutineClass::Cpu));
        (0..9).for_each(|_| sites.note(site, RoutineClass::Io));
        assert_eq!(sites.guess(site), Some(RoutineClass::Io));
    }
}
