//! A strategy of the user's own: where fresh routines go and whom a thief tries first.

use std::panic::Location;

use crate::id::{RoutineId, WorkerId, WorkloadId};
use crate::scheduler::Shared;
use crate::snapshot::RoutineKind;

/// Decides where fresh routines go and whom idle workers steal from, in place of the built-in strategies.
/// Given to a runtime by [`RuntimeBuilder::strategy`](crate::RuntimeBuilder::strategy); asked while
/// [`Placement::Custom`](super::Placement::Custom) or [`VictimOrder::Custom`](super::VictimOrder::Custom) is
/// set, and for that alone.
///
/// Both functions get plain values and are called often, from several threads at once: they should be short.
/// One that panics is counted and not asked any more; the default strategy takes its place.
///
/// ```
/// use openwork::config::{FreshRoutine, Placement, Strategy, Workers};
/// use openwork::{Builder, Runtime, WorkerId, current_worker};
///
/// /// Whatever is named "ui" has worker 0 for itself.
/// struct Reserved;
///
/// impl Strategy for Reserved {
///     fn place(&self, routine: &FreshRoutine<'_>, workers: &Workers<'_>) -> Option<WorkerId> {
///         match routine.name {
///             "ui" => Some(WorkerId::new(0)),
///             _ => workers.iter().skip(1).min_by_key(|w| w.waiting).map(|w| w.id),
///         }
///     }
/// }
///
/// let rt = Runtime::builder()
///     .workers(2)
///     .strategy(Reserved)
///     .placement(Placement::Custom)
///     .build()
///     .unwrap();
/// let ui = Builder::new().name("ui").on(&rt.handle()).spawn(|| "drawn").unwrap();
/// assert_eq!(ui.join().unwrap(), "drawn");
/// ```
pub trait Strategy: Send + Sync + 'static {
    /// The worker on which `routine` is to wait for its first turn; `None`, or one that there is not, leaves it
    /// where it is spawned. Idle workers may steal it from there.
    ///
    /// Runs in the context of whoever spawns, before the routine exists: it may call this crate, and even
    /// block. A spawn in it is placed by it again, so it must not spawn without end.
    fn place(&self, routine: &FreshRoutine<'_>, workers: &Workers<'_>) -> Option<WorkerId> {
        let _ = (routine, workers);
        None
    }

    /// The worker that `thief` tries to steal from first; `None`, the thief itself, or one that there is not
    /// leaves that to chance. If there is nothing to be had, the thief tries all others.
    ///
    /// Runs between the turns of `thief`: nothing in it may block. A call of this crate that would panics.
    fn victim(&self, thief: WorkerId, workers: &Workers<'_>) -> Option<WorkerId> {
        let _ = (thief, workers);
        None
    }
}

/// A routine that is about to be spawned.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FreshRoutine<'a> {
    /// Its name; empty if it has none.
    pub name: &'a str,
    /// Where it is spawned.
    pub site: &'static Location<'static>,
    /// How it will be run.
    pub kind: RoutineKind,
    /// What it belongs to.
    pub workload: Option<WorkloadId>,
    /// Who spawns it; `None` if that is no routine of this runtime.
    pub parent: Option<RoutineId>,
    /// The worker that runs the spawner.
    pub spawned_on: Option<WorkerId>,
}

/// The workers of a runtime, for a [`Strategy`]. What it tells is read at each call.
///
/// ```
/// use openwork::config::{Strategy, Workers};
/// use openwork::WorkerId;
///
/// /// Steals from the one with the most.
/// struct Greedy;
///
/// impl Strategy for Greedy {
///     fn victim(&self, thief: WorkerId, workers: &Workers<'_>) -> Option<WorkerId> {
///         workers.iter().filter(|w| w.id != thief).max_by_key(|w| w.stealable).map(|w| w.id)
///     }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Workers<'a> {
    shared: &'a Shared,
}

/// One worker at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerLoad {
    /// Which one.
    pub id: WorkerId,
    /// Routines that wait for it.
    pub waiting: u64,
    /// Of these, the ones that others may steal.
    pub stealable: u64,
    /// Whether it runs one.
    pub runs: bool,
    /// Its memory node, as in [`WorkerSnapshot::node`](crate::snapshot::WorkerSnapshot::node).
    pub node: Option<u32>,
}

impl<'a> Workers<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Workers<'a> {
        Workers { shared }
    }

    /// How many are active.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.shared.roster.active()
    }

    /// One of them, if there is one of that number.
    pub fn get(&self, id: WorkerId) -> Option<WorkerLoad> {
        let workers = &self.shared.workers[..self.len()];
        let worker = workers.get(id.index())?;
        Some(WorkerLoad {
            id,
            waiting: self.shared.waiting_for(id.index()),
            stealable: worker.stealable(),
            runs: worker.runs_a_turn(),
            node: worker.stats.node(),
        })
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = WorkerLoad> + use<'a> {
        let workers = *self;
        (0..workers.len()).filter_map(move |index| workers.get(WorkerId::new(index as u32)))
    }
}

impl std::fmt::Debug for Workers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
