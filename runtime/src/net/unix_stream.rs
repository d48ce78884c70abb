//! Unix stream sockets.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{self as std_net, SocketAddr};
use std::path::Path;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Type};

use crate::net::shared_methods::{read_when_ready, socket_common, socket_limits, write_when_ready};
use crate::net::socket::{Socket, deadline_at, deadline_in, insist};
use crate::poller::Direction;
use crate::scheduler::timers::NEVER;

/// A Unix stream socket; as [`std::os::unix::net::UnixStream`].
///
/// ```
/// use std::io::{Read, Write};
/// use openwork::net::UnixStream;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let (mut one, mut other) = UnixStream::pair().unwrap();
///     openwork::spawn(move || one.write_all(b"between two").unwrap());
///     let mut text = String::new();
///     other.read_to_string(&mut text).unwrap();
///     assert_eq!(text, "between two");
/// });
/// ```
#[derive(Debug)]
pub struct UnixStream(Socket<std_net::UnixStream>);

socket_common!(UnixStream, std_net::UnixStream);
socket_limits!(UnixStream);

/// Waits for Unix stream connections; as [`std::os::unix::net::UnixListener`].
///
/// ```
/// use std::io::{Read, Write};
/// use openwork::net::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("openwork-doc-{}", std::process::id()));
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let listener = UnixListener::bind(&path).unwrap();
///     openwork::scope(|s| {
///         s.spawn(|| UnixStream::connect(&path).unwrap().write_all(b"hello").unwrap());
///         let (mut stream, _) = listener.accept().unwrap();
///         let mut text = String::new();
///         stream.read_to_string(&mut text).unwrap();
///         assert_eq!(text, "hello");
///     });
/// });
/// # std::fs::remove_file(&path).unwrap();
/// ```
#[derive(Debug)]
pub struct UnixListener(Socket<std_net::UnixListener>);

socket_common!(UnixListener, std_net::UnixListener);

impl UnixStream {
    /// Connects to the listener at a path. Waits while its queue is full.
    ///
    /// # Errors
    /// Those of the system calls and of the [module](crate::net).
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let address = SockAddr::unix(path)?;
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = socket2::Socket::new(Domain::UNIX, kind, None)?;
        insist(NEVER, || socket.connect(&address))?;
        Ok(UnixStream::new(socket.into()))
    }

    /// Two sockets connected to each other.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = std_net::UnixStream::pair()?;
        Ok((UnixStream::from_std(one)?, UnixStream::from_std(other)?))
    }

    /// Ends one or both directions. Who waits in it sees the end.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.inner().shutdown(how)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().peer_addr()
    }

    /// For async code: reads, or the task's waker is called when there may be something; as
    /// [`TcpStream::poll_read`](crate::net::TcpStream::poll_read).
    pub fn poll_read(&self, cx: &task::Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(Direction::Read, cx, |mut stream| stream.read(buf))
    }

    /// For async code: writes, or the task's waker is called when there may be room.
    pub fn poll_write(&self, cx: &task::Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(Direction::Write, cx, |mut stream| stream.write(buf))
    }
}

read_when_ready!(UnixStream, "UnixStream::read");
write_when_ready!(UnixStream, "UnixStream::write");

impl UnixListener {
    /// Listens at a path, where nothing may be yet.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::from_std(std_net::UnixListener::bind(path)?)
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_until(NEVER, "UnixListener::accept")
    }

    /// As [`accept`](Self::accept), but no longer than so.
    ///
    /// # Errors
    /// As for `accept`, and [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_until(deadline_in(timeout), "UnixListener::accept_timeout")
    }

    /// As [`accept`](Self::accept), but no longer than until then.
    ///
    /// # Errors
    /// As for `accept`, and [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn accept_deadline(&self, at: Instant) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_until(deadline_at(at), "UnixListener::accept_deadline")
    }

    fn accept_until(&self, deadline: u64, call: &str) -> io::Result<(UnixStream, SocketAddr)> {
        let accepted = self
            .0
            .run_until(Direction::Read, deadline, call, |listener, _| {
                listener.accept().into()
            });
        let (stream, from) = accepted?;
        Ok((UnixStream::from_std(stream)?, from))
    }

    /// All connections, one after the other; it never ends.
    pub fn incoming(&self) -> impl Iterator<Item = io::Result<UnixStream>> {
        std::iter::repeat_with(|| self.accept().map(|(stream, _)| stream))
    }

    /// The address at which it listens.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().local_addr()
    }
}
