//! One worker: the loop that finds a routine ([`find`]), runs one turn of it ([`turn`]) and sleeps when
//! there is none.

mod clock;
pub(crate) mod explored;
mod find;
mod held;
mod levels;
mod nap;
mod steal;
mod turn;

use std::cell::{Cell, RefCell};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_deque::Worker as LocalQueue;

use crate::config::Preemption;
use crate::profile::frames;
use crate::routine::slab::BlockCache;
use crate::routine::{Header, RoutineRef};
use crate::scheduler::block::Interrupt;
use crate::scheduler::explore::Exploration;
use crate::scheduler::home_queue::HomeQueue;
use crate::scheduler::idle::Last;
use crate::scheduler::parker::Woken;
use crate::scheduler::stats::{self, WorkerStats};
use crate::scheduler::timers::{NEVER, Timers};
use crate::scheduler::{Shared, WorkerShared};
use crate::snapshot::{WaitReason, WorkerState};
use crate::stack::StackPool;
use crate::stack::altstack::AltStack;
use crate::thread_state::{self, NO_WORKER, ThreadState};
use crate::time;

/// What the running routine asks its worker to do after the switch. Lies in the routine's frame.
pub(crate) enum Post {
    /// Put it at the end of its home's queue.
    Yield,
    /// Block it.
    Block {
        why: WaitReason,
        interrupt: Interrupt,
        /// A [`Commit`] of the routine's frame; called once, before the routine runs again.
        commit: *mut (dyn FnMut(RoutineRef, crate::routine::life::Ticket) -> bool + 'static),
    },
}

/// What only the worker's own thread touches. Reached by routines through the thread's state.
pub(crate) struct WorkerCore {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: u32,
    /// [`Shared::workers`]' entry of this worker.
    mine: *const WorkerShared,
    /// This thread's state.
    thread: Cell<*const ThreadState>,
    /// Time at the last turn boundary, or a little before it: see [`clock`]. In nanoseconds since
    /// process start.
    pub(crate) now: Cell<u64>,
    ticks: clock::Ticks,
    /// The kernel's tick at `now`.
    tick: Cell<u64>,
    /// There was a turn since `now`.
    undated: Cell<bool>,
    pub(crate) blocks: BlockCache,
    /// What a pending future says it waits for.
    pub(crate) wait_reason: Cell<WaitReason>,
    /// A pending future wants its next turn at once.
    pub(crate) again: Cell<bool>,
    ids: Cell<(u64, u64)>,
    local: LocalQueue<RoutineRef>,
    /// Where loot lands, so that it can be counted before others may take it.
    loot: LocalQueue<RoutineRef>,
    home: HomeQueue,
    /// Readied by a deadline: goes before the others, in order, or it would wait a whole round.
    urgent: HomeQueue,
    levels: levels::LevelLists,
    lifo: Cell<*mut Header>,
    /// The routine that holds the thread: between its turns nobody else runs. See [`held`].
    held: Cell<*mut Header>,
    lifo_turns: Cell<u32>,
    /// Which of home list and deque goes first.
    home_first: Cell<bool>,
    /// Turns until the next look round.
    fair_in: Cell<u32>,
    fair_at: Cell<u64>,
    fair_next: Cell<u32>,
    /// The rotation has a turn to give.
    rotate: Cell<bool>,
    /// When a busy worker looks into the poller again.
    look_at: Cell<u64>,
    random: Cell<u64>,
    naps: nap::Naps,
    habits: steal::Habits,
    /// When a routine that the system refused a stack may try again here.
    stack_retry_at: Cell<u64>,
    pool: RefCell<StackPool>,
    /// Of a deterministic worker.
    pub(crate) exploration: Option<Box<Exploration>>,
}

/// Runs `f` on the core of the worker that this thread holds. `f` must not suspend.
#[inline]
pub(crate) fn with_core<R>(f: impl FnOnce(Option<&WorkerCore>) -> R) -> R {
    let (core, _) = thread_state::running();
    // SAFETY: the worker's thread stores the address of its own core, which lives on its stack
    // until it has cleared the address, and only that thread reads the address here.
    f(unsafe { core.as_ref() })
}

/// As [`with_core`], but only if it is a worker of `shared`.
#[inline]
pub(crate) fn with_core_of<R>(shared: &Shared, f: impl FnOnce(Option<&WorkerCore>) -> R) -> R {
    with_core(|core| f(core.filter(|core| std::ptr::eq(&*core.shared, shared))))
}

/// The body of a worker's thread.
pub(crate) fn main(shared: Arc<Shared>, index: u32, local: LocalQueue<RoutineRef>) {
    let core = WorkerCore::new(shared, index, local);
    let _altstack = AltStack::plain();
    core.enter_thread();
    let abort = AbortOnUnwind;
    core.run();
    std::mem::forget(abort);
    core.leave_thread();
}

/// The scheduler has no invariants left when its own code panics: better a dead process than a
/// silent hang.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!("openwork: a worker's own code panicked; the process ends");
        std::process::abort();
    }
}

impl WorkerCore {
    fn new(shared: Arc<Shared>, index: u32, local: LocalQueue<RoutineRef>) -> WorkerCore {
        let pool = StackPool::new(shared.arena.clone());
        WorkerCore::with_pool(shared, index, local, pool)
    }

    /// With stacks of `shared`'s arena.
    fn with_pool(
        shared: Arc<Shared>,
        index: u32,
        local: LocalQueue<RoutineRef>,
        pool: StackPool,
    ) -> WorkerCore {
        WorkerCore {
            index,
            mine: &raw const shared.workers[index as usize],
            thread: Cell::new(std::ptr::null()),
            now: Cell::new(time::now_ns()),
            ticks: clock::Ticks::new(),
            tick: Cell::new(0),
            undated: Cell::new(false),
            blocks: BlockCache::new(),
            wait_reason: Cell::new(WaitReason::Future),
            again: Cell::new(false),
            ids: Cell::new((0, 0)),
            local,
            loot: LocalQueue::new_fifo(),
            home: HomeQueue::new(),
            urgent: HomeQueue::new(),
            levels: levels::LevelLists::new(),
            lifo: Cell::new(null_mut()),
            held: Cell::new(null_mut()),
            lifo_turns: Cell::new(0),
            home_first: Cell::new(false),
            fair_in: Cell::new(1),
            fair_at: Cell::new(0),
            fair_next: Cell::new(0),
            rotate: Cell::new(false),
            look_at: Cell::new(0),
            random: Cell::new(0x9E37_79B9_7F4A_7C15 ^ u64::from(index + 1)),
            naps: nap::Naps::new(),
            habits: steal::Habits::new(),
            stack_retry_at: Cell::new(0),
            pool: RefCell::new(pool),
            exploration: None,
            shared,
        }
    }

    fn enter_thread(&self) {
        self.thread.set(thread_state::address());
        if thread_state::with(|t| t.native_high.load(Relaxed)) == 0 {
            let (low, high) = frames::thread_stack().unwrap_or((0, 0));
            thread_state::with(|t| {
                t.native_low.store(low, Relaxed);
                t.native_high.store(high, Relaxed);
            });
        }
        thread_state::with(|t| {
            t.worker.store(self.index, Relaxed);
            t.runtime.store(self.shared.number, Relaxed);
            t.core.store(std::ptr::from_ref(self).cast_mut(), Relaxed);
        });
        // SAFETY: no arguments, no failure.
        let tid = unsafe { libc::gettid() };
        self.stats().thread_id.store(tid, Relaxed);
        self.shared.end.thread_started();
    }

    fn leave_thread(&self) {
        self.stats().set_state(WorkerState::Parked);
        thread_state::with(|t| {
            t.core.store(null_mut(), Relaxed);
            t.worker.store(NO_WORKER, Relaxed);
        });
        self.blocks.clear(&self.shared.slabs);
    }

    /// What others may touch of this worker.
    #[inline]
    pub(super) fn mine(&self) -> &WorkerShared {
        // SAFETY: an entry of `self.shared.workers`, which stays where it is as long as `shared`.
        unsafe { &*self.mine }
    }

    /// The state of the thread that the worker's loop runs on: what a routine leaves and enters.
    #[inline]
    fn thread(&self) -> &ThreadState {
        // SAFETY: `enter_thread` stored the address of the thread that holds the worker, which is the
        // calling one, and which outlives its loop.
        unsafe { &*self.thread.get() }
    }

    #[inline]
    pub(crate) fn stats(&self) -> &WorkerStats {
        &self.mine().stats
    }

    pub(crate) fn timers(&self) -> &Arc<Timers> {
        &self.mine().timers
    }

    /// A fresh routine number. Workers take them in lots, so that spawning does not contend.
    pub(crate) fn next_id(&self) -> u64 {
        const LOT: u64 = 64;
        let (mut next, mut end) = self.ids.get();
        if next == end {
            next = self.shared.next_id.fetch_add(LOT, Relaxed);
            end = next + LOT;
        }
        self.ids.set((next + 1, end));
        next
    }

    /// Whether the running routine is to give way to those that wait: its turn has lasted longer than a
    /// slice.
    pub(crate) fn must_give_way(&self) -> bool {
        let tunables = &self.shared.tunables;
        let began = self.stats().turn_started.load(Relaxed);
        tunables.preemption() != Preemption::Off
            && time::now_ns().saturating_sub(began) > tunables.slice_ns()
    }

    /// The routine that runs.
    pub(crate) fn running(&self) -> Option<RoutineRef> {
        let (_, routine) = thread_state::running();
        if routine.is_null() {
            return None;
        }
        // SAFETY: the worker stores the routine that it runs, and its block lives through the turn.
        Some(unsafe { RoutineRef::from_ptr(routine) })
    }

    fn run(&self) {
        let mut searching = false;
        loop {
            if let Some(held) = self.held() {
                self.wait_for_held(held);
                self.turn_apart(held);
                continue;
            }
            if let Some(routine) = self.next() {
                if searching {
                    searching = false;
                    self.stop_searching();
                }
                self.turn(routine);
                continue;
            }
            self.date_last_turn();
            if self.shared.may_leave() {
                break;
            }
            if !searching {
                searching = self.shared.idle.start_searching();
            }
            if searching {
                self.stats().set_state(WorkerState::Searching);
                let found = if self.nothing_stayed() {
                    None
                } else {
                    self.search()
                };
                let (began, now) = (self.now.get(), time::now_ns());
                self.set_clock(now);
                stats::add(&self.stats().searching_ns, now - began);
                self.stats().set_state(WorkerState::Running);
                if let Some(routine) = found {
                    searching = false;
                    self.stop_searching();
                    self.turn_apart(routine);
                    continue;
                }
            }
            let nap = if searching { self.next_nap() } else { None };
            searching = self.park(searching, nap);
        }
        if searching {
            self.stop_searching();
        }
        self.shared.wake_all();
    }

    fn stop_searching(&self) {
        // Step E3: the last searcher looks whether there is more, as submitters have relied on.
        if self.shared.idle.stop_searching() == Last::Yes && self.shared.has_stealable_work() {
            self.shared.notify_work();
        }
    }

    /// Sleeps until there is work, or for a nap of so many ns at most (see [`nap`]). Returns whether the
    /// worker counts as searching afterwards.
    fn park(&self, searching: bool, nap: Option<u64>) -> bool {
        let me = self.index as usize;
        let mine = self.mine();
        self.shared.end.note_idle(&self.shared);
        self.stats().set_state(WorkerState::Parked);
        // Another one may have begun a nap first.
        let nap = nap.filter(|_| self.shared.idle.prepare_nap(me));
        if nap.is_none() {
            self.shared.idle.prepare_park(me, searching);
        }
        // Step P3: the last look, after the announcement.
        let mut deadline = mine.timers.next();
        let must_stay = if let Some(held) = self.held() {
            self.held_must_stay(held)
        } else {
            if self.shared.stack_waiters.wait_for_system() {
                deadline = deadline.min(self.stack_retry_at.get());
            }
            let work_is_left = match nap {
                None => self.shared.has_stealable_work(),
                Some(_) => self.work_stays(),
            };
            work_is_left
                || !mine.inbox.is_empty()
                || !self.lifo.get().is_null()
                || self.queue_len() > 0
                || self.shared.may_leave()
        };
        let now = time::now_ns();
        if let Some(length) = nap {
            deadline = deadline.min(now + length);
        }
        deadline = deadline.min(self.pool.borrow().cools_at(now));
        // Whoever has the seat is awake, or sleeps there; so the last one to fall asleep gets it.
        // After the announcement: see `Shared::poller_or_make`.
        let mut seat = None;
        let woken = if must_stay || deadline <= now {
            None
        } else {
            stats::add(&self.stats().parks, 1);
            let timeout = (deadline != NEVER).then(|| Duration::from_nanos(deadline - now));
            seat = self.shared.poller().and_then(|poller| poller.take_seat());
            Some(match &mut seat {
                None => mine.parker.park(timeout),
                Some(seat) => {
                    self.shared.idle.sit_down(me);
                    let woken = mine.parker.park_elsewhere(|| seat.wait(timeout));
                    self.shared.idle.stand_up();
                    woken
                }
            })
        };
        let woken = match woken {
            Some(Woken::TimedOut) | None => {
                if self.shared.idle.cancel_park(me) {
                    Woken::TimedOut
                } else {
                    // Somebody has claimed us: the token is on its way.
                    mine.parker.take_token()
                }
            }
            Some(woken) => woken,
        };
        let to_search = woken == Woken::ToSearch;
        let searches = if nap.is_some() {
            let relied = self.shared.idle.end_nap(to_search);
            self.note_nap(relied, woken == Woken::TimedOut && !must_stay);
            true
        } else if woken == Woken::TimedOut && must_stay && searching {
            // Submitters of what we found may have relied on us.
            self.shared.idle.resume_searching();
            true
        } else {
            to_search
        };
        self.set_clock(time::now_ns());
        self.note_sleep(nap.unwrap_or(0), self.now.get() - now);
        self.stats().set_state(WorkerState::Running);
        if let Some(seat) = seat {
            seat.serve();
        }
        if !searches {
            self.pool.borrow_mut().cool_after_sleep(now, self.now.get());
        }
        searches
    }
}
