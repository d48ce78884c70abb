//! What workers did, turn by turn: bounded rings that a reader follows without disturbing.

pub(crate) mod ring;

use std::panic::Location;
use std::sync::OnceLock;

use crate::id::{RoutineId, WorkerId, WorkloadId};
use crate::snapshot::{AbsenceRecord, HandOff, RingRead, Source, StealRecord, TurnEnd, TurnRecord};
use ring::Ring;

/// Turns kept per worker.
pub(crate) const TURNS_KEPT: usize = 65_536;
/// Thefts kept per worker.
pub(crate) const STEALS_KEPT: usize = 16_384;
/// Absences kept per worker.
pub(crate) const ABSENCES_KEPT: usize = 16_384;

/// The rings of one worker, made before it is active for the first time: they are megabytes of addresses, and of
/// memory where the allocator has to clear them.
pub(crate) struct Recorder {
    rings: OnceLock<Rings>,
    are_read: bool,
}

struct Rings {
    turns: Ring<5>,
    steals: Ring<3>,
    absences: Ring<7>,
}

impl Recorder {
    pub(crate) fn new() -> Recorder {
        Recorder {
            rings: OnceLock::new(),
            are_read: true,
        }
    }

    /// One that nobody reads.
    pub(crate) fn unread() -> Recorder {
        Recorder {
            rings: OnceLock::new(),
            are_read: false,
        }
    }

    /// Makes the rings, if there are none. Before anybody holds the worker.
    pub(crate) fn prepare(&self) {
        let kept = |most: usize| if self.are_read { most } else { 1 };
        self.rings.get_or_init(|| Rings {
            turns: Ring::new(kept(TURNS_KEPT)),
            steals: Ring::new(kept(STEALS_KEPT)),
            absences: Ring::new(kept(ABSENCES_KEPT)),
        });
    }

    fn rings(&self) -> &Rings {
        self.rings.get().expect("made before the worker was held")
    }

    /// Reads a ring; an empty one, if the worker was never active.
    fn read(&self, read: impl FnOnce(&Rings) -> RingRead) -> RingRead {
        let none = RingRead { next: 0, lost: 0 };
        self.rings.get().map_or(none, read)
    }

    /// Writes one turn. Only by the worker's thread.
    pub(crate) fn turn(&self, record: &TurnRecord) {
        self.rings().turns.push([
            record.start_ns,
            (record.length_ns << 8) | ((record.end as u64) << 4) | record.source as u64,
            record.routine.get(),
            std::ptr::from_ref(record.site) as u64,
            record.workload.map_or(0, WorkloadId::get),
        ]);
    }

    /// Writes one theft. Only by the thief's thread.
    pub(crate) fn steal(&self, record: &StealRecord) {
        self.rings().steals.push([
            record.at_ns,
            (u64::from(record.victim.get()) << 32) | u64::from(record.moved),
            record.first.get(),
        ]);
    }

    /// Writes one absence. Only by who owns the worker.
    pub(crate) fn absence(&self, record: &AbsenceRecord) {
        self.rings().absences.push([
            record.start_ns,
            (record.length_ns << 8) | record.why as u64,
            record.wanting_ns,
            (u64::from(record.thread) << 32) | u64::from(record.from.get()),
            record.routine.get(),
            std::ptr::from_ref(record.site) as u64,
            record.workload.map_or(0, WorkloadId::get),
        ]);
    }

    pub(crate) fn read_turns(&self, from: u64, into: &mut Vec<TurnRecord>) -> RingRead {
        self.read(|rings| {
            rings
                .turns
                .read(from, |[start, length, routine, site, workload]| {
                    into.push(TurnRecord {
                        start_ns: start,
                        length_ns: length >> 8,
                        routine: RoutineId::new(routine),
                        // SAFETY: `turn` wrote the address of a `&'static Location`, and the ring gives
                        // out whole records only.
                        site: unsafe { &*(site as *const Location<'static>) },
                        source: Source::from_u8(length as u8 & 0xf),
                        workload: (workload != 0).then(|| WorkloadId::new(workload)),
                        end: TurnEnd::from_u8(length as u8 >> 4),
                    });
                })
        })
    }

    pub(crate) fn read_steals(
        &self,
        thief: WorkerId,
        from: u64,
        into: &mut Vec<StealRecord>,
    ) -> RingRead {
        self.read(|rings| {
            rings.steals.read(from, |[at, who, first]| {
                into.push(StealRecord {
                    at_ns: at,
                    thief,
                    victim: WorkerId::new((who >> 32) as u32),
                    moved: who as u32,
                    first: RoutineId::new(first),
                });
            })
        })
    }

    pub(crate) fn read_absences(
        &self,
        to: WorkerId,
        from: u64,
        into: &mut Vec<AbsenceRecord>,
    ) -> RingRead {
        self.read(|rings| {
            rings.absences.read(
                from,
                |[start, length, wanting, who, routine, site, workload]| {
                    into.push(AbsenceRecord {
                        start_ns: start,
                        length_ns: length >> 8,
                        wanting_ns: wanting,
                        why: HandOff::ALL[length as u8 as usize],
                        thread: (who >> 32) as u32,
                        from: WorkerId::new(who as u32),
                        to,
                        routine: RoutineId::new(routine),
                        // SAFETY: `absence` wrote the address of a `&'static Location`, and the ring gives
                        // out whole records only.
                        site: unsafe { &*(site as *const Location<'static>) },
                        workload: (workload != 0).then(|| WorkloadId::new(workload)),
                    });
                },
            )
        })
    }
}

// A record of a turn has four bits for each.
const _: () = assert!(Source::COUNT <= 16 && TurnEnd::COUNT <= 16);
