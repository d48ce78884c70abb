//! The end of a routine: the last thing its body does, on its own stack.
//!
//! Everything that may run foreign code happens here, where a panic can be caught and a destructor
//! may block, and not in the worker: dropping a result that nobody wants, and waking whoever waits.
//! The worker's part (stack, block, state) follows after the switch.
//!
//! A routine that never runs ends here too, on whichever thread gives it up.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::join::Joiner;
use crate::memory;
use crate::routine::{RoutineRef, body};
use crate::scheduler::{stats, worker};
use crate::scope::ScopeData;
use crate::snapshot::PanicRecord;
use crate::thread_state;
use crate::time;

/// How a routine ended.
pub(crate) enum End {
    /// With a value.
    Returned,
    /// By a panic with this message.
    Panicked(String),
    /// By a cancel.
    Cancelled,
}

/// Counts the end, then hands the result over. The result is stored already.
///
/// Counting comes first, so that whoever joined finds the routine among the ended ones.
pub(crate) fn finish(routine: RoutineRef, end: End) {
    count(routine, &end);
    let panicked = matches!(end, End::Panicked(_));
    if let End::Panicked(message) = end {
        log(routine, message);
    }
    let header = routine.header();
    // Whoever joined finds what it allocated in its workload's counters, too.
    thread_state::with(memory::settle);
    // SAFETY: we run the routine, which ends once.
    match unsafe { header.finish_join() } {
        Joiner::Nobody => {}
        Joiner::Waits(waker) => {
            // A foreign waker may panic; the routine has its result all the same.
            body::swallow(move || waker.wake());
        }
        // SAFETY: the handle is gone, so the result is ours.
        Joiner::Gone => unsafe { body::discard(header) },
    }
    // Last: when the scope's wait ends, nothing that a child borrowed may be touched any more.
    let scope = header
        .extra()
        .map_or(null_mut(), |extra| extra.scope.swap(null_mut(), Relaxed));
    if !scope.is_null() {
        // SAFETY: 1: the routine was born with this strong reference, and it is taken out once;
        // 2: body and, unless a handle has it, result are gone.
        unsafe { ScopeData::child_ended(scope, panicked) };
    }
}

fn count(routine: RoutineRef, end: &End) {
    let shared = routine.shared();
    worker::with_core_of(shared, |core| match core {
        Some(core) => {
            let stats = core.stats();
            match end {
                End::Returned => {}
                End::Panicked(_) => stats::add(&stats.panicked, 1),
                End::Cancelled => stats::add(&stats.cancelled, 1),
            }
            stats::add(&stats.ended, 1);
        }
        // It never ran. Release pairs with the acquire loads of the snapshot.
        None => {
            match end {
                End::Returned => {}
                End::Panicked(_) => drop(shared.foreign.panicked.fetch_add(1, Release)),
                End::Cancelled => drop(shared.foreign.cancelled.fetch_add(1, Release)),
            }
            shared.foreign.ended.fetch_add(1, Release);
        }
    });
    if let Some(workload) = routine.header().workload() {
        match end {
            End::Returned => {}
            End::Panicked(_) => {
                workload.panicked.fetch_add(1, Relaxed);
            }
            End::Cancelled => {
                workload.cancelled_routines.fetch_add(1, Relaxed);
            }
        }
        workload.ended.fetch_add(1, Relaxed);
    }
}

fn log(routine: RoutineRef, message: String) {
    let header = routine.header();
    routine.shared().log_panic(PanicRecord {
        at_ns: time::now_ns(),
        routine: header.routine_id(),
        name: header.name(),
        site: header.site(),
        message,
        workload: header.workload().map(|w| w.id),
    });
}
