//! Taking from other workers: whom, and how much, as the strategies say.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use super::WorkerCore;
use crate::WorkerId;
use crate::config::{StealAmount, VictimOrder};
use crate::routine::RoutineRef;
use crate::scheduler::stats;
use crate::scheduler::strategy::choose::{self, Appetite};
use crate::snapshot::{Source, StealRecord};
use crate::time;
use crate::topology::{self, Topology};

/// What a thief has learned.
pub(super) struct Habits(Cell<Appetite>);

impl Habits {
    pub(super) fn new() -> Habits {
        Habits(Cell::new(Appetite::FIRST))
    }
}

impl WorkerCore {
    /// Rounds over all victims before a search gives up.
    pub(super) fn search_rounds(&self) -> u32 {
        match self.shared.tunables.steal() {
            StealAmount::Half | StealAmount::One => choose::ROUNDS_MAX,
            StealAmount::Adaptive => self.habits.0.get().rounds,
        }
    }

    /// A search found nothing.
    pub(super) fn note_vain_search(&self) {
        self.learn(Appetite::starved);
    }

    fn learn(&self, how: impl Fn(Appetite) -> Appetite) {
        if self.shared.tunables.steal() == StealAmount::Adaptive {
            let appetite = how(self.habits.0.get());
            self.habits.0.set(appetite);
            let stats = self.stats();
            stats.steal_amount.store(appetite.amount, Relaxed);
            stats.search_rounds.store(appetite.rounds, Relaxed);
        }
    }

    /// Takes from one victim, the first that has something in the order of the strategy.
    pub(super) fn steal(&self) -> Option<RoutineRef> {
        let count = self.shared.roster.span();
        let first = self.next_random() as usize % count;
        match self.shared.tunables.victims() {
            VictimOrder::Random => self.steal_in_order(choose::from(first, count)),
            VictimOrder::MostLoaded => {
                let load = |worker: usize| self.shared.workers[worker].stealable();
                choose::most_loaded(count, self.index as usize, load)
                    .and_then(|victim| self.steal_from(victim))
                    .or_else(|| self.steal_in_order(choose::from(first, count)))
            }
            VictimOrder::Nearest => self.steal_nearest(first),
            VictimOrder::Custom => self
                .shared
                .custom_victim(self.index)
                .and_then(|victim| self.steal_from(victim))
                .or_else(|| self.steal_in_order(choose::from(first, count))),
        }
    }

    fn steal_in_order(&self, mut victims: impl Iterator<Item = usize>) -> Option<RoutineRef> {
        victims.find_map(|victim| self.steal_from(victim))
    }

    /// From those whose processors are near first; from `first` on among equals.
    #[inline(never)]
    fn steal_nearest(&self, first: usize) -> Option<RoutineRef> {
        let count = self.shared.roster.span();
        let (Some(machine), Some(here)) = (Topology::of_machine(), self.note_processor()) else {
            return self.steal_in_order(choose::from(first, count));
        };
        let processor = |victim: usize| self.shared.workers[victim].stats.processor.load(Relaxed);
        self.steal_in_order(machine.nearest_first(here, choose::from(first, count), processor))
    }

    /// What strategies need now and then, in the look round.
    pub(super) fn look_after_strategies(&self) {
        if self.shared.tunables.victims() == VictimOrder::Nearest {
            self.note_processor();
        }
        self.shared.rebalance_tick(self.now.get());
        self.serve_request();
    }

    /// Publishes on which processor this worker runs, for those to whom near and far matter.
    fn note_processor(&self) -> Option<u32> {
        let here = topology::processor_here()?;
        self.stats().processor.store(here, Relaxed);
        Some(here)
    }

    fn steal_from(&self, victim: usize) -> Option<RoutineRef> {
        if victim == self.index as usize {
            return None;
        }
        let stats = self.stats();
        stats::add(&stats.steal_attempts, 1);
        let available = self.shared.workers[victim].stealable() as usize;
        let limit = match self.shared.tunables.steal() {
            StealAmount::Half => choose::half(available),
            StealAmount::One => 1,
            StealAmount::Adaptive => self.habits.0.get().limit(available),
        };
        let first = self.take_open(victim, limit)?;
        self.note_theft(victim, first);
        self.learn(Appetite::fed);
        Some(first)
    }

    /// Keeps what was taken besides `first`, and counts it all. Returns how many it was.
    pub(super) fn note_theft(&self, victim: usize, first: RoutineRef) -> u32 {
        let stats = self.stats();
        let moved = 1 + self.keep_loot(Source::Stolen);
        stats::add(&stats.steals, 1);
        stats::add(&stats.stolen_from[victim], u64::from(moved));
        self.record_steal(victim, moved, first);
        moved
    }

    fn record_steal(&self, victim: usize, moved: u32, first: RoutineRef) {
        if self.shared.record.load(Relaxed) {
            self.mine().recorder.steal(&StealRecord {
                at_ns: time::now_ns(),
                thief: WorkerId::new(self.index),
                victim: WorkerId::new(victim as u32),
                moved,
                first: first.header().routine_id(),
            });
        }
    }
}
