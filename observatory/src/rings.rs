//! Follows the runtime's rings: the one place that keeps cursors into them.

use openwork::snapshot::{AbsenceRecord, Snapshot, StealRecord};
use openwork::{Handle, WorkerId};

use crate::finding::LongTurns;
use crate::lanes::{self, ABSENCES_PER_SAMPLE, Absence, Lane, Reel, STEALS_PER_SAMPLE};

/// Where all workers' rings have been read up to, and what was read and not yet drawn.
pub(crate) struct Rings {
    workers: Vec<Followed>,
    /// Read and not yet given out.
    steals: Vec<StealRecord>,
    absences: Vec<AbsenceRecord>,
    /// Whether the newest picture was drawn for a viewer. Only then is it a loss when a record is
    /// overwritten unread.
    watched: bool,
    pub(crate) turns_lost: u64,
    pub(crate) steals_lost: u64,
    pub(crate) absences_lost: u64,
    pub(crate) long_turns: LongTurns,
}

/// One worker's rings.
struct Followed {
    worker: WorkerId,
    turns_cursor: u64,
    steals_cursor: u64,
    absences_cursor: u64,
    reel: Reel,
}

/// What happened between two samples, to be looked at.
#[derive(Default)]
pub(crate) struct Picture {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) steals: Vec<StealRecord>,
    pub(crate) absences: Vec<Absence>,
    pub(crate) merged: u64,
    pub(crate) omitted: u64,
}

impl Rings {
    pub(crate) fn new(workers: usize) -> Rings {
        let follow = |worker| Followed {
            worker: WorkerId::new(worker as u32),
            turns_cursor: 0,
            steals_cursor: 0,
            absences_cursor: 0,
            reel: Reel::new(lanes::cells_each(workers)),
        };
        Rings {
            workers: (0..workers).map(follow).collect(),
            steals: Vec::new(),
            absences: Vec::new(),
            watched: false,
            turns_lost: 0,
            steals_lost: 0,
            absences_lost: 0,
            long_turns: LongTurns::default(),
        }
    }

    /// Reads what was written since the last time.
    pub(crate) fn read(&mut self, handle: &Handle) {
        for Followed {
            worker,
            turns_cursor,
            steals_cursor,
            absences_cursor,
            reel,
        } in &mut self.workers
        {
            let known = reel.pending.len();
            let turns = handle.turns(*worker, *turns_cursor, &mut reel.pending);
            let steals = handle.steals(*worker, *steals_cursor, &mut self.steals);
            let absences = handle.absences(*worker, *absences_cursor, &mut self.absences);
            *turns_cursor = turns.next;
            *steals_cursor = steals.next;
            *absences_cursor = absences.next;
            self.long_turns.look(*worker, &reel.pending[known..]);
            if self.watched {
                self.turns_lost += turns.lost;
                self.steals_lost += steals.lost;
                self.absences_lost += absences.lost;
            }
        }
    }

    /// Draws what is surely complete, so that little is held until the sample.
    pub(crate) fn digest(&mut self, now_ns: u64) {
        if self.watched {
            for followed in &mut self.workers {
                followed.reel.digest(now_ns);
            }
        }
    }

    /// Draws what happened up to `snapshot`, which was taken before the rings were read last.
    pub(crate) fn draw(&mut self, snapshot: &Snapshot) -> Picture {
        self.watched = true;
        let mut picture = Picture::default();
        for (followed, worker) in self.workers.iter_mut().zip(&snapshot.workers) {
            let drawn = followed.reel.draw(snapshot.at_ns, worker.turn);
            picture.merged += drawn.merged;
            picture.lanes.push(Lane {
                worker: followed.worker,
                cells: drawn.cells,
            });
        }
        (picture.steals, picture.omitted) =
            lanes::thin(std::mem::take(&mut self.steals), STEALS_PER_SAMPLE);
        let (absences, omitted) = lanes::absences(
            &std::mem::take(&mut self.absences),
            &snapshot.absent,
            snapshot.at_ns,
            [0, u64::MAX],
            ABSENCES_PER_SAMPLE,
        );
        picture.absences = absences;
        picture.omitted += omitted;
        picture
    }

    /// Forgets what happened up to `at_ns`: nobody watches.
    pub(crate) fn skip(&mut self, at_ns: u64) -> Picture {
        self.watched = false;
        self.steals.clear();
        self.absences.clear();
        for followed in &mut self.workers {
            followed.reel.skip(at_ns);
        }
        Picture::default()
    }
}
