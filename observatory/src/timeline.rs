//! A stretch of the past from the runtime's own rings, at the reader's resolution.

use openwork::snapshot::{RunningTurn, StealRecord, TurnRecord};
use openwork::{Handle, WorkerId};

use crate::lanes::{Absence, Canvas, Cell, Lane, absences, end, thin, unfinished};

/// Cells of all workers in one answer. A merged cell and a rectangle can alternate, so there can be
/// twice as many.
const CELLS_MAX: u64 = 32_768;
/// Steals in one answer.
const STEALS_MAX: usize = 2_000;
/// Absences in one answer.
const ABSENCES_MAX: usize = 2_000;

/// Who ran where between two moments, as far as it is still recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// Begin of the stretch, in nanoseconds since the process began.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
    /// One lane a worker. Cells may reach over both ends of the stretch.
    pub lanes: Vec<Lane>,
    /// Steals in the stretch, by time.
    pub steals: Vec<StealRecord>,
    /// Parts of turns in the stretch for which a thread had no worker, by time. They may reach over both ends.
    pub absences: Vec<Absence>,
    /// Turns drawn together with others in one cell.
    pub merged: u64,
    /// Steals and absences left out for want of room, and absences of the stretch that were overwritten, at most.
    pub omitted: u64,
    /// Turns overwritten in the rings that may have been in the stretch: an upper bound, and 0 when
    /// the stretch is surely complete.
    pub lost: u64,
    /// From when on every worker's turns are all there; `None` when the rings lost nothing.
    pub complete_from_ns: Option<u64>,
}

pub(crate) fn timeline(handle: &Handle, from_ns: u64, to_ns: u64, px: u32) -> Timeline {
    let snapshot = handle.snapshot();
    let workers = snapshot.workers.len();
    let mut timeline = Timeline::empty(from_ns, to_ns, workers);
    let columns = u64::from(px).clamp(1, (CELLS_MAX / workers.max(1) as u64).max(1));
    let mut turns = Vec::new();
    let mut steals = Vec::new();
    let mut away = Vec::new();
    for worker in &snapshot.workers {
        turns.clear();
        let lost = handle.turns(worker.id, 0, &mut turns).lost;
        timeline.add_lane(worker.id, &turns, lost, columns);
        timeline.add_running(worker.turn, snapshot.at_ns, columns);
        handle.steals(worker.id, 0, &mut steals);
        let first = away.len();
        let lost = handle.absences(worker.id, 0, &mut away).lost;
        // They are written when they end: what was overwritten ended before the oldest that is there.
        let complete = away
            .get(first)
            .is_none_or(|one| one.start_ns + one.length_ns <= timeline.from_ns);
        if !complete {
            timeline.omitted += lost;
        }
    }
    steals.retain(|steal| (timeline.from_ns..timeline.to_ns).contains(&steal.at_ns));
    let stretch = [timeline.from_ns, timeline.to_ns];
    let (steals, omitted) = thin(steals, STEALS_MAX);
    let (away, left_out) = absences(
        &away,
        &snapshot.absent,
        snapshot.at_ns,
        stretch,
        ABSENCES_MAX,
    );
    timeline.steals = steals;
    timeline.absences = away;
    timeline.omitted += omitted + left_out;
    timeline
}

impl Timeline {
    /// A stretch of one nanosecond at least.
    fn empty(from_ns: u64, to_ns: u64, workers: usize) -> Timeline {
        let from_ns = from_ns.min(u64::MAX - 1);
        Timeline {
            from_ns,
            to_ns: to_ns.max(from_ns + 1),
            lanes: Vec::with_capacity(workers),
            steals: Vec::new(),
            absences: Vec::new(),
            merged: 0,
            omitted: 0,
            lost: 0,
            complete_from_ns: None,
        }
    }

    /// Adds a worker of whose `turns`, in order, `lost` older ones are no longer there.
    fn add_lane(&mut self, worker: WorkerId, turns: &[TurnRecord], lost: u64, columns: u64) {
        if lost > 0 {
            let complete_from_ns = turns.first().map_or(self.to_ns, |turn| turn.start_ns);
            if complete_from_ns > self.from_ns {
                self.lost += lost;
            }
            let others = self.complete_from_ns.unwrap_or(0);
            self.complete_from_ns = Some(others.max(complete_from_ns));
        }
        let first = turns.partition_point(|turn| end(turn) <= self.from_ns);
        let last = turns.partition_point(|turn| turn.start_ns < self.to_ns);
        let inside = &turns[first..last.max(first)];
        let canvas = Canvas {
            from_ns: self.from_ns,
            until_ns: self.to_ns,
            unfinished_ns: None,
        };
        let drawn = canvas.draw(inside, (self.to_ns - self.from_ns).div_ceil(columns));
        self.merged += drawn.merged;
        self.lanes.push(Lane {
            worker,
            cells: drawn.cells,
        });
    }

    /// Adds the turn that the worker of the newest lane was in at `now_ns`, unless it ended since.
    fn add_running(&mut self, running: Option<RunningTurn>, now_ns: u64, columns: u64) {
        let until_ns = now_ns.min(self.to_ns);
        let width_ns = (self.to_ns - self.from_ns).div_ceil(columns);
        let (Some(running), Some(lane)) = (running, self.lanes.last_mut()) else {
            return;
        };
        let newest_ns = lane
            .cells
            .last()
            .map_or(0, |cell| cell.start_ns + cell.length_ns);
        if running.start_ns >= newest_ns && until_ns.saturating_sub(running.start_ns) >= width_ns {
            lane.cells.push(unfinished(&running, until_ns));
        }
    }

    /// Cells in all lanes.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.lanes.iter().flat_map(|lane| &lane.cells)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use openwork::RoutineId;
    use openwork::snapshot::{Source, TurnEnd};

    use super::*;

    fn turn(start_ns: u64, length_ns: u64) -> TurnRecord {
        TurnRecord {
            start_ns,
            length_ns,
            routine: RoutineId::new(1),
            site: Location::caller(),
            source: Source::Local,
            workload: None,
            end: TurnEnd::Blocked,
        }
    }

    #[track_caller]
    fn check(from_ns: u64, to_ns: u64, lost: u64, expected: &[(u64, u64)], expected_lost: u64) {
        let turns = [turn(100, 50), turn(200, 50), turn(300, 50)];
        let mut timeline = Timeline::empty(from_ns, to_ns, 1);
        timeline.add_lane(WorkerId::new(0), &turns, lost, 1_000);
        let cells: Vec<_> = timeline
            .cells()
            .map(|cell| (cell.start_ns, cell.length_ns))
            .collect();
        assert_eq!(cells, expected);
        assert_eq!(timeline.lost, expected_lost);
        assert_eq!(timeline.complete_from_ns, (lost > 0).then_some(100));
    }

    #[test]
    fn a_lost_beginning_is_told_and_the_rest_is_drawn() {
        let all = [(100, 50), (200, 50), (300, 50)];
        check(0, 400, 0, &all, 0);
        check(0, 400, 9, &all, 9);
        // Whatever was lost was before the stretch.
        check(150, 400, 9, &all[1..], 0);
        check(120, 310, 9, &all, 0);
        check(350, 400, 9, &[], 0);
        check(400, 500, 0, &[], 0);
    }

    /// Both ends come from whoever asks.
    #[test]
    fn no_stretch_is_too_long_or_too_short() {
        check(0, u64::MAX, 0, &[(0, u64::MAX / 1_000 + 1)], 0);
        check(u64::MAX, u64::MAX, 0, &[], 0);
        check(300, 300, 0, &[(300, 50)], 0);
        check(300, 0, 0, &[(300, 50)], 0);
    }

    #[test]
    fn zooming_out_merges_and_keeps_the_turns() {
        let turns: Vec<_> = (0..10_000).map(|i| turn(i * 100, 60)).collect();
        let mut timeline = Timeline::empty(0, 1_000_000, 1);
        timeline.add_lane(WorkerId::new(0), &turns, 0, 50);
        assert_eq!(timeline.cells().count(), 50);
        assert_eq!(
            timeline
                .cells()
                .map(|cell| u64::from(cell.turns))
                .sum::<u64>(),
            10_000
        );
        assert!(timeline.cells().all(|cell| (cell.share - 0.6).abs() < 0.01));
        assert_eq!(timeline.merged, 10_000);
    }

    #[test]
    fn the_turn_still_running_closes_the_lane() {
        let running = |start_ns| RunningTurn {
            start_ns,
            routine: RoutineId::new(2),
            site: Location::caller(),
            source: Source::Local,
            workload: None,
        };
        let mut timeline = Timeline::empty(0, 1_000, 1);
        timeline.add_lane(WorkerId::new(0), &[turn(100, 50)], 0, 100);
        timeline.add_running(Some(running(100)), 900, 100);
        assert_eq!(timeline.cells().count(), 1, "that turn has ended since");
        timeline.add_running(Some(running(150)), 900, 100);
        let last = timeline.cells().last().expect("two cells");
        assert_eq!((last.start_ns, last.length_ns, last.turns), (150, 750, 0));
    }
}
