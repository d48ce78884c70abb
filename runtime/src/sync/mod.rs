//! Locks and other meeting points: what routines share and wait at, beside [`channel`](crate::channel)s.
//!
//! | | waits for |
//! |---|---|
//! | [`Mutex`], [`RwLock`] | its turn with a value |
//! | [`Condvar`] | a change of what a mutex protects |
//! | [`Semaphore`] | one of so many permits |
//! | [`WaitGroup`], [`Latch`] | others to be done |
//! | [`Barrier`] | others to come here too |
//! | [`Once`], [`OnceCell`], [`Lazy`] | another to have made it |
//! | [`Notify`] | a notice without a value |
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

mod barrier;
mod condvar;
mod condvar_future;
mod error;
mod guard_traits;
pub(crate) mod holder;
mod latch;
pub(crate) mod lock;
mod lock_op;
mod mutex;
mod notify;
mod once;
mod once_cell;
mod poison;
mod raw_lock;
mod rwlock;
mod semaphore;
mod station;
pub(crate) mod wait;
mod wait_group;
pub(crate) mod wait_queue;

use crate::snapshot::WaitReason;

/// Who holds what somebody waits for.
///
/// # Safety
/// 1. Alive: somebody waits for this reason at `object`, by this module, and does not go on meanwhile.
pub(crate) unsafe fn owner_of(reason: WaitReason, object: *const ()) -> Option<Owner> {
    // SAFETY: 1 by the caller; each of the two reasons is for one type alone.
    let holder = unsafe {
        match reason {
            WaitReason::Lock => (*object.cast::<lock_op::Raw>()).owner(),
            WaitReason::Once => once::runner(object),
            _ => return None,
        }
    };
    holder.owner()
}

pub use barrier::{Barrier, BarrierFuture, BarrierWaitResult};
pub use condvar::{Condvar, TimedWait, WaitTimeoutResult};
pub use condvar_future::CondvarFuture;
pub use error::{
    AcquireError, AcquireTimeoutError, CondvarTimeoutError, LockError, LockResult,
    LockTimeoutError, TryAcquireError, TryLockError, WaitTimeoutError,
};
pub use holder::Owner;
pub use latch::{Latch, LatchFuture};
pub use mutex::{AsyncMutexGuard, LockFuture, Mutex, MutexGuard};
pub use notify::{Notify, NotifyFuture};
pub use once::{Once, OnceStage};
pub use once_cell::{Lazy, OnceCell};
pub use rwlock::{
    AsyncRwLockReadGuard, AsyncRwLockWriteGuard, ReadFuture, RwLock, RwLockReadGuard,
    RwLockWriteGuard, WriteFuture,
};
pub use semaphore::{AcquireFuture, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
pub use wait_group::{WaitGroup, WaitGroupFuture, WaitGroupMember};
