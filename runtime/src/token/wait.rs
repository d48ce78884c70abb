//! Waiting for a token's cancel: by a routine, a plain thread, async code or an arm of a `select!`.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::node::Node;
use super::{CancelCause, CancelToken};
use crate::channel::{RecvError, RecvTimeoutError};
use crate::select::{self, AnyArm, Outcome};

/// Why a wait for a [`CancelToken`] ended without its cancel.
///
/// ```
/// use openwork::{CancelToken, WaitError};
/// use std::time::Duration;
///
/// let never = CancelToken::new().wait_timeout(Duration::from_millis(1));
/// assert_eq!(never.map(drop), Err(WaitError::Timeout));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The calling routine itself was asked to end.
    #[error("the routine was asked to end")]
    Cancelled,
    /// The time is over.
    #[error("the token was not cancelled in time")]
    Timeout,
    /// The caller is panicking, and waiting would have put its thread to sleep, perhaps for ever.
    #[error("waiting without a deadline while panicking would hold the thread")]
    Refused,
}

impl CancelToken {
    /// Waits until the token is cancelled: a routine blocks, a plain thread sleeps.
    ///
    /// A routine that is bound to the token is asked to end by the same cancel, and may be told so
    /// instead.
    ///
    /// ```
    /// use openwork::{CancelToken, Runtime};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let token = CancelToken::new();
    /// let waits = token.clone();
    /// let routine = rt.spawn(move || waits.wait().unwrap().to_string());
    /// token.cancel_because("enough");
    /// assert_eq!(routine.join().unwrap(), "enough");
    /// ```
    ///
    /// # Errors
    /// [`WaitError::Cancelled`] and [`WaitError::Refused`].
    ///
    /// # Panics
    /// If it would have to wait in a destructor that the scheduler itself runs.
    pub fn wait(&self) -> Result<CancelCause, WaitError> {
        match self.node.done().recv() {
            Ok(never) => match never {},
            Err(RecvError::Cancelled) => Err(WaitError::Cancelled),
            Err(RecvError::Refused) => Err(WaitError::Refused),
            Err(RecvError::Disconnected) => Ok(self.node.cause_of_cancelled()),
        }
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`.
    ///
    /// ```
    /// use openwork::{CancelToken, WaitError};
    /// use std::time::Duration;
    ///
    /// let nothing = CancelToken::new().wait_timeout(Duration::from_millis(1));
    /// assert_eq!(nothing.unwrap_err(), WaitError::Timeout);
    /// ```
    ///
    /// # Errors
    /// See [`WaitError`].
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<CancelCause, WaitError> {
        self.waited(self.node.done().recv_timeout(timeout))
    }

    /// As [`wait`](Self::wait), but no longer than until `deadline`.
    ///
    /// ```
    /// use openwork::{CancelToken, WaitError, time};
    ///
    /// let nothing = CancelToken::new().wait_deadline(time::now());
    /// assert_eq!(nothing.unwrap_err(), WaitError::Timeout);
    /// ```
    ///
    /// # Errors
    /// See [`WaitError`].
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<CancelCause, WaitError> {
        self.waited(self.node.done().recv_deadline(deadline))
    }

    fn waited(&self, how: Result<Infallible, RecvTimeoutError>) -> Result<CancelCause, WaitError> {
        match how {
            Ok(never) => match never {},
            Err(RecvTimeoutError::Cancelled) => Err(WaitError::Cancelled),
            Err(RecvTimeoutError::Timeout) => Err(WaitError::Timeout),
            Err(RecvTimeoutError::Disconnected) => Ok(self.node.cause_of_cancelled()),
        }
    }

    /// A future that is ready when the token is cancelled, for any executor. In a
    /// [`select!`](crate::select!), an arm: `why = token.cancelled() => ..`, where the pattern gets
    /// what [`wait`](Self::wait) would return.
    ///
    /// ```
    /// use openwork::{CancelToken, Runtime, channel, select};
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let token = CancelToken::new();
    /// let (tx, rx) = channel::rendezvous::<u32>();
    ///
    /// let stop = token.clone();
    /// let by_future = rt.spawn_future(async move { stop.cancelled().await });
    /// let stop = token.clone();
    /// let by_select = rt.spawn(move || {
    ///     select! {
    ///         _ = stop.cancelled() => "stopped",
    ///         number = rx.recv() => panic!("{number:?}"),
    ///     }
    /// });
    /// token.cancel();
    /// by_future.join().unwrap();
    /// assert_eq!(by_select.join().unwrap(), "stopped");
    /// # drop(tx);
    /// ```
    pub async fn cancelled(&self) -> CancelCause {
        // Closed or not ready: nobody can send.
        let _ = self.node.done().recv_async().await;
        self.node.cause_of_cancelled()
    }
}

impl Node {
    fn cause_of_cancelled(&self) -> CancelCause {
        self.cause().expect("the channel is closed by a cancel")
    }
}

/// A wait for a token in a `select!`.
#[derive(Debug)]
pub struct CancelledArm<'a> {
    closed: select::RecvArm<'a, Infallible>,
    token: &'a CancelToken,
}

/// Makes the wait for a token an arm.
pub fn cancelled(token: &CancelToken) -> CancelledArm<'_> {
    CancelledArm {
        closed: select::recv(token.node.done()),
        token,
    }
}

impl CancelledArm<'_> {
    /// For [`select`](crate::select::select).
    pub fn as_arm(&self) -> AnyArm<'_> {
        self.closed.as_arm()
    }

    /// The operation's result, if this is the arm of the outcome.
    ///
    /// # Errors
    /// As [`CancelToken::wait`].
    pub fn finish(self, outcome: Outcome) -> Result<CancelCause, WaitError> {
        match self.closed.finish(outcome) {
            Ok(never) => match never {},
            Err(RecvError::Cancelled) => Err(WaitError::Cancelled),
            Err(RecvError::Refused) => Err(WaitError::Refused),
            Err(RecvError::Disconnected) => Ok(self.token.node.cause_of_cancelled()),
        }
    }
}
