//! Waiting for a number of things that is not known before.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::{deadline_at, deadline_in};
use crate::primitives::ShortLock;
use crate::scheduler::explore;
use crate::snapshot::WaitReason;
use crate::sync::error::WaitTimeoutError;
use crate::sync::station::{
    State, Task, Waiters, serve, serve_all, task_future, wait_for, wait_or_time_out,
};

/// A count of things that are under way, and those who wait until there is none: Go's `sync.WaitGroup`.
/// Clones share the count. It can be used again after it was zero.
///
/// [`add`](Self::add) and [`done`](Self::done) are Go's. [`member`](Self::member) counts one more until
/// it is dropped, also when its routine panics or is cancelled.
///
/// ```
/// use openwork::{Runtime, spawn, sync::WaitGroup};
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// rt.block_on(|| {
///     let group = WaitGroup::new();
///     for i in 0..4 {
///         let member = group.member();
///         spawn(move || {
///             let _member = member; // ends with the routine
///             assert!(i < 4);
///         });
///     }
///     group.wait();
///     assert_eq!(group.count(), 0);
/// });
/// ```
#[derive(Clone)]
pub struct WaitGroup {
    state: Arc<ShortLock<GroupState>>,
}

/// Counts in a [`WaitGroup`] until it is dropped.
///
/// ```
/// use openwork::{Runtime, sync::WaitGroup};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let group = WaitGroup::new();
/// let member = group.member();
/// rt.spawn(move || drop(member)).detach();
/// group.wait(); // until the member is dropped
/// ```
#[must_use = "it counts until it is dropped"]
pub struct WaitGroupMember(WaitGroup);

struct GroupState {
    count: usize,
    /// Waiters that have entered the queue so far.
    entered: u64,
    waiters: Waiters<u64>,
}

impl State for GroupState {
    /// The waiter's number.
    type Order = u64;
    const REASON: WaitReason = WaitReason::Barrier;

    fn waiters(&mut self) -> &mut Waiters<u64> {
        &mut self.waiters
    }

    fn attempt(&mut self, number: &mut u64) -> bool {
        *number = self.entered;
        self.entered += u64::from(self.count > 0);
        self.count == 0
    }
}

impl WaitGroup {
    /// With a count of 0.
    ///
    /// ```
    /// let group = openwork::sync::WaitGroup::new();
    /// group.wait(); // for nobody
    /// ```
    pub fn new() -> WaitGroup {
        WaitGroup {
            state: Arc::new(ShortLock::new(GroupState {
                count: 0,
                entered: 0,
                waiters: Waiters::new(),
            })),
        }
    }

    /// So many more are under way. Call it before they are, or somebody who waits may see zero too
    /// early.
    ///
    /// ```
    /// let group = openwork::sync::WaitGroup::new();
    /// group.add(2);
    /// group.done();
    /// group.done();
    /// group.wait();
    /// ```
    ///
    /// # Panics
    /// If the count runs over.
    pub fn add(&self, more: usize) {
        explore::point();
        let mut state = self.state.lock();
        let count = state.count.checked_add(more);
        state.count = count.expect("the count of a wait group runs over");
    }

    /// One less is under way. What the caller did before is visible to those who have waited.
    ///
    /// ```
    /// let group = openwork::sync::WaitGroup::new();
    /// group.add(1);
    /// group.done();
    /// assert_eq!(group.count(), 0);
    /// ```
    ///
    /// # Panics
    /// If the count is 0.
    pub fn done(&self) {
        explore::point();
        let mut state = self.state.lock();
        let left = state.count.checked_sub(1);
        state.count = left.expect("more were done than were added to a wait group");
        let entered = state.entered;
        drop(state);
        if left == Some(0) {
            // Those who come from now on wait for others.
            serve_all(&self.state, |state| {
                serve(&mut state.waiters, |number| *number < entered, |_| ())
            });
        }
    }

    /// One more is under way, until what this returns is dropped.
    ///
    /// ```
    /// let group = openwork::sync::WaitGroup::new();
    /// let member = group.member();
    /// assert_eq!(group.count(), 1);
    /// drop(member);
    /// assert_eq!(group.count(), 0);
    /// ```
    ///
    /// # Panics
    /// If the count runs over.
    pub fn member(&self) -> WaitGroupMember {
        self.add(1);
        WaitGroupMember(self.clone())
    }

    /// How many are under way.
    ///
    /// ```
    /// assert_eq!(openwork::sync::WaitGroup::new().count(), 0);
    /// ```
    pub fn count(&self) -> usize {
        self.state.lock().count
    }

    /// Waits until none is under way. A routine blocks with reason `barrier`, a plain thread sleeps. A
    /// routine that was asked to end unwinds instead of waiting.
    ///
    /// ```
    /// use openwork::{Runtime, spawn, sync::WaitGroup};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     let group = WaitGroup::new();
    ///     let member = group.member();
    ///     spawn(move || drop(member));
    ///     group.wait();
    /// });
    /// ```
    ///
    /// # Panics
    /// If it would have to wait while the caller is panicking, or in a destructor that the scheduler
    /// itself runs.
    pub fn wait(&self) {
        explore::point();
        if self.count() > 0 {
            wait_for(&self.state, 0, "WaitGroup::wait");
        }
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`.
    ///
    /// ```
    /// use openwork::sync::{WaitGroup, WaitTimeoutError};
    /// use std::time::Duration;
    ///
    /// let group = WaitGroup::new();
    /// let _member = group.member();
    /// let early = group.wait_timeout(Duration::from_millis(1));
    /// assert_eq!(early, Err(WaitTimeoutError::Timeout));
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
    /// use openwork::sync::{WaitGroup, WaitTimeoutError};
    /// use std::time::Instant;
    ///
    /// let group = WaitGroup::new();
    /// group.add(1);
    /// assert_eq!(group.wait_deadline(Instant::now()), Err(WaitTimeoutError::Timeout));
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
            wait_or_time_out(&self.state, 0, deadline(), "WaitGroup::wait_timeout")?;
        }
        Ok(())
    }

    /// A future that waits until none is under way, for any executor.
    ///
    /// ```
    /// use openwork::{Runtime, sync::WaitGroup};
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let group = WaitGroup::new();
    /// let member = group.member();
    /// let task = rt.spawn_future(async move { group.wait_async().await });
    /// drop(member);
    /// task.join().unwrap();
    /// ```
    pub fn wait_async(&self) -> WaitGroupFuture<'_> {
        WaitGroupFuture(Task::new(&self.state, 0))
    }
}

task_future!(
    /// See [`WaitGroup::wait_async`].
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let nobody: &'static _ = Box::leak(Box::new(openwork::sync::WaitGroup::new()));
    /// rt.spawn_future(nobody.wait_async()).join().unwrap();
    /// ```
    WaitGroupFuture,
    GroupState,
    (),
    |_| ()
);

impl Drop for WaitGroupMember {
    fn drop(&mut self) {
        self.0.done();
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WaitGroupMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WaitGroupMember").field(&self.0).finish()
    }
}
