//! Cancelling a routine, seen from inside it.
//!
//! Two steps: a call that can fail first returns [`Cancelled`], once; a call that cannot fail
//! unwinds, and so does every call after an abort or after the grace time. The unwinding is a
//! panic with a private payload that the routine's root catches; it runs no panic hook. It is never
//! raised while the routine is panicking already, so never inside a destructor that an unwind
//! called.

use crate::routine::life::CancelLevel;
use crate::routine::{Held, RoutineRef};
use crate::scheduler::block::{self, Context};

/// The payload of a cancel's unwinding. While it exists the routine knows that it unwinds for a
/// cancel, and not for a panic: locks ask, because they do not poison then.
pub(crate) struct CancelPayload(Option<Held>);

impl CancelPayload {
    /// For a routine that ends as cancelled without unwinding.
    pub(crate) fn unraised() -> CancelPayload {
        CancelPayload(None)
    }
}

impl Drop for CancelPayload {
    fn drop(&mut self) {
        if let Some(held) = &self.0 {
            held.routine().header().life.set_unwinding(false);
        }
    }
}

/// Whether the caller unwinds, and for a panic: not for a cancel.
#[inline]
pub(crate) fn is_panicking() -> bool {
    std::thread::panicking() && !is_unwinding()
}

#[cold]
fn is_unwinding() -> bool {
    matches!(block::context(), Context::Panicking(me) if me.header().life.is_unwinding())
}

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
    // Where nothing can unwind, a routine ends between two turns.
    if !cfg!(stackless) && me.header().life.cancel_level() != CancelLevel::None {
        raise(me);
    }
}

/// For calls that can fail: `Err` the first time, unwinding afterwards.
#[inline]
pub(crate) fn report_if_asked(me: RoutineRef) -> Result<(), Cancelled> {
    match me.header().life.cancel_level() {
        CancelLevel::None => Ok(()),
        _ => report(me),
    }
}

#[cold]
fn report(me: RoutineRef) -> Result<(), Cancelled> {
    let life = &me.header().life;
    match life.cancel_level() {
        CancelLevel::None => Ok(()),
        _ if cfg!(stackless) => Err(Cancelled),
        CancelLevel::Asked if !life.mark_cancel_seen() => Err(Cancelled),
        CancelLevel::Asked | CancelLevel::Told => raise(me),
    }
}

#[cold]
fn raise(me: RoutineRef) -> ! {
    me.header().life.set_unwinding(true);
    std::panic::resume_unwind(Box::new(CancelPayload(Some(Held::new(me)))))
}
