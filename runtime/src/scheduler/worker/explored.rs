//! The worker of a deterministic runtime: one turn at a time, on the calling thread, in an order that a
//! [`Chooser`] decides.
//!
//! Turns, queues, timers, stacks and switches are those of every worker. What differs is the loop: before
//! each choice it empties all queues into one list in the order of the routines' numbers, so that neither
//! the order of queues nor an address has a say, and it never parks: where nothing can run, it lets the
//! clock jump to the next deadline, and where there is none, everybody waits for somebody else.

use std::backtrace::Backtrace;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::WorkerCore;
use crate::deterministic::strategy::{AtPoint, Chooser};
use crate::routine::{RoutineRef, waker};
use crate::scheduler::Shared;
use crate::scheduler::block::{self, Context};
use crate::scheduler::explore::{Exploration, Live};
use crate::scheduler::timers::NEVER;
use crate::scheduler::worker::deque::Deque;
use crate::snapshot::{RoutineKind, RoutineState, RoutineView, Source};
use crate::stack::StackPool;

/// What the next step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Some routine can run.
    Runnable,
    /// All have ended.
    Ended,
    /// Those that are left wait, and nothing will wake them.
    Deadlock,
    /// A thread outside readied or spawned a routine.
    Disturbed,
}

/// A deterministic worker and its runtime.
pub(crate) struct Explored {
    core: Box<WorkerCore>,
}

/// The calling thread is the worker's until this is dropped.
pub(crate) struct Inside<'a> {
    core: &'a WorkerCore,
    exploration: &'a Exploration,
    _live: Live,
}

impl Explored {
    /// `shared` is of one worker, whose deque is `local`, and has no thread; `stacks` is a pool of its
    /// arena.
    pub(crate) fn new(
        shared: Arc<Shared>,
        local: Deque,
        stacks: Option<StackPool>,
        seed: u64,
        chooser: Chooser,
    ) -> Explored {
        let exploration = Exploration::new(chooser);
        let stacks = stacks.unwrap_or_else(|| StackPool::new(shared.arena.clone()));
        // A pool that is closed runs its jobs where they are handed to it.
        shared.pool.close(Duration::ZERO, Duration::ZERO);
        let mut core = WorkerCore::with_pool(shared, 0, local, stacks);
        core.now.set(0);
        // Odd, so not 0, from which this generator never comes back.
        core.random.set(seed.wrapping_mul(2).wrapping_add(1));
        core.exploration = Some(Box::new(exploration));
        Explored {
            core: Box::new(core),
        }
    }

    /// Makes the calling thread this worker.
    ///
    /// # Panics
    /// If it is a worker already: to take a core from under a routine would leave it without one.
    pub(crate) fn enter(&self) -> Inside<'_> {
        assert!(
            block::context() == Context::Thread,
            "a deterministic run needs a plain thread for itself, and the caller is a routine"
        );
        let live = Live::new();
        let slot = self.shared().threads.slot(0);
        slot.enter(self.shared());
        self.shared().threads.desk.begin(0, 0);
        self.core.hold(slot);
        Inside {
            core: &self.core,
            exploration: self.core.exploration.as_deref().expect("set in `new`"),
            _live: live,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.core.shared
    }

    /// The stacks, for the next run.
    pub(crate) fn into_stacks(self) -> StackPool {
        self.core.pool.into_inner()
    }

    pub(crate) fn exploration(&self) -> &Exploration {
        self.core.exploration.as_deref().expect("set in `new`")
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.core.retire();
        self.core.slot().leave();
    }
}

impl Inside<'_> {
    /// Lets time pass until something can run, if need be.
    pub(crate) fn look(&self) -> Next {
        let clock = &self.exploration.clock;
        loop {
            self.core.serve_timers();
            if !self.core.shared.injector.is_empty() || !self.core.inbox_is_empty() {
                return Next::Disturbed;
            }
            self.core.gather(self.exploration);
            if self.can_step() {
                return Next::Runnable;
            }
            if self.core.shared.live() == 0 {
                return Next::Ended;
            }
            match self.core.timers().next() {
                NEVER => return Next::Deadlock,
                at => clock.set(clock.get().max(at)),
            }
            self.core.now.set(clock.get());
        }
    }

    /// Runs one turn of whichever routine the chooser says; [`look`](Self::look) has said that there is
    /// one.
    pub(crate) fn step(&self) {
        if let Some(chosen) = self.exploration.chosen.take() {
            return self.turn_of(chosen);
        }
        self.wake_for_no_reason();
        let routine = {
            let mut runnable = self.exploration.runnable.borrow_mut();
            let ids: Vec<u64> = runnable.iter().map(id).collect();
            let at = match self.core.held() {
                Some(held) => ids.binary_search(&id(&held)).expect("`look` has found it"),
                None => self.exploration.chooser.borrow_mut().choose(&ids),
            };
            runnable.remove(at)
        };
        self.turn_of(routine);
    }

    /// Runs one turn of this routine. False if it cannot run.
    pub(crate) fn step_of(&self, wanted: u64) -> bool {
        if self.core.held().is_some_and(|held| id(&held) != wanted) {
            return false;
        }
        let routine = {
            let mut runnable = self.exploration.runnable.borrow_mut();
            let Ok(index) = runnable.binary_search_by_key(&wanted, id) else {
                return false;
            };
            runnable.remove(index)
        };
        self.turn_of(routine);
        true
    }

    /// Whether somebody can run: where the thread is held, its holder.
    fn can_step(&self) -> bool {
        let runnable = self.exploration.runnable.borrow();
        match self.core.held() {
            Some(held) => runnable.binary_search_by_key(&id(&held), id).is_ok(),
            None => !runnable.is_empty(),
        }
    }

    fn turn_of(&self, routine: RoutineRef) {
        let stats = self.core.stats();
        let yields = stats.yields.load(Relaxed);
        let who = id(&routine);
        self.core.pass_time(self.exploration);
        self.core.now.set(self.exploration.clock.get());
        self.core.turn_apart(self.core.slot(), routine);
        let gave_way = stats.yields.load(Relaxed) > yields;
        if gave_way && self.exploration.chosen.get().is_none() {
            self.exploration.chooser.borrow_mut().yielded(who);
        }
    }

    fn wake_for_no_reason(&self) {
        if self.exploration.ending.get() {
            return;
        }
        let mut chooser = self.exploration.chooser.borrow_mut();
        let woken = chooser.spurious_wake(|| self.blocked());
        drop(chooser);
        if let Some(woken) = woken {
            self.notify(woken);
            self.core.gather(self.exploration);
        }
    }

    /// Wakes a routine for no reason, if it is blocked.
    pub(crate) fn notify(&self, wanted: u64) {
        self.core.shared.slabs.for_each(|header| {
            if header.id.load(Relaxed) == wanted {
                // SAFETY: a block of slabs that are alive, and this thread alone ends routines.
                let routine =
                    unsafe { RoutineRef::from_ptr(std::ptr::from_ref(header).cast_mut()) };
                waker::notify(routine, Source::Inbox);
            }
        });
    }

    /// Numbers of the routines that wait, ascending.
    pub(crate) fn blocked(&self) -> Vec<u64> {
        self.blocked_of(|_| true)
    }

    fn blocked_of(&self, kind: impl Fn(RoutineKind) -> bool) -> Vec<u64> {
        let mut blocked = Vec::new();
        self.core.shared.for_each_live(&mut |view| {
            if matches!(view.state, RoutineState::Blocked(_)) && kind(view.kind) {
                blocked.push(view.id.get());
            }
        });
        blocked.sort_unstable();
        blocked
    }

    /// Where each blocked routine with a stack of its own stands. None of these can be woken but by a
    /// cancel afterwards.
    pub(crate) fn ask_where(&self) -> Vec<(u64, Backtrace)> {
        self.exploration.ending.set(true);
        *self.exploration.places.borrow_mut() = Some(Vec::new());
        for id in self.blocked_of(|kind| kind == RoutineKind::Stackful) {
            self.notify(id);
            self.core.gather(self.exploration);
            self.step_of(id);
        }
        self.exploration.places.take().unwrap_or_default()
    }

    /// The run is over: nothing is explored any more.
    pub(crate) fn begin_to_end(&self) {
        self.exploration.ending.set(true);
        if let Some(chosen) = self.exploration.chosen.take() {
            self.exploration.insert(chosen);
        }
    }

    /// Virtual time.
    pub(crate) fn now_ns(&self) -> u64 {
        self.exploration.clock.get()
    }

    /// Calls `visit` with each routine that has not ended.
    pub(crate) fn for_each_live(&self, visit: &mut dyn FnMut(&RoutineView)) {
        self.core.shared.for_each_live(visit);
    }

    /// Numbers of the routines that can run, ascending.
    pub(crate) fn runnable(&self) -> Vec<u64> {
        let held = self.core.held();
        let runnable = self.exploration.runnable.borrow();
        let can_run = runnable
            .iter()
            .filter(|routine| held.is_none_or(|held| held == **routine));
        can_run.map(id).collect()
    }
}

impl Exploration {
    fn insert(&self, routine: RoutineRef) {
        let mut runnable = self.runnable.borrow_mut();
        let at = runnable.partition_point(|other| id(other) < id(&routine));
        runnable.insert(at, routine);
    }
}

fn id(routine: &RoutineRef) -> u64 {
    routine.header().id.load(Relaxed)
}

impl WorkerCore {
    /// Empties all queues into the list of those that can run.
    fn gather(&self, exploration: &Exploration) {
        while let Some(routine) = self.pop_own() {
            exploration.insert(routine);
        }
    }

    fn pass_time(&self, exploration: &Exploration) {
        let took = exploration.chooser.borrow_mut().step();
        let clock = &exploration.clock;
        clock.set(clock.get().saturating_add(took));
    }

    /// At an exploration point of the running routine: whether it loses its turn.
    pub(crate) fn is_to_give_way(&self, exploration: &Exploration, me: RoutineRef) -> bool {
        if exploration.ending.get() {
            return false;
        }
        self.pass_time(exploration);
        self.gather(exploration);
        let mine = id(&me);
        let mut runnable = exploration.runnable.borrow_mut();
        let mut ids = vec![mine];
        // Who holds the thread is alone on it.
        if self.held().is_none() {
            ids.extend(runnable.iter().map(id));
            ids.sort_unstable();
        }
        match exploration.chooser.borrow_mut().at_point(&ids, mine) {
            AtPoint::Stay => false,
            AtPoint::GiveWay(None) => true,
            AtPoint::GiveWay(Some(next)) => {
                let index = runnable
                    .binary_search_by_key(&next, id)
                    .expect("chosen among them");
                exploration.chosen.set(Some(runnable.remove(index)));
                true
            }
        }
    }
}
