//! What several kinds of sockets have in common with those of the standard library.

/// Conversions, names and the functions that every socket has. `$make` is how an example makes one.
macro_rules! socket_common {
    ($socket:ident, $std:ty, $make:expr) => {
        impl $socket {
            fn new(inner: $std) -> $socket {
                $socket($crate::net::socket::Socket::new(inner))
            }

            /// Takes over a socket of the standard library, and makes it non-blocking: so it becomes
            /// for all its clones.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// let theirs = socket.into_std().unwrap();
            #[doc = concat!("assert!(openwork::net::", stringify!($socket), "::from_std(theirs).is_ok());")]
            /// ```
            ///
            /// # Errors
            /// Those of the system call.
            pub fn from_std(socket: $std) -> std::io::Result<$socket> {
                socket.set_nonblocking(true)?;
                Ok($socket::new(socket))
            }

            /// Makes it a socket of the standard library, one that blocks.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// assert!(socket.into_std().unwrap().take_error().unwrap().is_none());
            /// ```
            ///
            /// # Errors
            /// Those of the system call.
            pub fn into_std(self) -> std::io::Result<$std> {
                let socket = self.0.into_inner();
                socket.set_nonblocking(false)?;
                Ok(socket)
            }

            /// Another handle to the same socket, with time-outs of its own, which are the same so
            /// far.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// let other = socket.try_clone().unwrap();
            /// assert!(other.take_error().unwrap().is_none());
            /// ```
            ///
            /// # Errors
            /// Those of the system call.
            pub fn try_clone(&self) -> std::io::Result<$socket> {
                let clone = self.0.inner().try_clone()?;
                Ok($socket(
                    $crate::net::socket::Socket::new(clone).like(&self.0),
                ))
            }

            /// Whether calls fail with [`WouldBlock`](std::io::ErrorKind::WouldBlock) instead of
            /// waiting. This handle only.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// socket.set_nonblocking(true).unwrap(); // this handle alone asks without waiting
            /// ```
            ///
            /// # Errors
            /// None.
            pub fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()> {
                self.0.set_nonblocking(nonblocking);
                Ok(())
            }

            /// Has the socket watched by this runtime from now on, unless it is watched already: so that tasks
            /// of other executors, which know no runtime, can poll it.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
            /// socket.attach(&rt.handle()).unwrap(); // now tasks of any executor may poll it
            /// ```
            ///
            /// # Errors
            /// Those of the system calls.
            pub fn attach(&self, runtime: &$crate::Handle) -> std::io::Result<()> {
                self.0.attach(&runtime.shared)
            }

            /// Takes the error that the system keeps for the socket.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// assert!(socket.take_error().unwrap().is_none());
            /// ```
            ///
            /// # Errors
            /// Those of the system call.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.0.inner().take_error()
            }

            /// Ends the socket for everybody: who waits for it and who calls it from now on gets an
            /// error of kind [`NotConnected`](std::io::ErrorKind::NotConnected). The descriptor is
            /// given back when the value is dropped.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// socket.close(); // whoever waits for it is told
            /// ```
            pub fn close(&self) {
                self.0.close();
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsSocket for $socket {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                self.0.inner().as_socket()
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsRawSocket for $socket {
            fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
                self.0.inner().as_raw_socket()
            }
        }

        #[cfg(windows)]
        impl From<$socket> for std::os::windows::io::OwnedSocket {
            /// The socket stays non-blocking.
            fn from(socket: $socket) -> std::os::windows::io::OwnedSocket {
                socket.0.into_inner().into()
            }
        }

        #[cfg(unix)]
        impl std::os::fd::AsFd for $socket {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.inner().as_fd()
            }
        }

        #[cfg(unix)]
        impl std::os::fd::AsRawFd for $socket {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.0.inner().as_raw_fd()
            }
        }

        #[cfg(unix)]
        impl From<$socket> for std::os::fd::OwnedFd {
            /// The descriptor stays non-blocking.
            fn from(socket: $socket) -> std::os::fd::OwnedFd {
                socket.0.into_inner().into()
            }
        }
    };
}

/// Time-outs and deadlines in both directions. `$make` is as in [`socket_common`].
macro_rules! socket_limits {
    ($socket:ident, $make:expr) => {
        impl $socket {
            /// Longest time that a call which receives may wait; `None` for no limit. It is over with
            /// an error of kind [`TimedOut`](std::io::ErrorKind::TimedOut).
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// use std::time::Duration;
            /// socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            /// assert!(socket.set_read_timeout(Some(Duration::ZERO)).is_err());
            /// ```
            ///
            /// # Errors
            /// If it is zero.
            pub fn set_read_timeout(
                &self,
                timeout: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                let read = $crate::poller::Direction::Read;
                self.0.set_timeout(read, timeout)
            }

            /// As [`set_read_timeout`](Self::set_read_timeout), for calls that send.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// socket.set_write_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
            /// ```
            ///
            /// # Errors
            /// If it is zero.
            pub fn set_write_timeout(
                &self,
                timeout: Option<std::time::Duration>,
            ) -> std::io::Result<()> {
                let write = $crate::poller::Direction::Write;
                self.0.set_timeout(write, timeout)
            }

            /// What [`set_read_timeout`](Self::set_read_timeout) has set.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// assert_eq!(socket.read_timeout().unwrap(), None);
            /// ```
            ///
            /// # Errors
            /// None.
            pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.0.timeout($crate::poller::Direction::Read))
            }

            /// What [`set_write_timeout`](Self::set_write_timeout) has set.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// assert_eq!(socket.write_timeout().unwrap(), None);
            /// ```
            ///
            /// # Errors
            /// None.
            pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                Ok(self.0.timeout($crate::poller::Direction::Write))
            }

            /// The moment after which no call that receives waits; `None` for no limit. It also
            /// holds for routines that wait already, so the past ends their waits; a plain thread
            /// looks at it when its call begins.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// socket.set_read_deadline(Some(openwork::time::now())); // ends the waits of all who receive
            /// ```
            pub fn set_read_deadline(&self, at: Option<std::time::Instant>) {
                self.0.set_deadline($crate::poller::Direction::Read, at);
            }

            /// As [`set_read_deadline`](Self::set_read_deadline), for calls that send.
            ///
            /// ```
            #[doc = concat!("let socket = ", $make, ";")]
            /// socket.set_write_deadline(None);
            /// ```
            pub fn set_write_deadline(&self, at: Option<std::time::Instant>) {
                self.0.set_deadline($crate::poller::Direction::Write, at);
            }
        }
    };
}

/// Reading by a borrow, and by the value as by its borrow, once the socket has something. `$call` is what
/// a refusal names.
#[cfg(unix)]
macro_rules! read_when_ready {
    ($stream:ident, $call:literal) => {
        impl std::io::Read for &$stream {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                let read = $crate::poller::Direction::Read;
                self.0.run(read, $call, |mut stream| stream.read(buf))
            }

            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                let read = $crate::poller::Direction::Read;
                self.0
                    .run(read, $call, |mut stream| stream.read_vectored(bufs))
            }
        }

        $crate::net::shared_methods::read_by_borrow!($stream);
    };
}

/// Writing by a borrow, and by the value as by its borrow, once the socket has room. There is nothing to
/// flush. `$call` is what a refusal names.
macro_rules! write_when_ready {
    ($stream:ident, $call:literal) => {
        impl std::io::Write for &$stream {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                let write = $crate::poller::Direction::Write;
                self.0.run(write, $call, |mut stream| stream.write(buf))
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                let write = $crate::poller::Direction::Write;
                self.0
                    .run(write, $call, |mut stream| stream.write_vectored(bufs))
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        impl std::io::Write for $stream {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}

/// Reading for a stream whose borrow can read.
macro_rules! read_by_borrow {
    ($stream:ident) => {
        impl std::io::Read for $stream {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                (&*self).read(buf)
            }

            fn read_vectored(
                &mut self,
                bufs: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }
    };
}

pub(super) use {socket_common, socket_limits};
// Pipes read and write in the same way.
#[cfg(unix)]
pub(crate) use read_when_ready;
pub(crate) use {read_by_borrow, write_when_ready};
