//! What this OS thread is doing now: the only thread-local of the crate.
//!
//! Written by the worker loop around every turn; read by the allocator (whose bytes are these?), by
//! signal handlers (whose stack was interrupted?) and by the public functions, which find by it the
//! thread's slot in its runtime ([`ThreadSlot`]: which routine am I? which worker do I hold?). Because handlers read it, every field is an atomic, the block is initialised by a
//! constant and nothing in it needs a destructor.
//!
//! The accessor is never inlined: the optimiser treats a thread-local's address as constant within
//! a function, so an inlined access could keep an address over a switch, behind which another block may be in
//! force: under travelling homes (`homes/`) this state lies in the block of the home that is mounted, and the worker writes
//! `slot` into it at each mount.

use std::sync::atomic::Ordering::Relaxed;
#[cfg(not(portable))]
use std::sync::atomic::Ordering::SeqCst;
#[cfg(not(portable))]
use std::sync::atomic::compiler_fence;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize};

use crate::memory;
use crate::routine::chain::Extent;
use crate::routine::{Header, context};
use crate::scheduler::threads::ThreadSlot;
use crate::workload::WorkloadInner;

/// See the module's text. All loads and stores are relaxed: only this thread and signal handlers
/// that interrupt it touch the block.
pub(crate) struct ThreadState {
    /// What a runtime knows of this thread, null on a foreign thread.
    pub(crate) slot: AtomicPtr<ThreadSlot>,
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
    /// The kernel's number of this thread; 0 = not asked for yet.
    pub(crate) tid: AtomicU32,
    /// Depth of calls whose allocations stay out of a diverted session.
    pub(crate) apart: AtomicU32,
}

thread_local! {
    static THREAD: ThreadState = const {
        ThreadState {
            slot: AtomicPtr::new(std::ptr::null_mut()),
            native_low: AtomicUsize::new(0),
            native_high: AtomicUsize::new(0),
            workload: AtomicPtr::new(std::ptr::null_mut()),
            uncharged: memory::Uncharged::new(),
            ordinal: AtomicU32::new(0),
            bytes_to_sample: AtomicUsize::new(0),
            in_instrument: AtomicU32::new(0),
            tid: AtomicU32::new(0),
            apart: AtomicU32::new(0),
        }
    };
}

#[cfg(portable)]
impl ThreadState {
    /// Where the thread's own stack lies.
    pub(crate) fn set_native_stack(&self, low: usize, high: usize) {
        self.native_low.store(low, Relaxed);
        self.native_high.store(high, Relaxed);
    }

    /// For the length of a turn this thread is what `worker`, which waits, was: it has the slot, and so the
    /// worker and the routine.
    pub(crate) fn stand_in_for(&self, worker: &ThreadState) {
        self.workload.store(worker.workload.load(Relaxed), Relaxed);
        self.slot.store(worker.slot.load(Relaxed), Relaxed);
    }

    /// The turn is over: the thread is nobody's.
    pub(crate) fn stand_down(&self) {
        self.slot.store(std::ptr::null_mut(), Relaxed);
        self.workload.store(std::ptr::null_mut(), Relaxed);
    }
}

impl ThreadState {
    /// What a runtime knows of this thread.
    #[inline]
    pub(crate) fn slot(&self) -> Option<&ThreadSlot> {
        // SAFETY: the thread stores the address of its slot, which lives until it has cleared that.
        unsafe { self.slot.load(Relaxed).as_ref() }
    }

    /// The routine whose turn runs here, null in scheduler context and on foreign threads.
    #[inline]
    pub(crate) fn routine(&self) -> *mut Header {
        self.slot()
            .map_or(std::ptr::null_mut(), |slot| slot.routine.load(Relaxed))
    }

    /// Number of the worker that the thread holds, for bystanders on it. Async-signal-safe.
    #[cfg(not(portable))]
    pub(crate) fn worker(&self) -> Option<u32> {
        let core = self.slot()?.grip.peek();
        // SAFETY: workers live as long as threads of their runtime, and this is one; its number never changes.
        unsafe { core.as_ref() }.map(|core| core.index)
    }

    /// The running routine's stacks; `None` in scheduler context and on foreign threads.
    /// Async-signal-safe.
    pub(crate) fn routine_stack(&self) -> Option<Extent> {
        // SAFETY: the scheduler stores the routine that it runs, whose block and stack live through
        // the turn, and this thread is in that turn.
        unsafe {
            let routine = self.routine().as_ref()?;
            context::extent(routine.stack.load(Relaxed))
        }
    }

    /// The thread itself runs on another stack from here on. Returns the bounds known before.
    #[cfg(not(portable))]
    pub(crate) fn move_native_stack(&self, low: usize, high: usize) -> (usize, usize) {
        let before = (
            self.native_low.load(Relaxed),
            self.native_high.load(Relaxed),
        );
        // A signal handler must not see one's beginning with the other's end: 0 says that nothing is known.
        self.native_high.store(0, Relaxed);
        compiler_fence(SeqCst);
        self.native_low.store(low, Relaxed);
        compiler_fence(SeqCst);
        self.native_high.store(high, Relaxed);
        before
    }
}

/// The kernel's number of this thread; 0 where systems give none that others could use.
pub(crate) fn system_number() -> i32 {
    // SAFETY: no arguments, no failure.
    #[cfg(target_os = "linux")]
    return unsafe { libc::gettid() };
    #[cfg(not(target_os = "linux"))]
    0
}

/// A number that no other living thread of this process has, and not 0.
#[cold]
pub(crate) fn number() -> u32 {
    #[cfg(target_os = "linux")]
    return system_number() as u32;
    #[cfg(not(target_os = "linux"))]
    {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        NEXT.fetch_add(1, Relaxed).max(1)
    }
}

/// Where this thread's state is, for its worker, which asks again whenever another state may be
/// mounted. Nobody else keeps the address.
#[inline(never)]
pub(crate) fn address() -> *const ThreadState {
    // Opaque: the optimiser must not find out that it answers the same each time.
    std::hint::black_box(THREAD.with(std::ptr::from_ref))
}

/// The calling thread's slot, null on a foreign thread.
#[inline(never)]
pub(crate) fn slot() -> *const ThreadSlot {
    slot_inlined()
}

/// The same for functions that are never inlined themselves, and in which nothing is suspended.
#[inline(always)]
pub(crate) fn slot_inlined() -> *const ThreadSlot {
    THREAD.with(|t| t.slot.load(Relaxed).cast_const())
}

/// Runs `f` on this thread's state.
///
/// `f` must not suspend: the reference is right for this thread only.
#[inline(never)]
pub(crate) fn with<R>(f: impl FnOnce(&ThreadState) -> R) -> R {
    THREAD.with(f)
}
