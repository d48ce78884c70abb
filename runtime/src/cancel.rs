//! Cancelling a routine, seen from inside it.
//!
//! Two steps: a call that can fail first returns [`Cancelled`], once; a call that cannot fail
//! unwinds, and so does every call after an abort or after the grace time. The unwinding is a
//! panic with a private payload that the routine's root catches; it runs no panic hook. It is never
//! raised while the routine is panicking already, so never inside a destructor that an unwind
//! called.

use crate::routine::RoutineRef;
use crate::routine::life::CancelLevel;
use crate::scheduler::block::{self, Context};

/// The payload of a cancel's unwinding.
pub(crate) struct CancelPayload;

/// The calling routine was asked to end; returned by calls that can fail.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// use openwork::{Cancelled, channel, time};
/// use std::time::Duration;
///
/// let (begun_tx, begun_rx) = channel::bounded(1);
/// let sleeper = rt.spawn(move || {
///     begun_tx.send(()).unwrap();
///     time::try_sleep(Duration::from_secs(3600))
/// });
/// begun_rx.recv().unwrap();
/// sleeper.cancel(Duration::from_secs(10));
/// assert_eq!(sleeper.join().unwrap(), Err(Cancelled));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl std::fmt::Display for Cancelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the routine was asked to end")
    }
}

impl std::error::Error for Cancelled {}

impl From<Cancelled> for std::io::Error {
    /// Of kind [`Other`](std::io::ErrorKind::Other), not `Interrupted`, after which callers try again.
    fn from(cancelled: Cancelled) -> std::io::Error {
        std::io::Error::other(cancelled)
    }
}

/// For calls that cannot fail: unwinds if the running routine was asked or told to end.
pub(crate) fn raise_if_asked() {
    if let Context::Routine(me) = block::context() {
        raise_if_told(me);
    }
}

/// The same for a caller that knows itself to be the running routine `me`, and not to panic.
#[inline]
pub(crate) fn raise_if_told(me: RoutineRef) {
    if me.header().life.cancel_level() != CancelLevel::None {
        raise();
    }
}

/// For calls that can fail: `Err` the first time, unwinding afterwards.
pub(crate) fn report_if_asked(me: RoutineRef) -> Result<(), Cancelled> {
    let life = &me.header().life;
    match life.cancel_level() {
        CancelLevel::None => Ok(()),
        CancelLevel::Asked if !life.mark_cancel_seen() => Err(Cancelled),
        CancelLevel::Asked | CancelLevel::Told => raise(),
    }
}

#[cold]
fn raise() -> ! {
    std::panic::resume_unwind(Box::new(CancelPayload))
}
