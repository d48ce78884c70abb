//! Lanes: who ran where, small enough to be sent ten times a second.
//!
//! A worker can run a million turns a second, and a page shows some hundred pixels. A turn as long
//! as a cell stays a rectangle of its own; shorter ones are merged into a cell that tells which part
//! of it the worker was busy. Merging keeps the sums: the busy time and the number of turns of all
//! cells are those of the records.

use std::panic::Location;

use openwork::snapshot::{
    AbsenceRecord, AbsentThread, HandOff, RunningTurn, Source, StealRecord, TurnEnd, TurnRecord,
};
use openwork::{RoutineId, WorkerId, WorkloadId};

/// Cells of one worker in one sample.
pub const CELLS_PER_WORKER: usize = 100;
/// Cells of all workers in one sample.
pub const CELLS_PER_SAMPLE: usize = 2_000;
/// Steals in one sample.
pub const STEALS_PER_SAMPLE: usize = 200;
/// Absences in one sample.
pub const ABSENCES_PER_SAMPLE: usize = 200;
/// Between two samples while somebody watches.
const SAMPLE_NS: u64 = 100_000_000;
/// The shortest turn that stays a rectangle of its own.
pub const CELL_NS: u64 = 1_000_000;

/// What one worker did.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// Whose lane.
    pub worker: WorkerId,
    /// In order of time. They do not overlap, but for some microseconds between two samples: a turn
    /// may begin while a sample is taken.
    pub cells: Vec<Cell>,
}

/// A stretch of a lane: one turn, or several short ones merged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Begin, in nanoseconds since the process began. A later cell with the same begin replaces
    /// this one: it was a turn still running.
    pub start_ns: u64,
    /// Length in nanoseconds.
    pub length_ns: u64,
    /// Where the worker found the routine; of a merged cell, the longest turn's.
    pub source: Source,
    /// Part of the length in which a routine ran, from 0 to 1.
    pub share: f32,
    /// Turns that ended in the cell; 0 for the one still running.
    pub turns: u32,
    /// The routine that ran; of a merged cell, the longest turn's, and so below.
    pub routine: RoutineId,
    /// Where that routine was spawned.
    pub site: &'static Location<'static>,
    /// What it was spawned for.
    pub workload: Option<WorkloadId>,
    /// Why the turn was over; of a merged cell, the longest turn. `None` for the one still running.
    pub end: Option<TurnEnd>,
}

/// A part of a turn for which its thread had no worker. It is no worker's: it has a lane of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Absence {
    /// When the worker was taken, in nanoseconds since the process began. A later absence of the same thread with
    /// the same begin replaces this one, which was going on.
    pub start_ns: u64,
    /// Length in nanoseconds.
    pub length_ns: u64,
    /// The last part of that, in which the thread waited for a worker and for nothing else, as far as is known.
    pub wanting_ns: u64,
    /// Why the worker was taken.
    pub why: HandOff,
    /// The runtime's number of the thread.
    pub thread: u32,
    /// The worker that was taken.
    pub from: WorkerId,
    /// The one that the thread has got; `None` while the absence goes on.
    pub to: Option<WorkerId>,
    /// Whose turn.
    pub routine: RoutineId,
    /// Where that routine was spawned.
    pub site: &'static Location<'static>,
    /// What it was spawned for.
    pub workload: Option<WorkloadId>,
}

impl From<&AbsenceRecord> for Absence {
    fn from(record: &AbsenceRecord) -> Absence {
        Absence {
            start_ns: record.start_ns,
            length_ns: record.length_ns,
            wanting_ns: record.wanting_ns,
            why: record.why,
            thread: record.thread,
            from: record.from,
            to: Some(record.to),
            routine: record.routine,
            site: record.site,
            workload: record.workload,
        }
    }
}

impl Absence {
    /// One that goes on at `now_ns`.
    pub(crate) fn unfinished(absent: &AbsentThread, now_ns: u64) -> Absence {
        let wanting = absent
            .wanting_since_ns
            .map(|since| since.max(absent.since_ns));
        Absence {
            start_ns: absent.since_ns,
            length_ns: now_ns.saturating_sub(absent.since_ns),
            wanting_ns: wanting.map_or(0, |since| now_ns.saturating_sub(since)),
            why: absent.why,
            thread: absent.thread,
            from: absent.from,
            to: None,
            routine: absent.routine,
            site: absent.site,
            workload: absent.workload,
        }
    }

    fn end(&self) -> u64 {
        self.start_ns + self.length_ns
    }
}

/// Records of one worker that have been read and not yet drawn, and what was drawn before.
#[derive(Debug)]
pub(crate) struct Reel {
    /// Room for one sample.
    cells_max: usize,
    /// Read and not yet drawn, in order.
    pub(crate) pending: Vec<TurnRecord>,
    /// Drawn since the sample before.
    drawn: Drawn,
    /// Everything before is drawn.
    drawn_ns: u64,
    /// Begin of the unfinished turn drawn last, to be replaced by its record.
    unfinished_ns: Option<u64>,
}

/// Cells of one worker, and how many turns share a cell with another.
#[derive(Debug, Default)]
pub(crate) struct Drawn {
    pub(crate) cells: Vec<Cell>,
    pub(crate) merged: u64,
}

impl Reel {
    pub(crate) fn new(cells_max: usize) -> Reel {
        Reel {
            cells_max,
            pending: Vec::new(),
            drawn: Drawn::default(),
            drawn_ns: 0,
            unfinished_ns: None,
        }
    }

    /// Draws the records of whole columns that lie before `now_ns`, ahead of the sample.
    pub(crate) fn digest(&mut self, now_ns: u64) {
        let room = self.cells_max.saturating_sub(self.drawn.cells.len());
        // A column that long turns have taken the room of is left to the sample, which has wider ones.
        let width_ns = CELL_NS.max(SAMPLE_NS / self.cells_max as u64);
        let columns = now_ns.saturating_sub(self.drawn_ns) / width_ns;
        let until_ns = self.drawn_ns + columns * width_ns;
        // A turn belongs to the column in which it begins; the newest one may still be running.
        let begun = self
            .pending
            .partition_point(|turn| turn.start_ns < until_ns);
        if begun == 0 || begun == self.pending.len() {
            return;
        }
        let canvas = Canvas {
            from_ns: self.drawn_ns,
            until_ns,
            unfinished_ns: self.unfinished_ns,
        };
        let drawn = canvas.draw(&self.pending[..begun], width_ns);
        if drawn.cells.len() < room {
            self.drawn_ns = until_ns.max(end(&self.pending[begun - 1]));
            self.drawn.cells.extend(drawn.cells);
            self.drawn.merged += drawn.merged;
            self.pending.drain(..begun);
        }
    }

    /// Draws what ended by `until_ns` and the turn `running` then, and gives out all that was drawn
    /// since the sample before. A turn that ended later stays for the next call: the ring is read
    /// after the snapshot that names the moment.
    pub(crate) fn draw(&mut self, until_ns: u64, running: Option<RunningTurn>) -> Drawn {
        let ended = self.pending.partition_point(|turn| end(turn) <= until_ns);
        // A turn that ended since is the one that ran, whatever the snapshot caught.
        let running = match self.pending.get(ended) {
            Some(turn) => Some(RunningTurn {
                start_ns: turn.start_ns,
                routine: turn.routine,
                site: turn.site,
                source: turn.source,
                workload: turn.workload,
            }),
            // Not one that ended since: its record was just read.
            None => running.filter(|running| {
                self.pending
                    .last()
                    .is_none_or(|turn| end(turn) <= running.start_ns)
            }),
        };
        let running = running.filter(|running| running.start_ns < until_ns);

        let records = &self.pending[..ended];
        let from_ns = match (self.drawn_ns, records.first()) {
            // Nothing drawn yet: the lane begins with what is there.
            (0, first) => first.map_or(until_ns, |turn| turn.start_ns),
            (drawn_ns, _) => drawn_ns,
        };
        let canvas = Canvas {
            from_ns,
            until_ns: running.map_or(until_ns, |running| running.start_ns),
            unfinished_ns: self.unfinished_ns,
        };
        let Drawn {
            mut cells,
            mut merged,
        } = std::mem::take(&mut self.drawn);
        let cells_max = self.cells_max.saturating_sub(cells.len()).max(1);
        let span = until_ns.saturating_sub(from_ns);
        let mut width_ns = CELL_NS.max(span.div_ceil(cells_max as u64));
        let mut drawn = canvas.draw(records, width_ns);
        while drawn.cells.len() > cells_max && width_ns <= span {
            width_ns *= 2;
            drawn = canvas.draw(records, width_ns);
        }

        self.drawn_ns = canvas
            .until_ns
            .max(records.last().map_or(0, end))
            .max(from_ns);
        self.unfinished_ns = None;
        cells.append(&mut drawn.cells);
        merged += drawn.merged;
        let visible = running.filter(|running| until_ns - running.start_ns >= width_ns);
        if let Some(running) = visible {
            self.unfinished_ns = Some(running.start_ns);
            cells.push(unfinished(&running, until_ns));
        }
        self.pending.drain(..ended);
        Drawn { cells, merged }
    }

    /// Forgets what was read: nobody watches, or the picture begins anew at `at_ns`.
    pub(crate) fn skip(&mut self, at_ns: u64) {
        self.pending.clear();
        self.drawn = Drawn::default();
        self.drawn_ns = at_ns;
        self.unfinished_ns = None;
    }
}

/// The stretch to draw on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canvas {
    /// Cells are counted from here.
    pub(crate) from_ns: u64,
    /// A merged cell ends here at the latest, unless a turn in it ends later.
    pub(crate) until_ns: u64,
    /// A turn beginning here keeps its rectangle however short: it replaces one.
    pub(crate) unfinished_ns: Option<u64>,
}

impl Canvas {
    /// Draws `turns`, which are in order and do not overlap, with cells of `width_ns`.
    pub(crate) fn draw(&self, turns: &[TurnRecord], width_ns: u64) -> Drawn {
        let mut drawn = Drawn::default();
        let mut free_ns = 0;
        let mut open: Option<Merging<'_>> = None;
        for turn in turns {
            if turn.length_ns >= width_ns || self.unfinished_ns == Some(turn.start_ns) {
                if let Some(merging) = open.take() {
                    merging.close(turn.start_ns, &mut drawn);
                }
                drawn.cells.push(whole(turn));
                free_ns = end(turn);
                continue;
            }
            // A turn belongs to the cell in which it begins; the first one may begin before.
            let index = turn.start_ns.saturating_sub(self.from_ns) / width_ns;
            match &mut open {
                Some(merging) if merging.index == index => merging.add(turn),
                _ => {
                    if let Some(merging) = open.take() {
                        free_ns = merging.close(turn.start_ns, &mut drawn);
                    }
                    let grid_ns = self.from_ns + index * width_ns;
                    open = Some(Merging {
                        index,
                        start_ns: grid_ns.max(free_ns).min(turn.start_ns),
                        grid_end_ns: grid_ns + width_ns,
                        end_ns: end(turn),
                        busy_ns: turn.length_ns,
                        turns: 1,
                        longest: turn,
                    });
                }
            }
        }
        if let Some(merging) = open {
            merging.close(self.until_ns, &mut drawn);
        }
        drawn
    }
}

/// A cell being filled.
struct Merging<'a> {
    index: u64,
    start_ns: u64,
    grid_end_ns: u64,
    /// End of the newest turn in it.
    end_ns: u64,
    busy_ns: u64,
    turns: u32,
    longest: &'a TurnRecord,
}

impl<'a> Merging<'a> {
    fn add(&mut self, turn: &'a TurnRecord) {
        self.end_ns = end(turn);
        self.busy_ns += turn.length_ns;
        self.turns += 1;
        if turn.length_ns > self.longest.length_ns {
            self.longest = turn;
        }
    }

    /// Ends the cell where its column ends, but not after `limit_ns`, where something else begins.
    /// Gives back its end.
    fn close(self, limit_ns: u64, drawn: &mut Drawn) -> u64 {
        let end_ns = self
            .grid_end_ns
            .min(limit_ns)
            .max(self.end_ns)
            .max(self.start_ns + 1);
        let length_ns = end_ns - self.start_ns;
        drawn.cells.push(Cell {
            start_ns: self.start_ns,
            length_ns,
            share: (self.busy_ns as f64 / length_ns as f64) as f32,
            turns: self.turns,
            ..whole(self.longest)
        });
        if self.turns > 1 {
            drawn.merged += u64::from(self.turns);
        }
        end_ns
    }
}

/// A turn as a rectangle of its own.
fn whole(turn: &TurnRecord) -> Cell {
    Cell {
        start_ns: turn.start_ns,
        length_ns: turn.length_ns,
        source: turn.source,
        share: 1.0,
        turns: 1,
        routine: turn.routine,
        site: turn.site,
        workload: turn.workload,
        end: Some(turn.end),
    }
}

/// A turn that goes on at `until_ns`, which is after its begin.
pub(crate) fn unfinished(turn: &RunningTurn, until_ns: u64) -> Cell {
    Cell {
        start_ns: turn.start_ns,
        length_ns: until_ns - turn.start_ns,
        source: turn.source,
        share: 1.0,
        turns: 0,
        routine: turn.routine,
        site: turn.site,
        workload: turn.workload,
        end: None,
    }
}

pub(crate) fn end(turn: &TurnRecord) -> u64 {
    turn.start_ns + turn.length_ns
}

/// Cells that each of `workers` may have, so that all together stay within
/// [`CELLS_PER_SAMPLE`].
pub(crate) fn cells_each(workers: usize) -> usize {
    CELLS_PER_WORKER
        .min(CELLS_PER_SAMPLE / workers.max(1))
        .max(1)
}

/// At most `max` steals, evenly picked in order of time, and how many were left out.
pub(crate) fn thin(mut steals: Vec<StealRecord>, max: usize) -> (Vec<StealRecord>, u64) {
    steals.sort_by_key(|steal| steal.at_ns);
    let found = steals.len();
    if found <= max {
        return (steals, 0);
    }
    let kept = (0..max).map(|i| steals[i * found / max]).collect();
    (kept, (found - max) as u64)
}

/// Absences that have ended, and those that went on at `now_ns`, in order of time: of those that touch the stretch at
/// most `max`, the longest, and how many were left out.
pub(crate) fn absences(
    ended: &[AbsenceRecord],
    going_on: &[AbsentThread],
    now_ns: u64,
    [from_ns, to_ns]: [u64; 2],
    max: usize,
) -> (Vec<Absence>, u64) {
    // One that goes on in the snapshot may have ended since, and then its record was read.
    let is_over = |absent: &AbsentThread| {
        let mut of_it = ended.iter().filter(|one| one.thread == absent.thread);
        of_it.any(|one| one.start_ns == absent.since_ns)
    };
    let now = going_on.iter().filter(|absent| !is_over(absent));
    let mut all: Vec<_> = ended
        .iter()
        .map(Absence::from)
        .chain(now.map(|absent| Absence::unfinished(absent, now_ns)))
        .filter(|one| one.end() >= from_ns && one.start_ns < to_ns)
        .collect();
    let omitted = all.len().saturating_sub(max);
    if omitted > 0 {
        all.sort_by_key(|one| std::cmp::Reverse(one.length_ns));
        all.truncate(max);
    }
    all.sort_by_key(|one| (one.start_ns, one.thread));
    (all, omitted as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn turn(start_ns: u64, length_ns: u64, routine: u64) -> TurnRecord {
        TurnRecord {
            start_ns,
            length_ns,
            routine: RoutineId::new(routine),
            site: Location::caller(),
            source: if routine.is_multiple_of(2) {
                Source::Stolen
            } else {
                Source::Local
            },
            workload: None,
            end: TurnEnd::Blocked,
        }
    }

    fn running(turn: &TurnRecord) -> RunningTurn {
        RunningTurn {
            start_ns: turn.start_ns,
            routine: turn.routine,
            site: turn.site,
            source: turn.source,
            workload: turn.workload,
        }
    }

    /// Small and repeatable; a failure names the seed that made the turns.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    /// Turns of all lengths with gaps of all lengths, some of none.
    fn turns(seed: u64, until_ns: u64) -> Vec<TurnRecord> {
        let mut random = Random(seed);
        let mut turns = Vec::new();
        let mut at_ns = 1 + random.below(MS);
        while at_ns < until_ns {
            let scale = [100, 10_000, MS, 30 * MS][random.below(4) as usize];
            let length_ns = random.below(scale);
            turns.push(turn(at_ns, length_ns, random.below(100)));
            let gap = [0, 1_000, MS, 10 * MS][random.below(4) as usize];
            at_ns += length_ns + random.below(gap + 1);
        }
        turns
    }

    fn busy_ns(cells: &[Cell]) -> f64 {
        cells
            .iter()
            .map(|cell| f64::from(cell.share) * cell.length_ns as f64)
            .sum()
    }

    /// Draws `turns` in ticks of `tick_ns` as the sampler does, and checks each tick's bounds.
    /// Gives back the cells that a viewer holds at the end.
    #[track_caller]
    fn play(turns: &[TurnRecord], tick_ns: u64, cells_max: usize, seed: u64) -> Vec<Cell> {
        let mut reel = Reel::new(cells_max);
        reel.skip(1);
        let mut held: Vec<Cell> = Vec::new();
        let mut left = turns;
        let mut until_ns = 1;
        while !left.is_empty() || !reel.pending.is_empty() {
            for part in 1..=5 {
                // The ring is read a little after the moment that is drawn up to.
                let now_ns = until_ns + tick_ns * part / 5;
                let read = left.partition_point(|turn| end(turn) <= now_ns + tick_ns / 70);
                reel.pending.extend_from_slice(&left[..read]);
                left = &left[read..];
                if part < 5 {
                    reel.digest(now_ns);
                }
            }
            until_ns += tick_ns;
            let open = left
                .first()
                .filter(|turn| turn.start_ns < until_ns)
                .map(running);
            let drawn = reel.draw(until_ns, open);
            assert!(
                drawn.cells.len() <= cells_max + 1,
                "seed {seed}: {} cells",
                drawn.cells.len()
            );
            for cell in drawn.cells {
                assert!(cell.share <= 1.0, "seed {seed}: {cell:?}");
                match held.iter_mut().find(|kept| kept.start_ns == cell.start_ns) {
                    Some(kept) => {
                        assert_eq!(
                            kept.turns, 0,
                            "seed {seed}: only an unfinished turn is replaced"
                        );
                        *kept = cell;
                    }
                    None => held.push(cell),
                }
            }
        }
        held
    }

    #[test]
    fn merging_keeps_busy_time_and_turns_and_never_overlaps() {
        for seed in 0..200 {
            let turns = turns(seed, 400 * MS);
            for (tick_ns, cells_max) in [
                (100 * MS, 100),
                (100 * MS, 7),
                (33_333_333, 100),
                (900 * MS, 100),
            ] {
                let held = play(&turns, tick_ns, cells_max, seed);
                let count: u64 = held.iter().map(|cell| u64::from(cell.turns)).sum();
                assert_eq!(count, turns.len() as u64, "seed {seed}");
                let busy: u64 = turns.iter().map(|turn| turn.length_ns).sum();
                let error = (busy_ns(&held) - busy as f64).abs() / busy as f64;
                assert!(error < 1e-6, "seed {seed}: off by {error}");
                for pair in held.windows(2) {
                    let end_ns = pair[0].start_ns + pair[0].length_ns;
                    assert!(end_ns <= pair[1].start_ns, "seed {seed}: {pair:?}");
                }
            }
        }
    }

    #[test]
    fn a_long_turn_is_a_rectangle_and_short_ones_share_a_cell() {
        let turns = [
            turn(10, 100, 1),
            turn(200, 300, 2),
            turn(2 * MS, 5 * MS, 3),
            turn(7 * MS, 10, 5),
        ];
        let canvas = Canvas {
            from_ns: 0,
            until_ns: 8 * MS,
            unfinished_ns: None,
        };
        let drawn = canvas.draw(&turns, MS);
        let cells: Vec<_> = drawn
            .cells
            .iter()
            .map(|c| (c.start_ns, c.length_ns, c.turns, c.routine.get()))
            .collect();
        assert_eq!(
            cells,
            [(0, MS, 2, 2), (2 * MS, 5 * MS, 1, 3), (7 * MS, MS, 1, 5)]
        );
        assert_eq!(
            drawn.cells[0].source,
            Source::Stolen,
            "the longest of the merged ones"
        );
        assert_eq!(drawn.cells[1].share, 1.0);
        assert_eq!(drawn.merged, 2);
    }

    /// Merged under a wider cell, the record would leave the unfinished rectangle standing.
    #[test]
    fn a_turn_that_replaces_a_rectangle_is_one_whatever_the_width() {
        let turns = [turn(100, 50, 1), turn(200, 50, 2), turn(300, 50, 3)];
        let canvas = Canvas {
            from_ns: 0,
            until_ns: MS,
            unfinished_ns: Some(200),
        };
        let cells = canvas.draw(&turns, MS).cells;
        assert!(
            cells
                .iter()
                .any(|cell| (cell.start_ns, cell.length_ns) == (200, 50)),
            "{cells:?}"
        );
        assert_eq!(cells.len(), 3);
    }

    #[test]
    fn an_unfinished_turn_is_shown_and_then_replaced() {
        let mut reel = Reel::new(100);
        reel.skip(5 * MS);
        let long = turn(10 * MS, 250 * MS, 4);
        let running = running(&long);
        for until_ns in [100 * MS, 200 * MS] {
            let drawn = reel.draw(until_ns, Some(running));
            let [cell] = drawn.cells[..] else {
                panic!("{drawn:?}")
            };
            assert_eq!(
                (cell.start_ns, cell.length_ns),
                (10 * MS, until_ns - 10 * MS)
            );
            assert_eq!((cell.turns, cell.source), (0, Source::Stolen));
        }
        reel.pending.push(long);
        let drawn = reel.draw(300 * MS, None);
        let [cell] = drawn.cells[..] else {
            panic!("{drawn:?}")
        };
        assert_eq!((cell.start_ns, cell.length_ns), (10 * MS, 250 * MS));
        assert_eq!((cell.turns, cell.source), (1, Source::Stolen));
    }

    #[test]
    fn many_workers_share_the_room_of_a_sample() {
        for (workers, each) in [(1, 100), (20, 100), (64, 31), (5_000, 1)] {
            assert_eq!(cells_each(workers), each);
        }
    }

    #[test]
    fn thinned_steals_are_counted_and_keep_their_order() {
        let steal = |at_ns| StealRecord {
            at_ns,
            thief: WorkerId::new(0),
            victim: WorkerId::new(1),
            moved: 1,
            first: RoutineId::new(1),
        };
        let (kept, omitted) = thin((0..450).rev().map(steal).collect(), 200);
        assert_eq!((kept.len(), omitted), (200, 250));
        assert!(kept.is_sorted_by_key(|steal| steal.at_ns));
        let (kept, omitted) = thin((0..200).map(steal).collect(), 200);
        assert_eq!((kept.len(), omitted), (200, 0));
    }

    fn away(thread: u32, start_ns: u64, length_ns: u64) -> AbsenceRecord {
        AbsenceRecord {
            start_ns,
            length_ns,
            wanting_ns: 1,
            why: HandOff::Blocked,
            thread,
            from: WorkerId::new(0),
            to: WorkerId::new(1),
            routine: RoutineId::new(1),
            site: Location::caller(),
            workload: None,
        }
    }

    fn still_away(thread: u32, since_ns: u64) -> AbsentThread {
        AbsentThread {
            thread,
            thread_id: 1,
            since_ns,
            wanting_since_ns: None,
            why: HandOff::Frozen,
            from: WorkerId::new(0),
            routine: RoutineId::new(1),
            site: Location::caller(),
            workload: None,
        }
    }

    #[test]
    fn an_absence_that_has_ended_since_is_there_once() {
        let ended = [away(2, 50, 30), away(3, 10, 20)];
        let going_on = [still_away(2, 50), still_away(3, 60)];
        let (found, omitted) = absences(&ended, &going_on, 100, [0, u64::MAX], 10);
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.thread, one.start_ns, one.length_ns, one.to.is_some()))
            .collect();
        assert_eq!(
            found,
            [(3, 10, 20, true), (2, 50, 30, true), (3, 60, 40, false)]
        );
        assert_eq!(omitted, 0);
    }

    #[test]
    fn of_many_absences_the_longest_of_the_stretch_are_kept() {
        let ended: Vec<_> = (0..20)
            .map(|i| away(i, 100 * u64::from(i), 50 + u64::from(i)))
            .collect();
        let (found, omitted) = absences(&ended, &[], 5_000, [1_000, 1_900], 4);
        let starts: Vec<_> = found.iter().map(|one| one.start_ns).collect();
        assert_eq!((starts, omitted), (vec![1_500, 1_600, 1_700, 1_800], 5));
    }
}
