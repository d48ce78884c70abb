//! How a worker goes out of service: it hands out what it has and lets go of its thread, whose home then
//! wants a worker as any other does. The steps are D1 to D5 of *More and fewer workers* in
//! `docs/scheduler.md`.

use std::sync::atomic::Ordering::Relaxed;

use super::WorkerCore;
use super::held;
use crate::priority::Priority;
use crate::scheduler::NO_HOME;
use crate::scheduler::threads::{Leaves, ThreadSlot};

impl WorkerCore {
    /// Whether this worker is to go out of service.
    #[inline]
    pub(super) fn must_leave(&self) -> bool {
        self.shared.roster.must_leave(self.index)
    }

    /// What the thread's home keeps when this worker goes.
    pub(super) fn leaves_behind(&self) -> Leaves {
        match self.held() {
            Some(held) if held::is_runnable(held) => Leaves::Work,
            Some(_) => Leaves::Holder,
            None if self.home_is_empty() => Leaves::Nothing(self.home().tenants()),
            None => Leaves::Work,
        }
    }

    /// Goes out of service, if it must. Then the thread rests until it is given another worker. False if it stays.
    /// Between two turns; `searching` says whether the worker counts as one that searches.
    pub(super) fn leave_service(&self, slot: &ThreadSlot, searching: bool) -> bool {
        if !self.must_leave() {
            return false;
        }
        let shared = slot.shared();
        // Step D2.
        shared.roster.sees_duty();
        self.hand_out();
        // It will not park, and who waits for the last routine's end must be told.
        shared.end.note_idle(shared);
        // Step D3.
        let me = self.index as usize;
        let orphans = shared.leave_wheel(me);
        let home = self.home().index;
        let leaves = self.leaves_behind();
        self.mine().home.store(NO_HOME, Relaxed);
        self.stats().thread_id.store(0, Relaxed);
        // Step D4.
        let left = shared.threads.desk.put_down(home, leaves, || {
            let left = shared.roster.leave(self.index);
            if left {
                slot.let_go();
            }
            left
        });
        if !left {
            shared.roster.adopt(me);
            self.bind(slot);
            return false;
        }
        // Step D5. The worker is not ours any more, and the thread may have been given another one.
        if searching {
            let _ = shared.idle.stop_searching();
        }
        if leaves != Leaves::Work {
            shared.look_again(home);
        }
        if orphans {
            shared.wake_worker(shared.roster.guardian(me));
        }
        // For what was handed out, for a home that was queued, for submitters that relied on us as a
        // searcher, and for the poller's seat.
        shared.notify_work();
        true
    }

    /// Step D1: everything goes to where others find it.
    fn hand_out(&self) {
        let shared = &self.shared;
        let mut moved = 0;
        shared.hand_out_assigned(self.index as usize);
        // Destructors of foreign code may run while a queue takes something in, and spawn.
        loop {
            let own = self.own();
            let next = own
                .pop_urgent()
                .or_else(|| own.pop_unhurried())
                .or_else(|| own.pop_level(Priority::High))
                .or_else(|| own.pop_level(Priority::Low))
                .or_else(|| self.local.pop());
            let Some(routine) = next else { break };
            shared.inject_quietly(routine);
            moved += 1;
        }
        shared.roster.moved.fetch_add(moved, Relaxed);
        self.local.forget_generation();
        self.retire();
        self.pool.borrow_mut().give_all_back();
    }
}
