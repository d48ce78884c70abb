//! Taking from other workers: whom, and how much, as the strategies say.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_deque::Steal;

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
        let count = self.shared.workers.len();
        let first = self.next_random() as usize % count;
        match self.shared.tunables.victims() {
            VictimOrder::Random => self.steal_in_order(choose::from(first, count)),
            VictimOrder::MostLoaded => {
                let load = |worker: usize| self.shared.workers[worker].stealer.len() as u64;
                choose::most_loaded(count, self.index as usize, load)
                    .and_then(|victim| self.steal_from(victim))
                    .or_else(|| self.steal_in_order(choose::from(first, count)))
            }
            VictimOrder::Nearest => self.steal_nearest(first),
            // Refused where there is none.
            VictimOrder::Custom => self.steal_in_order(choose::from(first, count)),
        }
    }

    fn steal_in_order(&self, mut victims: impl Iterator<Item = usize>) -> Option<RoutineRef> {
        victims.find_map(|victim| self.steal_from(victim))
    }

    /// From those whose processors are near first; from `first` on among equals.
    #[inline(never)]
    fn steal_nearest(&self, first: usize) -> Option<RoutineRef> {
        let count = self.shared.workers.len();
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
        let stealer = &self.shared.workers[victim].stealer;
        let stats = self.stats();
        loop {
            stats::add(&stats.steal_attempts, 1);
            let limit = match self.shared.tunables.steal() {
                StealAmount::Half => choose::half(stealer.len()),
                StealAmount::One => 1,
                StealAmount::Adaptive => self.habits.0.get().limit(stealer.len()),
            };
            match stealer.steal(&self.loot, limit) {
                Steal::Success(first) => {
                    first.header().set_source(Source::Stolen);
                    super::find::count_stolen(first);
                    let moved = 1 + self.keep_loot(Source::Stolen);
                    stats::add(&stats.steals, 1);
                    stats::add(&stats.stolen_from[victim], u64::from(moved));
                    self.record_steal(victim, moved, first);
                    self.learn(Appetite::fed);
                    return Some(first);
                }
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
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
