//! The worker of a runtime without threads: whichever thread waits for something runs the turns meanwhile.
//!
//! On WebAssembly there is one thread and no other stack. So a thread's wait ([`wait`], in the place of
//! `std::thread::park`) runs turns of all runtimes of the program until it may be over; where none can run it sleeps until
//! the next deadline, and where there is none either nothing would ever end the wait: it panics and says so.
//! Queues, turns and timers are those of every worker; what is missing is its loop, its sleep and all that threads are
//! for: stealing, hand-off, the monitor.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::WorkerCore;
use crate::scheduler::Shared;
use crate::scheduler::block::{self, Context};
use crate::scheduler::timers::{NEVER, clock_thread};
use crate::snapshot::WorkerState;
use crate::time;

/// Turns between two looks at what is waited for: some routine may always have another.
const AT_ONCE: u64 = 64;

/// The runtimes of the program.
static RUNTIMES: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

fn runtimes() -> MutexGuard<'static, Vec<Weak<Shared>>> {
    RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits run this runtime's turns from now on.
pub(crate) fn enlist(shared: &Arc<Shared>) {
    let mut runtimes = runtimes();
    runtimes.retain(|known| known.strong_count() > 0);
    runtimes.push(Arc::downgrade(shared));
}

/// Stands for a sleep until `due` (ns since process start, or [`NEVER`]) or until woken, or for no reason.
///
/// # Panics
/// If nothing can run and no deadline is waited for: the wait would never end.
pub(crate) fn wait(due: u64) {
    // Their routines may make and end runtimes.
    let known: Vec<Arc<Shared>> = runtimes().iter().filter_map(Weak::upgrade).collect();
    // A deadline that is served may be all that the caller waits for.
    let mut went_on = clock_thread::next_deadline() <= time::now_ns();
    let mut next = due.min(clock_thread::serve_due());
    for shared in &known {
        went_on |= shared.run_ready(AT_ONCE);
        next = next.min(shared.next_deadline());
    }
    if went_on {
        return;
    }
    assert!(
        next != NEVER,
        "this wait would never end: no routine can run, no deadline is waited for, and there is no other thread"
    );
    sleep_until(next);
}

fn sleep_until(at: u64) {
    let now = time::now_ns();
    if at > now {
        std::thread::sleep(Duration::from_nanos(at - now));
    }
}

impl Shared {
    /// Serves deadlines and runs turns until there is nothing to do now, or so many turns are over. Returns whether there
    /// was anything.
    ///
    /// # Panics
    /// If called by a routine.
    pub(crate) fn run_ready(self: &Arc<Shared>, most: u64) -> bool {
        assert!(
            block::context() == Context::Thread,
            "a routine cannot run the turns of others: it would do so in the middle of its own"
        );
        let slot = self.threads.slot(0);
        // SAFETY: `add_worker` made it. `drop_workers` drops it, called by who ends the runtime, on this thread and in no
        // routine's turn (which cannot run turns), so not while we use it.
        let Some(core) = (unsafe { self.cores[0].load(Relaxed).as_ref() }) else {
            return false;
        };
        slot.enter(self);
        core.hold(slot);
        let went_on = core.run_ready(most);
        core.stats().set_state(WorkerState::Parked);
        slot.let_go();
        slot.leave();
        went_on
    }

    /// When the next deadline of its routines is due, or [`NEVER`].
    pub(crate) fn next_deadline(&self) -> u64 {
        self.workers[0].timers.next()
    }

    /// Runs turns until no routine is left, for so long at most. False if some are: time is up, or none of them can run
    /// and none has a deadline.
    pub(crate) fn run_down(self: &Arc<Shared>, time: Duration) -> bool {
        let until = time::deadline(time);
        loop {
            let went_on = self.run_ready(AT_ONCE);
            if self.live() == 0 {
                return true;
            }
            let next = self.next_deadline();
            if time::now_ns() >= until || (!went_on && next == NEVER) {
                return false;
            }
            if !went_on {
                sleep_until(next.min(until));
            }
        }
    }
}

impl WorkerCore {
    fn run_ready(&self, most: u64) -> bool {
        let mut went_on = false;
        for _ in 0..most {
            self.set_clock(time::now_ns());
            went_on |= self.serve_timers();
            // A look round in rotation may come to a place that is empty: only the second time says that all are.
            let Some(routine) = self.next().or_else(|| self.next()) else {
                return went_on;
            };
            self.turn_apart(self.slot(), routine);
            self.date_last_turn();
            went_on = true;
        }
        went_on
    }
}
