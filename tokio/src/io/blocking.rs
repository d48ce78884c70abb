//! Tokio's streams for code that blocks.

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Bridge;

/// A stream of tokio's for code that blocks: [`Read`] and [`Write`] over its `AsyncRead` and `AsyncWrite`.
/// Made by [`Bridge::blocking`].
///
/// A routine that waits for it blocks, and so does a plain thread; a cancelled routine unwinds. Bytes are read
/// straight into the caller's buffer. [`Write::flush`] flushes the stream; dropping does not.
///
/// ```
/// use std::io::{Read, Write};
///
/// # let routines = openwork::Runtime::builder().workers(1).build().unwrap();
/// # let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # let pair = openwork_tokio::Pair::new(routines, tokio).unwrap();
/// let (here, there) = tokio::io::duplex(4);
/// let (mut here, mut there) = (pair.bridge().blocking(here), pair.bridge().blocking(there));
/// let writer = pair.bridge().spawn(move || here.write_all(b"more than four bytes"));
/// let reader = pair.bridge().spawn(move || {
///     let mut text = String::new();
///     there.read_to_string(&mut text).map(|_| text)
/// });
/// writer.join().unwrap().unwrap();
/// assert_eq!(reader.join().unwrap().unwrap(), "more than four bytes");
/// ```
#[derive(Debug)]
pub struct Blocking<S> {
    bridge: Bridge,
    stream: S,
    timeout: Option<Duration>,
}

impl<S> Blocking<S> {
    pub(crate) fn new(bridge: Bridge, stream: S) -> Blocking<S> {
        Blocking {
            bridge,
            stream,
            timeout: None,
        }
    }

    /// Longest time that a call may wait; `None` for no limit. It is over with an error of kind
    /// [`TimedOut`](io::ErrorKind::TimedOut). What was read by then has been returned, or is still in the
    /// stream.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream again. Nothing was buffered here.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: Unpin> Blocking<S> {
    fn wait<T>(
        &mut self,
        mut poll: impl FnMut(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let stream = &mut self.stream;
        let mut limit = self.timeout.map(openwork::time::after);
        self.bridge.poll_on(|cx| {
            let polled = poll(Pin::new(&mut *stream), cx);
            match &mut limit {
                Some(limit) if polled.is_pending() => Pin::new(limit)
                    .poll(cx)
                    .map(|()| Err(io::ErrorKind::TimedOut.into())),
                _ => polled,
            }
        })
    }
}

impl<S: AsyncRead + Unpin> Read for Blocking<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        self.wait(|stream, cx| stream.poll_read(cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<S: AsyncWrite + Unpin> Write for Blocking<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.wait(|stream, cx| stream.poll_write(cx, buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wait(|stream, cx| stream.poll_flush(cx))
    }
}

impl<S: AsyncWrite + Unpin> Blocking<S> {
    /// Ends the writing side, as [`AsyncWrite::poll_shutdown`] does.
    ///
    /// # Errors
    /// The stream's.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.wait(|stream, cx| stream.poll_shutdown(cx))
    }
}
