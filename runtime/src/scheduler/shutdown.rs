//! The end of a runtime, in numbered steps.
//!
//! 1. *Close*: spawns from outside the workers give handles that are cancelled already, and the
//!    thread that spawns drops the closure. Without it the drain need never end.
//! 2. *Drain*: wait until every routine is gone, which is to say that it has ended and its stack is
//!    free, up to the deadline. Workers that run out of work look whether that is so; nobody polls.
//!    To wait for the end alone would leave stacks on which a result's destructor still runs.
//! 3. *Cancel*: every routine is told to end, and so is each one spawned from then on.
//! 4. *Wait* again, as long as routines go on ending: unwinding a million of them takes seconds, but
//!    none should need [`CANCEL_GRACE`] for itself.
//! 5. *Pool*: the threads of the blocking pool leave. Jobs whose routine was cancelled go on alone,
//!    and are waited for up to the deadline, and then as long as one of them ends within each
//!    [`CANCEL_GRACE`].
//! 6. *Stop*: workers leave their loops once nothing is live, and their threads are joined. Only now
//!    may memory go. A timer that fell due between steps 2 and 6 may have spawned a routine to run a
//!    foreign waker; it is cancelled at birth, and workers stay for its destructors.
//!
//! If step 4 runs out of time, some routine swallows its cancel or sits in a call that never
//! returns. Its memory must live on, so nothing is stopped and nothing is freed: what remains is
//! returned to the caller.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;
#[cfg(not(stackless))]
use std::time::Instant;

use crate::scheduler::Shared;

/// How long cancelled routines have until the next one of them must have ended.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// How far the end has come.
pub(crate) struct End {
    closed: AtomicBool,
    cancelling: AtomicBool,
    stopping: AtomicBool,
    draining: AtomicBool,
    /// Worker threads that have begun.
    started: Mutex<usize>,
    /// Rung when a thread has begun, and when the last routine may have ended.
    bell: Condvar,
}

impl End {
    pub(crate) fn new() -> End {
        End {
            closed: AtomicBool::new(false),
            cancelling: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            started: Mutex::new(0),
            bell: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.started.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Called by each worker's thread when it begins.
    pub(crate) fn thread_started(&self) {
        *self.lock() += 1;
        self.bell.notify_all();
    }

    /// Waits until `threads` worker threads have begun.
    pub(crate) fn wait_started(&self, threads: usize) {
        let mut started = self.lock();
        while *started < threads {
            started = self.bell.wait(started).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// Whether spawns from outside are refused.
    pub(crate) fn is_closed(&self) -> bool {
        // SeqCst: read of Dekker's pattern with `close`; see `spawn::enter_from_outside`.
        self.closed.load(SeqCst)
    }

    /// Whether new routines are cancelled at birth.
    pub(crate) fn is_cancelling(&self) -> bool {
        // SeqCst: read of Dekker's pattern with the walk in `cancel_all`; the spawner publishes its
        // routine and passes a fence before it looks.
        self.cancelling.load(SeqCst)
    }

    /// Whether workers should leave their loops.
    pub(crate) fn is_stopping(&self) -> bool {
        // Acquire pairs with the release store in `stop`.
        self.stopping.load(Acquire)
    }

    /// Called by a worker that has run out of work.
    pub(crate) fn note_idle(&self, shared: &Shared) {
        // Fence: counters first (by whoever ran the last routine), flag after; partner is the fence
        // in `wait_drained`. Either the worker sees the flag or the waiter sees the counters.
        fence(SeqCst);
        if self.draining.load(Relaxed) && shared.live() == 0 {
            drop(self.lock());
            self.bell.notify_all();
            if self.is_stopping() {
                shared.wake_all();
            }
        }
    }
}

impl Shared {
    /// Step 1.
    pub(crate) fn close(&self) {
        // SeqCst: closed first, counts after; partner is `spawn::enter_from_outside`.
        self.end.closed.store(true, SeqCst);
    }

    /// Step 2: waits until no routine is live. False if time ran out.
    #[cfg(not(stackless))]
    pub(crate) fn wait_drained(&self, time: Duration) -> bool {
        self.end.draining.store(true, Relaxed);
        // See `note_idle`.
        fence(SeqCst);
        let until = Instant::now().checked_add(time);
        let mut guard = self.end.lock();
        loop {
            if self.live() == 0 {
                return true;
            }
            let left = match until {
                Some(until) => until.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3600),
            };
            if left.is_zero() {
                return false;
            }
            guard = self
                .end
                .bell
                .wait_timeout(guard, left)
                .unwrap_or_else(|e| e.into_inner())
                .0;
        }
    }

    /// Step 2, by who waits.
    #[cfg(stackless)]
    pub(crate) fn wait_drained(self: &Arc<Shared>, time: Duration) -> bool {
        self.run_down(time)
    }

    /// Step 3.
    pub(crate) fn cancel_all(&self) {
        // SeqCst: flag first, walk after; `abort_where` says who the partner is.
        self.end.cancelling.store(true, SeqCst);
        self.abort_where(|_| true);
    }

    /// Step 4. False if routines are left that do not end.
    pub(crate) fn wait_cancelled(self: &Arc<Shared>) -> bool {
        let mut live = self.live();
        loop {
            if self.wait_drained(CANCEL_GRACE) {
                return true;
            }
            let now = self.live();
            if now >= live {
                return false;
            }
            live = now;
        }
    }

    /// Step 5. How many threads do not come back from their job; these touch nothing of the runtime.
    pub(crate) fn close_pool(&self, time: Duration) -> usize {
        self.pool.close(time, CANCEL_GRACE)
    }

    /// Step 6, without the joining.
    pub(crate) fn stop(&self) {
        self.cancel_all();
        self.end.stopping.store(true, Release);
        self.wake_all();
    }

    /// Whether a worker without work may leave its loop.
    pub(crate) fn may_leave(&self) -> bool {
        self.end.is_stopping() && self.live() == 0
    }

    /// Wakes every worker that is parked. Also called by each worker that leaves: the last routine
    /// may have been its own, and those that parked before it ended wait for that.
    pub(crate) fn wake_all(&self) {
        for worker in 0..self.workers.len() {
            self.wake_worker(worker);
        }
    }
}
