//! Waiting for a condition in async code.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::primitives::ShortLock;
use crate::sync::condvar::{Condvar, CondvarState, Order};
use crate::sync::error::LockResult;
use crate::sync::mutex::{AsyncMutexGuard, LockFuture, Mutex};
use crate::sync::station::Task;

/// See [`Condvar::wait_async`].
///
/// ```
/// use openwork::{Runtime, sync::{Condvar, Mutex}};
/// use std::sync::Arc;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let shared = Arc::new((Mutex::new(false), Condvar::new()));
/// let waits = shared.clone();
/// let task = rt.spawn_future(async move {
///     let mut ready = waits.0.lock_async().await.unwrap();
///     while !*ready {
///         ready = waits.1.wait_async(ready).await.unwrap();
///     }
/// });
/// *shared.0.lock().unwrap() = true;
/// shared.1.notify_all();
/// task.join().unwrap();
/// ```
#[must_use = "the lock is given back, and nothing is waited for"]
pub struct CondvarFuture<'a, T: ?Sized> {
    condvar: &'a Condvar,
    /// Until the first poll.
    guard: Option<AsyncMutexGuard<'a, T>>,
    wait: Task<'a, CondvarState>,
    /// Once notified.
    again: LockFuture<'a, T>,
    notified: bool,
    /// It was notified alone, and has not come to look yet.
    alone: bool,
}

impl<'a, T: ?Sized> CondvarFuture<'a, T> {
    pub(super) fn new(
        condvar: &'a Condvar,
        state: &'a ShortLock<CondvarState>,
        guard: AsyncMutexGuard<'a, T>,
    ) -> CondvarFuture<'a, T> {
        let lock: &Mutex<T> = AsyncMutexGuard::lock(&guard);
        CondvarFuture {
            condvar,
            guard: Some(guard),
            wait: Task::new(state, Order::new()),
            again: lock.lock_async(),
            notified: false,
            alone: false,
        }
    }
}

impl<'a, T: ?Sized> Future for CondvarFuture<'a, T> {
    type Output = LockResult<AsyncMutexGuard<'a, T>>;

    /// # Panics
    /// If polled after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out but the guard, which is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        if !this.notified {
            // SAFETY: 1: pinned.
            let polled = unsafe { this.wait.poll(cx) };
            // In the queue since the line before, so no notice is missed.
            drop(this.guard.take());
            let (_, order) = ready!(polled);
            this.alone = order.is_alone();
            this.notified = true;
        }
        // SAFETY: pinned with all of this.
        let locked = ready!(unsafe { Pin::new_unchecked(&mut this.again) }.poll(cx));
        this.alone = false;
        Poll::Ready(locked)
    }
}

impl<T: ?Sized> Drop for CondvarFuture<'_, T> {
    fn drop(&mut self) {
        if self.alone {
            self.condvar.notify_one();
        }
    }
}

impl<T: ?Sized> fmt::Debug for CondvarFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CondvarFuture").finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::sync::station::model::{begin_and_drop, block_on, check};
    use loom::sync::Arc;
    use loom::thread;

    /// One waits for a flag, another begins to wait and leaves, a third sets the flag and notifies one: the
    /// first is not left asleep. Breaks if the lock is given back before the queue is entered, or if a
    /// notice is not handed on.
    #[test]
    fn a_notice_is_not_missed() {
        check(|| {
            let shared = Arc::new((Mutex::new(false), Condvar::new()));
            let waits = {
                let shared = shared.clone();
                thread::spawn(move || {
                    block_on(async {
                        let mut flag = shared.0.lock_async().await.unwrap();
                        while !*flag {
                            flag = shared.1.wait_async(flag).await.unwrap();
                        }
                    });
                })
            };
            let leaves = {
                let shared = shared.clone();
                thread::spawn(move || {
                    let flag = block_on(shared.0.lock_async()).unwrap();
                    assert!(!begin_and_drop(shared.1.wait_async(flag)));
                })
            };
            *block_on(shared.0.lock_async()).unwrap() = true;
            shared.1.notify_one();
            waits.join().unwrap();
            leaves.join().unwrap();
        });
    }
}
