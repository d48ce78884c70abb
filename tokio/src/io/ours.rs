//! Our streams for tokio.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use openwork::Handle;
use openwork::io::{PipeReader, PipeWriter};
use openwork::net::{TcpStream, UnixStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of ours for tokio: `AsyncRead` and `AsyncWrite` over a socket or a pipe of
/// [`openwork::net`] or [`openwork::io`]. Made by
/// [`Bridge::asynchronous`](crate::Bridge::asynchronous).
///
/// The poller of the runtime of routines watches it and wakes the task. One task may read while another
/// writes (`tokio::io::split`).
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # let routines = openwork::Runtime::builder().workers(1).build().unwrap();
/// # let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # let pair = openwork_tokio::Pair::new(routines, tokio).unwrap();
/// let (reader, writer) = openwork::io::pipe().unwrap();
/// let mut reader = pair.bridge().asynchronous(reader).unwrap();
/// let mut writer = pair.bridge().asynchronous(writer).unwrap();
/// let text = pair.bridge().block_on(async move {
///     writer.write_all(b"through a pipe of ours").await?;
///     writer.shutdown().await?;
///     let mut text = String::new();
///     reader.read_to_string(&mut text).await?;
///     Ok::<_, std::io::Error>(text)
/// });
/// assert_eq!(text.unwrap(), "through a pipe of ours");
/// ```
#[derive(Debug)]
pub struct Async<S> {
    /// `None` when a pipe's writing end was shut down.
    stream: Option<S>,
}

impl<S: Ours> Async<S> {
    pub(crate) fn new(runtime: &Handle, stream: S) -> io::Result<Async<S>> {
        stream.attach(runtime)?;
        Ok(Async {
            stream: Some(stream),
        })
    }

    /// The stream again; `None` for a pipe that was shut down.
    pub fn into_inner(self) -> Option<S> {
        self.stream
    }

    fn stream(&self) -> io::Result<&S> {
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "the pipe was shut down");
        self.stream.as_ref().ok_or_else(closed)
    }
}

/// Streams of the runtime's: [`TcpStream`], [`UnixStream`], [`PipeReader`], [`PipeWriter`]. Not to be
/// implemented elsewhere.
pub trait Ours: sealed::Attach + Unpin {}

/// Ours that can be read.
pub trait OursToRead: Ours + sealed::PollRead {}

/// Ours that can be written.
pub trait OursToWrite: Ours + sealed::PollWrite {}

mod sealed {
    use super::*;

    pub trait Attach {
        fn attach(&self, runtime: &Handle) -> io::Result<()>;
    }

    pub trait PollRead {
        fn poll_read(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    }

    pub trait PollWrite: Sized {
        fn poll_write(&self, cx: &Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
        fn shut_down(this: &mut Option<Self>) -> io::Result<()>;
    }
}

macro_rules! ours {
    ($stream:ty) => {
        impl Ours for $stream {}

        impl sealed::Attach for $stream {
            fn attach(&self, runtime: &Handle) -> io::Result<()> {
                <$stream>::attach(self, runtime)
            }
        }
    };
}

macro_rules! ours_to_read {
    ($stream:ty) => {
        impl OursToRead for $stream {}

        impl sealed::PollRead for $stream {
            fn poll_read(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                <$stream>::poll_read(self, cx, buf)
            }
        }
    };
}

macro_rules! ours_to_write {
    ($stream:ty, $shut_down:expr) => {
        impl OursToWrite for $stream {}

        impl sealed::PollWrite for $stream {
            fn poll_write(&self, cx: &Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                <$stream>::poll_write(self, cx, buf)
            }

            fn shut_down(this: &mut Option<Self>) -> io::Result<()> {
                $shut_down(this)
            }
        }
    };
}

ours!(TcpStream);
ours_to_read!(TcpStream);
ours_to_write!(TcpStream, |this: &mut Option<TcpStream>| match this {
    Some(stream) => stream.shutdown(Shutdown::Write),
    None => Ok(()),
});
ours!(UnixStream);
ours_to_read!(UnixStream);
ours_to_write!(UnixStream, |this: &mut Option<UnixStream>| match this {
    Some(stream) => stream.shutdown(Shutdown::Write),
    None => Ok(()),
});
ours!(PipeReader);
ours_to_read!(PipeReader);
ours!(PipeWriter);
ours_to_write!(PipeWriter, |this: &mut Option<PipeWriter>| {
    // The reader sees the end when the last writing end is closed.
    *this = None;
    Ok(())
});

impl<S: OursToRead> AsyncRead for Async<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.stream()?.poll_read(cx, buf.initialize_unfilled());
        read.map_ok(|bytes| buf.advance(bytes))
    }
}

impl<S: OursToWrite> AsyncWrite for Async<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    /// There is nothing to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(S::shut_down(&mut self.stream))
    }
}
