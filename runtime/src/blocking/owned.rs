//! Jobs that borrow nothing: whoever waits for one may leave it behind.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::thread;
use std::time::{Duration, Instant};

use super::job::{Job, Offered};
use super::pool::{Place, Pool};
use crate::cancel::{self, Cancelled};
use crate::routine::RoutineRef;
use crate::scheduler::block::{self, Context, Interrupt};
use crate::scheduler::threads;
use crate::scheduler::timers::{Alarm, NEVER};
use crate::snapshot::WaitReason;
use crate::sync::wait::Sleeper;
use crate::time;

/// Why [`blocking_timeout`] gave no value.
///
/// ```
/// use openwork::{BlockingTimeoutError, Runtime, blocking_timeout};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let late = rt.block_on(|| {
///     let slow = || std::thread::sleep(Duration::from_millis(50));
///     blocking_timeout(Duration::from_millis(1), slow)
/// });
/// assert_eq!(late, Err(BlockingTimeoutError::Timeout));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockingTimeoutError {
    /// The time is over. A job that has begun goes on alone.
    #[error("the call did not return in time")]
    Timeout,
    /// The routine was asked to end.
    #[error("the routine was asked to end")]
    Cancelled,
}

impl From<Cancelled> for BlockingTimeoutError {
    fn from(_: Cancelled) -> BlockingTimeoutError {
        BlockingTimeoutError::Cancelled
    }
}

impl From<BlockingTimeoutError> for io::Error {
    /// Of kind [`TimedOut`](io::ErrorKind::TimedOut), or as that of a [`Cancelled`].
    fn from(error: BlockingTimeoutError) -> io::Error {
        match error {
            BlockingTimeoutError::Timeout => io::Error::new(io::ErrorKind::TimedOut, error),
            BlockingTimeoutError::Cancelled => Cancelled.into(),
        }
    }
}

/// As [`blocking`](crate::blocking), but waits no longer than `timeout`, and a cancel ends the wait too.
///
/// So `f` must own what it needs. If it has not begun when the time is over, it never runs; otherwise it goes
/// on alone, its value is dropped, and the end of the runtime waits for it. A plain thread has `f` run by
/// another one.
///
/// ```
/// use openwork::{BlockingTimeoutError, blocking_timeout};
/// use std::time::Duration;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let (late, here) = rt.block_on(|| {
///     let (_give, take) = std::sync::mpsc::channel::<()>();
///     let late = blocking_timeout(Duration::from_millis(1), move || take.recv_timeout(Duration::from_millis(20)));
///     (late, blocking_timeout(Duration::from_secs(60), || std::fs::read("Cargo.toml")))
/// });
/// assert_eq!(late, Err(BlockingTimeoutError::Timeout));
/// assert!(here.unwrap().is_ok());
/// ```
///
/// # Errors
/// See [`BlockingTimeoutError`].
///
/// # Panics
/// As [`blocking`](crate::blocking).
pub fn blocking_timeout<F, T>(timeout: Duration, f: F) -> Result<T, BlockingTimeoutError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    blocking_until(time::deadline(timeout).min(NEVER - 1), f)
}

/// As [`blocking_timeout`], but waits no longer than until `deadline`.
///
/// ```
/// let soon = openwork::time::now() + std::time::Duration::from_secs(60);
/// assert_eq!(openwork::blocking_deadline(soon, || 5), Ok(5));
/// ```
///
/// # Errors
/// See [`BlockingTimeoutError`].
///
/// # Panics
/// As [`blocking`](crate::blocking).
pub fn blocking_deadline<F, T>(deadline: Instant, f: F) -> Result<T, BlockingTimeoutError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    blocking_until(time::ns_of(deadline), f)
}

/// `deadline` is in nanoseconds since process start, or [`NEVER`].
pub(crate) fn blocking_until<F, T>(deadline: u64, f: F) -> Result<T, BlockingTimeoutError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match block::context() {
        Context::Routine(me) => {
            cancel::report_if_asked(me)?;
            let job = OwnedJob::new(me.shared().pool.clone(), f);
            job.wait_in_routine(me, deadline)
        }
        Context::Panicking(me) => {
            OwnedJob::new(me.shared().pool.clone(), f).wait_on_thread(deadline)
        }
        Context::Thread => OwnedJob::new(Pool::of_one(), f).wait_on_thread(deadline),
        Context::Scheduler => block::refuse_in_scheduler("blocking_timeout"),
    }
}

/// A job of the pool and its waiter's side, as a future too. Dropped, it withdraws the job, or lets it go on
/// alone.
pub(super) struct OwnedJob<F, T> {
    pool: Arc<Pool>,
    place: Place,
    job: Arc<Job<F, T>>,
}

impl<F, T> OwnedJob<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    pub(super) fn new(pool: Arc<Pool>, f: F) -> OwnedJob<F, T> {
        let job = Arc::new(Job::new(f));
        let place = pool.submit(job.clone());
        OwnedJob { pool, place, job }
    }
}

impl<F, T> OwnedJob<F, T> {
    fn wait_in_routine(self, me: RoutineRef, deadline: u64) -> Result<T, BlockingTimeoutError> {
        let alarm = Alarm::new();
        loop {
            if let Some(value) = self.value() {
                return Ok(value);
            }
            cancel::report_if_asked(me)?;
            if deadline != NEVER && time::now_ns() >= deadline {
                return Err(BlockingTimeoutError::Timeout);
            }
            block::block(
                WaitReason::Blocking,
                Interrupt::ByCancel,
                &mut |routine, ticket| {
                    // A sleeper that is left over is a routine, which dropping does nothing to.
                    let offered = self.job.offer(Sleeper::Routine(routine, ticket));
                    let waits = matches!(offered, Offered::Waits(_));
                    if waits && deadline != NEVER {
                        alarm.set(routine, ticket, deadline);
                    }
                    waits
                },
            );
            alarm.clear();
        }
    }

    fn wait_on_thread(self, deadline: u64) -> Result<T, BlockingTimeoutError> {
        loop {
            let offered = self.job.offer(Sleeper::Thread(thread::current()));
            if let Some(value) = self.value() {
                return Ok(value);
            }
            drop(offered);
            if deadline == NEVER {
                thread::park();
                continue;
            }
            let left = deadline.saturating_sub(time::now_ns());
            if left == 0 {
                return Err(BlockingTimeoutError::Timeout);
            }
            thread::park_timeout(Duration::from_nanos(left));
        }
    }

    /// The value, if the job is done. Once.
    fn value(&self) -> Option<T> {
        match self.job.take()? {
            Ok(value) => Some(value),
            Err(payload) => resume_unwind(payload),
        }
    }
}

impl<F, T> Future for OwnedJob<F, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<T> {
        if let Offered::Waits(before) = self.job.offer(Sleeper::Task(cx.waker().clone())) {
            drop(before);
            threads::poll_waits(WaitReason::Blocking);
            return Poll::Pending;
        }
        Poll::Ready(self.value().expect("polled until it is ready"))
    }
}

impl<F, T> Drop for OwnedJob<F, T> {
    fn drop(&mut self) {
        let task = self.pool.withdraw(self.place).then(|| self.job.take_task());
        let end = self.job.leave();
        // Foreign, both: last.
        drop(end);
        drop(task);
    }
}
