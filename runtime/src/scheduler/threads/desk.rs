//! The desk: which home has which worker, which homes want one, and which threads are idle.
//!
//! One word for each home says where it is: it *has* a worker (whose number the word is), is *free*
//! (without a worker, and with nothing to run), *queued* (it wants a worker) or *away* (its thread runs a
//! routine without a worker, or there is no thread). A home is queued once at most. Who pushes into a
//! home's inbox and who takes its worker away do what parking workers and submitters do:
//!
//! - *Pusher*: push, fence, look at the word. A worker: wake that. Free: queue the home. Otherwise
//!   somebody will look.
//! - *Leaver*: change the word, fence, look at the inbox; if there is something, be a pusher.
//!
//! So a push is seen by the leaver, or the pusher sees the home free. Who comes to a home that was queued
//! looks at the inbox as all workers do.
//!
//! Words change under a short lock, which the monitor only tries to take. What is asked often is published
//! beside it. Nothing is allocated once the desk is made.

#[cfg(all(test, loom))]
mod model;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use super::spares::{Spares, Tenants, Wanted};
use crate::primitives::{AtomicU32, ShortGuard, ShortLock};

const FREE: u32 = u32::MAX;
const QUEUED: u32 = u32::MAX - 1;
const AWAY: u32 = u32::MAX - 2;

/// See the module's text.
pub(crate) struct Desk {
    state: ShortLock<State>,
    /// By home.
    words: Box<[AtomicU32]>,
    wanting: AtomicU32,
    spare: AtomicU32,
    unbound: AtomicU32,
}

struct State {
    /// Queued homes, oldest first.
    wanting: VecDeque<u32>,
    /// Free homes whose threads may be given any worker.
    spare: Spares,
    /// Homes that have no thread.
    unused: Vec<u32>,
    /// The runtime ends: nobody rests any more.
    closed: bool,
}

/// What a push into a home's inbox calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Wake this worker, if it is parked.
    Wake(u32),
    /// The home was queued: it is work that any worker can serve.
    Queued,
    /// Somebody will look.
    Nothing,
}

/// What a home leaves behind whose thread gives its worker away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Something to run.
    Work,
    /// Nothing to run: the thread may have any worker.
    Nothing(Tenants),
    /// Nothing to run, but a routine that holds the thread for itself.
    Holder,
}

/// Why nobody got the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Somebody is at the desk.
    Busy,
    /// No thread is there to have it.
    Nobody,
    /// The thread is awake, and keeps it.
    Kept,
}

impl Desk {
    pub(super) fn new(homes: u32) -> Desk {
        Desk {
            state: ShortLock::new(State {
                wanting: VecDeque::with_capacity(homes as usize),
                spare: Spares::new(homes),
                unused: (0..homes).rev().collect(),
                closed: false,
            }),
            words: (0..homes).map(|_| AtomicU32::new(AWAY)).collect(),
            wanting: AtomicU32::new(0),
            spare: AtomicU32::new(0),
            unbound: AtomicU32::new(0),
        }
    }

    /// Homes that want a worker.
    #[inline]
    pub(crate) fn wanting(&self) -> u32 {
        self.wanting.load(Relaxed)
    }

    /// Threads that may be given any worker.
    pub(crate) fn spare(&self) -> u32 {
        self.spare.load(Relaxed)
    }

    /// Those of them to which nothing is bound.
    pub(crate) fn unbound(&self) -> u32 {
        self.unbound.load(Relaxed)
    }

    /// The worker that the home has.
    pub(crate) fn worker_of(&self, home: u32) -> Option<u32> {
        let word = self.word(home).load(Relaxed);
        (word < AWAY).then_some(word)
    }

    fn word(&self, home: u32) -> &AtomicU32 {
        &self.words[home as usize]
    }

    /// Gives the lock back.
    fn publish(&self, state: ShortGuard<'_, State>) {
        self.wanting.store(state.wanting.len() as u32, Relaxed);
        self.spare.store(state.spare.len() as u32, Relaxed);
        self.unbound.store(state.spare.unbound() as u32, Relaxed);
    }

    /// A place for one more thread.
    pub(crate) fn claim(&self) -> Option<u32> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.unused.pop()
    }

    /// The thread of `home` has ended, or was never begun.
    pub(crate) fn give_place_back(&self, home: u32) {
        self.state.lock().unused.push(home);
    }

    /// The home begins with a worker.
    pub(crate) fn begin(&self, home: u32, worker: u32) {
        self.word(home).store(worker, Relaxed);
    }

    /// Something was pushed for the home, and the caller has passed a fence since.
    pub(crate) fn pushed(&self, home: u32) -> Pushed {
        loop {
            match self.word(home).load(Relaxed) {
                QUEUED | AWAY => return Pushed::Nothing,
                FREE => {
                    let mut state = self.state.lock();
                    if self.word(home).load(Relaxed) == FREE {
                        state.spare.remove(home);
                        self.queue(&mut state, home);
                        self.publish(state);
                        return Pushed::Queued;
                    }
                }
                worker => return Pushed::Wake(worker),
            }
        }
    }

    fn queue(&self, state: &mut State, home: u32) {
        self.word(home).store(QUEUED, Relaxed);
        state.wanting.push_back(home);
    }

    /// A thread that is away wants a worker. The caller tells workers of it. False if it is not away.
    pub(crate) fn want(&self, home: u32) -> bool {
        let mut state = self.state.lock();
        let away = self.word(home).load(Relaxed) == AWAY;
        if away {
            self.queue(&mut state, home);
        }
        self.publish(state);
        away
    }

    /// As [`want`](Self::want), for the monitor. `None` if somebody is at the desk.
    pub(crate) fn try_want(&self, home: u32) -> Option<bool> {
        let mut state = self.state.try_lock()?;
        let away = self.word(home).load(Relaxed) == AWAY;
        if away {
            self.queue(&mut state, home);
        }
        self.publish(state);
        Some(away)
    }

    /// The thread of a home that was queued goes on without a worker. False if it is not queued; `None` if
    /// somebody is at the desk.
    pub(crate) fn try_release(&self, home: u32) -> Option<bool> {
        let mut state = self.state.try_lock()?;
        let queued = self.word(home).load(Relaxed) == QUEUED;
        if queued {
            state.wanting.retain(|one| *one != home);
            self.word(home).store(AWAY, Relaxed);
        }
        self.publish(state);
        Some(queued)
    }

    /// Gives the worker of `from` to the home that has wanted one for longest. `let_go` is called when `from`
    /// has lost it: from then on its thread may be given another. Afterwards the caller passes a fence,
    /// and is a pusher if there is something in the home's inbox.
    pub(crate) fn hand_over(
        &self,
        from: u32,
        worker: u32,
        leaves: Leaves,
        let_go: impl FnOnce(),
    ) -> Option<u32> {
        let mut state = self.state.lock();
        let to = state.wanting.pop_front()?;
        self.change(&mut state, from, worker, to, leaves);
        let_go();
        self.publish(state);
        Some(to)
    }

    /// The same to a spare thread on which what is `wanted` can begin. `None` if there is none.
    pub(crate) fn hand_to_spare(
        &self,
        from: u32,
        worker: u32,
        leaves: Leaves,
        wanted: Wanted,
        let_go: impl FnOnce(),
    ) -> Option<u32> {
        let mut state = self.state.lock();
        let (to, _) = state.spare.pop(wanted)?;
        self.change(&mut state, from, worker, to, leaves);
        let_go();
        self.publish(state);
        Some(to)
    }

    /// The worker of `from` is the one of `to` now.
    fn change(&self, state: &mut State, from: u32, worker: u32, to: u32, leaves: Leaves) {
        self.word(to).store(worker, Relaxed);
        self.leave(state, from, leaves);
    }

    /// The home has no worker any more.
    fn leave(&self, state: &mut State, home: u32, leaves: Leaves) {
        match leaves {
            Leaves::Work => self.queue(state, home),
            Leaves::Nothing(tenants) => {
                self.word(home).store(FREE, Relaxed);
                state.spare.push(home, tenants);
            }
            Leaves::Holder => self.word(home).store(FREE, Relaxed),
        }
    }

    /// The thread of `from` gives its worker to nobody, if `release` says so, which lets go of it: from then on
    /// the thread may be given another. Afterwards as with [`hand_over`](Self::hand_over). False if the worker
    /// stays.
    pub(crate) fn put_down(
        &self,
        from: u32,
        leaves: Leaves,
        release: impl FnOnce() -> bool,
    ) -> bool {
        let mut state = self.state.lock();
        let released = release();
        if released {
            self.leave(&mut state, from, leaves);
        }
        self.publish(state);
        released
    }

    /// Somebody who can have a worker that nobody holds: the home that has wanted one for longest, else a
    /// spare thread.
    pub(crate) fn assign(&self, worker: u32) -> Option<u32> {
        let mut state = self.state.lock();
        let to = state
            .wanting
            .pop_front()
            .or_else(|| state.spare.pop(Wanted::Any).map(|(to, _)| to));
        if let Some(to) = to {
            self.word(to).store(worker, Relaxed);
        }
        self.publish(state);
        to
    }

    /// Takes the worker of `from`, whose thread runs a routine, for somebody who can use it: a spare thread,
    /// else the home that has wanted one for longest. `take` says whether it could be taken. `wants`:
    /// the home wants a worker at once, as its thread was stopped and does not ask itself.
    ///
    /// Nothing waits here. After [`Refused::Kept`] the caller passes a fence, and is a pusher if there is
    /// something in the home's inbox: for a moment it seemed to be away.
    pub(crate) fn take(
        &self,
        from: u32,
        worker: u32,
        wants: bool,
        take: impl FnOnce() -> bool,
    ) -> Result<u32, Refused> {
        let mut state = self.state.try_lock().ok_or(Refused::Busy)?;
        let (to, was_spare) = match state.spare.pop(Wanted::Any) {
            Some((to, tenants)) => (to, Some(tenants)),
            None => (state.wanting.pop_front().ok_or(Refused::Nobody)?, None),
        };
        // Before the worker is gone: the thread looks at the word when it finds that out.
        self.word(from).store(AWAY, Relaxed);
        if !take() {
            self.word(from).store(worker, Relaxed);
            match was_spare {
                Some(tenants) => state.spare.push(to, tenants),
                None => state.wanting.push_front(to),
            }
            self.publish(state);
            return Err(Refused::Kept);
        }
        self.word(to).store(worker, Relaxed);
        if wants {
            self.queue(&mut state, from);
        }
        self.publish(state);
        Ok(to)
    }

    /// A thread that has come may be given any worker. False if the runtime ends.
    pub(crate) fn rest(&self, home: u32) -> bool {
        let mut state = self.state.lock();
        let open = !state.closed;
        if open {
            self.word(home).store(FREE, Relaxed);
            state.spare.push(home, Tenants::None);
        }
        self.publish(state);
        open
    }

    /// A spare thread goes. False if it is not spare: something is on its way to it.
    pub(crate) fn retire(&self, home: u32) -> bool {
        let mut state = self.state.lock();
        let was_spare = state.spare.remove(home);
        if was_spare {
            self.word(home).store(AWAY, Relaxed);
        }
        self.publish(state);
        was_spare
    }

    /// The runtime ends. The next one of the threads that are spare, which is to be told that.
    pub(crate) fn close(&self) -> Option<u32> {
        let mut state = self.state.lock();
        state.closed = true;
        let spare = state.spare.pop(Wanted::Any).map(|(spare, _)| spare);
        if let Some(spare) = spare {
            self.word(spare).store(AWAY, Relaxed);
        }
        self.publish(state);
        spare
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}
