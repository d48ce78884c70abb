//! A running child.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::process as std_process;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output, exit};
use crate::blocking;
use crate::net::error;
use crate::net::socket::{Socket, Tried};
use crate::poller::Direction;
use crate::scheduler::block;
use crate::scheduler::timers::NEVER;
use crate::{time, try_block_on};

/// Room that a reading of a child's output begins with, in bytes.
const OUTPUT_BYTES: usize = 4 << 10;

/// A child process; as [`std::process::Child`]. Made by [`Command::spawn`](super::Command::spawn).
///
/// ```
/// use openwork::process::Command;
/// use std::time::Duration;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
///     let early = sleeper.wait_timeout(Duration::from_millis(5)).unwrap();
///     assert!(early.is_none());
///     sleeper.kill().unwrap();
///     assert!(!sleeper.wait().unwrap().success());
/// });
/// ```
#[derive(Debug)]
pub struct Child {
    child: std_process::Child,
    /// Made by the first wait; `None` inside where the kernel has no such thing.
    exit: Option<Option<Socket<exit::Exit>>>,
    /// The other end of its standard input, if that is a pipe.
    pub stdin: Option<ChildStdin>,
    /// The other end of its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// The other end of its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
}

impl Child {
    /// Takes over a child of std's, and makes its pipes non-blocking on this side.
    ///
    /// ```
    /// use openwork::process::Child;
    /// let child = std::process::Command::new("true").spawn().unwrap();
    /// assert!(Child::from_std(child).unwrap().wait().unwrap().success());
    /// ```
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn from_std(mut child: std_process::Child) -> io::Result<Child> {
        let stdin = child.stdin.take().map(PipeEnd::from);
        let stdout = child.stdout.take().map(PipeEnd::from);
        let stderr = child.stderr.take().map(PipeEnd::from);
        Ok(Child {
            child,
            exit: None,
            stdin: stdin.map(ChildStdin::try_from).transpose()?,
            stdout: stdout.map(ChildStdout::try_from).transpose()?,
            stderr: stderr.map(ChildStderr::try_from).transpose()?,
        })
    }

    /// Its number in the process table.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    /// assert_ne!(child.id(), openwork::process::id());
    /// # child.kill().unwrap();
    /// # child.wait().unwrap();
    /// ```
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by `SIGKILL`. [`wait`](Self::wait) for it afterwards, or it stays in the process table.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    /// child.kill().unwrap();
    /// assert_eq!(child.wait().unwrap().code(), None); // by a signal
    /// ```
    ///
    /// # Errors
    /// Those of the system call. None if it has ended.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    /// How it ended, if it has. Does not wait.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    /// assert!(child.try_wait().unwrap().is_none());
    /// # child.kill().unwrap();
    /// # child.wait().unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system call.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until it has ended. Its standard input is closed first, if we have that, so that it does not
    /// wait for us.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let mut child = Command::new("false").spawn().unwrap();
    /// assert_eq!(child.wait().unwrap().code(), Some(1));
    /// ```
    ///
    /// # Errors
    /// Those of the system calls; or as [sockets](crate::net) say that the routine was asked to end, or is
    /// panicking. The child goes on then.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.wait_until(NEVER)
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`: `None` if it has not ended by then.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    /// let limit = std::time::Duration::from_millis(1);
    /// assert!(child.wait_timeout(limit).unwrap().is_none());
    /// # child.kill().unwrap();
    /// # child.wait().unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        drop(self.stdin.take());
        in_time(self.wait_until(time::deadline(timeout).min(NEVER - 1)))
    }

    /// As [`wait`](Self::wait), but no longer than until `deadline`.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    /// let now = openwork::time::now();
    /// assert!(child.wait_deadline(now).unwrap().is_none());
    /// # child.kill().unwrap();
    /// # child.wait().unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        drop(self.stdin.take());
        in_time(self.wait_until(time::ns_of(deadline)))
    }

    fn wait_until(&mut self, deadline: u64) -> io::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        let pid = self.child.id();
        // It is a child and not waited for: the number is its own.
        let exit = self
            .exit
            .get_or_insert_with(|| exit::pidfd(pid).ok().map(Socket::new));
        let Some(exit) = exit else {
            return wait_by_pool(&mut self.child, deadline);
        };
        exit.run_until(Direction::Read, deadline, "Child::wait", |_, _| match self
            .child
            .try_wait()
            .transpose()
        {
            Some(result) => Tried::Done(result),
            None => Tried::Nothing,
        })
    }

    /// Waits until it has ended, and reads all that it writes meanwhile to the pipes that we have. Its
    /// standard input is closed first.
    ///
    /// ```
    /// use openwork::process::Command;
    /// use openwork::process::Stdio;
    /// let child = Command::new("echo").arg("text").stdout(Stdio::piped()).spawn().unwrap();
    /// assert_eq!(child.wait_with_output().unwrap().stdout, b"text\n");
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        self.read_and_wait(NEVER)
    }

    pub(super) fn read_and_wait(&mut self, deadline: u64) -> io::Result<Output> {
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let (stdout, stderr) = read_both(stdout.as_ref(), stderr.as_ref(), deadline)?;
        Ok(Output {
            status: self.wait_until(deadline)?,
            stdout,
            stderr,
        })
    }

    /// Kills a child whom nobody will know any more, and sees to it that it leaves the process table.
    pub(super) fn reap(mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Fails if it has just ended.
            let _ = self.child.kill();
            // Not here: a process that is inside a system call ends after that.
            blocking::detached(move || {
                let _ = self.child.wait();
            });
        }
    }
}

fn in_time(result: io::Result<ExitStatus>) -> io::Result<Option<ExitStatus>> {
    match result {
        Ok(status) => Ok(Some(status)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}

/// An end of a pipe, as the system names it.
#[cfg(unix)]
type PipeEnd = std::os::fd::OwnedFd;
#[cfg(windows)]
type PipeEnd = std::os::windows::io::OwnedHandle;

/// Where there is nothing to wait for but the child itself: asks now and then.
#[cfg(windows)]
fn wait_by_pool(child: &mut std_process::Child, deadline: u64) -> io::Result<ExitStatus> {
    crate::net::socket::insist(deadline, || {
        child
            .try_wait()?
            .ok_or_else(|| io::ErrorKind::WouldBlock.into())
    })
}

/// Where the kernel knows no pidfd. The waiting thread takes nothing away, so it can be left behind.
#[cfg(unix)]
fn wait_by_pool(child: &mut std_process::Child, deadline: u64) -> io::Result<ExitStatus> {
    let pid = child.id();
    blocking::blocking_until(deadline, move || exit::wait_here(pid))?;
    child.wait()
}

/// One direction of a child's output while it is read.
struct Reading<'a> {
    pipe: Option<&'a ChildStdout>,
    bytes: Vec<u8>,
    used: usize,
}

impl<'a> Reading<'a> {
    fn new(pipe: Option<&'a ChildStdout>) -> Reading<'a> {
        Reading {
            pipe,
            bytes: Vec::new(),
            used: 0,
        }
    }

    /// Reads all that is there. True at the end.
    fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        while let Some(pipe) = self.pipe {
            self.make_room();
            match pipe.poll_read(cx, &mut self.bytes[self.used..]) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => self.pipe = None,
                Poll::Ready(Ok(read)) => self.used += read,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(true)
    }

    fn make_room(&mut self) {
        if self.used == self.bytes.len() {
            self.bytes.resize((2 * self.used).max(OUTPUT_BYTES), 0);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.used);
        self.bytes
    }
}

/// Reads both to their ends: a child that writes to one must not wait because we read the other.
fn read_both(
    out: Option<&ChildStdout>,
    err: Option<&ChildStderr>,
    deadline: u64,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut out, mut err) = (Reading::new(out), Reading::new(err));
    if let block::Context::Routine(_) = block::context() {
        let both = pin!(poll_fn(|cx| {
            match (out.poll(cx), err.poll(cx)) {
                (Ok(true), Ok(true)) => Poll::Ready(Ok(())),
                (Err(error), _) | (_, Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Pending,
            }
        }));
        match deadline {
            NEVER => try_block_on(both)??,
            _ => try_block_on(time::timeout_at(time::instant_of(deadline), both))?
                .unwrap_or_else(|_| Err(error::timed_out()))?,
        }
    } else {
        std::thread::scope(|s| {
            let errors = s.spawn(|| err.read_here(deadline));
            out.read_here(deadline).and(
                errors
                    .join()
                    .unwrap_or_else(|e| std::panic::resume_unwind(e)),
            )
        })?;
    }
    Ok((out.finish(), err.finish()))
}

impl Reading<'_> {
    /// On a thread, which may stand still.
    fn read_here(&mut self, deadline: u64) -> io::Result<()> {
        use std::io::Read;
        let Some(mut pipe) = self.pipe.take() else {
            return Ok(());
        };
        pipe.set_read_deadline((deadline != NEVER).then(|| time::instant_of(deadline)));
        pipe.read_to_end(&mut self.bytes)?;
        self.used = self.bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where there is no pidfd, which is everywhere for this test.
    #[test]
    fn the_pool_waits_without_a_pidfd() {
        let rt = crate::Runtime::builder().workers(1).build().unwrap();
        rt.block_on(|| {
            let mut child = std_process::Command::new("sleep")
                .arg("1000")
                .spawn()
                .unwrap();
            let soon = time::now_ns() + 1_000_000;
            let early = wait_by_pool(&mut child, soon).unwrap_err();
            assert_eq!(early.kind(), io::ErrorKind::TimedOut);
            child.kill().unwrap();
            assert!(!wait_by_pool(&mut child, NEVER).unwrap().success());
            // No child any more: the wait that was left behind has ended too.
            exit::wait_here(child.id());
        });
        rt.shutdown(Duration::from_secs(100)).unwrap();
    }
}
