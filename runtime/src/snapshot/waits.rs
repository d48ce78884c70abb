//! What blocked routines wait for, in the runtime and in the kernel.

use super::{ObjectId, Owner, RoutineId};

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
    /// A stack: all are in use. Such a routine is still [`RoutineState::New`](super::RoutineState::New).
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
    /// the turn of another routine, [`RoutineView::busy_with`](super::RoutineView::busy_with). Such a routine is a
    /// *hostage*.
    ThreadBusy,
}

impl WaitReason {
    /// How many reasons there are.
    pub const COUNT: usize = 14;

    /// Every reason, in the order of [`RoutineCounts::blocked_by`](super::RoutineCounts::blocked_by).
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
        #[cfg(not(stackless))]
        return syscalls::Sysno::new(self.number as usize).map(|call| call.name());
        #[cfg(stackless)]
        None
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
