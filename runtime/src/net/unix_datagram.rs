//! Unix datagram sockets.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self as std_net, SocketAddr};
use std::path::Path;

use crate::net::shared_methods::{socket_common, socket_limits};
use crate::net::socket::Socket;
use crate::poller::Direction;

/// A Unix datagram socket; as [`std::os::unix::net::UnixDatagram`].
///
/// ```
/// use openwork::net::UnixDatagram;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let (one, other) = UnixDatagram::pair().unwrap();
///     openwork::spawn(move || one.send(b"whole or not at all").unwrap());
///     let mut buf = [0; 64];
///     assert_eq!(other.recv(&mut buf).unwrap(), 19);
/// });
/// ```
#[derive(Debug)]
pub struct UnixDatagram(Socket<std_net::UnixDatagram>);

socket_common!(
    UnixDatagram,
    std_net::UnixDatagram,
    "openwork::net::UnixDatagram::unbound().unwrap()"
);
socket_limits!(
    UnixDatagram,
    "openwork::net::UnixDatagram::unbound().unwrap()"
);

impl UnixDatagram {
    /// A socket at a path, where nothing may be yet.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-dgram-{}", std::process::id()));
    /// let socket = UnixDatagram::bind(&path).unwrap();
    /// assert_eq!(socket.local_addr().unwrap().as_pathname(), Some(path.as_path()));
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(std_net::UnixDatagram::bind(path)?)
    }

    /// A socket without an address.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// assert!(UnixDatagram::unbound().unwrap().local_addr().unwrap().is_unnamed());
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(std_net::UnixDatagram::unbound()?)
    }

    /// Two sockets connected to each other.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// let (one, other) = UnixDatagram::pair().unwrap();
    /// one.send(b"x").unwrap();
    /// assert_eq!(other.recv(&mut [0]).unwrap(), 1);
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = std_net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(other)?))
    }

    /// Sets whom [`send`](Self::send) sends to.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-connect-{}", std::process::id()));
    /// let server = UnixDatagram::bind(&path).unwrap();
    /// let client = UnixDatagram::unbound().unwrap();
    /// client.connect(&path).unwrap();
    /// client.send(b"x").unwrap();
    /// assert_eq!(server.recv(&mut [0]).unwrap(), 1);
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.0.inner().connect(path)
    }

    /// Sends a datagram to whom the socket is connected to; waits while that one's queue is full.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// let (one, _other) = UnixDatagram::pair().unwrap();
    /// assert_eq!(one.send(b"text").unwrap(), 4);
    /// ```
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let call = "UnixDatagram::send";
        self.0
            .run(Direction::Write, call, |socket| socket.send(buf))
    }

    /// Waits for a datagram. What does not fit is lost.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// let (one, other) = UnixDatagram::pair().unwrap();
    /// one.send(b"text").unwrap();
    /// assert_eq!(other.recv(&mut [0; 2]).unwrap(), 2, "the rest is lost");
    /// ```
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let call = "UnixDatagram::recv";
        self.0.run(Direction::Read, call, |socket| socket.recv(buf))
    }

    /// As [`recv`](Self::recv), with the sender's address.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// let (one, other) = UnixDatagram::pair().unwrap();
    /// one.send(b"x").unwrap();
    /// let (len, from) = other.recv_from(&mut [0]).unwrap();
    /// assert!(len == 1 && from.is_unnamed());
    /// ```
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let call = "UnixDatagram::recv_from";
        self.0
            .run(Direction::Read, call, |socket| socket.recv_from(buf))
    }

    /// Sends a datagram to the socket at a path; waits while that one's queue is full.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-send-to-{}", std::process::id()));
    /// let server = UnixDatagram::bind(&path).unwrap();
    /// UnixDatagram::unbound().unwrap().send_to(b"x", &path).unwrap();
    /// assert_eq!(server.recv(&mut [0]).unwrap(), 1);
    /// # std::fs::remove_file(path).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        self.0
            .insist(Direction::Write, |socket| socket.send_to(buf, path))
    }

    /// Ends one or both directions. Who waits in it sees the end.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// let (one, other) = UnixDatagram::pair().unwrap();
    /// one.shutdown(std::net::Shutdown::Write).unwrap();
    /// assert!(one.send(b"x").is_err());
    /// # drop(other);
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
    /// use openwork::net::UnixDatagram;
    /// assert!(UnixDatagram::pair().unwrap().0.local_addr().unwrap().is_unnamed());
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().local_addr()
    }

    /// The address to which it is connected.
    ///
    /// ```
    /// use openwork::net::UnixDatagram;
    /// assert!(UnixDatagram::unbound().unwrap().peer_addr().is_err(), "it is connected to nobody");
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().peer_addr()
    }
}
