//! Pipes where the system lets nobody wait for one but the thread that reads it: there are none, and whoever asks
//! is told so. The names and functions are those of the other systems.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::os::windows::io::OwnedHandle;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::handle::Handle;

/// Would make a pipe.
///
/// # Errors
/// Of kind [`Unsupported`](io::ErrorKind::Unsupported).
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "a routine cannot wait for a pipe on this system; sockets and files can be had",
    )
}

/// The reading end of a pipe: on this system there is none.
#[derive(Debug)]
pub struct PipeReader(Infallible);

/// The writing end of a pipe: on this system there is none.
#[derive(Debug)]
pub struct PipeWriter(Infallible);

macro_rules! pipe_end {
    ($end:ident, $std:ty, $set_timeout:ident, $set_deadline:ident) => {
        impl $end {
            /// Would take over an end of std's.
            ///
            /// # Errors
            /// Of kind [`Unsupported`](io::ErrorKind::Unsupported).
            pub fn from_std(_: $std) -> io::Result<$end> {
                Err(unsupported())
            }

            /// An end of std's.
            ///
            /// # Errors
            /// None.
            pub fn into_std(self) -> io::Result<$std> {
                match self.0 {}
            }

            /// Another handle.
            ///
            /// # Errors
            /// None.
            pub fn try_clone(&self) -> io::Result<$end> {
                match self.0 {}
            }

            /// As on other systems.
            ///
            /// # Errors
            /// None.
            pub fn attach(&self, _: &Handle) -> io::Result<()> {
                match self.0 {}
            }

            /// As on other systems.
            ///
            /// # Errors
            /// None.
            pub fn $set_timeout(&self, _: Option<Duration>) -> io::Result<()> {
                match self.0 {}
            }

            /// As on other systems.
            pub fn $set_deadline(&self, _: Option<Instant>) {
                match self.0 {}
            }
        }

        impl TryFrom<OwnedHandle> for $end {
            type Error = io::Error;

            fn try_from(_: OwnedHandle) -> io::Result<$end> {
                Err(unsupported())
            }
        }

        impl From<$end> for Stdio {
            fn from(end: $end) -> Stdio {
                match end.0 {}
            }
        }
    };
}

pipe_end!(
    PipeReader,
    io::PipeReader,
    set_read_timeout,
    set_read_deadline
);
pipe_end!(
    PipeWriter,
    io::PipeWriter,
    set_write_timeout,
    set_write_deadline
);

impl PipeReader {
    /// Would read.
    ///
    /// # Errors
    /// None.
    pub fn poll_read(&self, _: &Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }
}

impl PipeWriter {
    /// Would write.
    ///
    /// # Errors
    /// None.
    pub fn poll_write(&self, _: &Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }
}

impl Read for PipeReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Read for &PipeReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for PipeWriter {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

impl Write for &PipeWriter {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}
