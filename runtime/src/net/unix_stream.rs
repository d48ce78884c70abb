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
use crate::poller::{Direction, os};
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

socket_common!(
    UnixStream,
    std_net::UnixStream,
    "openwork::net::UnixStream::pair().unwrap().0"
);
socket_limits!(UnixStream, "openwork::net::UnixStream::pair().unwrap().0");

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

socket_common!(
    UnixListener,
    std_net::UnixListener,
    "{\n# use std::os::linux::net::SocketAddrExt;\n# use std::os::unix::net as std_net;\n# let name = std_net::SocketAddr::from_abstract_name(format!(\"{} {:?}\", std::process::id(), std::thread::current().id())).unwrap();\n# openwork::net::UnixListener::from_std(std_net::UnixListener::bind_addr(&name).unwrap()).unwrap() }"
);

impl UnixStream {
    /// Connects to the listener at a path. Waits while its queue is full.
    ///
    /// ```
    /// use openwork::net::{UnixListener, UnixStream};
    /// let path = std::env::temp_dir().join(format!("openwork-doc-ustream-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path).unwrap();
    /// let client = UnixStream::connect(&path).unwrap();
    /// assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(path.as_path()));
    /// # drop(listener);
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system calls and of the [module](crate::net).
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let address = SockAddr::unix(path)?;
        let socket = os::socket(Domain::UNIX, Type::STREAM, None)?;
        insist(NEVER, || socket.connect(&address))?;
        Ok(UnixStream::new(socket.into()))
    }

    /// Two sockets connected to each other.
    ///
    /// ```
    /// use openwork::net::UnixStream;
    /// use std::io::{Read, Write};
    /// let (mut one, mut other) = UnixStream::pair().unwrap();
    /// one.write_all(b"x").unwrap();
    /// assert_eq!(other.read(&mut [0]).unwrap(), 1);
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = std_net::UnixStream::pair()?;
        Ok((UnixStream::from_std(one)?, UnixStream::from_std(other)?))
    }

    /// Ends one or both directions. Who waits in it sees the end.
    ///
    /// ```
    /// use openwork::net::UnixStream;
    /// use std::io::Read;
    /// let (one, mut other) = UnixStream::pair().unwrap();
    /// one.shutdown(std::net::Shutdown::Write).unwrap();
    /// assert_eq!(other.read(&mut [0]).unwrap(), 0, "the end");
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.inner().shutdown(how)
    }

    /// The address of this end.
    ///
    /// ```
    /// use openwork::net::UnixStream;
    /// assert!(UnixStream::pair().unwrap().0.local_addr().unwrap().is_unnamed());
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().local_addr()
    }

    /// The address of the other end.
    ///
    /// ```
    /// use openwork::net::UnixStream;
    /// let (one, _other) = UnixStream::pair().unwrap();
    /// assert!(one.peer_addr().unwrap().is_unnamed());
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().peer_addr()
    }

    /// For async code: reads, or the task's waker is called when there may be something; as
    /// [`TcpStream::poll_read`](crate::net::TcpStream::poll_read).
    ///
    /// ```
    /// use openwork::net::UnixStream;
    /// use std::{future::poll_fn, io::Write};
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let (mut one, other) = UnixStream::pair().unwrap();
    /// one.write_all(b"text").unwrap();
    /// let read = rt.spawn_future(async move { poll_fn(|cx| other.poll_read(cx, &mut [0; 8])).await });
    /// assert_eq!(read.join().unwrap().unwrap(), 4);
    /// ```
    pub fn poll_read(&self, cx: &task::Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(Direction::Read, cx, |mut stream| stream.read(buf))
    }

    /// For async code: writes, or the task's waker is called when there may be room.
    ///
    /// ```
    /// use openwork::net::UnixStream;
    /// use std::future::poll_fn;
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let (one, _other) = UnixStream::pair().unwrap();
    /// let wrote = rt.spawn_future(async move { poll_fn(|cx| one.poll_write(cx, b"text")).await });
    /// assert_eq!(wrote.join().unwrap().unwrap(), 4);
    /// ```
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
    /// ```
    /// use openwork::net::UnixListener;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-ubind-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path).unwrap();
    /// assert!(UnixListener::bind(&path).is_err(), "something is there");
    /// # drop(listener);
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::from_std(std_net::UnixListener::bind(path)?)
    }

    /// Waits for a connection.
    ///
    /// ```
    /// use openwork::net::{UnixListener, UnixStream};
    /// let path = std::env::temp_dir().join(format!("openwork-doc-uaccept-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path).unwrap();
    /// let _client = UnixStream::connect(&path).unwrap();
    /// let (_stream, from) = listener.accept().unwrap();
    /// assert!(from.is_unnamed());
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_until(NEVER, "UnixListener::accept")
    }

    /// As [`accept`](Self::accept), but no longer than so.
    ///
    /// ```
    /// use openwork::net::UnixListener;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-utimeout-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path).unwrap();
    /// let nobody = listener.accept_timeout(std::time::Duration::from_millis(1));
    /// assert_eq!(nobody.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As for `accept`, and [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_until(deadline_in(timeout), "UnixListener::accept_timeout")
    }

    /// As [`accept`](Self::accept), but no longer than until then.
    ///
    /// ```
    /// use openwork::{net::UnixListener, time};
    /// let path = std::env::temp_dir().join(format!("openwork-doc-udeadline-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path).unwrap();
    /// let nobody = listener.accept_deadline(time::now());
    /// assert_eq!(nobody.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// # std::fs::remove_file(path).unwrap();
    /// ```
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
    ///
    /// ```
    /// use openwork::net::{UnixListener, UnixStream};
    /// let path = std::env::temp_dir().join(format!("openwork-doc-uincoming-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path).unwrap();
    /// let _client = UnixStream::connect(&path).unwrap();
    /// assert!(listener.incoming().next().unwrap().is_ok());
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    pub fn incoming(&self) -> impl Iterator<Item = io::Result<UnixStream>> {
        std::iter::repeat_with(|| self.accept().map(|(stream, _)| stream))
    }

    /// The address at which it listens.
    ///
    /// ```
    /// use openwork::net::UnixListener;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-ulocal-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path).unwrap();
    /// assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(path.as_path()));
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().local_addr()
    }
}
