//! A limit for a future.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{Sleep, after, until};

/// A future with a limit; made by [`timeout`] and [`timeout_at`].
///
/// ```
/// use openwork::{Runtime, time::{self, Timeout}};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let bounded: Timeout<_> = time::timeout(Duration::from_secs(1), async { 5 });
/// assert_eq!(rt.spawn_future(bounded).join().unwrap(), Ok(5));
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Timeout<F> {
    /// Pinned as this is.
    future: F,
    sleep: Sleep,
}

/// The future was not ready in time.
///
/// ```
/// use openwork::{Runtime, time::{self, Elapsed}};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let late = time::timeout(Duration::ZERO, std::future::pending::<()>());
/// assert_eq!(rt.spawn_future(late).join().unwrap(), Err(Elapsed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed before the future was ready")]
pub struct Elapsed;

/// Gives `future` so much time from now on; its output, or [`Elapsed`]. It is dropped with the result,
/// not when the time is over.
///
/// A future that is ready at its last poll is in time, however late that comes. One that does not
/// return from a poll cannot be stopped.
///
/// ```
/// use openwork::{Runtime, channel, time};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.spawn_future(async {
///     let (tx, rx) = channel::bounded(1);
///     let wait = || time::timeout(Duration::from_millis(1), rx.recv_async());
///     assert_eq!(wait().await, Err(time::Elapsed));
///     tx.send(5).unwrap();
///     assert_eq!(wait().await, Ok(Ok(5)));
/// })
/// .join()
/// .unwrap();
/// ```
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        future: future.into_future(),
        sleep: after(duration),
    }
}

/// Gives `future` time until `deadline`; as [`timeout`] otherwise.
///
/// ```
/// use openwork::{Runtime, time};
/// use std::time::Instant;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let never = time::timeout_at(Instant::now(), std::future::pending::<()>());
/// assert_eq!(rt.spawn_future(never).join().unwrap(), Err(time::Elapsed));
/// ```
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        future: future.into_future(),
        sleep: until(deadline),
    }
}

impl<F> Timeout<F> {
    /// The future.
    ///
    /// ```
    /// use openwork::time;
    /// use std::time::Duration;
    ///
    /// let limited = time::timeout(Duration::from_secs(1), std::future::ready(5));
    /// assert_eq!(limited.get_ref().clone().into_inner(), 5);
    /// ```
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future, to be changed.
    ///
    /// ```
    /// use openwork::time;
    /// use std::time::Duration;
    ///
    /// let mut limited = time::timeout(Duration::from_secs(1), std::future::ready(5));
    /// *limited.get_mut() = std::future::ready(6);
    /// assert_eq!(limited.into_inner().into_inner(), 6);
    /// ```
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// The future without its limit.
    ///
    /// ```
    /// use openwork::time;
    /// use std::time::Duration;
    ///
    /// let limited = time::timeout(Duration::from_secs(1), std::future::ready(5));
    /// assert_eq!(limited.into_inner().into_inner(), 5);
    /// ```
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the future is not moved out of a pinned `Timeout`: it is pinned again on the next
        // line, the functions that could move it need one that is not pinned, and there is no `Drop`.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        if let Poll::Ready(output) = future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut this.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}

impl<F: fmt::Debug> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("future", &self.future)
            .field("deadline", &self.sleep.deadline())
            .finish()
    }
}
