//! A worker's deadlines: a wheel under a lock that is hardly ever contended.
//!
//! The worker that a routine sleeps on holds its deadline; any thread may add one and cancel it. A wait
//! that ends early cancels its own ([`Alarm`], [`Registration`]), so nothing lies here that nobody waits
//! for but the grace times of cancels, which are swept. The earliest deadline is published, so that
//! looking whether something is due takes one load.
//!
//! A timer takes 48 bytes, in chunks that are given back when they are empty; see [`slab`].

mod alarm;
pub(crate) mod clock_thread;
mod slab;
mod wheel;

pub(crate) use alarm::{Alarm, Registration};
pub(crate) use clock_thread::register;
pub(crate) use wheel::{Key, NEVER};

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::task::Waker;

use crate::primitives::{AtomicU64, ShortGuard, ShortLock};
use crate::routine::life::{CancelLevel, Ticket};
use crate::routine::{Held, RoutineRef, body, waker};
use crate::scheduler::{ready, worker};
use crate::snapshot::{Source, TimerFigures};
use wheel::Wheel;

/// Entries served before the worker runs some of those that they readied: the first of a large burst
/// would otherwise wait until all of them are queued.
const SERVE_MAX: usize = 256;

/// Entries taken at once under the lock.
const BATCH: usize = 16;

/// Grace times below which a sweep is not worth its time.
const SWEEP_MIN: usize = 1024;

/// See the module's text.
pub(crate) struct Timers {
    state: ShortLock<State>,
    next: AtomicU64,
}

struct State {
    wheel: Wheel<Due>,
    served: u64,
    cancelled: u64,
    late_max_ns: u64,
    /// Grace times in the wheel, and the number at which those of routines that have ended are swept.
    grace_times: usize,
    sweep_at: usize,
    /// The runtime has ended: nothing is due any more.
    closed: bool,
}

/// What happens at a deadline.
pub(crate) enum Due {
    /// The routine's wait is over, if it is still the one that the ticket names. Holds no reference: the
    /// routine's own frame cancels the entry before it is left ([`Alarm`]). Of one that is served just
    /// then the block may be free, or another routine's: it stays mapped as long as the runtime, which
    /// whoever serves keeps, and the ticket is an old one, or wakes for no reason.
    Sleep { routine: RoutineRef, ticket: Ticket },
    /// A future's waker.
    Wake(Waker),
    /// The grace time of a cancel is over.
    Abort(Held),
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers {
            state: ShortLock::new(State {
                wheel: Wheel::new(),
                served: 0,
                cancelled: 0,
                late_max_ns: 0,
                grace_times: 0,
                sweep_at: SWEEP_MIN,
                closed: false,
            }),
            next: AtomicU64::new(NEVER),
        }
    }

    /// The earliest deadline, in nanoseconds since process start. Too early if that one was cancelled.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        // Acquire pairs with the release store in `publish`.
        self.next.load(Acquire)
    }

    /// Adds a deadline. Returns its name, and whether it is the earliest now. Nothing is added, and
    /// `due` dropped, if the runtime has ended.
    pub(crate) fn insert(&self, at: u64, due: Due) -> (Option<Key>, bool) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            // Foreign perhaps, so without the lock.
            drop(due);
            return (None, false);
        }
        let mut swept = Vec::new();
        if let Due::Abort(_) = due {
            if state.grace_times >= state.sweep_at {
                swept = state.sweep();
            }
            state.grace_times += 1;
        }
        let key = state.wheel.insert(at, due);
        let earliest = at < self.next.load(Relaxed);
        self.publish(state);
        drop(swept);
        (Some(key), earliest)
    }

    /// Takes a deadline back. `None` if it has come already.
    pub(crate) fn cancel(&self, key: Key) -> Option<Due> {
        let mut state = self.state.lock();
        let due = state.wheel.cancel(key)?;
        state.cancelled += 1;
        self.publish(state);
        Some(due)
    }

    /// Serves what is due, or a part of it. Returns how many entries that were.
    ///
    /// Entries are served without the lock: a wake may add a deadline.
    pub(crate) fn serve(&self, now: u64) -> usize {
        let mut served = 0;
        while served < SERVE_MAX && self.next() <= now {
            let mut batch = [const { None }; BATCH];
            let taken = self.take_due(now, &mut batch);
            batch.into_iter().flatten().for_each(Due::serve);
            served += taken;
            if taken < BATCH {
                break;
            }
        }
        served
    }

    fn take_due(&self, now: u64, batch: &mut [Option<Due>; BATCH]) -> usize {
        let mut state = self.state.lock();
        let mut taken = 0;
        while taken < BATCH
            && let Some((at, due)) = state.wheel.pop(now)
        {
            state.late_max_ns = state.late_max_ns.max(now - at);
            state.grace_times -= usize::from(matches!(due, Due::Abort(_)));
            batch[taken] = Some(due);
            taken += 1;
        }
        state.served += taken as u64;
        self.publish(state);
        taken
    }

    /// Gives the lock back.
    fn publish(&self, state: ShortGuard<'_, State>) {
        let next = state.wheel.earliest();
        if next != self.next.load(Relaxed) {
            // Release pairs with the acquire load in `next`.
            self.next.store(next, Release);
        }
    }

    /// Drops every entry, and each one added from now on; for a runtime that has ended. What they
    /// hold would otherwise keep the runtime's memory for ever. Foreign tasks are woken, so that they
    /// can wait elsewhere.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.grace_times = 0;
        let left = state.wheel.sweep(|_| false);
        state.cancelled += left.len() as u64;
        self.publish(state);
        for due in left {
            body::swallow(move || match due {
                Due::Wake(waker) if waker::routine_of(&waker).is_none() => waker.wake(),
                due => drop(due),
            });
        }
    }

    /// Whether nothing is due any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(crate) fn figures(&self) -> TimerFigures {
        let state = self.state.lock();
        TimerFigures {
            pending: state.wheel.len() as u64,
            served: state.served,
            cancelled: state.cancelled,
            late_max_ns: state.late_max_ns,
        }
    }
}

impl State {
    /// Takes out the grace times of routines that have ended.
    fn sweep(&mut self) -> Vec<Due> {
        let swept = self.wheel.sweep(|due| match due {
            Due::Abort(held) => !held.routine().header().join.is_done(),
            _ => true,
        });
        self.cancelled += swept.len() as u64;
        self.grace_times -= swept.len();
        self.sweep_at = SWEEP_MIN.max(2 * self.grace_times);
        swept
    }
}

impl Due {
    fn serve(self) {
        match self {
            Due::Sleep { routine, ticket } => ready::ready(routine, ticket, Source::Timer),
            Due::Wake(waker) => match waker::routine_of(&waker) {
                Some(routine) => waker::notify(routine, Source::Timer),
                // A foreign waker may run any code, which must not happen between turns: a
                // routine of its own does it.
                None if worker::with_core(|core| core.is_some()) => {
                    crate::spawn::spawn_wake(waker);
                }
                None => body::swallow(move || waker.wake()),
            },
            Due::Abort(held) => ready::cancel(held.routine(), CancelLevel::Told),
        }
    }
}
