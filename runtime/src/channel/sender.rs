//! The sending end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::Cancelled;
use crate::channel::error::{SendError, SendTimeoutError, TrySendError};
use crate::channel::future::SendFuture;
use crate::channel::op::{self, SendOp};
use crate::channel::state::{Chan, Refusal, State};
use crate::channel::{deadline_at, deadline_in, report_cancel};
use crate::scheduler::block::Caller;
use crate::scheduler::explore;
use crate::scheduler::timers::NEVER;
use crate::sync::lock::Guard;
use crate::sync::wait::Woken;

/// The sending end of a channel. Clones send into the same one; when the last is dropped, the channel
/// closes, and receivers drain it.
///
/// ```
/// let (tx, rx) = openwork::channel::unbounded();
/// let other = tx.clone();
/// other.send("from one").unwrap();
/// tx.send("from the other").unwrap();
/// assert_eq!(rx.try_iter().count(), 2);
/// ```
pub struct Sender<T>(pub(super) Arc<Chan<T>>);

impl<T> Sender<T> {
    /// Sends `value`; waits while the channel is full, or, in a rendezvous channel, until a receiver
    /// takes it.
    ///
    /// A routine blocks with reason `channel`; a plain thread sleeps. In async code use
    /// [`send_async`](Self::send_async).
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// let (tx, rx) = openwork::channel::rendezvous();
    /// let sender = rt.spawn(move || tx.send("hello"));
    /// assert_eq!(rx.recv(), Ok("hello")); // on a plain thread
    /// sender.join().unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    /// See [`SendError`]; each gives the value back.
    ///
    /// # Panics
    /// If it would have to wait in a destructor that the scheduler itself runs.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_or_wait(value, false)
    }

    #[inline(always)]
    fn send_or_wait(&self, value: T, paced: bool) -> Result<(), SendError<T>> {
        explore::point();
        let Ok(caller) = report_cancel() else {
            return Err(SendError::Cancelled(value));
        };
        let mut state = self.0.lock_here(caller.here);
        match state.send(value, paced) {
            Ok(rouse) => {
                drop(state);
                if let Some(rouse) = rouse {
                    rouse.rouse();
                }
                Ok(())
            }
            Err(Refusal::Closed(value)) => Err(SendError::Disconnected(value)),
            Err(Refusal::Full(value)) => self.send_slowly(value, paced, state, caller),
        }
    }

    /// Inlined: the return from a frame of its own would be predicted wrong after each switch, see
    /// [`suspend`](crate::routine::context::suspend).
    #[inline(always)]
    fn send_slowly(
        &self,
        value: T,
        paced: bool,
        state: Guard<'_, State<T>>,
        caller: Caller,
    ) -> Result<(), SendError<T>> {
        let mut op = SendOp::new(&self.0, value).paced(paced);
        state.keep();
        // SAFETY: 1: the lock was kept on the line above, under which the channel was full; 2: `caller` is of
        // this call.
        let woken = unsafe { op::sleep_held(&op, caller, NEVER, "send") };
        if let Woken::Done(_) = woken {
            return op.finish();
        }
        let value = op.take().expect("not sent");
        Err(match woken {
            Woken::Cancelled => SendError::Cancelled(value),
            _ => SendError::Refused(value),
        })
    }

    /// Sends `value` if that is possible without waiting.
    ///
    /// ```
    /// use openwork::channel::{self, TrySendError};
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// assert_eq!(tx.try_send(1), Ok(()));
    /// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    /// drop(rx);
    /// assert_eq!(tx.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    ///
    /// # Errors
    /// See [`TrySendError`]; each gives the value back.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.0.send(value, false).map_err(|refusal| match refusal {
            Refusal::Full(value) => TrySendError::Full(value),
            Refusal::Closed(value) => TrySendError::Disconnected(value),
        })
    }

    /// As [`send`](Self::send), but waits no longer than `timeout`.
    ///
    /// ```
    /// use openwork::channel::{self, SendTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (tx, _rx) = channel::rendezvous();
    /// let sent = tx.send_timeout(7, Duration::from_millis(1));
    /// assert_eq!(sent, Err(SendTimeoutError::Timeout(7)));
    /// ```
    ///
    /// # Errors
    /// See [`SendTimeoutError`]; each gives the value back.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, false, || deadline_in(timeout))
    }

    /// As [`send`](Self::send), but waits no longer than until `deadline`.
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let (tx, _rx) = openwork::channel::rendezvous();
    /// assert_eq!(tx.send_deadline(7, Instant::now()).unwrap_err().into_inner(), 7);
    /// ```
    ///
    /// # Errors
    /// See [`SendTimeoutError`]; each gives the value back.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, false, || deadline_at(deadline))
    }

    fn send_until(
        &self,
        value: T,
        paced: bool,
        deadline: impl FnOnce() -> u64,
    ) -> Result<(), SendTimeoutError<T>> {
        if let Err(Cancelled) = report_cancel() {
            return Err(SendTimeoutError::Cancelled(value));
        }
        let value = match self.0.send(value, paced) {
            Ok(()) => return Ok(()),
            Err(Refusal::Closed(value)) => return Err(SendTimeoutError::Disconnected(value)),
            Err(Refusal::Full(value)) => value,
        };
        let mut op = SendOp::new(&self.0, value).paced(paced);
        let woken = op::sleep(&op, deadline(), "send");
        match (woken, op.take()) {
            (Woken::Done(_), None) => Ok(()),
            (Woken::Done(_), Some(value)) => Err(SendTimeoutError::Disconnected(value)),
            (Woken::Cancelled, value) => Err(SendTimeoutError::Cancelled(value.expect("not sent"))),
            (_, value) => Err(SendTimeoutError::Timeout(value.expect("not sent"))),
        }
    }

    /// A future that sends `value`, for any executor. Dropped before it is ready, it drops the value,
    /// unless a receiver was faster.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// let (tx, rx) = openwork::channel::bounded(1);
    /// rt.spawn_future(async move {
    ///     for i in 0..10 {
    ///         tx.send_async(i).await.unwrap();
    ///     }
    /// });
    /// assert_eq!(rx.iter().sum::<i32>(), 45);
    /// ```
    pub fn send_async(&self, value: T) -> SendFuture<'_, T> {
        SendFuture::new(SendOp::new(&self.0, value))
    }

    /// Closes the channel for all its ends: nothing can be sent any more, what was sent can still be
    /// received.
    ///
    /// ```
    /// use openwork::channel::{self, RecvError, SendError};
    ///
    /// let (tx, rx) = channel::bounded(2);
    /// tx.send(1).unwrap();
    /// tx.close();
    /// assert_eq!(tx.send(2), Err(SendError::Disconnected(2)));
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    /// ```
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether the channel is closed, or has no receiver any more.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::bounded::<u8>(1);
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Values in the channel: sent, not yet received. Those of waiting senders do not count.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::unbounded();
    /// tx.send('a').unwrap();
    /// tx.send('b').unwrap();
    /// rx.recv().unwrap();
    /// assert_eq!((tx.len(), tx.high_water(), tx.capacity()), (1, 2, None));
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is in the channel.
    ///
    /// ```
    /// let (tx, _rx) = openwork::channel::bounded(1);
    /// tx.send(1).unwrap();
    /// assert!(!tx.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most values that can be in the channel; 0 for a rendezvous, `None` for an unbounded one.
    ///
    /// ```
    /// let (tx, _rx) = openwork::channel::rendezvous::<u8>();
    /// assert_eq!(tx.capacity(), Some(0));
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        self.0.capacity()
    }

    /// Most values that were ever in the channel at once.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::bounded(8);
    /// for n in 0..5 {
    ///     tx.send(n).unwrap();
    /// }
    /// assert_eq!(rx.try_iter().count(), 5);
    /// assert_eq!((tx.len(), tx.high_water()), (0, 5));
    /// ```
    pub fn high_water(&self) -> usize {
        self.0.high_water()
    }

    /// As [`send`](Self::send), but waits at a soft limit too (see
    /// [`unbounded_with_soft_limit`](super::unbounded_with_soft_limit)) until receivers have caught up. Those
    /// that wait are served in their order; a plain `send` goes past them.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let (tx, rx) = openwork::channel::unbounded_with_soft_limit(2);
    /// let (source, control) = (tx.clone(), tx);
    /// let sender = rt.spawn(move || (0..100).try_for_each(|n| source.send_paced(n)));
    /// control.send(-1).unwrap(); // what is urgent does not wait
    /// drop(control);
    /// assert_eq!(rx.iter().sum::<i32>(), 4949);
    /// sender.join().unwrap().unwrap();
    /// assert!(rx.high_water() <= 3);
    /// ```
    ///
    /// # Errors
    /// See [`SendError`].
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_paced(&self, value: T) -> Result<(), SendError<T>> {
        self.send_or_wait(value, true)
    }

    /// As [`send_paced`](Self::send_paced), but waits no longer than `timeout`.
    ///
    /// ```
    /// use openwork::channel::{self, SendTimeoutError};
    /// use std::time::Duration;
    ///
    /// let (tx, _rx) = channel::unbounded_with_soft_limit(0);
    /// let sent = tx.send_paced_timeout(7, Duration::from_millis(1));
    /// assert_eq!(sent, Err(SendTimeoutError::Timeout(7)));
    /// ```
    ///
    /// # Errors
    /// See [`SendTimeoutError`].
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_paced_timeout(
        &self,
        value: T,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, true, || deadline_in(timeout))
    }

    /// As [`send_paced`](Self::send_paced), but waits no longer than until `deadline`.
    ///
    /// ```
    /// let (tx, _rx) = openwork::channel::unbounded_with_soft_limit(1);
    /// tx.send_paced_deadline(1, openwork::time::now()).unwrap();
    /// assert!(tx.send_paced_deadline(2, openwork::time::now()).is_err());
    /// ```
    ///
    /// # Errors
    /// See [`SendTimeoutError`].
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub fn send_paced_deadline(
        &self,
        value: T,
        deadline: Instant,
    ) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, true, || deadline_at(deadline))
    }

    /// A future of [`send_paced`](Self::send_paced); see [`send_async`](Self::send_async).
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let (tx, rx) = openwork::channel::unbounded_with_soft_limit(1);
    /// rt.spawn_future(async move {
    ///     for n in 0..5 {
    ///         tx.send_paced_async(n).await.unwrap();
    ///     }
    /// });
    /// assert_eq!(rx.iter().sum::<i32>(), 10);
    /// ```
    pub fn send_paced_async(&self, value: T) -> SendFuture<'_, T> {
        SendFuture::new(SendOp::new(&self.0, value).paced(true))
    }

    /// The soft limit of an unbounded channel that has one.
    ///
    /// ```
    /// let (tx, _rx) = openwork::channel::unbounded_with_soft_limit::<u8>(5);
    /// assert_eq!(tx.soft_limit(), Some(5));
    /// ```
    pub fn soft_limit(&self) -> Option<usize> {
        self.0.soft_limit().map(|(limit, ..)| limit)
    }

    /// Whether more values are in the channel than its soft limit says: time to send less, or to receive
    /// more. False without such a limit.
    ///
    /// ```
    /// let (tx, rx) = openwork::channel::unbounded_with_soft_limit(1);
    /// tx.send('a').unwrap();
    /// assert!(!tx.is_over_soft_limit());
    /// tx.send('b').unwrap();
    /// assert!(tx.is_over_soft_limit());
    /// rx.recv().unwrap();
    /// assert_eq!((tx.is_over_soft_limit(), tx.sent_over_soft_limit()), (false, 1));
    /// ```
    pub fn is_over_soft_limit(&self) -> bool {
        self.0.soft_limit().is_some_and(|(_, over, _)| over)
    }

    /// Values that were sent although the channel was at its soft limit or beyond.
    ///
    /// ```
    /// let (tx, _rx) = openwork::channel::unbounded_with_soft_limit(1);
    /// (0..3).for_each(|n| tx.send(n).unwrap());
    /// assert_eq!(tx.sent_over_soft_limit(), 2);
    /// ```
    pub fn sent_over_soft_limit(&self) -> u64 {
        self.0.soft_limit().map_or(0, |(.., sent_over)| sent_over)
    }

    pub(crate) fn chan(&self) -> &Chan<T> {
        &self.0
    }

    /// Whether both ends, or both clones, are of one channel.
    ///
    /// ```
    /// let (tx, _rx) = openwork::channel::bounded::<u8>(1);
    /// assert!(tx.same_channel(&tx.clone()));
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.add_sender();
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.drop_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::describe(&self.0, f.debug_struct("Sender"))
    }
}
