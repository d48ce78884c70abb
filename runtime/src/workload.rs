//! A workload: the set of routines spawned for one purpose, counted together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use crate::handle::Handle;
use crate::id::WorkloadId;
use crate::memory;
use crate::thread_state;

/// A set of routines spawned for one purpose, a request of a service say, and what they did.
///
/// Given to the first routine by [`Builder::workload`](crate::Builder::workload) and inherited by
/// every routine that it spawns. Cloning is cheap and names the same workload.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// use openwork::{Builder, Workload, spawn};
/// let mining = Workload::new("mining");
/// let parent = Builder::new().workload(&mining).on(&rt.handle()).spawn(|| {
///     spawn(|| ()).join().unwrap(); // inherits it
/// });
/// parent.unwrap().join().unwrap();
/// assert_eq!(mining.counters().spawned, 2);
/// ```
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
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// use openwork::{Builder, Workload};
/// let batch = Workload::new("batch");
/// let routine = Builder::new().workload(&batch).on(&rt.handle()).spawn(openwork::yield_now);
/// routine.unwrap().join().unwrap();
/// let counters = batch.counters();
/// assert_eq!((counters.spawned, counters.panicked, counters.yields), (1, 0, 1));
/// ```
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
    ///
    /// ```
    /// let mining = openwork::Workload::new("mining");
    /// assert_eq!(mining.name(), "mining");
    /// ```
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
    ///
    /// ```
    /// use openwork::Workload;
    /// assert_ne!(Workload::new("one").id(), Workload::new("one").id());
    /// ```
    pub fn id(&self) -> WorkloadId {
        self.inner.id
    }

    /// The name given to [`Workload::new`].
    ///
    /// ```
    /// assert_eq!(openwork::Workload::new("mining").name(), "mining");
    /// ```
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What the workload's routines did so far. Bytes and objects lag behind by up to 64 KiB and
    /// 64 objects for each routine that is running now, those of the caller excepted.
    ///
    /// ```
    /// let idle = openwork::Workload::new("idle");
    /// assert_eq!(idle.counters().turns, 0);
    /// ```
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
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{Builder, Workload, time};
    /// use std::time::Duration;
    /// let sleepers = Workload::new("sleepers");
    /// let one = Builder::new()
    ///     .workload(&sleepers)
    ///     .on(&rt.handle())
    ///     .spawn(|| time::sleep(Duration::from_secs(3600)))
    ///     .unwrap();
    /// sleepers.cancel(&rt.handle());
    /// assert!(one.join().is_err());
    /// ```
    pub fn cancel(&self, handle: &Handle) {
        // SeqCst: flag first, walk after; `Shared::abort_where` says who the partner is.
        self.inner.cancelled.store(true, SeqCst);
        handle.abort_workload(self.inner.id);
    }

    /// Whether [`Workload::cancel`] was called.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let work = openwork::Workload::new("work");
    /// work.cancel(&rt.handle());
    /// assert!(work.is_cancelled());
    /// ```
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
