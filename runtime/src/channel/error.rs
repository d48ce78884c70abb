//! Why an operation on a channel gave nothing: one type per operation. What was to be sent comes back.

use std::fmt;

/// Why [`Sender::send`](super::Sender::send) did not send.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<T> {
    /// The channel is closed, or has no receiver any more.
    #[error("the channel is closed")]
    Disconnected(T),
    /// The calling routine was asked to end. It is told so once; then calls unwind.
    #[error("the routine was asked to end")]
    Cancelled(T),
    /// The caller is panicking and would have had to wait, perhaps for a routine that only its own
    /// thread can run.
    #[error("waiting while panicking could stop the thread for ever")]
    Refused(T),
}

/// Why [`Sender::try_send`](super::Sender::try_send) did not send.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// There is no room, and no receiver waits.
    #[error("the channel is full")]
    Full(T),
    /// The channel is closed, or has no receiver any more.
    #[error("the channel is closed")]
    Disconnected(T),
}

/// Why [`Sender::send_timeout`](super::Sender::send_timeout) and
/// [`send_deadline`](super::Sender::send_deadline) did not send.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendTimeoutError<T> {
    /// There was no room in time.
    #[error("the channel was full until the deadline")]
    Timeout(T),
    /// The channel is closed, or has no receiver any more.
    #[error("the channel is closed")]
    Disconnected(T),
    /// The calling routine was asked to end. It is told so once; then calls unwind.
    #[error("the routine was asked to end")]
    Cancelled(T),
}

/// Why [`Receiver::recv`](super::Receiver::recv) received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The channel is drained, and closed or without senders.
    #[error("the channel is closed and empty")]
    Disconnected,
    /// The calling routine was asked to end. It is told so once; then calls unwind.
    #[error("the routine was asked to end")]
    Cancelled,
    /// The caller is panicking and would have had to wait, perhaps for a routine that only its own
    /// thread can run.
    #[error("waiting while panicking could stop the thread for ever")]
    Refused,
}

/// Why [`Receiver::try_recv`](super::Receiver::try_recv) received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// Nothing is there, and no sender waits.
    #[error("the channel is empty")]
    Empty,
    /// The channel is drained, and closed or without senders.
    #[error("the channel is closed and empty")]
    Disconnected,
}

/// Why [`Receiver::recv_timeout`](super::Receiver::recv_timeout) and
/// [`recv_deadline`](super::Receiver::recv_deadline) received nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// Nothing came in time.
    #[error("the channel was empty until the deadline")]
    Timeout,
    /// The channel is drained, and closed or without senders.
    #[error("the channel is closed and empty")]
    Disconnected,
    /// The calling routine was asked to end. It is told so once; then calls unwind.
    #[error("the routine was asked to end")]
    Cancelled,
}

impl<T> SendError<T> {
    /// What was to be sent.
    pub fn into_inner(self) -> T {
        match self {
            SendError::Disconnected(value)
            | SendError::Cancelled(value)
            | SendError::Refused(value) => value,
        }
    }
}

impl<T> TrySendError<T> {
    /// What was to be sent.
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Disconnected(value) => value,
        }
    }
}

impl<T> SendTimeoutError<T> {
    /// What was to be sent.
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(value)
            | SendTimeoutError::Disconnected(value)
            | SendTimeoutError::Cancelled(value) => value,
        }
    }
}

// By hand, so that values need not be `Debug` for `unwrap`.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Disconnected(_) => "Disconnected(..)",
            SendError::Cancelled(_) => "Cancelled(..)",
            SendError::Refused(_) => "Refused(..)",
        })
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "Timeout(..)",
            SendTimeoutError::Disconnected(_) => "Disconnected(..)",
            SendTimeoutError::Cancelled(_) => "Cancelled(..)",
        })
    }
}
