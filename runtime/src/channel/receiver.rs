//! The receiving end.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::Cancelled;
use crate::channel::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::channel::future::RecvFuture;
use crate::channel::op::{self, RecvOp};
use crate::channel::state::{Chan, Nothing, State};
use crate::channel::stream::RecvStream;
use crate::channel::{deadline_at, deadline_in, report_cancel};
use crate::scheduler::block::Caller;
use crate::scheduler::explore;
use crate::scheduler::timers::NEVER;
use crate::sync::lock::Guard;
use crate::sync::wait::Woken;

/// The receiving end of a channel. Clones receive from the same one, each value once; when the last is
/// dropped, the channel closes, and what was in it is dropped.
///
/// ```
/// let (tx, rx) = openwork::channel::unbounded();
/// let other = rx.clone();
/// tx.send(1).unwrap();
/// tx.send(2).unwrap();
/// assert_eq!((rx.recv(), other.recv()), (Ok(1), Ok(2)));
/// ```
pub struct Receiver<T>(pub(super) Arc<Chan<T>>);

impl<T> Receiver<T> {
    /// Receives the next value; waits while there is none.
    ///
    /// A routine blocks with reason `channel`; a plain thread sleeps. In async code use
    /// [`recv_async`](Self::recv_async).
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// let (tx, rx) = openwork::channel::bounded(4);
    /// let adder = rt.spawn(move || rx.recv().unwrap() + rx.recv().unwrap());
    /// tx.send(40).unwrap();
    /// tx.send(2).unwrap();
    /// assert_eq!(adder.join().unwrap(), 42);
    /// ```
    ///
    /// # Errors
    /// See [`RecvError`].
    ///
    /// # Panics
    /// If it would have to wait in a destructor that the scheduler itself runs.
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        explore::point();
        let Ok(caller) = report_cancel() else {
            return Err(RecvError::Cancelled);
        };
        let mut state = self.0.lock_here(caller.here);
        match state.recv() {
            Ok((value, rouse)) => {
                drop(state);
                if let Some(rouse) = rouse {
                    rouse.rouse();
                }
                Ok(value)
            }
            Err(Nothing::Ever) => Err(RecvError::Disconnected),
            Err(Nothing::Yet) => self.recv_slowly(state, caller),
        }
    }

    /// Inlined: the return from a frame of its own would be predicted wrong after each switch, see
    /// [`suspend`](crate::routine::context::suspend).
    #[inline(always)]
    fn recv_slowly(&self, state: Guard<'_, State<T>>, caller: Caller) -> Result<T, RecvError> {
        let mut op = RecvOp::new(&self.0);
        state.keep();
        // SAFETY: 1: the lock was kept on the line above, under which there was nothing to receive; 2: `caller`
        // is of this call.
        match unsafe { op::sleep_held(&op, caller, NEVER, "recv") } {
            Woken::Done(_) => op.finish(),
            Woken::Cancelled => Err(RecvError::Cancelled),
            _ => Err(RecvError::Refused),
        }
    }

    /// Receives the next value if that is possible without waiting.
    ///
    /// ```
    /// use openwork::channel::{self, TryRecvError};
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(5).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.try_recv(), Ok(5));
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    ///
    /// # Errors
    /// See [`TryRecvError`].
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.recv().map_err(|nothing| match nothing {
            Nothing::Yet => TryRecvError::Empty,
            Nothing::Ever => TryRecvError::Disconnected,
        })
    }

    /// As [`recv`](Self::recv), but waits no longer than `timeout`.
    ///
    /// ```
    /// use openwork::channel::{self, RecvTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (_tx, rx) = channel::bounded::<i32>(1);
    /// let nothing = rx.recv_timeout(Duration::from_millis(1));
    /// assert_eq!(nothing, Err(RecvTimeoutError::Timeout));
    /// ```
    ///
    /// # Errors
    /// See [`RecvTimeoutError`].
    ///
    /// # Panics
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(|| deadline_in(timeout))
    }

    /// As [`recv`](Self::recv), but waits no longer than until `deadline`.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::bounded(1);
    /// tx.send(5).unwrap();
    /// assert_eq!(rx.recv_deadline(std::time::Instant::now()), Ok(5)); // what is there is not late
    /// ```
    ///
    /// # Errors
    /// See [`RecvTimeoutError`].
    ///
    /// # Panics
    /// As [`recv`](Self::recv).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(|| deadline_at(deadline))
    }

    fn recv_until(&self, deadline: impl FnOnce() -> u64) -> Result<T, RecvTimeoutError> {
        if let Err(Cancelled) = report_cancel() {
            return Err(RecvTimeoutError::Cancelled);
        }
        match self.0.recv() {
            Ok(value) => return Ok(value),
            Err(Nothing::Ever) => return Err(RecvTimeoutError::Disconnected),
            Err(Nothing::Yet) => {}
        }
        let mut op = RecvOp::new(&self.0);
        match op::sleep(&op, deadline(), "recv") {
            Woken::Done(_) => op.take().ok_or(RecvTimeoutError::Disconnected),
            Woken::Cancelled => Err(RecvTimeoutError::Cancelled),
            _ => Err(RecvTimeoutError::Timeout),
        }
    }

    /// A future that receives the next value, for any executor.
    ///
    /// Dropped before it is ready, it takes nothing: a value that was on its way to it is the channel's
    /// next again. It is then behind values that other receivers have taken meanwhile.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// let (tx, rx) = openwork::channel::rendezvous();
    /// let sum = rt.spawn_future(async move {
    ///     let mut sum = 0;
    ///     while let Ok(value) = rx.recv_async().await {
    ///         sum += value;
    ///     }
    ///     sum
    /// });
    /// (0..10).for_each(|i| tx.send(i).unwrap());
    /// drop(tx);
    /// assert_eq!(sum.join().unwrap(), 45);
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture::new(RecvOp::new(&self.0))
    }

    /// The values as a stream, for async code, until the channel is closed and drained.
    ///
    /// ```
    /// use futures_util::StreamExt;
    ///
    /// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// let (tx, rx) = openwork::channel::bounded(4);
    /// let sum = rt.spawn_future(async move { rx.stream().fold(0, async |sum, n| sum + n).await });
    /// (1..=10).for_each(|n| tx.send(n).unwrap());
    /// drop(tx);
    /// assert_eq!(sum.join().unwrap(), 55);
    /// ```
    pub fn stream(&self) -> RecvStream<'_, T> {
        RecvStream::of(self)
    }

    /// As [`stream`](Self::stream), with the receiver inside.
    ///
    /// ```
    /// use futures_util::StreamExt;
    ///
    /// let (tx, rx) = openwork::channel::unbounded();
    /// tx.send(1).unwrap();
    /// tx.close();
    /// assert_eq!(openwork::block_on(rx.into_stream().collect::<Vec<_>>()), [1]);
    /// ```
    pub fn into_stream(self) -> RecvStream<'static, T>
    where
        T: 'static,
    {
        RecvStream::with(self)
    }

    /// Receives until the channel is closed and drained, or the calling routine is asked to end.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::unbounded();
    /// (0..3).for_each(|i| tx.send(i).unwrap());
    /// drop(tx);
    /// assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }

    /// Receives until nothing is there.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::unbounded();
    /// (0..3).for_each(|i| tx.send(i).unwrap());
    /// assert_eq!(rx.try_iter().count(), 3); // though `tx` could send more
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self)
    }

    /// Closes the channel for all its ends; see [`Sender::close`](super::Sender::close).
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::bounded(1);
    /// rx.close();
    /// assert_eq!(tx.send("late").unwrap_err().into_inner(), "late");
    /// ```
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether the channel is closed, or has no sender any more. There may be values in it.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::bounded::<u8>(1);
    /// assert!(!rx.is_closed());
    /// tx.close();
    /// assert!(rx.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Values in the channel: sent, not yet received. Those of waiting senders do not count.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::bounded(2);
    /// tx.send('a').unwrap();
    /// assert_eq!(rx.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is in the channel.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::bounded(2);
    /// assert!(rx.is_empty());
    /// tx.send('a').unwrap();
    /// assert!(!rx.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most values that can be in the channel; 0 for a rendezvous, `None` for an unbounded one.
    ///
    /// ```
    /// use openwork::channel;
    /// assert_eq!(channel::bounded::<u8>(3).1.capacity(), Some(3));
    /// assert_eq!(channel::unbounded::<u8>().1.capacity(), None);
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        self.0.capacity()
    }

    /// The soft limit of an unbounded channel that has one; see
    /// [`unbounded_with_soft_limit`](super::unbounded_with_soft_limit).
    ///
    /// ```
    /// let (_tx, rx) = openwork::channel::unbounded::<u8>();
    /// assert_eq!(rx.soft_limit(), None);
    /// ```
    pub fn soft_limit(&self) -> Option<usize> {
        self.0.soft_limit().map(|(limit, ..)| limit)
    }

    /// Whether more values are in the channel than its soft limit says. False without such a limit.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::unbounded_with_soft_limit(0);
    /// tx.send(1).unwrap();
    /// assert!(rx.is_over_soft_limit());
    /// ```
    pub fn is_over_soft_limit(&self) -> bool {
        self.0.soft_limit().is_some_and(|(_, over, _)| over)
    }

    /// Values that were sent although the channel was at its soft limit or beyond.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::unbounded_with_soft_limit(0);
    /// tx.send(1).unwrap();
    /// assert_eq!(rx.sent_over_soft_limit(), 1);
    /// ```
    pub fn sent_over_soft_limit(&self) -> u64 {
        self.0.soft_limit().map_or(0, |(.., sent_over)| sent_over)
    }

    /// Most values that were ever in the channel at once.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::unbounded();
    /// tx.send(1).unwrap();
    /// tx.send(2).unwrap();
    /// rx.recv().unwrap();
    /// assert_eq!((rx.len(), rx.high_water()), (1, 2));
    /// ```
    pub fn high_water(&self) -> usize {
        self.0.high_water()
    }

    pub(crate) fn chan(&self) -> &Chan<T> {
        &self.0
    }

    /// Whether both clones are of one channel.
    ///
    /// ```
    /// use openwork::channel;
    /// let (_, a) = channel::bounded::<u8>(1);
    /// let (_, b) = channel::bounded::<u8>(1);
    /// assert!(a.same_channel(&a.clone()) && !a.same_channel(&b));
    /// ```
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.0.add_receiver();
        Receiver(self.0.clone())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.drop_receiver();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::describe(&self.0, f.debug_struct("Receiver"))
    }
}

/// See [`Receiver::iter`].
///
/// ```
/// let (tx, rx) = openwork::channel::unbounded();
/// tx.send(1).unwrap();
/// tx.send(2).unwrap();
/// drop(tx);
/// assert_eq!(rx.iter().sum::<i32>(), 3);
/// ```
#[derive(Debug)]
pub struct Iter<'a, T>(&'a Receiver<T>);

/// See [`Receiver::try_iter`].
///
/// ```
/// let (tx, rx) = openwork::channel::unbounded();
/// tx.send(1).unwrap();
/// assert_eq!(rx.try_iter().count(), 1); // does not wait for more
/// ```
#[derive(Debug)]
pub struct TryIter<'a, T>(&'a Receiver<T>);

/// [`Receiver::iter`], with the receiver inside.
///
/// ```
/// let (tx, rx) = openwork::channel::unbounded();
/// tx.send("last").unwrap();
/// drop(tx);
/// for text in rx {
///     assert_eq!(text, "last");
/// }
/// ```
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

// A closed channel stays closed; after a cancel the next call unwinds.
impl<T> FusedIterator for Iter<'_, T> {}
impl<T> FusedIterator for IntoIter<T> {}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}
