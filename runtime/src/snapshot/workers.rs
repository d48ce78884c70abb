//! Workers: what they do, what they have queued and where that came from.

use std::panic::Location;

use super::{Latencies, RoutineId, WorkerId, WorkloadId};

/// Where a worker found the routine whose turn it ran. Each turn has exactly one source.
///
/// ```
/// use openwork::{Runtime, snapshot::Source};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.spawn(|| ()).join().unwrap();
/// let worker = &rt.snapshot().workers[0];
/// assert_eq!(worker.turns_by_source[Source::Injector as usize], 1, "from outside");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// The worker's LIFO slot: readied by the routine that ran just before.
    Lifo,
    /// The queue of the home that the worker's thread is.
    Inbox,
    /// The worker's own deque.
    Local,
    /// A deadline that had come.
    Timer,
    /// The injector: work from outside the workers.
    Injector,
    /// Another worker's deque. A routine counts as stolen at its first turn after the theft.
    Stolen,
    /// The poller: a socket that the routine waited for had something.
    Poller,
    /// The worker was given to a thread that wanted one in the middle of this turn, which had begun on another
    /// worker: it had slept in the kernel, or was stopped.
    Wanting,
}

impl Source {
    /// Every source, in the order of [`WorkerSnapshot::turns_by_source`].
    pub const ALL: [Source; Source::COUNT] = [
        Source::Lifo,
        Source::Inbox,
        Source::Local,
        Source::Timer,
        Source::Injector,
        Source::Stolen,
        Source::Poller,
        Source::Wanting,
    ];

    /// Number of sources.
    pub const COUNT: usize = 8;

    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::Source::Stolen.name(), "stolen");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Source::Lifo => "lifo",
            Source::Inbox => "inbox",
            Source::Local => "local",
            Source::Timer => "timer",
            Source::Injector => "injector",
            Source::Stolen => "stolen",
            Source::Poller => "poller",
            Source::Wanting => "wanting",
        }
    }

    /// Whether a routine readied by it goes before the others of its home: it has waited for
    /// something outside, and would wait for a whole round of them on top.
    pub(crate) const fn is_urgent(self) -> bool {
        matches!(self, Source::Timer | Source::Poller)
    }

    pub(crate) const fn from_u8(raw: u8) -> Source {
        Source::ALL[raw as usize]
    }
}

/// What a worker does.
///
/// ```
/// use openwork::{Runtime, snapshot::WorkerState};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// while rt.snapshot().workers[0].state != WorkerState::Parked {
///     std::thread::yield_now(); // until it has found out that there is nothing to do
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WorkerState {
    /// Runs routines.
    Running,
    /// Has no work and looks for some.
    Searching,
    /// Asleep until woken or until its next deadline.
    Parked,
    /// Out of service: no thread holds it, and it has nothing. See
    /// [`Handle::set_workers`](crate::Handle::set_workers).
    Inactive,
}

impl WorkerState {
    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::WorkerState::Searching.name(), "searching");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            WorkerState::Running => "running",
            WorkerState::Searching => "searching",
            WorkerState::Parked => "parked",
            WorkerState::Inactive => "inactive",
        }
    }
}

/// How many workers are in service, and how that changed; see [`Handle::set_workers`](crate::Handle::set_workers).
///
/// ```
/// let rt = openwork::Runtime::builder().workers(2).max_workers(2).build().unwrap();
/// rt.handle().set_workers(1).unwrap();
/// while rt.snapshot().resizing.leaving > 0 {
///     std::thread::yield_now(); // until its turn is over
/// }
/// let now = rt.snapshot().resizing;
/// assert_eq!((now.active, now.max, now.resizes), (1, 2, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResizeFigures {
    /// Workers that are meant to be in service: those with smaller numbers.
    pub active: u64,
    /// Workers that are to go out of service and still run a turn.
    pub leaving: u64,
    /// Most workers that there may be.
    pub max: u64,
    /// Times that the number was changed.
    pub resizes: u64,
    /// Routines that waited with a worker that left, and were handed on.
    pub moved: u64,
}

/// One worker at one moment.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.spawn(|| ()).join().unwrap();
/// for worker in &rt.snapshot().workers {
///     println!("worker {}: {}, {} turns, {} parks", worker.id, worker.state.name(), worker.turns(), worker.parks);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct WorkerSnapshot {
    /// Its number.
    pub id: WorkerId,
    /// What it does.
    pub state: WorkerState,
    /// Whose turn it runs.
    pub routine: Option<RoutineId>,
    /// When that turn began, in nanoseconds since process start: exact while turns are recorded,
    /// otherwise up to one tick of the kernel (4 ms as a rule) before.
    pub turn_started_ns: Option<u64>,
    /// More of that turn; `None` between turns, or if it changed while it was read.
    pub turn: Option<RunningTurn>,
    /// The routine that keeps the worker's thread also while it is blocked, by
    /// [`hold_thread`](crate::hold_thread): until it lets go, whatever else is bound to this thread waits.
    pub held_by: Option<RoutineId>,
    /// Routines in the LIFO slot: 0 or 1.
    pub lifo: u64,
    /// Routines in the deque, and those placed here that are not in it yet: all are open to thieves.
    pub local: u64,
    /// Routines ready in the queue of the home the worker holds.
    pub inbox: u64,
    /// Turns run, by [`Source`].
    pub turns_by_source: [u64; Source::COUNT],
    /// How long turns lasted, of those that ended while turns were recorded. A turn in the middle of which its worker
    /// was taken counts once for each worker that it held.
    pub turn_lengths: Latencies,
    /// Looks into one victim's deque.
    pub steal_attempts: u64,
    /// Looks that took at least one routine.
    pub steals: u64,
    /// Routines taken. The sum of [`stolen_from`](Self::stolen_from).
    pub stolen: u64,
    /// Routines taken, by victim.
    pub stolen_from: Vec<u64>,
    /// Most routines that a theft takes now; `None` if that depends on the victim alone. See
    /// [`StealAmount`](crate::config::StealAmount).
    pub steal_amount: Option<u64>,
    /// How often a search looks at all others now before the worker sleeps.
    pub search_rounds: u64,
    /// The processor that the worker ran on when it last looked, which it does only while near and far
    /// matter: with [`VictimOrder::Nearest`](crate::config::VictimOrder::Nearest).
    pub processor: Option<u32>,
    /// The memory node of that processor; `None` on a machine with one node.
    pub node: Option<u32>,
    /// Times the worker fetched work from one that had too much of it; see
    /// [`RuntimeConfig::rebalance`](crate::config::RuntimeConfig::rebalance). What any worker may run counts as
    /// stolen as well.
    pub rebalances: u64,
    /// Routines fetched so.
    pub rebalanced: u64,
    /// Times a routine came here that had run, or was to start by its key, on another worker. The sum of
    /// [`RoutineView::moves`](super::RoutineView::moves) over all routines that there ever were. What a
    /// worker that went out of service had not begun is in [`ResizeFigures::moved`] instead.
    pub migrations: u64,
    /// Times the worker went to sleep.
    pub parks: u64,
    /// Times the worker woke another one.
    pub wakes: u64,
    /// Times a routine gave way of its own accord.
    pub yields: u64,
    /// Routines that came here to start because of their key; see
    /// [`Builder::affinity`](crate::Builder::affinity).
    pub keyed: u64,
    /// Times a routine was seen to have grown its stack past another power of two.
    pub stack_growths: u64,
    /// Time in turns, in nanoseconds. Complete when the worker has run out of turns; while it runs
    /// them it lags behind by the time since [`turn_started_ns`](Self::turn_started_ns).
    pub busy_ns: u64,
    /// Time looking for work, in nanoseconds.
    pub searching_ns: u64,
    /// Routines spawned here.
    pub spawned: u64,
    /// Routines ended here.
    pub ended: u64,
    /// The kernel's number of the thread that holds the worker; 0 if none does.
    pub thread_id: i32,
    /// Its deadlines.
    pub timers: TimerFigures,
}

/// Deadlines that a worker keeps. Added since the start: `pending + served + cancelled`.
///
/// ```
/// use openwork::{Runtime, time};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| time::sleep(Duration::from_millis(1)));
/// let timers = rt.snapshot().workers[0].timers;
/// assert_eq!((timers.served, timers.pending), (1, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerFigures {
    /// Not yet due, or not yet served.
    pub pending: u64,
    /// Served at or after their time.
    pub served: u64,
    /// Taken back before they were served, because the wait ended early.
    pub cancelled: u64,
    /// The longest time by which one was served late, in nanoseconds. What it readied may have waited
    /// for its turn besides.
    pub late_max_ns: u64,
}

impl WorkerSnapshot {
    /// Routines ready to run here, without the one that runs.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let worker = &rt.snapshot().workers[0];
    /// assert_eq!(worker.queue_depth(), worker.lifo + worker.local + worker.inbox);
    /// ```
    pub fn queue_depth(&self) -> u64 {
        self.lifo + self.local + self.inbox
    }

    /// Turns run.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.spawn(|| ()).join().unwrap();
    /// assert_eq!(rt.snapshot().workers[0].turns(), 1);
    /// ```
    pub fn turns(&self) -> u64 {
        self.turns_by_source.iter().sum()
    }
}

/// The turn that a worker runs now: what its [`TurnRecord`](super::TurnRecord) will say once it is over.
///
/// ```
/// use openwork::Runtime;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let handle = rt.handle();
/// rt.block_on(|| {
///     let turn = handle.snapshot().workers[0].turn.expect("it runs");
///     println!("routine {} of {}, from the {}", turn.routine, turn.site, turn.source.name());
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningTurn {
    /// When it began, in nanoseconds since process start.
    pub start_ns: u64,
    /// Whose turn.
    pub routine: RoutineId,
    /// Where that routine was spawned.
    pub site: &'static Location<'static>,
    /// Where the worker found it.
    pub source: Source,
    /// What it belongs to.
    pub workload: Option<WorkloadId>,
}
