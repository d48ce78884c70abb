//! Meeting, again and again.

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

/// A place where a fixed number meet: each waits for the others, then all go on, and it can be used again.
/// One of them is told that it leads.
///
/// One who leaves before all have come (timeout, cancel, a dropped future) has not come.
///
/// ```
/// use openwork::{Runtime, scope, sync::Barrier};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// rt.block_on(|| {
///     let (barrier, leaders) = (Barrier::new(3), AtomicU32::new(0));
///     scope(|s| {
///         for _ in 0..3 {
///             s.spawn(|| {
///                 for _ in 0..10 {
///                     let led = barrier.wait().is_leader();
///                     leaders.fetch_add(led.into(), Ordering::Relaxed);
///                 }
///             });
///         }
///     });
///     assert_eq!(leaders.into_inner(), 10);
/// });
/// ```
pub struct Barrier {
    state: ShortLock<BarrierState>,
}

/// What [`Barrier::wait`] returns.
///
/// ```
/// use openwork::{Runtime, scope, sync::{Barrier, BarrierWaitResult}};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let barrier = Barrier::new(2);
///     scope(|s| {
///         let other = s.spawn(|| barrier.wait());
///         let mine: BarrierWaitResult = barrier.wait();
///         assert_ne!(mine.is_leader(), other.join().unwrap().is_leader());
///     });
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether the caller leads: it came last. One of each meeting does.
    ///
    /// ```
    /// let result = openwork::sync::Barrier::new(1).wait();
    /// assert!(result.is_leader());
    /// ```
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

struct BarrierState {
    size: usize,
    /// Who has come to this meeting.
    arrived: usize,
    meeting: u64,
    waiters: Waiters<Order>,
}

#[derive(Clone, Copy)]
enum Order {
    NotCome,
    /// To the meeting of this number.
    Came(u64),
    Leads,
}

impl State for BarrierState {
    type Order = Order;
    const REASON: WaitReason = WaitReason::Barrier;

    fn waiters(&mut self) -> &mut Waiters<Order> {
        &mut self.waiters
    }

    fn attempt(&mut self, order: &mut Order) -> bool {
        match *order {
            Order::Came(meeting) => self.meeting != meeting,
            Order::Leads => true,
            Order::NotCome => {
                self.arrived += 1;
                let last = self.arrived >= self.size;
                *order = if last {
                    Order::Leads
                } else {
                    Order::Came(self.meeting)
                };
                if last {
                    self.arrived = 0;
                    self.meeting += 1;
                }
                last
            }
        }
    }

    fn left(state: &ShortLock<BarrierState>, order: &mut Order) -> bool {
        let Order::Came(meeting) = *order else {
            return false;
        };
        let mut state = state.lock();
        if state.meeting == meeting {
            state.arrived -= 1;
        }
        state.meeting != meeting
    }
}

impl Barrier {
    const_unless_loom! {
        /// A barrier for `size` of them; with 0 or 1 nobody waits.
        ///
        /// ```
        /// let barrier = openwork::sync::Barrier::new(1);
        /// assert!(barrier.wait().is_leader()); // alone
        /// ```
        pub fn new(size: usize) -> Barrier {
            Barrier {
                state: ShortLock::new(BarrierState {
                    size,
                    arrived: 0,
                    meeting: 0,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    /// Waits until all have come. A routine blocks with reason `barrier`, a plain thread sleeps. A
    /// routine that was asked to end unwinds instead of waiting.
    ///
    /// ```
    /// use openwork::{Runtime, scope, sync::Barrier};
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let leads = rt.block_on(|| {
    ///     let barrier = Barrier::new(2);
    ///     scope(|s| {
    ///         let other = s.spawn(|| barrier.wait().is_leader());
    ///         let me = barrier.wait().is_leader();
    ///         [me, other.join().unwrap()]
    ///     })
    /// });
    /// assert_ne!(leads[0], leads[1]);
    /// ```
    ///
    /// # Panics
    /// If it would have to wait while the caller is panicking, or in a destructor that the scheduler
    /// itself runs.
    pub fn wait(&self) -> BarrierWaitResult {
        explore::point();
        let mut order = Order::NotCome;
        if !self.state.lock().attempt(&mut order) {
            order = wait_for(&self.state, order, "Barrier::wait");
        }
        self.finish(order)
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`.
    ///
    /// ```
    /// use openwork::sync::{Barrier, WaitTimeoutError};
    /// use std::time::Duration;
    ///
    /// let barrier = Barrier::new(2);
    /// let alone = barrier.wait_timeout(Duration::from_millis(1));
    /// assert_eq!(alone, Err(WaitTimeoutError::Timeout));
    /// ```
    ///
    /// # Errors
    /// See [`WaitTimeoutError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, WaitTimeoutError> {
        self.wait_until(|| deadline_in(timeout))
    }

    /// As [`wait`](Self::wait), but no longer than until `deadline`.
    ///
    /// ```
    /// use openwork::sync::{Barrier, WaitTimeoutError};
    /// use std::time::Instant;
    ///
    /// let alone = Barrier::new(2).wait_deadline(Instant::now());
    /// assert_eq!(alone, Err(WaitTimeoutError::Timeout));
    /// ```
    ///
    /// # Errors
    /// See [`WaitTimeoutError`].
    pub fn wait_deadline(&self, deadline: Instant) -> Result<BarrierWaitResult, WaitTimeoutError> {
        self.wait_until(|| deadline_at(deadline))
    }

    fn wait_until(
        &self,
        deadline: impl FnOnce() -> u64,
    ) -> Result<BarrierWaitResult, WaitTimeoutError> {
        explore::point();
        let mut order = Order::NotCome;
        if !self.state.lock().attempt(&mut order) {
            order = wait_or_time_out(&self.state, order, deadline(), "Barrier::wait_timeout")?;
        }
        Ok(self.finish(order))
    }

    /// A future that comes with its first poll and waits until all have come, for any executor.
    ///
    /// ```
    /// use openwork::{Runtime, sync::Barrier};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let barrier = Arc::new(Barrier::new(2));
    /// let shared = barrier.clone();
    /// let task = rt.spawn_future(async move { shared.wait_async().await.is_leader() });
    /// let me = barrier.wait().is_leader();
    /// assert_ne!(me, task.join().unwrap());
    /// ```
    pub fn wait_async(&self) -> BarrierFuture<'_> {
        BarrierFuture(Task::new(&self.state, Order::NotCome))
    }

    fn finish(&self, order: Order) -> BarrierWaitResult {
        finish(&self.state, order)
    }
}

/// The leader lets the others go.
fn finish(state: &ShortLock<BarrierState>, order: Order) -> BarrierWaitResult {
    let leads = matches!(order, Order::Leads);
    if leads {
        serve_all(state, |state| {
            let now = state.meeting;
            let is_over = |order: &Order| matches!(order, Order::Came(meeting) if *meeting != now);
            serve(&mut state.waiters, is_over, |_| ())
        });
    }
    BarrierWaitResult(leads)
}

task_future!(
    /// See [`Barrier::wait_async`].
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let alone: &'static _ = Box::leak(Box::new(openwork::sync::Barrier::new(1)));
    /// assert!(rt.spawn_future(alone.wait_async()).join().unwrap().is_leader());
    /// ```
    BarrierFuture,
    BarrierState,
    BarrierWaitResult,
    |(state, order)| finish(state, *order)
);

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Barrier")
            .field("size", &state.size)
            .field("arrived", &state.arrived)
            .finish_non_exhaustive()
    }
}
