//! Routines: what they are, where they are in their lives, and how many of them.

use std::panic::Location;

use super::{InKernel, ObjectId, Priority, RoutineId, StackView, WaitReason, WorkerId, WorkloadId};

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
