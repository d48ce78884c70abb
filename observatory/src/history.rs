//! The last minute at the sampler's own pace, and the last ten minutes at one sample a second.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sample::Sample;

/// How far back every sample is kept whole.
const RECENT_NS: u64 = 60_000_000_000;
/// Samples kept whole: 60 s at 10 Hz.
const RECENT_SAMPLES: usize = 600;
/// Cells in all samples kept whole, about 32 MiB. Reached only with more than eight busy workers;
/// then the minute is shorter.
const RECENT_CELLS: usize = 500_000;
/// Samples kept without lanes: 10 minutes at 1 Hz.
const SECONDS: usize = 600;

#[derive(Debug, Default)]
pub(crate) struct History {
    recent: VecDeque<Arc<Sample>>,
    recent_cells: usize,
    seconds: VecDeque<Arc<Sample>>,
}

impl History {
    pub(crate) fn push(&mut self, sample: Arc<Sample>) {
        const SECOND_NS: u64 = 1_000_000_000;
        let newest = self.seconds.back().map(|kept| kept.at_ns / SECOND_NS);
        if newest.is_none_or(|second| sample.at_ns / SECOND_NS > second) {
            if self.seconds.len() == SECONDS {
                self.seconds.pop_front();
            }
            self.seconds.push_back(Arc::new(sample.without_lanes()));
        }

        let now_ns = sample.at_ns;
        self.recent_cells += sample.cells();
        self.recent.push_back(sample);
        while let Some(oldest) = self.recent.front()
            && self.recent.len() > 1
            && (self.recent.len() > RECENT_SAMPLES
                || self.recent_cells > RECENT_CELLS
                || now_ns - oldest.at_ns > RECENT_NS)
        {
            self.recent_cells -= oldest.cells();
            self.recent.pop_front();
        }
    }

    pub(crate) fn latest(&self) -> Option<&Arc<Sample>> {
        self.recent.back()
    }

    /// All samples after number `n`, in order; `None` when one of them is gone, or when `n` was
    /// never given out.
    pub(crate) fn since(&self, n: u64) -> Option<Vec<Arc<Sample>>> {
        let first = self.recent.front()?.n;
        let last = self.recent.back()?.n;
        (first <= n + 1 && n <= last).then(|| {
            self.recent
                .iter()
                .filter(|sample| sample.n > n)
                .cloned()
                .collect()
        })
    }

    /// The samples kept at one a second that come after number `n`, in order.
    pub(crate) fn seconds_after(&self, n: u64) -> Vec<Arc<Sample>> {
        let start = self.seconds.partition_point(|sample| sample.n <= n);
        self.seconds.range(start..).cloned().collect()
    }
}
