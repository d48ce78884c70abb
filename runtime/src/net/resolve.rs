//! Addresses, and names that stand for them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;
use std::{option, slice, vec};

use crate::blocking;

/// What can be turned into socket addresses; as [`std::net::ToSocketAddrs`], but looking up a name
/// keeps no worker.
///
/// ```
/// use openwork::net::ToSocketAddrs;
///
/// let mut addresses = "127.0.0.1:80".to_socket_addrs().unwrap();
/// assert_eq!(addresses.next(), Some(([127, 0, 0, 1], 80).into()));
/// ```
pub trait ToSocketAddrs {
    /// The addresses, in the order in which to try them.
    type Iter: Iterator<Item = SocketAddr>;

    /// Finds the addresses.
    ///
    /// # Errors
    /// If the text is no address, the name is not found, or the routine was asked to end.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

fn one<A: Into<SocketAddr>>(address: A) -> io::Result<option::IntoIter<SocketAddr>> {
    Ok(Some(address.into()).into_iter())
}

macro_rules! is_an_address {
    ($($address:ty),*) => { $(
        impl ToSocketAddrs for $address {
            type Iter = option::IntoIter<SocketAddr>;

            fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
                one(*self)
            }
        }
    )* };
}

is_an_address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(address) => Ok(vec![SocketAddr::new(address, port)].into_iter()),
            Err(_) => look_up(host, port),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (self.0.as_str(), self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        if let Ok(address) = self.parse() {
            return Ok(vec![address].into_iter());
        }
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let (host, port) = self
            .rsplit_once(':')
            .ok_or_else(|| wrong("address: no `:` and port number in it"))?;
        let port = port
            .parse()
            .map_err(|_| wrong("port: no number from 0 to 65535"))?;
        (host, port).to_socket_addrs()
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        self.as_str().to_socket_addrs()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = std::iter::Cloned<slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().cloned())
    }
}

impl<A: ToSocketAddrs + ?Sized> ToSocketAddrs for &A {
    type Iter = A::Iter;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
}

/// The addresses of a host, each with `port`; as [`ToSocketAddrs`] finds them.
///
/// ```
/// let found: Vec<_> = openwork::net::lookup_host("localhost", 80).unwrap().collect();
/// assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
/// ```
///
/// # Errors
/// If the name is not found, or the routine was asked to end.
pub fn lookup_host(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    (host, port).to_socket_addrs()
}

/// As [`lookup_host`], but waits no longer than `timeout`. The look-up itself cannot be ended: it goes on
/// alone, on a thread of the blocking pool.
///
/// ```
/// let limit = std::time::Duration::from_secs(60);
/// assert!(openwork::net::lookup_host_timeout("localhost", 80, limit).unwrap().count() > 0);
/// ```
///
/// # Errors
/// As [`lookup_host`]; of kind [`TimedOut`](io::ErrorKind::TimedOut) when the time is over.
pub fn lookup_host_timeout(
    host: &str,
    port: u16,
    timeout: Duration,
) -> io::Result<vec::IntoIter<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)].into_iter());
    }
    let host = host.to_owned();
    blocking::blocking_timeout(timeout, move || {
        std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port))
    })?
}

fn look_up(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    blocking::io(|| std::net::ToSocketAddrs::to_socket_addrs(&(host, port)))
}

/// Calls `f` with each address until one does.
pub(crate) fn each_address<T>(
    addresses: impl ToSocketAddrs,
    mut f: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "address: there is none");
    for address in addresses.to_socket_addrs()? {
        match f(address) {
            Err(why) if !super::error::is_cancel(&why) => last = why,
            result => return result,
        }
    }
    Err(last)
}
