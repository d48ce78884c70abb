//! The monitor: the thread that watches the others.
//!
//! It finds turns that last too long and asks them to give way ([`leash`]), freezes those that do not
//! ([`signal`]), and takes the workers of threads that sleep in the kernel. What it sees comes from
//! [`probe`], what it decides from [`judge`]; [`watcher`] is its loop, [`deadlock`] what it reports.
//!
//! **Its law**: it allocates, frees and prints nothing, and takes no lock that it would have to wait for.
//! A frozen thread may hold the allocator's lock or a stream's, and the one that could let it go on
//! must not wait behind it.

//!
//! It watches where stacks are this crate's. In a portable build it is never started. Without the feature `preemption`
//! there is no signal, and so nobody is frozen.

#![cfg_attr(portable, allow(dead_code, reason = "nobody watches there"))]

mod counters;
pub(crate) mod deadlock;
#[cfg(not(portable))]
mod judge;
mod latencies;
pub(crate) mod leash;
#[cfg(not(portable))]
pub(crate) mod membarrier;
#[cfg_attr(portable, path = "no_probe.rs")]
pub(crate) mod probe;
#[cfg(all(not(portable), feature = "preemption"))]
pub(crate) mod signal;
#[cfg(not(portable))]
mod urgency;
mod view;
#[cfg(not(portable))]
mod watcher;

use std::io;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub(crate) use counters::Watch;
use deadlock::Deadlocks;
pub(crate) use latencies::LatencyCounts;

use crate::scheduler::Shared;

/// A runtime's monitor, as others see it.
pub(crate) struct Monitor {
    pub(crate) watch: Arc<Watch>,
    pub(crate) deadlocks: Deadlocks,
    /// It sleeps until rung for, because all workers do.
    asleep: AtomicBool,
    stop: AtomicBool,
    /// The worker whose deadlines are overdue while its thread computes, plus one; 0 for none.
    overdue: AtomicU32,
    tid: AtomicI32,
    looks: AtomicU64,
    hostages: Hostages,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Routines that are ready to run and whose thread is stopped or asleep. Written by the monitor alone.
#[derive(Default)]
struct Hostages {
    now: AtomicU64,
    /// Since when the thread that has had some for longest has them, 0 for none.
    since: AtomicU64,
    /// Times that a thread came to have some.
    episodes: AtomicU64,
}

impl Monitor {
    pub(crate) fn new(watch: Arc<Watch>) -> Monitor {
        Monitor {
            watch,
            deadlocks: Deadlocks::new(),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            overdue: AtomicU32::new(0),
            tid: AtomicI32::new(0),
            looks: AtomicU64::new(0),
            hostages: Hostages::default(),
            thread: Mutex::new(None),
        }
    }

    /// A worker has woken up.
    #[inline]
    pub(crate) fn worker_woke(&self) {
        // Between the worker's bit, which was cleared, and the look at this word: partner is the fence in
        // `fall_asleep`. So the monitor sees that not all are parked, or is seen asleep.
        fence(SeqCst);
        if self.asleep.load(Relaxed) {
            self.watch.ring();
        }
    }

    /// Announces that the monitor sleeps until rung for. The caller looks at the workers once more.
    fn fall_asleep(&self) {
        self.asleep.store(true, Relaxed);
        // Partner is the fence in `worker_woke`.
        fence(SeqCst);
    }

    /// So many deadlines were served for another worker.
    pub(crate) fn count_rescued(&self, served: usize) {
        let rescued = &self.watch.counters.timers_rescued;
        rescued.fetch_add(served as u64, Relaxed);
    }

    /// The worker whose deadlines another one is to serve; taken by the caller.
    #[inline]
    pub(crate) fn take_overdue(&self) -> Option<usize> {
        // Two loads in two may take it twice, which does no harm: serving is under a lock.
        match self.overdue.load(Relaxed) {
            0 => None,
            worker => {
                self.overdue.store(0, Relaxed);
                Some(worker as usize - 1)
            }
        }
    }
}

impl Shared {
    /// Starts the monitor's thread, unless it runs.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start_monitor(self: &Arc<Shared>) -> io::Result<()> {
        let mut thread = self
            .monitor
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.start_keeper()?;
        if thread.is_none() {
            let shared = self.clone();
            // With the usual stack: the program's own allocator runs on it when the thread begins and ends.
            let started = std::thread::Builder::new()
                .name("openwork-monitor".to_owned())
                .spawn(move || watch(&shared))?;
            *thread = Some(started);
        }
        Ok(())
    }

    /// Ends the monitor's thread; workers' threads have ended.
    pub(crate) fn stop_monitor(&self) {
        let thread = self
            .monitor
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // Release pairs with the acquire load in the monitor's loop.
            self.monitor.stop.store(true, Release);
            self.monitor.watch.ring();
            // Its own code does not panic; if it did, there is nothing left to end.
            let _ = thread.join();
        }
    }
}

/// Makes it possible to take workers from threads that sleep in the kernel.
///
/// # Errors
/// Why it is not.
pub(crate) fn prepare_hand_off() -> Result<(), &'static str> {
    #[cfg(not(portable))]
    return membarrier::register().map_err(|_| "the kernel refuses membarrier(2)");
    #[cfg(portable)]
    Err("a portable build has a thread for each routine")
}

/// Makes it possible to freeze threads.
///
/// # Errors
/// Why it is not.
pub(crate) fn prepare_freezing() -> Result<(), &'static str> {
    #[cfg(all(not(portable), feature = "preemption"))]
    return signal::install().map_err(|error| match error {
        crate::signals::InstallError::Replaced => {
            "somebody else has put a handler for SIGURG over this crate's"
        }
        crate::signals::InstallError::Os(_) => "the system refuses a handler for SIGURG",
    });
    #[cfg(portable)]
    return Err("a portable build has a thread for each routine");
    #[cfg(all(not(portable), not(feature = "preemption")))]
    Err("the crate was built without its feature `preemption`")
}

fn watch(shared: &Arc<Shared>) {
    #[cfg(not(portable))]
    watcher::main(shared);
    #[cfg(portable)]
    let _ = shared;
}
