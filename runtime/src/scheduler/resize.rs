//! More and fewer workers while the runtime runs: the side of those who ask for it, and of those who put
//! routines with a worker that leaves. A leaving worker's own side is `worker/leave.rs`; which worker has
//! which duty is in [`roster`](super::roster).
//!
//! The steps are those of *More and fewer workers* in `docs/scheduler.md`.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;

use super::Shared;
use super::roster::Enlisted;
use super::threads::NoThread;
use super::threads::section::Section;
use super::timers::NEVER;
#[cfg(not(portable))]
use crate::monitor::membarrier;
use crate::snapshot::ResizeFigures;

impl Shared {
    /// Changes the number of active workers, from 1 to the most that there is room for. By one caller at a time.
    ///
    /// # Errors
    /// There is no thread for one of them: then all is as it was.
    pub(crate) fn resize(
        self: &Arc<Shared>,
        workers: usize,
        max_threads: usize,
    ) -> Result<(), NoThread> {
        let old = self.roster.active();
        if workers > old {
            self.grow(old, workers, max_threads)?;
        } else {
            self.roster.set_active(workers);
            (workers..old).for_each(|worker| self.roster.dismiss(worker));
        }
        self.roster.resizes.fetch_add(1, Relaxed);
        // Those that are to leave, and those that are to guard other wheels than before.
        self.wake_all();
        Ok(())
    }

    fn grow(
        self: &Arc<Shared>,
        old: usize,
        new: usize,
        max_threads: usize,
    ) -> Result<(), NoThread> {
        for worker in old..new {
            self.workers[worker].recorder.prepare();
            // Step G1.
            if self.roster.enlist(worker) == Enlisted::Stays {
                continue;
            }
            self.take_wheel_back(worker);
            #[cfg(not(portable))]
            if membarrier::register().is_ok() {
                // A worker that was the only one pushes without a fence (`push_local`): what it has pushed is visible
                // from here on, or else it sees that it is not the only one any more.
                membarrier::on_all_threads();
            }
            // Step G2.
            if let Err(why) = self.give_to_some_thread(worker, max_threads) {
                self.roster.discharge(worker);
                // As its wheel may be an orphan again.
                self.leave_wheel(worker);
                (old..worker).for_each(|worker| self.roster.dismiss(worker));
                self.wake_all();
                return Err(why);
            }
        }
        // Step G3.
        self.roster.set_active(new);
        // The monitor sleeps only while all that are in service do.
        self.monitor.worker_woke();
        Ok(())
    }

    /// Gives a worker that the caller owns to a thread that can have it.
    fn give_to_some_thread(
        self: &Arc<Shared>,
        worker: usize,
        max_threads: usize,
    ) -> Result<(), NoThread> {
        {
            // Not to be stopped between the two: the thread waits for its worker.
            let _section = Section::enter();
            if let Some(to) = self.threads.desk.assign(worker as u32) {
                // Acquire pairs with the release store in `add_worker`.
                let core = self.cores[worker].load(Acquire);
                // SAFETY: 1: it was enlisted by us; 2: the desk has named the thread.
                unsafe { self.give_uncounted(core, to) };
                return Ok(());
            }
        }
        // SAFETY: 1: it was enlisted by us.
        unsafe { self.start_thread_with(worker as u32, max_threads) }
    }

    /// After a routine was put into an assigned queue of the worker, and a sequentially consistent fence: if the
    /// worker is to leave or has left, the routine is handed on.
    #[inline]
    pub(crate) fn check_assigned(&self, worker: usize) {
        if !self.roster.is_active(worker) {
            self.hand_out_assigned(worker);
        }
    }

    /// Hands out what was assigned to a worker: placed routines to anybody, keyed ones to another worker, so
    /// that those of one key stay together.
    #[cold]
    pub(crate) fn hand_out_assigned(&self, worker: usize) {
        let mut placed = 0;
        while let Some(routine) = self.workers[worker].assigned.pop_placed() {
            self.inject_quietly(routine);
            placed += 1;
        }
        if placed > 0 {
            self.roster.moved.fetch_add(placed, Relaxed);
            self.notify_work();
        }
        let mut from = worker;
        loop {
            // Smaller than `from`, unless that is active.
            let to = from % self.roster.active();
            let mut keyed = 0;
            while from != to
                && let Some(routine) = self.workers[from].assigned.pop_keyed()
            {
                self.workers[to].assigned.push_keyed(routine);
                keyed += 1;
            }
            if keyed == 0 {
                return;
            }
            self.roster.moved.fetch_add(keyed, Relaxed);
            // As in `push_keyed`.
            fence(SeqCst);
            self.wake_worker_after_fence(to);
            if self.roster.is_active(to) {
                return;
            }
            from = to;
        }
    }

    /// The wheel of a worker that nobody holds is others' to serve, if there is something in it.
    pub(crate) fn leave_wheel(&self, worker: usize) -> bool {
        let has_deadlines = self.workers[worker].timers.next() != NEVER;
        if has_deadlines {
            self.roster.orphan(worker);
        }
        has_deadlines
    }

    /// The wheel is its worker's own again.
    fn take_wheel_back(&self, worker: usize) {
        self.roster.adopt(worker);
    }

    /// When the next deadline comes that `guardian` has to look after for a worker that has left.
    #[inline]
    pub(crate) fn next_orphaned(&self, guardian: usize) -> u64 {
        let guarded = |orphan: &usize| self.roster.guardian(*orphan) == guardian;
        let deadlines = self.roster.orphans().filter(guarded);
        deadlines
            .map(|orphan| self.workers[orphan].timers.next())
            .min()
            .unwrap_or(NEVER)
    }

    /// Whether a deadline has come whose worker has left.
    pub(crate) fn orphans_are_due(&self, now: u64) -> bool {
        let mut orphans = self.roster.orphans();
        orphans.any(|orphan| self.workers[orphan].timers.next() <= now)
    }

    /// Serves deadlines of workers that have left. Returns how many.
    pub(crate) fn serve_orphans(&self, now: u64) -> usize {
        let mut served = 0;
        for orphan in self.roster.orphans() {
            let timers = &self.workers[orphan].timers;
            if timers.next() <= now {
                served += timers.serve(now);
            }
            if timers.next() == NEVER || self.roster.is_active(orphan) {
                self.roster.adopt(orphan);
                // Its worker may have marked it anew just before: it did so after its duty had changed.
                if !self.roster.is_active(orphan) {
                    self.leave_wheel(orphan);
                }
            }
        }
        served
    }

    pub(crate) fn resize_figures(&self) -> ResizeFigures {
        let roster = &self.roster;
        ResizeFigures {
            active: roster.active() as u64,
            leaving: roster.leaving() as u64,
            max: roster.max() as u64,
            resizes: roster.resizes.load(Relaxed),
            moved: roster.moved.load(Relaxed),
        }
    }
}
