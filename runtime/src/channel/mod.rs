//! Channels: values handed from one routine to another.
//!
//! ```
//! use openwork::{Runtime, channel, spawn};
//!
//! let rt = Runtime::builder().workers(2).build().unwrap();
//! let sum = rt.block_on(|| {
//!     let (tx, rx) = channel::bounded(10);
//!     for part in 0..4 {
//!         let tx = tx.clone();
//!         spawn(move || tx.send(part * part).unwrap());
//!     }
//!     drop(tx); // the channel closes with its last sender
//!     rx.into_iter().sum::<i32>()
//! });
//! assert_eq!(sum, 14);
//! ```
//!
//! | made by | a send waits |
//! |---|---|
//! | [`rendezvous`] | until a receiver takes the value |
//! | [`bounded`] | while so many values are in the channel |
//! | [`unbounded`] | never |
//! | [`unbounded_with_soft_limit`] | only if the sender wants to: [`Sender::send_paced`] |
//!
//! Both ends can be cloned, and used by routines, plain threads and async code at once. Values arrive
//! in the order in which they were sent; who waits is served in the order of arrival, and a value goes
//! straight to the receiver that has waited longest.
//!
//! **The end.** A channel closes with its last sender or its last receiver, or by [`Sender::close`].
//! What was sent before can still be received; then receivers are told that it is disconnected.
//!
//! **Cancelling.** An operation of a routine that was asked to end returns `Cancelled`, once; later ones
//! unwind. An operation that was done is never taken back for it.
//!
//! **While panicking** a routine may not be suspended, so in a destructor that an unwinding called, a
//! channel's operation holds the thread until its deadline, and is refused if it has none.
//!
//! [`after`] and [`tick`] make receivers whose sender is the clock.

mod buffer;
mod clock;
mod error;
mod future;
pub(crate) mod op;
mod receiver;
mod sender;
mod state;
mod stream;

pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use future::{RecvFuture, SendFuture};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::Sender;
pub use stream::RecvStream;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::{self, Cancelled};
use crate::scheduler::block::{self, Caller, Context};
use crate::scheduler::timers::NEVER;
use crate::time;
use buffer::Buffer;
use clock::Clock;
use state::Chan;

/// A channel without room: a value goes from hand to hand, and both sides wait for each other.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let (tx, rx) = openwork::channel::rendezvous();
///     let taker = openwork::spawn(move || rx.recv().unwrap());
///     tx.send("the baton").unwrap(); // returns when it was taken
///     assert_eq!(taker.join().unwrap(), "the baton");
/// });
/// ```
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    ends(Buffer::bounded(0))
}

/// A channel with room for `capacity` values, all of it allocated now: no operation allocates. With 0
/// it is a [`rendezvous`].
///
/// ```
/// let (tx, rx) = openwork::channel::bounded(2);
/// tx.send(1).unwrap();
/// tx.send(2).unwrap();
/// assert!(tx.try_send(3).is_err());
/// assert_eq!(rx.recv(), Ok(1));
/// ```
///
/// # Panics
/// If so many values are more than the address space holds.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    ends(Buffer::bounded(capacity))
}

/// A channel without a bound: sending never waits. Whoever sends faster than others receive fills the
/// memory; [`Sender::len`] and [`Sender::high_water`] tell how far it has come.
///
/// ```
/// let (tx, rx) = openwork::channel::unbounded();
/// (0..1000).for_each(|i| tx.send(i).unwrap());
/// assert_eq!(rx.try_iter().sum::<i32>(), 499_500);
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    ends(Buffer::unbounded(usize::MAX))
}

/// An [`unbounded`] channel that tells when more than `limit` values are in it.
///
/// Sending never waits and never fails for it; but [`Sender::is_over_soft_limit`] and
/// [`Receiver::is_over_soft_limit`] say so, [`Sender::sent_over_soft_limit`] counts, and
/// [`Sender::send_paced`] is for senders that can wait until receivers have caught up.
///
/// ```
/// let (tx, rx) = openwork::channel::unbounded_with_soft_limit(100);
/// for n in 0..1000 {
///     tx.send(n).unwrap();
///     if tx.is_over_soft_limit() {
///         rx.try_iter().for_each(drop);
///     }
/// }
/// assert_eq!(tx.high_water(), 101);
/// ```
pub fn unbounded_with_soft_limit<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    ends(Buffer::unbounded(limit))
}

/// A receiver that gets one message, after `duration`: the moment at which it was due. It is never
/// disconnected; a second `recv` waits for ever.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let began = Instant::now();
/// let due = openwork::channel::after(Duration::from_millis(2)).recv().unwrap();
/// assert!(began.elapsed() >= Duration::from_millis(2) && due <= Instant::now());
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    clockwork(Clock::once(duration))
}

/// A receiver that gets a message each `period`: the moment at which it was due. Clones share the
/// ticks. Ticks that nobody takes in time are left out, as in Go; the rhythm stays
/// ([`MissedTickBehavior::Skip`](crate::time::MissedTickBehavior::Skip); for the other two, use an
/// [`Interval`](crate::time::Interval)). It costs nothing while nobody waits.
///
/// ```
/// use std::time::Duration;
///
/// let ticks = openwork::channel::tick(Duration::from_millis(1));
/// let (first, second) = (ticks.recv().unwrap(), ticks.recv().unwrap());
/// assert!(second > first);
/// ```
///
/// # Panics
/// If `period` is zero.
pub fn tick(period: Duration) -> Receiver<Instant> {
    clockwork(Clock::ticking(period))
}

fn ends<T>(buffer: Buffer<T>) -> (Sender<T>, Receiver<T>) {
    let chan = Arc::new(Chan::new(buffer, None));
    (Sender(chan.clone()), Receiver(chan))
}

fn clockwork(clock: Clock<Instant>) -> Receiver<Instant> {
    // The clock counts as the sender, and is never dropped.
    Receiver(Arc::new(Chan::new(Buffer::bounded(0), Some(clock))))
}

/// Where the caller is. Tells a routine that was asked to end so, the first time; then unwinds.
#[inline]
pub(crate) fn report_cancel() -> Result<Caller, Cancelled> {
    let caller = block::caller();
    if let Context::Routine(me) = caller.context {
        cancel::report_if_asked(me)?;
    }
    Ok(caller)
}

/// A deadline for [`wait::sleep`](crate::sync::wait::sleep): never [`NEVER`].
pub(crate) fn deadline_in(timeout: Duration) -> u64 {
    time::deadline(timeout).min(NEVER - 1)
}

pub(crate) fn deadline_at(at: Instant) -> u64 {
    time::ns_of(at)
}

fn describe<T>(chan: &Chan<T>, mut shown: fmt::DebugStruct<'_, '_>) -> fmt::Result {
    shown
        .field("len", &chan.len())
        .field("capacity", &chan.capacity())
        .field("closed", &chan.is_closed())
        .finish_non_exhaustive()
}
