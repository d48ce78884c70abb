//! Waking without a value.

use std::fmt;
use std::time::{Duration, Instant};

use crate::channel::{deadline_at, deadline_in};
use crate::primitives::{ShortLock, const_unless_loom};
use crate::scheduler::explore;
use crate::snapshot::WaitReason;
use crate::sync::error::WaitTimeoutError;
use crate::sync::station::{
    self, State, Task, Waiters, serve, serve_all, task_future, wait_for, wait_or_time_out,
};

/// Tells others that something has happened, and keeps at most one such notice for somebody who comes
/// later. What has happened lies elsewhere: a waiter looks there, waits, and looks again.
///
/// ```
/// use openwork::{Runtime, spawn, sync::Notify};
/// use std::sync::Arc;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let notify = Arc::new(Notify::new());
///     let shared = notify.clone();
///     let waiter = spawn(move || shared.wait());
///     notify.notify_one(); // kept until the waiter comes, if it is early
///     waiter.join().unwrap();
/// });
/// ```
pub struct Notify {
    state: ShortLock<NotifyState>,
}

struct NotifyState {
    /// A notice for the next one who comes; only while nobody waits.
    kept: bool,
    /// Waiters that have entered the queue so far.
    entered: u64,
    waiters: Waiters<Order>,
}

struct Order {
    number: u64,
    /// Served by `notify_one`, whose notice is another's if this one does not look.
    alone: bool,
}

impl State for NotifyState {
    type Order = Order;
    const REASON: WaitReason = WaitReason::Condition;

    fn waiters(&mut self) -> &mut Waiters<Order> {
        &mut self.waiters
    }

    fn attempt(&mut self, order: &mut Order) -> bool {
        order.alone = true;
        order.number = self.entered;
        if !self.kept {
            self.entered += 1;
        }
        std::mem::take(&mut self.kept)
    }

    fn give_back(state: &ShortLock<NotifyState>, order: &mut Order) {
        if order.alone {
            notify_one(state);
        }
    }
}

fn notify_one(state: &ShortLock<NotifyState>) {
    explore::point();
    let mut locked = state.lock();
    let served = serve(&mut locked.waiters, |_| true, |order| order.alone = true);
    locked.kept |= served.is_none();
    drop(locked);
    if let Some(rouse) = served {
        rouse.rouse();
    }
}

impl Notify {
    const_unless_loom! {
        /// Nobody has been notified; may be a `static`.
        ///
        /// ```
        /// use openwork::sync::Notify;
        ///
        /// static CHANGED: Notify = Notify::new();
        /// CHANGED.notify_one();
        /// CHANGED.wait();
        /// ```
        pub fn new() -> Notify {
            Notify {
                state: ShortLock::new(NotifyState {
                    kept: false,
                    entered: 0,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    /// Wakes the one that has waited longest. If nobody waits, the next one who comes does not wait.
    ///
    /// ```
    /// let notify = openwork::sync::Notify::new();
    /// notify.notify_one();
    /// notify.notify_one(); // one is kept already
    /// notify.wait();
    /// assert!(notify.wait_deadline(std::time::Instant::now()).is_err());
    /// ```
    pub fn notify_one(&self) {
        notify_one(&self.state);
    }

    /// Wakes all who wait now. Keeps nothing for those who come later.
    ///
    /// ```
    /// use openwork::sync::{Notify, WaitTimeoutError};
    /// use std::time::Duration;
    ///
    /// let notify = Notify::new();
    /// notify.notify_waiters(); // nobody waits
    /// let late = notify.wait_timeout(Duration::from_millis(1));
    /// assert_eq!(late, Err(WaitTimeoutError::Timeout));
    /// ```
    pub fn notify_waiters(&self) {
        explore::point();
        let before = self.state.lock().entered;
        serve_all(&self.state, |state| {
            serve(
                &mut state.waiters,
                |order| order.number < before,
                |order| order.alone = false,
            )
        });
    }

    /// Waits for a notice. A routine blocks with reason `condition`, a plain thread sleeps. A routine
    /// that was asked to end unwinds instead of waiting.
    ///
    /// ```
    /// use openwork::{Runtime, spawn, sync::Notify};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     let notify = Arc::new(Notify::new());
    ///     let shared = notify.clone();
    ///     spawn(move || shared.notify_one());
    ///     notify.wait();
    /// });
    /// ```
    ///
    /// # Panics
    /// If it would have to wait while the caller is panicking, or in a destructor that the scheduler
    /// itself runs.
    pub fn wait(&self) {
        explore::point();
        let mut order = Order::new();
        if !self.state.lock().attempt_at_once(&mut order) {
            wait_for(&self.state, order, "Notify::wait");
        }
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`.
    ///
    /// ```
    /// use openwork::sync::Notify;
    /// use std::time::Duration;
    ///
    /// let notify = Notify::new();
    /// notify.notify_one();
    /// assert_eq!(notify.wait_timeout(Duration::from_millis(1)), Ok(()));
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
    /// use openwork::sync::{Notify, WaitTimeoutError};
    /// use std::time::Instant;
    ///
    /// let late = Notify::new().wait_deadline(Instant::now());
    /// assert_eq!(late, Err(WaitTimeoutError::Timeout));
    /// ```
    ///
    /// # Errors
    /// See [`WaitTimeoutError`].
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), WaitTimeoutError> {
        self.wait_until(|| deadline_at(deadline))
    }

    fn wait_until(&self, deadline: impl FnOnce() -> u64) -> Result<(), WaitTimeoutError> {
        explore::point();
        let mut order = Order::new();
        if !self.state.lock().attempt_at_once(&mut order) {
            wait_or_time_out(&self.state, order, deadline(), "Notify::wait_timeout")?;
        }
        Ok(())
    }

    /// A future that waits for a notice, for any executor. It waits from its first poll on; dropped after
    /// it was chosen by [`notify_one`](Self::notify_one), it passes the notice on.
    ///
    /// ```
    /// use openwork::{Runtime, sync::Notify};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let notify = Arc::new(Notify::new());
    /// let shared = notify.clone();
    /// let task = rt.spawn_future(async move { shared.wait_async().await });
    /// notify.notify_one();
    /// task.join().unwrap();
    /// ```
    pub fn wait_async(&self) -> NotifyFuture<'_> {
        NotifyFuture(Task::new(&self.state, Order::new()))
    }
}

impl NotifyState {
    /// As `attempt`, for one who does not enter the queue yet.
    fn attempt_at_once(&mut self, order: &mut Order) -> bool {
        self.kept && station::State::attempt(self, order)
    }
}

impl Order {
    fn new() -> Order {
        Order {
            number: 0,
            alone: false,
        }
    }
}

task_future!(
    /// See [`Notify::wait_async`].
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let notify: &'static _ = Box::leak(Box::new(openwork::sync::Notify::new()));
    /// notify.notify_one();
    /// rt.spawn_future(notify.wait_async()).join().unwrap();
    /// ```
    NotifyFuture,
    NotifyState,
    (),
    |_| ()
);

impl Default for Notify {
    fn default() -> Notify {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify")
            .field("kept", &self.state.lock().kept)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::sync::station::model::{begin_and_drop, block_on, check};
    use loom::sync::Arc;
    use loom::thread;

    /// One waits, another begins to and leaves, a notice comes: it reaches the one who waits. Breaks if
    /// `give_back` does nothing, or if `notify_one` keeps no notice.
    #[test]
    fn a_notice_reaches_the_one_who_waits() {
        check(|| {
            let notify = Arc::new(Notify::new());
            let waits = {
                let notify = notify.clone();
                thread::spawn(move || block_on(notify.wait_async()))
            };
            let leaves = {
                let notify = notify.clone();
                thread::spawn(move || {
                    if begin_and_drop(notify.wait_async()) {
                        // It has got the notice, and heard of it.
                        notify.notify_one();
                    }
                })
            };
            notify.notify_one();
            waits.join().unwrap();
            leaves.join().unwrap();
        });
    }
}
