//! What a deterministic runtime puts in the place of chance: its clock, and where routines may be
//! made to give way.
//!
//! Such a runtime has one worker, on the thread that asked for it, and a worker's core that has an
//! [`Exploration`]. The loop that chooses is [`worker::explored`](super::worker); the face is
//! [`deterministic`](crate::deterministic).
//!
//! The rest of the crate pays one relaxed load for it wherever it asks ([`is_live`]), and nothing in
//! a worker's own loop: a deterministic worker runs another one.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use crate::deterministic::strategy::Chooser;
use crate::routine::RoutineRef;
use crate::scheduler::block::{self, Context};
use crate::scheduler::threads;
use crate::scheduler::worker::{self, WorkerCore};
use crate::snapshot::WaitReason;
use crate::thread_state;

/// Why operations look twice at where they are: the lower half counts deterministic runtimes that run in
/// this process now, the upper half turns that a monitor has asked to give way.
static REASONS: AtomicU32 = AtomicU32::new(0);
const LIVE: u32 = 0xffff;
#[cfg(not(portable))]
const ONE_ASKED: u32 = 1 << 16;

/// What the core of a deterministic worker has in addition.
pub(crate) struct Exploration {
    /// Nanoseconds since the run began.
    pub(crate) clock: Cell<u64>,
    pub(crate) chooser: RefCell<Chooser>,
    /// Routines that can run, by number: queues are emptied into it before each choice, so that
    /// their order has no say.
    pub(crate) runnable: RefCell<Vec<RoutineRef>>,
    /// Chosen at an exploration point: the one that gave way has asked already.
    pub(crate) chosen: Cell<Option<RoutineRef>>,
    /// The run is over and its routines are being cancelled: nothing is explored any more.
    pub(crate) ending: Cell<bool>,
    /// Where blocked routines stand, while they are asked; see [`tell_where`].
    pub(crate) places: RefCell<Option<Vec<(u64, Backtrace)>>>,
}

impl Exploration {
    pub(crate) fn new(chooser: Chooser) -> Exploration {
        Exploration {
            clock: Cell::new(0),
            chooser: RefCell::new(chooser),
            runnable: RefCell::new(Vec::new()),
            chosen: Cell::new(None),
            ending: Cell::new(false),
            places: RefCell::new(None),
        }
    }
}

/// Counts a deterministic runtime as long as its thread is inside it.
pub(crate) struct Live(());

impl Live {
    pub(crate) fn new() -> Live {
        REASONS.fetch_add(1, Relaxed);
        Live(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        REASONS.fetch_sub(1, Relaxed);
    }
}

/// Whether some thread is inside a deterministic runtime; the caller's own, perhaps.
#[inline(always)]
pub(crate) fn is_live() -> bool {
    // Relaxed: a thread that is inside has counted itself.
    REASONS.load(Relaxed) & LIVE != 0
}

/// Whether the calling thread is inside a deterministic runtime.
pub(crate) fn is_here() -> bool {
    is_live() && with(|_, _| ()).is_some()
}

/// Runs `f` on the exploration that the calling thread is inside of. `f` must not suspend.
#[cold]
pub(crate) fn with<R>(f: impl FnOnce(&WorkerCore, &Exploration) -> R) -> Option<R> {
    worker::with_core(|core| {
        let core = core?;
        Some(f(core, core.exploration.as_deref()?))
    })
}

/// Some monitor now asks so many turns to give way, and before so many. A hint to all of the process's routines:
/// which of them is meant says [`Leash::is_asked`](crate::monitor::leash::Leash::is_asked).
#[cfg(not(portable))]
pub(crate) fn note_asked(before: u32, now: u32) {
    let step = now.wrapping_sub(before).wrapping_mul(ONE_ASKED);
    REASONS.fetch_add(step, Relaxed);
}

/// A place where the running routine may lose its turn to another one: stands at the entry of every
/// operation by which routines notice each other. Outside a deterministic runtime it does so if its monitor has
/// asked for it.
#[inline(always)]
pub(crate) fn point() {
    if REASONS.load(Relaxed) != 0 {
        point_explored();
    }
}

#[cold]
fn point_explored() {
    // Not while panicking, nor in scheduler context: nobody may give way there.
    let Context::Routine(me) = block::context() else {
        return;
    };
    if threads::take_ask() {
        block::give_way(me);
        return;
    }
    if !is_live() {
        return;
    }
    if with(|core, exploration| core.is_to_give_way(exploration, me)) == Some(true) {
        block::give_way(me);
    }
}

/// Stack that taking a backtrace may need, in bytes.
const BACKTRACE_BYTES: usize = 24 << 10;

/// After a wait, for whatever reason it ended: a routine that is asked where it stands says so and goes back
/// to sleep, until it is cancelled. Whoever asks has seen that nothing else will wake it.
#[cold]
pub(crate) fn tell_where(why: WaitReason) {
    let asked = with(|core, exploration| {
        let me = core.running()?;
        let here = std::ptr::from_ref(&me) as usize;
        let left = here - thread_state::with(|t| t.routine_stack().map_or(0, |stacks| stacks.low));
        let mut places = exploration.places.borrow_mut();
        let places = places.as_mut().filter(|_| left > BACKTRACE_BYTES)?;
        places.push((me.header().id.load(Relaxed), Backtrace::force_capture()));
        Some(())
    });
    if asked.flatten().is_some() {
        block::sleep_until_cancelled(why);
    }
}

/// For what waits for the world outside: an error inside a deterministic run.
///
/// # Errors
/// Of kind [`Unsupported`](io::ErrorKind::Unsupported).
pub(crate) fn refuse_outside() -> io::Result<()> {
    if is_here() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a deterministic run cannot wait for the world outside, which no seed decides",
        ));
    }
    Ok(())
}

/// The virtual time, if the calling thread is inside a deterministic runtime: nanoseconds since its
/// run began.
#[cold]
pub(crate) fn now_ns() -> Option<u64> {
    with(|_, exploration| exploration.clock.get())
}

/// Lets the time pass until `at` while the caller keeps the thread. False outside a deterministic
/// runtime.
#[cold]
pub(crate) fn pass_until(at: u64) -> bool {
    with(|_, exploration| {
        let clock = &exploration.clock;
        clock.set(clock.get().max(at));
    })
    .is_some()
}
