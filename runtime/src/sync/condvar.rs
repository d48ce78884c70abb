//! Waiting for a condition of what a lock protects.

use std::fmt;
use std::time::{Duration, Instant};

use crate::cancel;
use crate::channel::{deadline_at, deadline_in};
use crate::primitives::{ShortLock, const_unless_loom};
use crate::scheduler::block::{self, Context};
use crate::scheduler::explore;
use crate::scheduler::timers::NEVER;
use crate::snapshot::WaitReason;
use crate::sync::condvar_future::CondvarFuture;
use crate::sync::error::{CondvarTimeoutError, LockError, LockResult};
use crate::sync::holder::Holder;
use crate::sync::lock_op::{NotTaken, lock_slowly};
use crate::sync::mutex::{AsyncMutexGuard, Mutex, MutexGuard};
use crate::sync::raw_lock::Mode;
use crate::sync::station::{Op, State, Waiters, serve, serve_all};
use crate::sync::wait::{self, Group, Wait, Woken};

/// A condition variable for a [`Mutex`], as the standard library's: [`wait`](Self::wait) gives the lock
/// back while it sleeps, and takes it again.
///
/// Nobody is woken who was not notified. But others may have the lock before the one who was, so a
/// condition is looked at again: [`wait_while`](Self::wait_while) does that.
///
/// Those who are notified take the lock one after the other, in the order in which they have waited.
///
/// ```
/// use openwork::{Runtime, scope, sync::{Condvar, Mutex}};
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// rt.block_on(|| {
///     let (queue, filled) = (Mutex::new(Vec::new()), Condvar::new());
///     scope(|s| {
///         let taker = s.spawn(|| {
///             let queue = queue.lock().unwrap();
///             filled.wait_while(queue, |queue| queue.is_empty()).unwrap().pop()
///         });
///         queue.lock().unwrap().push(7);
///         filled.notify_one();
///         assert_eq!(taker.join().unwrap(), Some(7));
///     });
/// });
/// ```
pub struct Condvar {
    state: ShortLock<CondvarState>,
}

/// Whether a wait with a timeout ended because of it.
///
/// ```
/// use openwork::sync::{Condvar, Mutex};
/// use std::time::Duration;
///
/// let (lock, never) = (Mutex::new(7), Condvar::new());
/// let (guard, result) = never.wait_timeout(lock.lock().unwrap(), Duration::ZERO).unwrap();
/// assert!(result.timed_out() && *guard == 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over before a notice came.
    ///
    /// ```
    /// use openwork::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (lock, never) = (Mutex::new(()), Condvar::new());
    /// let waited = never.wait_timeout(lock.lock().unwrap(), Duration::ZERO);
    /// assert!(waited.unwrap().1.timed_out());
    /// ```
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// What a wait with a timeout returns.
pub type TimedWait<'a, T> = Result<
    (MutexGuard<'a, T>, WaitTimeoutResult),
    CondvarTimeoutError<(MutexGuard<'a, T>, WaitTimeoutResult)>,
>;

pub(super) struct CondvarState {
    entered: u64,
    waiters: Waiters<Order>,
}

pub(super) struct Order {
    number: u64,
    /// Served by `notify_one`, whose notice is another's if this one does not come to look.
    alone: bool,
}

impl State for CondvarState {
    type Order = Order;
    const REASON: WaitReason = WaitReason::Condition;

    fn waiters(&mut self) -> &mut Waiters<Order> {
        &mut self.waiters
    }

    fn attempt(&mut self, order: &mut Order) -> bool {
        order.number = self.entered;
        self.entered += 1;
        false
    }

    fn give_back(state: &ShortLock<CondvarState>, order: &mut Order) {
        if order.alone {
            notify_one(state);
        }
    }
}

fn notify_one(state: &ShortLock<CondvarState>) {
    let mut locked = state.lock();
    let served = serve(&mut locked.waiters, |_| true, |order| order.alone = true);
    drop(locked);
    if let Some(rouse) = served {
        rouse.rouse();
    }
}

impl Order {
    pub(super) fn new() -> Order {
        Order {
            number: 0,
            alone: false,
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }
}

/// How a wait ended, before the lock is taken again.
enum Ended {
    Notified { alone: bool },
    TimedOut,
    Cancelled,
    Refused,
}

impl Condvar {
    const_unless_loom! {
        /// Nobody waits; may be a `static`.
        ///
        /// ```
        /// use openwork::sync::Condvar;
        ///
        /// static CHANGED: Condvar = Condvar::new();
        /// CHANGED.notify_all(); // nobody
        /// ```
        pub fn new() -> Condvar {
            Condvar {
                state: ShortLock::new(CondvarState {
                    entered: 0,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    /// Gives the lock back, waits for a notice, and takes the lock again. A notice that comes once the
    /// lock was given back is not missed. A routine blocks with reason `condition`, a plain thread
    /// sleeps. A routine that was asked to end unwinds, without the lock.
    ///
    /// ```
    /// use openwork::{Runtime, scope, sync::{Condvar, Mutex}};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     let (ready, changed) = (Mutex::new(false), Condvar::new());
    ///     scope(|s| {
    ///         s.spawn(|| {
    ///             *ready.lock().unwrap() = true;
    ///             changed.notify_one();
    ///         });
    ///         let mut guard = ready.lock().unwrap();
    ///         while !*guard {
    ///             guard = changed.wait(guard).unwrap();
    ///         }
    ///     });
    /// });
    /// ```
    ///
    /// # Errors
    /// See [`LockError`].
    ///
    /// # Panics
    /// If it is called in a destructor that the scheduler itself runs.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let lock = MutexGuard::lock(&guard);
        match self.sleep(guard, NEVER, "Condvar::wait") {
            Ended::Notified { alone } => {
                let pass_on = PassOn(self, alone);
                let guard = lock.lock();
                pass_on.disarm();
                guard
            }
            Ended::Refused => Err(LockError::Refused),
            Ended::Cancelled | Ended::TimedOut => {
                cancel::raise_if_asked();
                unreachable!("a wait without a deadline ends early for a cancel only")
            }
        }
    }

    /// Waits as long as `condition` holds of what the lock protects.
    ///
    /// ```
    /// use openwork::sync::{Condvar, Mutex};
    ///
    /// let (ready, changed) = (Mutex::new(true), Condvar::new());
    /// let guard = changed.wait_while(ready.lock().unwrap(), |ready| !*ready).unwrap();
    /// assert!(*guard);
    /// ```
    ///
    /// # Errors
    /// See [`LockError`].
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), but waits for a notice no longer than `timeout`. Taking the lock again may
    /// take longer.
    ///
    /// ```
    /// use openwork::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (lock, never) = (Mutex::new(0), Condvar::new());
    /// let guard = lock.lock().unwrap();
    /// let (guard, result) = never.wait_timeout(guard, Duration::from_millis(1)).unwrap();
    /// assert!(result.timed_out());
    /// assert_eq!(*guard, 0);
    /// ```
    ///
    /// # Errors
    /// See [`CondvarTimeoutError`].
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> TimedWait<'a, T> {
        self.wait_until(guard, deadline_in(timeout))
    }

    /// As [`wait`](Self::wait), but waits for a notice no longer than until `deadline`.
    ///
    /// ```
    /// use openwork::sync::{Condvar, Mutex};
    /// use std::time::Instant;
    ///
    /// let (lock, never) = (Mutex::new(()), Condvar::new());
    /// let waited = never.wait_deadline(lock.lock().unwrap(), Instant::now());
    /// assert!(waited.unwrap().1.timed_out());
    /// ```
    ///
    /// # Errors
    /// See [`CondvarTimeoutError`].
    pub fn wait_deadline<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> TimedWait<'a, T> {
        self.wait_until(guard, deadline_at(deadline))
    }

    /// Waits as long as `condition` holds of what the lock protects, but no longer than `timeout`. It has
    /// timed out only if the condition still holds then.
    ///
    /// ```
    /// use openwork::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (ready, changed) = (Mutex::new(false), Condvar::new());
    /// let (guard, result) = changed
    ///     .wait_timeout_while(ready.lock().unwrap(), Duration::from_millis(1), |ready| !*ready)
    ///     .unwrap();
    /// assert!(!*guard && result.timed_out());
    /// ```
    ///
    /// # Errors
    /// See [`CondvarTimeoutError`].
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> TimedWait<'a, T> {
        let deadline = deadline_in(timeout);
        let mut timed_out = false;
        loop {
            if !condition(&mut guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if timed_out {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            let (again, result) = self.wait_until(guard, deadline)?;
            guard = again;
            timed_out = result.0;
        }
    }

    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: u64,
    ) -> TimedWait<'a, T> {
        let lock = MutexGuard::lock(&guard);
        let (alone, result) = match self.sleep(guard, deadline, "Condvar::wait_timeout") {
            Ended::Notified { alone } => (alone, WaitTimeoutResult(false)),
            Ended::TimedOut => (false, WaitTimeoutResult(true)),
            Ended::Cancelled => return Err(CondvarTimeoutError::Cancelled),
            Ended::Refused => return Err(CondvarTimeoutError::Refused),
        };
        let pass_on = PassOn(self, alone);
        let guard = lock_again(lock)?;
        pass_on.disarm();
        if lock.is_poisoned() {
            return Err(CondvarTimeoutError::Poisoned((guard, result)));
        }
        Ok((guard, result))
    }

    /// Gives the lock back and sleeps, in the queue since before.
    fn sleep<T: ?Sized>(&self, guard: MutexGuard<'_, T>, deadline: u64, call: &str) -> Ended {
        let op = Op::new(&self.state, Order::new());
        let wait = Wait::new();
        let group = Group::new([&op], &wait, [0]);
        // SAFETY: 1: on every way out of here the group has left the queue: by `sleep`, or by the
        // guard's drop.
        unsafe { group.step_ahead() };
        let ahead = StepBack(&group);
        drop(guard);
        let woken = wait::sleep(&group, WaitReason::Condition, deadline, call);
        drop(ahead);
        match woken {
            Woken::Done(_) => Ended::Notified {
                alone: op.into_order().alone,
            },
            Woken::TimedOut => Ended::TimedOut,
            Woken::Cancelled => Ended::Cancelled,
            Woken::Refused => Ended::Refused,
        }
    }

    /// As [`wait`](Self::wait), for async code: a future that gives the lock back with its first poll, and
    /// is ready with the lock. Dropped before, it has no lock, and hands on a notice that it got alone.
    ///
    /// ```
    /// use openwork::{Runtime, sync::{Condvar, Mutex}};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let shared = Arc::new((Mutex::new(false), Condvar::new()));
    /// let pair = shared.clone();
    /// let task = rt.spawn_future(async move {
    ///     let mut ready = pair.0.lock_async().await.unwrap();
    ///     while !*ready {
    ///         ready = pair.1.wait_async(ready).await.unwrap();
    ///     }
    /// });
    /// *shared.0.lock().unwrap() = true;
    /// shared.1.notify_one();
    /// task.join().unwrap();
    /// ```
    pub fn wait_async<'a, T: ?Sized>(
        &'a self,
        guard: AsyncMutexGuard<'a, T>,
    ) -> CondvarFuture<'a, T> {
        CondvarFuture::new(self, &self.state, guard)
    }

    /// Wakes the one that has waited longest, if anybody waits.
    ///
    /// ```
    /// let changed = openwork::sync::Condvar::new();
    /// changed.notify_one(); // nobody waits, and nothing is kept
    /// ```
    pub fn notify_one(&self) {
        explore::point();
        notify_one(&self.state);
    }

    /// Wakes all who wait now.
    ///
    /// ```
    /// use openwork::{Runtime, scope, sync::{Condvar, Mutex}};
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// rt.block_on(|| {
    ///     let (open, changed) = (Mutex::new(false), Condvar::new());
    ///     scope(|s| {
    ///         for _ in 0..5 {
    ///             s.spawn(|| drop(changed.wait_while(open.lock().unwrap(), |open| !*open)));
    ///         }
    ///         *open.lock().unwrap() = true;
    ///         changed.notify_all();
    ///     });
    /// });
    /// ```
    pub fn notify_all(&self) {
        explore::point();
        let before = self.state.lock().entered;
        serve_all(&self.state, |state| {
            serve(&mut state.waiters, |order| order.number < before, |_| ())
        });
    }
}

/// Takes the lock for one whose call can say that it was asked to end.
fn lock_again<'a, T: ?Sized, G>(
    lock: &'a Mutex<T>,
) -> Result<MutexGuard<'a, T>, CondvarTimeoutError<G>> {
    if !lock.raw().try_write(Holder::me()) {
        // So far away that it is none, but for what a cancel does: it is reported, and does not unwind.
        let far = match block::context() {
            Context::Panicking(_) => NEVER,
            _ => NEVER - 1,
        };
        lock_slowly(lock.raw(), Mode::Write, far, "Condvar::wait_timeout").map_err(
            |why| match why {
                NotTaken::Refused => CondvarTimeoutError::Refused,
                NotTaken::Cancelled | NotTaken::TimedOut => CondvarTimeoutError::Cancelled,
            },
        )?;
    }
    Ok(match lock.guard() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    })
}

/// One who was notified alone and does not come to look, because it unwinds, notifies the next.
struct PassOn<'a>(&'a Condvar, bool);

impl PassOn<'_> {
    fn disarm(mut self) {
        self.1 = false;
    }
}

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.notify_one();
        }
    }
}

/// Leaves the queue if something unwinds before the sleep.
struct StepBack<'a, 'b>(&'a Group<'b, Op<'b, CondvarState>, 1>);

impl Drop for StepBack<'_, '_> {
    fn drop(&mut self) {
        self.0.step_back();
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
