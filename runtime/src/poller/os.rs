//! What a socket is called by the system: a descriptor, or on Windows a handle of its own kind.

use std::io;
#[cfg(unix)]
pub(crate) use std::os::fd::{AsFd as AsSource, RawFd as RawSource};
#[cfg(windows)]
pub(crate) use std::os::windows::io::{AsSocket as AsSource, RawSocket as RawSource};

use socket2::{Domain, Protocol, Type};

/// Its number.
#[cfg(unix)]
pub(crate) fn raw(source: &impl AsSource) -> RawSource {
    use std::os::fd::AsRawFd;
    source.as_fd().as_raw_fd()
}

/// Its number.
#[cfg(windows)]
pub(crate) fn raw(source: &impl AsSource) -> RawSource {
    use std::os::windows::io::AsRawSocket;
    source.as_socket().as_raw_socket()
}

/// A socket that does not block, and that no child gets.
pub(crate) fn socket(
    domain: Domain,
    kind: Type,
    protocol: Option<Protocol>,
) -> io::Result<socket2::Socket> {
    // By one system call where there is such a one.
    #[cfg(target_os = "linux")]
    return socket2::Socket::new(domain, kind.nonblocking().cloexec(), protocol);
    #[cfg(not(target_os = "linux"))]
    {
        let socket = socket2::Socket::new(domain, kind, protocol)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// Whether a connection that was just asked for is being made.
pub(crate) fn is_connecting(why: &io::Error) -> bool {
    #[cfg(unix)]
    let told = why.raw_os_error() == Some(libc::EINPROGRESS);
    #[cfg(not(unix))]
    let told = why.kind() == io::ErrorKind::WouldBlock;
    told
}

/// The same as a borrow, for as long as the place where the number stands, whose owner sees to it that the
/// socket is open.
#[cfg(all(unix, portable))]
pub(super) fn borrow_raw(source: &RawSource) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: numbers come from `raw`, and `Watch` lives no longer than its socket.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(*source) }
}

/// As on Unix.
#[cfg(windows)]
pub(super) fn borrow_raw(source: &RawSource) -> std::os::windows::io::BorrowedSocket<'_> {
    // SAFETY: as on Unix.
    unsafe { std::os::windows::io::BorrowedSocket::borrow_raw(*source) }
}
