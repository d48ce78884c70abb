//! Plain values that describe a runtime at one moment.
//!
//! Nothing here is live: a value is read once and never changes. Cumulative counts begin with the
//! runtime and never go down.

mod homes;
mod io;
mod monitor;
mod records;
mod routines;
mod stacks;
mod threads;
mod turns;
mod waits;
mod workers;

use crate::config::RuntimeConfig;
pub use crate::id::{ObjectId, RoutineId, WorkerId, WorkloadId};
pub use crate::priority::Priority;
pub use crate::sync::Owner;
pub use homes::{HomeFigures, HomeVersion, TravellingFigures};
pub use io::{BlockingFigures, IoBackend, IoFigures, IoReason};
pub use monitor::{HostageDeadlock, Latencies, MonitorFigures, MonitorState, Probe};
pub use records::{PanicRecord, RingRead, StealRecord, TurnRecord};
pub use routines::{RoutineClass, RoutineCounts, RoutineKind, RoutineState, RoutineView};
pub use stacks::{
    GuardMode, ResidencySample, SiteResidency, StackClassFigures, StackDetail, StackDetailPart,
    StackFigures, StackSite, StackView,
};
pub use threads::{HandOff, ThreadFigures, TopologyFigures};
pub use turns::{AbsenceRecord, AbsentThread, TurnEnd};
pub use waits::{InKernel, SystemCall, WaitReason, WaitView};
pub use workers::{ResizeFigures, RunningTurn, Source, TimerFigures, WorkerSnapshot, WorkerState};

/// A whole runtime at one moment.
///
/// ```
/// use openwork::{Runtime, snapshot::Snapshot};
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// let now: Snapshot = rt.snapshot();
/// println!("{} live, {} waiting in the injector", now.routines.live(), now.injector_depth);
/// assert_eq!(now.workers.len(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When, in nanoseconds since process start.
    pub at_ns: u64,
    /// One entry for each worker that is or was active, by number.
    pub workers: Vec<WorkerSnapshot>,
    /// How many workers are active, and how often that was changed.
    pub resizing: ResizeFigures,
    /// The threads behind them.
    pub threads: ThreadFigures,
    /// Those of them that have no worker in the middle of a turn, by number.
    pub absent: Vec<AbsentThread>,
    /// Routines in the injector, and those of high and low priority that any worker may run.
    pub injector_depth: u64,
    /// Routines by state.
    pub routines: RoutineCounts,
    /// Stacks.
    pub stacks: StackFigures,
    /// Stacks by size, smallest first: sizes of which there was ever one. Their sums are those of
    /// [`stacks`](Self::stacks), but for what changed while they were counted. Empty where stacks are
    /// the system's.
    pub stack_classes: Vec<StackClassFigures>,
    /// What started routines are bound to.
    pub homes: HomeFigures,
    /// The pool of threads for calls that block in the kernel.
    pub blocking: BlockingFigures,
    /// What the thread that watches the others does.
    pub monitor: MonitorFigures,
    /// Panic records made so far; see [`Handle::panics`](crate::Handle::panics).
    pub panics: u64,
    /// Sockets and the poller; `None` if no routine has waited for a socket yet.
    pub io: Option<IoFigures>,
    /// Whether turns and steals are being recorded.
    pub rings_on: bool,
    /// What the runtime does by choice.
    pub config: RuntimeConfig,
    /// Times that the runtime's own [`Strategy`](crate::config::Strategy) panicked.
    pub strategy_panics: u64,
    /// The machine; `None` where the system does not tell.
    pub topology: Option<TopologyFigures>,
}
