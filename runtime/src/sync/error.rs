//! Why a lock was not taken, or was found poisoned: one type per operation. A guard that a panic left
//! poisoned is inside the error.

use std::fmt;

use crate::sync::lock_op::NotTaken;

/// What [`Mutex::lock`](super::Mutex::lock) and its like return.
pub type LockResult<G> = Result<G, LockError<G>>;

/// Why [`Mutex::lock`](super::Mutex::lock), [`RwLock::read`](super::RwLock::read) or
/// [`RwLock::write`](super::RwLock::write) gave no clean guard.
///
/// ```
/// use openwork::sync::{LockError, Mutex};
///
/// # std::panic::set_hook(Box::new(|_| {}));
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let lock = std::sync::Arc::new(Mutex::new(7));
/// let other = lock.clone();
/// let _ = rt.spawn(move || { let _guard = other.lock(); panic!("midway") }).join();
/// match lock.lock() {
///     Err(LockError::Poisoned(guard)) => assert_eq!(*guard, 7),
///     _ => unreachable!(),
/// }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LockError<G> {
    /// A panic struck while the lock was held before. It is held again; here is its guard.
    #[error("a panic struck while the lock was held")]
    Poisoned(G),
    /// The caller is panicking, and the lock is held by somebody who only its own thread can run: the
    /// wait would have stopped the thread for ever.
    #[error("waiting while panicking could stop the thread for ever")]
    Refused,
}

/// Why [`Mutex::try_lock`](super::Mutex::try_lock) and its like gave no clean guard.
///
/// ```
/// use openwork::sync::{Mutex, TryLockError};
///
/// let lock = Mutex::new(7);
/// let guard = lock.lock().unwrap();
/// assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
/// # drop(guard);
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TryLockError<G> {
    /// A panic struck while the lock was held before. It is held again; here is its guard.
    #[error("a panic struck while the lock was held")]
    Poisoned(G),
    /// Somebody holds the lock, or has a better claim to it.
    #[error("the lock is held")]
    WouldBlock,
}

/// Why [`Mutex::lock_timeout`](super::Mutex::lock_timeout) and its like gave no clean guard.
///
/// ```
/// use openwork::sync::{LockTimeoutError, Mutex};
/// use std::time::Duration;
///
/// let lock = Mutex::new(7);
/// let guard = lock.lock().unwrap();
/// let late = lock.lock_timeout(Duration::from_millis(1));
/// assert!(matches!(late, Err(LockTimeoutError::Timeout)));
/// # drop(late);
/// # drop(guard);
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LockTimeoutError<G> {
    /// A panic struck while the lock was held before. It is held again; here is its guard.
    #[error("a panic struck while the lock was held")]
    Poisoned(G),
    /// The lock was held until the deadline.
    #[error("the lock was held until the deadline")]
    Timeout,
    /// The calling routine was asked to end. It is told so once; then calls unwind.
    #[error("the routine was asked to end")]
    Cancelled,
}

/// Why [`Condvar::wait_timeout`](super::Condvar::wait_timeout) and its like gave no clean guard. Inside
/// it is what the call would have returned.
///
/// ```
/// use openwork::sync::{Condvar, CondvarTimeoutError, Mutex};
/// use std::time::Duration;
///
/// let (lock, never) = (Mutex::new(7), Condvar::new());
/// match never.wait_timeout(lock.lock().unwrap(), Duration::ZERO) {
///     Ok((guard, result)) => assert!(result.timed_out() && *guard == 7),
///     Err(CondvarTimeoutError::Cancelled) => println!("the routine should end"),
///     Err(why) => panic!("{why}"),
/// }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CondvarTimeoutError<G> {
    /// A panic struck while the lock was held before. It is held again; here is its guard.
    #[error("a panic struck while the lock was held")]
    Poisoned(G),
    /// The calling routine was asked to end. It is told so once; then calls unwind. The lock is not held.
    #[error("the routine was asked to end")]
    Cancelled,
    /// As [`LockError::Refused`]. The lock is not held.
    #[error("waiting while panicking could stop the thread for ever")]
    Refused,
}

/// Why a wait with a timeout ended before what it waited for.
///
/// ```
/// use openwork::sync::{Latch, WaitTimeoutError};
/// use std::time::Duration;
///
/// let closed = Latch::new(1);
/// assert_eq!(closed.wait_timeout(Duration::ZERO), Err(WaitTimeoutError::Timeout));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitTimeoutError {
    /// It did not happen in time.
    #[error("it did not happen until the deadline")]
    Timeout,
    /// The calling routine was asked to end. It is told so once; then calls unwind.
    #[error("the routine was asked to end")]
    Cancelled,
}

/// Why [`Semaphore::acquire`](super::Semaphore::acquire) and its like gave no permit.
///
/// ```
/// use openwork::sync::{AcquireError, Semaphore};
///
/// let semaphore = Semaphore::new(0);
/// semaphore.close();
/// assert_eq!(semaphore.acquire().unwrap_err(), AcquireError::Closed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The semaphore is closed.
    #[error("the semaphore is closed")]
    Closed,
    /// The calling routine was asked to end. It is told so once; then calls unwind.
    #[error("the routine was asked to end")]
    Cancelled,
    /// The caller is panicking and would have had to wait, perhaps for a routine that only its own
    /// thread can run.
    #[error("waiting while panicking could stop the thread for ever")]
    Refused,
}

/// Why [`Semaphore::try_acquire`](super::Semaphore::try_acquire) and its like gave no permit.
///
/// ```
/// use openwork::sync::{Semaphore, TryAcquireError};
/// assert_eq!(Semaphore::new(0).try_acquire().unwrap_err(), TryAcquireError::NoPermits);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryAcquireError {
    /// There are not enough permits, or others wait for them.
    #[error("there are not enough permits")]
    NoPermits,
    /// The semaphore is closed.
    #[error("the semaphore is closed")]
    Closed,
}

/// Why [`Semaphore::acquire_timeout`](super::Semaphore::acquire_timeout) and its like gave no permit.
///
/// ```
/// use openwork::sync::{AcquireTimeoutError, Semaphore};
/// use std::time::Duration;
///
/// let late = Semaphore::new(0).acquire_timeout(Duration::ZERO).map(drop);
/// assert_eq!(late, Err(AcquireTimeoutError::Timeout));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireTimeoutError {
    /// There were not enough permits until the deadline.
    #[error("there were not enough permits until the deadline")]
    Timeout,
    /// The semaphore is closed.
    #[error("the semaphore is closed")]
    Closed,
    /// The calling routine was asked to end. It is told so once; then calls unwind.
    #[error("the routine was asked to end")]
    Cancelled,
}

impl<G> LockError<G> {
    /// The guard, poisoned or not.
    ///
    /// ```
    /// use openwork::sync::LockError;
    ///
    /// assert_eq!(LockError::Poisoned(5).into_inner(), 5);
    /// ```
    ///
    /// # Panics
    /// If there is none: the lock was [`Refused`](Self::Refused).
    #[track_caller]
    pub fn into_inner(self) -> G {
        match self {
            LockError::Poisoned(guard) => guard,
            LockError::Refused => panic!("no guard: {}", LockError::<G>::Refused),
        }
    }
}

pub(super) fn poisoned_or<G>(poisoned: bool, guard: G) -> LockResult<G> {
    if poisoned {
        Err(LockError::Poisoned(guard))
    } else {
        Ok(guard)
    }
}

impl<G> From<LockError<G>> for TryLockError<G> {
    fn from(error: LockError<G>) -> TryLockError<G> {
        match error {
            LockError::Poisoned(guard) => TryLockError::Poisoned(guard),
            LockError::Refused => TryLockError::WouldBlock,
        }
    }
}

impl<G> From<LockError<G>> for LockTimeoutError<G> {
    fn from(error: LockError<G>) -> LockTimeoutError<G> {
        match error {
            LockError::Poisoned(guard) => LockTimeoutError::Poisoned(guard),
            LockError::Refused => LockTimeoutError::Timeout,
        }
    }
}

impl<G> From<NotTaken> for LockTimeoutError<G> {
    fn from(why: NotTaken) -> LockTimeoutError<G> {
        match why {
            NotTaken::Cancelled => LockTimeoutError::Cancelled,
            // A wait with a deadline is not refused.
            NotTaken::TimedOut | NotTaken::Refused => LockTimeoutError::Timeout,
        }
    }
}

// By hand, so that what is guarded need not be `Debug` for `unwrap`.
impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockError::Poisoned(_) => "Poisoned(..)",
            LockError::Refused => "Refused",
        })
    }
}

impl<G> fmt::Debug for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryLockError::Poisoned(_) => "Poisoned(..)",
            TryLockError::WouldBlock => "WouldBlock",
        })
    }
}

impl<G> fmt::Debug for CondvarTimeoutError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CondvarTimeoutError::Poisoned(_) => "Poisoned(..)",
            CondvarTimeoutError::Cancelled => "Cancelled",
            CondvarTimeoutError::Refused => "Refused",
        })
    }
}

impl<G> fmt::Debug for LockTimeoutError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockTimeoutError::Poisoned(_) => "Poisoned(..)",
            LockTimeoutError::Timeout => "Timeout",
            LockTimeoutError::Cancelled => "Cancelled",
        })
    }
}
