//! What the placements choose, and what they learn for it.

use std::sync::atomic::Ordering::Relaxed;

use super::placement::{Newcomer, Start};
use super::{choose, contained};
use crate::config::{FreshRoutine, Placement, Workers};
use crate::id::{RoutineId, WorkerId, WorkloadId};
use crate::routine::Header;
use crate::scheduler::{Shared, threads, worker};
use crate::snapshot::RoutineClass;

impl Shared {
    pub(super) fn place(&self, placement: Placement, newcomer: &Newcomer<'_>) -> Start {
        let count = self.roster.active();
        match placement {
            Placement::Local => Start::Here,
            Placement::LeastLoaded => self.on_least_loaded(),
            Placement::RoundRobin => Start::On(self.balance.next_in_turn() % count),
            Placement::Affinity => Start::Keyed(self.worker_of_key(self.relatives(newcomer))),
            Placement::ByClass => match self.balance.sites.guess(newcomer.site) {
                Some(RoutineClass::Cpu) => self.on_least_loaded(),
                Some(RoutineClass::Io) | None => Start::Here,
            },
            Placement::Custom => self
                .place_by_custom(newcomer)
                .map_or(Start::Here, Start::On),
        }
    }

    fn on_least_loaded(&self) -> Start {
        let here = worker::with_core_of(self, |core| core.map(|core| core.index as usize));
        // Among equals a spawner outside takes one after the other.
        let from = here.unwrap_or_else(|| self.balance.next_in_turn());
        let load = |worker| self.load_of(worker);
        Start::On(choose::least_loaded(self.roster.active(), from, load))
    }

    /// Routines that wait for the worker, and the one that it runs.
    fn load_of(&self, worker: usize) -> u64 {
        self.waiting_for(worker) + u64::from(self.workers[worker].runs_a_turn())
    }

    fn place_by_custom(&self, newcomer: &Newcomer<'_>) -> Option<usize> {
        let strategy = self.balance.custom.as_ref()?;
        let spawner = self.spawner();
        let workload = match newcomer.workload {
            0 => spawner.workload,
            own => own,
        };
        let fresh = FreshRoutine {
            name: newcomer.name,
            site: newcomer.site,
            kind: newcomer.kind,
            workload: (workload != 0).then(|| WorkloadId::new(workload)),
            parent: (spawner.routine != 0).then(|| RoutineId::new(spawner.routine)),
            spawned_on: spawner.worker,
        };
        let workers = Workers::new(self);
        let off = || self.tunables.stop_custom_placement();
        let chosen = contained(self, off, || strategy.0.place(&fresh, &workers))?;
        Some(chosen.index()).filter(|worker| *worker < self.roster.active())
    }

    /// A routine has ended: for [`Placement::ByClass`], those from the same place will be like it.
    #[inline]
    pub(crate) fn note_class(&self, header: &Header) {
        if self.tunables.places(Placement::ByClass)
            && let Some(class) = header.behaviour()
        {
            self.balance.sites.note(header.site(), class);
        }
    }

    /// Whom the user's strategy wants `thief` to rob.
    pub(crate) fn custom_victim(&self, thief: u32) -> Option<usize> {
        let strategy = self.balance.custom.as_ref()?;
        let workers = Workers::new(self);
        let off = || self.tunables.stop_custom_victims();
        let thief = WorkerId::new(thief);
        let chosen = contained(self, off, || strategy.0.victim(thief, &workers))?;
        Some(chosen.index()).filter(|victim| *victim < self.roster.span())
    }

    /// A key for those that belong together: of one workload, or else from one place in the program.
    fn relatives(&self, newcomer: &Newcomer<'_>) -> u64 {
        let workload = match newcomer.workload {
            0 => self.spawner().workload,
            own => own,
        };
        match workload {
            0 => std::ptr::from_ref(newcomer.site) as u64,
            workload => workload,
        }
    }

    /// Who spawns: routine, workload and worker, as far as they are this runtime's.
    fn spawner(&self) -> Spawner {
        let worker = worker::with_core_of(self, |core| core.map(|core| core.index));
        let routine = threads::running_here().filter(|me| std::ptr::eq(me.shared(), self));
        Spawner {
            routine: routine.map_or(0, |me| me.header().id.load(Relaxed)),
            workload: routine.map_or(0, |me| me.header().workload_id()),
            worker: worker.map(WorkerId::new),
        }
    }
}

/// See [`Shared::spawner`]. 0 is nobody.
struct Spawner {
    routine: u64,
    workload: u64,
    worker: Option<WorkerId>,
}
