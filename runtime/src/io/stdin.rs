//! Standard input.
//!
//! Nothing can end a read of a terminal that has begun. So a thread of its own reads, which no runtime waits
//! for, and only when somebody asks: what a child process is to read is left alone. A reader that gives up
//! leaves the request behind, and what comes of it goes to the next reader. Nothing is lost, nor read twice.

use std::io::{self, Read};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use crate::cancel::Cancelled;
use crate::channel::{self, Receiver, RecvError, RecvTimeoutError, Sender};
use crate::net::error;
use crate::scheduler::timers::NEVER;
use crate::time;

/// Bytes asked for at once.
const CHUNK: usize = 8 << 10;

/// The process's standard input.
///
/// ```no_run
/// for line in openwork::io::stdin().lines() {
///     println!("{}", line.unwrap());
/// }
/// ```
pub fn stdin() -> Stdin {
    Stdin(())
}

/// See [`stdin`]. All handles share one buffer; each call takes what it returns from there, and lines whole.
///
/// ```
/// use openwork::io::{Stdin, stdin};
/// let input: Stdin = stdin();
/// let numbers = move || input.lines().map_while(Result::ok).filter_map(|line| line.parse::<i64>().ok());
/// # let _ = numbers;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stdin(());

/// The lines of standard input, without their ends; made by [`Stdin::lines`].
///
/// ```
/// use openwork::io::{Lines, stdin};
/// fn first(mut lines: Lines) -> Option<String> {
///     lines.next()?.ok()
/// }
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let ask = move || rt.block_on(|| first(stdin().lines()));
/// # let _ = ask;
/// ```
#[derive(Debug)]
pub struct Lines(());

/// What readers share.
struct Input {
    /// Holds the state while nobody reads: who has taken it has its turn.
    turns: (Sender<State>, Receiver<State>),
    arrived: Receiver<io::Result<Vec<u8>>>,
    /// One request a read.
    requests: mpsc::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Arrived, and not taken by anybody.
    rest: Vec<u8>,
    /// A read was asked for that nobody has received.
    asked: bool,
}

/// The right to read, given back when it is dropped.
struct Turn<'a> {
    input: &'a Input,
    state: State,
}

impl Input {
    /// The one of this process; starts its thread.
    fn get() -> io::Result<&'static Input> {
        static INPUT: OnceLock<Input> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        if let Some(input) = INPUT.get() {
            return Ok(input);
        }
        let _starting = STARTING.lock().unwrap_or_else(|e| e.into_inner());
        if INPUT.get().is_none() {
            let (requests, asked) = mpsc::channel();
            let (arrives, arrived) = channel::unbounded();
            thread::Builder::new()
                .name("openwork-stdin".to_owned())
                .spawn(move || read_when_asked(&asked, &arrives))?;
            let turns = channel::bounded(1);
            let _ = turns.0.try_send(State::default());
            let _ = INPUT.set(Input {
                turns,
                arrived,
                requests,
            });
        }
        Ok(INPUT.get().expect("set above"))
    }

    fn turn(&self, deadline: u64) -> io::Result<Turn<'_>> {
        let state = receive(&self.turns.1, deadline)?;
        Ok(Turn { input: self, state })
    }
}

impl Turn<'_> {
    /// Calls `take` with what is there until it has enough, and at the end of the input with true.
    fn take<T>(
        &mut self,
        deadline: u64,
        mut take: impl FnMut(&mut Vec<u8>, bool) -> Option<T>,
    ) -> io::Result<T> {
        let State { rest, asked } = &mut self.state;
        loop {
            if let Some(value) = take(rest, false) {
                return Ok(value);
            }
            if !std::mem::replace(asked, true) {
                // The thread lives as long as the process.
                let _ = self.input.requests.send(());
            }
            let chunk = receive(&self.input.arrived, deadline)?;
            *asked = false;
            let chunk = chunk?;
            if chunk.is_empty()
                && let Some(value) = take(rest, true)
            {
                return Ok(value);
            }
            rest.extend(chunk);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // There is room: what was taken goes back.
        let _ = self.input.turns.0.try_send(std::mem::take(&mut self.state));
    }
}

fn receive<T>(from: &Receiver<T>, deadline: u64) -> io::Result<T> {
    match deadline {
        NEVER => from.recv().map_err(|why| match why {
            RecvError::Cancelled => Cancelled.into(),
            _ => error::refused(),
        }),
        _ => from
            .recv_deadline(time::instant_of(deadline))
            .map_err(|why| match why {
                RecvTimeoutError::Cancelled => Cancelled.into(),
                _ => error::timed_out(),
            }),
    }
}

fn read_when_asked(asked: &mpsc::Receiver<()>, arrives: &Sender<io::Result<Vec<u8>>>) {
    while asked.recv().is_ok() {
        let mut chunk = vec![0; CHUNK];
        let read = loop {
            match io::stdin().read(&mut chunk) {
                Err(again) if again.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let chunk = read.map(|bytes| {
            chunk.truncate(bytes);
            chunk
        });
        if arrives.send(chunk).is_err() {
            return;
        }
    }
}

fn take_bytes(rest: &mut Vec<u8>, buf: &mut [u8], at_end: bool) -> Option<usize> {
    if rest.is_empty() && !at_end && !buf.is_empty() {
        return None;
    }
    let bytes = rest.len().min(buf.len());
    buf[..bytes].copy_from_slice(&rest[..bytes]);
    rest.drain(..bytes);
    Some(bytes)
}

/// A line with its end; at the end of the input what is left.
fn take_line(rest: &mut Vec<u8>, at_end: bool) -> Option<Vec<u8>> {
    let end = rest.iter().position(|byte| *byte == b'\n');
    match end {
        Some(at) => Some(rest.drain(..=at).collect()),
        None => at_end.then(|| std::mem::take(rest)),
    }
}

impl Stdin {
    /// Appends the next line with its end to `buf`, and returns its bytes: 0 at the end of the input.
    ///
    /// ```no_run
    /// let mut line = String::new();
    /// openwork::io::stdin().read_line(&mut line).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system call; of kind [`InvalidData`](io::ErrorKind::InvalidData) if the line, which is
    /// lost then, is not UTF-8; or as [sockets](crate::net) say that the routine was asked to end.
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        let line = Input::get()?.turn(NEVER)?.take(NEVER, take_line)?;
        let line = String::from_utf8(line)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the line is not UTF-8"))?;
        buf.push_str(&line);
        Ok(line.len())
    }

    /// Reads what is there; waits for it no longer than `timeout`. 0 bytes mean the end of the input.
    ///
    /// ```no_run
    /// let limit = std::time::Duration::from_secs(5);
    /// let bytes = openwork::io::stdin().read_timeout(&mut [0; 80], limit).unwrap();
    /// ```
    ///
    /// # Errors
    /// Of kind [`TimedOut`](io::ErrorKind::TimedOut) when the time is over; otherwise as
    /// [`read_line`](Self::read_line).
    pub fn read_timeout(&self, buf: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let deadline = time::deadline(timeout).min(NEVER - 1);
        Input::get()?
            .turn(deadline)?
            .take(deadline, |rest, at_end| take_bytes(rest, buf, at_end))
    }

    /// All lines to come, without their ends.
    ///
    /// ```no_run
    /// let lines = openwork::io::stdin().lines().count();
    /// ```
    pub fn lines(self) -> Lines {
        Lines(())
    }
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Input::get()?
            .turn(NEVER)?
            .take(NEVER, |rest, at_end| take_bytes(rest, buf, at_end))
    }
}

impl Iterator for Lines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        let mut line = String::new();
        match stdin().read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                if line.ends_with('\n') {
                    line.pop();
                    if line.ends_with('\r') {
                        line.pop();
                    }
                }
                Some(Ok(line))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
