//! Locks and other meeting points: what routines share and wait at, beside [`channel`](crate::channel)s.
//!
//! | | waits for |
//! |---|---|
//! | [`Mutex`], [`RwLock`] | its turn with a value |
//!
//! All of them may be used by routines, plain threads and async code at once; a waiting routine leaves
//! its thread to others. They are fair: who waits is served in the order of arrival, or after 1 ms at
//! the latest.
//!
//! **Cancelling.** A routine that was asked to end unwinds from a wait that has no error to say so;
//! those with a timeout return `Cancelled`, once. A lock is not poisoned by it, and what was got is
//! never taken back for it.
//!
//! **While panicking** a routine may not be suspended, so in a destructor that an unwinding called, a
//! wait holds the thread. A wait that could last for ever because of that is refused.
//!
//! Below them lie a lock for a few instructions (`lock`), queues of waiters (`wait_queue`), and the
//! one place where a caller goes to sleep in them (`wait`).

mod error;
mod guard_traits;
pub(crate) mod holder;
pub(crate) mod lock;
mod lock_op;
mod mutex;
mod poison;
mod raw_lock;
mod rwlock;
pub(crate) mod wait;
pub(crate) mod wait_queue;

pub use error::{LockError, LockResult, LockTimeoutError, TryLockError};
pub use holder::Owner;
pub use mutex::{AsyncMutexGuard, LockFuture, Mutex, MutexGuard};
pub use rwlock::{
    AsyncRwLockReadGuard, AsyncRwLockWriteGuard, ReadFuture, RwLock, RwLockReadGuard,
    RwLockWriteGuard, WriteFuture,
};
