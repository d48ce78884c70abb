//! TCP connections.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use crate::net::error;
use crate::net::resolve::{ToSocketAddrs, each_address};
use crate::net::shared_methods::{read_by_borrow, socket_common, socket_limits, write_when_ready};
use crate::net::socket::{Socket, Tried, deadline_in};
use crate::poller::{Direction, os};
use crate::scheduler::timers::NEVER;

/// A TCP connection; as [`std::net::TcpStream`]. Reading and writing need no exclusive borrow, so two
/// routines can do one each.
///
/// ```
/// use std::io::{Read, Write};
/// use openwork::net::{TcpListener, TcpStream};
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
///     let (peer, _) = listener.accept().unwrap();
///     openwork::scope(|s| {
///         let reader = s.spawn(|| {
///             let mut buf = [0; 5];
///             (&stream).read_exact(&mut buf).unwrap();
///             buf
///         });
///         (&peer).write_all(b"hello").unwrap();
///         assert_eq!(&reader.join().unwrap(), b"hello");
///     });
/// });
/// ```
#[derive(Debug)]
pub struct TcpStream(Socket<std::net::TcpStream>);

socket_common!(
    TcpStream,
    std::net::TcpStream,
    "{\n# let listener = Box::leak(Box::new(std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap()));\n# openwork::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap() }"
);
socket_limits!(
    TcpStream,
    "{\n# let listener = Box::leak(Box::new(std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap()));\n# openwork::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap() }"
);

impl TcpStream {
    /// Connects to the first of the addresses that answers.
    ///
    /// ```
    /// use openwork::net::{TcpListener, TcpStream};
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let address = listener.local_addr().unwrap();
    ///     assert_eq!(TcpStream::connect(address).unwrap().peer_addr().unwrap(), address);
    /// });
    /// ```
    ///
    /// # Errors
    /// Those of the system calls for the last address, and those of the [module](crate::net).
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        each_address(address, |address| {
            connect_until(&address, NEVER, "TcpStream::connect")
        })
    }

    /// Connects, and waits no longer than so.
    ///
    /// ```
    /// use std::time::Duration;
    /// use openwork::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let address = listener.local_addr().unwrap();
    /// let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
    /// assert_eq!(stream.peer_addr().unwrap(), address);
    /// ```
    ///
    /// # Errors
    /// Those of the system calls and of the [module](crate::net); or if the time is zero.
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(error::zero_timeout());
        }
        let deadline = deadline_in(timeout);
        connect_until(address, deadline, "TcpStream::connect_timeout")
    }

    /// Reads without taking away.
    ///
    /// ```
    /// use openwork::net::{TcpListener, TcpStream};
    /// use std::io::{Read, Write};
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// let (mut server, _) = listener.accept().unwrap();
    /// client.write_all(b"x").unwrap();
    /// let mut buf = [0];
    /// assert_eq!(server.peek(&mut buf).unwrap(), 1);
    /// assert_eq!(server.read(&mut buf).unwrap(), 1, "still there");
    /// ```
    ///
    /// # Errors
    /// Those of the system call and of the [module](crate::net).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.run(Direction::Read, "TcpStream::peek", |stream| {
            stream.peek(buf)
        })
    }

    /// Ends one or both directions. Who waits in it sees the end.
    ///
    /// ```
    /// use openwork::net::{TcpListener, TcpStream};
    /// use std::{io::Read, net::Shutdown};
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// let (mut server, _) = listener.accept().unwrap();
    /// client.shutdown(Shutdown::Write).unwrap();
    /// assert_eq!(server.read(&mut [0]).unwrap(), 0, "the end");
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.inner().shutdown(how)
    }

    /// Two halves that can go different ways. The sending direction ends when its half is dropped.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use openwork::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let (mut reader, mut writer) =
    ///     TcpStream::connect(listener.local_addr().unwrap()).unwrap().split();
    /// let (mut peer, _) = listener.accept().unwrap();
    /// writer.write_all(b"that is all").unwrap();
    /// drop(writer);
    /// let mut text = String::new();
    /// peer.read_to_string(&mut text).unwrap();
    /// assert_eq!(text, "that is all");
    /// drop(peer);
    /// assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    /// ```
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let stream = Arc::new(self);
        (ReadHalf(stream.clone()), WriteHalf(stream))
    }

    /// For async code: reads, or the task's waker is called when there may be something. Of several
    /// tasks that poll, the last one is woken. The first poll must be in a routine, whose runtime
    /// then watches the socket, or the socket be [attached](Self::attach) to one before.
    ///
    /// ```
    /// use openwork::net::{TcpListener, TcpStream};
    /// use std::{future::poll_fn, io::Write};
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// (&listener.accept().unwrap().0).write_all(b"text").unwrap();
    /// let read = rt.spawn_future(async move { poll_fn(|cx| client.poll_read(cx, &mut [0; 8])).await });
    /// assert_eq!(read.join().unwrap().unwrap(), 4);
    /// ```
    pub fn poll_read(&self, cx: &task::Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(Direction::Read, cx, |mut stream| stream.read(buf))
    }

    /// For async code: writes, or the task's waker is called when there may be room; as
    /// [`poll_read`](Self::poll_read).
    ///
    /// ```
    /// use openwork::net::{TcpListener, TcpStream};
    /// use std::future::poll_fn;
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// let wrote = rt.spawn_future(async move { poll_fn(|cx| client.poll_write(cx, b"text")).await });
    /// assert_eq!(wrote.join().unwrap().unwrap(), 4);
    /// ```
    pub fn poll_write(&self, cx: &task::Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(Direction::Write, cx, |mut stream| stream.write(buf))
    }

    /// The address of this end.
    ///
    /// ```
    /// use openwork::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
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
    /// use openwork::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// assert_eq!(client.peer_addr().unwrap(), listener.local_addr().unwrap());
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.inner().peer_addr()
    }

    /// Whether small writes are sent at once.
    ///
    /// ```
    /// # use openwork::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// assert!(!client.nodelay().unwrap());
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.0.inner().nodelay()
    }

    /// Sets whether small writes are sent at once instead of gathered (Nagle's algorithm).
    ///
    /// ```
    /// # use openwork::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// client.set_nodelay(true).unwrap();
    /// assert!(client.nodelay().unwrap());
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.inner().set_nodelay(nodelay)
    }

    /// How many routers a packet may pass.
    ///
    /// ```
    /// # use openwork::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// assert!(client.ttl().unwrap() > 0);
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
    /// # use openwork::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// client.set_ttl(3).unwrap();
    /// assert_eq!(client.ttl().unwrap(), 3);
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.0.inner().set_ttl(ttl)
    }

    /// After how long a silence the system asks whether the other end is still there; `None`: never.
    ///
    /// ```
    /// # use openwork::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// use std::time::Duration;
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// client.set_keepalive(Some(Duration::from_secs(30))).unwrap();
    /// assert_eq!(client.keepalive().unwrap(), Some(Duration::from_secs(30)));
    /// ```
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        let socket = SockRef::from(self.0.inner());
        match after {
            None => socket.set_keepalive(false),
            Some(after) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after)),
        }
    }

    /// See [`set_keepalive`](Self::set_keepalive).
    ///
    /// ```
    /// # use openwork::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    /// assert_eq!(client.keepalive().unwrap(), None);
    /// ```
    ///
    /// # Errors
    /// Those of the system calls. On Windows of kind [`Unsupported`](io::ErrorKind::Unsupported) where it is on.
    pub fn keepalive(&self) -> io::Result<Option<Duration>> {
        let socket = SockRef::from(self.0.inner());
        match socket.keepalive()? {
            false => Ok(None),
            #[cfg(unix)]
            true => socket.tcp_keepalive_time().map(Some),
            // It can be set there, but not read.
            #[cfg(not(unix))]
            true => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn read_with(
        &self,
        asked: usize,
        mut read: impl FnMut(&std::net::TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let call = "TcpStream::read";
        self.0
            .run_until(Direction::Read, NEVER, call, |stream, seen| {
                if seen.is_some_and(|(watch, tick)| watch.source().is_drained(tick)) {
                    return Tried::Nothing;
                }
                let result = read(stream);
                // Less than asked for is all there was: the next read can wait at once, without a
                // system call to find that out.
                if let (Ok(got), Some((watch, tick))) = (&result, seen)
                    && (1..asked).contains(got)
                {
                    watch.source().set_drained(tick);
                }
                result.into()
            })
    }
}

fn connect_until(address: &SocketAddr, deadline: u64, call: &str) -> io::Result<TcpStream> {
    let domain = Domain::for_address(*address);
    let socket = os::socket(domain, Type::STREAM, Some(Protocol::TCP))?;
    match socket.connect(&(*address).into()) {
        Err(why) if !os::is_connecting(&why) => return Err(why),
        _ => {}
    }
    let stream = TcpStream::new(socket.into());
    stream
        .0
        .run_until(Direction::Write, deadline, call, |stream, _| {
            match stream.take_error() {
                Ok(None) => {}
                Ok(Some(why)) | Err(why) => return Tried::Done(Err(why)),
            }
            match stream.peer_addr() {
                Err(why) if why.kind() == io::ErrorKind::NotConnected => Tried::Nothing,
                result => Tried::Done(result.map(drop)),
            }
        })?;
    Ok(stream)
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with(buf.len(), |mut stream| stream.read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let asked = bufs.iter().map(|buf| buf.len()).sum();
        self.read_with(asked, |mut stream| stream.read_vectored(bufs))
    }
}

read_by_borrow!(TcpStream);
write_when_ready!(TcpStream, "TcpStream::write");

/// The receiving half of a [`TcpStream`]; see [`TcpStream::split`].
///
/// ```
/// use openwork::net::{ReadHalf, TcpListener, TcpStream};
/// use std::io::{Read, Write};
/// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
/// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
/// (&listener.accept().unwrap().0).write_all(b"text").unwrap();
/// let mut reads: ReadHalf = client.split().0;
/// let mut text = [0; 4];
/// reads.read_exact(&mut text).unwrap();
/// assert_eq!(&text, b"text");
/// ```
#[derive(Debug)]
pub struct ReadHalf(Arc<TcpStream>);

/// The sending half of a [`TcpStream`]; see [`TcpStream::split`].
///
/// ```
/// use openwork::net::{TcpListener, TcpStream, WriteHalf};
/// use std::io::{Read, Write};
/// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
/// let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
/// let (mut server, _) = listener.accept().unwrap();
/// let (_reads, mut writes): (_, WriteHalf) = client.split();
/// writes.write_all(b"text").unwrap();
/// drop(writes); // ends the direction
/// let mut text = String::new();
/// server.read_to_string(&mut text).unwrap();
/// assert_eq!(text, "text");
/// ```
#[derive(Debug)]
pub struct WriteHalf(Arc<TcpStream>);

impl ReadHalf {
    /// The whole connection.
    ///
    /// ```
    /// # use openwork::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let (reads, _) = TcpStream::connect(listener.local_addr().unwrap()).unwrap().split();
    /// assert!(reads.stream().peer_addr().is_ok());
    /// ```
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl WriteHalf {
    /// The whole connection.
    ///
    /// ```
    /// # use openwork::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let (_, writes) = TcpStream::connect(listener.local_addr().unwrap()).unwrap().split();
    /// writes.stream().set_nodelay(true).unwrap();
    /// ```
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl Read for ReadHalf {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self.0).read_vectored(bufs)
    }
}

impl Write for WriteHalf {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self.0).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.0).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // Fails if the peer has ended it all already.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}
