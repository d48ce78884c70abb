//! What a routine can ask and do about itself.

#[cfg(not(portable))]
use std::sync::atomic::Ordering::Relaxed;

use crate::cancel;
use crate::id::{RoutineId, WorkerId};
#[cfg(not(portable))]
use crate::profile::frames;
use crate::routine::RoutineRef;
#[cfg(not(portable))]
use crate::routine::{Header, context};
use crate::scheduler::block::{self, Context};
use crate::scheduler::threads::section::{self, Section};
use crate::scheduler::worker::{self, WorkerCore};
use crate::scheduler::{explore, threads};
#[cfg(not(portable))]
use crate::stack::overflow::{Containment, Fault, Hooks, RoutineFacts, Whose};
use crate::thread_state;
#[cfg(not(portable))]
use crate::thread_state::ThreadState;
use crate::workload::Workload;

/// Who runs here now; see [`current`].
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// # rt.block_on(|| {
/// let me = openwork::current().unwrap();
/// println!("routine {} on worker {}", me.routine, me.worker);
/// assert!(me.workload.is_none());
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Current {
    /// The routine.
    pub routine: RoutineId,
    /// The worker that runs it.
    pub worker: WorkerId,
    /// What it belongs to.
    pub workload: Option<Workload>,
}

/// The calling routine; `None` if the caller is none.
///
/// ```
/// assert!(openwork::current().is_none(), "a plain thread is no routine");
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// assert!(rt.block_on(|| openwork::current().is_some()));
/// ```
pub fn current() -> Option<Current> {
    let routine = threads::running_here()?;
    let header = routine.header();
    let worker = current_worker().or(header.last_worker())?;
    Some(Current {
        routine: header.routine_id(),
        worker,
        workload: header.clone_workload(),
    })
}

/// The worker that the calling thread holds; `None` on a foreign thread. Cheap.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// assert_eq!(rt.block_on(|| openwork::current_worker().unwrap().index()), 0);
/// assert_eq!(openwork::current_worker(), None);
/// ```
pub fn current_worker() -> Option<WorkerId> {
    worker::with_core(|core| core.map(|core| WorkerId::new(core.index)))
}

/// Gives way to whoever waits, be it one that has not begun yet; where nobody does, the routine goes on at once. A
/// cancelled routine unwinds. Does nothing outside a routine, and while panicking.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// # rt.block_on(|| {
/// use std::sync::atomic::{AtomicBool, Ordering};
/// let ready = AtomicBool::new(false);
/// openwork::scope(|s| {
///     s.spawn(|| ready.store(true, Ordering::Release));
///     while !ready.load(Ordering::Acquire) {
///         openwork::yield_now();
///     }
/// });
/// # });
/// ```
#[inline(always)]
pub fn yield_now() {
    if let Some(me) = must_yield() {
        block::give_way(me);
        cancel::raise_if_told(me);
    }
}

/// The calling routine, if somebody waits for its worker.
///
/// Not inlined, that `yield_now` is not too large to be: each return between a switch and the frame that goes
/// on is predicted wrong. And in one call, for what it asks lies behind one address.
#[inline(never)]
fn must_yield() -> Option<RoutineRef> {
    let section = Section::enter_of(thread_state::slot_inlined());
    let me = section.slot()?.running()?;
    if std::thread::panicking() {
        return None;
    }
    let passes = section.core().is_some_and(|core| core.passes_yield(me));
    drop(section);
    cancel::raise_if_told(me);
    (!passes).then_some(me)
}

/// A good place to stop: a cancelled routine unwinds, and one that has run for longer than its
/// slice (10 ms, or [`RuntimeConfig::slice`](crate::config::RuntimeConfig::slice)) while others wait gives
/// way, unless [preemption](crate::config::Preemption) is off. One whose worker went to others while it slept in the
/// kernel waits for another. Otherwise costs a few nanoseconds. For long loops that make no
/// other call into this crate.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// # rt.block_on(|| {
/// let mut sum = 0u64;
/// for n in 0..1_000_000 {
///     sum += n;
///     if n % 1_000 == 0 {
///         openwork::checkpoint();
///     }
/// }
/// assert_eq!(sum, 499_999_500_000);
/// # });
/// ```
pub fn checkpoint() {
    if let Context::Routine(me) = block::context() {
        explore::point();
        cancel::raise_if_told(me);
        let over = worker::with_core(|core| {
            core.map(|core: &WorkerCore| core.others_wait() && core.must_give_way())
        });
        match over {
            Some(false) => {}
            Some(true) => {
                threads::note_way();
                block::give_way(me);
                cancel::raise_if_told(me);
            }
            // It was taken while the thread slept in the kernel: there are as many turns as workers, and this is
            // one too many.
            None => section::regain_if_fair(),
        }
    }
}

/// Whether the calling routine was asked to end.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let (begun_tx, begun_rx) = openwork::channel::bounded(1);
/// let loops = rt.spawn(move || {
///     begun_tx.send(()).unwrap();
///     let mut rounds = 0u64;
///     while !openwork::is_cancelled() {
///         rounds += 1;
///     }
///     rounds
/// });
/// begun_rx.recv().unwrap();
/// loops.cancel(std::time::Duration::from_secs(10));
/// loops.join().unwrap();
/// ```
pub fn is_cancelled() -> bool {
    match block::context() {
        Context::Routine(me) | Context::Panicking(me) => {
            me.header().life.cancel_level() != crate::routine::life::CancelLevel::None
        }
        Context::Thread | Context::Scheduler => false,
    }
}

/// What the handler for overflows asks here. All of it is async-signal-safe: it reads atomics.
#[cfg(not(portable))]
pub(crate) const OVERFLOW_HOOKS: Hooks = Hooks {
    who_runs: overflow_facts,
    contain: contain_overflow,
};

#[cfg(not(portable))]
fn overflow_facts(fault: &Fault) -> (Option<RoutineFacts>, Whose) {
    let slot = fault.start..fault.end;
    thread_state::with(|t| {
        let routine = t.routine();
        // SAFETY: the worker stores the routine that it runs, whose block lives through the turn;
        // we interrupt that very thread.
        let Some(header) = (unsafe { routine.as_ref() }) else {
            let is_here = slot.contains(&t.native_low.load(Relaxed));
            let whose = if is_here {
                Whose::Segment
            } else {
                Whose::Others
            };
            return (None, whose);
        };
        let part = header.stack.load(Relaxed);
        let whose = if context::is_within(part, fault.start, fault.end) {
            Whose::RoutinesOwn
        } else if t.routine_stack().is_some_and(|stacks| {
            // SAFETY: 1: the routine runs on this thread, which is in the handler.
            unsafe { stacks.reach(&slot) }
        }) {
            Whose::Segment
        } else {
            Whose::Others
        };
        let facts = RoutineFacts {
            id: header.id.load(Relaxed),
            name: header.name_bytes(),
            site: header.site(),
            containment: containment(t, header, whose, fault),
        };
        (Some(facts), whose)
    })
}

/// Whether the routine that runs on this thread may be ended where it is.
#[cfg(not(portable))]
fn containment(thread: &ThreadState, header: &Header, whose: Whose, at: &Fault) -> Containment {
    if !header.is_contained() || whose == Whose::Others {
        return Containment::NotAsked;
    }
    let in_section = thread
        .slot()
        .is_none_or(|slot| slot.leash.section.load(Relaxed) != 0);
    let in_allocator = thread.in_instrument.load(Relaxed) != 0 || thread.apart.load(Relaxed) != 0;
    let in_scope = header
        .extra()
        .is_some_and(|extra| extra.open_scopes().load(Relaxed) > 0);
    if in_section || in_allocator {
        Containment::Refused("inside the runtime")
    } else if std::thread::panicking() {
        Containment::Refused("while it panics")
    } else if in_scope {
        Containment::Refused("while a scope of it is open")
    } else if !(at.start..at.end).contains(&at.sp) || !frames::in_program(at.pc) {
        Containment::Refused("in foreign code")
    } else {
        Containment::Possible
    }
}

/// # Safety
/// 1. Exclusive: [`overflow_facts`] has just said that it is possible.
#[cfg(not(portable))]
unsafe fn contain_overflow(interrupted: *mut libc::c_void) {
    thread_state::with(|t| {
        // SAFETY: 1 by the caller: a routine runs here, which was interrupted in code of its own, and which
        // was spawned by somebody who promised that its frames may be given up.
        unsafe {
            let part = (*t.routine()).stack.load(Relaxed);
            context::end_turn(part, interrupted);
        }
    });
}
