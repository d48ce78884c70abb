//! How much was allocated and freed: exact, per thread, summed by the reader.
//!
//! A thread takes an ordinal at its first allocation. The first [`OWNED`] threads of the process
//! have a shard to themselves and count with a load and a store; later ones share the rest with
//! read-modify-writes. A shard is never given back (a thread that ends is not noticed, for that
//! would need a destructor), so a program that starts threads without end pays the dearer way from
//! the 193rd on and is still counted exactly.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::Totals;
use crate::thread_state::ThreadState;

/// Shards with one writer.
const OWNED: usize = 192;
/// Shards with many writers.
const SHARED: usize = 64;

/// Two cache lines, because processors fetch them in pairs.
#[repr(align(128))]
struct Shard {
    allocated_bytes: AtomicU64,
    allocated_objects: AtomicU64,
    freed_bytes: AtomicU64,
    freed_objects: AtomicU64,
}

static SHARDS: [Shard; OWNED + SHARED] = [const {
    Shard {
        allocated_bytes: AtomicU64::new(0),
        allocated_objects: AtomicU64::new(0),
        freed_bytes: AtomicU64::new(0),
        freed_objects: AtomicU64::new(0),
    }
}; OWNED + SHARED];

/// Ordinals given out so far; the first is 1, as 0 means "none yet" in [`ThreadState::ordinal`].
static ORDINALS: AtomicU32 = AtomicU32::new(0);

#[cold]
fn take_ordinal(thread: &ThreadState) -> u32 {
    // Stops short of wrapping around: every thread past the last number shares the last shard.
    let last = ORDINALS
        .fetch_update(Relaxed, Relaxed, |n| n.checked_add(1))
        .unwrap_or(u32::MAX - 1);
    thread.ordinal.store(last + 1, Relaxed);
    last + 1
}

/// Adds to a counter. `Release`, for the reason told at [`totals`].
#[inline(always)]
fn add(counter: &AtomicU64, n: u64, owned: bool) {
    if owned {
        counter.store(counter.load(Relaxed).wrapping_add(n), Release);
    } else {
        counter.fetch_add(n, Release);
    }
}

/// The shard of this thread, and whether it is the only writer.
#[inline(always)]
fn shard(thread: &ThreadState) -> (&'static Shard, bool) {
    let mut ordinal = thread.ordinal.load(Relaxed);
    if ordinal == 0 {
        ordinal = take_ordinal(thread);
    }
    let index = ordinal as usize - 1;
    if index < OWNED {
        (&SHARDS[index], true)
    } else {
        (&SHARDS[OWNED + index % SHARED], false)
    }
}

#[inline(always)]
pub(super) fn allocated(thread: &ThreadState, bytes: u64) {
    let (shard, owned) = shard(thread);
    add(&shard.allocated_bytes, bytes, owned);
    add(&shard.allocated_objects, 1, owned);
}

#[inline(always)]
pub(super) fn freed(thread: &ThreadState, bytes: u64) {
    let (shard, owned) = shard(thread);
    add(&shard.freed_bytes, bytes, owned);
    add(&shard.freed_objects, 1, owned);
}

/// Sums the shards, frees first.
///
/// A block may be freed by another thread than the one that allocated it, and its pointer was
/// passed between them somehow, so counting its allocation happens before counting its free. The
/// `Acquire` loads of the frees pair with the `Release` in [`add`]: whoever sees a free also sees
/// its allocation in the loads that follow, and the frees never exceed the allocations.
pub(super) fn totals() -> Totals {
    let used = match ORDINALS.load(Acquire) as usize {
        n if n <= OWNED => n,
        _ => SHARDS.len(),
    };
    let mut totals = Totals::default();
    for shard in &SHARDS[..used] {
        // Acquire pairs with the release in `add`, as told above.
        totals.freed_bytes += shard.freed_bytes.load(Acquire);
        totals.freed_objects += shard.freed_objects.load(Acquire);
    }
    // Threads that began meanwhile may have freed nothing that was summed above, but they may have
    // allocated what was.
    let used = match ORDINALS.load(Acquire) as usize {
        n if n <= OWNED => n,
        _ => SHARDS.len(),
    };
    for shard in &SHARDS[..used] {
        totals.allocated_bytes += shard.allocated_bytes.load(Relaxed);
        totals.allocated_objects += shard.allocated_objects.load(Relaxed);
    }
    totals
}
