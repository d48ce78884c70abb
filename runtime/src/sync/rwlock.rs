//! A lock for one writer or many readers.

use std::cell::UnsafeCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
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

/// A lock for one writer or many readers, whose waiters block as routines do.
///
/// It is used as the standard library's. Guards may be held across anything that blocks. Plain threads
/// may lock it too, and async code by [`read_async`](Self::read_async) and
/// [`write_async`](Self::write_async).
///
/// **Order.** Writers come first: a reader waits while anybody waits, so readers cannot keep a writer
/// out; for the same reason a reader who reads *again* while it reads may wait for ever. Readers do not
/// starve: the queue is served in order, readers that stand together are let in together, and a waiter
/// that has waited for 1 ms is handed the lock.
///
/// **Poison.** A panic while it is held for writing poisons it; a cancel does not.
///
/// ```
/// use openwork::{Runtime, scope, sync::RwLock};
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// rt.block_on(|| {
///     let table = RwLock::new(vec![1, 2, 3]);
///     scope(|s| {
///         s.spawn(|| table.write().unwrap().push(4));
///         for _ in 0..4 {
///             s.spawn(|| assert!(table.read().unwrap().len() >= 3));
///         }
///     });
///     assert_eq!(table.into_inner().unwrap(), [1, 2, 3, 4]);
/// });
/// ```
pub struct RwLock<T: ?Sized> {
    raw: Raw,
    poison: Poison,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by the guards alone, and sent with the lock.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: readers on many threads share the value, writers as good as get it sent.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// A panic under the lock is what the poison tells of.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

/// Reads an [`RwLock`]; dropping it gives the share back. Stays with the routine or thread that locked.
///
/// ```
/// use openwork::sync::{RwLock, RwLockReadGuard};
///
/// fn total(numbers: &RwLockReadGuard<'_, Vec<u32>>) -> u32 {
///     numbers.iter().sum()
/// }
/// let numbers = RwLock::new(vec![1, 2]);
/// let (one, other) = (numbers.read().unwrap(), numbers.read().unwrap());
/// assert_eq!(total(&one) + total(&other), 6);
/// ```
#[must_use = "the lock is given back at once"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    here: PhantomData<*const ()>,
}

/// Holds an [`RwLock`] for writing; dropping it unlocks. Stays with the routine or thread that locked.
///
/// ```
/// use openwork::sync::{RwLock, RwLockWriteGuard};
///
/// let numbers = RwLock::new(vec![1]);
/// let mut writes: RwLockWriteGuard<'_, _> = numbers.write().unwrap();
/// writes.push(2);
/// drop(writes);
/// assert_eq!(*numbers.read().unwrap(), [1, 2]);
/// ```
#[must_use = "the lock is given back at once"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    calm: Calm,
    here: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives shared access to the value only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

/// Reads an [`RwLock`] in async code; it may be held across an `await` and change threads.
///
/// ```
/// use openwork::{Runtime, sync::RwLock};
/// use std::sync::Arc;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let text = Arc::new(RwLock::new("shared"));
/// let task = rt.spawn_future(async move { text.read_async().await.unwrap().len() });
/// assert_eq!(task.join().unwrap(), 6);
/// ```
#[must_use = "the lock is given back at once"]
pub struct AsyncRwLockReadGuard<'a, T: ?Sized>(RwLockReadGuard<'a, T>);

/// Holds an [`RwLock`] for writing in async code; it may be held across an `await` and change threads.
///
/// ```
/// use openwork::{Runtime, sync::RwLock};
/// use std::sync::Arc;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let count = Arc::new(RwLock::new(0));
/// let shared = count.clone();
/// rt.spawn_future(async move { *shared.write_async().await.unwrap() += 1 }).join().unwrap();
/// assert_eq!(*count.read().unwrap(), 1);
/// ```
#[must_use = "the lock is given back at once"]
pub struct AsyncRwLockWriteGuard<'a, T: ?Sized>(RwLockWriteGuard<'a, T>);

// SAFETY: unlocking is right on any thread, and the value may be shared with it.
unsafe impl<T: ?Sized + Sync> Send for AsyncRwLockReadGuard<'_, T> {}
// SAFETY: unlocking is right on any thread, and the value may be sent.
unsafe impl<T: ?Sized + Send> Send for AsyncRwLockWriteGuard<'_, T> {}

type Read<'a, T> = RwLockReadGuard<'a, T>;
type Write<'a, T> = RwLockWriteGuard<'a, T>;

impl<T> RwLock<T> {
    const_unless_loom! {
        /// A free lock around `value`; may be a `static`.
        ///
        /// ```
        /// use openwork::sync::RwLock;
        ///
        /// static NAMES: RwLock<Vec<String>> = RwLock::new(Vec::new());
        /// assert!(NAMES.read().unwrap().is_empty());
        /// ```
        pub fn new(value: T) -> RwLock<T> {
            RwLock {
                raw: Raw::new(),
                poison: Poison::new(),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// The value, at the end.
    ///
    /// ```
    /// assert_eq!(openwork::sync::RwLock::new(3).into_inner().unwrap(), 3);
    /// ```
    ///
    /// # Errors
    /// The value is inside [`LockError::Poisoned`] if a panic struck while it was written.
    pub fn into_inner(self) -> LockResult<T> {
        poisoned_or(self.poison.is_set(), self.value.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks for reading; waits while there is a writer, or anybody waits. A routine blocks with reason
    /// `lock`, a plain thread sleeps. A routine that was asked to end unwinds instead of waiting.
    ///
    /// ```
    /// use openwork::sync::RwLock;
    ///
    /// static LIMIT: RwLock<u32> = RwLock::new(10);
    /// let (one, two) = (LIMIT.read().unwrap(), LIMIT.try_read().unwrap());
    /// assert_eq!(*one + *two, 20);
    /// ```
    ///
    /// # Errors
    /// See [`LockError`].
    ///
    /// # Panics
    /// If the caller holds the lock for writing; and if it would have to wait in a destructor that the
    /// scheduler itself runs.
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        explore::point();
        if !self.raw.try_read() && lock_slowly(&self.raw, Mode::Read, NEVER, "read").is_err() {
            return Err(LockError::Refused);
        }
        self.read_guard()
    }

    /// Locks for writing; waits while somebody else reads or writes. A routine blocks with reason
    /// `lock`, a plain thread sleeps. A routine that was asked to end unwinds instead of waiting.
    ///
    /// ```
    /// let lock = openwork::sync::RwLock::new(1);
    /// *lock.write().unwrap() += 1;
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// ```
    ///
    /// # Errors
    /// See [`LockError`].
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        explore::point();
        if !self.raw.try_write(Holder::me())
            && lock_slowly(&self.raw, Mode::Write, NEVER, "write").is_err()
        {
            return Err(LockError::Refused);
        }
        self.write_guard()
    }

    /// Locks for reading if that is possible without waiting.
    ///
    /// ```
    /// use openwork::sync::{RwLock, TryLockError};
    ///
    /// let lock = RwLock::new(1);
    /// let _writer = lock.write().unwrap();
    /// assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    /// ```
    ///
    /// # Errors
    /// See [`TryLockError`].
    #[inline]
    pub fn try_read(&self) -> Result<Read<'_, T>, TryLockError<Read<'_, T>>> {
        explore::point();
        if !self.raw.try_read() {
            return Err(TryLockError::WouldBlock);
        }
        self.read_guard().map_err(TryLockError::from)
    }

    /// Locks for writing if that is possible without waiting.
    ///
    /// ```
    /// let lock = openwork::sync::RwLock::new(1);
    /// let reader = lock.read().unwrap();
    /// assert!(lock.try_write().is_err());
    /// drop(reader);
    /// assert!(lock.try_write().is_ok());
    /// ```
    ///
    /// # Errors
    /// See [`TryLockError`].
    #[inline]
    pub fn try_write(&self) -> Result<Write<'_, T>, TryLockError<Write<'_, T>>> {
        explore::point();
        if !self.raw.try_write(Holder::me()) {
            return Err(TryLockError::WouldBlock);
        }
        self.write_guard().map_err(TryLockError::from)
    }

    /// As [`read`](Self::read), but waits no longer than `timeout`.
    ///
    /// ```
    /// use openwork::sync::{LockTimeoutError, RwLock};
    /// use std::time::Duration;
    ///
    /// let lock = RwLock::new(1);
    /// let writer = lock.write().unwrap();
    /// let late = lock.read_timeout(Duration::from_millis(1));
    /// assert!(matches!(late, Err(LockTimeoutError::Timeout)));
    /// drop((late, writer));
    /// assert!(lock.write_timeout(Duration::from_millis(1)).is_ok());
    /// ```
    ///
    /// # Errors
    /// See [`LockTimeoutError`].
    pub fn read_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Read<'_, T>, LockTimeoutError<Read<'_, T>>> {
        self.read_until(|| deadline_in(timeout))
    }

    /// As [`read`](Self::read), but waits no longer than until `deadline`.
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let lock = openwork::sync::RwLock::new(3);
    /// assert_eq!(*lock.read_deadline(Instant::now()).unwrap(), 3); // it is free
    /// ```
    ///
    /// # Errors
    /// See [`LockTimeoutError`].
    pub fn read_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Read<'_, T>, LockTimeoutError<Read<'_, T>>> {
        self.read_until(|| deadline_at(deadline))
    }

    fn read_until(
        &self,
        deadline: impl FnOnce() -> u64,
    ) -> Result<Read<'_, T>, LockTimeoutError<Read<'_, T>>> {
        explore::point();
        if !self.raw.try_read() {
            lock_slowly(&self.raw, Mode::Read, deadline(), "read_timeout")
                .map_err(LockTimeoutError::from)?;
        }
        self.read_guard().map_err(LockTimeoutError::from)
    }

    /// As [`write`](Self::write), but waits no longer than `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = openwork::sync::RwLock::new(3);
    /// *lock.write_timeout(Duration::from_secs(1)).unwrap() = 4;
    /// assert_eq!(*lock.read().unwrap(), 4);
    /// ```
    ///
    /// # Errors
    /// See [`LockTimeoutError`].
    pub fn write_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Write<'_, T>, LockTimeoutError<Write<'_, T>>> {
        self.write_until(|| deadline_in(timeout))
    }

    /// As [`write`](Self::write), but waits no longer than until `deadline`.
    ///
    /// ```
    /// use openwork::sync::{LockTimeoutError, RwLock};
    /// use std::time::Instant;
    ///
    /// let lock = RwLock::new(3);
    /// let _reader = lock.read().unwrap();
    /// let late = lock.write_deadline(Instant::now());
    /// assert!(matches!(late, Err(LockTimeoutError::Timeout)));
    /// ```
    ///
    /// # Errors
    /// See [`LockTimeoutError`].
    pub fn write_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Write<'_, T>, LockTimeoutError<Write<'_, T>>> {
        self.write_until(|| deadline_at(deadline))
    }

    fn write_until(
        &self,
        deadline: impl FnOnce() -> u64,
    ) -> Result<Write<'_, T>, LockTimeoutError<Write<'_, T>>> {
        explore::point();
        if !self.raw.try_write(Holder::me()) {
            lock_slowly(&self.raw, Mode::Write, deadline(), "write_timeout")
                .map_err(LockTimeoutError::from)?;
        }
        self.write_guard().map_err(LockTimeoutError::from)
    }

    /// A future that locks for reading, for any executor. Its guard may be held across an `await`.
    ///
    /// ```
    /// use openwork::{Runtime, sync::RwLock};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let lock = Arc::new(RwLock::new(1));
    /// let shared = lock.clone();
    /// let task = rt.spawn_future(async move {
    ///     *shared.write_async().await.unwrap() += 1;
    ///     *shared.read_async().await.unwrap()
    /// });
    /// assert_eq!(task.join().unwrap(), 2);
    /// ```
    pub fn read_async(&self) -> ReadFuture<'_, T> {
        ReadFuture {
            lock: self,
            task: LockTask::new(&self.raw, Mode::Read),
        }
    }

    /// A future that locks for writing, for any executor. Its guard may be held across an `await`.
    ///
    /// ```
    /// use openwork::{Runtime, sync::RwLock};
    /// use std::sync::Arc;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let lock = Arc::new(RwLock::new(1));
    /// let shared = lock.clone();
    /// let task = rt.spawn_future(async move { *shared.write_async().await.unwrap() = 2 });
    /// task.join().unwrap();
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// ```
    pub fn write_async(&self) -> WriteFuture<'_, T> {
        WriteFuture {
            lock: self,
            task: LockTask::new(&self.raw, Mode::Write),
        }
    }

    #[inline]
    fn read_guard(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let guard = RwLockReadGuard {
            lock: self,
            here: PhantomData,
        };
        poisoned_or(self.poison.is_set(), guard)
    }

    #[inline]
    fn write_guard(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let guard = RwLockWriteGuard {
            lock: self,
            calm: Calm::now(),
            here: PhantomData,
        };
        poisoned_or(self.poison.is_set(), guard)
    }

    /// The value, of a lock that nobody else can reach.
    ///
    /// ```
    /// let mut lock = openwork::sync::RwLock::new(3);
    /// *lock.get_mut().unwrap() = 4;
    /// assert_eq!(*lock.read().unwrap(), 4);
    /// ```
    ///
    /// # Errors
    /// The value is inside [`LockError::Poisoned`] if a panic struck while it was written.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        poisoned_or(self.poison.is_set(), self.value.get_mut())
    }

    /// Whether a panic struck while the value was written.
    ///
    /// ```
    /// assert!(!openwork::sync::RwLock::new(()).is_poisoned());
    /// ```
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_set()
    }

    /// Forgets the panic: the value is good again.
    ///
    /// ```
    /// let lock = openwork::sync::RwLock::new(());
    /// lock.clear_poison();
    /// assert!(!lock.is_poisoned());
    /// ```
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The writer now, for people and for diagnosis: it may have changed when this returns.
    ///
    /// ```
    /// let lock = openwork::sync::RwLock::new(());
    /// assert_eq!(lock.owner(), None);
    /// let _writer = lock.write().unwrap();
    /// assert!(lock.owner().is_some());
    /// ```
    pub fn owner(&self) -> Option<Owner> {
        self.raw.owner().owner()
    }

    /// How many read now; as [`owner`](Self::owner). Which ones is not kept: each would have to write it
    /// down.
    ///
    /// ```
    /// let lock = openwork::sync::RwLock::new(());
    /// let _guards = (lock.read(), lock.read());
    /// assert_eq!((lock.readers(), lock.owner(), lock.waiters()), (2, None, vec![]));
    /// ```
    pub fn readers(&self) -> usize {
        self.raw.readers() as usize
    }

    /// What [`RoutineView::waits_at`](crate::snapshot::RoutineView::waits_at) says of those who wait for
    /// the lock.
    ///
    /// ```
    /// let (one, other) = (openwork::sync::RwLock::new(()), openwork::sync::RwLock::new(()));
    /// assert_ne!(one.id(), other.id());
    /// ```
    pub fn id(&self) -> ObjectId {
        ObjectId::of(&raw const self.raw)
    }

    /// Who waits for the lock now, in the order in which they are served; as [`owner`](Self::owner).
    ///
    /// ```
    /// assert!(openwork::sync::RwLock::new(()).waiters().is_empty());
    /// ```
    pub fn waiters(&self) -> Vec<Owner> {
        self.raw.waiters()
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// The writer becomes a reader, without anybody writing in between. Readers who wait are let in.
    ///
    /// ```
    /// use openwork::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writer = lock.write().unwrap();
    /// *writer = 2;
    /// let reader = RwLockWriteGuard::downgrade(writer);
    /// assert_eq!((*reader, *lock.try_read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(guard: RwLockWriteGuard<'a, T>) -> RwLockReadGuard<'a, T> {
        explore::point();
        let guard = ManuallyDrop::new(guard);
        let lock = guard.lock;
        lock.poison.note(guard.calm);
        // SAFETY: 1: the guard has held the lock for writing, and does not end as a writer.
        unsafe { lock.raw.downgrade() };
        RwLockReadGuard {
            lock,
            here: PhantomData,
        }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        explore::point();
        // SAFETY: 1: the guard has held a share, and ends.
        unsafe { self.lock.raw.unlock_read() };
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        explore::point();
        self.lock.poison.note(self.calm);
        // SAFETY: 1: the guard has held the lock for writing, and ends.
        unsafe { self.lock.raw.unlock_write() };
    }
}

guard_traits!(RwLockReadGuard, |guard| guard.lock.value.get());
guard_traits!(mut RwLockWriteGuard, |guard| guard.lock.value.get());
guard_traits!(AsyncRwLockReadGuard, |guard| guard.0.lock.value.get());
guard_traits!(mut AsyncRwLockWriteGuard, |guard| guard.0.lock.value.get());

/// See [`RwLock::read_async`].
///
/// ```
/// use openwork::sync::{ReadFuture, RwLock};
///
/// async fn length(text: ReadFuture<'_, String>) -> usize {
///     text.await.unwrap().len()
/// }
/// let text: &'static RwLock<String> = Box::leak(Box::new(RwLock::new("text".into())));
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// assert_eq!(rt.spawn_future(length(text.read_async())).join().unwrap(), 4);
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct ReadFuture<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    task: LockTask<'a>,
}

/// See [`RwLock::write_async`].
///
/// ```
/// use openwork::sync::{RwLock, WriteFuture};
///
/// async fn clear(text: WriteFuture<'_, String>) {
///     text.await.unwrap().clear();
/// }
/// let text: &'static RwLock<String> = Box::leak(Box::new(RwLock::new("text".into())));
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.spawn_future(clear(text.write_async())).join().unwrap();
/// assert!(text.read().unwrap().is_empty());
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct WriteFuture<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    task: LockTask<'a>,
}

impl<'a, T: ?Sized> Future for ReadFuture<'a, T> {
    type Output = LockResult<AsyncRwLockReadGuard<'a, T>>;

    /// # Panics
    /// If polled after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: 1: pinned.
        unsafe { this.task.poll(cx) }.map(|()| match this.lock.read_guard() {
            Ok(guard) => Ok(AsyncRwLockReadGuard(guard)),
            Err(poisoned) => Err(LockError::Poisoned(AsyncRwLockReadGuard(
                poisoned.into_inner(),
            ))),
        })
    }
}

impl<'a, T: ?Sized> Future for WriteFuture<'a, T> {
    type Output = LockResult<AsyncRwLockWriteGuard<'a, T>>;

    /// # Panics
    /// If polled after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: 1: pinned.
        unsafe { this.task.poll(cx) }.map(|()| match this.lock.write_guard() {
            Ok(guard) => Ok(AsyncRwLockWriteGuard(guard)),
            Err(poisoned) => Err(LockError::Poisoned(AsyncRwLockWriteGuard(
                poisoned.into_inner(),
            ))),
        })
    }
}

impl<T: ?Sized> fmt::Debug for ReadFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadFuture").finish_non_exhaustive()
    }
}

impl<T: ?Sized> fmt::Debug for WriteFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteFuture").finish_non_exhaustive()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) | Err(TryLockError::Poisoned(guard)) => shown.field("value", &&*guard),
            Err(TryLockError::WouldBlock) => shown.field("value", &format_args!("<locked>")),
        };
        shown
            .field("poisoned", &self.is_poisoned())
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}
