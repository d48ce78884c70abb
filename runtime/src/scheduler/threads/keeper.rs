//! The keeper: a thread that starts threads, so that some are spare when the monitor needs one.
//!
//! Starting a thread allocates, and waits for locks of the system: neither may happen where a worker is taken
//! from a thread, as the one who holds such a lock may be frozen. So the monitor only rings.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use crate::primitives::Futex;
use crate::scheduler::{Shared, worker};

/// Threads without bound routines that are to be spare once the first was needed.
pub(crate) const SPARE_AHEAD: u32 = 2;

const CALM: u32 = 0;
const NEEDED: u32 = 1;
const ENDING: u32 = 2;

/// Why no thread was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoThread {
    /// There are as many as there may be.
    AtCap,
    /// The system refuses one.
    Refused,
}

/// See the module's text.
pub(crate) struct Keeper {
    word: Futex,
    /// Threads that were started and have not come to rest yet.
    starting: AtomicU32,
    pub(super) started: AtomicU64,
    /// Threads that the system refused.
    pub(super) refused: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    own: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    pub(super) fn new() -> Keeper {
        Keeper {
            word: Futex::new(CALM),
            starting: AtomicU32::new(0),
            started: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            threads: Mutex::new(Vec::new()),
            own: Mutex::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Threads would be useful. Async-signal-safe, and cheap when it was said already.
    pub(super) fn ring(&self) {
        let word = &self.word.0;
        // Relaxed: the keeper looks at the desk, whose lock orders what it finds there.
        if word
            .compare_exchange(CALM, NEEDED, Relaxed, Relaxed)
            .is_ok()
        {
            self.word.wake();
        }
    }
}

impl Shared {
    /// Starts the keeper, if it does not run. Needed before workers are taken from threads.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(crate) fn start_keeper(self: &Arc<Shared>) -> std::io::Result<()> {
        let keeper = &self.threads.keeper;
        let mut own = keeper.own.lock().unwrap_or_else(|e| e.into_inner());
        if own.is_none() {
            let shared = self.clone();
            // With the usual stack: the program's own allocator runs on it.
            let thread = thread::Builder::new()
                .name("openwork-keeper".to_owned())
                .spawn(move || shared.keep_threads())?;
            *own = Some(thread);
        }
        Ok(())
    }

    fn keep_threads(self: Arc<Shared>) {
        let keeper = &self.threads.keeper;
        loop {
            // Acquire pairs with the release in `end_threads`.
            match keeper.word.0.load(Acquire) {
                CALM => keeper.word.wait(CALM, None),
                NEEDED => {
                    let _ = keeper
                        .word
                        .0
                        .compare_exchange(NEEDED, CALM, Relaxed, Relaxed);
                    let starting = &keeper.starting;
                    while self.threads.desk.unbound() + starting.load(Relaxed) < SPARE_AHEAD
                        && self.start_thread()
                    {}
                }
                _ => return,
            }
        }
    }

    /// Starts a thread without worker. False if there may be no more, or the system refuses it.
    fn start_thread(self: &Arc<Shared>) -> bool {
        let keeper = &self.threads.keeper;
        keeper.starting.fetch_add(1, Relaxed);
        let shared = self.clone();
        let started = self.start(self.tunables.max_threads(), move |index| {
            worker::spare_main(&shared, index);
        });
        if started.is_err() {
            keeper.starting.fetch_sub(1, Relaxed);
        }
        started.is_ok()
    }

    /// Starts a thread with this worker.
    ///
    /// # Errors
    /// There may be no more, or the system refuses it.
    ///
    /// # Safety
    /// 1. Exclusive: the caller owns the worker.
    pub(crate) unsafe fn start_thread_with(
        self: &Arc<Shared>,
        worker: u32,
        max_threads: usize,
    ) -> Result<(), NoThread> {
        let shared = self.clone();
        self.start(max_threads, move |index| {
            // SAFETY: 1: the caller owned it and gives it to this thread; 2: the place was claimed for it.
            unsafe { worker::main(&shared, index, worker) };
        })
    }

    fn start(
        &self,
        max_threads: usize,
        body: impl FnOnce(u32) + Send + 'static,
    ) -> Result<(), NoThread> {
        let threads = &self.threads;
        if !threads.admit(max_threads) {
            return Err(NoThread::AtCap);
        }
        let Some(index) = threads.desk.claim() else {
            threads.note_end();
            return Err(NoThread::AtCap);
        };
        let spawned = thread::Builder::new()
            .name(format!("openwork-{index}"))
            .spawn(move || body(index));
        match spawned {
            Ok(thread) => {
                threads.keeper.started.fetch_add(1, Relaxed);
                let mut all = threads.keeper.lock();
                all.retain(|thread| !thread.is_finished());
                all.push(thread);
                Ok(())
            }
            Err(_) => {
                threads.keeper.refused.fetch_add(1, Relaxed);
                threads.desk.give_place_back(index);
                threads.note_end();
                Err(NoThread::Refused)
            }
        }
    }

    /// A thread of the keeper's has come.
    pub(crate) fn note_started(&self) {
        self.threads.keeper.starting.fetch_sub(1, Relaxed);
    }

    /// Ends the keeper and all threads that are spare, and waits for all that it has started. Workers were told
    /// to leave.
    pub(crate) fn end_threads(&self) {
        let keeper = &self.threads.keeper;
        // Release pairs with the acquire in `keep_threads`.
        keeper.word.0.store(ENDING, Release);
        keeper.word.wake();
        let own = keeper.own.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(own) = own {
            // Its panic would be ours; there is nothing left to do about it.
            let _ = own.join();
        }
        while let Some(spare) = self.threads.desk.close() {
            self.threads.slot(spare).bed.wake(false, || {});
        }
        let threads = std::mem::take(&mut *keeper.lock());
        for thread in threads {
            let _ = thread.join();
        }
    }

    /// Threads that the keeper has started and that have not ended.
    pub(crate) fn kept_threads(&self) -> usize {
        let threads = self.threads.keeper.lock();
        threads
            .iter()
            .filter(|thread| !thread.is_finished())
            .count()
    }
}
