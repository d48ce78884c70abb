//! What this OS thread is doing now: the only thread-local of the crate.
//!
//! Written by the worker loop around every turn; read by the public functions ("which routine am
//! I?"), by the allocator (whose bytes are these?) and by signal handlers (whose stack was
//! interrupted?). Because handlers read it, every field is an atomic, the block is initialised by a
//! constant and nothing in it needs a destructor.
//!
//! The accessor is never inlined: the optimiser treats a thread-local's address as constant within
//! a function, so an inlined access could keep an address over a suspension. A started routine
//! never changes its OS thread today, but travelling homes will change what stands behind the
//! address, and an accessor that is called anew each time is right under both.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

use crate::memory;
use crate::routine::{Header, context};
use crate::scheduler::worker::WorkerCore;
use crate::workload::WorkloadInner;

/// No worker: the value of [`ThreadState::worker`] on a foreign thread.
pub(crate) const NO_WORKER: u32 = u32::MAX;

/// See the module's text. All loads and stores are relaxed: only this thread and signal handlers
/// that interrupt it touch the block.
pub(crate) struct ThreadState {
    /// Index of the worker this thread holds, or [`NO_WORKER`].
    pub(crate) worker: AtomicU32,
    /// The worker's own data, null on a foreign thread.
    pub(crate) core: AtomicPtr<WorkerCore>,
    /// The routine whose turn runs here, null in scheduler context and on foreign threads.
    pub(crate) routine: AtomicPtr<Header>,
    /// Bounds of the thread's own stack; 0 until a worker thread has filled them in.
    pub(crate) native_low: AtomicUsize,
    pub(crate) native_high: AtomicUsize,
    /// Workload of the running routine, null if it has none: allocations are charged to it, by
    /// [`memory::settle`] at the latest, which is called before this changes.
    pub(crate) workload: AtomicPtr<WorkloadInner>,
    /// What the running routine allocated and its workload does not know of yet.
    pub(crate) uncharged: memory::Uncharged,
    /// Which shard of the allocation counters this thread writes; 0 = none taken yet.
    pub(crate) ordinal: AtomicU32,
    /// Bytes left until the allocation sampler takes its next sample on this thread; 0 = not started.
    pub(crate) bytes_to_sample: AtomicUsize,
    /// Calls of a heap profiler's allocator under way on this thread: what it allocates itself is
    /// not looked at again.
    pub(crate) in_instrument: AtomicU32,
    /// What the worker's runtime adds to its routines' numbers in a `sync::holder`.
    pub(crate) runtime: AtomicU64,
    /// The kernel's number of this thread; 0 = not asked for yet.
    pub(crate) tid: AtomicU32,
    /// Depth of calls whose allocations stay out of a diverted session.
    pub(crate) apart: AtomicU32,
}

thread_local! {
    static THREAD: ThreadState = const {
        ThreadState {
            worker: AtomicU32::new(NO_WORKER),
            core: AtomicPtr::new(std::ptr::null_mut()),
            routine: AtomicPtr::new(std::ptr::null_mut()),
            native_low: AtomicUsize::new(0),
            native_high: AtomicUsize::new(0),
            workload: AtomicPtr::new(std::ptr::null_mut()),
            uncharged: memory::Uncharged::new(),
            ordinal: AtomicU32::new(0),
            bytes_to_sample: AtomicUsize::new(0),
            in_instrument: AtomicU32::new(0),
            runtime: AtomicU64::new(0),
            tid: AtomicU32::new(0),
            apart: AtomicU32::new(0),
        }
    };
}

impl ThreadState {
    /// Lowest usable address and end of the running routine's stack; `None` in scheduler context
    /// and on foreign threads. Async-signal-safe.
    pub(crate) fn routine_stack(&self) -> Option<(usize, usize)> {
        // SAFETY: the scheduler stores the routine that it runs, whose block and stack live through
        // the turn, and this thread is in that turn.
        unsafe {
            let routine = self.routine.load(Relaxed).as_ref()?;
            context::bounds(routine.stack.load(Relaxed))
        }
    }
}

/// Where this thread's state is, for its worker, which asks again whenever another state may be
/// mounted. Nobody else keeps the address.
#[inline(never)]
pub(crate) fn address() -> *const ThreadState {
    // Opaque: the optimiser must not find out that it answers the same each time.
    std::hint::black_box(THREAD.with(std::ptr::from_ref))
}

/// The worker that this thread holds and the routine that runs on it, or null.
#[inline(never)]
pub(crate) fn running() -> (*const WorkerCore, *mut Header) {
    THREAD.with(|t| (t.core.load(Relaxed).cast_const(), t.routine.load(Relaxed)))
}

/// Runs `f` on this thread's state.
///
/// `f` must not suspend: the reference is right for this thread only.
#[inline(never)]
pub(crate) fn with<R>(f: impl FnOnce(&ThreadState) -> R) -> R {
    THREAD.with(f)
}
