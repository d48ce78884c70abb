//! What all sockets share: try, wait, try again.
//!
//! The standard library's sockets, made non-blocking, do the system calls. What is added here is the
//! waiting: a routine waits by the poller of its runtime, a plain thread by `ppoll`.

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use crate::net::error;
use crate::poller::os::{self, AsSource};
use crate::poller::{self, Direction, Watch};
use crate::scheduler::block::{self, Context};
use crate::scheduler::timers::NEVER;
use crate::scheduler::{Shared, explore, threads};
use crate::snapshot::WaitReason;
use crate::sync::wait::Woken;
use crate::{cancel, time};

/// A non-blocking socket and how to wait for it.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    /// Before the socket: it must not be closed while it is watched.
    watches: Watches,
    inner: S,
    limits: [Limit; 2],
    closed: AtomicBool,
    nonblocking: AtomicBool,
}

/// How long a direction may take.
#[derive(Debug)]
struct Limit {
    /// In nanoseconds; 0 for none.
    timeout: AtomicU64,
    /// In nanoseconds since process start, or [`NEVER`].
    deadline: AtomicU64,
}

impl Limit {
    fn new() -> Limit {
        Limit {
            timeout: AtomicU64::new(0),
            deadline: AtomicU64::new(NEVER),
        }
    }

    /// When the time of a call that begins now is over.
    fn of_call(&self) -> u64 {
        match self.timeout.load(Relaxed) {
            0 => NEVER,
            timeout => time::now_ns().saturating_add(timeout),
        }
    }
}

/// What a try gave.
pub(crate) enum Tried<T> {
    Done(io::Result<T>),
    /// There is nothing, or there was nothing the last time and nothing has come since.
    Nothing,
}

impl<T> From<io::Result<T>> for Tried<T> {
    fn from(result: io::Result<T>) -> Tried<T> {
        match result {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Tried::Nothing,
            other => Tried::Done(other),
        }
    }
}

impl<S: AsSource> Socket<S> {
    /// `inner` must be non-blocking.
    pub(crate) fn new(inner: S) -> Socket<S> {
        Socket {
            watches: Watches::default(),
            inner,
            limits: [Limit::new(), Limit::new()],
            closed: AtomicBool::new(false),
            nonblocking: AtomicBool::new(false),
        }
    }

    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }

    pub(crate) fn into_inner(self) -> S {
        let Socket { watches, inner, .. } = self;
        drop(watches);
        inner
    }

    /// Takes over how another handle waits.
    pub(crate) fn like<T>(self, other: &Socket<T>) -> Socket<S> {
        for (mine, theirs) in self.limits.iter().zip(&other.limits) {
            mine.timeout.store(theirs.timeout.load(Relaxed), Relaxed);
            mine.deadline.store(theirs.deadline.load(Relaxed), Relaxed);
        }
        let nonblocking = other.nonblocking.load(Relaxed);
        self.nonblocking.store(nonblocking, Relaxed);
        self
    }

    /// Tries until it is done or fails, and waits in between.
    pub(crate) fn run<T>(
        &self,
        direction: Direction,
        call: &str,
        mut op: impl FnMut(&S) -> io::Result<T>,
    ) -> io::Result<T> {
        self.run_until(direction, NEVER, call, |inner, _| op(inner).into())
    }

    /// As [`run`](Self::run), with a deadline of the call's own. The try also gets the watch and its
    /// tick, if there is one whose events this caller would wait for.
    pub(crate) fn run_until<T>(
        &self,
        direction: Direction,
        deadline: u64,
        call: &str,
        mut op: impl FnMut(&S, Option<(&Watch, u64)>) -> Tried<T>,
    ) -> io::Result<T> {
        let context = block::context();
        if let Context::Routine(me) = context {
            cancel::report_if_asked(me)?;
        }
        let waits_by_events =
            matches!(context, Context::Routine(_)) && !self.nonblocking.load(Relaxed);
        let limit = &self.limits[direction as usize];
        let mut of_call = None;
        loop {
            // The tick before all else: whatever changes after it is an event, and the wait ends.
            let watch = self.watches.last().filter(|_| waits_by_events);
            let seen = watch.map(|watch| (watch, watch.source().tick(direction)));
            // Acquire, here and below: pairs with the release store in `close`.
            if self.closed.load(Acquire) {
                return Err(error::closed());
            }
            match op(&self.inner, seen) {
                Tried::Done(Err(why)) if why.kind() == io::ErrorKind::Interrupted => continue,
                Tried::Done(result) => return result,
                Tried::Nothing => {}
            }
            if self.nonblocking.load(Relaxed) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let of_call = *of_call.get_or_insert_with(|| limit.of_call().min(deadline));
            // Anew each time: a deadline may be set for those that wait already.
            let until = limit.deadline.load(Relaxed).min(of_call);
            self.wait(direction, seen, until, call)?;
        }
    }

    fn wait(
        &self,
        direction: Direction,
        seen: Option<(&Watch, u64)>,
        deadline: u64,
        call: &str,
    ) -> io::Result<()> {
        if deadline != NEVER && time::now_ns() >= deadline {
            return Err(error::timed_out());
        }
        match block::context() {
            Context::Routine(_) => {
                // The look at the runtime comes after that at the tick; see `Poller::close`.
                let Some((watch, seen)) = seen.filter(|(watch, _)| watch.is_live()) else {
                    self.watches.live_or_make(&self.inner)?;
                    // Fence: whoever changes something and finds no watch to stir does so before the
                    // look of the next round; partner is the one in `stir`.
                    fence(SeqCst);
                    return Ok(());
                };
                watch.arm(direction)?;
                match poller::wait_for(watch.source(), direction, seen, deadline, call) {
                    Woken::Done(_) => Ok(()),
                    Woken::TimedOut => Err(error::timed_out()),
                    Woken::Cancelled => Err(cancel::Cancelled.into()),
                    Woken::Refused => Err(error::refused()),
                }
            }
            // Whom it waits for may need this very thread.
            Context::Panicking(_) if deadline == NEVER => Err(error::refused()),
            Context::Thread | Context::Panicking(_) => {
                match poller::hold_for(&self.inner, direction, deadline) {
                    true => Ok(()),
                    false => Err(error::timed_out()),
                }
            }
            Context::Scheduler => block::refuse_in_scheduler(call),
        }
    }

    /// As [`run`](Self::run), where no event tells when to try again.
    #[cfg(unix)]
    pub(crate) fn insist<T>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&S) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.closed.load(Acquire) {
            return Err(error::closed());
        }
        if self.nonblocking.load(Relaxed) {
            return op(&self.inner);
        }
        let limit = &self.limits[direction as usize];
        let deadline = limit.of_call().min(limit.deadline.load(Relaxed));
        insist(deadline, || op(&self.inner))
    }

    /// Tries once; if there is nothing, the task's waker is called when there may be.
    pub(crate) fn poll<T>(
        &self,
        direction: Direction,
        cx: &task::Context<'_>,
        mut op: impl FnMut(&S) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let watch = self.watches.live_or_make(&self.inner)?;
            // Partner is the fence in `stir`.
            fence(SeqCst);
            let source = watch.source();
            let seen = source.tick(direction);
            if self.closed.load(Acquire) {
                return Poll::Ready(Err(error::closed()));
            }
            match op(&self.inner).into() {
                Tried::Done(Err(why)) if why.kind() == io::ErrorKind::Interrupted => continue,
                Tried::Done(result) => return Poll::Ready(result),
                Tried::Nothing => {}
            }
            watch.arm(direction)?;
            let (left, before) = source.leave_waker(direction, seen, cx.waker().clone());
            drop(before);
            if left && watch.is_live() {
                threads::poll_waits(WaitReason::Io);
                return Poll::Pending;
            }
        }
    }

    /// Has the socket watched by this runtime, unless another one does so.
    pub(crate) fn attach(&self, runtime: &Arc<Shared>) -> io::Result<()> {
        let watch = self
            .watches
            .live_or_make_by(&self.inner, || Ok(runtime.clone()));
        watch.map(|_| ())
    }

    /// Lets all who wait look again.
    fn stir(&self, direction: Direction) {
        // Between the change and the look for a watch; partners are the fences in `wait` and `poll`.
        fence(SeqCst);
        if let Some(watch) = self.watches.last() {
            watch.stir(direction);
        }
    }

    /// Ends what waits, and fails what comes.
    pub(crate) fn close(&self) {
        // Release pairs with the acquire loads above; a waiter that has not seen it is stirred.
        self.closed.store(true, Release);
        // For those that wait in `ppoll`, and for the peer. It fails where nothing is connected.
        let _ = socket2::SockRef::from(&self.inner).shutdown(std::net::Shutdown::Both);
        self.stir(Direction::Read);
        self.stir(Direction::Write);
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Relaxed);
    }

    pub(crate) fn set_timeout(
        &self,
        direction: Direction,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let timeout = match timeout {
            Some(Duration::ZERO) => return Err(error::zero_timeout()),
            Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
            None => 0,
        };
        let limit = &self.limits[direction as usize];
        limit.timeout.store(timeout, Relaxed);
        Ok(())
    }

    pub(crate) fn timeout(&self, direction: Direction) -> Option<Duration> {
        match self.limits[direction as usize].timeout.load(Relaxed) {
            0 => None,
            timeout => Some(Duration::from_nanos(timeout)),
        }
    }

    pub(crate) fn set_deadline(&self, direction: Direction, at: Option<Instant>) {
        let deadline = at.map_or(NEVER, deadline_at);
        let limit = &self.limits[direction as usize];
        limit.deadline.store(deadline, Relaxed);
        self.stir(direction);
    }
}

/// How long a caller waits before it asks again whether somebody else's queue has room, where no event
/// tells: doubled each time, up to the second one.
const ASK_AGAIN: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(10)];

/// Tries until it is done or fails.
pub(crate) fn insist<T>(deadline: u64, mut op: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let [mut wait, longest] = ASK_AGAIN;
    loop {
        match op() {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        let left = deadline.saturating_sub(time::now_ns());
        if left == 0 {
            return Err(error::timed_out());
        }
        time::try_sleep(wait.min(Duration::from_nanos(left)))?;
        wait = longest.min(2 * wait);
    }
}

/// Nanoseconds since process start; never [`NEVER`].
pub(crate) fn deadline_at(at: Instant) -> u64 {
    deadline_in(at.saturating_duration_since(Instant::now()))
}

pub(crate) fn deadline_in(timeout: Duration) -> u64 {
    time::deadline(timeout).min(NEVER - 1)
}

/// The poller of the runtime in which a routine first waited for the socket; should that runtime end,
/// the one of the next, and so on.
#[derive(Default)]
struct Watches {
    first: OnceLock<Box<Link>>,
    making: Mutex<()>,
}

struct Link {
    watch: Watch,
    next: OnceLock<Box<Link>>,
}

impl std::fmt::Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watches")
            .field("watched", &self.last().is_some_and(Watch::is_live))
            .finish_non_exhaustive()
    }
}

impl Watches {
    fn last(&self) -> Option<&Watch> {
        let mut link = self.first.get()?;
        while let Some(next) = link.next.get() {
            link = next;
        }
        Some(&link.watch)
    }

    fn live_or_make(&self, socket: &impl AsSource) -> io::Result<&Watch> {
        self.live_or_make_by(socket, || match threads::runtime_here() {
            None => Err(error::no_runtime()),
            Some(_) if explore::is_here() => Err(error::not_deterministic()),
            Some(runtime) => Ok(runtime),
        })
    }

    fn live_or_make_by(
        &self,
        socket: &impl AsSource,
        runtime: impl FnOnce() -> io::Result<Arc<Shared>>,
    ) -> io::Result<&Watch> {
        if let Some(watch) = self.last().filter(|watch| watch.is_live()) {
            return Ok(watch);
        }
        // Held over a system call, never over a wait.
        let _making = self.making.lock().unwrap_or_else(|e| e.into_inner());
        let mut end = &self.first;
        while let Some(link) = end.get() {
            if link.watch.is_live() {
                return Ok(&link.watch);
            }
            end = &link.next;
        }
        let watch = runtime()?.poller_or_make()?.watch(os::raw(socket))?;
        let next = OnceLock::new();
        Ok(&end.get_or_init(|| Box::new(Link { watch, next })).watch)
    }
}
