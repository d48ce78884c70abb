//! Which allocations are sampled, and what a sample stands for.
//!
//! As in Go: bytes until the next sample are drawn from an exponential distribution, so whether a
//! block of `size` bytes is sampled does not depend on what was allocated before it; its chance is
//! `1 - exp(-size / interval)`. A sample therefore stands for the inverse of that many blocks, and
//! sums of samples are unbiased: a block as large as the interval stands for about 1.6, one of 64
//! bytes for 8,193 at the default interval.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::live::{self, Sampled};
use super::sites;
use crate::profile::frames::{self, Bounds};
use crate::thread_state::{self, ThreadState};

/// Mean bytes between two samples of a thread, 0 while none are taken.
static INTERVAL: AtomicU64 = AtomicU64::new(super::DEFAULT_SAMPLE_INTERVAL);

/// Bytes after which a thread that takes no samples looks at [`INTERVAL`] again, and the longest
/// distance that is drawn.
const LONGEST: u64 = 1 << 30;

/// Fractional bits of the counts of objects that samples stand for.
pub(super) const FRACTION: u32 = 8;

pub(super) fn interval() -> u64 {
    INTERVAL.load(Relaxed)
}

pub(super) fn set_interval(bytes: u64) {
    INTERVAL.store(bytes, Relaxed);
}

/// Counts `size` bytes down; says whether this allocation is to be sampled.
#[inline(always)]
pub(super) fn due(thread: &ThreadState, size: usize) -> bool {
    let left = thread.bytes_to_sample.load(Relaxed);
    if size < left {
        thread.bytes_to_sample.store(left - size, Relaxed);
        return false;
    }
    restart(thread, size)
}

/// The countdown has run out, or was never started.
#[cold]
#[inline(never)]
fn restart(thread: &ThreadState, size: usize) -> bool {
    let started = thread.bytes_to_sample.load(Relaxed) != 0;
    let interval = interval();
    let mut next = draw(interval);
    // A thread's first allocation has no countdown behind it: draw one and count down from there.
    let due = if started {
        true
    } else if (size as u64) < next {
        next -= size as u64;
        false
    } else {
        next = draw(interval);
        true
    };
    thread.bytes_to_sample.store(next as usize, Relaxed);
    due && interval != 0
}

/// Bytes until the next sample, at least 1.
fn draw(interval: u64) -> u64 {
    if interval == 0 {
        return LONGEST;
    }
    // 53 random bits, moved off zero, whose logarithm does not exist.
    let uniform = ((random() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let bytes = -uniform.ln() * interval as f64;
    (bytes as u64).clamp(1, LONGEST)
}

/// Weyl sequence through the finaliser of splitmix64: one shared word, touched once a sample, and
/// nothing to keep in the thread.
fn random() -> u64 {
    static STATE: AtomicU64 = AtomicU64::new(0x853c_49e6_748f_ea9b);
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut x = STATE.fetch_add(STEP, Relaxed);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What one sampled block of `size` bytes stands for.
fn weigh(size: usize, interval: u64) -> Weight {
    let chance = -(-(size as f64) / interval as f64).exp_m1();
    let blocks = 1.0 / chance;
    Weight {
        objects: (blocks * f64::from(1 << FRACTION)).round() as u64,
        bytes: (blocks * size as f64).round() as u64,
    }
}

/// Objects in units of `2^-FRACTION`, and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

/// Samples that found no room.
static LOST: AtomicU64 = AtomicU64::new(0);

pub(super) fn lost() -> u64 {
    LOST.load(Relaxed)
}

/// Records the block at `address`, allocated by the caller. Walks from its own frame on, whose
/// return address is in the allocator's function or, where the compiler has inlined that, already in
/// the function that allocates.
///
/// Runs on whatever stack the allocation was made on, a routine's of 32 KiB perhaps. With the
/// system's own part it needs 0.8 KiB, in a debug build 1.6; an allocation without a sample 0.3
/// and 0.7.
#[cold]
#[inline(never)]
pub(super) fn sample(address: usize, size: usize) {
    let interval = interval();
    if interval == 0 {
        return;
    }
    let mut addresses = [0; sites::MAX_DEPTH];
    let mut depth = 0;
    if let Some(bounds) = thread_state::with(bounds) {
        // A register that is no frame pointer must not lead below the live part of the stack, which
        // begins at or under this local variable.
        let lowest = addresses.as_ptr() as usize;
        let frame = frames::frame_pointer(&addresses);
        if bounds.contains(lowest) && frame >= lowest {
            // SAFETY: 1 this thread is here, inside this function; 2 the walk begins above a
            // variable of this frame and ends at the top of the same stack, all of which is in use.
            unsafe {
                frames::walk(frame, bounds, |address| {
                    addresses[depth] = address;
                    depth += 1;
                    depth < sites::MAX_DEPTH
                });
            }
        }
    }
    let weight = weigh(size, interval);
    // The block first: a sample whose free could not be matched would look like a leak for ever.
    match sites::find_or_add(&addresses[..depth]) {
        Some(site) if live::insert(address, Sampled { site, weight }) => site.allocated(weight),
        _ => {
            LOST.fetch_add(1, Relaxed);
        }
    }
}

/// The stack this thread runs on, as far as it is known.
///
/// A thread's own bounds are asked for at its first sample: cheap enough at one sample in half a
/// megabyte, and threads that never allocate that much never ask.
fn bounds(thread: &ThreadState) -> Option<Bounds> {
    if let Some(stacks) = thread.routine_stack() {
        return Bounds::routine(stacks);
    }
    if thread.native_high.load(Relaxed) == 0 {
        let (low, high) = frames::thread_stack()?;
        thread.native_low.store(low, Relaxed);
        thread.native_high.store(high, Relaxed);
    }
    Bounds::native(
        thread.native_low.load(Relaxed),
        thread.native_high.load(Relaxed),
    )
}

/// Takes the sample of the block at `address` out, if it was sampled. Called before the block is
/// freed: afterwards the address may be another thread's.
#[inline(always)]
pub(super) fn forget(address: usize) -> Option<Sampled> {
    if live::surely_absent(address) {
        return None;
    }
    live::remove(address)
}

/// Puts back what [`forget`] took out, for a block that could not be reallocated and lives on.
#[cold]
pub(super) fn remember(address: usize, sampled: Sampled) {
    if !live::insert(address, sampled) {
        // Its place was taken meanwhile: counted as freed, so that it is no leak.
        sampled.site.freed(sampled.weight);
        LOST.fetch_add(1, Relaxed);
    }
}
