//! Running something once.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::cancel;
use crate::primitives::const_unless_loom;
use crate::scheduler::explore;
use crate::snapshot::WaitReason;
use crate::sync::holder::Holder;
use crate::sync::lock::Lock;
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
    state: Lock<OnceState>,
}

/// What [`Once::call_once_force`] tells the initialisation.
#[derive(Debug)]
pub struct OnceStage {
    poisoned: bool,
}

impl OnceStage {
    /// Whether an earlier run panicked.
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

impl Once {
    const_unless_loom! {
        /// Nothing has run; may be a `static`.
        pub fn new() -> Once {
            Once {
                stage: AtomicU8::new(FRESH),
                state: Lock::new(OnceState {
                    runs: None,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    /// Runs `init`, unless an initialisation has run; waits for one that runs. What it wrote is visible
    /// afterwards. A routine that waits blocks with reason `once`, and unwinds if it was asked to end.
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
            let mut state = self.state.lock();
            match (self.stage.load(Relaxed), state.runs) {
                (DONE, _) => return None,
                (POISONED, None) if !force => {
                    drop(state);
                    panic!("the initialisation has panicked before");
                }
                (stage, None) => {
                    state.runs = Some(me);
                    return Some(Run {
                        once: self,
                        stage,
                        done: false,
                        poisons,
                    });
                }
                (_, Some(runs)) => {
                    drop(state);
                    assert!(runs != me, "the initialisation came back to itself");
                    wait_for(&self.state, (), "Once::call_once");
                }
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
