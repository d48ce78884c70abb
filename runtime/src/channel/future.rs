//! Sending and receiving in async code.

use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::channel::error::{RecvError, SendError};
use crate::channel::op::{self, RecvOp, SendOp};
use crate::sync::wait::{self, Polled, TaskState, Wait};

/// See [`Sender::send_async`](super::Sender::send_async).
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// # rt.block_on(|| {
/// let (tx, rx) = openwork::channel::bounded(1);
/// openwork::spawn_future(async move { tx.send_async("hello").await.unwrap() });
/// assert_eq!(rx.recv().unwrap(), "hello");
/// # });
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct SendFuture<'a, T> {
    op: SendOp<'a, T>,
    task: Task,
}

/// See [`Receiver::recv_async`](super::Receiver::recv_async).
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// # rt.block_on(|| {
/// let (tx, rx) = openwork::channel::bounded(1);
/// let reader = openwork::spawn_future(async move { rx.recv_async().await.unwrap() });
/// tx.send("hello").unwrap();
/// assert_eq!(reader.join().unwrap(), "hello");
/// # });
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct RecvFuture<'a, T> {
    op: RecvOp<'a, T>,
    task: Task,
}

/// The wait of a future, which is pinned from its first poll on.
struct Task {
    wait: Wait,
    state: TaskState,
    ready: bool,
    _pinned: PhantomPinned,
}

impl Task {
    fn new() -> Task {
        Task {
            wait: Wait::new(),
            state: TaskState::new(),
            ready: false,
            _pinned: PhantomPinned,
        }
    }
}

// SAFETY: the wait's place for its sleeper blocks the automatic one: a waker, which is `Send`.
unsafe impl Send for Task {}

impl<'a, T> SendFuture<'a, T> {
    pub(super) fn new(op: SendOp<'a, T>) -> Self {
        SendFuture {
            op,
            task: Task::new(),
        }
    }
}

impl<'a, T> RecvFuture<'a, T> {
    pub(super) fn new(op: RecvOp<'a, T>) -> Self {
        RecvFuture {
            op,
            task: Task::new(),
        }
    }
}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    /// If polled after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out but the value, which is not pinned, and that only when the
        // operation is done.
        let this = unsafe { self.get_unchecked_mut() };
        assert!(!this.task.ready, "polled after it was ready");
        // SAFETY: pinned, so the operation stays; dropping leaves the queue.
        match unsafe { op::poll(&this.op, &this.task.wait, &this.task.state, cx) } {
            Polled::Pending => Poll::Pending,
            Polled::Done => {
                this.task.ready = true;
                Poll::Ready(this.op.finish())
            }
        }
    }
}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    /// # Panics
    /// If polled after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: as for `SendFuture`.
        let this = unsafe { self.get_unchecked_mut() };
        assert!(!this.task.ready, "polled after it was ready");
        // SAFETY: as for `SendFuture`.
        match unsafe { op::poll(&this.op, &this.task.wait, &this.task.state, cx) } {
            Polled::Pending => Poll::Pending,
            Polled::Done => {
                this.task.ready = true;
                Poll::Ready(this.op.finish())
            }
        }
    }
}

impl<T> Drop for SendFuture<'_, T> {
    fn drop(&mut self) {
        // A receiver that was faster has the value; otherwise it goes with the future.
        wait::leave_task(&self.op, &self.task.wait, &self.task.state);
    }
}

impl<T> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        let given = wait::leave_task(&self.op, &self.task.wait, &self.task.state);
        if given && let Some(value) = self.op.take() {
            self.op.chan().give_back(value);
        }
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture").finish_non_exhaustive()
    }
}
