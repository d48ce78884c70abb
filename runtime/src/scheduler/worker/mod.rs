//! One worker: the loop that finds a routine ([`find`]), runs one turn of it ([`turn`]) and sleeps when
//! there is none.

mod apart;
mod assigned;
mod clock;
pub(crate) mod deque;
#[cfg(stackless)]
pub(crate) mod driven;
pub(crate) mod explored;
mod find;
mod held;
mod leave;
mod levels;
mod mount;
mod nap;
mod record;
mod steal;
mod turn;

use std::cell::{Cell, RefCell};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crossbeam_deque::Worker as LocalQueue;

use crate::config::Preemption;
use crate::homes;
use crate::routine::slab::BlockCache;
use crate::routine::{Header, RoutineRef};
use crate::scheduler::block::Interrupt;
use crate::scheduler::explore::Exploration;
use crate::scheduler::idle::Last;
use crate::scheduler::lists::Lists;
use crate::scheduler::parker::Woken;
use crate::scheduler::stats::{self, WorkerStats};
pub(crate) use crate::scheduler::threads::section::{with_core, with_core_of};
use crate::scheduler::threads::{Home, Leaves, ThreadSlot};
use crate::scheduler::timers::{NEVER, Timers};
use crate::scheduler::worker::deque::Deque;
use crate::scheduler::{Shared, WorkerShared};
use crate::snapshot::{HandOff, WaitReason, WorkerState};
use crate::stack::StackPool;
use crate::stack::altstack::AltStack;
use crate::thread_state::ThreadState;
use crate::time;
pub(crate) use clock::tick_ns;

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

/// What only the thread that holds the worker touches. On the heap, as long as there are threads. Reached by
/// routines through the thread's slot ([`with_core`]).
pub(crate) struct WorkerCore {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: u32,
    /// [`Shared::workers`]' entry of this worker.
    mine: *const WorkerShared,
    /// State and slot of the thread that holds the worker, and the home that runs there.
    thread: Cell<*const ThreadState>,
    slot: Cell<*const ThreadSlot>,
    home: Cell<*const Home>,
    /// Time at the last turn boundary, or a little before it: see [`clock`]. In nanoseconds since
    /// process start.
    pub(crate) now: Cell<u64>,
    ticks: clock::Ticks,
    /// The kernel's tick at `now`.
    tick: Cell<u64>,
    /// There was a turn since `now`.
    undated: Cell<bool>,
    pub(crate) blocks: BlockCache,
    ids: Cell<(u64, u64)>,
    local: Deque,
    /// Where loot lands, so that it can be counted before others may take it.
    loot: LocalQueue<RoutineRef>,
    levels: levels::LevelRule,
    lifo_turns: Cell<u32>,
    /// Which of home list and deque goes first.
    home_first: Cell<bool>,
    /// Which of the home's list and the worker's own goes first.
    own_first: Cell<bool>,
    /// Turns until the next look round.
    fair_in: Cell<u32>,
    fair_at: Cell<u64>,
    fair_next: Cell<u32>,
    /// The rotation has a turn to give.
    rotate: Cell<bool>,
    /// Its last turn was given to homes that want a worker.
    wanting_last: Cell<bool>,
    /// Urgent turns since it was theirs.
    ahead_of_wanting: Cell<u32>,
    /// When a busy worker looks into the poller again.
    look_at: Cell<u64>,
    random: Cell<u64>,
    naps: nap::Naps,
    habits: steal::Habits,
    /// When a routine that the system refused a stack may try again here.
    stack_retry_at: Cell<u64>,
    pool: RefCell<StackPool>,
    /// A fresh routine that came with the worker to the thread that holds it now, and starts there next, or null.
    first: Cell<*mut Header>,
    /// The travelling home that is ready for the next fresh routine, or [`homes::NONE`].
    clean: Cell<u32>,
    /// Of a deterministic worker.
    pub(crate) exploration: Option<Box<Exploration>>,
}

/// The body of the thread in slot `index` that begins with this worker.
///
/// # Safety
/// 1. Exclusive: nobody holds the worker, and it lives until the thread has ended.
/// 2. Exclusive: no thread has the slot.
pub(crate) unsafe fn main(shared: &Arc<Shared>, index: u32, worker: u32) {
    on_thread(shared, index, |slot| {
        shared.threads.desk.begin(index, worker);
        // Acquire pairs with the release store in `add_worker`.
        let core = shared.cores[worker as usize].load(Acquire);
        // SAFETY: 1 by the caller.
        unsafe { (*core).hold(slot) };
        shared.end.thread_started();
        true
    });
    shared.threads.desk.give_place_back(index);
}

/// The body of a thread that begins without a worker.
pub(crate) fn spare_main(shared: &Arc<Shared>, index: u32) {
    on_thread(shared, index, |slot| {
        let rests = shared.threads.desk.rest(index);
        shared.note_started();
        rests && slot.rest()
    });
    shared.threads.desk.give_place_back(index);
}

/// Whatever a thread does; `begin` says whether it has a worker then.
fn on_thread(shared: &Arc<Shared>, index: u32, begin: impl FnOnce(&ThreadSlot) -> bool) {
    let slot = shared.threads.slot(index);
    // SAFETY: 1: slots live as long as `shared`, which the caller keeps.
    let _altstack = unsafe { AltStack::take(&raw const slot.leash) };
    slot.enter(shared);
    let abort = AbortOnUnwind;
    let mut has_worker = begin(slot);
    while has_worker {
        has_worker = match WorkerCore::run(slot) {
            Left::GaveAway => slot.rest(),
            Left::Over => false,
        };
    }
    std::mem::forget(abort);
    slot.leave();
    shared.threads.note_end();
}

/// Why a thread left its loop.
enum Left {
    /// It has given its worker to another thread.
    GaveAway,
    /// The runtime ends.
    Over,
}

impl Shared {
    /// Makes the worker of this number.
    pub(crate) fn add_worker(self: &Arc<Shared>, index: u32, local: Deque) {
        let core = Box::new(WorkerCore::new(self.clone(), index, local));
        // Release pairs with the acquire loads of whoever gives the worker to a thread.
        self.cores[index as usize].store(Box::into_raw(core), Release);
    }

    /// Drops all workers.
    ///
    /// # Safety
    /// 1. Alive: all threads of the runtime have ended.
    pub(crate) unsafe fn drop_workers(&self) {
        for core in &self.cores {
            // Acquire pairs with the release store in `add_worker`.
            let core = core.swap(null_mut(), Acquire);
            if !core.is_null() {
                // SAFETY: `add_worker` made it, it is dropped once, and by 1 nobody uses it any more.
                let core = unsafe { Box::from_raw(core) };
                core.retire();
            }
        }
    }
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
    pub(crate) fn new(shared: Arc<Shared>, index: u32, local: Deque) -> WorkerCore {
        let pool = StackPool::new(shared.arena.clone());
        WorkerCore::with_pool(shared, index, local, pool)
    }

    /// With stacks of `shared`'s arena.
    fn with_pool(shared: Arc<Shared>, index: u32, local: Deque, pool: StackPool) -> WorkerCore {
        WorkerCore {
            index,
            mine: &raw const shared.workers[index as usize],
            thread: Cell::new(std::ptr::null()),
            slot: Cell::new(std::ptr::null()),
            home: Cell::new(std::ptr::null()),
            now: Cell::new(time::now_ns()),
            ticks: clock::Ticks::new(),
            tick: Cell::new(0),
            undated: Cell::new(false),
            blocks: BlockCache::new(),
            ids: Cell::new((0, 0)),
            local,
            loot: LocalQueue::new_fifo(),
            levels: levels::LevelRule::new(),
            lifo_turns: Cell::new(0),
            home_first: Cell::new(false),
            own_first: Cell::new(false),
            fair_in: Cell::new(1),
            fair_at: Cell::new(0),
            fair_next: Cell::new(0),
            rotate: Cell::new(false),
            wanting_last: Cell::new(false),
            ahead_of_wanting: Cell::new(0),
            look_at: Cell::new(0),
            random: Cell::new(0x9E37_79B9_7F4A_7C15 ^ u64::from(index + 1)),
            naps: nap::Naps::new(),
            habits: steal::Habits::new(),
            stack_retry_at: Cell::new(0),
            pool: RefCell::new(pool),
            first: Cell::new(null_mut()),
            clean: Cell::new(homes::NONE),
            exploration: None,
            shared,
        }
    }

    /// The calling thread, which is `slot`'s and in scheduler context, holds this worker from now on.
    fn hold(&self, slot: &ThreadSlot) {
        self.bind(slot);
        self.set_clock(time::now_ns());
        self.stats().set_state(WorkerState::Running);
        slot.hold(std::ptr::from_ref(self));
    }

    /// Makes the worker ready for the thread in `slot`. By who owns it.
    fn bind(&self, slot: &ThreadSlot) {
        let home = self.shared.threads.home(slot.index);
        self.thread.set(slot.state());
        self.slot.set(slot);
        self.home.set(home);
        let mine = self.mine();
        mine.home.store(home.index, Relaxed);
        mine.stats
            .thread_id
            .store(slot.leash.tid.load(Relaxed), Relaxed);
    }

    /// The same where that is another thread than the caller, perhaps in the middle of a turn.
    pub(crate) fn bind_for_other(&self, slot: &ThreadSlot) {
        self.bind(slot);
        let now = time::now_ns();
        self.set_clock(now);
        self.stats().set_state(WorkerState::Running);
        let routine = slot.routine.load(Relaxed);
        if !routine.is_null() {
            // SAFETY: its turn does not end before the thread has a worker, and the block lives through it.
            self.begin_rest_of_turn(slot, unsafe { RoutineRef::from_ptr(routine) });
        }
    }

    /// What a worker that will not run again has to give back.
    pub(crate) fn retire(&self) {
        self.give_identity_back();
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

    /// The thread that holds the worker.
    #[inline]
    fn slot(&self) -> &ThreadSlot {
        // SAFETY: as in `thread`; slots live as long as `shared`.
        unsafe { &*self.slot.get() }
    }

    /// The home that runs on this worker.
    #[inline]
    pub(crate) fn home(&self) -> &Home {
        // SAFETY: as in `slot`.
        unsafe { &*self.home.get() }
    }

    /// Common routines that this worker alone is to run.
    #[inline]
    fn own(&self) -> &Lists {
        // SAFETY: 1: the calling thread holds the worker.
        unsafe { self.mine().own.get() }
    }

    /// The queues of that home.
    #[inline]
    fn bound(&self) -> &Lists {
        // SAFETY: 1: the calling thread holds the worker that runs the home.
        unsafe { self.home().lists() }
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
        // Without a stack of its own a turn cannot stop in the middle.
        !cfg!(stackless)
            && tunables.preemption() != Preemption::Off
            && time::now_ns().saturating_sub(began) > tunables.slice_ns()
    }

    /// The routine that runs.
    pub(crate) fn running(&self) -> Option<RoutineRef> {
        self.slot().running()
    }

    /// The loop of a thread that holds a worker, until it gives that away or the runtime ends.
    fn run(slot: &ThreadSlot) -> Left {
        // SAFETY: 1: we are this thread, and it holds a worker. A turn says which one it holds afterwards.
        let mut core = unsafe { slot.held_core() };
        let mut searching = false;
        core.serve_all_deadlines();
        if let Some(first) = core.take_first() {
            let Some(next) = core.turn_apart(slot, first) else {
                return Left::GaveAway;
            };
            core = next;
        }
        loop {
            if let Some(held) = core.held() {
                if !core.wait_for_held(slot, held) {
                    return Left::GaveAway;
                }
                let Some(next) = core.turn_apart(slot, held) else {
                    return Left::GaveAway;
                };
                core = next;
                continue;
            }
            if let Some(routine) = core.next() {
                if searching {
                    searching = false;
                    core.stop_searching();
                }
                let Some(next) = core.turn(slot, routine) else {
                    return Left::GaveAway;
                };
                core = next;
                continue;
            }
            core.date_last_turn();
            if core.shared.may_leave() {
                break;
            }
            if core.leave_service(slot, searching) || core.serve_wanting(slot, searching) {
                return Left::GaveAway;
            }
            if !searching {
                let active = core.shared.roster.active();
                searching = core.shared.idle.start_searching(active);
            }
            if searching {
                let found = core.search_timed();
                if let Some(routine) = found {
                    searching = false;
                    core.stop_searching();
                    let Some(next) = core.turn_apart(slot, routine) else {
                        return Left::GaveAway;
                    };
                    core = next;
                    continue;
                }
            }
            let nap = if searching { core.next_nap() } else { None };
            searching = core.park(searching, nap);
        }
        if searching {
            core.stop_searching();
        }
        core.stats().set_state(WorkerState::Parked);
        core.shared.wake_all();
        Left::Over
    }

    /// Gives this worker to the home that has wanted one for longest. False if none does.
    ///
    /// The worker goes to that home's thread, and this one rests until it is given another. Homes that travel
    /// never want a worker: see [`crate::homes`].
    fn serve_wanting(&self, slot: &ThreadSlot, searching: bool) -> bool {
        let desk = &self.shared.threads.desk;
        if desk.wanting() == 0 {
            return false;
        }
        let home = self.home();
        let leaves = self.leaves_behind();
        let Some(to) = desk.hand_over(home.index, self.index, leaves, || slot.let_go()) else {
            return false;
        };
        // From here on this thread may be given another worker; this one is ours until it is given on.
        if searching {
            self.stop_searching();
        }
        if leaves == Leaves::Work {
            self.shared.notify_work();
        } else {
            self.shared.look_again(home.index);
        }
        // SAFETY: 1: it was ours; 2: the desk has named the thread.
        unsafe {
            let core = std::ptr::from_ref(self).cast_mut();
            self.shared.give(core, to, HandOff::Direct);
        }
        true
    }

    /// A search, and how long it took.
    fn search_timed(&self) -> Option<RoutineRef> {
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
        found
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
        let orphaned = self.shared.next_orphaned(me);
        let mut deadline = mine.timers.next().min(orphaned).min(self.end_idle_homes());
        let must_stay = self.must_leave()
            || if let Some(held) = self.held() {
                self.held_must_stay(held)
            } else {
                if self.shared.stack_waiters.wait_for_system() {
                    deadline = deadline.min(self.stack_retry_at.get());
                }
                let work_is_left = match nap {
                    None => self.shared.has_stealable_work(),
                    Some(_) => self.work_stays(),
                };
                work_is_left || self.has_own_work() || self.shared.may_leave()
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
            let now = match nap {
                None => self.spin_ahead_of_sleep(now, deadline),
                Some(_) => now,
            };
            let timeout =
                (deadline != NEVER).then(|| Duration::from_nanos(deadline.saturating_sub(now)));
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
        self.shared.monitor.worker_woke();
        self.set_clock(time::now_ns());
        self.note_sleep(nap.unwrap_or(0), self.now.get() - now, woken);
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
