//! A gate that opens once.

use std::fmt;
use std::time::{Duration, Instant};

use crate::channel::{deadline_at, deadline_in};
use crate::primitives::{ShortLock, const_unless_loom};
use crate::scheduler::explore;
use crate::snapshot::WaitReason;
use crate::sync::error::WaitTimeoutError;
use crate::sync::station::{
    State, Task, Waiters, serve, serve_all, task_future, wait_for, wait_or_time_out,
};

/// A count that goes down to zero, and those who wait for it. It opens once and stays open.
///
/// ```
/// use openwork::{Runtime, scope, sync::Latch};
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// rt.block_on(|| {
///     let ready = Latch::new(3);
///     scope(|s| {
///         for _ in 0..3 {
///             s.spawn(|| ready.count_down());
///         }
///         ready.wait();
///         assert_eq!(ready.count(), 0);
///     });
/// });
/// ```
pub struct Latch {
    state: ShortLock<LatchState>,
}

struct LatchState {
    count: usize,
    waiters: Waiters<()>,
}

impl State for LatchState {
    type Order = ();
    const REASON: WaitReason = WaitReason::Barrier;

    fn waiters(&mut self) -> &mut Waiters<()> {
        &mut self.waiters
    }

    fn attempt(&mut self, (): &mut ()) -> bool {
        self.count == 0
    }
}

impl Latch {
    const_unless_loom! {
        /// A latch that opens after `count` calls of [`count_down`](Self::count_down); with 0 it is open.
        ///
        /// ```
        /// use openwork::sync::Latch;
        ///
        /// static READY: Latch = Latch::new(1);
        /// READY.count_down();
        /// READY.wait();
        /// ```
        pub fn new(count: usize) -> Latch {
            Latch {
                state: ShortLock::new(LatchState {
                    count,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    /// One less to wait for; the last one opens the latch. What the callers did before is visible to
    /// those who have waited. Of an open latch, nothing.
    ///
    /// ```
    /// let latch = openwork::sync::Latch::new(2);
    /// latch.count_down();
    /// assert_eq!(latch.count(), 1);
    /// ```
    pub fn count_down(&self) {
        explore::point();
        let mut state = self.state.lock();
        let opens = state.count == 1;
        state.count = state.count.saturating_sub(1);
        drop(state);
        if opens {
            // It stays open, so nobody enters the queue any more.
            serve_all(&self.state, |state| {
                serve(&mut state.waiters, |()| true, |()| ())
            });
        }
    }

    /// How many are still to come.
    ///
    /// ```
    /// assert_eq!(openwork::sync::Latch::new(2).count(), 2);
    /// ```
    pub fn count(&self) -> usize {
        self.state.lock().count
    }

    /// Waits until the latch is open. A routine blocks with reason `barrier`, a plain thread sleeps. A
    /// routine that was asked to end unwinds instead of waiting.
    ///
    /// ```
    /// use openwork::{Runtime, spawn, sync::Latch};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     let latch = Arc::new(Latch::new(1));
    ///     let shared = latch.clone();
    ///     spawn(move || shared.count_down());
    ///     latch.wait();
    /// });
    /// ```
    ///
    /// # Panics
    /// If it would have to wait while the caller is panicking, or in a destructor that the scheduler
    /// itself runs.
    pub fn wait(&self) {
        explore::point();
        if self.count() > 0 {
            wait_for(&self.state, (), "Latch::wait");
        }
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`.
    ///
    /// ```
    /// use openwork::sync::{Latch, WaitTimeoutError};
    /// use std::time::Duration;
    ///
    /// let latch = Latch::new(1);
    /// let early = latch.wait_timeout(Duration::from_millis(1));
    /// assert_eq!(early, Err(WaitTimeoutError::Timeout));
    /// latch.count_down();
    /// assert_eq!(latch.wait_timeout(Duration::ZERO), Ok(()));
    /// ```
    ///
    /// # Errors
    /// See [`WaitTimeoutError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WaitTimeoutError> {
        self.wait_until(|| deadline_in(timeout))
    }

    /// As [`wait`](Self::wait), but no longer than until `deadline`.
    ///
    /// ```
    /// use openwork::sync::{Latch, WaitTimeoutError};
    /// use std::time::Instant;
    ///
    /// let early = Latch::new(1).wait_deadline(Instant::now());
    /// assert_eq!(early, Err(WaitTimeoutError::Timeout));
    /// ```
    ///
    /// # Errors
    /// See [`WaitTimeoutError`].
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), WaitTimeoutError> {
        self.wait_until(|| deadline_at(deadline))
    }

    fn wait_until(&self, deadline: impl FnOnce() -> u64) -> Result<(), WaitTimeoutError> {
        explore::point();
        if self.count() > 0 {
            wait_or_time_out(&self.state, (), deadline(), "Latch::wait_timeout")?;
        }
        Ok(())
    }

    /// A future that waits until the latch is open, for any executor.
    ///
    /// ```
    /// use openwork::{Runtime, sync::Latch};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let latch = Arc::new(Latch::new(1));
    /// let shared = latch.clone();
    /// let task = rt.spawn_future(async move { shared.wait_async().await });
    /// latch.count_down();
    /// task.join().unwrap();
    /// ```
    pub fn wait_async(&self) -> LatchFuture<'_> {
        LatchFuture(Task::new(&self.state, ()))
    }
}

task_future!(
    /// See [`Latch::wait_async`].
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let open: &'static _ = Box::leak(Box::new(openwork::sync::Latch::new(0)));
    /// rt.spawn_future(open.wait_async()).join().unwrap();
    /// ```
    LatchFuture,
    LatchState,
    (),
    |_| ()
);

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}
