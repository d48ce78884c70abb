//! Sockets: TCP, UDP and Unix, with the names and signatures of [`std::net`] and
//! [`std::os::unix::net`].
//!
//! A routine that waits for a socket is parked, and its worker runs others. A plain thread waits as
//! with the standard library. Porting is a change of `use`.
//!
//! ```
//! use std::io::{Read, Write};
//! use openwork::net::{TcpListener, TcpStream};
//! use openwork::{Runtime, spawn};
//!
//! let rt = Runtime::builder().workers(1).build().unwrap();
//! rt.block_on(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//!     let address = listener.local_addr().unwrap();
//!     spawn(move || {
//!         let (mut peer, _) = listener.accept().unwrap();
//!         let mut text = String::new();
//!         peer.read_to_string(&mut text).unwrap();
//!         peer.write_all(text.to_uppercase().as_bytes()).unwrap();
//!     });
//!     let mut stream = TcpStream::connect(address).unwrap();
//!     stream.write_all(b"echo").unwrap();
//!     stream.shutdown(std::net::Shutdown::Write).unwrap();
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer).unwrap();
//!     assert_eq!(answer, "ECHO");
//! });
//! ```
//!
//! **Time.** Each handle has time-outs, for each call, and deadlines, for all of them; what comes first
//! ends the wait with [`TimedOut`](std::io::ErrorKind::TimedOut). (The standard library says
//! `WouldBlock` on Unix.)
//!
//! **Cancelling.** A call of a routine that was asked to end returns an error of kind
//! [`Other`](std::io::ErrorKind::Other) whose inner error is [`Cancelled`](crate::Cancelled), once;
//! later ones unwind. It is no kind for which callers repeat a call, so `read_exact` and its like end.
//!
//! **Closing.** A socket is closed when its value is dropped, which nobody can do while another one
//! waits by a borrow. `close` ends it for all.
//!
//! **While panicking** a routine cannot be suspended: in a destructor that an unwinding called, a wait
//! holds the thread until its deadline, and is refused if it has none.
//!
pub(crate) mod error;
mod resolve;
pub(crate) mod shared_methods;
pub(crate) mod socket;
mod tcp_listener;
mod tcp_stream;
mod udp;
#[cfg(unix)]
mod unix_datagram;
#[cfg(unix)]
mod unix_stream;

pub use resolve::{ToSocketAddrs, lookup_host, lookup_host_timeout};
pub use tcp_listener::{Incoming, TcpListener};
pub use tcp_stream::{ReadHalf, TcpStream, WriteHalf};
pub use udp::UdpSocket;
#[cfg(unix)]
pub use unix_datagram::UnixDatagram;
#[cfg(unix)]
pub use unix_stream::{UnixListener, UnixStream};
