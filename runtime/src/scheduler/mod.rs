//! The scheduler: what its parts share.
//!
//! [`worker`] is the loop of one worker, [`threads`] what it runs on; [`lists`] (made of [`home_queue`]),
//! [`inbox`] and [`timers`] are where it finds work besides its deque; [`idle`] and [`parker`] put it to sleep; [`block`] and [`ready`]
//! are how routines stop and go on; [`stack_waiters`] is where fresh ones wait for a stack;
//! [`finish`] is how they end; [`shutdown`] is how a runtime ends; [`explore`] is what a deterministic
//! one has in addition. Which workers are in service is in [`roster`], and changed by [`resize`]; [`apart`] knows
//! whose routines had better start on a thread of their own.
//! The protocol of searching and parking, with its proof sketch, is `docs/scheduler.md`.

pub(crate) mod apart;
pub(crate) mod block;
pub(crate) mod explore;
pub(crate) mod finish;
pub(crate) mod home_queue;
pub(crate) mod idle;
pub(crate) mod inbox;
pub(crate) mod levels;
pub(crate) mod lists;
pub(crate) mod parker;
pub(crate) mod ready;
mod resize;
pub(crate) mod roster;
pub(crate) mod shutdown;
pub(crate) mod stack_waiters;
pub(crate) mod stack_walk;
pub(crate) mod stats;
pub(crate) mod strategy;
pub(crate) mod threads;
pub(crate) mod timers;
pub(crate) mod walk;
pub(crate) mod worker;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, fence};
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam_deque::Injector;

use crate::blocking::pool::Pool;
use crate::config::Tunables;
use crate::homes::{Homes, NoHomes};
use crate::monitor::Monitor;
use crate::poller::Poller;
use crate::routine::RoutineRef;
use crate::routine::slab::Slabs;
use crate::scheduler::worker::deque::Stealers;
use crate::snapshot::{IoBackend, PanicRecord, RingRead, Source};
use crate::stack::{StackArena, StackClass};
use crate::trace::Recorder;
use apart::Apart;
use idle::Idle;
use levels::Levels;
use lists::SharedLists;
use parker::Parker;
use roster::Roster;
use stack_waiters::StackWaiters;
use stats::{ForeignStats, WorkerStats};
use strategy::Balance;
use strategy::assigned::Assigned;
use threads::{Home, Threads};
use timers::Timers;

/// Of [`WorkerShared::home`]: nobody holds the worker.
pub(crate) const NO_HOME: u32 = u32::MAX;

/// Panic records kept.
const PANICS_KEPT: usize = 256;

/// One runtime's common part.
pub(crate) struct Shared {
    /// All that there can be. Which of them are in service says the roster.
    pub(crate) workers: Box<[WorkerShared]>,
    pub(crate) roster: Roster,
    /// Each worker's own part, which its holder alone may touch. Dropped after the last thread has ended.
    pub(crate) cores: Box<[AtomicPtr<worker::WorkerCore>]>,
    /// What workers run on, and what started routines are bound to.
    pub(crate) threads: Threads,
    /// Who watches them.
    pub(crate) monitor: Monitor,
    /// Homes that travel, or why there are none.
    pub(crate) homes: Result<Homes, NoHomes>,
    pub(crate) injector: Injector<RoutineRef>,
    pub(crate) levels: Levels,
    pub(crate) idle: Idle,
    pub(crate) slabs: Slabs,
    pub(crate) arena: Arc<StackArena>,
    pub(crate) default_class: StackClass,
    pub(crate) stack_waiters: StackWaiters,
    pub(crate) next_id: AtomicU64,
    /// Tells this runtime's routines from those of others; see `sync::holder`.
    pub(crate) number: u64,
    pub(crate) foreign: ForeignStats,
    pub(crate) record: AtomicBool,
    pub(crate) panics: Mutex<PanicLog>,
    /// Threads for what blocks in the kernel.
    pub(crate) pool: Arc<Pool>,
    pub(crate) end: shutdown::End,
    pub(crate) io_backend: IoBackend,
    pub(crate) tunables: Tunables,
    pub(crate) balance: Balance,
    pub(crate) apart: Apart,
    pub(crate) poller: OnceLock<Arc<Poller>>,
}

/// What others may touch of a worker. Its holder's own part is [`worker::WorkerCore`].
pub(crate) struct WorkerShared {
    pub(crate) stealer: Stealers,
    /// Fresh routines that a key or a placement brings here.
    pub(crate) assigned: Assigned,
    /// Other common routines that it alone is to run: keyed ones, and futures that a deadline or
    /// the poller has readied. Its holder's.
    pub(crate) own: SharedLists,
    /// Number of the home that it runs, or [`NO_HOME`].
    pub(crate) home: AtomicU32,
    pub(crate) timers: Arc<Timers>,
    pub(crate) parker: Parker,
    pub(crate) stats: WorkerStats,
    pub(crate) recorder: Recorder,
}

impl WorkerShared {
    /// Routines that any worker may take from here.
    pub(crate) fn stealable(&self) -> u64 {
        self.stealer.len() as u64 + self.assigned.placed_len()
    }

    /// Whether it runs one now.
    pub(crate) fn runs_a_turn(&self) -> bool {
        !self.stats.routine.load(Relaxed).is_null()
    }
}

/// The newest panics.
pub(crate) struct PanicLog {
    kept: VecDeque<PanicRecord>,
    made: u64,
}

/// 32 bits on which all of `key` have an influence, by Fibonacci hashing (Knuth, The Art of Computer Programming 3,
/// 6.4): keys are often small numbers, multiples of something, or addresses.
fn spread(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

impl Shared {
    /// Queues a routine that any worker may run, by a thread that is none.
    pub(crate) fn inject(&self, routine: RoutineRef) {
        self.inject_quietly(routine);
        self.notify_work();
    }

    /// The same without waking anybody, which the caller does afterwards.
    pub(crate) fn inject_quietly(&self, routine: RoutineRef) {
        let header = routine.header();
        header.set_source(Source::Injector);
        if header.is_normal() {
            self.injector.push(routine);
        } else {
            self.levels.push(routine);
        }
    }

    /// The worker on which routines with this key start.
    pub(crate) fn worker_of_key(&self, key: u64) -> usize {
        ((spread(key) * self.roster.active() as u64) >> 32) as usize
    }

    /// Work was pushed where any worker can take it: wakes one, if that is needed.
    pub(crate) fn notify_work(&self) {
        match self.idle.submitted() {
            Some(worker) => self.wake_claimed(worker),
            None => self.rouse_napper(),
        }
    }

    /// The same for work in the deque of the calling worker, which has passed step S2, a sequentially
    /// consistent fence, since the push. If `is_alone`, it relies on a worker that naps.
    #[inline]
    pub(crate) fn notify_work_after_fence(&self, is_alone: impl FnOnce() -> bool) {
        if let Some(worker) = self.idle.look_for_sleeper() {
            self.wake_claimed(worker);
        } else if self.idle.napper().is_some() {
            if is_alone() {
                self.idle.rely_on_napper();
            } else {
                self.rouse_napper();
            }
        }
    }

    #[inline]
    fn wake_claimed(&self, worker: usize) {
        self.count_wake();
        self.workers[worker]
            .parker
            .wake(true, || self.ring_poller());
    }

    /// Ends the nap of the worker that others take for a searcher.
    #[inline]
    fn rouse_napper(&self) {
        if let Some(worker) = self.idle.napper() {
            self.wake_worker(worker);
        }
    }

    /// Work was pushed for one worker: wakes it, if it is parked.
    pub(crate) fn wake_worker(&self, worker: usize) {
        // Between the push into the worker's own queue and the look at its bit; partner is the fence in
        // `Idle::prepare_park` (P2).
        fence(SeqCst);
        self.wake_worker_after_fence(worker);
    }

    /// The same for a caller that has passed a sequentially consistent fence since the push.
    pub(crate) fn wake_worker_after_fence(&self, worker: usize) {
        if self.idle.claim(worker) {
            self.count_wake();
            self.workers[worker]
                .parker
                .wake(false, || self.ring_poller());
        }
    }

    /// A routine was placed with this worker: wakes it, or if it is awake somebody who may steal that.
    pub(crate) fn notify_placed(&self, worker: usize) {
        // As in `wake_worker`.
        fence(SeqCst);
        self.notify_placed_after_fence(worker);
    }

    /// The same for a caller that has passed a sequentially consistent fence since the push.
    pub(crate) fn notify_placed_after_fence(&self, worker: usize) {
        self.check_assigned(worker);
        if self.idle.claim(worker) {
            self.count_wake();
            let parker = &self.workers[worker].parker;
            parker.wake(false, || self.ring_poller());
        } else {
            self.notify_work();
        }
    }

    /// Routines that wait for this worker, as far as they can be counted from outside.
    pub(crate) fn waiting_for(&self, worker: usize) -> u64 {
        let worker = &self.workers[worker];
        let home = self.home_run_by(worker).map_or(0, Home::queued);
        home + worker.own.len() + worker.stealable() + worker.assigned.keyed_len()
    }

    /// The home that runs on this worker; `None` if nobody holds it.
    pub(crate) fn home_run_by(&self, worker: &WorkerShared) -> Option<&Home> {
        let home = worker.home.load(Relaxed);
        (home != NO_HOME).then(|| self.threads.home(home))
    }

    /// The poller, if a socket was ever waited for.
    pub(crate) fn poller(&self) -> Option<&Arc<Poller>> {
        self.poller.get()
    }

    /// The poller, made now if need be.
    #[cfg(not(stackless))]
    pub(crate) fn poller_or_make(&self) -> std::io::Result<&Arc<Poller>> {
        if let Some(poller) = self.poller.get() {
            return Ok(poller);
        }
        explore::refuse_outside()?;
        // Of two that are made at once, one is dropped.
        let _ = self.poller.set(Arc::new(Poller::new(self.io_backend)?));
        // A worker that is to sleep looks for the poller after it has announced that; one that sleeps
        // already knows of none, and has to take its seat.
        for worker in 0..self.workers.len() {
            self.wake_worker(worker);
        }
        Ok(self.poller.get().expect("set above"))
    }

    fn ring_poller(&self) {
        if let Some(poller) = self.poller() {
            poller.ring();
        }
    }

    fn count_wake(&self) {
        worker::with_core_of(self, |core| match core {
            Some(core) => stats::add(&core.stats().wakes, 1),
            None => {
                self.foreign.wakes.fetch_add(1, Relaxed);
            }
        });
    }

    /// Workers whose queues may hold something.
    #[inline]
    pub(crate) fn spanned(&self) -> impl Iterator<Item = &WorkerShared> {
        self.workers.iter().take(self.roster.span())
    }

    /// Whether any worker could take something: the last look before sleep.
    pub(crate) fn has_stealable_work(&self) -> bool {
        !self.injector.is_empty()
            || !self.levels.is_empty()
            || self.threads.desk.wanting() > 0
            || self.spanned().any(|w| !w.stealer.is_empty())
            || self.balance.assigns() && self.spanned().any(|w| w.assigned.has_placed())
    }

    pub(crate) fn log_panic(&self, record: PanicRecord) {
        let mut log = self.panics.lock().unwrap_or_else(|e| e.into_inner());
        if log.kept.len() == PANICS_KEPT {
            log.kept.pop_front();
        }
        log.kept.push_back(record);
        log.made += 1;
    }

    /// Records from `from` on; see [`crate::Handle::panics`].
    pub(crate) fn read_panics(&self, from: u64, into: &mut Vec<PanicRecord>) -> RingRead {
        let log = self.panics.lock().unwrap_or_else(|e| e.into_inner());
        let oldest = log.made - log.kept.len() as u64;
        let start = from.max(oldest).min(log.made);
        into.extend(log.kept.iter().skip((start - oldest) as usize).cloned());
        RingRead {
            next: log.made,
            lost: start.saturating_sub(from),
        }
    }

    pub(crate) fn panics_made(&self) -> u64 {
        self.panics.lock().unwrap_or_else(|e| e.into_inner()).made
    }
}

impl PanicLog {
    pub(crate) fn new() -> PanicLog {
        PanicLog {
            kept: VecDeque::new(),
            made: 0,
        }
    }
}
