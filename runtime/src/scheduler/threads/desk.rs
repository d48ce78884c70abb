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

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

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
}

struct State {
    /// Queued homes, oldest first.
    wanting: VecDeque<u32>,
    /// Free homes whose threads may be given any worker, newest last.
    spare: Vec<u32>,
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
    /// Nothing: the thread may have any worker.
    Nothing,
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
                spare: Vec::with_capacity(homes as usize),
                unused: (0..homes).rev().collect(),
                closed: false,
            }),
            words: (0..homes).map(|_| AtomicU32::new(AWAY)).collect(),
            wanting: AtomicU32::new(0),
            spare: AtomicU32::new(0),
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
                        state.spare.retain(|spare| *spare != home);
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
        self.word(to).store(worker, Relaxed);
        match leaves {
            Leaves::Work => self.queue(&mut state, from),
            Leaves::Nothing | Leaves::Holder => self.word(from).store(FREE, Relaxed),
        }
        if leaves == Leaves::Nothing {
            state.spare.push(from);
        }
        let_go();
        self.publish(state);
        Some(to)
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
            match leaves {
                Leaves::Work => self.queue(&mut state, from),
                Leaves::Nothing | Leaves::Holder => self.word(from).store(FREE, Relaxed),
            }
            if leaves == Leaves::Nothing {
                state.spare.push(from);
            }
        }
        self.publish(state);
        released
    }

    /// Somebody who can have a worker that nobody holds: the home that has wanted one for longest, else a
    /// spare thread.
    pub(crate) fn assign(&self, worker: u32) -> Option<u32> {
        let mut state = self.state.lock();
        let to = state.wanting.pop_front().or_else(|| state.spare.pop());
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
        let (to, was_spare) = match state.spare.pop() {
            Some(to) => (to, true),
            None => (state.wanting.pop_front().ok_or(Refused::Nobody)?, false),
        };
        // Before the worker is gone: the thread looks at the word when it finds that out.
        self.word(from).store(AWAY, Relaxed);
        if !take() {
            self.word(from).store(worker, Relaxed);
            if was_spare {
                state.spare.push(to);
            } else {
                state.wanting.push_front(to);
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

    /// A thread that has come, or has nothing to do any more, may be given any worker. False if the runtime
    /// ends.
    pub(crate) fn rest(&self, home: u32) -> bool {
        let mut state = self.state.lock();
        let open = !state.closed;
        if open {
            self.word(home).store(FREE, Relaxed);
            state.spare.push(home);
        }
        self.publish(state);
        open
    }

    /// A spare thread goes. False if it is not spare: something is on its way to it.
    pub(crate) fn retire(&self, home: u32) -> bool {
        let mut state = self.state.lock();
        let before = state.spare.len();
        state.spare.retain(|spare| *spare != home);
        let was_spare = state.spare.len() < before;
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
        let spare = state.spare.pop();
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

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::{AtomicU64, fence};
    use loom::sync::Arc;
    use loom::thread;
    use std::sync::atomic::Ordering::SeqCst;

    /// Homes 0 and 1; home 0 has worker 0, home 1 wants one.
    struct World {
        desk: Desk,
        /// Of home 0.
        inbox: AtomicU64,
        woken: AtomicU64,
    }

    impl World {
        fn new() -> Arc<World> {
            let world = World {
                desk: Desk::new(3),
                inbox: AtomicU64::new(0),
                woken: AtomicU64::new(0),
            };
            world.desk.begin(0, 0);
            assert!(world.desk.want(1));
            Arc::new(world)
        }

        fn push(&self) {
            self.inbox.fetch_add(1, Relaxed);
            fence(SeqCst);
            if let Pushed::Wake(0) = self.desk.pushed(0) {
                self.woken.store(1, Relaxed);
            }
        }

        /// Pushes in a thread of its own.
        fn pusher(world: &Arc<World>) -> thread::JoinHandle<()> {
            let world = world.clone();
            thread::spawn(move || world.push())
        }

        /// What home 0 leaves behind, as its thread sees it.
        fn leaves(&self) -> Leaves {
            if self.inbox.load(Relaxed) > 0 {
                Leaves::Work
            } else {
                Leaves::Nothing
            }
        }

        fn look_again(&self) {
            fence(SeqCst);
            if self.inbox.load(Relaxed) > 0 {
                self.desk.pushed(0);
            }
        }
    }

    /// Something comes into the inbox of a home whose thread gives its worker away: the home is queued then,
    /// once. Breaks without either fence, or if the leaver does not look again.
    #[test]
    fn a_push_reaches_a_home_that_loses_its_worker() {
        loom::model(|| {
            let world = World::new();
            let pusher = World::pusher(&world);
            let leaves = world.leaves();
            assert_eq!(world.desk.hand_over(0, 0, leaves, || {}), Some(1));
            if leaves == Leaves::Nothing {
                world.look_again();
            }
            pusher.join().unwrap();
            assert_eq!(world.desk.wanting(), 1);
            assert_eq!(
                world.desk.spare(),
                0,
                "queued, so not to be had for anything"
            );
            assert_eq!(world.desk.hand_over(1, 0, Leaves::Nothing, || {}), Some(0));
        });
    }

    /// The same while the monitor tries to take the worker and the thread turns out to be awake: it
    /// goes on and parks, and must be woken. Breaks if the monitor does not look again.
    #[test]
    fn a_push_reaches_a_home_that_seemed_to_be_away() {
        loom::model(|| {
            let world = World::new();
            let pusher = World::pusher(&world);
            assert_eq!(world.desk.take(0, 0, false, || false), Err(Refused::Kept));
            fence(SeqCst);
            if world.inbox.load(Relaxed) > 0
                && let Pushed::Wake(0) = world.desk.pushed(0)
            {
                world.woken.store(1, Relaxed);
            }
            pusher.join().unwrap();
            assert_eq!(world.woken.load(Relaxed), 1);
        });
    }

    /// A spare thread is given a worker by one side or queued by the other, never both.
    #[test]
    fn a_spare_thread_is_had_once() {
        loom::model(|| {
            let desk = Arc::new(Desk::new(2));
            desk.begin(0, 0);
            assert!(desk.rest(1));
            let pusher = {
                let desk = desk.clone();
                thread::spawn(move || desk.pushed(1))
            };
            // Spare, or wanting: it is had either way.
            assert_eq!(taken(&desk), 1);
            let told = pusher.join().unwrap();
            assert!(matches!(told, Pushed::Queued | Pushed::Wake(0)));
            assert_eq!(desk.wanting() + desk.spare(), 0);
        });
    }

    /// As the first one, where the worker goes out of service: the home is queued, and gets the next worker. Breaks
    /// without either fence, or if the leaver does not look again.
    #[test]
    fn a_push_reaches_a_home_whose_worker_is_put_down() {
        loom::model(|| {
            let world = World::new();
            let pusher = World::pusher(&world);
            let leaves = world.leaves();
            assert!(world.desk.put_down(0, leaves, || true));
            if leaves == Leaves::Nothing {
                world.look_again();
            }
            pusher.join().unwrap();
            assert_eq!((world.desk.wanting(), world.desk.spare()), (2, 0));
            // Home 1 has wanted one for longer.
            let served = [world.desk.assign(0), world.desk.assign(1)];
            assert_eq!(served, [Some(1), Some(0)]);
        });
    }

    fn taken(desk: &Desk) -> u32 {
        loop {
            match desk.take(0, 0, false, || true) {
                Ok(to) => return to,
                Err(Refused::Busy) => loom::thread::yield_now(),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}
