//! Waiting for TCP connections.

use std::io;
use std::net::SocketAddr;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Type};

use crate::net::resolve::{ToSocketAddrs, each_address};
use crate::net::shared_methods::socket_common;
use crate::net::socket::{Socket, deadline_at, deadline_in};
use crate::net::tcp_stream::TcpStream;
use crate::poller::{Direction, os};
use crate::scheduler::timers::NEVER;

/// Connections that the kernel keeps until they are accepted; it takes `net.core.somaxconn` if that
/// is less.
const BACKLOG: i32 = 4096;

/// Accepts TCP connections; as [`std::net::TcpListener`].
///
/// ```
/// use openwork::net::{TcpListener, TcpStream};
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let address = listener.local_addr().unwrap();
///     let client = openwork::spawn(move || TcpStream::connect(address).unwrap());
///     let (stream, from) = listener.accept().unwrap();
///     assert_eq!(client.join().unwrap().local_addr().unwrap(), from);
///     assert_eq!(stream.local_addr().unwrap(), address);
/// });
/// ```
#[derive(Debug)]
pub struct TcpListener(Socket<std::net::TcpListener>);

socket_common!(
    TcpListener,
    std::net::TcpListener,
    "openwork::net::TcpListener::bind(\"127.0.0.1:0\").unwrap()"
);

impl TcpListener {
    /// Listens at the first of the addresses at which it can. Port 0 lets the system choose.
    ///
    /// ```
    /// use openwork::net::TcpListener;
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// assert_ne!(listener.local_addr().unwrap().port(), 0);
    /// ```
    ///
    /// # Errors
    /// Those of the system calls, for the last address.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        each_address(address, |address| {
            let domain = Domain::for_address(address);
            let socket = os::socket(domain, Type::STREAM, Some(Protocol::TCP))?;
            // As the standard library does: the address of a server that has just ended is free. On Windows
            // the same word lets two servers share it.
            #[cfg(unix)]
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(TcpListener::new(socket.into()))
        })
    }

    /// Waits for a connection.
    ///
    /// ```
    /// use openwork::net::{TcpListener, TcpStream};
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ///     let (_, from) = listener.accept().unwrap();
    ///     assert_eq!(from, client.local_addr().unwrap());
    /// });
    /// ```
    ///
    /// # Errors
    /// Those of the system call, and those of the [module](crate::net). When the process has no
    /// descriptors left, the connection stays in the queue: give some back and call again.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_until(NEVER, "TcpListener::accept")
    }

    /// As [`accept`](Self::accept), but no longer than so.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let listener = openwork::net::TcpListener::bind("127.0.0.1:0").unwrap();
    /// let nobody = listener.accept_timeout(Duration::from_millis(1));
    /// assert_eq!(nobody.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// ```
    ///
    /// # Errors
    /// As for `accept`, and [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_until(deadline_in(timeout), "TcpListener::accept_timeout")
    }

    /// As [`accept`](Self::accept), but no longer than until then.
    ///
    /// ```
    /// use openwork::{net::TcpListener, time};
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let nobody = rt.block_on(|| TcpListener::bind("127.0.0.1:0").unwrap().accept_deadline(time::now()));
    /// assert_eq!(nobody.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// ```
    ///
    /// # Errors
    /// As for `accept`, and [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn accept_deadline(&self, at: Instant) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_until(deadline_at(at), "TcpListener::accept_deadline")
    }

    fn accept_until(&self, deadline: u64, call: &str) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self
            .0
            .run_until(Direction::Read, deadline, call, |listener, _| {
                listener.accept().into()
            });
        let (stream, from) = accepted?;
        Ok((TcpStream::from_std(stream)?, from))
    }

    /// For async code: a connection, or the task's waker is called when there may be one. Of several
    /// tasks that poll, the last one is woken. The first poll must be in a routine, whose runtime
    /// then watches the socket.
    ///
    /// ```
    /// use openwork::net::{TcpListener, TcpStream};
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// let accepts = std::future::poll_fn(move |cx| listener.poll_accept(cx));
    /// let (_, from) = rt.spawn_future(accepts).join().unwrap().unwrap();
    /// assert_eq!(from, client.local_addr().unwrap());
    /// ```
    pub fn poll_accept(&self, cx: &task::Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let accepted = self
            .0
            .poll(Direction::Read, cx, std::net::TcpListener::accept);
        accepted.map(|accepted| {
            let (stream, from) = accepted?;
            Ok((TcpStream::from_std(stream)?, from))
        })
    }

    /// All connections, one after the other; it never ends.
    ///
    /// ```
    /// use openwork::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// for stream in listener.incoming().take(1) {
    ///     assert!(stream.unwrap().peer_addr().is_ok());
    /// }
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }

    /// The address at which it listens.
    ///
    /// ```
    /// use openwork::net::TcpListener;
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// assert!(listener.local_addr().unwrap().ip().is_loopback());
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().local_addr()
    }

    /// How many routers a packet may pass.
    ///
    /// ```
    /// use openwork::net::TcpListener;
    /// assert!(TcpListener::bind("127.0.0.1:0").unwrap().ttl().unwrap() > 0);
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.inner().ttl()
    }

    /// Sets how many routers a packet may pass.
    ///
    /// ```
    /// use openwork::net::TcpListener;
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// listener.set_ttl(3).unwrap();
    /// assert_eq!(listener.ttl().unwrap(), 3);
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.inner().set_ttl(ttl)
    }
}

/// See [`TcpListener::incoming`].
///
/// ```
/// use openwork::net::{Incoming, TcpListener, TcpStream};
/// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
/// let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
/// let mut incoming: Incoming<'_> = listener.incoming();
/// assert!(incoming.next().unwrap().is_ok());
/// ```
#[derive(Debug)]
pub struct Incoming<'a>(&'a TcpListener);

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.0.accept().map(|(stream, _)| stream))
    }
}
