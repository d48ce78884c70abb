//! Counting hashes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::difficulty::Difficulty;
use crate::hash::Hash;
use crate::header::{HEADER_VERSION, Header};
use crate::proof::Search;

/// Hashes computed since the start, by worker.
///
/// A miner adds every 1,024 hashes: one uncontended atomic addition in some 45 us.
#[derive(Debug)]
pub struct HashMeter {
    workers: Box<[Padded]>,
    elsewhere: Padded,
}

/// A counter alone on its cache lines: 128 bytes, since x86-64 fetches lines in pairs (Intel's
/// optimisation manual, spatial prefetcher).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(AtomicU64);

impl HashMeter {
    /// A meter for workers numbered from 0 to `workers - 1`.
    pub fn new(workers: usize) -> HashMeter {
        HashMeter {
            workers: (0..workers).map(|_| Padded::default()).collect(),
            elsewhere: Padded::default(),
        }
    }

    /// Adds `hashes` computed on the worker numbered `worker`. `None`, or a number that the meter
    /// has no place for, counts in [`total`](HashMeter::total) only.
    pub fn add(&self, worker: Option<u32>, hashes: u64) {
        let counter = worker
            .and_then(|worker| self.workers.get(usize::try_from(worker).ok()?))
            .unwrap_or(&self.elsewhere);
        // Relaxed: the figure stands alone, nothing is read because of it.
        counter.0.fetch_add(hashes, Ordering::Relaxed);
    }

    /// Hashes of each worker since the meter was made.
    pub fn hashes(&self) -> Vec<u64> {
        self.workers
            .iter()
            .map(|counter| counter.0.load(Ordering::Relaxed))
            .collect()
    }

    /// All hashes since the meter was made.
    pub fn total(&self) -> u64 {
        self.hashes().iter().sum::<u64>() + self.elsewhere.0.load(Ordering::Relaxed)
    }
}

/// Hashes that the calling thread computes per second in a bare loop, measured for about
/// `duration`: what one worker could reach at most. Other load on the machine lowers it.
pub fn baseline(duration: Duration) -> f64 {
    /// Hashes between two looks at the clock, some 10 us.
    const STRETCH: u64 = 256;

    let header = Header {
        version: HEADER_VERSION,
        difficulty: Difficulty::MAX,
        index: 0,
        timestamp_ns: 0,
        previous_hash: Hash::ZERO,
        data_hash: Hash::ZERO,
        nonce: 0,
    };
    let mut search = Search::new(&header.encode(), header.difficulty);
    let started = Instant::now();
    let mut hashes = 0;
    loop {
        // A nonce that fits ends a stretch early; at 32 bits that is too rare to matter.
        std::hint::black_box(search.find(hashes..hashes + STRETCH));
        hashes += STRETCH;
        let elapsed = started.elapsed();
        if elapsed >= duration {
            return hashes as f64 / elapsed.as_secs_f64();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_kept_apart_by_worker_and_summed() {
        let meter = HashMeter::new(2);
        meter.add(Some(0), 5);
        meter.add(Some(1), 7);
        meter.add(Some(1), 1);
        meter.add(Some(2), 100);
        meter.add(None, 1000);
        assert_eq!(meter.hashes(), [5, 8]);
        assert_eq!(meter.total(), 1113);
    }

    #[test]
    fn the_baseline_is_a_rate() {
        let rate = baseline(Duration::from_millis(1));
        assert!(rate.is_finite() && rate > 0.0, "{rate}");
    }
}
