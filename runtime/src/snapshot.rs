//! Plain values that describe a runtime at one moment.
//!
//! Nothing here is live: a value is read once and never changes. Cumulative counts begin with the
//! runtime and never go down.

mod turns;

use std::panic::Location;

use crate::config::RuntimeConfig;
pub use crate::id::{ObjectId, RoutineId, WorkerId, WorkloadId};
pub use crate::priority::Priority;
pub use crate::sync::Owner;
pub use turns::{AbsenceRecord, AbsentThread, TurnEnd};

use crate::stack::{self, StackClass};

/// How the guard page at the foot of each stack is made.
///
/// ```
/// use openwork::{Runtime, snapshot::GuardMode};
///
/// let rt = Runtime::builder().workers(1).guard(GuardMode::Mprotect).build().unwrap();
/// assert_eq!(rt.snapshot().stacks.mode, GuardMode::Mprotect);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardMode {
    /// Let the runtime choose: [`Light`](Self::Light) where the kernel has it.
    Auto,
    /// `madvise(MADV_GUARD_INSTALL)`, Linux 6.13 or later: no mapping per stack.
    Light,
    /// `mprotect`: two mappings per stack, so the number of stacks is bounded by `vm.max_map_count`.
    Mprotect,
    /// The system's own, below the stack of each thread: where each routine has an OS thread, in builds with
    /// the feature `portable` and on systems that need it. No other can be had there, nor this one
    /// elsewhere.
    System,
}

impl GuardMode {
    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::GuardMode::Mprotect.name(), "mprotect");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            GuardMode::Auto => "auto",
            GuardMode::Light => "light",
            GuardMode::Mprotect => "mprotect",
            GuardMode::System => "system",
        }
    }
}

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

/// What a blocked routine waits for.
///
/// ```
/// use openwork::{Runtime, snapshot::WaitReason, time};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let sleeper = rt.spawn(|| time::sleep(Duration::from_secs(3600)));
/// while rt.snapshot().routines.blocked_by[WaitReason::Sleep as usize] == 0 {
///     std::thread::yield_now();
/// }
/// sleeper.abort();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WaitReason {
    /// A deadline.
    Sleep,
    /// The end of another routine.
    Join,
    /// The end of a scope's routines.
    Scope,
    /// A lock.
    Lock,
    /// A channel.
    Channel,
    /// A socket, pipe or file.
    Io,
    /// A waker: the routine is a future that returned `Pending`.
    Future,
    /// A stack: all are in use. Such a routine is still [`RoutineState::New`].
    Stack,
    /// Permits of a semaphore.
    Semaphore,
    /// A condition: a condition variable or a notification.
    Condition,
    /// Others: a barrier, a latch or a wait group.
    Barrier,
    /// An initialisation that another one has begun.
    Once,
    /// A job of the blocking pool.
    Blocking,
    /// Its thread: ready to run, and bound to a home whose thread is stopped or sleeps in the kernel in
    /// the turn of another routine, [`RoutineView::busy_with`]. Such a routine is a *hostage*.
    ThreadBusy,
}

impl WaitReason {
    /// How many reasons there are.
    pub const COUNT: usize = 14;

    /// Every reason, in the order of [`RoutineCounts::blocked_by`].
    pub const ALL: [WaitReason; WaitReason::COUNT] = [
        WaitReason::Sleep,
        WaitReason::Join,
        WaitReason::Scope,
        WaitReason::Lock,
        WaitReason::Channel,
        WaitReason::Io,
        WaitReason::Future,
        WaitReason::Stack,
        WaitReason::Semaphore,
        WaitReason::Condition,
        WaitReason::Barrier,
        WaitReason::Once,
        WaitReason::Blocking,
        WaitReason::ThreadBusy,
    ];

    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::WaitReason::Barrier.name(), "barrier");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            WaitReason::Sleep => "sleep",
            WaitReason::Join => "join",
            WaitReason::Scope => "scope",
            WaitReason::Lock => "lock",
            WaitReason::Channel => "channel",
            WaitReason::Io => "io",
            WaitReason::Future => "future",
            WaitReason::Stack => "stack",
            WaitReason::Semaphore => "semaphore",
            WaitReason::Condition => "condition",
            WaitReason::Barrier => "barrier",
            WaitReason::Once => "once",
            WaitReason::Blocking => "blocking",
            WaitReason::ThreadBusy => "thread_busy",
        }
    }

    pub(crate) const fn from_u8(raw: u8) -> WaitReason {
        WaitReason::ALL[raw as usize]
    }
}

/// Where a routine is in its life.
///
/// ```
/// use openwork::{Runtime, snapshot::{RoutineState, WaitReason}, time};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let sleeper = rt.spawn(|| time::sleep(Duration::from_secs(3600)));
/// let state = || rt.handle().routine(sleeper.id()).unwrap().state;
/// while state() != RoutineState::Blocked(WaitReason::Sleep) {
///     std::thread::yield_now();
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoutineState {
    /// Spawned, not started: it has no stack and any worker may take it.
    New,
    /// Waits for a worker.
    Runnable,
    /// Runs on a worker.
    Running,
    /// Waits for something else.
    Blocked(WaitReason),
    /// Returned, panicked or was cancelled.
    Ended,
}

impl RoutineState {
    /// The word shown to people and programs, without the reason.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::RoutineState::Runnable.name(), "runnable");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            RoutineState::New => "new",
            RoutineState::Runnable => "runnable",
            RoutineState::Running => "running",
            RoutineState::Blocked(_) => "blocked",
            RoutineState::Ended => "ended",
        }
    }
}

/// How a routine is run.
///
/// ```
/// use openwork::{Runtime, snapshot::RoutineKind};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let future = rt.spawn_future(std::future::pending::<()>());
/// assert_eq!(rt.handle().routine(future.id()).unwrap().kind, RoutineKind::Turns);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoutineKind {
    /// A closure with a stack of its own, bound to its home from its first turn on.
    Stackful,
    /// A future or a turn loop: each turn borrows a stack, and between turns it may move.
    Turns,
}

impl RoutineKind {
    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::RoutineKind::Stackful.name(), "stackful");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            RoutineKind::Stackful => "stackful",
            RoutineKind::Turns => "turns",
        }
    }
}

/// What a routine mostly does, judged by what it has done of late.
///
/// ```
/// use openwork::snapshot::RoutineClass;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let (tx, rx) = openwork::channel::bounded::<u8>(1);
/// let echo = rt.spawn(move || rx.iter().count());
/// (0..100).for_each(|n| tx.send(n).unwrap());
/// let class = rt.handle().routine(echo.id()).and_then(|view| view.class);
/// println!("it is {}", class.map_or("not known yet", RoutineClass::name)); // io, most likely
/// # drop(tx);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoutineClass {
    /// It computes: more than a millisecond from one wait to the next, as far as the kernel's ticks tell, or
    /// it gives way again and again and hardly ever waits.
    Cpu,
    /// It waits: for others, for sockets, for time.
    Io,
}

impl RoutineClass {
    /// The word shown to people and programs.
    ///
    /// ```
    /// use openwork::snapshot::RoutineClass;
    /// assert_eq!([RoutineClass::Cpu, RoutineClass::Io].map(RoutineClass::name), ["cpu", "io"]);
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            RoutineClass::Cpu => "cpu",
            RoutineClass::Io => "io",
        }
    }
}

/// Why a worker changed threads.
///
/// ```
/// let words: Vec<_> = openwork::snapshot::HandOff::ALL.iter().map(|why| why.name()).collect();
/// assert_eq!(words, ["blocked", "frozen", "direct"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandOff {
    /// Its thread slept in the kernel.
    Blocked,
    /// Its thread was stopped, because its turn lasted too long.
    Frozen,
    /// Its thread gave it to one that wanted a worker.
    Direct,
}

impl HandOff {
    /// How many reasons there are.
    pub const COUNT: usize = 3;

    /// Every reason, in the order of [`ThreadFigures::handed_off_by`].
    pub const ALL: [HandOff; HandOff::COUNT] = [HandOff::Blocked, HandOff::Frozen, HandOff::Direct];

    /// The word shown to people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            HandOff::Blocked => "blocked",
            HandOff::Frozen => "frozen",
            HandOff::Direct => "direct",
        }
    }
}

/// Threads that run routines: those that hold workers, and those that wait for one.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
/// let threads = rt.snapshot().threads;
/// assert_eq!((threads.total, threads.peak, threads.wanting), (2, 2, 0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadFigures {
    /// Threads that there are.
    pub total: u64,
    /// Those that have no worker and nothing to run.
    pub spare: u64,
    /// Homes that want a worker: their threads have come back from the kernel, are frozen, or have routines
    /// to run that are bound to them.
    pub wanting: u64,
    /// Threads that run a routine without a worker: in the kernel, as a rule.
    pub away: u64,
    /// Threads that were stopped because their turn lasted too long.
    pub frozen: u64,
    /// Most threads that there were at once.
    pub peak: u64,
    /// Most threads that there may be.
    pub limit: u64,
    /// There are as many as there may be, and none is spare. A routine that blocks its thread keeps its worker then,
    /// unless a home wants one, and one that computes on may keep it too; whoever waits goes on when they end.
    pub at_limit: bool,
    /// Threads that were started to have some spare.
    pub started: u64,
    /// Threads that the system refused.
    pub refused: u64,
    /// Threads that have gone because nobody needed them.
    pub retired: u64,
    /// Times that a worker changed threads, by reason; see [`HandOff::ALL`].
    pub handed_off_by: [u64; HandOff::COUNT],
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

/// What a started routine is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HomeVersion {
    /// The OS thread on which it began.
    #[default]
    Threads,
    /// A thread identity that goes with it from thread to thread.
    Travelling,
}

impl HomeVersion {
    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::HomeVersion::Travelling.name(), "travelling");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            HomeVersion::Threads => "threads",
            HomeVersion::Travelling => "travelling",
        }
    }
}

/// What started routines are bound to, and how many of that there are.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).travelling_homes(16).build().unwrap();
/// let homes = rt.snapshot().homes;
/// println!("{}: {}", homes.version.name(), homes.reason);
/// assert!(homes.travelling.is_none_or(|figures| figures.limit <= 16));
/// ```
#[derive(Clone, Debug, Default)]
pub struct HomeFigures {
    /// Which version is on.
    pub version: HomeVersion,
    /// Why, in a sentence.
    pub reason: String,
    /// Figures of travelling homes, `None` where there are none.
    pub travelling: Option<TravellingFigures>,
}

/// Figures of travelling homes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TravellingFigures {
    /// Most homes at once: what was asked for, or what the system bears.
    pub limit: u64,
    /// Homes now.
    pub homes: u64,
    /// Homes that no routine has and no worker keeps ready.
    pub free: u64,
    /// Routines that share a home with others now.
    pub sharing: u64,
    /// Homes that were made so far.
    pub made: u64,
    /// Homes that have ended so far.
    pub ended: u64,
    /// Those of them that could not be used again: left in the middle of a panic, or mounted while the
    /// process changed its credentials.
    pub spoilt: u64,
    /// Times that the system refused a home.
    pub refused: u64,
    /// Routines that began on a home of others, so far.
    pub shared: u64,
    /// Turns that ran under a home.
    pub mounts: u64,
    /// Turns that were put off because another routine of the same home ran.
    pub busy: u64,
    /// Address space of all homes' stacks, in bytes. Resident is about a fifth of it as a rule, and what
    /// allocators keep for threads comes on top.
    pub stack_bytes: u64,
}

/// How the processors of the machine are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopologyFigures {
    /// Processors that are on.
    pub processors: u64,
    /// Cores: groups of processors that share one.
    pub cores: u64,
    /// Groups of processors that share the last cache before memory.
    pub caches: u64,
    /// Packages.
    pub packages: u64,
    /// Memory nodes.
    pub nodes: u64,
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
    /// [`RuntimeConfig::rebalance`]. What any worker may run counts as stolen as well.
    pub rebalances: u64,
    /// Routines fetched so.
    pub rebalanced: u64,
    /// Times a routine came here that had run, or was to start by its key, on another worker. The sum of
    /// [`RoutineView::moves`] over all routines that there ever were. What a worker that went out of service had
    /// not begun is in [`ResizeFigures::moved`] instead.
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

/// The turn that a worker runs now: what its [`TurnRecord`] will say once it is over.
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

/// Routines by state. `new + runnable + running + blocked + ended = spawned`.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.spawn(|| ()).join().unwrap();
/// let counts = rt.snapshot().routines;
/// assert_eq!((counts.spawned, counts.ended, counts.panicked), (1, 1, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoutineCounts {
    /// Spawned since the start.
    pub spawned: u64,
    /// Not started yet.
    pub new: u64,
    /// Waiting for a worker.
    pub runnable: u64,
    /// On a worker.
    pub running: u64,
    /// Waiting for something else.
    pub blocked: u64,
    /// Ended since the start.
    pub ended: u64,
    /// The blocked ones by [`WaitReason`]; the entry of [`WaitReason::Stack`] counts routines that
    /// are `new` and wait for a stack, and is not part of `blocked`.
    pub blocked_by: [u64; WaitReason::COUNT],
    /// Of the ended ones, those that panicked.
    pub panicked: u64,
    /// Of the ended ones, those that were cancelled.
    pub cancelled: u64,
}

impl RoutineCounts {
    /// All but the ended ones.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let waits = rt.spawn_future(std::future::pending::<()>());
    /// assert_eq!(rt.snapshot().routines.live(), 1);
    /// # drop(waits);
    /// ```
    pub fn live(&self) -> u64 {
        self.spawned - self.ended
    }
}

/// Stacks of a runtime.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let stacks = rt.snapshot().stacks;
/// println!("{} in use of {} bytes each, guards by {}", stacks.in_use, stacks.slot_bytes, stacks.mode.name());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackFigures {
    /// How guards are made here; never [`GuardMode::Auto`].
    pub mode: GuardMode,
    /// Size of a default slot with its guard, in bytes.
    pub slot_bytes: u64,
    /// Slots that a routine uses.
    pub in_use: u64,
    /// Slots kept warm by workers.
    pub pooled: u64,
    /// Slots that were used before and wait without memory.
    pub free: u64,
    /// Most slots at once, if bounded.
    pub limit: Option<u64>,
    /// Routines that wait for a slot.
    pub waiting: u64,
    /// Growths seen, over all workers.
    pub growths: u64,
    /// Routines by deepest stack seen at a suspension: entry `i` counts those over `2 KiB << i` and
    /// up to `4 KiB << i` (the first: up to 4 KiB; the last: all beyond). A routine that never
    /// suspended was never measured and is in none.
    pub high_water: [u64; 16],
    /// Address space reserved, in bytes. Not memory.
    pub reserved_bytes: u64,
    /// Times that memory was taken from a stack that goes on: of a routine that was parked for long, or
    /// that was used deep and waits in a pool.
    pub shrinks: u64,
    /// Bytes so given back, resident before.
    pub shrunk_bytes: u64,
    /// Of the slots in use, those that routines have beside their own; see
    /// [`with_segment`](crate::with_segment).
    pub segments: u64,
    /// Segments that there were so far.
    pub segments_entered: u64,
    /// Overflows that ended their routine alone. The slots of these, segments included, count as in use for
    /// ever; see [`Builder::contain_overflow`](crate::Builder::contain_overflow).
    pub contained: u64,
}

/// Stacks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackClassFigures {
    /// Size of a slot with its guard, in bytes: a power of two.
    pub slot_bytes: u64,
    /// Slots that routines use.
    pub in_use: u64,
    /// Slots kept warm by workers.
    pub pooled: u64,
    /// Slots that were used before and wait without memory.
    pub free: u64,
    /// Address space reserved, in bytes. Not memory.
    pub reserved_bytes: u64,
}

/// How deep the stacks of the routines from one spawn site were; see
/// [`Handle::stack_sites`](crate::Handle::stack_sites).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackSite {
    /// Where they were spawned.
    pub site: &'static Location<'static>,
    /// The largest slot that one of them had, in bytes.
    pub slot_bytes: u64,
    /// Routines measured: those that suspended at least once.
    pub measured: u64,
    /// Times that one was seen to have grown past another power of two.
    pub growths: u64,
    /// The deepest seen at a suspension, in bytes.
    pub high_water_bytes: u64,
}

impl StackSite {
    /// The stack size to be advised, in bytes: the smallest slot that holds twice the deepest stack seen,
    /// and the 24 KiB that a panic with a backtrace takes on top of that, and a guard page.
    ///
    /// Twice, because a depth that was reached and left between two suspensions was not seen: it is
    /// advice, and no promise.
    ///
    /// ```
    /// use openwork::snapshot::StackSite;
    /// let mut found = StackSite {
    ///     site: std::panic::Location::caller(),
    ///     slot_bytes: 64 << 10,
    ///     measured: 1,
    ///     growths: 0,
    ///     high_water_bytes: 1_000,
    /// };
    /// assert_eq!(found.advised_bytes(), 32 << 10);
    /// found.high_water_bytes = 30 << 10;
    /// assert_eq!(found.advised_bytes(), 128 << 10);
    /// ```
    pub fn advised_bytes(&self) -> u64 {
        const PANIC_BYTES: u64 = 24 << 10;
        let guard = stack::guard_bytes() as u64;
        let needed = self
            .high_water_bytes
            .saturating_mul(2)
            .saturating_add(PANIC_BYTES + guard);
        let class = StackClass::for_bytes(usize::try_from(needed).unwrap_or(usize::MAX));
        class.unwrap_or(StackClass::LARGEST).bytes() as u64
    }
}

/// The pool that runs [`blocking`](crate::blocking) calls. A call or a
/// [`spawn_blocking`](crate::spawn_blocking) is one job.
/// `submitted = queued + running + done + withdrawn`.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| openwork::blocking(|| ()));
/// let pool = rt.snapshot().blocking;
/// assert_eq!(pool.submitted, pool.queued + pool.running + pool.done + pool.withdrawn);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockingFigures {
    /// Most threads there may be.
    pub limit: u64,
    /// Threads there are, those included that have not begun.
    pub threads: u64,
    /// Of these, the ones without a job.
    pub idle: u64,
    /// Jobs that run; those on a caller's thread included, see [`refused`](Self::refused).
    pub running: u64,
    /// Jobs that wait for a thread.
    pub queued: u64,
    /// Jobs so far.
    pub submitted: u64,
    /// Jobs that have returned or panicked.
    pub done: u64,
    /// Jobs taken back before they began, because their caller was cancelled.
    pub withdrawn: u64,
    /// Threads started so far.
    pub started: u64,
    /// Threads that ended because they had nothing to do.
    pub retired: u64,
    /// Threads that the system would not start. Jobs then wait for others, or with none run on their
    /// caller's thread, on its routine's stack.
    pub refused: u64,
    /// The longest that a job has waited for a thread, or waits now, in nanoseconds.
    pub longest_wait_ns: u64,
}

/// How the kernel tells a runtime that sockets have something.
///
/// ```
/// use openwork::{Runtime, snapshot::IoBackend};
///
/// let rt = Runtime::builder().workers(1).io_backend(IoBackend::Uring).build().unwrap();
/// rt.block_on(|| drop(openwork::net::UdpSocket::bind("127.0.0.1:0").unwrap()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IoBackend {
    /// Let the runtime choose: [`Epoll`](Self::Epoll), which was measured to cost as much CPU time for a
    /// request, or less.
    Auto,
    /// epoll.
    Epoll,
    /// io_uring (Linux 5.13 or later); epoll where the kernel refuses it, as in most containers.
    Uring,
    /// What the system has, by the crate `polling`: in builds with the feature `portable` and on systems that
    /// need it, where there is no other.
    Portable,
}

impl IoBackend {
    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::IoBackend::Epoll.name(), "epoll");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            IoBackend::Auto => "auto",
            IoBackend::Epoll => "epoll",
            IoBackend::Uring => "io_uring",
            IoBackend::Portable => "polling",
        }
    }
}

/// Why a runtime has the [`IoBackend`] that it has.
///
/// ```
/// use openwork::{Runtime, net::UdpSocket, snapshot::{IoBackend, IoReason}};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).io_backend(IoBackend::Epoll).build().unwrap();
/// rt.block_on(|| {
///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
///     socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
///     socket.recv(&mut [0]).unwrap_err(); // waits, so there is a poller now
/// });
/// assert_eq!(rt.snapshot().io.unwrap().reason, IoReason::Asked);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IoReason {
    /// It was asked for.
    Asked,
    /// None was asked for, and this is the one that was measured to be better.
    Measured,
    /// The one that was asked for is refused by the kernel.
    Refused {
        /// The kernel's error number.
        errno: i32,
    },
    /// This build has no other.
    OnlyOne,
}

impl std::fmt::Display for IoReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IoReason::Asked => f.write_str("asked for"),
            IoReason::Measured => f.write_str("measured to be better"),
            IoReason::OnlyOne => f.write_str("the only one of this build"),
            IoReason::Refused { errno } => {
                let why = std::io::Error::from_raw_os_error(*errno);
                write!(f, "the kernel refuses io_uring: {why}")
            }
        }
    }
}

/// What a runtime's poller does.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// match rt.snapshot().io {
///     Some(io) => println!("{} sockets watched by {}", io.sockets, io.backend.name()),
///     None => println!("no routine has waited for a socket yet"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoFigures {
    /// How it asks the kernel; never [`IoBackend::Auto`].
    pub backend: IoBackend,
    /// Why that way.
    pub reason: IoReason,
    /// Sockets watched now.
    pub sockets: u64,
    /// Times a worker slept in the poller.
    pub waits: u64,
    /// Times a worker looked into it without sleeping.
    pub looks: u64,
    /// Events taken from the kernel.
    pub events: u64,
    /// Waiters that events have woken.
    pub readied: u64,
    /// Events that came when their socket had gone.
    pub late: u64,
}

/// One routine at one moment.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let waits = rt.spawn_future(std::future::pending::<()>());
/// let view = rt.handle().routine(waits.id()).unwrap();
/// println!("routine {}, {}, spawned at {}", view.id, view.state.name(), view.site);
/// assert_eq!(view.parent, None);
/// ```
#[derive(Clone, Debug)]
pub struct RoutineView {
    /// Its number.
    pub id: RoutineId,
    /// Its name, if it was given one; at most 31 bytes are kept.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// Where it is in its life.
    pub state: RoutineState,
    /// Since when, in nanoseconds since process start: exact to a turn while turns are recorded,
    /// otherwise up to one tick of the kernel (4 ms as a rule) before the truth.
    pub state_since_ns: u64,
    /// When it was spawned, in nanoseconds since process start.
    pub spawned_at_ns: u64,
    /// Who spawned it; `None` if that was not a routine.
    pub parent: Option<RoutineId>,
    /// The worker that ran it last.
    pub worker: Option<WorkerId>,
    /// What it belongs to.
    pub workload: Option<WorkloadId>,
    /// Turns run.
    pub turns: u64,
    /// Times it ran on another worker than before, or was taken from the one that its key names.
    pub moves: u64,
    /// What it mostly does; `None` while there is too little to tell.
    pub class: Option<RoutineClass>,
    /// Workers it ran on: bit `i` for worker `i`, bit 63 for all from 63 on.
    pub workers_mask: u64,
    /// How it is run.
    pub kind: RoutineKind,
    /// Whether it goes before or after others.
    pub priority: Priority,
    /// The home it is bound to; `None` before its first turn and between turns.
    pub home: Option<u32>,
    /// Whether it is new and waits for a stack, all being in use.
    pub awaits_stack: bool,
    /// Its stack; `None` when it has none.
    pub stack: Option<StackView>,
    /// At what it waits, if it is blocked there: set for [`WaitReason::Lock`], `Channel`, `Semaphore`,
    /// `Condition`, `Barrier` and `Once`, but not for futures between two polls. With a `select!` it is
    /// one of its channels. Written at each such wait, for one store; see
    /// [`Handle::waits`](crate::Handle::waits) for who holds it.
    pub waits_at: Option<ObjectId>,
    /// Its thread sleeps in the kernel in the routine's turn, as the monitor has seen.
    pub in_kernel: Option<InKernel>,
    /// Since when its thread is stopped in the routine's turn, to give way to others, in nanoseconds since
    /// process start.
    pub frozen_since_ns: Option<u64>,
    /// The routine that keeps this one's thread; set for [`WaitReason::ThreadBusy`].
    pub busy_with: Option<RoutineId>,
}

/// One routine that waits for a thing that somebody may hold; see [`Handle::waits`](crate::Handle::waits).
///
/// ```
/// use openwork::{Runtime, channel, snapshot::WaitReason};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let (tx, rx) = channel::rendezvous();
/// let waits = rt.spawn(move || rx.recv());
/// let mut found = None;
/// while found.is_none() {
///     rt.handle().waits(&mut |wait| found = Some(*wait));
/// }
/// let wait = found.unwrap();
/// assert_eq!((wait.routine, wait.reason, wait.owner), (waits.id(), WaitReason::Channel, None));
/// # tx.send(()).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitView {
    /// Who waits.
    pub routine: RoutineId,
    /// What for.
    pub reason: WaitReason,
    /// At what.
    pub object: ObjectId,
    /// Who holds it: the writer of a lock, or who runs an initialisation. `None` if nobody does, if
    /// readers do, or if it is nothing that is held.
    pub owner: Option<Owner>,
}

impl RoutineView {
    /// What the routine waits for: set for the blocked ones, and for new ones without a stack.
    ///
    /// ```
    /// use openwork::{Runtime, snapshot::WaitReason};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let waits = rt.spawn_future(std::future::pending::<()>());
    /// let reason = || rt.handle().routine(waits.id()).unwrap().wait_reason();
    /// while reason() != Some(WaitReason::Future) {
    ///     std::thread::yield_now();
    /// }
    /// ```
    pub fn wait_reason(&self) -> Option<WaitReason> {
        match self.state {
            RoutineState::Blocked(reason) => Some(reason),
            RoutineState::New if self.awaits_stack => Some(WaitReason::Stack),
            _ => None,
        }
    }
}

/// The stack of one routine, as seen at its last suspension.
///
/// ```
/// use openwork::{Runtime, time};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let sleeper = rt.spawn(|| time::sleep(Duration::from_secs(3600)));
/// let depth = || rt.handle().routine(sleeper.id())?.stack?.depth_bytes;
/// while depth().is_none() {
///     std::thread::yield_now(); // until it has suspended
/// }
/// assert!(depth() <= rt.handle().routine(sleeper.id()).unwrap().stack.unwrap().high_water_bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackView {
    /// Size of the slot with its guard, in bytes.
    pub size_bytes: u64,
    /// Depth at the last suspension, in bytes; `None` before the first one.
    pub depth_bytes: Option<u64>,
    /// Deepest seen at a suspension, in bytes; `None` before the first one.
    pub high_water_bytes: Option<u64>,
    /// Segments that it is in, one in the other; see [`with_segment`](crate::with_segment). Depths leave
    /// them out: [`Handle::stack`](crate::Handle::stack) tells of each.
    pub segments: u32,
    /// Segments it was ever in.
    pub segments_entered: u64,
}

/// The stacks of one blocked routine; see [`Handle::stack`](crate::Handle::stack).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackDetail {
    /// Whose.
    pub routine: RoutineId,
    /// Its own stack and, in the order in which they were entered, its segments: the last is the one
    /// that it blocked on.
    pub parts: Vec<StackDetailPart>,
}

/// One of a routine's stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackDetailPart {
    /// Size of the slot with its guard, in bytes.
    pub slot_bytes: u64,
    /// Bytes in use.
    pub depth_bytes: u64,
    /// Bytes that are left before the guard.
    pub guard_distance_bytes: u64,
    /// Bytes of memory behind it; `None` where the system does not tell.
    pub resident_bytes: Option<u64>,
}

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

/// Memory that sampled routines' stacks occupy, of one spawn site; see
/// [`Handle::sample_site_residency`](crate::Handle::sample_site_residency).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteResidency {
    /// Where they were spawned.
    pub site: &'static Location<'static>,
    /// Routines that have a stack.
    pub routines: u64,
    /// Of these, the ones whose pages were counted.
    pub sampled: u64,
    /// Resident bytes of the sampled ones.
    pub resident_bytes: u64,
}

/// Memory that sampled routines' stacks occupy.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// if let Some(sample) = rt.handle().sample_residency(100) {
///     assert_eq!((sample.sampled, sample.resident_bytes), (0, 0), "no routine has a stack");
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidencySample {
    /// Routines that have a stack.
    pub routines: u64,
    /// Of these, the ones whose pages were counted.
    pub sampled: u64,
    /// Resident bytes of the sampled ones.
    pub resident_bytes: u64,
}

/// How long something took, so and so many times.
///
/// ```
/// use openwork::snapshot::Latencies;
/// let mut seen = Latencies::default();
/// assert_eq!(seen.quantile(0.5), None);
/// seen.count = 3;
/// seen.buckets[4] = 2; // two within 16 us, but not within 8
/// seen.buckets[10] = 1;
/// seen.max_ns = 900_000;
/// assert_eq!(seen.quantile(0.5), Some(16_000));
/// assert_eq!(seen.quantile(0.99), Some(900_000));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// How often. The sum of [`buckets`](Self::buckets).
    pub count: u64,
    /// All together, in nanoseconds.
    pub sum_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// Entry `i` counts those of up to `1 us << i` that are not in an entry before; the last one counts
    /// all beyond as well.
    pub buckets: [u64; Latencies::BUCKETS],
}

impl Latencies {
    /// Number of [`buckets`](Self::buckets).
    pub const BUCKETS: usize = 26;

    /// A bound that so much of them kept to, in nanoseconds: the end of the bucket in which the quantile lies,
    /// or the longest, if that is less. `None` if there are none.
    pub fn quantile(&self, of: f64) -> Option<u64> {
        let wanted = (of * self.count as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let bucket = self.buckets.iter().position(|&n| {
            below += n;
            below >= wanted
        });
        (self.count != 0).then(|| {
            let last = Self::BUCKETS - 1;
            match bucket {
                Some(bucket) if bucket < last => (1_000 << bucket).min(self.max_ns),
                _ => self.max_ns,
            }
        })
    }
}

/// A system call in which a thread sleeps.
///
/// ```
/// use openwork::snapshot::SystemCall;
/// # #[cfg(target_arch = "x86_64")]
/// assert_eq!(SystemCall { number: 0, arguments: [0; 6] }.name(), Some("read"));
/// assert_eq!(SystemCall { number: 99_999, arguments: [0; 6] }.name(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// Its number on this machine.
    pub number: u32,
    /// What it was called with, as the registers have it.
    pub arguments: [u64; 6],
}

impl SystemCall {
    /// Its name, as in section 2 of the manual; `None` for one that is newer than this crate's table.
    pub fn name(&self) -> Option<&'static str> {
        syscalls::Sysno::new(self.number as usize).map(|call| call.name())
    }
}

/// A sleep in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InKernel {
    /// Since when, in nanoseconds since process start, as far as looks a few milliseconds apart can tell.
    pub since_ns: u64,
    /// In which call; `None` if the system does not say, or the sleep is over by now.
    pub call: Option<SystemCall>,
}

/// What the monitor's thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MonitorState {
    /// There is none: nothing asks for it.
    #[default]
    Off,
    /// It looks round every few milliseconds.
    Watching,
    /// It sleeps as long as all workers do.
    Asleep,
}

impl MonitorState {
    /// The word shown to people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            MonitorState::Off => "off",
            MonitorState::Watching => "watching",
            MonitorState::Asleep => "asleep",
        }
    }
}

/// How the monitor tells a thread that sleeps in the kernel from one that waits for a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// By `/proc`.
    #[default]
    Proc,
    /// By its processor clock alone, which must stand still for 10 ms: `/proc` is missing.
    Clock,
}

impl Probe {
    /// The word shown to people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Probe::Proc => "proc",
            Probe::Clock => "clock",
        }
    }
}

/// The thread that watches the others, and what it has done. A turn that lasts longer than its slice while
/// others wait is *requested* to give way. It does so at a safe point, or is frozen by a signal if that is
/// asked for; the signal may find it inside the runtime, or find another turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonitorFigures {
    /// What it does.
    pub state: MonitorState,
    /// How sleeping threads are told.
    pub probe: Probe,
    /// Times it looked round.
    pub looks: u64,
    /// Processor time it has used, in nanoseconds; `None` while it is off.
    pub cpu_ns: Option<u64>,
    /// Turns that were asked to give way.
    pub requested: u64,
    /// Of these, those that did so at a safe point.
    pub honoured: u64,
    /// Signals that found their thread inside the runtime, where the request was left for later.
    pub deferred: u64,
    /// Signals that froze their thread.
    pub forced: u64,
    /// Signals that found another turn.
    pub stale: u64,
    /// Turns that were to be frozen when no thread was there to go on.
    pub at_cap: u64,
    /// Workers taken from threads that sleep in the kernel.
    pub retaken: u64,
    /// Frozen threads that were let go without a worker, because nothing else got on.
    pub released: u64,
    /// Deadlines that another worker served than their own, whose thread was in a long turn.
    pub timers_rescued: u64,
    /// From the signal until the thread stands.
    pub signal_to_frozen: Latencies,
    /// From its being given a worker, or let go, until it runs.
    pub frozen_to_running: Latencies,
    /// From falling asleep in the kernel, as far as is known, until the worker is taken.
    pub blocked_to_noticed: Latencies,
    /// Routines that are ready to run while their thread is stopped or asleep, at the last look.
    pub hostages: u64,
    /// Since when the thread that has had some for longest has them, in nanoseconds since process start.
    pub hostages_since_ns: Option<u64>,
    /// Times that a thread came to have some.
    pub hostage_episodes: u64,
    /// Reports made; see [`Handle::hostage_deadlocks`](crate::Handle::hostage_deadlocks).
    pub hostage_deadlocks: u64,
}

/// A thread that slept in `futex(2)` for a second while routines were ready that only it can run: most likely
/// one of those holds what it waits for. See `docs/hazards.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostageDeadlock {
    /// When it was reported, in nanoseconds since process start.
    pub at_ns: u64,
    /// Since when the thread sleeps.
    pub since_ns: u64,
    /// Whose turn it is in.
    pub routine: RoutineId,
    /// That routine's name.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// The kernel's number of the thread.
    pub thread_id: i32,
    /// The system call. The last three arguments are not kept.
    pub call: SystemCall,
    /// The address of the word that it sleeps at: for a lock of the standard library, the lock.
    pub futex_address: u64,
    /// How many routines wait for the thread.
    pub hostages: u64,
}
