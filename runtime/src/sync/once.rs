//! Running something once.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::cancel;
use crate::primitives::{AtomicU8, ShortLock, const_unless_loom};
use crate::scheduler::explore;
use crate::snapshot::WaitReason;
use crate::sync::holder::Holder;
use crate::sync::station::{State, Waiters, serve, serve_all, wait_for};

const FRESH: u8 = 0;
const DONE: u8 = 1;
const POISONED: u8 = 2;

/// Runs an initialisation once; others who come meanwhile wait for it, as routines do.
///
/// A panic of the initialisation poisons it, as in the standard library. A cancel does not: the next one
/// who comes runs it.
///
/// ```
/// use openwork::{Runtime, scope, sync::Once};
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
///
/// static BEGIN: Once = Once::new();
/// static TIMES: AtomicU32 = AtomicU32::new(0);
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// rt.block_on(|| {
///     scope(|s| {
///         for _ in 0..4 {
///             s.spawn(|| BEGIN.call_once(|| drop(TIMES.fetch_add(1, Relaxed))));
///         }
///     });
/// });
/// assert!(BEGIN.is_completed());
/// assert_eq!(TIMES.load(Relaxed), 1);
/// ```
pub struct Once {
    /// FRESH, DONE or POISONED; changes under the lock.
    stage: AtomicU8,
    state: ShortLock<OnceState>,
}

/// What [`Once::call_once_force`] tells the initialisation.
///
/// ```
/// use openwork::sync::Once;
///
/// # std::panic::set_hook(Box::new(|_| {}));
/// static READY: Once = Once::new();
/// let failed = std::panic::catch_unwind(|| READY.call_once(|| panic!("no ink")));
/// assert!(failed.is_err());
/// READY.call_once_force(|stage| assert!(stage.is_poisoned()));
/// ```
#[derive(Debug)]
pub struct OnceStage {
    poisoned: bool,
}

impl OnceStage {
    /// Whether an earlier run panicked.
    ///
    /// ```
    /// openwork::sync::Once::new().call_once_force(|stage| assert!(!stage.is_poisoned()));
    /// ```
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

struct OnceState {
    /// Who runs the initialisation.
    runs: Option<Holder>,
    waiters: Waiters<()>,
}

impl State for OnceState {
    type Order = ();
    const REASON: WaitReason = WaitReason::Once;

    fn waiters(&mut self) -> &mut Waiters<()> {
        &mut self.waiters
    }

    fn attempt(&mut self, (): &mut ()) -> bool {
        self.runs.is_none()
    }
}

/// Who runs the initialisation that somebody waits for.
///
/// # Safety
/// 1. Alive: somebody waits with reason `Once` at `object`, and does not go on meanwhile.
pub(super) unsafe fn runner(object: *const ()) -> Holder {
    // SAFETY: 1 by the caller; with this reason only this state is waited at.
    let state = unsafe { &*object.cast::<ShortLock<OnceState>>() };
    state.lock().runs.unwrap_or(Holder::NOBODY)
}

// What a panic left half made is what the poison tells of.
impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// The caller runs the initialisation; dropping this says how it ended.
pub(super) struct Run<'a> {
    once: &'a Once,
    /// What the stage was, and is again if the run comes to nothing.
    stage: u8,
    done: bool,
    poisons: bool,
}

enum Begin<'a> {
    Done,
    Run(Run<'a>),
    /// For this one.
    Wait(Holder),
}

impl Once {
    const_unless_loom! {
        /// Nothing has run; may be a `static`.
        ///
        /// ```
        /// use openwork::sync::Once;
        ///
        /// static BEGIN: Once = Once::new();
        /// assert!(!BEGIN.is_completed());
        /// ```
        pub fn new() -> Once {
            Once {
                stage: AtomicU8::new(FRESH),
                state: ShortLock::new(OnceState {
                    runs: None,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    /// Runs `init`, unless an initialisation has run; waits for one that runs. What it wrote is visible
    /// afterwards. A routine that waits blocks with reason `once`, and unwinds if it was asked to end.
    ///
    /// ```
    /// let (once, mut times) = (openwork::sync::Once::new(), 0);
    /// once.call_once(|| times += 1);
    /// once.call_once(|| times += 1);
    /// assert_eq!(times, 1);
    /// ```
    ///
    /// # Panics
    /// If an earlier run panicked; if `init` itself comes back here; if it would have to wait while the
    /// caller is panicking, or in a destructor that the scheduler itself runs.
    #[inline]
    pub fn call_once(&self, init: impl FnOnce()) {
        if self.is_completed() {
            return;
        }
        if let Some(run) = self.begin(true, false) {
            init();
            run.finish();
        }
    }

    /// As [`call_once`](Self::call_once), but also runs after a run that panicked.
    ///
    /// ```
    /// use openwork::sync::Once;
    ///
    /// let once = Once::new();
    /// let failed = std::panic::catch_unwind(|| once.call_once(|| std::panic::panic_any("no")));
    /// assert!(failed.is_err());
    /// once.call_once_force(|stage| assert!(stage.is_poisoned()));
    /// assert!(once.is_completed());
    /// ```
    ///
    /// # Panics
    /// As [`call_once`](Self::call_once), less the first case.
    pub fn call_once_force(&self, init: impl FnOnce(&OnceStage)) {
        if self.is_completed() {
            return;
        }
        if let Some(run) = self.begin(true, true) {
            init(&OnceStage {
                poisoned: run.stage == POISONED,
            });
            run.finish();
        }
    }

    /// Whether an initialisation has run to its end.
    ///
    /// ```
    /// let once = openwork::sync::Once::new();
    /// once.call_once(|| ());
    /// assert!(once.is_completed());
    /// ```
    #[inline]
    pub fn is_completed(&self) -> bool {
        // Acquire pairs with the store in `Run::drop`.
        self.stage.load(Acquire) == DONE
    }

    /// Waits until an initialisation has run, or may be run by the caller. `poisons`: whether a panic of
    /// this run poisons; `force`: whether an earlier one is no matter.
    #[cold]
    pub(super) fn begin(&self, poisons: bool, force: bool) -> Option<Run<'_>> {
        explore::point();
        let me = Holder::me();
        loop {
            match self.try_begin(me, poisons) {
                Begin::Done => return None,
                Begin::Run(run) => {
                    if run.stage == POISONED && !force {
                        drop(run);
                        panic!("the initialisation has panicked before");
                    }
                    return Some(run);
                }
                Begin::Wait(runs) => {
                    assert!(runs != me, "the initialisation came back to itself");
                    wait_for(&self.state, (), "Once::call_once");
                }
            }
        }
    }

    fn try_begin(&self, me: Holder, poisons: bool) -> Begin<'_> {
        let mut state = self.state.lock();
        let stage = self.stage.load(Relaxed);
        match state.runs {
            _ if stage == DONE => Begin::Done,
            Some(runs) => Begin::Wait(runs),
            None => {
                state.runs = Some(me);
                Begin::Run(Run {
                    once: self,
                    stage,
                    done: false,
                    poisons,
                })
            }
        }
    }
}

impl Run<'_> {
    pub(super) fn finish(mut self) {
        self.done = true;
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let stage = if self.done {
            DONE
        } else if self.poisons && cancel::is_panicking() {
            POISONED
        } else {
            self.stage
        };
        let mut state = self.once.state.lock();
        // Release pairs with the load in `is_completed`.
        self.once.stage.store(stage, Release);
        state.runs = None;
        drop(state);
        // All of them, even if it is to run again: one alone could give up before it begins.
        serve_all(&self.once.state, |state| {
            serve(&mut state.waiters, |()| true, |()| ())
        });
    }
}

impl Default for Once {
    fn default() -> Once {
        Once::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("completed", &self.is_completed())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::Place;
    use crate::sync::station::Task;
    use crate::sync::station::model::{block_on, check};
    use loom::sync::Arc;
    use loom::thread;

    struct World {
        once: Once,
        value: Place<u32>,
    }

    // SAFETY: the value is written by who runs, and read afterwards, which is what is checked.
    unsafe impl Sync for World {}
    // SAFETY: as above.
    unsafe impl Send for World {}

    /// As `call_once`, with a wait that the checker knows. `fails`: comes to nothing.
    fn call(world: &World, me: u64, fails: bool) {
        while !world.once.is_completed() {
            match world.once.try_begin(Holder(me), false) {
                Begin::Done => break,
                Begin::Run(run) if fails => return drop(run),
                Begin::Run(run) => {
                    // SAFETY: we run alone, and before us nobody came to an end.
                    unsafe { world.value.put(7) };
                    run.finish();
                }
                Begin::Wait(_) => {
                    let mut task = std::pin::pin!(Task::new(&world.once.state, ()));
                    // SAFETY: pinned on the line before, and not moved after.
                    block_on(std::future::poll_fn(|cx| unsafe {
                        task.as_mut().get_unchecked_mut().poll(cx).map(|_| ())
                    }));
                }
            }
        }
        // SAFETY: it has run.
        assert_eq!(unsafe { world.value.peek() }, 7);
    }

    /// One of three comes to nothing, one runs, the others see what it wrote. Breaks if the stage is
    /// stored or loaded relaxed, or if a run that comes to nothing wakes nobody.
    #[test]
    fn one_runs_and_all_see_it() {
        check(|| {
            let world = Arc::new(World {
                once: Once::new(),
                value: Place::new(),
            });
            let others = [(2, false), (3, true)].map(|(me, fails)| {
                let world = world.clone();
                thread::spawn(move || call(&world, me, fails))
            });
            call(&world, 1, false);
            others.map(|other| other.join().unwrap());
            // SAFETY: all have ended; the checker wants its places emptied by nobody.
            assert_eq!(unsafe { world.value.peek() }, 7);
        });
    }
}
