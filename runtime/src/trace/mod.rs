//! What workers did, turn by turn: bounded rings that a reader follows without disturbing.

pub(crate) mod ring;

use std::panic::Location;

use crate::id::{RoutineId, WorkerId, WorkloadId};
use crate::snapshot::{RingRead, Source, StealRecord, TurnRecord};
use ring::Ring;

/// Turns kept per worker.
pub(crate) const TURNS_KEPT: usize = 65_536;
/// Thefts kept per worker.
pub(crate) const STEALS_KEPT: usize = 16_384;

/// The rings of one worker.
pub(crate) struct Recorder {
    turns: Ring<5>,
    steals: Ring<3>,
}

impl Recorder {
    pub(crate) fn new() -> Recorder {
        Recorder {
            turns: Ring::new(TURNS_KEPT),
            steals: Ring::new(STEALS_KEPT),
        }
    }

    /// For a runtime whose rings nobody can reach: such runtimes are made by the thousand.
    pub(crate) fn unread() -> Recorder {
        Recorder {
            turns: Ring::new(1),
            steals: Ring::new(1),
        }
    }

    /// Writes one turn. Only by the worker's thread.
    pub(crate) fn turn(&self, record: &TurnRecord) {
        self.turns.push([
            record.start_ns,
            (record.length_ns << 8) | record.source as u64,
            record.routine.get(),
            std::ptr::from_ref(record.site) as u64,
            record.workload.map_or(0, WorkloadId::get),
        ]);
    }

    /// Writes one theft. Only by the thief's thread.
    pub(crate) fn steal(&self, record: &StealRecord) {
        self.steals.push([
            record.at_ns,
            (u64::from(record.victim.get()) << 32) | u64::from(record.moved),
            record.first.get(),
        ]);
    }

    pub(crate) fn read_turns(&self, from: u64, into: &mut Vec<TurnRecord>) -> RingRead {
        self.turns
            .read(from, |[start, length, routine, site, workload]| {
                into.push(TurnRecord {
                    start_ns: start,
                    length_ns: length >> 8,
                    routine: RoutineId::new(routine),
                    // SAFETY: `turn` wrote the address of a `&'static Location`, and the ring gives
                    // out whole records only.
                    site: unsafe { &*(site as *const Location<'static>) },
                    source: Source::from_u8(length as u8),
                    workload: (workload != 0).then(|| WorkloadId::new(workload)),
                });
            })
    }

    pub(crate) fn read_steals(
        &self,
        thief: WorkerId,
        from: u64,
        into: &mut Vec<StealRecord>,
    ) -> RingRead {
        self.steals.read(from, |[at, who, first]| {
            into.push(StealRecord {
                at_ns: at,
                thief,
                victim: WorkerId::new((who >> 32) as u32),
                moved: who as u32,
                first: RoutineId::new(first),
            });
        })
    }
}
