//! The switch between a worker and the routine that it runs: all that a build knows of how routines come to
//! their stacks.
//!
//! Three back ends have the same functions: [`coroutine`] switches stacks on one thread, on Linux and the machines
//! that it is written for; [`threads`] gives each routine an OS thread, and needs nothing but those; `stackless` has
//! neither and runs each turn on its caller's stack, to its end. The build chooses (`runtime/build.rs`).
//!
//! The contract of the switch: a routine is resumed by its home only; nothing of the
//! scheduler is borrowed over the switch; the body catches every panic, so `resume` never unwinds;
//! and whatever must happen to a suspended routine (queueing it, putting it on a wait list) is done
//! by the worker after the switch, because until then its stack is in use.

#[cfg(any(all(portable, not(stackless)), all(test, loom)))]
mod baton;
#[cfg(not(portable))]
mod coroutine;
#[cfg_attr(stackless, path = "stackless.rs")]
#[cfg(portable)]
pub(crate) mod threads;
#[cfg(not(portable))]
mod trap;

use std::sync::atomic::Ordering::Relaxed;

use crate::routine::RoutineRef;
use crate::routine::chain::Extent;

#[cfg(all(not(portable), feature = "growth"))]
pub(crate) use coroutine::run_on_segment;
#[cfg(not(portable))]
pub(crate) use coroutine::{
    StackPart, depth, dismantle, extent, facts, is_within, overflow, post, prefetch_frames,
    prefetch_part, prepare, resume, suspend,
};
#[cfg(portable)]
pub(crate) use threads::{
    StackPart, depth, dismantle, extent, facts, post, prefetch_frames, prefetch_part, prepare,
    resume, suspend,
};
#[cfg(not(portable))]
pub(crate) use trap::{end_turn, interrupted};

/// Bounds and suspension point of a stack, where others may look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackFacts {
    /// The stack that it suspended on.
    pub(crate) extent: Extent,
    pub(crate) saved_fp: usize,
    pub(crate) saved_pc: usize,
    pub(crate) saved_sp: usize,
}

/// A routine was seen deeper than ever before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deeper {
    /// Bytes in use.
    pub(crate) depth: u32,
    /// The bucket that the routine was in and the one it is in now, `None` for not measured before; see
    /// [`crate::snapshot::StackFigures::high_water`].
    pub(crate) from: Option<usize>,
    pub(crate) to: usize,
}

/// Stores the stack's depth, and says so if it was never deeper.
pub(crate) fn observe_depth(routine: RoutineRef, depth: usize) -> Option<Deeper> {
    let header = routine.header();
    let depth = u32::try_from(depth).unwrap_or(u32::MAX);
    header.depth.store(depth, Relaxed);
    let before = header.high_water.load(Relaxed);
    if depth <= before {
        return None;
    }
    header.high_water.store(depth, Relaxed);
    Some(Deeper {
        depth,
        from: (before != 0).then(|| depth_bucket(before)),
        to: depth_bucket(depth),
    })
}

/// 0 for up to 4 KiB, one more for each doubling, 15 at most.
fn depth_bucket(bytes: u32) -> usize {
    let pages = u64::from(bytes).div_ceil(4096).max(1);
    (pages.next_power_of_two().trailing_zeros() as usize).min(15)
}

#[cfg(test)]
mod tests {
    use super::depth_bucket;

    #[test]
    fn depths_fall_into_powers_of_two() {
        for (bytes, bucket) in [
            (1, 0),
            (4096, 0),
            (4097, 1),
            (8192, 1),
            (8193, 2),
            (65536, 4),
        ] {
            assert_eq!(depth_bucket(bytes), bucket, "{bytes} bytes");
        }
        assert_eq!(depth_bucket(u32::MAX), 15);
    }
}
