//! Where routines' blocks come from, and the registry of all routines.
//!
//! Chunks of 10,922 places of 192 bytes, aligned to their size; the first place holds the chunk's own
//! header, so that a block's runtime is found by masking its address. Chunks are linked in a list
//! that only grows: the walk over all routines follows it without a lock, and a spawn takes none.
//!
//! A chunk is 2 MiB of addresses. Its places are made ready a few at a time, when they are needed: what lies behind
//! them is no memory yet, and what is made ready is still in the cache when it is used. Large pages were tried: see
//! `docs/benches.md`.
//!
//! Each worker keeps free blocks of its own ([`BlockCache`]) and trades them with the common list
//! in batches. Blocks of foreign threads come from the common list one by one.
//!
//! **End.** A block may outlive its runtime: a handle or a waker holds a reference. The slabs hold
//! one strong reference to the runtime's [`Shared`], the *keeper*, until, after [`Slabs::close`],
//! the last block has come back; then nobody can follow a block any more and everything is freed
//! with the last handle of the runtime. Such a handle may still spawn: the routine is cancelled at
//! once, but its block goes out, and the keeper is taken anew as long as it is out.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicUsize};
use std::sync::{Arc, Mutex};

use crate::routine::{Header, RoutineRef};
use crate::scheduler::Shared;
use crate::scheduler::worker::{self, WorkerCore};

const PLACE_BYTES: usize = size_of::<Header>();
/// A power of two, by which blocks find their chunk.
const CHUNK_BYTES: usize = 2 << 20;
const PLACES: usize = CHUNK_BYTES / PLACE_BYTES;
/// Places that are made ready at once.
const CARVED: usize = 64;
/// Blocks that move between a cache and the common list at once.
const BATCH: usize = 256;
/// Most blocks that a cache keeps.
const CACHE_BLOCKS_MAX: usize = 2 * BATCH;

/// First place of a chunk.
#[repr(C)]
struct Chunk {
    shared: *const Shared,
    next: *mut Chunk,
    /// Places below this one are ready: blocks, but for the first.
    ready: AtomicUsize,
}

const _: () = assert!(CHUNK_BYTES.is_power_of_two());

fn chunk_layout() -> Layout {
    Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES).expect("a power of two")
}

/// # Safety
/// 1. Bounds: `chunk` is a chunk, and `place` one of its places.
unsafe fn block_at(chunk: *mut Chunk, place: usize) -> *mut Header {
    // SAFETY: 1 by the caller.
    unsafe { chunk.cast::<u8>().add(place * PLACE_BYTES).cast() }
}

/// All blocks of one runtime.
pub(crate) struct Slabs {
    /// Newest chunk first.
    chunks: AtomicPtr<Chunk>,
    free: Mutex<FreeList>,
}

struct FreeList {
    head: *mut Header,
    free: usize,
    total: usize,
    /// The runtime that the slabs belong to, from `Arc::as_ptr`; null until `keep`.
    shared: *const Shared,
    /// Whether the list owns a strong reference to it.
    kept: bool,
    closed: bool,
}

// SAFETY: `head` blocks the automatic one and points to blocks that the list owns; so does `shared`,
// which stands for an `Arc` of something `Send` and `Sync`. The mutex orders all access.
unsafe impl Send for FreeList {}

impl Slabs {
    pub(crate) fn new() -> Slabs {
        Slabs {
            chunks: AtomicPtr::new(null_mut()),
            free: Mutex::new(FreeList {
                head: null_mut(),
                free: 0,
                total: 0,
                shared: std::ptr::null(),
                kept: false,
                closed: false,
            }),
        }
    }

    /// Lets the slabs keep `shared` alive. Called once, right after `shared` was made.
    pub(crate) fn keep(&self, shared: Arc<Shared>) {
        let mut list = self.lock();
        list.shared = Arc::into_raw(shared);
        list.kept = true;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FreeList> {
        // Nothing in here panics while the lock is held.
        self.free.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes up to `want` free blocks as a list linked by `next`; makes a chunk if there is none.
    fn take(&self, want: usize) -> (*mut Header, usize) {
        let mut list = self.lock();
        list.keep_again();
        if list.head.is_null() {
            self.carve(&mut list);
        }
        let first = list.head;
        let mut last = first;
        let mut count = 1;
        while count < want {
            let next = next_of(last);
            if next.is_null() {
                break;
            }
            last = next;
            count += 1;
        }
        list.head = next_of(last);
        list.free -= count;
        set_next(last, null_mut());
        (first, count)
    }

    /// Gives a list of `count` free blocks back.
    fn give(&self, first: *mut Header, last: *mut Header, count: usize) {
        let keeper = {
            let mut list = self.lock();
            set_next(last, list.head);
            list.head = first;
            list.free += count;
            list.retire()
        };
        // Dropping it may free `self`: it must be the last thing done here.
        drop(keeper);
    }

    /// No new routine will be made. Frees everything once the last block has come back.
    pub(crate) fn close(&self) {
        let keeper = {
            let mut list = self.lock();
            list.closed = true;
            list.retire()
        };
        drop(keeper);
    }

    /// Makes some places ready, of the newest chunk or another one, and puts them in the list.
    fn carve(&self, list: &mut FreeList) {
        let mut chunk = self.chunks.load(Relaxed);
        // SAFETY: chunks are freed only with `self`.
        let ready = unsafe { chunk.as_ref() }.map_or(PLACES, |chunk| chunk.ready.load(Relaxed));
        let ready = if ready < PLACES {
            ready
        } else {
            chunk = self.grow(list);
            1
        };
        let end = PLACES.min(ready + CARVED);
        // SAFETY: the places are the chunk's, and nobody knows them; a zeroed `Header` is a free block (id 0, no
        // pointers, `Option::None` for the vtable), and every atomic of it is valid at zero.
        unsafe {
            block_at(chunk, ready).write_bytes(0, end - ready);
            for place in (ready..end).rev() {
                let block = block_at(chunk, place);
                set_next(block, list.head);
                list.head = block;
            }
            // Release pairs with the acquire load in `for_each`: who sees that they are ready sees blocks.
            (*chunk).ready.store(end, Release);
        }
        list.free += end - ready;
        list.total += end - ready;
    }

    fn grow(&self, list: &FreeList) -> *mut Chunk {
        // SAFETY: the layout has a size.
        let raw = unsafe { alloc(chunk_layout()) };
        if raw.is_null() {
            handle_alloc_error(chunk_layout());
        }
        let next = self.chunks.load(Relaxed);
        let chunk = raw.cast::<Chunk>();
        // SAFETY: `raw` is a fresh chunk.
        unsafe {
            chunk.write(Chunk {
                shared: list.shared,
                next,
                ready: AtomicUsize::new(1),
            });
        }
        // Release pairs with the acquire load in `for_each`: who sees the chunk sees its header.
        self.chunks.store(chunk, Release);
        chunk
    }

    /// Calls `visit` for every block, free ones too.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Header)) {
        // Acquire pairs with the release store in `grow`.
        let mut chunk = self.chunks.load(Acquire);
        while !chunk.is_null() {
            // Acquire pairs with the release store in `carve`.
            // SAFETY: chunks are freed only with `self`.
            for place in 1..unsafe { (*chunk).ready.load(Acquire) } {
                // SAFETY: as above; places that are ready hold initialised headers whose
                // fields are atomic or not touched by walkers.
                visit(unsafe { &*block_at(chunk, place) });
            }
            // SAFETY: as above; `next` is written before the chunk is published.
            chunk = unsafe { (*chunk).next };
        }
    }
}

impl FreeList {
    /// The keeper, if no routine will be made and nobody holds a block any more.
    fn retire(&mut self) -> Option<Arc<Shared>> {
        if !self.closed || self.free != self.total || !std::mem::take(&mut self.kept) {
            return None;
        }
        // SAFETY: `kept` says that we own a strong reference, which is given up here.
        Some(unsafe { Arc::from_raw(self.shared) })
    }

    /// Takes the keeper anew for a block that goes out after it was given up.
    fn keep_again(&mut self) {
        if !std::mem::replace(&mut self.kept, true) {
            // SAFETY: `shared` came from an `Arc`, and that one is alive: our caller reached these
            // slabs through it.
            unsafe { Arc::increment_strong_count(self.shared) };
        }
    }
}

impl Drop for Slabs {
    fn drop(&mut self) {
        let mut chunk = *self.chunks.get_mut();
        while !chunk.is_null() {
            // SAFETY: the keeper is gone, so every block has come back and no reference is left.
            unsafe {
                let next = (*chunk).next;
                for place in 1..*(*chunk).ready.get_mut() {
                    (*block_at(chunk, place)).free_extra();
                }
                dealloc(chunk.cast(), chunk_layout());
                chunk = next;
            }
        }
    }
}

fn next_of(block: *mut Header) -> *mut Header {
    // SAFETY: the callers own the list that `block` is in.
    unsafe { (*block).next.load(Relaxed) }
}

fn set_next(block: *mut Header, next: *mut Header) {
    // SAFETY: as in `next_of`.
    unsafe { (*block).next.store(next, Relaxed) }
}

/// The runtime that a block belongs to.
///
/// # Safety
/// 1. Alive: `block` is a block whose slabs are alive for the result's lifetime.
pub(crate) unsafe fn shared_of<'a>(block: *mut Header) -> &'a Shared {
    let chunk = block
        .map_addr(|addr| addr & !(CHUNK_BYTES - 1))
        .cast::<Chunk>();
    // SAFETY: 1 by the caller; the chunk's first place names a `Shared` that the keeper holds.
    unsafe { &*(*chunk).shared }
}

/// Takes a free block for a spawn on `shared`, on a worker of that or elsewhere.
pub(crate) fn allocate(shared: &Shared, core: Option<&WorkerCore>) -> RoutineRef {
    let block = match core {
        Some(core) => core.blocks.take(&shared.slabs),
        None => shared.slabs.take(1).0,
    };
    // SAFETY: `take` returns blocks of live slabs.
    unsafe { RoutineRef::from_ptr(block) }
}

/// Frees a block whose last reference is gone.
pub(crate) fn free(routine: RoutineRef) {
    routine.header().clear();
    let block = routine.as_ptr();
    let shared = routine.shared();
    let cached = worker::with_core_of(shared, |core| {
        core.is_some_and(|core| {
            core.blocks.give(&shared.slabs, block);
            true
        })
    });
    if !cached {
        shared.slabs.give(block, block, 1);
    }
}

/// A worker's own free blocks.
pub(crate) struct BlockCache {
    head: Cell<*mut Header>,
    len: Cell<usize>,
}

impl BlockCache {
    pub(crate) fn new() -> BlockCache {
        BlockCache {
            head: Cell::new(null_mut()),
            len: Cell::new(0),
        }
    }

    fn take(&self, slabs: &Slabs) -> *mut Header {
        if self.head.get().is_null() {
            let (head, len) = slabs.take(BATCH);
            self.head.set(head);
            self.len.set(len);
        }
        let block = self.head.get();
        self.head.set(next_of(block));
        self.len.set(self.len.get() - 1);
        block
    }

    fn give(&self, slabs: &Slabs, block: *mut Header) {
        set_next(block, self.head.get());
        self.head.set(block);
        self.len.set(self.len.get() + 1);
        if self.len.get() > CACHE_BLOCKS_MAX {
            self.give_back(slabs, BATCH);
        }
    }

    /// Gives everything back; for a worker that ends.
    pub(crate) fn clear(&self, slabs: &Slabs) {
        let len = self.len.get();
        if len > 0 {
            self.give_back(slabs, len);
        }
    }

    fn give_back(&self, slabs: &Slabs, count: usize) {
        let first = self.head.get();
        let mut last = first;
        for _ in 1..count {
            last = next_of(last);
        }
        self.head.set(next_of(last));
        self.len.set(self.len.get() - count);
        slabs.give(first, last, count);
    }
}
