//! Calls that block in the kernel, on threads of their own, so that they hold no worker.
//!
//! [`blocking`] lends a closure, with all that it borrows, to a thread of the runtime's pool
//! ([`pool`]), and blocks the routine until the closure is done. What borrows nothing ([`owned`]) can be left
//! behind: so it can be awaited for a time only, and [`spawn_blocking`] makes a routine of it, a future whose
//! poll waits for the [`job`].

mod job;
mod owned;
pub(crate) mod pool;

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use crate::cancel::{self, Cancelled};
use crate::handle::Handle;
use crate::join::JoinHandle;
use crate::routine::RoutineRef;
use crate::routine::life::CancelLevel;
use crate::scheduler::block::{self, Context, Interrupt};
use crate::scheduler::threads;
use crate::snapshot::WaitReason;
use crate::spawn::{self, SpawnError};
use crate::sync::wait::Sleeper;
use job::{Job, Offered, Run};
use owned::OwnedJob;
use pool::{Place, Pool};

#[cfg(unix)]
pub(crate) use owned::blocking_until;
pub use owned::{BlockingTimeoutError, blocking_deadline, blocking_timeout};

/// Runs `f` on a thread of the runtime's blocking pool and returns its value. The calling routine
/// blocks with reason `blocking`; its worker runs others meanwhile. On a plain thread `f` runs in
/// place.
///
/// For calls that block in the kernel, or in a foreign library: reading a file, a database, a look-up
/// of names. Not for long computations, which would have as many threads as callers. The pool grows
/// up to [`RuntimeBuilder::blocking_threads`](crate::RuntimeBuilder::blocking_threads) and shrinks
/// again; its figures are [`Snapshot::blocking`](crate::snapshot::Snapshot::blocking).
///
/// In a [deterministic](crate::deterministic) run `f` runs in place, on the routine's stack.
///
/// `f` may borrow from the caller's frame. So the call is left only when `f` is done, whatever a
/// cancel says: one that comes while `f` runs is raised when it has returned, and the value is
/// dropped. One that comes while all threads are busy takes `f` back, and it never runs.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let lines = rt.block_on(|| {
///     let path = std::path::PathBuf::from("Cargo.toml");
///     openwork::blocking(|| std::fs::read_to_string(&path)).unwrap().lines().count()
/// });
/// assert!(lines > 1);
/// ```
///
/// # Panics
/// With the panic of `f`. And if called where nothing may block: in a destructor that the scheduler
/// itself runs.
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    match block::context() {
        Context::Routine(me) => {
            cancel::raise_if_asked();
            let value = lend(me, f);
            cancel::raise_if_asked();
            value.expect("a job is withdrawn for a cancel")
        }
        Context::Panicking(me) => lend(me, f).expect("no cancel is looked at"),
        Context::Thread => f(),
        Context::Scheduler => block::refuse_in_scheduler("blocking"),
    }
}

/// As [`blocking`], but tells a routine that was asked to end so instead of unwinding, the first time.
/// A cancel that comes while `f` runs does not cost its value: the next call tells of it.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let routine = rt.spawn(|| {
///     while !openwork::is_cancelled() {
///         std::thread::yield_now();
///     }
///     openwork::try_blocking(|| 1)
/// });
/// routine.cancel(std::time::Duration::from_secs(60));
/// if let Ok(answer) = routine.join() {
///     assert_eq!(answer, Err(openwork::Cancelled)); // else it was cancelled before it began
/// }
/// ```
///
/// # Errors
/// [`Cancelled`] if the routine was asked to end before `f` began.
///
/// # Panics
/// As [`blocking`].
pub fn try_blocking<F, T>(f: F) -> Result<T, Cancelled>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    match block::context() {
        Context::Routine(me) => {
            cancel::report_if_asked(me)?;
            let value = lend(me, f);
            if value.is_none() {
                cancel::report_if_asked(me)?;
            }
            Ok(value.expect("a job is withdrawn for a cancel"))
        }
        Context::Panicking(me) => Ok(lend(me, f).expect("no cancel is looked at")),
        Context::Thread => Ok(f()),
        Context::Scheduler => block::refuse_in_scheduler("try_blocking"),
    }
}

/// [`try_blocking`] for calls that can fail in other ways.
pub(crate) fn io<F, T>(f: F) -> io::Result<T>
where
    F: FnOnce() -> io::Result<T> + Send,
    T: Send,
{
    try_blocking(f)?
}

/// Has `f` run by the pool of the runtime that the caller is in, or by a thread of its own, and waits for
/// nothing.
pub(crate) fn detached(f: impl FnOnce() + Send + 'static) {
    let pool = threads::runtime_here().map(|runtime| runtime.pool.clone());
    let job = Arc::new(Job::new(f));
    drop(job.leave());
    pool.unwrap_or_else(Pool::of_one).submit(job);
}

/// Lends `f` to the pool, also while panicking: the stack of a routine is small, and `f` expects a
/// thread's. `None` if a cancel came before it began.
fn lend<F, T>(me: RoutineRef, f: F) -> Option<T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let job = Arc::new(Job::new(f));
    let pool = &me.shared().pool;
    // SAFETY: 1: `wait_for_loan` returns, or unwinds, only when the job is done or was withdrawn.
    let place = unsafe { submit_borrowing(pool, job.clone()) };
    if !wait_for_loan(me, pool, place, &job) {
        // Its destructor may be foreign, and runs where the closure came from.
        drop(job.take_task());
        return None;
    }
    match job.take().expect("the job is done") {
        Ok(value) => Some(value),
        Err(payload) => resume_unwind(payload),
    }
}

/// Spawns a routine whose work is `f` on a thread of the blocking pool; see [`blocking`].
///
/// The handle is that of any routine, to be joined, awaited, detached or aborted. While `f` waits
/// and runs, the routine has no stack. `f` is handed to the pool at once. An abort takes it back if it
/// has not begun; otherwise the routine ends, and `f` goes on alone, its value being dropped: nothing
/// can stop a thread in a call. The end of the runtime waits for it.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let size = rt.block_on(|| {
///     openwork::spawn_blocking(|| std::fs::metadata("Cargo.toml").unwrap().len()).join()
/// });
/// assert!(size.unwrap() > 0);
/// ```
///
/// # Panics
/// If called outside a routine; use [`Handle::spawn_blocking`] there.
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let pool = threads::runtime_here()
        .map(|runtime| runtime.pool.clone())
        .unwrap_or_else(|| panic!("{}", SpawnError::NoRuntime));
    spawn::spawn_future(OwnedJob::new(pool, f))
}

impl Handle {
    /// Spawns a routine whose work is `f` on a thread of the blocking pool; see
    /// [`spawn_blocking`](crate::spawn_blocking).
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// assert_eq!(rt.handle().spawn_blocking(|| 5).join().unwrap(), 5);
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_future(OwnedJob::new(self.shared.pool.clone(), f))
    }
}

/// Hands a job to the pool that may borrow from the caller's frame.
///
/// # Safety
/// 1. Alive: what the closure and its value borrow lives until the job is done and its value was
///    taken, or it was withdrawn and its closure was taken.
unsafe fn submit_borrowing<F, T>(pool: &Arc<Pool>, job: Arc<Job<F, T>>) -> Place
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let job: Arc<dyn Run + '_> = job;
    // SAFETY: only the lifetime is forgotten. The pool uses the job by `Run::run` alone, which is over
    // with all that is borrowed when the job is done; after that, and after a withdrawal, the pool
    // may still drop its reference, and there is neither closure nor value then by 1.
    let job = unsafe { std::mem::transmute::<Arc<dyn Run + '_>, Arc<dyn Run + 'static>>(job) };
    pool.submit(job)
}

/// Waits until the job is done. False if it was withdrawn, because the routine was cancelled before
/// the job began. Nothing else ends the wait.
fn wait_for_loan<F, T>(me: RoutineRef, pool: &Pool, place: Place, job: &Job<F, T>) -> bool {
    let life = &me.header().life;
    let mut tried = CancelLevel::None;
    while !job.is_done() {
        match block::context() {
            Context::Routine(_) => {
                let level = life.cancel_level();
                if level > tried {
                    tried = level;
                    if pool.withdraw(place) {
                        return false;
                    }
                }
                block::block(
                    WaitReason::Blocking,
                    Interrupt::Never,
                    &mut |routine, ticket| {
                        // A sleeper that is left over is a routine, which dropping does nothing to.
                        matches!(
                            job.offer(Sleeper::Routine(routine, ticket)),
                            Offered::Waits(_)
                        )
                        // A cancel that came just before the wait must still be seen.
                        && life.cancel_level() <= tried
                    },
                );
            }
            // The thread is held anyway: the panic count is its own.
            _ => {
                if let Offered::Waits(_) = job.offer(Sleeper::Thread(thread::current())) {
                    thread::park();
                }
            }
        }
    }
    true
}
