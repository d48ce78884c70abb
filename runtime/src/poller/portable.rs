//! Whatever the system has (kqueue, completion ports, epoll), by the crate `polling`, which asks each of them
//! for one event at a time.
//!
//! So a socket is [armed](Backend::arm) before each wait, for the directions that somebody waits in. What
//! is there already when that happens is an event: to the poller, which counts edges, this looks as if one
//! had come.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polling::{Event, Events};

use super::os::{self, RawSource};
use super::source::{Backend, Direction, Happened, Token};

/// See the module's text.
pub(crate) struct Portable {
    poller: polling::Poller,
    /// By key.
    armed: Mutex<HashMap<usize, Armed>>,
    /// Of the one that waits.
    events: Mutex<Events>,
}

/// One socket, and in which directions the next event is asked for.
struct Armed {
    source: RawSource,
    token: Token,
    directions: [bool; 2],
}

impl Armed {
    fn event(&self, key: usize) -> Event {
        let [readable, writable] = self.directions;
        Event::new(key, readable, writable)
    }
}

impl Portable {
    pub(crate) fn new() -> io::Result<Portable> {
        Ok(Portable {
            poller: polling::Poller::new()?,
            armed: Mutex::default(),
            events: Mutex::new(Events::new()),
        })
    }

    fn armed(&self) -> MutexGuard<'_, HashMap<usize, Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the event's directions back from those that are armed, and asks for the rest again.
    fn disarm(&self, event: &Event) -> Option<Token> {
        let mut armed = self.armed();
        let entry = armed.get_mut(&event.key)?;
        entry.directions[Direction::Read as usize] &= !event.readable;
        entry.directions[Direction::Write as usize] &= !event.writable;
        if entry.directions != [false; 2] {
            // Should the system refuse it, whoever waits there learns it from its deadline or the next
            // wait; it has accepted the same before.
            let _ = self
                .poller
                .modify(os::borrow_raw(&entry.source), entry.event(event.key));
        }
        Some(entry.token)
    }
}

/// A slot has one socket at a time, so its number is a key on machines of any width; the generation is
/// compared by the poller.
fn key(token: Token) -> usize {
    token.slot() as usize
}

impl Backend for Portable {
    fn watch(&self, source: RawSource, token: Token) -> io::Result<()> {
        let key = key(token);
        let mut armed = self.armed();
        // SAFETY: the socket is taken out by `unwatch` before it is closed, by the contract of
        // `Poller::watch`.
        unsafe { self.poller.add(source, Event::none(key)) }?;
        armed.insert(
            key,
            Armed {
                source,
                token,
                directions: [false; 2],
            },
        );
        Ok(())
    }

    fn unwatch(&self, source: RawSource, token: Token) {
        let mut armed = self.armed();
        armed.remove(&key(token));
        // Fails for what is not there any more.
        let _ = self.poller.delete(os::borrow_raw(&source));
    }

    fn arm(&self, token: Token, direction: Direction) -> io::Result<()> {
        let key = key(token);
        let mut armed = self.armed();
        match armed.get_mut(&key) {
            Some(entry) => {
                entry.directions[direction as usize] = true;
                self.poller
                    .modify(os::borrow_raw(&entry.source), entry.event(key))
            }
            None => Ok(()),
        }
    }

    fn wait(&self, timeout: Option<Duration>, each: &mut dyn FnMut(Token, Happened)) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.clear();
        // A signal ends it early, which is no error to us.
        let _ = self.poller.wait(&mut events, timeout);
        for event in events.iter() {
            if let Some(token) = self.disarm(&event) {
                let what = Happened {
                    readable: event.readable,
                    writable: event.writable,
                    // Each wait asks anew, so no read may be left out for what the last one found.
                    lasting: true,
                };
                each(token, what);
            }
        }
    }

    fn ring(&self) {
        // Fails only if the system has lost the poller.
        let _ = self.poller.notify();
    }
}

/// Waits on this thread until there may be something, or for so long. For plain threads: each call makes
/// a poller of its own.
pub(super) fn wait_here(
    source: RawSource,
    direction: Direction,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let poller = polling::Poller::new()?;
    let event = match direction {
        Direction::Read => Event::readable(0),
        Direction::Write => Event::writable(0),
    };
    // SAFETY: it is taken out below, before our caller's borrow of the socket ends.
    unsafe { poller.add(source, event) }?;
    let mut events = Events::new();
    let waited = poller.wait(&mut events, timeout);
    let _ = poller.delete(os::borrow_raw(&source));
    waited.map(|_| !events.is_empty())
}
