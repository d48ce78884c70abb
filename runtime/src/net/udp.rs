//! UDP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{self, Poll};

use socket2::{Domain, Protocol, Type};

use crate::net::resolve::{ToSocketAddrs, each_address};
use crate::net::shared_methods::{socket_common, socket_limits};
use crate::net::socket::Socket;
use crate::poller::{Direction, os};

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

socket_common!(
    UdpSocket,
    std::net::UdpSocket,
    "openwork::net::UdpSocket::bind(\"127.0.0.1:0\").unwrap()"
);
socket_limits!(
    UdpSocket,
    "openwork::net::UdpSocket::bind(\"127.0.0.1:0\").unwrap()"
);

/// Calls that are the standard library's, unchanged. `$example` shows the call on a `socket` of its own.
macro_rules! as_std {
    ($( $(#[$text:meta])* $name:ident($($arg:ident: $kind:ty),*) -> $result:ty: $example:literal; )*) => { $(
        $(#[$text])*
        ///
        /// ```
        /// let socket = openwork::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        #[doc = $example]
        /// ```
        ///
        /// ```
        /// use openwork::net::UdpSocket;
        /// assert_ne!(UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(), 0);
        /// ```
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
    /// ```
    /// use openwork::net::UdpSocket;
    /// assert_ne!(UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(), 0);
    /// ```
    ///
    /// # Errors
    /// Those of the system calls, for the last address.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        each_address(address, |address| {
            let domain = Domain::for_address(address);
            let socket = os::socket(domain, Type::DGRAM, Some(Protocol::UDP))?;
            socket.bind(&address.into())?;
            Ok(UdpSocket::new(socket.into()))
        })
    }

    /// Sets whom [`send`](Self::send) sends to and [`recv`](Self::recv) hears: the first of the
    /// addresses that works.
    ///
    /// ```
    /// use openwork::net::UdpSocket;
    /// let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    /// one.connect(other.local_addr().unwrap()).unwrap();
    /// one.send(b"to the other").unwrap();
    /// assert_eq!(other.recv(&mut [0; 32]).unwrap(), 12);
    /// ```
    ///
    /// # Errors
    /// Those of the system call, for the last address.
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        each_address(address, |address| self.0.inner().connect(address))
    }

    /// Sends a datagram to the first of the addresses. Returns its length.
    ///
    /// ```
    /// use openwork::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// assert_eq!(socket.send_to(b"to itself", socket.local_addr().unwrap()).unwrap(), 9);
    /// ```
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
    /// ```
    /// use openwork::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// let address = socket.local_addr().unwrap();
    /// socket.send_to(b"to itself", address).unwrap();
    /// assert_eq!(socket.recv_from(&mut [0; 32]).unwrap(), (9, address));
    /// ```
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
    /// ```
    /// use openwork::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// let address = socket.local_addr().unwrap();
    /// socket.send_to(b"x", address).unwrap();
    /// assert_eq!(socket.peek_from(&mut [0]).unwrap(), socket.recv_from(&mut [0]).unwrap());
    /// ```
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
    /// ```
    /// use openwork::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// socket.send_to(b"to itself", socket.local_addr().unwrap()).unwrap();
    /// assert_eq!(socket.recv(&mut [0; 32]).unwrap(), 9);
    /// ```
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let call = "UdpSocket::recv";
        self.0.run(Direction::Read, call, |socket| socket.recv(buf))
    }

    /// As [`recv`](Self::recv), and leaves it there.
    ///
    /// ```
    /// use openwork::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    /// assert_eq!(socket.peek(&mut [0]).unwrap(), 1);
    /// assert_eq!(socket.recv(&mut [0]).unwrap(), 1, "still there");
    /// ```
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let call = "UdpSocket::peek";
        self.0.run(Direction::Read, call, |socket| socket.peek(buf))
    }

    /// For async code: receives, or the task's waker is called when there may be something; as
    /// [`TcpStream::poll_read`](crate::net::TcpStream::poll_read).
    ///
    /// ```
    /// use openwork::net::UdpSocket;
    /// use std::future::poll_fn;
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    /// let got = rt.spawn_future(async move { poll_fn(|cx| socket.poll_recv_from(cx, &mut [0])).await });
    /// assert_eq!(got.join().unwrap().unwrap().0, 1);
    /// ```
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
        local_addr() -> SocketAddr:
            "assert_ne!(socket.local_addr().unwrap().port(), 0);";
        /// The address to which it is connected.
        peer_addr() -> SocketAddr:
            "socket.connect(socket.local_addr().unwrap()).unwrap();\nassert_eq!(socket.peer_addr().unwrap(), socket.local_addr().unwrap());";
        /// Whether it may send to broadcast addresses.
        broadcast() -> bool:
            "assert!(!socket.broadcast().unwrap());";
        /// Sets whether it may send to broadcast addresses.
        set_broadcast(on: bool) -> ():
            "socket.set_broadcast(true).unwrap();\nassert!(socket.broadcast().unwrap());";
        /// How many routers a packet may pass.
        ttl() -> u32:
            "assert!(socket.ttl().unwrap() > 0);";
        /// Sets how many routers a packet may pass.
        set_ttl(ttl: u32) -> ():
            "socket.set_ttl(3).unwrap();\nassert_eq!(socket.ttl().unwrap(), 3);";
        /// Whether it hears what it multicasts itself.
        multicast_loop_v4() -> bool:
            "assert!(socket.multicast_loop_v4().unwrap());";
        /// Sets whether it hears what it multicasts itself.
        set_multicast_loop_v4(on: bool) -> ():
            "socket.set_multicast_loop_v4(false).unwrap();\nassert!(!socket.multicast_loop_v4().unwrap());";
        /// As [`multicast_loop_v4`](Self::multicast_loop_v4), for IPv6.
        multicast_loop_v6() -> bool:
            "# let Ok(socket) = openwork::net::UdpSocket::bind(\"[::1]:0\") else { return };\nassert!(socket.multicast_loop_v6().unwrap());";
        /// As [`set_multicast_loop_v4`](Self::set_multicast_loop_v4), for IPv6.
        set_multicast_loop_v6(on: bool) -> ():
            "# let Ok(socket) = openwork::net::UdpSocket::bind(\"[::1]:0\") else { return };\nsocket.set_multicast_loop_v6(false).unwrap();";
        /// How many routers a multicast packet may pass.
        multicast_ttl_v4() -> u32:
            "assert_eq!(socket.multicast_ttl_v4().unwrap(), 1);";
        /// Sets how many routers a multicast packet may pass.
        set_multicast_ttl_v4(ttl: u32) -> ():
            "socket.set_multicast_ttl_v4(4).unwrap();\nassert_eq!(socket.multicast_ttl_v4().unwrap(), 4);";
        /// Joins a group, at the interface of that address.
        join_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ():
            "use std::net::Ipv4Addr;\nsocket.join_multicast_v4(&Ipv4Addr::new(224, 0, 0, 123), &Ipv4Addr::LOCALHOST).unwrap();";
        /// Joins a group, at the interface of that number.
        join_multicast_v6(group: &Ipv6Addr, interface: u32) -> ():
            "use std::net::Ipv6Addr;\nlet nowhere = socket.join_multicast_v6(&Ipv6Addr::LOCALHOST, 0);\nassert!(nowhere.is_err(), \"that address is no group\");";
        /// Leaves a group.
        leave_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ():
            "use std::net::Ipv4Addr;\nlet (group, here) = (Ipv4Addr::new(224, 0, 0, 123), Ipv4Addr::LOCALHOST);\nsocket.join_multicast_v4(&group, &here).unwrap();\nsocket.leave_multicast_v4(&group, &here).unwrap();";
        /// Leaves a group.
        leave_multicast_v6(group: &Ipv6Addr, interface: u32) -> ():
            "use std::net::Ipv6Addr;\nlet stranger = socket.leave_multicast_v6(&Ipv6Addr::LOCALHOST, 0);\nassert!(stranger.is_err(), \"it is in no such group\");";
    }
}
