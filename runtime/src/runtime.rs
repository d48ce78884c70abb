//! A runtime as a value: its beginning, what runs on it, and its end.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::builder::RuntimeBuilder;
use crate::cancel;
use crate::handle::Handle;
use crate::join::{JoinError, JoinHandle};
use crate::scheduler::block::{self, Context};
use crate::scheduler::{Shared, threads};
use crate::snapshot::{RoutineView, Snapshot};
use crate::spawn;
use crate::turns::Turn;

/// Workers, their threads and all routines on them. Several may live in one process.
///
/// Dropping it is [`shutdown`](Self::shutdown) without time to drain: routines are cancelled.
///
/// ```
/// use openwork::Runtime;
/// let one = Runtime::builder().workers(1).build().unwrap();
/// let other = Runtime::builder().workers(1).build().unwrap();
/// assert_eq!(one.block_on(|| 1) + other.block_on(|| 2), 3);
/// ```
#[derive(Debug)]
pub struct Runtime {
    handle: Handle,
    threads: Vec<thread::JoinHandle<()>>,
    /// It was ended, or that was tried.
    ended: bool,
}

/// What could not be ended by [`Runtime::shutdown`]. Its memory lives on.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// match rt.shutdown(std::time::Duration::from_secs(1)) {
///     Ok(()) => println!("every routine has ended"),
///     Err(remaining) => {
///         for routine in &remaining.routines {
///             eprintln!("{} from {} would not end", routine.id, routine.site);
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Remaining {
    /// Routines that did not end: they swallow cancels, or sit in a call that does not return.
    pub routines: Vec<RoutineView>,
    /// Threads that run routines, spare ones among them, and therefore go on.
    pub threads: usize,
    /// Threads of the blocking pool in a call that does not return.
    pub blocking_threads: usize,
}

impl fmt::Display for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} routines did not end; {} worker threads and {} blocking threads go on",
            self.routines.len(),
            self.threads,
            self.blocking_threads
        )
    }
}

impl std::error::Error for Remaining {}

impl Runtime {
    /// Starts to configure a runtime.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # drop(rt);
    /// ```
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    pub(crate) fn new(shared: Arc<Shared>, threads: Vec<thread::JoinHandle<()>>) -> Runtime {
        Runtime {
            handle: Handle { shared },
            threads,
            ended: false,
        }
    }

    /// A handle to this runtime.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let handle = rt.handle();
    /// assert_eq!(handle.workers(), 1);
    /// ```
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Spawns a routine; see [`spawn`](crate::spawn). It enters by the injector.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let routine = rt.spawn(|| 6 * 7);
    /// assert_eq!(routine.join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.spawn(f)
    }

    /// Spawns a future; see [`spawn_future`](crate::spawn_future).
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let routine = rt.spawn_future(async { 6 * 7 });
    /// assert_eq!(routine.join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn_future<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn_future(future)
    }

    /// Spawns a turn loop; see [`spawn_turns`](crate::spawn_turns).
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::Turn;
    /// let counted = rt.spawn_turns(0, |n| {
    ///     *n += 1;
    ///     if *n < 10 { Turn::Again } else { Turn::Done(*n) }
    /// });
    /// assert_eq!(counted.join().unwrap(), 10);
    /// ```
    #[track_caller]
    pub fn spawn_turns<S, T, F>(&self, state: S, step: F) -> JoinHandle<T>
    where
        S: Send + 'static,
        T: Send + 'static,
        F: FnMut(&mut S) -> Turn<T> + Send + 'static,
    {
        self.handle.spawn_turns(state, step)
    }

    /// Spawns a routine whose work is `f` on a thread of the blocking pool; see
    /// [`spawn_blocking`](crate::spawn_blocking).
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// assert_eq!(rt.spawn_blocking(|| 5).join().unwrap(), 5);
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.spawn_blocking(f)
    }

    /// Runs `f` as a routine and waits for it. `f` may borrow from the caller's frame.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let text = String::from("borrowed");
    /// assert_eq!(rt.block_on(|| text.len()), 8);
    /// ```
    ///
    /// # Panics
    /// With the panic of `f`; or if the routine was cancelled; or if the caller is a routine of
    /// this runtime in [`hold_thread`](crate::hold_thread), or a panicking one and there is no other
    /// worker.
    #[track_caller]
    pub fn block_on<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let shared = &self.handle.shared;
        match block::context() {
            // Before anything is lent: the wait cannot be refused any more.
            Context::Routine(me) | Context::Panicking(me) => {
                block::assert_can_wait_for_fresh(shared, me, "block_on");
            }
            Context::Thread => {}
            Context::Scheduler => block::refuse_in_scheduler("block_on"),
        }
        // SAFETY: `join_for_loan` waits for the routine's end whatever happens: where it could not,
        // we have panicked above.
        let handle = unsafe { spawn::spawn_borrowing(shared, f) };
        match handle.join_for_loan() {
            Ok(value) => value,
            Err(JoinError::Panicked(payload)) => std::panic::resume_unwind(payload),
            Err(why) => {
                // It was our own cancel, passed on.
                cancel::raise_if_asked();
                panic!("{why}")
            }
        }
    }

    /// Runs routines until none can go on, and returns in how much time the next deadline is due: `None` if only a
    /// call from outside (a sender, a waker) can ready one. A routine that wants turn after turn keeps it from
    /// returning. For a host with an event loop of its own, which calls again then. On targets without stacks and
    /// threads alone, where any wait of the one thread runs routines as well.
    ///
    /// # Panics
    /// If called by a routine.
    #[cfg(stackless)]
    pub fn run_until_stalled(&self) -> Option<Duration> {
        let shared = &self.handle.shared;
        shared.run_ready(u64::MAX);
        match shared.next_deadline() {
            crate::scheduler::timers::NEVER => None,
            at => Some(Duration::from_nanos(
                at.saturating_sub(crate::time::now_ns()),
            )),
        }
    }

    /// All figures of this moment.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.spawn(|| ()).join().unwrap();
    /// let snapshot = rt.snapshot();
    /// assert_eq!((snapshot.workers.len(), snapshot.routines.spawned), (1, 1));
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        self.handle.snapshot()
    }

    /// Ends the runtime: refuses work from outside, lets routines end until `deadline` from now,
    /// then cancels those that are left and waits for them, until for one second none has ended.
    ///
    /// ```
    /// use std::time::Duration;
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.spawn(|| println!("runs before the end")).detach();
    /// rt.shutdown(Duration::from_secs(5)).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Remaining`] if some routine did not end even so, or a call on the blocking pool.
    ///
    /// # Panics
    /// If called by a routine of this runtime.
    pub fn shutdown(mut self, deadline: Duration) -> Result<(), Remaining> {
        assert!(
            !threads::is_inside(&self.handle.shared),
            "a routine cannot wait for the end of its own runtime"
        );
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> Result<(), Remaining> {
        let began = Instant::now();
        let shared = self.handle.shared.clone();
        let threads = std::mem::take(&mut self.threads);
        self.ended = true;
        shared.close();
        if !shared.wait_drained(deadline) {
            shared.cancel_all();
            if !shared.wait_cancelled() {
                let going_on = threads.iter().filter(|thread| !thread.is_finished());
                let going_on = going_on.count();
                let mut routines = Vec::new();
                shared.for_each_live(&mut |view| routines.push(view.clone()));
                return Err(Remaining {
                    routines,
                    threads: going_on + shared.kept_threads(),
                    blocking_threads: shared.pool.figures().running as usize,
                });
            }
        }
        let blocking_threads = shared.close_pool(deadline.saturating_sub(began.elapsed()));
        {
            // Whoever starts threads looks under this lock whether it is over.
            let _nothing_changes = shared.tunables.lock();
            shared.stop();
        }
        shared.end_threads();
        for thread in threads {
            // A worker that panicked has aborted the process; there is no other error.
            let _ = thread.join();
        }
        shared.stop_monitor();
        // SAFETY: 1: they were joined.
        unsafe { shared.drop_workers() };
        if let Ok(homes) = &shared.homes {
            homes.end_free();
        }
        for worker in &shared.workers {
            worker.timers.close();
        }
        if let Some(poller) = shared.poller() {
            poller.close();
        }
        shared.slabs.close();
        if blocking_threads > 0 {
            return Err(Remaining {
                routines: Vec::new(),
                threads: 0,
                blocking_threads,
            });
        }
        Ok(())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if cfg!(stackless) && block::context() != Context::Thread {
            // In the middle of a routine's turn no other can end, and there is no thread that could wait. It stays.
            return;
        }
        if threads::is_inside(&self.handle.shared) {
            // A thread cannot join itself: another one does it.
            let mut rest = Runtime {
                handle: self.handle.clone(),
                threads: std::mem::take(&mut self.threads),
                ended: false,
            };
            self.ended = true;
            thread::spawn(move || {
                let _ = rest.end(Duration::ZERO);
            });
            return;
        }
        // What remains stays, as `shutdown` says; a destructor has nobody to tell.
        let _ = self.end(Duration::ZERO);
    }
}
