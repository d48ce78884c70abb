//! Readying: how a blocked routine becomes runnable, from wherever the call comes.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::routine::life::{CancelLevel, Ticket, Wake};
use crate::routine::{Held, RoutineRef};
use crate::scheduler::Shared;
use crate::scheduler::timers::Due;
use crate::scheduler::worker::{self, WorkerCore};
use crate::snapshot::{Source, WaitReason};
use crate::time;

/// Turn routines readied by a timer or the poller that a worker takes at its front, where no thief sees
/// them; beyond, they go to the deque.
const URGENT_MAX: u64 = 64;

/// Readies the routine if it still waits in the wait that `ticket` names.
pub(crate) fn ready(routine: RoutineRef, ticket: Ticket, source: Source) {
    if let Wake::Won(reason) = routine.header().life.wake(ticket) {
        queue_woken(routine, reason, source);
    }
}

/// Asks or tells the routine to end, and readies it if it is blocked.
pub(crate) fn cancel(routine: RoutineRef, level: CancelLevel) {
    if let Wake::Won(reason) = routine.header().life.ask_cancel(level) {
        queue_woken(routine, reason, Source::Inbox);
    }
}

/// Aborts the routine after `grace`, if it has not ended by then.
pub(crate) fn abort_later(routine: RoutineRef, grace: Duration) {
    if routine.header().join.is_done() {
        return;
    }
    let at = time::deadline(grace);
    let shared = routine.shared();
    let index = worker::with_core_of(shared, |core| core.map_or(0, |core| core.index as usize));
    let due = Due::Abort(Held::new(routine));
    if shared.workers[index].timers.insert(at, due).1 {
        shared.wake_worker(index);
    }
}

/// Queues a routine that the caller has just made runnable.
pub(crate) fn queue_woken(routine: RoutineRef, reason: WaitReason, source: Source) {
    let shared = routine.shared();
    worker::with_core_of(shared, |core| match core {
        Some(core) => {
            core.stats().count_ready(reason);
            queue_on_worker(core, routine, source);
        }
        None => queue_from_outside(shared, routine, reason, source),
    });
}

#[inline(never)]
fn queue_from_outside(shared: &Shared, routine: RoutineRef, reason: WaitReason, source: Source) {
    shared.foreign.readies[reason as usize].fetch_add(1, Relaxed);
    routine.header().touch(time::now_ns());
    match home_of(shared, routine) {
        Some(home) => to_home(routine, home, source),
        None => shared.inject(routine),
    }
}

/// The home in whose queues alone the routine may be: that of a thread. `None` if any worker may run it: it
/// has no stack, or a home that travels.
#[inline]
pub(crate) fn home_of(shared: &Shared, routine: RoutineRef) -> Option<u32> {
    let header = routine.header();
    // Relaxed: whoever won the routine's wake sees what its last turn wrote.
    if header.stack.load(Relaxed).is_null() {
        return None;
    }
    let home = header.home.load(Relaxed);
    match &shared.homes {
        Err(_) => Some(home),
        Ok(homes) => homes.at(home).held_on(routine),
    }
}

fn queue_on_worker(core: &WorkerCore, routine: RoutineRef, source: Source) {
    let header = routine.header();
    header.touch(core.now.get());
    let urgent = source.is_urgent();
    match home_of(&core.shared, routine) {
        Some(home) if home != core.home().index => to_home(routine, home, source),
        Some(_) if urgent => core.push_urgent_bound(routine, source),
        Some(_) => core.push_lifo(routine),
        None if urgent && core.queue_len() < URGENT_MAX => core.push_urgent_common(routine, source),
        None => core.push_local(routine, source),
    }
}

#[inline(never)]
fn to_home(routine: RoutineRef, home: u32, source: Source) {
    let shared = routine.shared();
    let header = routine.header();
    let urgent = source.is_urgent();
    header.set_source(if urgent { source } else { Source::Inbox });
    shared.threads.home(home).inbox.push(routine);
    shared.home_has_work(home);
}
