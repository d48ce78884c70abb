//! Moving work from workers that have too much of it to those that have little.
//!
//! An idle worker steals; nobody steals for a busy one, and nobody steals what a key has sent somewhere. So
//! whoever looks round now and then compares the loads, and asks the worker with the least to fetch
//! from the one with the most. The look allocates nothing, takes no lock and moves nothing itself, so that a
//! monitor may do it. What moves is what any worker may run: fresh routines and futures between two turns.

use std::sync::atomic::Ordering::Relaxed;

use super::choose;
use crate::scheduler::Shared;

impl Shared {
    /// Compares the loads if a period has passed, and asks for a move. Safe to call at any rate from any
    /// thread: allocates nothing, waits for nobody.
    pub(crate) fn rebalance_tick(&self, now_ns: u64) {
        if !self.tunables.rebalance() {
            return;
        }
        let due = self.balance.compare_at.load(Relaxed);
        let next = now_ns + self.tunables.rebalance_period_ns();
        if now_ns < due.min(next) {
            return;
        }
        // One caller compares.
        let compare_at = &self.balance.compare_at;
        if compare_at
            .compare_exchange(due, next, Relaxed, Relaxed)
            .is_err()
        {
            return;
        }
        let movable = |worker: usize| self.movable_from(worker);
        let load = |worker: usize| self.waiting_for(worker);
        let ratio = self.tunables.rebalance_ratio();
        if let Some(wanted) = choose::imbalance(self.roster.active(), ratio, movable, load) {
            self.workers[wanted.to].assigned.ask(wanted);
            self.wake_worker(wanted.to);
        }
    }

    /// Routines that could leave the worker.
    fn movable_from(&self, worker: usize) -> u64 {
        let worker = &self.workers[worker];
        worker.stealer.len() as u64 + worker.assigned.keyed_len() + worker.assigned.placed_len()
    }
}
