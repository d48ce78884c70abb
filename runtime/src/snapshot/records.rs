//! What has happened, record by record.

use std::panic::Location;

use super::{RoutineId, Source, TurnEnd, WorkerId, WorkloadId};

/// One turn that a worker ran.
///
/// ```
/// use openwork::{Runtime, WorkerId};
///
/// let rt = Runtime::builder().workers(1).record_turns(true).build().unwrap();
/// rt.spawn(|| ()).join().unwrap();
/// let mut turns = Vec::new();
/// while turns.is_empty() {
///     rt.handle().turns(WorkerId::new(0), 0, &mut turns);
/// }
/// println!("{} ns at {}", turns[0].length_ns, turns[0].site);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnRecord {
    /// When it began, in nanoseconds since process start.
    pub start_ns: u64,
    /// How long it took, in nanoseconds.
    pub length_ns: u64,
    /// Whose turn.
    pub routine: RoutineId,
    /// Where that routine was spawned.
    pub site: &'static Location<'static>,
    /// Where the worker found it.
    pub source: Source,
    /// What it belongs to.
    pub workload: Option<WorkloadId>,
    /// Why it was over.
    pub end: TurnEnd,
}

/// One theft that took something.
///
/// ```
/// use openwork::{Runtime, WorkerId, snapshot::StealRecord};
///
/// let rt = Runtime::builder().workers(2).record_turns(true).build().unwrap();
/// let mut thefts: Vec<StealRecord> = Vec::new();
/// rt.handle().steals(WorkerId::new(1), 0, &mut thefts);
/// for theft in thefts {
///     println!("worker {} took {} from worker {}", theft.thief, theft.moved, theft.victim);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StealRecord {
    /// When, in nanoseconds since process start.
    pub at_ns: u64,
    /// Who took.
    pub thief: WorkerId,
    /// From whom.
    pub victim: WorkerId,
    /// How many routines.
    pub moved: u32,
    /// The one that the thief runs next.
    pub first: RoutineId,
}

/// One panic that ended a routine.
///
/// ```
/// # std::panic::set_hook(Box::new(|_| {}));
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let routine = rt.spawn(|| panic!("out of paper"));
/// let id = routine.id();
/// assert!(routine.join().is_err());
/// let mut panics = Vec::new();
/// rt.handle().panics(0, &mut panics);
/// assert_eq!((panics[0].routine, panics[0].message.as_str()), (id, "out of paper"));
/// ```
#[derive(Clone, Debug)]
pub struct PanicRecord {
    /// When, in nanoseconds since process start.
    pub at_ns: u64,
    /// Whose.
    pub routine: RoutineId,
    /// Its name.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// The panic's message, or a sentence that says why there is none.
    pub message: String,
    /// What it belonged to.
    pub workload: Option<WorkloadId>,
}

/// What reading a bounded ring gave.
///
/// ```
/// use openwork::{Runtime, WorkerId};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let (mut cursor, mut turns) = (0, Vec::new());
/// for _ in 0..3 {
///     let read = rt.handle().turns(WorkerId::new(0), cursor, &mut turns);
///     cursor = read.next;
///     assert_eq!(read.lost, 0);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingRead {
    /// The cursor to read from next time.
    pub next: u64,
    /// Records that were overwritten before they could be read.
    pub lost: u64,
}
