//! io_uring, for readiness: one multishot poll per socket.
//!
//! Sockets are read and written by the usual system calls; what is saved is the call that looks for
//! events, as they lie in memory that the kernel shares. What it costs: an event is handed out by the
//! thread that began to watch the socket, so the kernel interrupts or wakes that one first, even if
//! another sleeps in the poller. It was measured to be no cheaper than epoll, which is the default.
//!
//! A poll whose thread has ended gives one last answer, when something comes: that it was cancelled. Spare
//! threads end when nobody needs them, so such an answer is an event like others, and who reads it begins
//! the poll anew.
//!
//! A poll that is under way keeps the socket open, so that closing the descriptor alone would not tell
//! the peer: the poll is taken back first ([`Backend::unwatch`]). By a cancel, not by what the kernel calls a
//! poll's removal: that is refused while an event of the poll is on its way to the thread that submitted it, and
//! that is another one as a rule where routines move.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use io_uring::{IoUring, Probe, cqueue, opcode, squeue, types};

use super::epoll::Bell;
use super::source::{Backend, Happened, Token};

/// Submissions are handed over one by one.
const SUBMISSIONS: u32 = 64;

/// Events for which there is room; beyond, the kernel keeps them for us.
const COMPLETIONS: u32 = 4096;

/// `IORING_ENTER_GETEVENTS` and `IORING_ENTER_EXT_ARG` of the kernel's interface.
const GET_EVENTS: u32 = 1;
const WITH_TIME: u32 = 8;

const EVENTS: i16 = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
const READABLE: i16 =
    libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR;
const WRITABLE: i16 = libc::POLLOUT | libc::POLLHUP | libc::POLLERR;
const LASTING: i16 = libc::POLLPRI | libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR;

/// Of submissions whose result nobody waits for.
const NOBODYS: u64 = u64::MAX - 1;

/// See the module's text.
pub(crate) struct Uring {
    ring: IoUring,
    bell: Bell,
    /// By token. Its lock is that of the submission queue, too.
    watched: Mutex<HashMap<u64, RawFd>>,
    /// The lock of the completion queue.
    reaping: Mutex<()>,
}

impl Uring {
    /// # Errors
    /// What the kernel says: in containers mostly `EPERM`, in old kernels `ENOSYS`.
    pub(crate) fn new() -> io::Result<Uring> {
        let ring = IoUring::builder()
            .setup_clamp()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let params = ring.params();
        // The last one came with Linux 5.13, as multishot polls did.
        let enough = probe.is_supported(opcode::PollAdd::CODE)
            && params.is_feature_nodrop()
            && params.is_feature_ext_arg()
            && params.is_feature_resource_tagging();
        if !enough {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        let uring = Uring {
            ring,
            bell: Bell::new()?,
            watched: Mutex::new(HashMap::new()),
            reaping: Mutex::new(()),
        };
        uring.watch(uring.bell.fd(), Token::BELL)?;
        Ok(uring)
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<u64, RawFd>> {
        self.watched.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Hands one entry to the kernel. The guard is that of the submission queue.
    fn submit(
        &self,
        entry: &squeue::Entry,
        _exclusive: &MutexGuard<'_, HashMap<u64, RawFd>>,
    ) -> io::Result<()> {
        loop {
            // SAFETY: the guard keeps others from the queue; the entry holds no pointers.
            let pushed = unsafe { self.ring.submission_shared().push(entry) };
            // What could not be handed over the last time goes first.
            let submitted = self.ring.submit();
            match (pushed, submitted) {
                (_, Err(why)) => return Err(why),
                (Ok(()), Ok(_)) => return Ok(()),
                (Err(_full), Ok(_)) => {}
            }
        }
    }

    fn poll(fd: RawFd, token: u64) -> squeue::Entry {
        let events = EVENTS as u32;
        opcode::PollAdd::new(types::Fd(fd), events)
            .multi(true)
            .build()
            .user_data(token)
    }

    /// Lets the kernel put events where they can be seen, and waits for one if so asked.
    fn enter(&self, timeout: Option<Duration>) {
        let spec = timeout.map(|timeout| {
            types::Timespec::new()
                .sec(timeout.as_secs())
                .nsec(timeout.subsec_nanos())
        });
        let mut args = types::SubmitArgs::new();
        if let Some(spec) = &spec {
            args = args.timespec(spec);
        }
        let least = u32::from(timeout != Some(Duration::ZERO));
        // A time that is over, and a signal, are errors of no interest.
        // SAFETY: nothing is submitted, so the submission queue is not touched; the arguments live
        // through the call.
        let _ = unsafe {
            self.ring
                .submitter()
                .enter(0, least, GET_EVENTS | WITH_TIME, Some(&args))
        };
    }

    fn reap(&self, _exclusive: &MutexGuard<'_, ()>) -> Vec<cqueue::Entry> {
        // SAFETY: the guard keeps others from the queue.
        unsafe { self.ring.completion_shared() }.collect()
    }
}

impl Backend for Uring {
    fn watch(&self, fd: RawFd, token: Token) -> io::Result<()> {
        let mut watched = self.watched();
        watched.insert(token.0, fd);
        let submitted = self.submit(&Uring::poll(fd, token.0), &watched);
        if submitted.is_err() {
            watched.remove(&token.0);
        }
        submitted
    }

    fn unwatch(&self, _fd: RawFd, token: Token) {
        let mut watched = self.watched();
        watched.remove(&token.0);
        let cancel = opcode::AsyncCancel::new(token.0)
            .build()
            .user_data(NOBODYS)
            .flags(squeue::Flags::SKIP_SUCCESS);
        // It fails if the poll has ended by itself. If the kernel takes nothing now, it takes it with
        // the next submission, and the peer hears of the end that much later.
        let _ = self.submit(&cancel, &watched);
    }

    fn wait(&self, timeout: Option<Duration>, each: &mut dyn FnMut(Token, Happened)) {
        let reaping = self.reaping.lock().unwrap_or_else(|e| e.into_inner());
        let mut entries = self.reap(&reaping);
        if entries.is_empty() {
            self.enter(timeout);
            entries = self.reap(&reaping);
        }
        for entry in entries {
            let token = entry.user_data();
            let result = entry.result();
            if token == NOBODYS {
                continue;
            }
            let is_cancelled = result == -libc::ECANCELED;
            if !cqueue::more(entry.flags()) {
                let watched = self.watched();
                // One that was taken back is not watched any more: tokens are not used again.
                if let Some(&fd) = watched.get(&token)
                    && (result >= 0 || is_cancelled)
                {
                    // It begins with what is there, so nothing is lost in between. Not handed over
                    // now, it goes with the next submission.
                    let _ = self.submit(&Uring::poll(fd, token), &watched);
                }
            }
            if is_cancelled {
                continue;
            }
            // An error is for those who wait to find out: a system call tells it.
            let bits = if result < 0 {
                LASTING | READABLE | WRITABLE
            } else {
                result as i16
            };
            let what = Happened {
                readable: bits & READABLE != 0,
                writable: bits & WRITABLE != 0,
                lasting: bits & LASTING != 0,
            };
            each(Token(token), what);
        }
    }

    fn ring(&self) {
        self.bell.ring();
    }

    fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// What comes for a socket, or for the bell, reaches the others after the thread that began to watch it has
    /// ended; again and again, though each thread that looks ends, too.
    #[test]
    fn events_outlive_the_thread_that_watches() {
        let made = thread::spawn(|| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            Uring::new().map(|uring| {
                uring.watch(ours.as_raw_fd(), Token(7)).unwrap();
                (uring, ours, theirs)
            })
        });
        let (uring, ours, mut theirs) = match made.join().unwrap() {
            Ok(made) => made,
            Err(why) => {
                eprintln!("skipped: {why}");
                return;
            }
        };
        let wait_for = |token: Token, readable: bool| {
            let began = Instant::now();
            let mut seen = false;
            while !seen {
                assert!(began.elapsed().as_secs() < 120, "no event for {token:?}");
                let pause = Some(Duration::from_millis(20));
                uring.wait(pause, &mut |of, what| {
                    seen |= of == token && (what.readable || !readable);
                });
            }
        };
        for _ in 0..3 {
            theirs.write_all(b"x").unwrap();
            thread::scope(|threads| threads.spawn(|| wait_for(Token(7), true)).join().unwrap());
            uring.ring();
            thread::scope(|threads| {
                threads
                    .spawn(|| wait_for(Token::BELL, true))
                    .join()
                    .unwrap()
            });
        }
        uring.unwatch(ours.as_raw_fd(), Token(7));
    }
    /// The peer hears of the end of a socket though an event for it is on its way to another thread, the one that
    /// began to watch it.
    #[test]
    fn a_socket_closes_with_an_event_on_its_way() {
        let uring = match Uring::new() {
            Ok(uring) => uring,
            Err(why) => {
                eprintln!("skipped: {why}");
                return;
            }
        };
        thread::scope(|threads| {
            let (to_watch, sockets) = mpsc::channel::<(RawFd, Token)>();
            let (told, watched) = mpsc::channel();
            let uring = &uring;
            threads.spawn(move || {
                for (fd, token) in sockets {
                    uring.watch(fd, token).unwrap();
                    told.send(()).unwrap();
                }
            });
            for round in 0..300 {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                to_watch.send((ours.as_raw_fd(), Token(round))).unwrap();
                watched.recv().unwrap();
                theirs.write_all(b"x").unwrap();
                uring.unwatch(ours.as_raw_fd(), Token(round));
                drop(ours);
                let patience = Duration::from_secs(120);
                theirs.set_read_timeout(Some(patience)).unwrap();
                match theirs.read(&mut [0]) {
                    Ok(0) => {}
                    Err(why) if why.kind() == ErrorKind::ConnectionReset => {}
                    other => panic!("round {round}: {other:?}"),
                }
            }
        });
    }
}
