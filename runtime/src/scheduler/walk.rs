//! Looking at a runtime from outside: snapshots, the walk over all routines, inspected stacks.

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

use crate::config::StealAmount;
use crate::id::{ObjectId, RoutineId, WorkerId, WorkloadId};
use crate::routine::context::{self, StackFacts};
use crate::routine::life::{CancelLevel, Wake};
use crate::routine::{Header, Held, RoutineRef};
use crate::scheduler::stats::WorkerStats;
use crate::scheduler::strategy::choose;
use crate::scheduler::threads::Home;
use crate::scheduler::{Shared, ready};
use crate::snapshot::{
    HomeFigures, HomeVersion, RoutineCounts, RoutineState, RoutineView, RunningTurn, Snapshot,
    Source, StackFigures, TravellingFigures, WaitReason, WaitView, WorkerSnapshot, WorkerState,
};
use crate::sync;
use crate::time;
use crate::topology::Topology;

/// What the counters of all workers and foreign threads add up to.
#[derive(Default)]
struct Totals {
    ended: u64,
    panicked: u64,
    cancelled: u64,
    readies: [u64; WaitReason::COUNT],
    blocks: [u64; WaitReason::COUNT],
    started: u64,
    spawned: u64,
}

impl Shared {
    /// All figures at one moment, as far as moments exist: workers go on while they are read.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let workers: Vec<_> = (0..self.roster.ever()).map(|i| self.worker(i)).collect();
        let routines = self.counts(self.threads.running());
        let waiting = self.stack_waiters.len();
        Snapshot {
            at_ns: time::now_ns(),
            injector_depth: (self.injector.len() + self.levels.len()) as u64,
            stacks: self.stacks(waiting, &workers),
            stack_classes: self.arena.class_figures(),
            homes: self.home_figures(),
            workers,
            routines,
            blocking: self.pool.figures(),
            monitor: self.monitor_figures(),
            threads: self
                .threads
                .figures(self.tunables.max_threads(), &self.apart),
            absent: self.threads.absent(),
            panics: self.panics_made(),
            io: self.poller().map(|poller| poller.figures()),
            rings_on: self.record.load(Relaxed),
            config: self.config(),
            resizing: self.resize_figures(),
            strategy_panics: self.balance.panics.load(Relaxed),
            topology: Topology::of_machine().map(Topology::figures),
        }
    }

    fn home_figures(&self) -> HomeFigures {
        let homes = match &self.homes {
            Ok(homes) => homes,
            Err(why) => {
                return HomeFigures {
                    version: HomeVersion::Threads,
                    reason: why.to_string(),
                    travelling: None,
                };
            }
        };
        let sum = |counter: fn(&WorkerStats) -> &AtomicU64| {
            let counters = self.workers.iter().map(|worker| counter(&worker.stats));
            counters.map(|counter| counter.load(Relaxed)).sum()
        };
        let travelling = TravellingFigures {
            mounts: sum(|stats| &stats.mounts),
            busy: sum(|stats| &stats.busy_homes),
            ..homes.figures()
        };
        HomeFigures {
            version: HomeVersion::Travelling,
            reason: homes.reason(),
            travelling: Some(travelling),
        }
    }

    fn worker(&self, index: usize) -> WorkerSnapshot {
        let worker = &self.workers[index];
        let s = &worker.stats;
        // Acquire pairs with the release store in `WorkerCore::enter_routine`: the turn's start is
        // visible too.
        let block = s.routine.load(Acquire);
        let start_ns = s.turn_started.load(Relaxed);
        // SAFETY: blocks stay mapped and initialised as long as their slabs, which we keep.
        let running = unsafe { block.as_ref() };
        // Acquire pairs with the release store in `Header::init`.
        let routine = running.map_or(0, |header| header.id.load(Acquire));
        let turn = running.and_then(|header| running_turn(s, header, routine, start_ns));
        let state = match s.state.load(Relaxed) {
            _ if self.roster.is_inactive(index) => WorkerState::Inactive,
            x if x == WorkerState::Running as u8 => WorkerState::Running,
            x if x == WorkerState::Searching as u8 => WorkerState::Searching,
            _ => WorkerState::Parked,
        };
        let home = self.home_run_by(worker);
        let held_by = home.map_or(0, |home| home.held_by.load(Relaxed));
        let lifo = home.is_some_and(|home| !home.lifo.load(Relaxed).is_null());
        let steal = self.tunables.steal();
        let victims = s.stolen_from.iter().take(self.roster.ever());
        let stolen_from: Vec<u64> = victims.map(|n| n.load(Relaxed)).collect();
        WorkerSnapshot {
            id: WorkerId::new(index as u32),
            state,
            routine: (routine != 0).then(|| RoutineId::new(routine)),
            turn_started_ns: (routine != 0).then_some(start_ns),
            turn,
            held_by: (held_by != 0).then(|| RoutineId::new(held_by)),
            lifo: lifo.into(),
            local: worker.stealable(),
            inbox: home.map_or(0, Home::queued) + worker.assigned.keyed_len() + worker.own.len(),
            turns_by_source: Source::ALL.map(|source| s.turns[source as usize].load(Relaxed)),
            turn_lengths: s.turn_lengths.read(),
            steal_attempts: s.steal_attempts.load(Relaxed),
            steals: s.steals.load(Relaxed),
            // The sum, and no counter of its own, so that the two cannot differ.
            stolen: stolen_from.iter().sum(),
            stolen_from,
            steal_amount: match steal {
                StealAmount::Half => None,
                StealAmount::One => Some(1),
                StealAmount::Adaptive => Some(u64::from(s.steal_amount.load(Relaxed))),
            },
            search_rounds: match steal {
                StealAmount::Half | StealAmount::One => u64::from(choose::ROUNDS_MAX),
                StealAmount::Adaptive => u64::from(s.search_rounds.load(Relaxed)),
            },
            processor: s.processor(),
            node: s.node(),
            rebalances: s.rebalances.load(Relaxed),
            rebalanced: s.rebalanced.load(Relaxed),
            migrations: s.migrations.load(Relaxed),
            parks: s.parks.load(Relaxed),
            wakes: s.wakes.load(Relaxed),
            yields: s.yields.load(Relaxed),
            keyed: s.keyed.load(Relaxed),
            stack_growths: s.stack_growths.load(Relaxed),
            busy_ns: s.busy_ns.load(Relaxed),
            searching_ns: s.searching_ns.load(Relaxed),
            spawned: s.spawned.load(Relaxed),
            ended: s.ended.load(Relaxed),
            thread_id: s.thread_id.load(Relaxed),
            timers: worker.timers.figures(),
        }
    }

    /// Reads later stages of a life before earlier ones, so that no routine is seen to have ended
    /// without having been spawned.
    fn totals(&self) -> Totals {
        let mut t = Totals::default();
        let each = |mut read: Box<dyn FnMut(&WorkerStats) + '_>| {
            for worker in &self.workers {
                read(&worker.stats);
            }
        };
        // Acquire loads pair with the release stores of `stats::add`.
        each(Box::new(|s| {
            t.panicked += s.panicked.load(Acquire);
            t.cancelled += s.cancelled.load(Acquire);
            t.ended += s.ended.load(Acquire);
        }));
        t.ended += self.foreign.ended.load(Acquire);
        t.panicked += self.foreign.panicked.load(Acquire);
        t.cancelled += self.foreign.cancelled.load(Acquire);
        for (reason, total) in t.readies.iter_mut().enumerate() {
            *total = self.foreign.readies[reason].load(Acquire);
            for worker in &self.workers {
                *total += worker.stats.readies[reason].load(Acquire);
            }
        }
        for (reason, total) in t.blocks.iter_mut().enumerate() {
            for worker in &self.workers {
                *total += worker.stats.blocks[reason].load(Acquire);
            }
        }
        // Those that end outside never run, and are not new any more.
        t.started = self.foreign.gone.load(Acquire);
        for worker in &self.workers {
            t.started += worker.stats.started.load(Acquire);
        }
        t.spawned = self.foreign.spawned.load(Acquire);
        for worker in &self.workers {
            t.spawned += worker.stats.spawned.load(Acquire);
        }
        t
    }

    fn counts(&self, running: u64) -> RoutineCounts {
        let t = self.totals();
        let live = t.spawned - t.ended.min(t.spawned);
        let new = t.spawned.saturating_sub(t.started).min(live);
        // Routines moved on while the counters were read: each class takes what the ones before it
        // left, so that the sum is exact whatever the moment.
        let mut left = live - new;
        let running = running.min(left);
        left -= running;
        let mut blocked_by = [0; WaitReason::COUNT];
        for (reason, count) in blocked_by.iter_mut().enumerate() {
            *count = t.blocks[reason].saturating_sub(t.readies[reason]).min(left);
            left -= *count;
        }
        // Ready, and kept by what their thread does.
        let hostages = self.hostages().min(left);
        blocked_by[WaitReason::ThreadBusy as usize] = hostages;
        left -= hostages;
        let blocked = blocked_by.iter().sum();
        blocked_by[WaitReason::Stack as usize] = self.stack_waiters.len().min(new);
        RoutineCounts {
            spawned: t.spawned,
            new,
            runnable: left,
            running,
            blocked,
            ended: t.spawned - live,
            blocked_by,
            panicked: t.panicked,
            cancelled: t.cancelled,
        }
    }

    /// Routines spawned and not gone (see [`WorkerStats::gone`]). When it says 0, there was a moment
    /// during the call at which that was so.
    pub(crate) fn live(&self) -> u64 {
        // As in `totals`: the later stage first. Acquire pairs with the release stores of
        // `stats::add`. SeqCst for spawns from outside: see `spawn::enter_from_outside`.
        let mut gone = self.foreign.gone.load(SeqCst);
        for worker in &self.workers {
            gone += worker.stats.gone.load(Acquire);
        }
        let mut spawned = self.foreign.spawned.load(SeqCst);
        for worker in &self.workers {
            spawned += worker.stats.spawned.load(Acquire);
        }
        spawned.saturating_sub(gone)
    }

    fn stacks(&self, waiting: u64, workers: &[WorkerSnapshot]) -> StackFigures {
        let arena = self.arena.figures();
        let mut high_water = [0i64; 16];
        for worker in &self.workers {
            for (sum, part) in high_water.iter_mut().zip(&worker.stats.high_water) {
                *sum += part.load(Relaxed);
            }
        }
        StackFigures {
            mode: self.arena.mode(),
            slot_bytes: self.default_class.bytes() as u64,
            in_use: arena.in_use,
            pooled: arena.pooled,
            free: arena.free,
            limit: arena.limit,
            waiting,
            growths: workers.iter().map(|w| w.stack_growths).sum(),
            high_water: high_water.map(|n| n.max(0) as u64),
            reserved_bytes: arena.reserved_bytes,
            shrinks: arena.shrinks,
            shrunk_bytes: arena.shrunk_bytes,
            segments: arena.segments,
            segments_entered: arena.segments_entered,
            contained: arena.contained,
        }
    }

    /// Calls `visit` with each routine that has not ended.
    pub(crate) fn for_each_live(&self, visit: &mut dyn FnMut(&RoutineView)) {
        self.slabs.for_each(|header| {
            if let Some(mut view) = header.view()
                && view.state != RoutineState::Ended
            {
                self.dress(header, &mut view);
                visit(&view);
            }
        });
    }

    /// Calls `visit` with each routine that waits at something, and who holds that.
    pub(crate) fn for_each_wait(&self, visit: &mut dyn FnMut(&WaitView)) {
        self.slabs.for_each(|header| {
            if header.waits_at(header.life.state()).is_none() {
                return;
            }
            let Some(guard) = InspectGuard::take(header) else {
                return;
            };
            // Again, of the wait that it is held in now.
            let state = header.life.state();
            if let RoutineState::Blocked(reason) = state
                && let Some(object) = header.waits_at(state)
            {
                // SAFETY: 1: the routine is held in this wait, whose frame borrows the object.
                let owner = unsafe { sync::owner_of(reason, object) };
                let routine = header.routine_id();
                drop(guard);
                visit(&WaitView {
                    routine,
                    reason,
                    object: ObjectId::of(object),
                    owner,
                });
            }
        });
    }

    /// Aborts every live routine that `wanted` picks. Returns how many.
    pub(crate) fn abort_where(&self, mut wanted: impl FnMut(&Header) -> bool) -> u64 {
        let mut aborted = 0;
        // SeqCst fence: between the store of the flag for which the caller aborts (the runtime's,
        // the workload's, the scope's) and the walk; partner is the fence in `spawn::born`.
        fence(SeqCst);
        self.slabs.for_each(|header| {
            // Acquire pairs with the release store in `init`.
            let id = header.id.load(Acquire);
            if id == 0 || !wanted(header) || header.life.state() == RoutineState::Ended {
                return;
            }
            // A block that is recycled between the look and the abort would have its new routine
            // ended: hold a reference over it, and look again.
            let Some(held) = Held::take(header, id) else {
                return;
            };
            if wanted(header) {
                ready::cancel(held.routine(), CancelLevel::Told);
                aborted += 1;
            }
        });
        aborted
    }

    /// Finds a live routine.
    pub(crate) fn find(&self, id: RoutineId) -> Option<RoutineView> {
        let mut found = None;
        self.slabs.for_each(|header| {
            if header.id.load(Relaxed) == id.get() {
                found = header.view();
            }
        });
        found.filter(|view| view.id == id && view.state != RoutineState::Ended)
    }
}

/// The turn of `routine`, whose block is `header`, if it is still the one that runs.
fn running_turn(
    s: &WorkerStats,
    header: &Header,
    routine: u64,
    start_ns: u64,
) -> Option<RunningTurn> {
    if routine == 0 {
        return None;
    }
    let workload = header.workload_id();
    let turn = RunningTurn {
        start_ns,
        routine: RoutineId::new(routine),
        site: header.site(),
        source: header.source(),
        workload: (workload != 0).then(|| WorkloadId::new(workload)),
    };
    // Partners are the fences in `Header::init` and `WorkerCore::enter_routine`.
    fence(Acquire);
    let same = header.id.load(Relaxed) == routine
        && std::ptr::eq(s.routine.load(Relaxed), header)
        && s.turn_started.load(Relaxed) == start_ns;
    same.then_some(turn)
}

/// A blocked routine whose stack a walker may read. A wake that comes meanwhile is carried out when
/// the guard goes.
pub(crate) struct InspectGuard {
    routine: Held,
    /// `None` where stacks cannot be looked at.
    pub(crate) facts: Option<StackFacts>,
}

impl InspectGuard {
    /// Claims the routine for reading; `None` if it is not blocked or has no stack.
    pub(crate) fn take(header: &Header) -> Option<InspectGuard> {
        // Acquire pairs with the release store in `init`.
        let id = header.id.load(Acquire);
        let routine = Held::take(header, id)?;
        if !header.life.inspect() {
            return None;
        }
        let part = header.stack.load(Relaxed);
        if part.is_null() {
            InspectGuard::release(routine.routine());
            return None;
        }
        // SAFETY: we hold the routine inspected, so nobody runs it.
        let facts = unsafe { context::facts(part) };
        Some(InspectGuard { routine, facts })
    }

    fn release(routine: RoutineRef) {
        if let Wake::Won(reason) = routine.header().life.release() {
            ready::queue_woken(routine, reason, Source::Inbox);
        }
    }
}

impl Drop for InspectGuard {
    fn drop(&mut self) {
        InspectGuard::release(self.routine.routine());
    }
}

impl Header {
    /// Whether the routine belongs to the workload.
    pub(crate) fn is_of(&self, workload: WorkloadId) -> bool {
        self.workload_id() == workload.get()
    }
}
