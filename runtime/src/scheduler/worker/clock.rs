//! What time a worker takes it to be.
//!
//! Reading the clock costs more than a short turn does (23 ns against 10), so a worker does not
//! read it at every turn's end. It reads
//!
//! - when turns are recorded, at every end: what the ring says is exact;
//! - when it runs out of work, and around a search and a sleep;
//! - at its look round, every [`FAIR_TURNS`](super::find) turns;
//! - when the kernel's own tick has passed since, which is looked up at every end (3 ns).
//!
//! So what is said of a turn's start, and of the moment at which a routine changed its state, lies
//! before the truth by one tick at most: 4 ms where there are 250 in a second, as is usual. Time in
//! turns ([`WorkerStats::busy_ns`]) adds up without loss, in steps.
//!
//! Rejected: the processor's own counter at every end (10 ns here, must be compared with the
//! kernel's clock all the time, and is no clock on every machine); the clock every some turns and
//! nothing else (after a turn of a second the next ones would be dated a second early).
//!
//! [`WorkerStats::busy_ns`]: crate::scheduler::stats::WorkerStats::busy_ns

use super::WorkerCore;
use super::find::FAIR_NS;
use crate::routine::Header;
use crate::scheduler::stats;
use crate::scheduler::strategy::class::Deed;
use crate::time;

impl WorkerCore {
    /// A turn of this routine has ended that is not recorded. Reads the clock if that is due.
    #[inline]
    pub(super) fn note_turn_end(&self, header: &Header) {
        if self.tick_has_passed() {
            self.note_ticks(header);
        } else {
            self.undated.set(true);
        }
    }

    #[inline]
    pub(super) fn tick_has_passed(&self) -> bool {
        self.tick.get() != self.ticks.now()
    }

    /// The tick came in the turn that has just ended: a sample of who uses the processor, for nothing.
    /// Reads the clock.
    #[inline(never)]
    pub(super) fn note_ticks(&self, header: &Header) {
        let before = self.now.get();
        self.read_clock();
        // A long turn counts as many as it had.
        let ticks = ((self.now.get() - before) / tick_ns()).clamp(1, 8);
        (0..ticks).for_each(|_| header.note_habit(Deed::Tick));
    }

    /// Reads the clock after one or more turns.
    pub(super) fn read_clock(&self) {
        self.tick.set(self.ticks.now());
        self.undated.set(false);
        let now = time::now_ns();
        let before = self.now.replace(now);
        stats::add(&self.stats().busy_ns, now - before);
        if now >= self.fair_at.get() {
            self.look_round_next();
        }
    }

    /// The turns are over for now: the time up to here was spent in them.
    pub(super) fn date_last_turn(&self) {
        if self.undated.get() {
            self.read_clock();
        }
    }

    /// Time has passed that was spent in no turn.
    pub(super) fn set_clock(&self, now: u64) {
        self.tick.set(self.ticks.now());
        self.now.set(now);
    }

    /// When the next look round is due at the latest.
    pub(super) fn put_off_look_round(&self) {
        self.fair_at.set(self.now.get() + FAIR_NS);
    }
}

#[cfg(not(portable))]
mod ticks;

/// A clock of the same coarseness made of the exact one: where routines change by changing threads, what
/// that costs does not show.
#[cfg(portable)]
mod ticks {
    use crate::time;

    #[derive(Clone, Copy)]
    pub(in crate::scheduler::worker) struct Ticks;

    impl Ticks {
        pub(in crate::scheduler::worker) fn new() -> Ticks {
            Ticks
        }

        /// A number that changes every millisecond.
        pub(in crate::scheduler::worker) fn now(self) -> u64 {
            time::now_ns() / tick_ns()
        }
    }

    /// Length of that, in nanoseconds.
    pub(crate) fn tick_ns() -> u64 {
        1_000_000
    }
}

pub(super) use ticks::Ticks;
pub(crate) use ticks::tick_ns;

#[cfg(test)]
mod tests {
    use super::Ticks;
    use std::time::{Duration, Instant};

    /// The coarse clock goes on, in steps that are far shorter than a slice.
    #[test]
    fn the_tick_follows_the_clock() {
        let ticks = Ticks::new();
        let began = Instant::now();
        let first = ticks.now();
        while ticks.now() == first {
            assert!(began.elapsed() < Duration::from_secs(10), "it stands still");
        }
    }
}
