//! One worker: the loop that finds a routine, runs one turn of it and puts it where it belongs.

use std::cell::{Cell, RefCell};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use crossbeam_deque::{Steal, Worker as LocalQueue};

use crate::memory;
use crate::routine::body::TurnEnd;
use crate::routine::context::{self, StackPart};
use crate::routine::life::Wake;
use crate::routine::slab::BlockCache;
use crate::routine::{Header, NOBODY, RoutineRef};
use crate::scheduler::block::{Commit, Interrupt};
use crate::scheduler::home_queue::HomeQueue;
use crate::scheduler::idle::Last;
use crate::scheduler::parker::Woken;
use crate::scheduler::stats::{self, WorkerStats};
use crate::scheduler::timers::{NEVER, Timers};
use crate::scheduler::{Shared, ready};
use crate::snapshot::{RoutineKind, Source, StealRecord, TurnRecord, WaitReason, WorkerState};
use crate::stack::{OutOfStacks, StackPool, overflow};
use crate::thread_state::{self, NO_WORKER};
use crate::time;
use crate::{WorkerId, WorkloadId};

/// Every so many turns, and whenever this much time has passed, a worker looks at the sources it
/// would otherwise reach last. 61 is Go's number, a prime, so that it does not fall into step with
/// a program's own rounds.
const FAIR_TURNS: u32 = 61;
const FAIR_NS: u64 = 1_000_000;

/// Turns in a row that may come from the LIFO slot while others wait: two routines that ready each
/// other would otherwise keep a worker for themselves.
const LIFO_TURNS_MAX: u32 = 16;

/// Most routines taken from the injector or from a victim at once; `crossbeam-deque` moves no more.
const BATCH_MAX: usize = 32;

/// Rounds over all victims before a searching worker gives up.
const SEARCH_ROUNDS: usize = 4;

/// What the running routine asks its worker to do after the switch.
#[derive(Clone, Copy)]
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
    /// Time at the last turn boundary, in nanoseconds since process start.
    pub(crate) now: Cell<u64>,
    pub(crate) post: Cell<Option<Post>>,
    /// The stack of the routine that runs.
    pub(crate) current_part: Cell<*mut StackPart>,
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
    lifo: Cell<*mut Header>,
    lifo_turns: Cell<u32>,
    turns: Cell<u32>,
    fair_at: Cell<u64>,
    fair_next: Cell<u32>,
    random: Cell<u64>,
    pool: RefCell<StackPool>,
}

/// Runs `f` on the core of the worker that this thread holds. `f` must not suspend.
pub(crate) fn with_core<R>(f: impl FnOnce(Option<&WorkerCore>) -> R) -> R {
    let core = thread_state::with(|t| t.core.load(Relaxed));
    // SAFETY: the worker's thread stores the address of its own core, which lives on its stack
    // until it has cleared the address, and only that thread reads the address here.
    f(unsafe { core.as_ref() })
}

/// As [`with_core`], but only if it is a worker of `shared`.
pub(crate) fn with_core_of<R>(shared: &Shared, f: impl FnOnce(Option<&WorkerCore>) -> R) -> R {
    with_core(|core| f(core.filter(|core| std::ptr::eq(&*core.shared, shared))))
}

/// The body of a worker's thread.
pub(crate) fn main(shared: Arc<Shared>, index: u32, local: LocalQueue<RoutineRef>) {
    let core = WorkerCore::new(shared, index, local);
    let _altstack = overflow::thread_altstack();
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
        WorkerCore {
            index,
            now: Cell::new(time::now_ns()),
            post: Cell::new(None),
            current_part: Cell::new(null_mut()),
            blocks: BlockCache::new(),
            wait_reason: Cell::new(WaitReason::Future),
            again: Cell::new(false),
            ids: Cell::new((0, 0)),
            local,
            loot: LocalQueue::new_fifo(),
            home: HomeQueue::new(),
            urgent: HomeQueue::new(),
            lifo: Cell::new(null_mut()),
            lifo_turns: Cell::new(0),
            turns: Cell::new(0),
            fair_at: Cell::new(0),
            fair_next: Cell::new(0),
            random: Cell::new(0x9E37_79B9_7F4A_7C15 ^ u64::from(index + 1)),
            pool: RefCell::new(pool),
            shared,
        }
    }

    fn enter_thread(&self) {
        let mine = &self.shared.workers[self.index as usize];
        let (low, high) = native_stack();
        thread_state::with(|t| {
            t.worker.store(self.index, Relaxed);
            t.native_low.store(low, Relaxed);
            t.native_high.store(high, Relaxed);
            t.core.store(std::ptr::from_ref(self).cast_mut(), Relaxed);
        });
        // SAFETY: no arguments, no failure.
        let tid = unsafe { libc::gettid() };
        mine.stats.thread_id.store(tid, Relaxed);
        self.shared.end.thread_started();
    }

    fn leave_thread(&self) {
        let mine = &self.shared.workers[self.index as usize];
        mine.stats.set_state(WorkerState::Parked);
        thread_state::with(|t| {
            t.core.store(null_mut(), Relaxed);
            t.worker.store(NO_WORKER, Relaxed);
        });
        self.blocks.clear(&self.shared.slabs);
    }

    pub(crate) fn stats(&self) -> &WorkerStats {
        &self.shared.workers[self.index as usize].stats
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.shared.workers[self.index as usize].timers
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

    // ---- queues ----

    /// Adds a routine that any worker may run.
    pub(crate) fn push_local(&self, routine: RoutineRef, source: Source) {
        let source = if source == Source::Timer {
            source
        } else {
            Source::Local
        };
        routine.header().set_source(source);
        self.local.push(routine);
        self.shared.notify_work();
    }

    /// Adds a bound routine that the running one has readied: it runs next.
    pub(crate) fn push_lifo(&self, routine: RoutineRef) {
        routine.header().set_source(Source::Lifo);
        let displaced = self.lifo.replace(routine.as_ptr());
        if displaced.is_null() {
            self.stats().lifo.store(1, Relaxed);
        } else {
            // SAFETY: the slot owned it, so its block is alive.
            self.push_back(unsafe { RoutineRef::from_ptr(displaced) });
        }
    }

    /// Adds a routine before all that are in the home's queue for another reason.
    pub(crate) fn push_urgent(&self, routine: RoutineRef, source: Source) {
        routine.header().set_source(source);
        self.urgent.push_back(routine);
        stats::add(&self.stats().ring, 1);
    }

    fn push_back(&self, routine: RoutineRef) {
        routine.header().set_source(Source::Inbox);
        self.home.push_back(routine);
        stats::add(&self.stats().ring, 1);
    }

    /// Routines in the home's queue.
    pub(crate) fn queue_len(&self) -> u64 {
        self.stats().ring.load(Relaxed)
    }

    /// Whether somebody else waits for this worker.
    pub(crate) fn others_wait(&self) -> bool {
        !self.lifo.get().is_null()
            || self.queue_len() > 0
            || !self.local.is_empty()
            || !self.inbox_is_empty()
            || !self.shared.injector.is_empty()
            || self.timers().next() <= self.now.get()
    }

    fn inbox_is_empty(&self) -> bool {
        self.shared.workers[self.index as usize].inbox.is_empty()
    }

    fn drain_inbox(&self) {
        let inbox = &self.shared.workers[self.index as usize].inbox;
        if !inbox.is_empty() {
            inbox.drain(|routine| self.push_back(routine));
        }
    }

    // ---- the loop ----

    fn run(&self) {
        let mut searching = false;
        loop {
            if let Some(routine) = self.next() {
                if searching {
                    searching = false;
                    self.stop_searching();
                }
                self.turn(routine);
                continue;
            }
            if self.shared.end.is_stopping() {
                break;
            }
            if !searching {
                searching = self.shared.idle.start_searching();
            }
            if searching {
                self.stats().set_state(WorkerState::Searching);
                let found = self.search();
                let began = self.now.replace(time::now_ns());
                stats::add(&self.stats().searching_ns, self.now.get() - began);
                if let Some(routine) = found {
                    searching = false;
                    self.stop_searching();
                    self.turn(routine);
                    continue;
                }
            }
            searching = self.park(searching);
        }
        if searching {
            self.stop_searching();
        }
    }

    fn stop_searching(&self) {
        // The last searcher looks whether there is more: submitters have relied on it.
        if self.shared.idle.stop_searching() == Last::Yes && self.shared.has_stealable_work() {
            self.shared.notify_work();
        }
    }

    /// The next routine without asking other workers, in the order of DESIGN: LIFO slot, home,
    /// local deque, timers due, injector; now and then in another order.
    fn next(&self) -> Option<RoutineRef> {
        let turns = self.turns.get().wrapping_add(1);
        self.turns.set(turns);
        self.drain_inbox();
        if turns.is_multiple_of(FAIR_TURNS) || self.now.get() >= self.fair_at.get() {
            self.fair_at.set(self.now.get() + FAIR_NS);
            if let Some(routine) = self.next_fair() {
                return Some(routine);
            }
        }
        // Home and deque take turns: a routine that yields while it waits for others would come
        // before them each time if its home always went first.
        let (first, second) = if turns.is_multiple_of(2) {
            (
                WorkerCore::pop_home as fn(&Self) -> _,
                WorkerCore::pop_local as fn(&Self) -> _,
            )
        } else {
            (
                WorkerCore::pop_local as fn(&Self) -> _,
                WorkerCore::pop_home as fn(&Self) -> _,
            )
        };
        self.pop_lifo()
            .or_else(|| first(self))
            .or_else(|| second(self))
            .or_else(|| self.serve_timers().then(|| self.pop_home()).flatten())
            .or_else(|| self.pop_local())
            .or_else(|| self.take_injected())
    }

    /// One of the sources that others could starve, in rotation.
    fn next_fair(&self) -> Option<RoutineRef> {
        self.serve_timers();
        let turn = self.fair_next.get();
        self.fair_next.set(turn.wrapping_add(1));
        match turn % 3 {
            0 => self.take_injected(),
            1 => self.local.pop(),
            _ => self.pop_unhurried(),
        }
    }

    fn pop_lifo(&self) -> Option<RoutineRef> {
        if self.lifo.get().is_null() {
            self.lifo_turns.set(0);
            return None;
        }
        // SAFETY: the slot owns it, so its block is alive.
        let routine = unsafe { RoutineRef::from_ptr(self.lifo.replace(null_mut())) };
        self.stats().lifo.store(0, Relaxed);
        let turns = self.lifo_turns.get() + 1;
        if turns > LIFO_TURNS_MAX {
            self.lifo_turns.set(0);
            self.push_back(routine);
            return None;
        }
        self.lifo_turns.set(turns);
        Some(routine)
    }

    fn pop_home(&self) -> Option<RoutineRef> {
        let routine = self.urgent.pop_front().or_else(|| self.home.pop_front())?;
        let ring = &self.stats().ring;
        ring.store(ring.load(Relaxed) - 1, Relaxed);
        Some(routine)
    }

    fn pop_local(&self) -> Option<RoutineRef> {
        self.local.pop()
    }

    /// The home's queue without those that go before it.
    fn pop_unhurried(&self) -> Option<RoutineRef> {
        let routine = self.home.pop_front()?;
        let ring = &self.stats().ring;
        ring.store(ring.load(Relaxed) - 1, Relaxed);
        Some(routine)
    }

    fn serve_timers(&self) -> bool {
        let next = self.timers().next();
        if next == NEVER {
            return false;
        }
        let now = time::now_ns();
        next <= now && self.timers().serve(now) > 0
    }

    fn take_injected(&self) -> Option<RoutineRef> {
        let share = self.shared.injector.len() / self.shared.workers.len() + 1;
        loop {
            match self
                .shared
                .injector
                .steal_batch_with_limit_and_pop(&self.loot, share.min(BATCH_MAX))
            {
                Steal::Success(first) => {
                    first.header().set_source(Source::Injector);
                    self.keep_loot(Source::Injector);
                    return Some(first);
                }
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// Moves what was taken besides the first one into the local deque. Returns how many.
    fn keep_loot(&self, source: Source) -> u32 {
        let mut moved = 0;
        while let Some(routine) = self.loot.pop() {
            routine.header().set_source(source);
            if source == Source::Stolen {
                count_stolen(routine);
            }
            self.local.push(routine);
            moved += 1;
        }
        moved
    }

    /// Looks at every place where there could be work for this worker.
    fn search(&self) -> Option<RoutineRef> {
        for _ in 0..SEARCH_ROUNDS {
            if let Some(routine) = self.take_injected().or_else(|| self.steal()) {
                return Some(routine);
            }
            self.drain_inbox();
            self.serve_timers();
            if let Some(routine) = self.pop_home().or_else(|| self.local.pop()) {
                return Some(routine);
            }
            std::hint::spin_loop();
        }
        None
    }

    /// Takes half of a victim's deque; victims from a random one on.
    fn steal(&self) -> Option<RoutineRef> {
        let workers = &self.shared.workers;
        let count = workers.len();
        let first = self.next_random() as usize % count;
        for victim in (first..count).chain(0..first) {
            if victim == self.index as usize {
                continue;
            }
            if let Some(routine) = self.steal_from(victim) {
                return Some(routine);
            }
        }
        None
    }

    fn steal_from(&self, victim: usize) -> Option<RoutineRef> {
        let stealer = &self.shared.workers[victim].stealer;
        let stats = self.stats();
        loop {
            stats::add(&stats.steal_attempts, 1);
            let half = stealer.len().div_ceil(2).clamp(1, BATCH_MAX);
            match stealer.steal_batch_with_limit_and_pop(&self.loot, half) {
                Steal::Success(first) => {
                    first.header().set_source(Source::Stolen);
                    count_stolen(first);
                    let moved = 1 + self.keep_loot(Source::Stolen);
                    stats::add(&stats.steals, 1);
                    stats::add(&stats.stolen_from[victim], u64::from(moved));
                    self.record_steal(victim, moved, first);
                    return Some(first);
                }
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    fn record_steal(&self, victim: usize, moved: u32, first: RoutineRef) {
        if self.shared.record.load(Relaxed) {
            self.shared.workers[self.index as usize]
                .recorder
                .steal(&StealRecord {
                    at_ns: time::now_ns(),
                    thief: WorkerId::new(self.index),
                    victim: WorkerId::new(victim as u32),
                    moved,
                    first: first.header().routine_id(),
                });
        }
    }

    /// Xorshift (Marsaglia 2003): victims need no better.
    fn next_random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }

    /// Sleeps until there is work. Returns whether the worker counts as searching afterwards.
    fn park(&self, searching: bool) -> bool {
        let me = self.index as usize;
        let mine = &self.shared.workers[me];
        self.shared.end.note_idle(&self.shared);
        self.stats().set_state(WorkerState::Parked);
        self.shared.idle.prepare_park(me, searching);
        // Step P3: the last look, after the announcement.
        let deadline = mine.timers.next();
        let must_stay = self.shared.has_stealable_work()
            || !mine.inbox.is_empty()
            || self.shared.end.is_stopping();
        let now = time::now_ns();
        let woken = if must_stay || deadline <= now {
            None
        } else {
            stats::add(&self.stats().parks, 1);
            let timeout = (deadline != NEVER).then(|| Duration::from_nanos(deadline - now));
            Some(mine.parker.park(timeout))
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
        self.now.set(time::now_ns());
        self.stats().set_state(WorkerState::Running);
        woken == Woken::ToSearch
    }

    // ---- one turn ----

    fn turn(&self, routine: RoutineRef) {
        let header = routine.header();
        let Some(part) = self.stack_for(routine) else {
            return;
        };
        let first = header.life.start_turn();
        let source = header.source();
        let began = self.now.get();
        let stats = self.stats();
        if first {
            stats::add(&stats.started, 1);
        }
        stats.set_state(WorkerState::Running);
        stats.count_turn(source);
        header.note_turn(self.index, began);
        if let Some(workload) = header.workload() {
            workload.turns.fetch_add(1, Relaxed);
        }
        self.enter_routine(routine, part, began);
        // SAFETY: we took the routine from a queue, so we run it; if it is bound, its home is this
        // worker's thread, because only that home's queues hold it.
        let end = unsafe { context::resume(part) };
        self.leave_routine();
        let now = time::now_ns();
        self.now.set(now);
        stats::add(&stats.busy_ns, now - began);
        // The id and site are read before the routine is given away.
        if self.shared.record.load(Relaxed) {
            self.shared.workers[self.index as usize]
                .recorder
                .turn(&TurnRecord {
                    start_ns: began,
                    length_ns: now - began,
                    routine: header.routine_id(),
                    site: header.site(),
                    source,
                    workload: header.workload().map(|w| w.id),
                });
        }
        match end {
            Some(TurnEnd::Ended) => self.after_end(routine, part),
            Some(TurnEnd::Pending) => self.after_pending(routine, part),
            None => self.after_suspension(routine, part),
        }
    }

    /// The routine's stack; a fresh one for a fresh turn. `None` if there is none to be had: the
    /// routine is put among those that wait for one.
    fn stack_for(&self, routine: RoutineRef) -> Option<*mut StackPart> {
        let header = routine.header();
        let part = header.stack.load(Relaxed);
        if !part.is_null() {
            return Some(part);
        }
        let taken = self.pool.borrow_mut().take(header.class());
        match taken {
            Ok(slot) => {
                // SAFETY: we took the routine from a queue, so we run it, and it has no stack.
                let part = unsafe { context::prepare(routine, slot) };
                header.home.store(self.index, Relaxed);
                header.stack.store(part, Relaxed);
                Some(part)
            }
            Err(why) => {
                header.set_awaiting_stack(true);
                self.shared.stack_waiters.push(routine);
                // A stack may have come back between our look and the push. (When the kernel
                // refused, only a stack that comes back can help.)
                if why == OutOfStacks::Limit && self.shared.arena.has_room() {
                    self.revive_stack_waiter();
                }
                None
            }
        }
    }

    /// A stack is free: whoever has waited longest may try again.
    fn revive_stack_waiter(&self) {
        if let Some(routine) = self.shared.stack_waiters.pop() {
            routine.header().set_awaiting_stack(false);
            self.push_local(routine, Source::Local);
        }
    }

    fn enter_routine(&self, routine: RoutineRef, part: *mut StackPart, began: u64) {
        let header = routine.header();
        self.post.set(None);
        self.current_part.set(part);
        // SAFETY: we run the routine.
        let (low, high) = unsafe { context::bounds(part) };
        thread_state::with(|t| {
            t.workload.store(header.workload.load(Relaxed), Relaxed);
            t.stack_low.store(low, Relaxed);
            t.stack_high.store(high, Relaxed);
            t.routine.store(routine.as_ptr(), Relaxed);
        });
        let stats = self.stats();
        stats.turn_started.store(began, Relaxed);
        let site = std::ptr::from_ref(header.site()).cast_mut();
        stats.turn_site.store(site, Relaxed);
        stats.turn_source.store(header.source() as u8, Relaxed);
        stats.turn_workload.store(header.workload_id(), Relaxed);
        // Release pairs with the acquire load of the snapshot: who sees the routine sees its start.
        stats.routine.store(header.id.load(Relaxed), Release);
    }

    fn leave_routine(&self) {
        thread_state::with(|t| {
            memory::settle(t);
            t.routine.store(null_mut(), Relaxed);
            t.stack_low.store(0, Relaxed);
            t.stack_high.store(0, Relaxed);
            t.workload.store(null_mut(), Relaxed);
        });
        self.current_part.set(null_mut());
        self.stats().routine.store(0, Relaxed);
    }

    fn take_stack_back(&self, routine: RoutineRef, part: *mut StackPart) {
        let header = routine.header();
        header.stack.store(null_mut(), Relaxed);
        header.home.store(NOBODY, Relaxed);
        header.depth.store(0, Relaxed);
        // SAFETY: we ran the routine, and its body has returned.
        let (slot, lowest) = unsafe { context::dismantle(part) };
        // SAFETY: the body has returned, so nothing on the slot is used any more; it came from this
        // arena.
        unsafe { self.pool.borrow_mut().give_back(slot, lowest) };
        if self.shared.stack_waiters.len.load(Relaxed) > 0 {
            self.revive_stack_waiter();
        }
    }

    fn after_end(&self, routine: RoutineRef, part: *mut StackPart) {
        self.take_stack_back(routine, part);
        routine.header().life.end();
        routine.release();
    }

    fn after_pending(&self, routine: RoutineRef, part: *mut StackPart) {
        self.take_stack_back(routine, part);
        let header = routine.header();
        let why = self.wait_reason.replace(WaitReason::Future);
        if self.again.replace(false) {
            self.count_yield(header);
            header.life.requeue();
            self.push_local(routine, Source::Local);
            return;
        }
        header.touch(self.now.get());
        self.stats().count_block(why);
        let ticket = header.life.block(why);
        // From here on a waker may have it; only the exchange inside `wake` gives it back to us.
        if header.life.has_notice()
            && let Wake::Won(why) = header.life.wake(ticket)
        {
            self.stats().count_ready(why);
            self.push_local(routine, Source::Local);
        }
    }

    fn after_suspension(&self, routine: RoutineRef, part: *mut StackPart) {
        let header = routine.header();
        // SAFETY: we run the routine.
        let depth = unsafe { context::facts(part) }.depth;
        if let Some((from, to)) = context::observe_depth(routine, depth) {
            self.stats().count_growth(from, to);
        }
        match self.post.take().expect("a routine suspends with a wish") {
            Post::Yield => {
                self.count_yield(header);
                header.touch(self.now.get());
                header.life.requeue();
                self.push_back(routine);
            }
            Post::Block {
                why,
                interrupt,
                commit,
            } => {
                header.touch(self.now.get());
                self.stats().count_block(why);
                let ticket = header.life.block(why);
                // SAFETY: the routine's frame lives until it is resumed, which only this thread
                // can do; and it is called once.
                let commit: Commit<'_> = unsafe { &mut *commit };
                let waits = commit(routine, ticket);
                let stop = !waits || (interrupt == Interrupt::ByCancel && header.life.has_cancel());
                if stop {
                    ready::ready(routine, ticket, Source::Inbox);
                }
            }
        }
    }

    fn count_yield(&self, header: &Header) {
        stats::add(&self.stats().yields, 1);
        if let Some(workload) = header.workload() {
            workload.yields.fetch_add(1, Relaxed);
        }
    }
}

fn count_stolen(routine: RoutineRef) {
    if let Some(workload) = routine.header().workload() {
        workload.stolen.fetch_add(1, Relaxed);
    }
}

/// Bounds of this thread's own stack, zeros if the system does not tell.
fn native_stack() -> (usize, usize) {
    // SAFETY: `attr` is initialised by the first call before it is read, and destroyed once.
    unsafe {
        let mut attr = std::mem::zeroed::<libc::pthread_attr_t>();
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attr) != 0 {
            return (0, 0);
        }
        let mut low = null_mut();
        let mut size = 0;
        let got = libc::pthread_attr_getstack(&raw const attr, &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attr);
        if got == 0 {
            (low as usize, low as usize + size)
        } else {
            (0, 0)
        }
    }
}

impl WorkerCore {
    /// Whether the turn has lasted longer than `slice`.
    pub(crate) fn slice_is_over(&self, slice: Duration) -> bool {
        let began = self.stats().turn_started.load(Relaxed);
        time::now_ns().saturating_sub(began) > slice.as_nanos() as u64
    }

    /// Number, kind and workload of the routine that runs.
    pub(crate) fn running(&self) -> Option<(RoutineRef, RoutineKind, Option<WorkloadId>)> {
        let routine = thread_state::with(|t| t.routine.load(Relaxed));
        if routine.is_null() {
            return None;
        }
        // SAFETY: the worker stores the routine that it runs, and its block lives through the turn.
        let routine = unsafe { RoutineRef::from_ptr(routine) };
        let header = routine.header();
        Some((routine, header.kind(), header.workload().map(|w| w.id)))
    }
}
