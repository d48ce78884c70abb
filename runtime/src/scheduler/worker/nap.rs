//! Naps: what a worker does instead of sleeping if it is woken for nothing again and again.
//!
//! A routine that spawns another one and joins it, over and over, wakes a worker with each spawn,
//! and then runs the fresh routine itself before the other one has come. Both pay microseconds for
//! nothing. So a worker that slept only for a moment, did next to nothing when it was woken and is
//! about to sleep again takes a nap: it sleeps for a bounded time and counts as searching
//! meanwhile, and submitters rely on it without a wake. When the nap is over it takes what has
//! been left lying, which is the promise to them.
//!
//! The next nap is twice as long, up to a bound. If nobody relied on the last one, the worker
//! sleeps in earnest: an idle runtime has no periodic wake-ups. If it found work that was worth the
//! wake, it is woken at once the next time. A submitter ends a nap early if there is more than what
//! it may be about to run itself. See `docs/scheduler.md`.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use super::WorkerCore;
use crate::time;

/// A wake and a sleep cost about a tenth of the shortest nap; the kernel adds 50 us of its own.
const SHORTEST_NS: u64 = 50_000;
/// The longest time for which a routine may wait while a worker naps.
const LONGEST_NS: u64 = 400_000;

/// Time in turns, since a worker was woken, that was worth the wake.
const WORTH_A_WAKE_NS: u64 = 10_000;

/// How long work must lie untouched before a worker that has napped takes it.
const PATIENCE_NS: u64 = 2_000;

/// What a worker knows of its last sleep.
pub(super) struct Naps {
    /// Length of the last nap in ns, 0 if the last sleep was none.
    last: Cell<u64>,
    /// Somebody relied on that nap.
    relied: Cell<bool>,
    /// It has just ended by itself.
    over: Cell<bool>,
    slept_ns: Cell<u64>,
    /// Time in turns up to the end of the last sleep.
    busy_ns: Cell<u64>,
}

impl Naps {
    pub(super) fn new() -> Naps {
        Naps {
            last: Cell::new(0),
            relied: Cell::new(false),
            over: Cell::new(false),
            slept_ns: Cell::new(u64::MAX),
            busy_ns: Cell::new(0),
        }
    }
}

impl WorkerCore {
    /// For a worker that searched, found nothing and is to sleep: the length of its nap, or `None` if
    /// it is to sleep in earnest.
    pub(super) fn next_nap(&self) -> Option<u64> {
        let naps = &self.naps;
        let worked = self.stats().busy_ns.load(Relaxed) - naps.busy_ns.get();
        let length = match naps.last.get() {
            _ if worked >= WORTH_A_WAKE_NS => 0,
            0 if naps.slept_ns.get() < SHORTEST_NS => SHORTEST_NS,
            last if naps.relied.get() => (2 * last).min(LONGEST_NS),
            _ => 0,
        };
        (length != 0).then_some(length)
    }

    /// A nap has ended.
    pub(super) fn note_nap(&self, relied: bool, by_itself: bool) {
        self.naps.relied.set(relied);
        self.naps.over.set(by_itself);
    }

    /// A nap of this length, or a sleep if it is 0, has ended.
    pub(super) fn note_sleep(&self, nap_ns: u64, slept_ns: u64) {
        self.naps.last.set(nap_ns);
        self.naps.slept_ns.set(slept_ns);
        self.naps.busy_ns.set(self.stats().busy_ns.load(Relaxed));
    }

    /// Whether the worker comes from a nap and sees that nothing was left lying meanwhile.
    pub(super) fn nothing_stayed(&self) -> bool {
        self.naps.over.replace(false) && !self.work_stays()
    }

    /// Looks at where work could be until each place was empty once, or some has lain there for the time
    /// of patience. If so, somebody must take it; else all that was submitted before has been taken.
    pub(super) fn work_stays(&self) -> bool {
        let until = time::now_ns() + PATIENCE_NS;
        while self.shared.has_stealable_work() {
            if time::now_ns() >= until {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }
}
