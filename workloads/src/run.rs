//! A workload under way: how far it is, and how to wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use openwork::{Builder, Handle, JoinError, JoinHandle, SpawnError, Workload};
use thiserror::Error;

/// How far a run is, counted in whole units of its own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Units done so far. A cancelled run stops here.
    pub done: u64,
    /// Units asked for.
    pub total: u64,
    /// What is counted: `allocations`, `objects` or `routines`.
    pub unit: &'static str,
}

/// Reads a run's [`Progress`] from anywhere, also after the [`Run`] was joined.
#[derive(Clone, Debug)]
pub struct Watch {
    done: Arc<AtomicU64>,
    total: u64,
    unit: &'static str,
}

impl Watch {
    pub(crate) fn new(total: u64, unit: &'static str) -> Watch {
        Watch {
            done: Arc::new(AtomicU64::new(0)),
            total,
            unit,
        }
    }

    pub(crate) fn add(&self, units: u64) {
        self.done.fetch_add(units, Relaxed);
    }

    /// How far the run is now.
    pub fn progress(&self) -> Progress {
        Progress {
            done: self.done.load(Relaxed),
            total: self.total,
            unit: self.unit,
        }
    }
}

/// Why a run that was neither cancelled nor ended by a panic of its root has no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The allocator refused a block of the run.
    #[error("the allocator has no {bytes} bytes to give")]
    OutOfMemory {
        /// Size of the block that was refused.
        bytes: u64,
    },
    /// A routine spawned by the root could not be started.
    #[error("a routine could not be spawned: {0}")]
    Spawn(#[from] SpawnError),
    /// A routine of the run was cancelled, and the root saw that before its own cancel reached it.
    #[error("the run was cancelled")]
    Cancelled,
    /// A routine spawned by the root panicked.
    #[error("a routine of the run panicked: {0}")]
    Panicked(String),
}

impl From<JoinError> for RunError {
    fn from(error: JoinError) -> RunError {
        match error {
            JoinError::Cancelled => RunError::Cancelled,
            other => RunError::Panicked(other.message()),
        }
    }
}

/// A workload under way. Dropping it lets the workload run on.
///
/// To cancel it, call [`Workload::cancel`] on the workload given at its start: joining then gives
/// [`JoinError::Cancelled`] or [`RunError::Cancelled`], whichever end the cancel reached first, and
/// what the run had kept is freed.
#[derive(Debug)]
pub struct Run<T> {
    watch: Watch,
    root: JoinHandle<Result<T, RunError>>,
}

impl<T: Send + 'static> Run<T> {
    /// Puts the root routine into the runtime, from any thread. Its spawn site is the caller.
    #[track_caller]
    pub(crate) fn start(
        name: &str,
        handle: &Handle,
        workload: &Workload,
        watch: Watch,
        body: impl FnOnce(Watch) -> Result<T, RunError> + Send + 'static,
    ) -> Result<Run<T>, SpawnError> {
        let reported = watch.clone();
        let root = Builder::new()
            .name(name)
            .workload(workload)
            .on(handle)
            .spawn(move || body(reported))?;
        Ok(Run { watch, root })
    }

    /// How far the run is now.
    pub fn progress(&self) -> Progress {
        self.watch.progress()
    }

    /// A reader of the progress that outlives this value.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// The root routine, to wait for by `join` or as a future.
    pub fn into_join(self) -> JoinHandle<Result<T, RunError>> {
        self.root
    }
}
