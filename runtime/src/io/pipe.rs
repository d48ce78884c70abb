//! Pipes that wait by the poller.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::net::shared_methods::{read_when_ready, write_when_ready};
use crate::net::socket::Socket;
use crate::poller::Direction;

/// Makes a pipe: what is written to one end is read from the other; as [`std::io::pipe`].
///
/// ```
/// use std::io::{Read, Write};
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let text = rt.block_on(|| {
///     let (mut reader, mut writer) = openwork::io::pipe()?;
///     openwork::spawn(move || writer.write_all(b"through a pipe"));
///     let mut text = String::new();
///     reader.read_to_string(&mut text)?; // until the writer is dropped
///     Ok::<_, std::io::Error>(text)
/// });
/// assert_eq!(text.unwrap(), "through a pipe");
/// ```
///
/// # Errors
/// Those of the system call.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((PipeReader::from_std(reader)?, PipeWriter::from_std(writer)?))
}

/// The reading end of a pipe. Gives 0 bytes when all writing ends are closed.
///
/// A routine that waits is parked by the poller; time-outs, deadlines and cancels end the wait as those of
/// [sockets](crate::net) do. Handed on as a child's [`Stdio`] it is made to block again.
///
/// ```
/// use openwork::io::{PipeReader, pipe};
/// use std::io::{Read, Write};
///
/// let (reader, mut writer) = pipe().unwrap();
/// writer.write_all(b"text").unwrap();
/// drop(writer);
/// let mut reader: PipeReader = reader;
/// let mut text = String::new();
/// reader.read_to_string(&mut text).unwrap();
/// assert_eq!(text, "text");
/// ```
#[derive(Debug)]
pub struct PipeReader(Socket<io::PipeReader>);

/// The writing end of a pipe. Fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe) when all reading ends are
/// closed; otherwise as [`PipeReader`].
///
/// ```
/// use openwork::io::{PipeWriter, pipe};
/// use std::io::{ErrorKind, Write};
///
/// let (reader, writer) = pipe().unwrap();
/// drop(reader);
/// let mut writer: PipeWriter = writer;
/// assert_eq!(writer.write(b"text").unwrap_err().kind(), ErrorKind::BrokenPipe);
/// ```
#[derive(Debug)]
pub struct PipeWriter(Socket<io::PipeWriter>);

/// What both ends have.
macro_rules! pipe_end {
    ($end:ident, $std:ty, $direction:expr, $set_timeout:ident, $set_deadline:ident) => {
        impl $end {
            /// Takes over an end of std's, and makes it non-blocking: so it becomes for all its clones.
            ///
            /// ```
            /// use openwork::io::{PipeReader, PipeWriter};
            /// let (reader, writer) = std::io::pipe().unwrap();
            /// assert!(PipeReader::from_std(reader).is_ok() && PipeWriter::from_std(writer).is_ok());
            /// ```
            ///
            /// # Errors
            /// Those of the system call.
            pub fn from_std(end: $std) -> io::Result<$end> {
                SockRef::from(&end).set_nonblocking(true)?;
                Ok($end(Socket::new(end)))
            }

            /// Makes it an end of std's, one that blocks.
            ///
            /// ```
            /// let (reader, _writer) = openwork::io::pipe().unwrap();
            /// let reader: std::io::PipeReader = reader.into_std().unwrap();
            /// ```
            ///
            /// # Errors
            /// Those of the system call.
            pub fn into_std(self) -> io::Result<$std> {
                let end = self.0.into_inner();
                SockRef::from(&end).set_nonblocking(false)?;
                Ok(end)
            }

            /// Another handle to the same end.
            ///
            /// ```
            /// let (reader, writer) = openwork::io::pipe().unwrap();
            /// assert!(reader.try_clone().is_ok() && writer.try_clone().is_ok());
            /// ```
            ///
            /// # Errors
            /// Those of the system call.
            pub fn try_clone(&self) -> io::Result<$end> {
                let clone = self.0.inner().try_clone()?;
                Ok($end(Socket::new(clone).like(&self.0)))
            }

            /// Has the pipe watched by this runtime from now on, unless it is watched already: so that tasks of
            /// other executors, which know no runtime, can poll it.
            ///
            /// ```
            /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
            /// let (reader, _writer) = openwork::io::pipe().unwrap();
            /// reader.attach(&rt.handle()).unwrap();
            /// ```
            ///
            /// # Errors
            /// Those of the system calls.
            pub fn attach(&self, runtime: &crate::Handle) -> io::Result<()> {
                self.0.attach(&runtime.shared)
            }

            /// Longest time that a call may wait; `None` for no limit. It is over with an error of kind
            /// [`TimedOut`](io::ErrorKind::TimedOut).
            ///
            /// ```
            /// use std::io::Read;
            /// let (mut reader, _writer) = openwork::io::pipe().unwrap();
            /// reader.set_read_timeout(Some(std::time::Duration::from_millis(1))).unwrap();
            /// assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
            /// ```
            ///
            /// # Errors
            /// If it is zero.
            pub fn $set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.0.set_timeout($direction, timeout)
            }

            /// The moment after which no call waits; `None` for no limit. It also holds for routines that
            /// wait already.
            ///
            /// ```
            /// use std::io::Read;
            /// let (mut reader, _writer) = openwork::io::pipe().unwrap();
            /// reader.set_read_deadline(Some(openwork::time::now()));
            /// assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
            /// ```
            pub fn $set_deadline(&self, at: Option<Instant>) {
                self.0.set_deadline($direction, at);
            }
        }

        impl AsFd for $end {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.inner().as_fd()
            }
        }

        impl AsRawFd for $end {
            fn as_raw_fd(&self) -> RawFd {
                self.0.inner().as_raw_fd()
            }
        }

        impl TryFrom<OwnedFd> for $end {
            type Error = io::Error;

            fn try_from(fd: OwnedFd) -> io::Result<$end> {
                $end::from_std(fd.into())
            }
        }

        impl From<$end> for Stdio {
            fn from(end: $end) -> Stdio {
                let end = end.0.into_inner();
                // Fails for descriptors that are none, which a pipe's is not.
                let _ = SockRef::from(&end).set_nonblocking(false);
                Stdio::from(OwnedFd::from(end))
            }
        }
    };
}

pipe_end!(
    PipeReader,
    io::PipeReader,
    Direction::Read,
    set_read_timeout,
    set_read_deadline
);
pipe_end!(
    PipeWriter,
    io::PipeWriter,
    Direction::Write,
    set_write_timeout,
    set_write_deadline
);

impl PipeReader {
    /// Reads, or leaves the task's waker.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let (reader, writer) = openwork::io::pipe().unwrap();
    /// let bytes = rt.spawn_future(async move {
    ///     std::future::poll_fn(|cx| writer.poll_write(cx, b"text")).await.unwrap();
    ///     std::future::poll_fn(|cx| reader.poll_read(cx, &mut [0; 8])).await.unwrap()
    /// });
    /// assert_eq!(bytes.join().unwrap(), 4);
    /// ```
    ///
    /// # Errors
    /// Those of the system call; or if it is polled for the first time by a task that no runtime runs, and
    /// was not [attached](Self::attach).
    pub fn poll_read(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(Direction::Read, cx, |mut pipe| pipe.read(&mut *buf))
    }
}

impl PipeWriter {
    /// Writes, or leaves the task's waker.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let (_reader, writer) = openwork::io::pipe().unwrap();
    /// let bytes = rt.spawn_future(async move {
    ///     std::future::poll_fn(|cx| writer.poll_write(cx, b"text")).await.unwrap()
    /// });
    /// assert_eq!(bytes.join().unwrap(), 4);
    /// ```
    ///
    /// # Errors
    /// As [`PipeReader::poll_read`].
    pub fn poll_write(&self, cx: &Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(Direction::Write, cx, |mut pipe| pipe.write(buf))
    }
}

read_when_ready!(PipeReader, "PipeReader::read");
write_when_ready!(PipeWriter, "PipeWriter::write");
