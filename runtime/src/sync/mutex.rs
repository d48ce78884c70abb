//! A lock for one at a time.

use std::cell::UnsafeCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::channel::{deadline_at, deadline_in};
use crate::id::ObjectId;
use crate::primitives::const_unless_loom;
use crate::scheduler::explore;
use crate::scheduler::timers::NEVER;
use crate::sync::error::{LockError, LockResult, LockTimeoutError, TryLockError, poisoned_or};
use crate::sync::guard_traits::guard_traits;
use crate::sync::holder::{Holder, Owner};
use crate::sync::lock_op::{LockTask, Raw, lock_slowly};
use crate::sync::poison::{Calm, Poison};
use crate::sync::raw_lock::Mode;

/// A lock whose waiters block as routines do: the thread goes on with others.
///
/// It is used as the standard library's: [`lock`](Self::lock) gives a guard through which the value is
/// reached, and dropping the guard unlocks. The guard may be held across anything that blocks. Plain
/// threads may lock it too, and async code by [`lock_async`](Self::lock_async).
///
/// **Order.** Who comes first while the lock is free takes it. A waiter that has waited for 1 ms is
/// handed the lock, before all others.
///
/// **Poison.** A panic while the lock is held poisons it, as in the standard library; a cancel does
/// not.
///
/// **Cost.** One exchange to lock and one to unlock when nobody else wants it; 40 bytes beside the value.
///
/// ```
/// use openwork::{Runtime, scope, sync::Mutex};
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// let count = rt.block_on(|| {
///     let count = Mutex::new(0);
///     scope(|s| {
///         for _ in 0..10 {
///             s.spawn(|| *count.lock().unwrap() += 1);
///         }
///     });
///     count.into_inner().unwrap()
/// });
/// assert_eq!(count, 10);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: Raw,
    poison: Poison,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one guard at a time, on the thread that has it.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above; by the lock the value is as good as sent from thread to thread.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// A panic under the lock is what the poison tells of.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

/// Holds a [`Mutex`]; dropping it unlocks. Stays with the routine or thread that locked.
///
/// ```
/// use openwork::sync::{Mutex, MutexGuard};
///
/// fn tidy(mut names: MutexGuard<'_, Vec<&str>>) {
///     names.sort();
/// }
/// let names = Mutex::new(vec!["b", "a"]);
/// tidy(names.lock().unwrap());
/// assert_eq!(*names.lock().unwrap(), ["a", "b"]);
/// ```
#[must_use = "the lock is given back at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    lock: &'a Mutex<T>,
    calm: Calm,
    /// Not `Send`: the lock says that its owner is who locked it.
    here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

/// Holds a [`Mutex`] for async code; dropping it unlocks. It may be held across an `await` and change
/// threads, so the lock says of its owner only that it is a task.
///
/// ```
/// use openwork::{Runtime, spawn_future, sync::Mutex, time};
/// use std::{sync::Arc, time::Duration};
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// let count = Arc::new(Mutex::new(0));
/// let shared = count.clone();
/// let task = rt.spawn_future(async move {
///     let mut guard = shared.lock_async().await.unwrap();
///     time::after(Duration::from_millis(1)).await; // held across an await
///     *guard += 1;
/// });
/// task.join().unwrap();
/// assert_eq!(*count.lock().unwrap(), 1);
/// ```
#[must_use = "the lock is given back at once"]
pub struct AsyncMutexGuard<'a, T: ?Sized>(MutexGuard<'a, T>);

// SAFETY: unlocking is right on any thread, and the value may be sent.
unsafe impl<T: ?Sized + Send> Send for AsyncMutexGuard<'_, T> {}

impl<T> Mutex<T> {
    const_unless_loom! {
        /// A free lock around `value`; may be a `static`.
        ///
        /// ```
        /// use openwork::sync::Mutex;
        ///
        /// static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());
        /// NAMES.lock().unwrap().push("one".to_owned());
        /// ```
        pub fn new(value: T) -> Mutex<T> {
            Mutex {
                raw: Raw::new(),
                poison: Poison::new(),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// The value, at the end.
    ///
    /// ```
    /// let lock = openwork::sync::Mutex::new(3);
    /// assert_eq!(lock.into_inner().unwrap(), 3);
    /// ```
    ///
    /// # Errors
    /// The value is inside [`LockError::Poisoned`] if a panic struck while the lock was held.
    pub fn into_inner(self) -> LockResult<T> {
        poisoned_or(self.poison.is_set(), self.value.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks; waits while somebody else holds the lock. A routine blocks with reason `lock`, a plain
    /// thread sleeps. A routine that was asked to end unwinds instead of waiting.
    ///
    /// ```
    /// use openwork::sync::Mutex;
    ///
    /// static TOTAL: Mutex<u64> = Mutex::new(0);
    /// *TOTAL.lock().unwrap() += 2;
    /// assert_eq!(*TOTAL.lock().unwrap(), 2);
    /// ```
    ///
    /// # Errors
    /// See [`LockError`].
    ///
    /// # Panics
    /// If the caller holds the lock already; and if it would have to wait in a destructor that the
    /// scheduler itself runs.
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        explore::point();
        if !self.raw.try_write(Holder::me())
            && lock_slowly(&self.raw, Mode::Write, NEVER, "lock").is_err()
        {
            return Err(LockError::Refused);
        }
        self.guard()
    }

    /// Locks if that is possible without waiting.
    ///
    /// ```
    /// use openwork::sync::{Mutex, TryLockError};
    ///
    /// let lock = Mutex::new(1);
    /// let guard = lock.try_lock().unwrap();
    /// assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    /// drop(guard);
    /// assert!(lock.try_lock().is_ok());
    /// ```
    ///
    /// # Errors
    /// See [`TryLockError`].
    #[inline]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError<MutexGuard<'_, T>>> {
        explore::point();
        if !self.raw.try_write(Holder::me()) {
            return Err(TryLockError::WouldBlock);
        }
        self.guard().map_err(TryLockError::from)
    }

    /// As [`lock`](Self::lock), but waits no longer than `timeout`.
    ///
    /// ```
    /// use openwork::sync::{LockTimeoutError, Mutex};
    /// use std::time::Duration;
    ///
    /// let lock = Mutex::new(1);
    /// let _guard = lock.lock().unwrap();
    /// let late = lock.lock_timeout(Duration::from_millis(1));
    /// assert!(matches!(late, Err(LockTimeoutError::Timeout)));
    /// ```
    ///
    /// # Errors
    /// See [`LockTimeoutError`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<MutexGuard<'_, T>, LockTimeoutError<MutexGuard<'_, T>>> {
        self.lock_until(|| deadline_in(timeout))
    }

    /// As [`lock`](Self::lock), but waits no longer than until `deadline`.
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let lock = openwork::sync::Mutex::new(3);
    /// assert_eq!(*lock.lock_deadline(Instant::now()).unwrap(), 3); // it is free
    /// ```
    ///
    /// # Errors
    /// See [`LockTimeoutError`].
    pub fn lock_deadline(
        &self,
        deadline: Instant,
    ) -> Result<MutexGuard<'_, T>, LockTimeoutError<MutexGuard<'_, T>>> {
        self.lock_until(|| deadline_at(deadline))
    }

    fn lock_until(
        &self,
        deadline: impl FnOnce() -> u64,
    ) -> Result<MutexGuard<'_, T>, LockTimeoutError<MutexGuard<'_, T>>> {
        explore::point();
        if !self.raw.try_write(Holder::me()) {
            lock_slowly(&self.raw, Mode::Write, deadline(), "lock_timeout")
                .map_err(LockTimeoutError::from)?;
        }
        self.guard().map_err(LockTimeoutError::from)
    }

    /// A future that locks, for any executor. Its guard may be held across an `await`.
    ///
    /// ```
    /// use openwork::{Runtime, sync::Mutex};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let count = Arc::new(Mutex::new(0));
    /// let both = [1, 2].map(|n| {
    ///     let count = count.clone();
    ///     rt.spawn_future(async move { *count.lock_async().await.unwrap() += n })
    /// });
    /// both.map(|one| one.join().unwrap());
    /// assert_eq!(*count.lock().unwrap(), 3);
    /// ```
    pub fn lock_async(&self) -> LockFuture<'_, T> {
        LockFuture {
            lock: self,
            task: LockTask::new(&self.raw, Mode::Write),
        }
    }

    pub(super) fn raw(&self) -> &Raw {
        &self.raw
    }

    #[inline]
    pub(super) fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        let guard = MutexGuard {
            lock: self,
            calm: Calm::now(),
            here: PhantomData,
        };
        poisoned_or(self.poison.is_set(), guard)
    }

    /// The value, of a lock that nobody else can reach.
    ///
    /// ```
    /// let mut lock = openwork::sync::Mutex::new(3);
    /// *lock.get_mut().unwrap() = 4;
    /// assert_eq!(*lock.lock().unwrap(), 4);
    /// ```
    ///
    /// # Errors
    /// The value is inside [`LockError::Poisoned`] if a panic struck while the lock was held.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        poisoned_or(self.poison.is_set(), self.value.get_mut())
    }

    /// Whether a panic struck while the lock was held.
    ///
    /// ```
    /// assert!(!openwork::sync::Mutex::new(()).is_poisoned());
    /// ```
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Forgets the panic: the value is good again.
    ///
    /// ```
    /// use openwork::{Runtime, sync::Mutex};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let lock = Arc::new(Mutex::new(1));
    /// let shared = lock.clone();
    /// rt.spawn(move || {
    ///     let _guard = shared.lock().unwrap();
    ///     std::panic::panic_any("while it is held");
    /// })
    /// .join()
    /// .unwrap_err();
    ///
    /// *lock.lock().unwrap_err().into_inner() = 2;
    /// lock.clear_poison();
    /// assert_eq!(*lock.lock().unwrap(), 2);
    /// ```
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// Who holds the lock now, for people and for diagnosis: it may have changed when this returns.
    ///
    /// ```
    /// use openwork::{Runtime, current, sync::{Mutex, Owner}};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     let lock = Mutex::new(());
    ///     assert_eq!(lock.owner(), None);
    ///     let _guard = lock.lock().unwrap();
    ///     assert_eq!(lock.owner(), Some(Owner::Routine(current().unwrap().routine)));
    /// });
    /// ```
    pub fn owner(&self) -> Option<Owner> {
        self.raw.owner().owner()
    }

    /// What [`RoutineView::waits_at`](crate::snapshot::RoutineView::waits_at) says of those who wait for
    /// the lock.
    ///
    /// ```
    /// let (one, other) = (openwork::sync::Mutex::new(()), openwork::sync::Mutex::new(()));
    /// assert_ne!(one.id(), other.id());
    /// ```
    pub fn id(&self) -> ObjectId {
        ObjectId::of(&raw const self.raw)
    }

    /// Who waits for the lock now, in the order in which they are served; as [`owner`](Self::owner).
    ///
    /// ```
    /// assert!(openwork::sync::Mutex::new(()).waiters().is_empty());
    /// ```
    pub fn waiters(&self) -> Vec<Owner> {
        self.raw.waiters()
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    pub(super) fn lock(guard: &MutexGuard<'a, T>) -> &'a Mutex<T> {
        guard.lock
    }
}

impl<'a, T: ?Sized> AsyncMutexGuard<'a, T> {
    pub(super) fn lock(guard: &AsyncMutexGuard<'a, T>) -> &'a Mutex<T> {
        guard.0.lock
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        explore::point();
        self.lock.poison.note(self.calm);
        // SAFETY: 1: the guard has held the lock, and ends.
        unsafe { self.lock.raw.unlock_write() };
    }
}

guard_traits!(mut MutexGuard, |guard| guard.lock.value.get());
guard_traits!(mut AsyncMutexGuard, |guard| guard.0.lock.value.get());

/// See [`Mutex::lock_async`].
///
/// ```
/// use openwork::sync::{LockFuture, Mutex};
///
/// async fn add(lock: LockFuture<'_, u32>) {
///     *lock.await.unwrap() += 1;
/// }
/// let count: &'static Mutex<u32> = Box::leak(Box::new(Mutex::new(0)));
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.spawn_future(add(count.lock_async())).join().unwrap();
/// assert_eq!(*count.lock().unwrap(), 1);
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct LockFuture<'a, T: ?Sized> {
    lock: &'a Mutex<T>,
    task: LockTask<'a>,
}

impl<'a, T: ?Sized> Future for LockFuture<'a, T> {
    type Output = LockResult<AsyncMutexGuard<'a, T>>;

    /// # Panics
    /// If polled after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: 1: pinned.
        unsafe { this.task.poll(cx) }.map(|()| match this.lock.guard() {
            Ok(guard) => Ok(AsyncMutexGuard(guard)),
            Err(poisoned) => Err(LockError::Poisoned(AsyncMutexGuard(poisoned.into_inner()))),
        })
    }
}

impl<T: ?Sized> fmt::Debug for LockFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockFuture").finish_non_exhaustive()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) | Err(TryLockError::Poisoned(guard)) => shown.field("value", &&*guard),
            Err(TryLockError::WouldBlock) => shown.field("value", &format_args!("<locked>")),
        };
        shown
            .field("poisoned", &self.is_poisoned())
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}
