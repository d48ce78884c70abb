//! What the program allocates: exact counts, counts per [`Workload`](crate::Workload), and a sampled
//! heap profile.
//!
//! All of it comes from one allocator that a binary has to install:
//!
//! ```
//! use openwork::memory::CountingAllocator;
//! use std::alloc::System;
//!
//! #[global_allocator]
//! static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
//!
//! let before = openwork::memory::totals();
//! let kept = vec![0_u8; 1000];
//! let after = openwork::memory::totals();
//! assert!(after.allocated_bytes >= before.allocated_bytes + 1000);
//! # drop(kept);
//! ```
//!
//! In a binary that did not, [`is_counting`] is `false` and every figure is 0 and means nothing.
//!
//! Counting costs 6 ns for each allocation and its free, in a routine with a workload 7, on any number
//! of threads; a sample, one in 512 KiB, 85 ns more (`benches/allocator.rs`; x86-64, 64 bytes).
//!
//! A reallocation is counted as the free of the old block and the allocation of a new one, whether
//! or not it moved. Memory that does not come from Rust's global allocator (a C library's `malloc`,
//! `mmap`) is not seen.

mod charge;
mod counters;
mod divert;
mod live;
mod sampler;
mod sites;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;

use crate::thread_state;

pub(crate) use charge::{Uncharged, settle};

/// Mean distance of two heap samples on a thread, in bytes, unless [`set_sample_interval_bytes`]
/// changes it: Go's.
const DEFAULT_SAMPLE_INTERVAL: u64 = 512 * 1024;

/// An allocator whose blocks are the system allocator's own.
///
/// ```
/// use openwork::memory::{CountingAllocator, SystemBlocks};
/// use std::alloc::{GlobalAlloc, Layout, System};
///
/// /// Would tell somebody; hands out the system's own blocks.
/// struct Watching;
///
/// // SAFETY: forwards to `System`.
/// unsafe impl GlobalAlloc for Watching {
///     unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
///         // SAFETY: the caller's promise is passed on.
///         unsafe { System.alloc(layout) }
///     }
///     unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
///         // SAFETY: as above.
///         unsafe { System.dealloc(block, layout) }
///     }
/// }
/// // SAFETY: 1: blocks are the system's; 2 and 3: it does nothing else.
/// unsafe impl SystemBlocks for Watching {}
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator<Watching> = CountingAllocator::new(Watching);
/// # fn main() {}
/// ```
///
/// # Safety
/// 1. Same blocks: every block that it hands out may be freed or reallocated with [`System`], and it
///    frees and reallocates blocks that came from [`System`] without its knowledge. A session may
///    begin and end between a block's allocation and its free.
/// 2. No unwinding, as for every [`GlobalAlloc`]; the process aborts if it does.
/// 3. It does not suspend a routine.
///
/// This would be wrong: an allocator that puts a header of its own before each block.
pub unsafe trait SystemBlocks: GlobalAlloc {}

// SAFETY: 1 they are its own; 2 and 3 it calls the C library.
unsafe impl SystemBlocks for System {}

// SAFETY: 1 every method forwards to `System` with the same pointer and layout, and then looks the
// pointer up in a table, where it tolerates not finding it; 2 its backtraces and tables do not panic
// short of a broken invariant; 3 it knows nothing of routines.
#[cfg(feature = "dhat")]
unsafe impl SystemBlocks for dhat::Alloc {}

/// A global allocator that counts and samples what goes through it, on its way to the system's.
///
/// `P` is used instead of the system's while [`divert`] is on.
///
/// ```
/// use openwork::memory::{self, CountingAllocator};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
///
/// fn main() {
///     let before = memory::totals();
///     let kept = vec![0u8; 1000];
///     assert!(memory::totals().allocated_bytes >= before.allocated_bytes + 1000);
///     drop(kept);
/// }
/// ```
#[derive(Debug)]
pub struct CountingAllocator<P> {
    second: P,
}

impl<P: SystemBlocks> CountingAllocator<P> {
    /// For a `static` with `#[global_allocator]`.
    ///
    /// ```
    /// use openwork::memory::CountingAllocator;
    /// use std::alloc::System;
    ///
    /// #[global_allocator]
    /// static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
    /// # fn main() {}
    /// ```
    pub const fn new(second: P) -> CountingAllocator<P> {
        CountingAllocator { second }
    }
}

/// Counts an allocation; says whether it is to be sampled.
#[inline(always)]
fn count_allocated(size: usize) -> bool {
    thread_state::with(
        #[inline(always)]
        |thread| {
            counters::allocated(thread, size as u64);
            charge::allocated(thread, size);
            sampler::due(thread, size) && !divert::is_inside(thread)
        },
    )
}

#[inline(always)]
fn count_freed(size: usize) {
    thread_state::with(
        #[inline(always)]
        |thread| {
            counters::freed(thread, size as u64);
            charge::freed(thread, size);
        },
    );
}

/// The block at `block`, of `size` bytes, was allocated: counts it, samples it perhaps.
#[inline(always)]
fn born(block: *mut u8, size: usize) {
    if !block.is_null() && count_allocated(size) {
        sampler::sample(block as usize, size);
    }
}

// SAFETY: blocks come from `System` or from `P`, whose blocks are `System`'s as well (1 of
// `SystemBlocks`), with the layouts that were asked for. Nothing here unwinds: arithmetic on
// counters wraps, table indices are reduced, and a panic of `P` aborts. What this allocates by itself
// it does not allocate through itself.
unsafe impl<P: SystemBlocks> GlobalAlloc for CountingAllocator<P> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the callee's.
        let system = || unsafe { System.alloc(layout) };
        let block = if divert::is_on() {
            // SAFETY: as above.
            divert::call(|| unsafe { self.second.alloc(layout) }, system)
        } else {
            system()
        };
        born(block, layout.size());
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the callee's.
        let system = || unsafe { System.alloc_zeroed(layout) };
        let block = if divert::is_on() {
            // SAFETY: as above.
            divert::call(|| unsafe { self.second.alloc_zeroed(layout) }, system)
        } else {
            system()
        };
        born(block, layout.size());
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(sampled) = sampler::forget(block as usize) {
            sampled.site.freed(sampled.weight);
        }
        count_freed(layout.size());
        // SAFETY: the caller's contract is the callee's; by 1 of `SystemBlocks` it does not matter
        // which of the two allocators the block came from.
        let system = || unsafe { System.dealloc(block, layout) };
        if divert::is_on() {
            // SAFETY: as above.
            divert::call(|| unsafe { self.second.dealloc(block, layout) }, system);
        } else {
            system();
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let sampled = sampler::forget(block as usize);
        // SAFETY: as in `dealloc`.
        let system = || unsafe { System.realloc(block, layout, size) };
        let new = if divert::is_on() {
            // SAFETY: as above.
            divert::call(
                || unsafe { self.second.realloc(block, layout, size) },
                system,
            )
        } else {
            system()
        };
        if new.is_null() {
            if let Some(sampled) = sampled {
                sampler::remember(block as usize, sampled);
            }
            return new;
        }
        if let Some(sampled) = sampled {
            sampled.site.freed(sampled.weight);
        }
        // The new block's birth first: a reader between the two counts sees too much, never a heap
        // of less than nothing.
        born(new, size);
        count_freed(layout.size());
        new
    }
}

/// Exact counts since the program's start.
///
/// ```
/// use openwork::memory::Totals;
/// let totals = Totals { allocated_bytes: 100, freed_bytes: 40, ..Totals::default() };
/// assert_eq!(totals.live_bytes(), 60);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes asked for.
    pub allocated_bytes: u64,
    /// Allocations made.
    pub allocated_objects: u64,
    /// Bytes given back, never more than were allocated.
    pub freed_bytes: u64,
    /// Frees made, never more than allocations.
    pub freed_objects: u64,
}

impl Totals {
    /// Bytes allocated and not freed.
    ///
    /// ```
    /// use openwork::memory::Totals;
    /// let totals = Totals { allocated_bytes: 100, freed_bytes: 40, ..Totals::default() };
    /// assert_eq!(totals.live_bytes(), 60);
    /// ```
    pub fn live_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.freed_bytes)
    }

    /// Blocks allocated and not freed.
    ///
    /// ```
    /// use openwork::memory::Totals;
    /// let totals = Totals { allocated_objects: 3, freed_objects: 1, ..Totals::default() };
    /// assert_eq!(totals.live_objects(), 2);
    /// ```
    pub fn live_objects(&self) -> u64 {
        self.allocated_objects.saturating_sub(self.freed_objects)
    }
}

/// Whether this program installed the [`CountingAllocator`]: whether an allocation was ever counted.
///
/// ```
/// // No `CountingAllocator` is installed here.
/// assert!(!openwork::memory::is_counting());
/// ```
pub fn is_counting() -> bool {
    totals().allocated_objects > 0
}

/// What was allocated and freed so far, by all threads.
///
/// ```
/// # use openwork::memory::{self, CountingAllocator};
/// # use std::alloc::System;
/// #
/// # #[global_allocator]
/// # static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
/// # fn main() {
/// let before = memory::totals();
/// drop(Box::new([0u8; 64]));
/// let after = memory::totals();
/// assert!(after.freed_bytes >= before.freed_bytes + 64);
/// # }
/// ```
pub fn totals() -> Totals {
    counters::totals()
}

/// Bytes allocated and not freed yet.
///
/// ```
/// # use openwork::memory::{self, CountingAllocator};
/// # use std::alloc::System;
/// #
/// # #[global_allocator]
/// # static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
/// # fn main() {
/// let kept = vec![1u8; 4096];
/// assert!(memory::live_bytes() >= 4096);
/// # drop(kept);
/// # }
/// ```
pub fn live_bytes() -> u64 {
    totals().live_bytes()
}

/// Blocks allocated and not freed yet.
///
/// ```
/// # use openwork::memory::{self, CountingAllocator};
/// # use std::alloc::System;
/// #
/// # #[global_allocator]
/// # static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
/// # fn main() {
/// let kept = Box::new(1);
/// assert!(memory::live_objects() >= 1);
/// # drop(kept);
/// # }
/// ```
pub fn live_objects() -> u64 {
    totals().live_objects()
}

/// Sends all allocations, reallocations and frees through the second allocator, until called with
/// `false`. Blocks that live across a change are none the worse for it.
///
/// For dhat: begin a `dhat::Profiler`, divert; stop diverting, drop the profiler. Counting and
/// sampling go on meanwhile; what the second allocator needs for itself is in the [`totals`] alone.
///
/// ```
/// # use openwork::memory::{self, CountingAllocator};
/// # use std::alloc::System;
/// #
/// # #[global_allocator]
/// # static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
/// # fn main() {
/// memory::divert(true); // allocations go through the second allocator, here the system's as well
/// let kept = vec![1, 2, 3];
/// memory::divert(false);
/// drop(kept); // freed by the first one
/// # }
/// ```
pub fn divert(on: bool) {
    divert::set(on);
}

/// Runs `f` with this thread's allocations kept out of a diverted session: they go to the system
/// whatever [`divert`] says.
///
/// For calls that hold a lock which the second allocator takes too. dhat takes a backtrace while it
/// holds its own lock, and the `backtrace` crate has one lock for the whole process; a thread that
/// looks names up holds that lock and allocates. Each would wait for the other, and every
/// allocation of the process behind them.
///
/// What `f` frees must have been allocated apart as well, or before the session: the second
/// allocator does not hear of the free. `f` must not suspend.
///
/// ```
/// # use openwork::memory::{self, CountingAllocator};
/// # use std::alloc::System;
/// #
/// # #[global_allocator]
/// # static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
/// # fn main() {
/// memory::divert(true);
/// let name = memory::apart(|| String::from("not seen by the second allocator"));
/// memory::divert(false);
/// # drop(name);
/// # }
/// ```
pub fn apart<R>(f: impl FnOnce() -> R) -> R {
    let _apart = divert::Apart::enter();
    f()
}

/// A place in the program that allocates, estimated from samples.
///
/// ```
/// # use openwork::memory::{self, CountingAllocator};
/// # use std::alloc::System;
/// #
/// # #[global_allocator]
/// # static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
/// # fn main() {
/// for site in memory::heap_sites() {
///     let live = site.allocated_bytes - site.freed_bytes;
///     println!("{live} bytes from {:#x?}", site.frames.first());
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct HeapSite {
    /// Addresses in the calling functions, nearest first, each within its call instruction; the
    /// first ones may belong to the allocator and the standard library's allocation functions. At
    /// most 64, and empty where a stack could not be walked.
    pub frames: Vec<usize>,
    /// Estimated allocations since the start.
    pub allocated_objects: u64,
    /// Estimated bytes allocated since the start.
    pub allocated_bytes: u64,
    /// Estimated frees of what was allocated here.
    pub freed_objects: u64,
    /// Estimated bytes freed of what was allocated here.
    pub freed_bytes: u64,
}

impl fmt::Debug for HeapSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapSite")
            .field("frames", &format_args!("{:#x?}", self.frames))
            .field("allocated_objects", &self.allocated_objects)
            .field("allocated_bytes", &self.allocated_bytes)
            .field("freed_objects", &self.freed_objects)
            .field("freed_bytes", &self.freed_bytes)
            .finish()
    }
}

/// All places that samples were taken at so far, at most 4,096.
///
/// ```
/// # use openwork::memory::{self, CountingAllocator};
/// # use std::alloc::System;
/// #
/// # #[global_allocator]
/// # static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);
/// # fn main() {
/// memory::set_sample_interval_bytes(1024);
/// let kept: Vec<Vec<u8>> = (0..1000).map(|_| vec![0; 1024]).collect();
/// println!("{} places", memory::heap_sites().len());
/// # drop(kept);
/// # }
/// ```
pub fn heap_sites() -> Vec<HeapSite> {
    sites::read_all()
}

/// Samples that could not be kept because a table was full: what [`heap_sites`] estimates is too
/// low by what they stand for.
///
/// ```
/// assert_eq!(openwork::memory::samples_lost(), 0);
/// ```
pub fn samples_lost() -> u64 {
    sampler::lost()
}

/// Mean bytes that a thread allocates between two samples; 0 while none are taken.
///
/// ```
/// assert_eq!(openwork::memory::sample_interval_bytes(), 512 * 1024);
/// ```
pub fn sample_interval_bytes() -> u64 {
    sampler::interval()
}

/// Changes how often samples are taken; 0 for not at all. A thread takes the change up at its next
/// sample, and within 1 GiB of allocations if it took none.
///
/// ```
/// use openwork::memory;
/// memory::set_sample_interval_bytes(0);
/// assert_eq!(memory::sample_interval_bytes(), 0);
/// ```
pub fn set_sample_interval_bytes(bytes: u64) {
    sampler::set_interval(bytes);
}
