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
use crate::scheduler::parker::Woken;
use crate::time;

/// A wake and a sleep cost about a tenth of the shortest nap; the kernel adds 50 us of its own.
const SHORTEST_NS: u64 = 50_000;
/// The longest time for which a routine may wait while a worker naps.
const LONGEST_NS: u64 = 400_000;

/// Time in turns, since a worker was woken, that was worth the wake.
const WORTH_A_WAKE_NS: u64 = 10_000;

/// How long work must lie untouched before a worker that has napped takes it.
const PATIENCE_NS: u64 = 2_000;
/// The same for one that slept and was woken for it: about the time that the wake took. Routines that were
/// spawned together often wait for each other, and a started one never changes its home: where a thief is
/// fast enough to take a part of them, each of their messages goes to another processor ever after.
const PATIENCE_OF_WOKEN_NS: u64 = 30_000;
/// Of so many routines the worker itself cannot run all within the time of patience.
const CROWD: usize = 16;

/// How long a worker looks whether somebody has work for it before it sleeps, if its last sleep was ended
/// by such work soon. A wake takes longer than that where the other processor has to be interrupted.
const SPIN_NS: u64 = 10_000;
/// What soon is: with the time that the wake itself takes.
const SOON_NS: u64 = 30_000;

/// What a worker knows of its last sleep.
pub(super) struct Naps {
    /// Length of the last nap in ns, 0 if the last sleep was none.
    last: Cell<u64>,
    /// Somebody relied on that nap.
    relied: Cell<bool>,
    /// How patient the next search is, in ns.
    patience_ns: Cell<u64>,
    /// The last sleep was ended by somebody who had work for this worker.
    own_work: Cell<bool>,
    slept_ns: Cell<u64>,
    /// Time in turns up to the end of the last sleep.
    busy_ns: Cell<u64>,
}

impl Naps {
    pub(super) fn new() -> Naps {
        Naps {
            last: Cell::new(0),
            relied: Cell::new(false),
            patience_ns: Cell::new(PATIENCE_OF_WOKEN_NS),
            own_work: Cell::new(false),
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
        if by_itself {
            self.naps.patience_ns.set(PATIENCE_NS);
        }
    }

    /// A nap of this length, or a sleep if it is 0, has ended.
    pub(super) fn note_sleep(&self, nap_ns: u64, slept_ns: u64, woken: Woken) {
        if woken == Woken::ToSearch {
            self.naps.patience_ns.set(PATIENCE_OF_WOKEN_NS);
        }
        self.naps.own_work.set(woken == Woken::ForOwnWork);
        self.naps.last.set(nap_ns);
        self.naps.slept_ns.set(slept_ns);
        self.naps.busy_ns.set(self.stats().busy_ns.load(Relaxed));
    }

    /// Whether the worker comes from a sleep and sees that nothing was left lying meanwhile.
    pub(super) fn nothing_stayed(&self) -> bool {
        let patience = self.naps.patience_ns.replace(0);
        patience > 0 && !self.work_stays_for(patience)
    }

    /// A worker that is about to sleep, and has announced it, waits a little for its token: with that
    /// there, neither side has to ask the kernel. Returns what time it is now.
    pub(super) fn spin_ahead_of_sleep(&self, mut now: u64, deadline: u64) -> u64 {
        if self.naps.own_work.get() && self.naps.slept_ns.get() < SOON_NS {
            let until = deadline.min(now + SPIN_NS);
            while !self.mine().parker.has_token() && now < until {
                std::hint::spin_loop();
                now = time::now_ns();
            }
        }
        now
    }

    /// Looks at where work could be until each place was empty once, or some has lain there for the time
    /// of patience. If so, somebody must take it; else all that was submitted before has been taken.
    pub(super) fn work_stays(&self) -> bool {
        self.work_stays_for(PATIENCE_NS)
    }

    fn work_stays_for(&self, patience_ns: u64) -> bool {
        let until = time::now_ns() + patience_ns;
        while self.shared.has_stealable_work() {
            // What came from outside is nobody's in particular.
            let lasts = !self.shared.injector.is_empty()
                || !self.shared.levels.is_empty()
                || self.shared.spanned().any(|w| w.stealer.len() > CROWD);
            if lasts || self.has_own_work() || time::now_ns() >= until {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }
}
