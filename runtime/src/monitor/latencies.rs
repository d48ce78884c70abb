//! How long something took, in steps of powers of two.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::snapshot::Latencies;

/// By several at once with [`note`](Self::note), by one alone with [`note_alone`](Self::note_alone).
#[derive(Debug)]
pub(crate) struct LatencyCounts {
    count: AtomicU64,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
    buckets: [AtomicU64; Latencies::BUCKETS],
}

impl LatencyCounts {
    pub(crate) const fn new() -> LatencyCounts {
        LatencyCounts {
            count: AtomicU64::new(0),
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; Latencies::BUCKETS],
        }
    }

    /// Counts one, by read-modify-write. Async-signal-safe.
    pub(crate) fn note(&self, ns: u64) {
        self.buckets[bucket(ns)].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
        self.max_ns.fetch_max(ns, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// Counts one, by the only thread that counts here: plain loads and stores.
    #[inline]
    pub(crate) fn note_alone(&self, ns: u64) {
        let add = |counter: &AtomicU64, n: u64| counter.store(counter.load(Relaxed) + n, Relaxed);
        add(&self.buckets[bucket(ns)], 1);
        add(&self.sum_ns, ns);
        add(&self.count, 1);
        if ns > self.max_ns.load(Relaxed) {
            self.max_ns.store(ns, Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Latencies {
        let buckets = std::array::from_fn(|i| self.buckets[i].load(Relaxed));
        Latencies {
            // The sum, so that parts and total agree at any moment.
            count: buckets.iter().sum(),
            sum_ns: self.sum_ns.load(Relaxed),
            max_ns: self.max_ns.load(Relaxed),
            buckets,
        }
    }
}

/// 0 for up to 1 us, one more for each doubling.
fn bucket(ns: u64) -> usize {
    let us = ns.div_ceil(1_000).max(1);
    let doublings = 64 - (us - 1).leading_zeros() as usize;
    doublings.min(Latencies::BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_ends_at_a_power_of_two() {
        for (ns, expected) in [
            (0, 0),
            (1, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (4_000, 2),
            (1_024_000, 10),
            (1_024_001, 11),
            (u64::MAX, Latencies::BUCKETS - 1),
        ] {
            assert_eq!(bucket(ns), expected, "{ns} ns");
        }
    }

    #[test]
    fn both_ways_count_the_same() {
        let (several, alone) = (LatencyCounts::new(), LatencyCounts::new());
        for ns in [0, 900, 1_500, 1_000_000, 1_500] {
            several.note(ns);
            alone.note_alone(ns);
        }
        assert_eq!(several.read(), alone.read());
    }

    #[test]
    fn quantiles_are_upper_bounds_and_none_of_nothing() {
        let counts = LatencyCounts::new();
        assert_eq!(counts.read().quantile(0.5), None);
        for us in 1..=100u64 {
            counts.note(us * 1_000);
        }
        let read = counts.read();
        assert_eq!(read.count, 100);
        assert_eq!(read.max_ns, 100_000);
        assert_eq!(read.sum_ns, 5_050_000);
        assert_eq!(read.quantile(0.5), Some(64_000));
        // The longest seen is a better bound than the bucket's end.
        assert_eq!(read.quantile(0.99), Some(100_000));
        assert_eq!(read.quantile(0.0), Some(1_000));
    }
}
