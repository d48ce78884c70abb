//! The errors that waiting adds to those of the system calls.

use std::io::{Error, ErrorKind};

use crate::cancel::Cancelled;

pub(crate) fn timed_out() -> Error {
    Error::new(ErrorKind::TimedOut, "nothing came before the deadline")
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::NotConnected, "the socket was closed")
}

pub(crate) fn refused() -> Error {
    Error::other("waiting without a deadline while panicking could stop the thread for ever")
}

pub(crate) fn no_runtime() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "a socket is polled for the first time by a task that no runtime runs",
    )
}

pub(crate) fn not_deterministic() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "a deterministic run cannot wait for a socket: what comes when is not the seed's choice",
    )
}

pub(crate) fn zero_timeout() -> Error {
    Error::new(ErrorKind::InvalidInput, "timeout: zero is out of range")
}

/// Whether it is a [`Cancelled`].
pub(crate) fn is_cancel(error: &Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Cancelled>())
}
