//! A workload: the set of routines spawned for one purpose, counted together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use crate::id::WorkloadId;
use crate::memory;
use crate::runtime::Handle;
use crate::thread_state;

/// A set of routines spawned for one purpose, a request of a service say, and what they did.
///
/// Given to the first routine by [`Builder::workload`](crate::Builder::workload) and inherited by
/// every routine that it spawns. Cloning is cheap and names the same workload.
#[derive(Clone)]
pub struct Workload {
    pub(crate) inner: Arc<WorkloadInner>,
}

/// Shared by all routines of a workload. The counters have many writers, so they are
/// read-modify-write; only routines that have a workload pay for it.
#[derive(Debug)]
pub(crate) struct WorkloadInner {
    pub(crate) id: WorkloadId,
    pub(crate) name: Box<str>,
    pub(crate) cancelled: AtomicBool,
    pub(crate) spawned: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) panicked: AtomicU64,
    pub(crate) cancelled_routines: AtomicU64,
    pub(crate) turns: AtomicU64,
    pub(crate) yields: AtomicU64,
    pub(crate) stolen: AtomicU64,
    pub(crate) allocated_bytes: AtomicU64,
    pub(crate) allocated_objects: AtomicU64,
    pub(crate) freed_bytes: AtomicU64,
    pub(crate) freed_objects: AtomicU64,
}

/// What the routines of one [`Workload`] did so far. Cumulative counts; bytes come from the
/// [counting allocator](crate::memory) and stay 0 when the program does not install it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkloadCounters {
    /// Routines spawned.
    pub spawned: u64,
    /// Routines that ended, in whatever way.
    pub ended: u64,
    /// Routines that ended by a panic.
    pub panicked: u64,
    /// Routines that ended by a cancel.
    pub cancelled: u64,
    /// Turns run.
    pub turns: u64,
    /// Times a routine gave way of its own accord.
    pub yields: u64,
    /// Times a routine was moved from one worker's queue to another's by a thief.
    pub stolen: u64,
    /// Bytes allocated by the routines themselves.
    pub allocated_bytes: u64,
    /// Allocations made by the routines themselves.
    pub allocated_objects: u64,
    /// Bytes freed by the routines themselves.
    pub freed_bytes: u64,
    /// Frees made by the routines themselves.
    pub freed_objects: u64,
}

impl Workload {
    /// A new, empty workload. The name is for people: lists, profiles and logs show it.
    pub fn new(name: &str) -> Workload {
        Workload {
            inner: Arc::new(WorkloadInner {
                id: WorkloadId::next(),
                name: name.into(),
                cancelled: AtomicBool::new(false),
                spawned: AtomicU64::new(0),
                ended: AtomicU64::new(0),
                panicked: AtomicU64::new(0),
                cancelled_routines: AtomicU64::new(0),
                turns: AtomicU64::new(0),
                yields: AtomicU64::new(0),
                stolen: AtomicU64::new(0),
                allocated_bytes: AtomicU64::new(0),
                allocated_objects: AtomicU64::new(0),
                freed_bytes: AtomicU64::new(0),
                freed_objects: AtomicU64::new(0),
            }),
        }
    }

    /// Unique in this process.
    pub fn id(&self) -> WorkloadId {
        self.inner.id
    }

    /// The name given to [`Workload::new`].
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What the workload's routines did so far. Bytes and objects lag behind by up to 64 KiB and
    /// 64 objects for each routine that is running now, those of the caller excepted.
    pub fn counters(&self) -> WorkloadCounters {
        // What the caller has just allocated is to be in its own reading.
        thread_state::with(memory::settle);
        let w = &*self.inner;
        // Ended before spawned: a reader never sees more ends than births.
        let ended = w.ended.load(Relaxed);
        WorkloadCounters {
            ended,
            spawned: w.spawned.load(Relaxed),
            panicked: w.panicked.load(Relaxed),
            cancelled: w.cancelled_routines.load(Relaxed),
            turns: w.turns.load(Relaxed),
            yields: w.yields.load(Relaxed),
            stolen: w.stolen.load(Relaxed),
            allocated_bytes: w.allocated_bytes.load(Relaxed),
            allocated_objects: w.allocated_objects.load(Relaxed),
            freed_bytes: w.freed_bytes.load(Relaxed),
            freed_objects: w.freed_objects.load(Relaxed),
        }
    }

    /// Cancels every live routine of this workload on `handle`'s runtime, and each later one at its
    /// birth.
    pub fn cancel(&self, handle: &Handle) {
        // SeqCst: flag first, walk after; `Shared::abort_where` says who the partner is.
        self.inner.cancelled.store(true, SeqCst);
        handle.abort_workload(self.inner.id);
    }

    /// Whether [`Workload::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Relaxed)
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload")
            .field("id", &self.inner.id)
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}
