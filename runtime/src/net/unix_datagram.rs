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

socket_common!(UnixDatagram, std_net::UnixDatagram);
socket_limits!(UnixDatagram);

impl UnixDatagram {
    /// A socket at a path, where nothing may be yet.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(std_net::UnixDatagram::bind(path)?)
    }

    /// A socket without an address.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(std_net::UnixDatagram::unbound()?)
    }

    /// Two sockets connected to each other.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = std_net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(other)?))
    }

    /// Sets whom [`send`](Self::send) sends to.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.0.inner().connect(path)
    }

    /// Sends a datagram to whom the socket is connected to; waits while that one's queue is full.
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
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let call = "UnixDatagram::recv";
        self.0.run(Direction::Read, call, |socket| socket.recv(buf))
    }

    /// As [`recv`](Self::recv), with the sender's address.
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
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        self.0
            .insist(Direction::Write, |socket| socket.send_to(buf, path))
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

    /// The address to which it is connected.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().peer_addr()
    }
}
