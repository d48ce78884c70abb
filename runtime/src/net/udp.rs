//! UDP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{self, Poll};

use socket2::{Domain, Protocol, Type};

use crate::net::resolve::{ToSocketAddrs, each_address};
use crate::net::shared_methods::{socket_common, socket_limits};
use crate::net::socket::Socket;
use crate::poller::Direction;

/// A UDP socket; as [`std::net::UdpSocket`].
///
/// ```
/// use openwork::net::UdpSocket;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
///     let address = other.local_addr().unwrap();
///     openwork::spawn(move || one.send_to(b"a datagram", address).unwrap());
///     let mut buf = [0; 64];
///     let (len, _from) = other.recv_from(&mut buf).unwrap();
///     assert_eq!(&buf[..len], b"a datagram");
/// });
/// ```
#[derive(Debug)]
pub struct UdpSocket(Socket<std::net::UdpSocket>);

socket_common!(UdpSocket, std::net::UdpSocket);
socket_limits!(UdpSocket);

/// Calls that are the standard library's, unchanged.
macro_rules! as_std {
    ($( $(#[$text:meta])* $name:ident($($arg:ident: $kind:ty),*) -> $result:ty; )*) => { $(
        $(#[$text])*
        ///
        /// # Errors
        /// Those of the system call.
        pub fn $name(&self, $($arg: $kind),*) -> io::Result<$result> {
            self.0.inner().$name($($arg),*)
        }
    )* };
}

impl UdpSocket {
    /// A socket at the first of the addresses that is to be had. Port 0 lets the system choose.
    ///
    /// # Errors
    /// Those of the system calls, for the last address.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        each_address(address, |address| {
            let kind = Type::DGRAM.nonblocking().cloexec();
            let domain = Domain::for_address(address);
            let socket = socket2::Socket::new(domain, kind, Some(Protocol::UDP))?;
            socket.bind(&address.into())?;
            Ok(UdpSocket::new(socket.into()))
        })
    }

    /// Sets whom [`send`](Self::send) sends to and [`recv`](Self::recv) hears: the first of the
    /// addresses that works.
    ///
    /// # Errors
    /// Those of the system call, for the last address.
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        each_address(address, |address| self.0.inner().connect(address))
    }

    /// Sends a datagram to the first of the addresses. Returns its length.
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn send_to(&self, buf: &[u8], address: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(address) = address.to_socket_addrs()?.next() else {
            return each_address(&[][..], |_| Ok(0));
        };
        let call = "UdpSocket::send_to";
        self.0.run(Direction::Write, call, |socket| {
            socket.send_to(buf, address)
        })
    }

    /// Waits for a datagram. What does not fit is lost.
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let call = "UdpSocket::recv_from";
        self.0
            .run(Direction::Read, call, |socket| socket.recv_from(buf))
    }

    /// As [`recv_from`](Self::recv_from), and leaves it there.
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let call = "UdpSocket::peek_from";
        self.0
            .run(Direction::Read, call, |socket| socket.peek_from(buf))
    }

    /// Sends a datagram to whom the socket is connected to.
    ///
    /// ```
    /// use openwork::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// socket.connect(socket.local_addr().unwrap()).unwrap();
    /// socket.send(b"to myself").unwrap();
    /// assert_eq!(socket.recv(&mut [0; 64]).unwrap(), 9);
    /// ```
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let call = "UdpSocket::send";
        self.0
            .run(Direction::Write, call, |socket| socket.send(buf))
    }

    /// Waits for a datagram of whom the socket is connected to. What does not fit is lost.
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let call = "UdpSocket::recv";
        self.0.run(Direction::Read, call, |socket| socket.recv(buf))
    }

    /// As [`recv`](Self::recv), and leaves it there.
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let call = "UdpSocket::peek";
        self.0.run(Direction::Read, call, |socket| socket.peek(buf))
    }

    /// For async code: receives, or the task's waker is called when there may be something; as
    /// [`TcpStream::poll_read`](crate::net::TcpStream::poll_read).
    pub fn poll_recv_from(
        &self,
        cx: &task::Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.0
            .poll(Direction::Read, cx, |socket| socket.recv_from(buf))
    }

    as_std! {
        /// The address of this end.
        local_addr() -> SocketAddr;
        /// The address to which it is connected.
        peer_addr() -> SocketAddr;
        /// Whether it may send to broadcast addresses.
        broadcast() -> bool;
        /// Sets whether it may send to broadcast addresses.
        set_broadcast(on: bool) -> ();
        /// How many routers a packet may pass.
        ttl() -> u32;
        /// Sets how many routers a packet may pass.
        set_ttl(ttl: u32) -> ();
        /// Whether it hears what it multicasts itself.
        multicast_loop_v4() -> bool;
        /// Sets whether it hears what it multicasts itself.
        set_multicast_loop_v4(on: bool) -> ();
        /// As [`multicast_loop_v4`](Self::multicast_loop_v4), for IPv6.
        multicast_loop_v6() -> bool;
        /// As [`set_multicast_loop_v4`](Self::set_multicast_loop_v4), for IPv6.
        set_multicast_loop_v6(on: bool) -> ();
        /// How many routers a multicast packet may pass.
        multicast_ttl_v4() -> u32;
        /// Sets how many routers a multicast packet may pass.
        set_multicast_ttl_v4(ttl: u32) -> ();
        /// Joins a group, at the interface of that address.
        join_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
        /// Joins a group, at the interface of that number.
        join_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
        /// Leaves a group.
        leave_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
        /// Leaves a group.
        leave_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
    }
}
