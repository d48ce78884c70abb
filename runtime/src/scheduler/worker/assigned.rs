//! What others have assigned to this worker, and what it is asked to fetch from them.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::fence;

use crossbeam_deque::Steal;

use super::WorkerCore;
use crate::routine::RoutineRef;
use crate::scheduler::stats;
use crate::scheduler::strategy::choose::BATCH_MAX;
use crate::snapshot::Source;

/// Keyed routines that a worker has on its own lists, where nobody can take them from it any more, before it
/// leaves further ones where they are.
const KEYED_MAX: u64 = 8;

impl WorkerCore {
    /// Adds a fresh routine for another worker, or this one, between whose push and the wake of a worker `look`
    /// runs, after a sequentially consistent fence.
    pub(crate) fn push_placed(&self, routine: RoutineRef, worker: usize, look: impl FnOnce()) {
        if worker == self.index as usize {
            return self.push_fresh(routine, look);
        }
        self.shared.workers[worker].assigned.push_placed(routine);
        // Step S2, and the caller's own.
        fence(SeqCst);
        look();
        self.shared.notify_placed_after_fence(worker);
    }

    /// As [`push_placed`](Self::push_placed), for a routine that its key sends to `worker`.
    pub(crate) fn push_keyed(&self, routine: RoutineRef, worker: usize, look: impl FnOnce()) {
        if self.exploration.is_some() {
            self.take_in(routine);
            // The caller's own, as below.
            fence(SeqCst);
            return look();
        }
        self.shared.workers[worker].assigned.push_keyed(routine);
        // Between the push and the looks at the duty and the bit; partners are the fences of a leaver (D2) and of P2.
        fence(SeqCst);
        look();
        self.shared.check_assigned(worker);
        if worker != self.index as usize {
            self.shared.wake_worker_after_fence(worker);
        }
    }

    /// Whether something was assigned that the worker has not taken, or it is asked to fetch something.
    pub(super) fn has_assigned(&self) -> bool {
        let assigned = &self.mine().assigned;
        self.shared.balance.assigns() && (assigned.has_keyed() || assigned.has_placed())
            || assigned.is_asked()
    }

    /// Moves keyed routines to the worker's own lists, a few at a time: what is left can still be moved to
    /// another worker.
    pub(super) fn take_keyed(&self) {
        let assigned = &self.mine().assigned;
        while self.own().len() < KEYED_MAX
            && let Some(routine) = assigned.pop_keyed()
        {
            self.take_in(routine);
        }
    }

    /// Moves placed routines into the deque, but for the first one.
    pub(super) fn take_placed(&self) -> Option<RoutineRef> {
        if !self.shared.balance.assigns() {
            return None;
        }
        let first = self.mine().assigned.take_placed(&self.loot, BATCH_MAX)?;
        first.header().set_source(Source::Local);
        if self.keep_loot(Source::Local) > 0 {
            // As with what is taken from the injector.
            self.shared.notify_work();
        }
        Some(first)
    }

    /// Fetches what a comparison of loads has asked for.
    #[inline]
    pub(super) fn serve_request(&self) {
        if self.mine().assigned.is_asked() {
            self.fetch();
        }
    }

    #[inline(never)]
    fn fetch(&self) {
        let Some((victim, wanted)) = self.mine().assigned.take_request() else {
            return;
        };
        let stats = self.stats();
        let limit = (wanted as usize).min(BATCH_MAX);
        let from = &self.shared.workers[victim];
        // First what any worker may run, then what a key holds there.
        let mut stolen = 0;
        if let Some(first) = self.take_open(victim, limit) {
            self.local.push(first);
            stolen = self.note_theft(victim, first);
        }
        let mut moved = u64::from(stolen);
        while moved < u64::from(wanted)
            && let Some(routine) = from.assigned.pop_keyed()
        {
            routine.header().note_migration();
            stats::add(&stats.migrations, 1);
            self.take_in(routine);
            moved += 1;
        }
        if moved > 0 {
            stats::add(&stats.rebalances, 1);
            stats::add(&stats.rebalanced, moved);
        }
        if stolen > 0 {
            // They were in no queue for a moment.
            self.shared.notify_work();
        }
    }

    /// Takes up to so many from a victim's deque or, if that is empty, of those placed there: the first as
    /// the result, the others to `loot`.
    pub(super) fn take_open(&self, victim: usize, limit: usize) -> Option<RoutineRef> {
        let victim = &self.shared.workers[victim];
        let first = loop {
            match victim.stealer.steal(&self.loot, limit) {
                Steal::Success(first) => break first,
                Steal::Empty if !self.shared.balance.assigns() => return None,
                Steal::Empty => break victim.assigned.take_placed(&self.loot, limit)?,
                Steal::Retry => {}
            }
        };
        first.header().set_source(Source::Stolen);
        super::find::count_stolen(first);
        Some(first)
    }
}
