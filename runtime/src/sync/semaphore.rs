//! Permits for what only so many may do at once.

use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::channel::{deadline_at, deadline_in};
use crate::primitives::{ShortLock, const_unless_loom};
use crate::scheduler::explore;
use crate::scheduler::timers::NEVER;
use crate::snapshot::WaitReason;
use crate::sync::error::{AcquireError, AcquireTimeoutError, TryAcquireError};
use crate::sync::station::{State, Task, Waited, Waiters, serve, serve_all, wait_until};

/// A number of permits. Who takes one or more gives them back when its guard is dropped; who finds too
/// few waits.
///
/// It is fair: permits go to who has waited longest, and who comes later waits behind it, even if there
/// are enough for the small wish of the later one. So a wish for many is not starved by wishes for few.
///
/// ```
/// use openwork::{Runtime, scope, sync::Semaphore};
/// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// rt.block_on(|| {
///     let (permits, inside) = (Semaphore::new(3), AtomicUsize::new(0));
///     scope(|s| {
///         for _ in 0..10 {
///             s.spawn(|| {
///                 let _permit = permits.acquire().unwrap();
///                 assert!(inside.fetch_add(1, Relaxed) < 3);
///                 openwork::yield_now();
///                 inside.fetch_sub(1, Relaxed);
///             });
///         }
///     });
///     assert_eq!(permits.available(), 3);
/// });
/// ```
pub struct Semaphore {
    state: ShortLock<SemaphoreState>,
}

/// Permits of a [`Semaphore`], given back when it is dropped. It may change threads.
///
/// ```
/// use openwork::sync::Semaphore;
///
/// let semaphore = Semaphore::new(1);
/// let permit = semaphore.acquire().unwrap();
/// assert_eq!(semaphore.available(), 0);
/// drop(permit);
/// assert_eq!(semaphore.available(), 1);
/// ```
#[must_use = "the permits are given back at once"]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

/// As [`SemaphorePermit`], of a semaphore in an [`Arc`].
///
/// ```
/// use openwork::{Runtime, sync::Semaphore};
/// use std::sync::Arc;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let semaphore = Arc::new(Semaphore::new(1));
/// let permit = semaphore.clone().acquire_owned(1).unwrap();
/// rt.spawn(move || drop(permit)).join().unwrap(); // given back by another routine
/// assert_eq!(semaphore.available(), 1);
/// ```
#[must_use = "the permits are given back at once"]
#[derive(Debug)]
pub struct OwnedSemaphorePermit {
    semaphore: Arc<Semaphore>,
    count: usize,
}

struct SemaphoreState {
    free: usize,
    closed: bool,
    waiters: Waiters<Order>,
}

#[derive(Clone, Copy)]
struct Order {
    count: usize,
    /// The semaphore was closed instead.
    closed: bool,
}

impl State for SemaphoreState {
    type Order = Order;
    const REASON: WaitReason = WaitReason::Semaphore;

    fn waiters(&mut self) -> &mut Waiters<Order> {
        &mut self.waiters
    }

    fn attempt(&mut self, order: &mut Order) -> bool {
        order.closed = self.closed;
        if self.closed {
            return true;
        }
        let taken = self.waiters.is_empty() && self.free >= order.count;
        if taken {
            self.free -= order.count;
        }
        taken
    }

    fn left(state: &ShortLock<SemaphoreState>, _order: &mut Order) -> bool {
        // Others may have waited behind its larger wish.
        release(state, 0);
        false
    }

    fn give_back(state: &ShortLock<SemaphoreState>, order: &mut Order) {
        if !order.closed {
            release(state, order.count);
        }
    }
}

/// Gives permits back, and serves those whose turn has come.
fn release(state: &ShortLock<SemaphoreState>, count: usize) {
    explore::point();
    let mut locked = state.lock();
    let free = locked.free.checked_add(count);
    locked.free = free.expect("the permits of a semaphore run over");
    let waited_for = !locked.waiters.is_empty();
    drop(locked);
    if waited_for {
        serve_all(state, |state| {
            let (free, closed) = (state.free, state.closed);
            let mut taken = 0;
            let served = serve(
                &mut state.waiters,
                |order| closed || order.count <= free,
                |order| {
                    order.closed = closed;
                    taken = if closed { 0 } else { order.count };
                },
            );
            state.free -= taken;
            served
        });
    }
}

impl Semaphore {
    const_unless_loom! {
        /// With so many permits; may be a `static`.
        ///
        /// ```
        /// use openwork::sync::Semaphore;
        ///
        /// static SEATS: Semaphore = Semaphore::new(2);
        /// assert_eq!(SEATS.available(), 2);
        /// ```
        pub fn new(permits: usize) -> Semaphore {
            Semaphore {
                state: ShortLock::new(SemaphoreState {
                    free: permits,
                    closed: false,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    /// Takes one permit; waits while there is none. A routine blocks with reason `semaphore`, a plain
    /// thread sleeps.
    ///
    /// ```
    /// let semaphore = openwork::sync::Semaphore::new(1);
    /// let permit = semaphore.acquire().unwrap();
    /// assert_eq!((permit.count(), semaphore.available()), (1, 0));
    /// ```
    ///
    /// # Errors
    /// See [`AcquireError`].
    ///
    /// # Panics
    /// If it would have to wait in a destructor that the scheduler itself runs.
    pub fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many(1)
    }

    /// Takes `count` permits at once; waits while there are too few. For more than there ever are, it
    /// waits for ever.
    ///
    /// ```
    /// let rooms = openwork::sync::Semaphore::new(4);
    /// let three = rooms.acquire_many(3).unwrap();
    /// assert_eq!((three.count(), rooms.available()), (3, 1));
    /// ```
    ///
    /// # Errors
    /// See [`AcquireError`].
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    pub fn acquire_many(&self, count: usize) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.take(count).map(|()| self.permit(count))
    }

    /// Takes one permit if that is possible without waiting.
    ///
    /// ```
    /// use openwork::sync::{Semaphore, TryAcquireError};
    ///
    /// let one = Semaphore::new(1);
    /// let permit = one.try_acquire().unwrap();
    /// assert_eq!(one.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
    /// drop(permit);
    /// assert!(one.try_acquire().is_ok());
    /// ```
    ///
    /// # Errors
    /// See [`TryAcquireError`].
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits at once if that is possible without waiting.
    ///
    /// ```
    /// let semaphore = openwork::sync::Semaphore::new(3);
    /// assert!(semaphore.try_acquire_many(4).is_err());
    /// assert!(semaphore.try_acquire_many(3).is_ok());
    /// ```
    ///
    /// # Errors
    /// See [`TryAcquireError`].
    pub fn try_acquire_many(&self, count: usize) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_take(count).map(|()| self.permit(count))
    }

    /// As [`acquire`](Self::acquire), but waits no longer than `timeout`.
    ///
    /// ```
    /// use openwork::sync::{AcquireTimeoutError, Semaphore};
    /// use std::time::Duration;
    ///
    /// let none = Semaphore::new(0);
    /// let late = none.acquire_timeout(Duration::from_millis(1));
    /// assert_eq!(late.unwrap_err(), AcquireTimeoutError::Timeout);
    /// ```
    ///
    /// # Errors
    /// See [`AcquireTimeoutError`].
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_deadline(1, || deadline_in(timeout))
    }

    /// As [`acquire`](Self::acquire), but waits no longer than until `deadline`.
    ///
    /// ```
    /// use openwork::sync::{AcquireTimeoutError, Semaphore};
    /// use std::time::Instant;
    ///
    /// let none = Semaphore::new(0);
    /// let late = none.acquire_deadline(Instant::now()).map(drop);
    /// assert_eq!(late, Err(AcquireTimeoutError::Timeout));
    /// ```
    ///
    /// # Errors
    /// See [`AcquireTimeoutError`].
    pub fn acquire_deadline(
        &self,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_deadline(1, || deadline_at(deadline))
    }

    /// As [`acquire_many`](Self::acquire_many), but waits no longer than `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = openwork::sync::Semaphore::new(3);
    /// let permit = semaphore.acquire_many_timeout(2, Duration::from_secs(1)).unwrap();
    /// assert_eq!(permit.count(), 2);
    /// ```
    ///
    /// # Errors
    /// See [`AcquireTimeoutError`].
    pub fn acquire_many_timeout(
        &self,
        count: usize,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_deadline(count, || deadline_in(timeout))
    }

    fn acquire_many_deadline(
        &self,
        count: usize,
        deadline: impl FnOnce() -> u64,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        explore::point();
        let mut order = Order::new(count);
        if !self.state.lock().attempt(&mut order) {
            order = match wait_until(&self.state, order, deadline(), "acquire_timeout") {
                Waited::Served(order) => order,
                Waited::Cancelled => return Err(AcquireTimeoutError::Cancelled),
                // A wait with a deadline is not refused.
                Waited::TimedOut | Waited::Refused => return Err(AcquireTimeoutError::Timeout),
            };
        }
        if order.closed {
            return Err(AcquireTimeoutError::Closed);
        }
        Ok(self.permit(count))
    }

    /// A future that takes one permit, for any executor.
    ///
    /// ```
    /// use openwork::{Runtime, sync::Semaphore};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let permits = Arc::new(Semaphore::new(1));
    /// let shared = permits.clone();
    /// let task = rt.spawn_future(async move { shared.acquire_async().await.unwrap().count() });
    /// assert_eq!(task.join().unwrap(), 1);
    /// assert_eq!(permits.available(), 1);
    /// ```
    pub fn acquire_async(&self) -> AcquireFuture<'_> {
        self.acquire_many_async(1)
    }

    /// A future that takes `count` permits at once, for any executor.
    ///
    /// ```
    /// use openwork::{Runtime, sync::Semaphore};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let permits = Arc::new(Semaphore::new(3));
    /// let task = rt.spawn_future(async move { permits.acquire_many_async(2).await.unwrap().count() });
    /// assert_eq!(task.join().unwrap(), 2);
    /// ```
    pub fn acquire_many_async(&self, count: usize) -> AcquireFuture<'_> {
        AcquireFuture {
            semaphore: self,
            task: Task::new(&self.state, Order::new(count)),
        }
    }

    /// As [`acquire_many`](Self::acquire_many), with permits that keep the semaphore alive.
    ///
    /// ```
    /// use openwork::{Runtime, spawn, sync::Semaphore};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// rt.block_on(|| {
    ///     let permits = Arc::new(Semaphore::new(1));
    ///     let permit = permits.acquire_owned(1).unwrap();
    ///     spawn(move || drop(permit)).join().unwrap();
    ///     assert_eq!(permits.available(), 1);
    /// });
    /// ```
    ///
    /// # Errors
    /// See [`AcquireError`].
    ///
    /// # Panics
    /// As [`acquire`](Self::acquire).
    pub fn acquire_owned(
        self: &Arc<Self>,
        count: usize,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.take(count).map(|()| OwnedSemaphorePermit {
            semaphore: self.clone(),
            count,
        })
    }

    /// As [`try_acquire_many`](Self::try_acquire_many), with permits that keep the semaphore alive.
    ///
    /// ```
    /// use openwork::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// let permits = Arc::new(Semaphore::new(1));
    /// let permit = permits.try_acquire_owned(1).unwrap();
    /// assert!(permits.try_acquire_owned(1).is_err());
    /// assert_eq!(permit.count(), 1);
    /// ```
    ///
    /// # Errors
    /// See [`TryAcquireError`].
    pub fn try_acquire_owned(
        self: &Arc<Self>,
        count: usize,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_take(count).map(|()| OwnedSemaphorePermit {
            semaphore: self.clone(),
            count,
        })
    }

    fn take(&self, count: usize) -> Result<(), AcquireError> {
        explore::point();
        let mut order = Order::new(count);
        if !self.state.lock().attempt(&mut order) {
            order = match wait_until(&self.state, order, NEVER, "acquire") {
                Waited::Served(order) => order,
                Waited::Refused => return Err(AcquireError::Refused),
                Waited::Cancelled | Waited::TimedOut => return Err(AcquireError::Cancelled),
            };
        }
        if order.closed {
            return Err(AcquireError::Closed);
        }
        Ok(())
    }

    fn try_take(&self, count: usize) -> Result<(), TryAcquireError> {
        explore::point();
        let mut order = Order::new(count);
        let served = self.state.lock().attempt(&mut order);
        match (served, order.closed) {
            (_, true) => Err(TryAcquireError::Closed),
            (true, _) => Ok(()),
            (false, _) => Err(TryAcquireError::NoPermits),
        }
    }

    fn permit(&self, count: usize) -> SemaphorePermit<'_> {
        SemaphorePermit {
            semaphore: self,
            count,
        }
    }

    /// Adds permits.
    ///
    /// ```
    /// let semaphore = openwork::sync::Semaphore::new(0);
    /// semaphore.add_permits(2);
    /// assert_eq!(semaphore.available(), 2);
    /// ```
    ///
    /// # Panics
    /// If the permits run over.
    pub fn add_permits(&self, count: usize) {
        release(&self.state, count);
    }

    /// Closes the semaphore: nobody gets a permit any more, and those who wait are told so. Permits that
    /// are out may be given back.
    ///
    /// ```
    /// use openwork::sync::{AcquireError, Semaphore};
    ///
    /// let semaphore = Semaphore::new(1);
    /// semaphore.close();
    /// assert_eq!(semaphore.acquire().unwrap_err(), AcquireError::Closed);
    /// ```
    pub fn close(&self) {
        explore::point();
        self.state.lock().closed = true;
        release(&self.state, 0);
    }

    /// Whether the semaphore is closed.
    ///
    /// ```
    /// let semaphore = openwork::sync::Semaphore::new(1);
    /// assert!(!semaphore.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// How many permits are free now.
    ///
    /// ```
    /// assert_eq!(openwork::sync::Semaphore::new(2).available(), 2);
    /// ```
    pub fn available(&self) -> usize {
        self.state.lock().free
    }
}

impl Order {
    fn new(count: usize) -> Order {
        Order {
            count,
            closed: false,
        }
    }
}

impl<'a> SemaphorePermit<'a> {
    /// How many permits it stands for.
    ///
    /// ```
    /// let semaphore = openwork::sync::Semaphore::new(3);
    /// assert_eq!(semaphore.acquire_many(2).unwrap().count(), 2);
    /// ```
    pub fn count(&self) -> usize {
        self.count
    }

    /// Keeps the permits from the semaphore for ever.
    ///
    /// ```
    /// let semaphore = openwork::sync::Semaphore::new(2);
    /// semaphore.acquire().unwrap().forget();
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    pub fn forget(self) {
        let _ = ManuallyDrop::new(self);
    }

    /// Takes `count` permits out, to be given back apart; `None` if there are fewer.
    ///
    /// ```
    /// let semaphore = openwork::sync::Semaphore::new(3);
    /// let mut permit = semaphore.acquire_many(3).unwrap();
    /// drop(permit.split(1));
    /// assert_eq!((permit.count(), semaphore.available()), (2, 1));
    /// ```
    pub fn split(&mut self, count: usize) -> Option<SemaphorePermit<'a>> {
        self.count = self.count.checked_sub(count)?;
        Some(self.semaphore.permit(count))
    }
}

impl OwnedSemaphorePermit {
    /// How many permits it stands for.
    ///
    /// ```
    /// let semaphore = std::sync::Arc::new(openwork::sync::Semaphore::new(3));
    /// assert_eq!(semaphore.acquire_owned(2).unwrap().count(), 2);
    /// ```
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        release(&self.semaphore.state, self.count);
    }
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        release(&self.semaphore.state, self.count);
    }
}

/// See [`Semaphore::acquire_async`].
///
/// ```
/// use openwork::{Runtime, sync::Semaphore};
/// use std::sync::Arc;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let semaphore = Arc::new(Semaphore::new(2));
/// let task = rt.spawn_future(async move { semaphore.acquire_many_async(2).await.unwrap().count() });
/// assert_eq!(task.join().unwrap(), 2);
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct AcquireFuture<'a> {
    semaphore: &'a Semaphore,
    task: Task<'a, SemaphoreState>,
}

impl<'a> Future for AcquireFuture<'a> {
    type Output = Result<SemaphorePermit<'a>, AcquireError>;

    /// # Panics
    /// If polled after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: 1: pinned.
        unsafe { this.task.poll(cx) }.map(|(_, order)| {
            if order.closed {
                return Err(AcquireError::Closed);
            }
            Ok(this.semaphore.permit(order.count))
        })
    }
}

impl fmt::Debug for AcquireFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Semaphore")
            .field("available", &state.free)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::Place;
    use crate::sync::station::model::{begin_and_drop, block_on, check};
    use loom::thread;

    struct World {
        one: Semaphore,
        /// Touched by whoever has the permit.
        value: Place<u32>,
    }

    // SAFETY: the value is touched as the permit says, which is what is checked.
    unsafe impl Sync for World {}
    // SAFETY: as above.
    unsafe impl Send for World {}

    /// Two share one permit, a third begins to wait and leaves: nobody sleeps for ever, and the permit is
    /// there in the end. Breaks if `left` or `give_back` do nothing, or if `attempt` takes a permit before
    /// those who wait.
    #[test]
    fn a_permit_is_neither_lost_nor_made() {
        check(|| {
            let world = loom::sync::Arc::new(World {
                one: Semaphore::new(1),
                value: Place::new(),
            });
            // SAFETY: nobody else knows it.
            unsafe { world.value.put(0) };
            let other = {
                let world = world.clone();
                thread::spawn(move || {
                    let permit = block_on(world.one.acquire_async()).unwrap();
                    // SAFETY: we have the permit.
                    unsafe { world.value.put(world.value.take() + 1) };
                    drop(permit);
                })
            };
            let leaves = {
                let world = world.clone();
                thread::spawn(move || begin_and_drop(world.one.acquire_many_async(1)))
            };
            let permit = block_on(world.one.acquire_async()).unwrap();
            // SAFETY: we have the permit.
            unsafe { world.value.put(world.value.take() + 1) };
            drop(permit);
            other.join().unwrap();
            leaves.join().unwrap();
            // SAFETY: all have ended.
            assert_eq!(unsafe { world.value.take() }, 2);
            assert_eq!(world.one.available(), 1);
        });
    }
}
