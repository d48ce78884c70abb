//! The deadline of one wait, kept by whoever waits: it is taken back when the wait ends early.

use std::cell::Cell;
use std::sync::Arc;
use std::task::Waker;

use super::{Due, Key, Timers};
use crate::routine::RoutineRef;
use crate::routine::life::Ticket;
use crate::scheduler::worker;

/// The deadline of a routine's wait; lies in the frame that waits.
pub(crate) struct Alarm(Cell<Option<Set>>);

/// Who waits, and what names its deadline among those of a worker.
#[derive(Clone, Copy)]
struct Set {
    routine: RoutineRef,
    worker: u32,
    key: Key,
}

impl Alarm {
    pub(crate) fn new() -> Alarm {
        Alarm(Cell::new(None))
    }

    /// Readies the routine at `at`, if it still waits then. For the commit of the routine's block: its
    /// worker keeps the deadline.
    pub(crate) fn set(&self, routine: RoutineRef, ticket: Ticket, at: u64) {
        self.clear();
        worker::with_core(|core| {
            let core = core.expect("the worker calls this");
            let due = Due::Sleep { routine, ticket };
            let key = core.timers().insert(at, due).0;
            let worker = core.index;
            self.0.set(key.map(|key| Set {
                routine,
                worker,
                key,
            }));
        });
    }

    /// Takes the deadline back, unless it has come. To be called when the wait is over, whatever ended
    /// it.
    #[inline]
    pub(crate) fn clear(&self) {
        if self.0.get().is_some() {
            self.take_back();
        }
    }

    #[inline(never)]
    fn take_back(&self) {
        if let Some(set) = self.0.take() {
            let workers = &set.routine.shared().workers;
            workers[set.worker as usize].timers.cancel(set.key);
        }
    }
}

impl Drop for Alarm {
    /// An entry of a frame that is gone would name a routine that may be gone.
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}

/// The deadline of a task, which is taken back when this is dropped.
pub(crate) struct Registration {
    timers: Arc<Timers>,
    key: Key,
    waker: Waker,
}

impl Registration {
    /// Wakes the task at `at`. `None` if `timers` keep no deadlines any more. The second value says
    /// whether it is the earliest now.
    pub(crate) fn new(
        timers: &Arc<Timers>,
        at: u64,
        waker: &Waker,
    ) -> (Option<Registration>, bool) {
        let (key, earliest) = timers.insert(at, Due::Wake(waker.clone()));
        let registration = key.map(|key| Registration {
            timers: timers.clone(),
            key,
            waker: waker.clone(),
        });
        (registration, earliest)
    }

    /// Who is woken.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whether it will wake the task behind `waker`.
    pub(crate) fn wakes(&self, waker: &Waker) -> bool {
        self.waker.will_wake(waker) && !self.timers.is_closed()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The waker may be foreign: it goes without the lock.
        drop(self.timers.cancel(self.key));
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration").finish_non_exhaustive()
    }
}
