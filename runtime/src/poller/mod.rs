//! The poller: how the kernel tells a runtime that a socket has something.
//!
//! There is one for a runtime, made when the first routine waits for a socket. No thread belongs to
//! it: workers look into it when they have nothing else to do, and now and then in between; of those
//! that sleep, one does so *in* the poller. Who waits or looks holds the **seat**. `docs/scheduler.md`
//! says how that fits with waking and parking.
//!
//! [`source`] is what is known of each socket, [`epoll`] asks the kernel, [`op`] is a routine's wait,
//! [`thread`] that of a plain thread, which needs no poller.

mod epoll;
mod op;
mod source;
mod thread;

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use crate::snapshot::{IoFigures, Source as From};
use epoll::Epoll;
use source::{Backend, Happened, Source, Sources, Token, Woken};

pub(crate) use op::wait_for;
pub(crate) use source::Direction;
pub(crate) use thread::hold_for;

/// See the module's text.
pub(crate) struct Poller {
    backend: Box<dyn Backend>,
    sources: Sources,
    seat: Mutex<Vec<(Token, Happened)>>,
    /// The runtime has ended: no event comes any more.
    closed: AtomicBool,
    figures: Figures,
}

/// Events and readied are written by who has the seat.
#[derive(Default)]
#[repr(align(128))]
struct Figures {
    watched: AtomicU64,
    unwatched: AtomicU64,
    waits: AtomicU64,
    looks: AtomicU64,
    events: AtomicU64,
    readied: AtomicU64,
    late: AtomicU64,
}

/// The right to ask the kernel, and what it has said.
pub(crate) struct Seat<'a> {
    poller: &'a Poller,
    happened: MutexGuard<'a, Vec<(Token, Happened)>>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        Ok(Poller {
            backend: Box::new(Epoll::new()?),
            sources: Sources::new(),
            seat: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
            figures: Figures::default(),
        })
    }

    /// Watches a socket for as long as the value lives, which must end before the descriptor is
    /// closed.
    pub(crate) fn watch(self: &Arc<Poller>, fd: RawFd) -> io::Result<Watch> {
        let token = self.sources.take();
        if let Err(why) = self.backend.watch(fd, token) {
            self.sources.give_back(token);
            return Err(why);
        }
        self.figures.watched.fetch_add(1, Relaxed);
        Ok(Watch {
            poller: self.clone(),
            fd,
            token,
        })
    }

    /// Whether any socket is watched: otherwise looking is for nothing.
    pub(crate) fn has_sources(&self) -> bool {
        self.figures.watched.load(Relaxed) != self.figures.unwatched.load(Relaxed)
    }

    /// Takes the seat, unless somebody has it.
    pub(crate) fn take_seat(&self) -> Option<Seat<'_>> {
        let happened = match self.seat.try_lock() {
            Ok(happened) => happened,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Seat {
            poller: self,
            happened,
        })
    }

    /// Ends the sleep of who has the seat, or else the next one.
    pub(crate) fn ring(&self) {
        self.backend.ring();
    }

    /// The runtime has ended. Who still waits for a socket through it is sent to look elsewhere.
    pub(crate) fn close(&self) {
        // Release pairs with the acquire load in `is_closed`; what comes after stirs whoever has not
        // seen it.
        self.closed.store(true, Release);
        self.sources.stir_all(|woken| {
            woken.each(|rouse| rouse.rouse());
        });
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    pub(crate) fn figures(&self) -> IoFigures {
        let f = &self.figures;
        let unwatched = f.unwatched.load(Relaxed);
        IoFigures {
            sockets: f.watched.load(Relaxed).saturating_sub(unwatched),
            waits: f.waits.load(Relaxed),
            looks: f.looks.load(Relaxed),
            events: f.events.load(Relaxed),
            readied: f.readied.load(Relaxed),
            late: f.late.load(Relaxed),
        }
    }
}

/// Adds to a figure that only the holder of the seat writes.
fn add(figure: &AtomicU64, n: u64) {
    figure.store(figure.load(Relaxed) + n, Relaxed);
}

impl Seat<'_> {
    /// Asks the kernel, and waits until it has something, at most so long.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) {
        let figures = &self.poller.figures;
        let looks = timeout.is_some_and(|timeout| timeout.is_zero());
        add(
            if looks {
                &figures.looks
            } else {
                &figures.waits
            },
            1,
        );
        let happened = &mut *self.happened;
        self.poller.backend.wait(timeout, &mut |token, what| {
            if token != Token::BELL {
                happened.push((token, what));
            }
        });
    }

    /// Readies all that the kernel has said something for. Returns how many woke.
    ///
    /// Between two turns of a worker.
    pub(crate) fn serve(mut self) -> u64 {
        let figures = &self.poller.figures;
        let mut readied = 0;
        add(&figures.events, self.happened.len() as u64);
        for (token, what) in self.happened.drain(..) {
            match self.poller.sources.happened(token, what) {
                Some(woken) => {
                    readied += woken.each(|rouse| rouse.rouse_between_turns(From::Poller));
                }
                None => add(&figures.late, 1),
            }
        }
        add(&figures.readied, readied);
        readied
    }
}

/// One socket in the poller.
pub(crate) struct Watch {
    poller: Arc<Poller>,
    fd: RawFd,
    token: Token,
}

impl Watch {
    pub(crate) fn source(&self) -> &Source {
        self.poller.sources.of(self.token)
    }

    /// Whether events still come.
    pub(crate) fn is_live(&self) -> bool {
        !self.poller.is_closed()
    }

    /// Lets all who wait in the direction look again.
    pub(crate) fn stir(&self, direction: Direction) {
        let woken: Woken = self.source().stir(direction);
        woken.each(|rouse| rouse.rouse());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.poller.backend.unwatch(self.fd, self.token);
        self.poller.sources.give_back(self.token);
        self.poller.figures.unwatched.fetch_add(1, Relaxed);
    }
}
