//! Where a worker finds its next routine: its own queues, the injector, other workers' deques ([`steal`]).
//!
//! [`steal`]: super::steal

use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;

use crossbeam_deque::Steal;

use super::WorkerCore;
use crate::routine::{RoutineRef, context};
use crate::scheduler::lists::Lists;
use crate::scheduler::stats;
use crate::scheduler::strategy::choose::BATCH_MAX;
use crate::scheduler::timers::NEVER;
use crate::snapshot::Source;
use crate::time;

/// Every so many turns, and whenever this much time has passed, a worker looks at the sources it
/// would otherwise reach last. 61 is Go's number, a prime, so that it does not fall into step with
/// a program's own rounds.
pub(super) const FAIR_TURNS: u32 = 61;
pub(super) const FAIR_NS: u64 = 1_000_000;

/// Turns in a row that may come from the LIFO slot while others wait: two routines that ready each
/// other would otherwise keep a worker for themselves. One, while fresh ones wait that were spawned here:
/// they may be the partners of those that run, and are at home here as long as no thief has taken them.
const LIFO_TURNS_MAX: u32 = 16;

/// Time between a busy worker's looks into the poller. A look is a system call, of about 0.3 us.
const LOOK_NS: u64 = 50_000;

/// Time between a worker's tries for a stack that the system refused: no event tells when it would
/// not. A hundred tries a second cost nothing beside the lack of memory that they wait out.
const STACK_RETRY_NS: u64 = 10_000_000;

impl WorkerCore {
    /// Adds a routine that any worker may run.
    pub(crate) fn push_local(&self, routine: RoutineRef, source: Source) {
        let source = if source.is_urgent() {
            source
        } else {
            Source::Local
        };
        self.push_common(routine, source);
        if self.shared.roster.span() > 1 {
            // Step S2.
            fence(SeqCst);
            self.shared
                .notify_work_after_fence(|| self.is_alone(routine));
        }
    }

    /// Whether this worker has no other common work than `routine`, which it was given last.
    fn is_alone(&self, routine: RoutineRef) -> bool {
        routine.header().is_normal() && self.local.len() <= 1
    }

    #[inline]
    fn push_common(&self, routine: RoutineRef, source: Source) {
        routine.header().set_source(source);
        if routine.header().is_normal() {
            self.local.push(routine);
        } else {
            self.shared.levels.push(routine);
        }
    }

    /// As [`push_local`](Self::push_local) for a fresh routine, between whose push and the wake of another
    /// worker `look` runs, after a sequentially consistent fence.
    pub(crate) fn push_fresh(&self, routine: RoutineRef, look: impl FnOnce()) {
        if routine.header().is_normal() {
            routine.header().set_source(Source::Local);
            self.local.push_fresh(routine);
        } else {
            self.push_common(routine, Source::Local);
        }
        // Step S2, and the caller's own.
        fence(SeqCst);
        look();
        if self.shared.roster.span() > 1 {
            self.shared
                .notify_work_after_fence(|| self.is_alone(routine));
        }
    }

    /// Adds what a key brought to this worker.
    pub(super) fn take_in(&self, routine: RoutineRef) {
        routine.header().forget_key();
        stats::add(&self.stats().keyed, 1);
        routine.header().set_source(Source::Inbox);
        self.own().push(routine);
    }

    /// Adds what others have readied for the home.
    fn take_in_bound(&self, routine: RoutineRef) {
        match routine.header().source() {
            source if source.is_urgent() => self.push_urgent_bound(routine, source),
            _ => self.push_back(routine),
        }
    }

    /// Adds a bound routine that the running one has readied: it runs next.
    pub(crate) fn push_lifo(&self, routine: RoutineRef) {
        if !routine.header().is_normal() {
            return self.push_back(routine);
        }
        routine.header().set_source(Source::Lifo);
        let slot = &self.home().lifo;
        let displaced = slot.load(Relaxed);
        slot.store(routine.as_ptr(), Relaxed);
        if !displaced.is_null() {
            // SAFETY: the slot owned it, so its block is alive.
            self.push_back(unsafe { RoutineRef::from_ptr(displaced) });
        }
    }

    /// Adds a bound routine before all that are in the home's queue for another reason.
    pub(crate) fn push_urgent_bound(&self, routine: RoutineRef, source: Source) {
        // It will run soon, and what it needs first is cold.
        context::prefetch_part(routine.header().stack.load(Relaxed));
        routine.header().set_source(source);
        self.bound().push_urgent(routine);
    }

    /// The same for a common routine, which this worker will run then.
    pub(crate) fn push_urgent_common(&self, routine: RoutineRef, source: Source) {
        routine.header().set_source(source);
        self.own().push_urgent(routine);
    }

    /// Adds a bound routine at the end.
    pub(super) fn push_back(&self, routine: RoutineRef) {
        routine.header().set_source(Source::Inbox);
        self.bound().push(routine);
    }

    /// Routines that only this worker is to run, bound or not, but for the one in the LIFO slot.
    pub(crate) fn queue_len(&self) -> u64 {
        self.bound().len() + self.own().len()
    }

    /// Whether nothing waits in the home.
    pub(super) fn home_is_empty(&self) -> bool {
        self.home().queued() == 0
    }

    /// Whether there is something that only this worker is to run.
    pub(super) fn has_own_work(&self) -> bool {
        !self.home().lifo.load(Relaxed).is_null() || self.queue_len() > 0 || !self.inbox_is_empty()
    }

    /// Whether somebody else waits for this worker.
    pub(crate) fn others_wait(&self) -> bool {
        self.others_are_ready()
            || self.timers().next() <= self.now.get()
            || self.shared.orphans_are_due(self.now.get())
            || self.sockets_wait()
    }

    /// Whether a routine lies where this worker would find it without asking anybody.
    #[inline]
    fn others_are_ready(&self) -> bool {
        self.has_own_work()
            || self.shared.threads.desk.wanting() > 0
            || !self.local.is_empty()
            || !self.shared.injector.is_empty()
            || !self.shared.levels.is_empty()
    }

    /// A yield of the routine that runs: whether it goes on at once, since nobody waits. That counts as a
    /// yield, but is no turn's end. A look round ends the turn as ever, by number and by time, so deadlines and
    /// sockets are served as if each were one. While turns are recorded, and in a deterministic run, each is.
    #[inline]
    pub(crate) fn passes_yield(&self, me: RoutineRef) -> bool {
        let fair_in = self.fair_in.get();
        let passes = fair_in > 1
            && !self.others_are_ready()
            && !self.tick_has_passed()
            && !self.shared.record.load(Relaxed)
            && self.exploration.is_none();
        if passes {
            self.fair_in.set(fair_in - 1);
            self.count_yield(me.header());
        }
        passes
    }

    /// Whether sockets are watched and nobody sleeps in the poller: then they may wait for this worker.
    fn sockets_wait(&self) -> bool {
        let watched = self
            .shared
            .poller()
            .is_some_and(|poller| poller.has_sources());
        watched && !self.shared.idle.is_seated()
    }

    pub(super) fn inbox_is_empty(&self) -> bool {
        self.home().inbox.is_empty() && !self.has_assigned()
    }

    #[inline(always)]
    pub(super) fn drain_inbox(&self) {
        if !self.home().inbox.is_empty() {
            self.drain_readied();
        }
        if self.shared.balance.assigns() {
            self.take_keyed();
        }
    }

    #[inline(never)]
    fn drain_readied(&self) {
        let readied = &self.home().inbox;
        readied.drain(|routine| self.take_in_bound(routine));
    }

    /// The next routine without asking other workers, in the order of DESIGN: LIFO slot, home,
    /// local deque, timers due, injector, poller; now and then in another order.
    pub(super) fn next(&self) -> Option<RoutineRef> {
        if let Some(worker) = self.shared.monitor.take_overdue() {
            self.serve_for(worker);
        }
        self.local.forget_generation();
        self.drain_inbox();
        let fair_in = self.fair_in.get() - 1;
        self.fair_in.set(fair_in);
        if fair_in == 0 {
            self.look_round();
            if self.must_leave() {
                return None;
            }
        }
        if self.shared.levels.are_used()
            && let Some(routine) = self.next_by_level()
        {
            return Some(routine);
        }
        if self.rotate.get() {
            if self.is_turn_of_wanting() {
                return self.next_before_wanting();
            }
            if let Some(routine) = self.next_in_rotation() {
                return Some(routine);
            }
        }
        if let Some(routine) = self.pop_lifo() {
            return Some(routine);
        }
        // Home and deque take turns: a routine that yields while it waits for others would come
        // before them each time if its home always went first.
        let home_first = !self.home_first.get();
        self.home_first.set(home_first);
        if home_first && let Some(routine) = self.pop_home() {
            return Some(routine);
        }
        if let Some(routine) = self.local.pop() {
            return Some(routine);
        }
        if !home_first {
            // A fresh one that comes from outside goes before who yields, too.
            if !self.shared.injector.is_empty()
                && let Some(routine) = self.take_injected()
            {
                return Some(routine);
            }
            if let Some(routine) = self.pop_home() {
                return Some(routine);
            }
        }
        self.next_elsewhere()
    }

    /// The next look goes to the deque before the home: whoever yields lets a fresh one begin that
    /// waits already, though it is the only one in the home's queue.
    #[inline]
    pub(super) fn deque_comes_next(&self) {
        self.home_first.set(true);
    }

    /// The other way round, after one that yields into the deque: what deadlines and the poller have readied
    /// is in this worker's own lists. A fresh one begins before it all the same.
    #[inline]
    pub(super) fn home_comes_next(&self) {
        self.home_first.set(false);
        self.local.fresh_comes_next();
    }

    /// What is due, and what waits where others look as well.
    #[inline(never)]
    fn next_elsewhere(&self) -> Option<RoutineRef> {
        if self.serve_timers()
            && let Some(routine) = self.pop_own()
        {
            return Some(routine);
        }
        self.serve_request();
        self.take_placed()
            .or_else(|| self.take_injected())
            .or_else(|| self.pop_low_or_high())
            .or_else(|| self.look_into_poller().then(|| self.pop_own()).flatten())
            .or_else(|| self.retry_for_stack())
    }

    /// The look round comes before the next turn.
    pub(super) fn look_round_next(&self) {
        self.fair_in.set(1);
    }

    /// Serves what comes from outside, and has one of the sources that others could starve go first in
    /// the next turn that is a normal routine's.
    #[inline(never)]
    fn look_round(&self) {
        self.rotate.set(true);
        self.date_last_turn();
        self.fair_in.set(FAIR_TURNS);
        self.put_off_look_round();
        self.serve_timers();
        self.pool.borrow_mut().cool_between_turns(self.now.get());
        self.look_after_strategies();
        if self.now.get() >= self.look_at.get() {
            self.look_at.set(self.now.get() + LOOK_NS);
            self.look_into_poller();
        }
    }

    /// Whether the rotation comes to the homes that want a worker: each other time while some do. Then there
    /// is no next routine here, and the loop gives the worker away.
    fn is_turn_of_wanting(&self) -> bool {
        let theirs = self.shared.threads.desk.wanting() > 0 && !self.wanting_last.get();
        self.wanting_last.set(theirs);
        if theirs {
            self.rotate.set(false);
        }
        theirs
    }

    /// What a deadline or the poller has readied, though it is the turn of a home that wants a worker: that may
    /// compute for a whole slice, and these are short as a rule. Not without end.
    fn next_before_wanting(&self) -> Option<RoutineRef> {
        let ahead = self.ahead_of_wanting.get();
        let urgent = if ahead < FAIR_TURNS {
            let (first, second) = self.own_lists_in_order();
            first.pop_urgent().or_else(|| second.pop_urgent())
        } else {
            None
        };
        if urgent.is_some() {
            self.ahead_of_wanting.set(ahead + 1);
            // It is their turn as before.
            self.rotate.set(true);
            self.wanting_last.set(false);
        } else {
            self.ahead_of_wanting.set(0);
        }
        urgent
    }

    #[inline(never)]
    fn next_in_rotation(&self) -> Option<RoutineRef> {
        self.rotate.set(false);
        let turn = self.fair_next.get();
        self.fair_next.set(turn.wrapping_add(1));
        self.retry_for_stack().or_else(|| match turn % 4 {
            0 => self.take_injected(),
            1 => self.local.pop_in_rotation(),
            2 => self.take_placed(),
            _ => self.pop_unhurried(),
        })
    }

    #[inline]
    fn pop_lifo(&self) -> Option<RoutineRef> {
        let slot = &self.home().lifo;
        let routine = slot.load(Relaxed);
        if routine.is_null() {
            self.lifo_turns.set(0);
            return None;
        }
        slot.store(null_mut(), Relaxed);
        // SAFETY: the slot owned it, so its block is alive.
        let routine = unsafe { RoutineRef::from_ptr(routine) };
        let turns = self.lifo_turns.get() + 1;
        if turns > LIFO_TURNS_MAX || (turns > 1 && self.local.has_fresh()) {
            self.lifo_turns.set(0);
            self.push_back(routine);
            return None;
        }
        self.lifo_turns.set(turns);
        Some(routine)
    }

    /// Takes this routine out of the slot, if it is there.
    pub(super) fn take_lifo(&self, routine: RoutineRef) -> bool {
        let slot = &self.home().lifo;
        let found = slot.load(Relaxed) == routine.as_ptr();
        if found {
            slot.store(null_mut(), Relaxed);
        }
        found
    }

    /// Takes this routine out of the home's queue, wherever in it, if it is there.
    pub(super) fn take_queued(&self, routine: RoutineRef) -> bool {
        self.bound().remove(routine)
    }

    fn pop_home(&self) -> Option<RoutineRef> {
        if self.own().len() > 0 {
            return self.pop_home_or_own();
        }
        let bound = self.bound();
        bound.pop_urgent().or_else(|| bound.pop_unhurried())
    }

    #[inline(never)]
    fn pop_home_or_own(&self) -> Option<RoutineRef> {
        let (first, second) = self.own_lists_in_order();
        first
            .pop_urgent()
            .or_else(|| second.pop_urgent())
            .or_else(|| first.pop_unhurried())
            .or_else(|| second.pop_unhurried())
    }

    /// The home's lists and the worker's own, which take turns as to which come first.
    pub(super) fn own_lists_in_order(&self) -> (&Lists, &Lists) {
        let own_first = !self.own_first.get();
        self.own_first.set(own_first);
        if own_first {
            (self.own(), self.bound())
        } else {
            (self.bound(), self.own())
        }
    }

    /// Whatever only this thread has put somewhere. A timer can fill any of them: a sleeper goes to the
    /// home's front, an aborted routine to the LIFO slot, a future to the worker's own front or the deque.
    pub(super) fn pop_own(&self) -> Option<RoutineRef> {
        self.pop_lifo()
            .or_else(|| self.pop_home())
            .or_else(|| self.local.pop())
            .or_else(|| self.pop_any_level())
    }

    /// The home's queue without those that go before it.
    fn pop_unhurried(&self) -> Option<RoutineRef> {
        let (first, second) = self.own_lists_in_order();
        first.pop_unhurried().or_else(|| second.pop_unhurried())
    }

    pub(super) fn serve_timers(&self) -> bool {
        let next = self.timers().next();
        let has_orphans = self.shared.roster.orphans().next().is_some();
        if next == NEVER && !has_orphans {
            return false;
        }
        let now = time::now_ns();
        let mut served = 0;
        if next <= now {
            served = self.timers().serve(now);
        }
        if has_orphans {
            served += self.shared.serve_orphans(now);
        }
        served > 0
    }

    /// Serves the deadlines of another worker, whose thread is in a long turn.
    #[inline(never)]
    fn serve_for(&self, worker: usize) {
        let served = self.shared.workers[worker].timers.serve(time::now_ns());
        if worker != self.index as usize {
            self.shared.monitor.count_rescued(served);
        }
    }

    /// Serves the deadlines of all workers: their threads may be in long turns.
    pub(super) fn serve_all_deadlines(&self) {
        let now = time::now_ns();
        for worker in 0..self.shared.roster.ever() {
            if self.shared.workers[worker].timers.next() <= now {
                self.serve_for(worker);
            }
        }
    }

    /// Readies whatever the kernel has something for. Returns whether that was anything.
    fn look_into_poller(&self) -> bool {
        let Some(poller) = self.shared.poller() else {
            return false;
        };
        if !poller.has_sources() {
            return false;
        }
        // Taken means that somebody else looks, or sleeps there.
        let Some(mut seat) = poller.take_seat() else {
            return false;
        };
        seat.wait(Some(Duration::ZERO));
        seat.serve() > 0
    }

    fn take_injected(&self) -> Option<RoutineRef> {
        let share = self.shared.injector.len() / self.shared.roster.active() + 1;
        loop {
            match self
                .shared
                .injector
                .steal_batch_with_limit_and_pop(&self.loot, share.min(BATCH_MAX))
            {
                Steal::Success(first) => {
                    first.header().set_source(Source::Injector);
                    if self.keep_loot(Source::Injector) > 0 {
                        // While it was on its way it was in no queue: those who had been woken for
                        // it may have looked, found nothing and gone to sleep again.
                        self.shared.notify_work();
                    }
                    return Some(first);
                }
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// Moves what was taken besides the first one into the local deque. Returns how many.
    pub(super) fn keep_loot(&self, source: Source) -> u32 {
        let mut moved = 0;
        let mut batch = [const { None }; BATCH_MAX];
        loop {
            // Another processor has written them. All are asked for before the first is looked at: one after the
            // other, each would be waited for.
            let mut count = 0;
            while count < BATCH_MAX
                && let Some(routine) = self.loot.pop()
            {
                routine.prefetch();
                batch[count] = Some(routine);
                count += 1;
            }
            for routine in batch[..count].iter_mut().filter_map(Option::take) {
                routine.header().set_source(source);
                if source == Source::Stolen {
                    count_stolen(routine);
                }
                self.local.push(routine);
            }
            moved += count as u32;
            if count < BATCH_MAX {
                return moved;
            }
        }
    }

    /// Looks at every place where there could be work for this worker.
    pub(super) fn search(&self) -> Option<RoutineRef> {
        for _ in 0..self.search_rounds() {
            if let Some(routine) = self.take_injected().or_else(|| self.steal()) {
                return Some(routine);
            }
            self.drain_inbox();
            self.serve_timers();
            if let Some(routine) = self.pop_own() {
                return Some(routine);
            }
            std::hint::spin_loop();
        }
        self.note_vain_search();
        None
    }

    /// Now and then, the routine that has waited longest because the system refused a stack; see
    /// [`crate::scheduler::stack_waiters`].
    fn retry_for_stack(&self) -> Option<RoutineRef> {
        if !self.shared.stack_waiters.wait_for_system() {
            return None;
        }
        let now = time::now_ns();
        if now < self.stack_retry_at.get() {
            return None;
        }
        self.stack_retry_at.set(now + STACK_RETRY_NS);
        let routine = self.shared.stack_waiters.pop()?;
        routine.header().set_source(Source::Local);
        Some(routine)
    }

    /// Xorshift (Marsaglia 2003): victims need no better.
    pub(crate) fn next_random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }
}

pub(super) fn count_stolen(routine: RoutineRef) {
    if let Some(workload) = routine.header().workload() {
        workload.stolen.fetch_add(1, Relaxed);
    }
}
