//! What waits outside the workers: calls on the pool for blocking ones, and sockets at the poller.

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
