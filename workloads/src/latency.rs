//! Exact quantiles of many short times in fixed memory.

use std::time::Duration;

/// Times below this many nanoseconds have a counter of their own each; longer ones, which are rare
/// where this is used, are listed.
const COUNTED_NS: usize = 1 << 16;

/// How a set of times is spread. Every value is one that was measured, not interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The shortest.
    pub min: Duration,
    /// Half of them are no longer than this.
    pub p50: Duration,
    /// Of a hundred, 99 are no longer than this.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// Times measured so far.
#[derive(Debug)]
pub(crate) struct Latencies {
    counted: Box<[u32]>,
    listed: Vec<u64>,
    len: u64,
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        Latencies {
            counted: vec![0; COUNTED_NS].into(),
            listed: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn record(&mut self, ns: u64) {
        match usize::try_from(ns)
            .ok()
            .and_then(|ns| self.counted.get_mut(ns))
        {
            Some(count) => *count += 1,
            None => self.listed.push(ns),
        }
        self.len += 1;
    }

    /// `None` when nothing was recorded.
    pub(crate) fn summary(mut self) -> Option<Latency> {
        self.listed.sort_unstable();
        Some(Latency {
            min: self.at_rank(1)?,
            p50: self.at_rank(self.len.div_ceil(2))?,
            p99: self.at_rank((self.len * 99).div_ceil(100))?,
            max: self.at_rank(self.len)?,
        })
    }

    /// The time at this place in ascending order, counted from 1.
    fn at_rank(&self, rank: u64) -> Option<Duration> {
        let mut passed = 0;
        for (ns, &count) in self.counted.iter().enumerate() {
            passed += u64::from(count);
            if passed >= rank && rank > 0 {
                return Some(Duration::from_nanos(ns as u64));
            }
        }
        let index = usize::try_from(rank.checked_sub(passed + 1)?).ok()?;
        self.listed.get(index).copied().map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(times: impl IntoIterator<Item = u64>) -> Option<[u64; 4]> {
        let mut latencies = Latencies::new();
        times.into_iter().for_each(|ns| latencies.record(ns));
        latencies
            .summary()
            .map(|l| [l.min, l.p50, l.p99, l.max].map(|time| time.as_nanos() as u64))
    }

    #[test]
    fn nothing_measured_is_no_latency() {
        assert_eq!(summary([]), None);
    }

    #[test]
    fn one_time_is_all_quantiles() {
        assert_eq!(summary([7]), Some([7, 7, 7, 7]));
    }

    #[test]
    fn ranks_cross_from_counted_to_listed() {
        assert_eq!(summary((1..=100).rev()), Some([1, 50, 99, 100]));
        assert_eq!(
            summary([90_000, 5, 70_000, 3]),
            Some([3, 5, 90_000, 90_000])
        );
        assert_eq!(summary([70_000]), Some([70_000; 4]));
    }
}
