//! Why an operation on a channel gave nothing: one type per operation. What was to be sent comes back.

use std::fmt;

/// Why [`Sender::send`](super::Sender::send) did not send.
///
/// ```
/// use openwork::channel::{self, SendError};
/// let (tx, rx) = channel::bounded(1);
/// drop(rx);
/// assert_eq!(tx.send(7), Err(SendError::Disconnected(7)));
/// ```
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
///
/// ```
/// use openwork::channel::{self, TrySendError};
/// let (tx, _rx) = channel::bounded(1);
/// tx.try_send(1).unwrap();
/// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
/// ```
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
///
/// ```
/// use openwork::channel::{self, SendTimeoutError};
/// use std::time::Duration;
/// let (tx, _rx) = channel::rendezvous();
/// let why = tx.send_timeout(1, Duration::from_millis(1));
/// assert_eq!(why, Err(SendTimeoutError::Timeout(1)));
/// ```
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
///
/// ```
/// use openwork::channel::{self, RecvError};
/// let (tx, rx) = channel::bounded::<u8>(1);
/// drop(tx);
/// assert_eq!(rx.recv(), Err(RecvError::Disconnected));
/// ```
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
///
/// ```
/// use openwork::channel::{self, TryRecvError};
/// let (_tx, rx) = channel::bounded::<u8>(1);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
/// ```
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
///
/// ```
/// use openwork::channel::{self, RecvTimeoutError};
/// use std::time::Duration;
/// let (_tx, rx) = channel::bounded::<u8>(1);
/// assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
/// ```
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
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::rendezvous();
    /// drop(rx);
    /// assert_eq!(tx.send(7).unwrap_err().into_inner(), 7);
    /// ```
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
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::rendezvous();
    /// assert_eq!(tx.try_send(7).unwrap_err().into_inner(), 7); // nobody receives
    /// # drop(rx);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Disconnected(value) => value,
        }
    }
}

impl<T> SendTimeoutError<T> {
    /// What was to be sent.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::rendezvous();
    /// let why = tx.send_timeout(7, std::time::Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(why.into_inner(), 7);
    /// # drop(rx);
    /// ```
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
