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
        (first <= n.saturating_add(1) && n <= last).then(|| {
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

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::time::SystemTime;

    use openwork::snapshot::{
        BlockingFigures, GuardMode, RoutineCounts, Snapshot, Source, StackFigures,
    };
    use openwork::{RoutineId, WorkerId};

    use super::*;
    use crate::lanes::{Cell, Lane};
    use crate::sample::{Extra, Watching};

    const TENTH_NS: u64 = 100_000_000;

    fn sample(n: u64, at_ns: u64, cells: usize) -> Arc<Sample> {
        let cell = Cell {
            start_ns: at_ns,
            length_ns: 1,
            source: Source::Local,
            share: 1.0,
            turns: 1,
            routine: RoutineId::new(1),
            site: Location::caller(),
            workload: None,
            end: None,
        };
        Arc::new(Sample {
            boot: "a".into(),
            n,
            at_ns,
            interval_ns: TENTH_NS,
            wall: SystemTime::UNIX_EPOCH,
            snapshot: Snapshot {
                at_ns,
                workers: Vec::new(),
                injector_depth: 0,
                routines: RoutineCounts::default(),
                stacks: StackFigures {
                    mode: GuardMode::Light,
                    slot_bytes: 65_536,
                    in_use: 0,
                    pooled: 0,
                    free: 0,
                    limit: None,
                    waiting: 0,
                    growths: 0,
                    high_water: [0; 16],
                    reserved_bytes: 0,
                    shrinks: 0,
                    shrunk_bytes: 0,
                    segments: 0,
                    segments_entered: 0,
                    contained: 0,
                },
                stack_classes: Vec::new(),
                homes: Default::default(),
                blocking: BlockingFigures::default(),
                monitor: Default::default(),
                threads: Default::default(),
                absent: Vec::new(),
                panics: 0,
                io: None,
                rings_on: true,
                config: Default::default(),
                resizing: Default::default(),
                strategy_panics: 0,
                topology: None,
            },
            memory: None,
            rss_bytes: None,
            process_cpu_ns: None,
            residency: None,
            oldest_runnable_ns: None,
            extra: Extra::default(),
            lanes: vec![Lane {
                worker: WorkerId::new(0),
                cells: vec![cell; cells],
            }],
            steals: Vec::new(),
            absences: Vec::new(),
            merged: 0,
            omitted: 0,
            findings: Vec::new(),
            watching: Watching::default(),
        })
    }

    fn filled(samples: u64, cells: usize) -> History {
        let mut history = History::default();
        for n in 1..=samples {
            history.push(sample(n, n * TENTH_NS, cells));
        }
        history
    }

    fn numbers(samples: &[Arc<Sample>]) -> Vec<u64> {
        samples.iter().map(|sample| sample.n).collect()
    }

    #[test]
    fn a_minute_is_kept_whole_and_a_gap_is_told() {
        let history = filled(1_000, 1);
        let kept = history.since(400).expect("600 samples back");
        assert_eq!(numbers(&kept), (401..=1_000).collect::<Vec<_>>());
        assert!(kept.iter().all(|sample| sample.cells() == 1));
        assert!(history.since(399).is_none(), "number 400 is gone");
        assert!(history.since(1_000).is_some_and(|none| none.is_empty()));
        assert!(history.since(1_001).is_none(), "never given out");
        assert!(history.since(u64::MAX).is_none());
    }

    #[test]
    fn at_one_a_second_a_minute_is_a_minute_too() {
        let mut history = History::default();
        for n in 1..=100 {
            history.push(sample(n, n * 10 * TENTH_NS, 0));
        }
        assert!(history.since(39).is_some_and(|kept| kept.len() == 61));
        assert!(history.since(38).is_none());
    }

    #[test]
    fn cells_bound_the_minute() {
        let history = filled(600, 2_000);
        let kept = RECENT_CELLS / 2_000;
        assert!(
            history
                .since(600 - kept as u64)
                .is_some_and(|samples| samples.len() == kept)
        );
        assert!(history.since(600 - kept as u64 - 1).is_none());
        assert_eq!(history.recent_cells, kept * 2_000);
    }

    #[test]
    fn ten_minutes_are_kept_at_one_a_second_without_lanes() {
        let history = filled(7_000, 1);
        let seconds = history.seconds_after(0);
        assert_eq!(seconds.len(), SECONDS);
        assert!(seconds.iter().all(|sample| sample.cells() == 0));
        assert!(seconds.windows(2).all(|pair| pair[1].n == pair[0].n + 10));
        let newest = seconds[SECONDS - 1].n;
        assert_eq!(
            numbers(&history.seconds_after(newest - 20)),
            [newest - 10, newest]
        );
    }
}
