//! The end of a routine: the last thing its body does, on its own stack.
//!
//! Everything that may run foreign code happens here, where a panic can be caught and a destructor
//! may block, and not in the worker: dropping a result that nobody wants, and waking whoever waits.
//! The worker's part (stack, block, state) follows after the switch.
//!
//! A routine that never runs ends here too, on whichever thread gives it up.

use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::join::Joiner;
use crate::memory;
use crate::routine::extra::Extra;
use crate::routine::{RoutineRef, body};
use crate::scheduler::{stats, worker};
use crate::scope::ScopePanic;
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
    if let Some(extra) = routine.header().extra() {
        body::swallow(|| extra.unbind());
    }
    count(routine, &end);
    let header = routine.header();
    let panic = match end {
        End::Panicked(message) => Some(ScopePanic {
            routine: header.routine_id(),
            name: header.name(),
            message,
        }),
        _ => None,
    };
    if let Some(panic) = &panic {
        log(routine, panic);
    }
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
    if let Some(scope) = header.extra().and_then(Extra::take_scope) {
        scope.child_ended(panic);
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

fn log(routine: RoutineRef, panic: &ScopePanic) {
    let header = routine.header();
    routine.shared().log_panic(PanicRecord {
        at_ns: time::now_ns(),
        routine: panic.routine,
        name: panic.name.clone(),
        site: header.site(),
        message: panic.message.clone(),
        workload: header.workload().map(|w| w.id),
    });
}
