//! What a worker writes down of its turns: of each that ends while turns are recorded, and of those that lose
//! it in the middle.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::{Post, WorkerCore};
use crate::routine::RoutineRef;
use crate::routine::body::TurnEnd as BodyEnd;
use crate::routine::context::{self, StackPart};
use crate::scheduler::threads::ThreadSlot;
use crate::snapshot::{AbsenceRecord, HandOff, Source, TurnEnd, TurnRecord, WorkerId};

impl WorkerCore {
    /// The turn of `routine` has come back to the loop. Apart, so that turns that are not recorded pay for nothing
    /// of it.
    #[inline(never)]
    pub(super) fn record_turn_end(
        &self,
        slot: &ThreadSlot,
        routine: RoutineRef,
        part: *mut StackPart,
        end: Option<BodyEnd>,
    ) {
        let yielded = if slot.leash.gave_way() {
            TurnEnd::GaveWay
        } else {
            TurnEnd::Yielded
        };
        let why = match end {
            Some(BodyEnd::Ended) => TurnEnd::Ended,
            #[cfg(not(portable))]
            Some(BodyEnd::Overflowed) => TurnEnd::Ended,
            Some(BodyEnd::Pending) if slot.wants_again() => yielded,
            Some(BodyEnd::Pending) => TurnEnd::Blocked,
            // SAFETY: we run the routine, which has suspended: the post lies in its frame, which lives until
            // it is resumed.
            None => match unsafe { &*context::post(part) } {
                Post::Yield => yielded,
                Post::Block { .. } => TurnEnd::Blocked,
            },
        };
        self.record_turn(routine, why);
    }

    /// The id and site are read before the routine is given away. What the turn began with is read where it
    /// stands, so that turns that are not recorded need not keep it.
    fn record_turn(&self, routine: RoutineRef, end: TurnEnd) {
        // When recording has just been switched on, the turn's start is not known.
        let dated = !self.undated.get();
        if self.tick_has_passed() {
            self.note_ticks(routine.header());
        } else {
            self.read_clock();
        }
        if !dated {
            return;
        }
        let header = routine.header();
        let began = self.stats().turn_started.load(Relaxed);
        let length_ns = self.now.get() - began;
        self.stats().turn_lengths.note_alone(length_ns);
        self.mine().recorder.turn(&TurnRecord {
            start_ns: began,
            length_ns,
            routine: header.routine_id(),
            site: header.site(),
            source: header.source(),
            workload: header.workload().map(|w| w.id),
            end,
        });
    }

    /// The worker was taken from a turn, which cannot end meanwhile: for this worker it ends here. By who
    /// owns the worker now.
    #[cfg_attr(portable, allow(dead_code, reason = "nobody takes a worker there"))]
    pub(crate) fn leave_turn(&self, why: HandOff) {
        let routine = self.stats().routine.load(Relaxed);
        // SAFETY: the routine is in its turn still, through which its block lives.
        if let Some(header) = unsafe { routine.as_ref() } {
            self.shared.apart.note_held(header.site());
        }
        if !routine.is_null() && self.shared.record.load(Relaxed) {
            let end = match why {
                HandOff::Frozen => TurnEnd::Frozen,
                HandOff::Blocked | HandOff::Direct | HandOff::Apart => TurnEnd::InKernel,
            };
            // SAFETY: the routine is in its turn still, through which its block lives.
            self.record_turn(unsafe { RoutineRef::from_ptr(routine) }, end);
        } else {
            self.read_clock();
        }
        self.stats().routine.store(null_mut(), Relaxed);
        self.slot().absence.begin(self.now.get(), why, self.index);
    }

    /// The worker is given to the thread in `slot` in the middle of a turn: for this worker it begins here. By
    /// who owns the worker, while the thread waits for it.
    pub(super) fn begin_rest_of_turn(&self, slot: &ThreadSlot, routine: RoutineRef) {
        let (header, stats, now) = (routine.header(), self.stats(), self.now.get());
        header.set_source(Source::Wanting);
        stats.count_turn(Source::Wanting);
        header.note_turn(self.index, now);
        if let Some(workload) = header.workload() {
            workload.turns.fetch_add(1, Relaxed);
        }
        if let Some(absence) = slot.absence.end()
            && self.shared.record.load(Relaxed)
        {
            let wanting = absence.wanting.unwrap_or(now);
            self.mine().recorder.absence(&AbsenceRecord {
                start_ns: absence.since,
                length_ns: now.saturating_sub(absence.since),
                wanting_ns: now.saturating_sub(wanting.max(absence.since)),
                why: absence.why,
                thread: slot.index,
                from: WorkerId::new(absence.from),
                to: WorkerId::new(self.index),
                routine: header.routine_id(),
                site: header.site(),
                workload: header.workload().map(|w| w.id),
            });
        }
        stats.turn_started.store(now, Relaxed);
        // Release pairs with the acquire load of the snapshot, as in `enter_routine`.
        stats.routine.store(routine.as_ptr(), Release);
    }
}
