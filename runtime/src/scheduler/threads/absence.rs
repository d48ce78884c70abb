//! A thread that is without a worker in the middle of a turn: since when, and why.
//!
//! Whoever takes the worker begins it, the thread itself adds when it wants another one, and whoever gives it
//! that one ends it. These follow each other: a thread wants one, and is given one, after the desk's lock
//! has been free since the taking ([`Desk`](super::Desk)).

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};

use super::ThreadSlot;
use crate::id::{RoutineId, WorkerId, WorkloadId};
use crate::snapshot::{AbsentThread, HandOff};

/// See the module's text.
pub(crate) struct Absence {
    /// When it began, 0 for none.
    since: AtomicU64,
    /// Since when the thread wants a worker, 0 if it has not asked for one.
    wanting: AtomicU64,
    frozen: AtomicBool,
    from: AtomicU32,
}

/// What is known of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) since: u64,
    pub(crate) wanting: Option<u64>,
    pub(crate) why: HandOff,
    pub(crate) from: u32,
}

impl Absence {
    pub(super) fn new() -> Absence {
        Absence {
            since: AtomicU64::new(0),
            wanting: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
            from: AtomicU32::new(0),
        }
    }

    /// The worker `from` was taken. By whoever did.
    pub(crate) fn begin(&self, now: u64, why: HandOff, from: u32) {
        self.frozen.store(why == HandOff::Frozen, Relaxed);
        self.from.store(from, Relaxed);
        // Release pairs with the acquire in `facts`.
        self.since.store(now, Release);
    }

    /// The thread, which is the caller, wants a worker from now on.
    pub(super) fn want(&self, now: u64) {
        self.wanting.store(now, Relaxed);
    }

    /// The thread is given a worker. By whoever gives it.
    pub(crate) fn end(&self) -> Option<Facts> {
        let facts = self.facts();
        self.since.store(0, Relaxed);
        self.wanting.store(0, Relaxed);
        facts
    }

    /// What is known now; to be checked by a second look, as it may end meanwhile.
    pub(super) fn facts(&self) -> Option<Facts> {
        // Acquire pairs with the release in `begin`.
        let since = self.since.load(Acquire);
        if since == 0 {
            return None;
        }
        let frozen = self.frozen.load(Relaxed);
        // A thread that is stopped is queued for a worker at once; if it was let go without, it asks again.
        let wanting = match self.wanting.load(Relaxed) {
            0 => frozen.then_some(since),
            wanting => Some(wanting),
        };
        Some(Facts {
            since,
            wanting,
            why: if frozen {
                HandOff::Frozen
            } else {
                HandOff::Blocked
            },
            from: self.from.load(Relaxed),
        })
    }
}

impl ThreadSlot {
    /// The absence that goes on, for bystanders: `None` if it has ended while they looked.
    pub(super) fn absent(&self) -> Option<AbsentThread> {
        let facts = self.absence.facts()?;
        let block = self.routine.load(Relaxed);
        // SAFETY: blocks stay mapped and initialised as long as their slabs, which the runtime keeps.
        let header = unsafe { block.as_ref() }?;
        // Acquire pairs with the release store in `Header::init`.
        let routine = header.id.load(Acquire);
        if routine == 0 {
            return None;
        }
        let workload = header.workload_id();
        let absent = AbsentThread {
            thread: self.index,
            thread_id: self.leash.tid.load(Relaxed),
            since_ns: facts.since,
            wanting_since_ns: facts.wanting,
            why: facts.why,
            from: WorkerId::new(facts.from),
            routine: RoutineId::new(routine),
            site: header.site(),
            workload: (workload != 0).then(|| WorkloadId::new(workload)),
        };
        // Partner is the fence in `Header::init`: what was read of the block is of this routine.
        fence(Acquire);
        let same = header.id.load(Relaxed) == routine
            && self.routine.load(Relaxed) == block
            && self.absence.facts() == Some(facts);
        same.then_some(absent)
    }
}
