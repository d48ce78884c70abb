//! How turns end, and what becomes of those whose thread loses its worker meanwhile.

use std::panic::Location;

use super::{HandOff, RoutineId, WorkerId, WorkloadId};

/// Why a turn was over for the worker that ran it.
///
/// ```
/// use openwork::{Runtime, WorkerId, snapshot::TurnEnd};
///
/// let rt = Runtime::builder().workers(1).record_turns(true).build().unwrap();
/// rt.block_on(openwork::yield_now);
/// let mut turns = Vec::new();
/// while turns.len() < 2 {
///     turns.clear();
///     rt.handle().turns(WorkerId::new(0), 0, &mut turns);
/// }
/// assert_eq!(turns[0].end, TurnEnd::Yielded);
/// assert_eq!(turns[1].end, TurnEnd::Ended);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum TurnEnd {
    /// The routine has ended.
    Ended,
    /// The routine waits for something.
    Blocked,
    /// The routine gave way of its own accord.
    Yielded,
    /// The routine gave way because its slice was over.
    GaveWay,
    /// The routine was stopped, because its slice was over and it did not give way. The turn goes on when its
    /// thread has a worker again.
    Frozen,
    /// The worker was taken from the thread, which sleeps in the kernel. The turn goes on there, without a worker
    /// or with another one.
    InKernel,
}

impl TurnEnd {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// Every one, in the order of their numbers.
    pub const ALL: [TurnEnd; TurnEnd::COUNT] = [
        TurnEnd::Ended,
        TurnEnd::Blocked,
        TurnEnd::Yielded,
        TurnEnd::GaveWay,
        TurnEnd::Frozen,
        TurnEnd::InKernel,
    ];

    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::TurnEnd::GaveWay.name(), "gave_way");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            TurnEnd::Ended => "ended",
            TurnEnd::Blocked => "blocked",
            TurnEnd::Yielded => "yielded",
            TurnEnd::GaveWay => "gave_way",
            TurnEnd::Frozen => "frozen",
            TurnEnd::InKernel => "in_kernel",
        }
    }

    pub(crate) const fn from_u8(raw: u8) -> TurnEnd {
        TurnEnd::ALL[raw as usize]
    }
}

/// A part of a turn for which its thread had no worker, from the taking of one to the giving of another.
///
/// ```
/// use openwork::{Runtime, WorkerId, snapshot::AbsenceRecord};
///
/// let rt = Runtime::builder().workers(1).record_turns(true).build().unwrap();
/// let mut absences: Vec<AbsenceRecord> = Vec::new();
/// rt.handle().absences(WorkerId::new(0), 0, &mut absences);
/// for one in absences {
///     println!("routine {} of {}: {} ns, {}", one.routine, one.site, one.length_ns, one.why.name());
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsenceRecord {
    /// When the worker was taken, in nanoseconds since process start.
    pub start_ns: u64,
    /// From then until the thread had a worker again, in nanoseconds.
    pub length_ns: u64,
    /// The last part of that, in which the thread waited for a worker and for nothing else, in nanoseconds.
    pub wanting_ns: u64,
    /// Why the worker was taken: [`HandOff::Blocked`] or [`HandOff::Frozen`].
    pub why: HandOff,
    /// The runtime's number of the thread, from 0. One that has ended leaves its number to another.
    pub thread: u32,
    /// The worker that was taken.
    pub from: WorkerId,
    /// The worker that the thread has got.
    pub to: WorkerId,
    /// Whose turn.
    pub routine: RoutineId,
    /// Where that routine was spawned.
    pub site: &'static Location<'static>,
    /// What it belongs to.
    pub workload: Option<WorkloadId>,
}

/// A thread that runs a routine, or keeps one stopped, without a worker.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// assert!(rt.snapshot().absent.is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsentThread {
    /// The runtime's number of the thread, from 0.
    pub thread: u32,
    /// The kernel's number of the thread.
    pub thread_id: i32,
    /// When its worker was taken, in nanoseconds since process start.
    pub since_ns: u64,
    /// Since when it waits for a worker and for nothing else; `None` if it does not, as far as is known.
    pub wanting_since_ns: Option<u64>,
    /// Why the worker was taken: [`HandOff::Blocked`] or [`HandOff::Frozen`].
    pub why: HandOff,
    /// The worker that was taken.
    pub from: WorkerId,
    /// Whose turn.
    pub routine: RoutineId,
    /// Where that routine was spawned.
    pub site: &'static Location<'static>,
    /// What it belongs to.
    pub workload: Option<WorkloadId>,
}
