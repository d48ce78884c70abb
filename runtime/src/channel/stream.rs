//! A channel's values as a stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use crate::channel::error::TryRecvError;
use crate::channel::future::RecvFuture;
use crate::channel::op::RecvOp;
use crate::channel::receiver::Receiver;

/// The values of a channel, for async code; made by [`Receiver::stream`] and [`Receiver::into_stream`].
///
/// Ends when the channel is closed and drained. A value that waits in the channel is taken as by
/// [`try_recv`](Receiver::try_recv); a wait allocates. Dropping the stream loses nothing: what it was given but
/// has not looked at goes back.
///
/// ```
/// use openwork::{Runtime, channel};
/// use std::pin::pin;
/// use futures_core::Stream;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let (tx, rx) = channel::bounded(2);
/// tx.send(1).unwrap();
/// drop(tx);
/// let all = rt.spawn_future(async move {
///     let mut all = Vec::new();
///     let mut values = pin!(rx.stream());
///     while let Some(value) = std::future::poll_fn(|cx| values.as_mut().poll_next(cx)).await {
///         all.push(value);
///     }
///     all
/// });
/// assert_eq!(all.join().unwrap(), [1]);
/// ```
pub struct RecvStream<'a, T> {
    /// Before the receiver, which keeps alive the channel that it names.
    wait: Option<Pin<Box<RecvFuture<'a, T>>>>,
    receiver: Source<'a, T>,
    ended: bool,
}

enum Source<'a, T> {
    Lent(&'a Receiver<T>),
    Owned(Receiver<T>),
}

impl<'a, T> RecvStream<'a, T> {
    pub(super) fn of(receiver: &'a Receiver<T>) -> RecvStream<'a, T> {
        RecvStream {
            wait: None,
            receiver: Source::Lent(receiver),
            ended: false,
        }
    }

    pub(super) fn with(receiver: Receiver<T>) -> RecvStream<'a, T> {
        RecvStream {
            wait: None,
            receiver: Source::Owned(receiver),
            ended: false,
        }
    }

    /// The receiving end.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::unbounded();
    /// tx.send(1).unwrap();
    /// assert_eq!(rx.into_stream().receiver().len(), 1);
    /// ```
    pub fn receiver(&self) -> &Receiver<T> {
        match &self.receiver {
            Source::Lent(receiver) => receiver,
            Source::Owned(receiver) => receiver,
        }
    }

    fn begin_wait(&self) -> Pin<Box<RecvFuture<'a, T>>> {
        let chan = Arc::as_ptr(&self.receiver().0);
        // SAFETY: the channel lies behind a counted reference, so it stays where it is while there is a
        // receiver: a lent one outlives 'a; an owned one is dropped after the wait, which is not given away.
        let chan = unsafe { &*chan };
        Box::pin(RecvFuture::new(RecvOp::new(chan)))
    }
}

impl<T> Stream for RecvStream<'_, T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if this.wait.is_none() {
            match this.receiver().try_recv() {
                Ok(value) => return Poll::Ready(Some(value)),
                Err(TryRecvError::Empty) => this.wait = Some(this.begin_wait()),
                Err(TryRecvError::Disconnected) => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
        let wait = this.wait.as_mut().expect("there, or made above");
        let Poll::Ready(received) = wait.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        this.wait = None;
        this.ended = received.is_err();
        Poll::Ready(received.ok())
    }
}

impl<T> FusedStream for RecvStream<'_, T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T> fmt::Debug for RecvStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::describe(&self.receiver().0, f.debug_struct("RecvStream"))
    }
}
