//! One piece of work for the pool: a closure before, its outcome after, and who waits for it.
//!
//! ```text
//!   Open ──offer──► Waits            the waiter's side leaves what wakes it
//!   Open, Waits ──run──► Done        a thread of the pool has run the closure
//!   Open, Waits, Done ──leave──► Left      the waiter's side has gone, or has taken the outcome
//! ```
//!
//! Both sides hold the job by a counted reference, and everything that changes hands lies in it: so
//! whoever runs a job touches nothing of the waiter's frame once the job is `Done`, and a waiter that
//! goes leaves nothing behind that points into its frame. What is borrowed dies before the last
//! reference may: by then closure and outcome are gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use crate::routine::body;
use crate::sync::wait::Sleeper;

/// See the module's text.
pub(super) struct Job<F, T> {
    /// Taken by the one who runs it, or by the waiter that has withdrawn the job.
    task: Mutex<Option<F>>,
    end: Mutex<End<T>>,
}

enum End<T> {
    Open,
    Waits(Sleeper),
    Done(thread::Result<T>),
    Left,
}

/// A job without its types.
pub(super) trait Run: Send + Sync {
    /// Runs the closure, calls `over`, and tells the waiter: so whoever is told finds the thread free.
    /// Once; never unwinds.
    fn run(&self, over: &mut dyn FnMut());
}

/// What [`Job::offer`] found.
#[must_use]
pub(super) enum Offered {
    /// The sleeper will be woken. The one before it is not needed any more: its destructor may be
    /// foreign.
    Waits(Option<Sleeper>),
    /// The job is done: the sleeper was not needed.
    Done,
}

/// Takes a lock of a job or of the pool.
pub(super) fn lock<X>(mutex: &Mutex<X>) -> MutexGuard<'_, X> {
    // Nothing that could panic runs under these locks.
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl<F, T> Job<F, T> {
    pub(super) fn new(task: F) -> Job<F, T> {
        Job {
            task: Mutex::new(Some(task)),
            end: Mutex::new(End::Open),
        }
    }

    /// Leaves who is to be woken when the job is done.
    pub(super) fn offer(&self, sleeper: Sleeper) -> Offered {
        let mut end = lock(&self.end);
        match std::mem::replace(&mut *end, End::Open) {
            End::Open => {
                *end = End::Waits(sleeper);
                Offered::Waits(None)
            }
            End::Waits(before) => {
                *end = End::Waits(sleeper);
                Offered::Waits(Some(before))
            }
            over => {
                *end = over;
                drop(end);
                drop(sleeper);
                Offered::Done
            }
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(*lock(&self.end), End::Done(_))
    }

    /// The outcome, if the job is done. Once.
    pub(super) fn take(&self) -> Option<thread::Result<T>> {
        let mut end = lock(&self.end);
        match std::mem::replace(&mut *end, End::Left) {
            End::Done(outcome) => Some(outcome),
            other => {
                *end = other;
                None
            }
        }
    }

    /// The closure of a job that was withdrawn: it will not run.
    pub(super) fn take_task(&self) -> Option<F> {
        lock(&self.task).take()
    }

    /// The waiter's side goes. What it returns is dropped without a lock: it may be foreign.
    pub(super) fn leave(&self) -> impl Sized + use<F, T> {
        std::mem::replace(&mut *lock(&self.end), End::Left)
    }
}

impl<F, T> Run for Job<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(&self, over: &mut dyn FnMut()) {
        let task = self.take_task().expect("a queued job has its closure");
        let outcome = catch_unwind(AssertUnwindSafe(task));
        let mut end = lock(&self.end);
        let rouse = match std::mem::replace(&mut *end, End::Left) {
            End::Waits(sleeper) => {
                // Under the lock: a waiter that looks finds `Waits` until we are through, so its
                // routine is alive.
                let rouse = sleeper.leave_frame();
                *end = End::Done(outcome);
                Some(rouse)
            }
            End::Left => {
                drop(end);
                // Foreign, and the thread is not free before it is over.
                body::swallow(move || drop(outcome));
                over();
                return;
            }
            End::Open | End::Done(_) => {
                *end = End::Done(outcome);
                None
            }
        };
        over();
        drop(end);
        if let Some(rouse) = rouse {
            rouse.rouse();
        }
    }
}
