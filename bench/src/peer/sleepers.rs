//! What the benches of timers share: how long each sleeper sleeps, and how late they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::measure::{Figure, percentiles};

/// Deadlines lie between 1 ms and this.
const LONGEST_NS: u64 = 100_000_000;
/// Hogs of the bench of timers under load, and how long each computes before it gives way.
pub(super) const HOGS: u64 = 64;
pub(super) const HOG_TURN: Duration = Duration::from_micros(20);

/// Sleepers and the lateness of each.
///
/// The memory is written before the first one sleeps, so that no page fault is taken for lateness.
#[derive(Debug)]
pub(super) struct Sleepers {
    began: Instant,
    late_ns: Vec<AtomicU64>,
}

impl Sleepers {
    pub(super) fn new(count: u64) -> Arc<Sleepers> {
        Arc::new(Sleepers {
            late_ns: (0..count).map(|_| AtomicU64::new(u64::MAX)).collect(),
            began: Instant::now(),
        })
    }

    /// How long the sleeper with this number sleeps: spread evenly, in no order, the same in every peer.
    pub(super) fn duration(&self, index: u64) -> Duration {
        // The fractional parts of multiples of the golden ratio (Knuth, TAOCP 3, 6.4, theorem S).
        let spread = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        Duration::from_nanos(1_000_000 + ((spread * (LONGEST_NS - 1_000_000)) >> 32))
    }

    /// A sleeper is awake that began to sleep at `began`.
    pub(super) fn awake(&self, index: u64, began: Instant) {
        let late = began.elapsed().saturating_sub(self.duration(index));
        self.late_ns[index as usize].store(late.as_nanos() as u64, Relaxed);
    }

    /// After the last one.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let total = self.began.elapsed();
        let late: Vec<u64> = self.late_ns.iter().map(|late| late.load(Relaxed)).collect();
        assert!(!late.contains(&u64::MAX), "a sleeper has not woken");
        let [p50, p99, max] = percentiles(late).unwrap_or_default();
        let us = |name, ns: u64| Figure::new(name, "us", ns as f64 / 1e3);
        vec![
            us("late_p50", p50),
            us("late_p99", p99),
            us("late_max", max),
            Figure::new("total", "ms", total.as_secs_f64() * 1e3),
        ]
    }
}

/// Computes for the length of a hog's turn.
pub(super) fn compute() {
    let began = Instant::now();
    while began.elapsed() < HOG_TURN {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spread_over_the_range() {
        let sleepers = Sleepers::new(0);
        let all: Vec<_> = (0..1000).map(|index| sleepers.duration(index)).collect();
        assert!(all.iter().all(|d| (1..=100).contains(&d.as_millis())));
        let early = all.iter().filter(|d| d.as_millis() < 50).count();
        assert!((400..600).contains(&early), "{early}");
    }
}
