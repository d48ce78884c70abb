//! A deep call on a larger stack: a segment that is linked to the caller's, and goes when the call
//! is over.

use crate::stack::StackClass;
use std::io;

#[cfg(all(not(portable), feature = "growth"))]
mod linked;

/// Why there are none.
const NO_SEGMENTS: &str = if cfg!(portable) {
    "in a portable build, made when it starts"
} else {
    "in a build of the crate without its feature `growth`"
};

/// Why [`with_segment`] had no stack for a call, which then was not made.
///
/// ```
/// use openwork::{SegmentError, with_segment};
/// let why = with_segment(2 << 30, || ()).unwrap_err();
/// assert!(matches!(why, SegmentError::TooLarge { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// More was asked for than the largest slot holds.
    #[error("with_segment: {asked} bytes were asked for, at most {max} are possible")]
    TooLarge {
        /// Bytes asked for.
        asked: usize,
        /// Most bytes possible.
        max: usize,
    },
    /// As many stacks are in use as [`max_stacks`](crate::RuntimeBuilder::max_stacks) or the guards
    /// allow; see [`StackFigures::limit`](crate::snapshot::StackFigures::limit).
    #[error("with_segment: as many stacks are in use as there may be")]
    Limit,
    /// The system has no memory for it.
    #[error("with_segment: no memory for a stack: {0}")]
    NoMemory(#[source] io::Error),
    /// In this build a routine has one stack: it is portable, where stacks are the system's, or without the feature
    /// `growth`.
    #[error("with_segment: a routine has one stack {NO_SEGMENTS}")]
    Unsupported,
}

/// Runs `f` on a stack of its own of at least `bytes`, rounded up like
/// [`stack_size`](crate::Builder::stack_size), and gives that back when `f` returns or unwinds.
///
/// For the one deep call of a routine that is shallow otherwise: a parser's recursion, a C library. The
/// segment belongs to the calling routine: `f` may block, be cancelled, panic, and use a segment in
/// the segment. Dumps, profiles and backtraces go on from the segment into the caller. Running over
/// the segment ends the process with a report, as on any stack. A plain thread gets a segment, too.
///
/// Costs about 1 us, and a page fault for each page that the call touches. Each segment counts as a stack
/// in use; where the runtime is at its limit, there is none to be had, for a routine that waited
/// for one could wait for itself.
///
/// ```
/// use openwork::{Runtime, spawn, with_segment, yield_now};
///
/// fn depth(n: u64) -> u64 {
///     if n == 0 {
///         yield_now(); // as anywhere
///         return 0;
///     }
///     1 + std::hint::black_box(depth(n - 1))
/// }
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let reached = rt.block_on(|| {
///     // On the routine's 64 KiB this would end the process.
///     spawn(|| with_segment(8 << 20, || depth(20_000)).unwrap()).join().unwrap()
/// });
/// assert_eq!(reached, 20_000);
/// ```
///
/// # Errors
/// See [`SegmentError`]; `f` was dropped.
///
/// # Panics
/// With `f`'s panic.
pub fn with_segment<F, R>(bytes: usize, f: F) -> Result<R, SegmentError>
where
    F: FnOnce() -> R,
{
    let class = StackClass::for_bytes(bytes).map_err(|why| SegmentError::TooLarge {
        asked: why.asked,
        max: StackClass::LARGEST.bytes(),
    })?;
    #[cfg(not(all(not(portable), feature = "growth")))]
    {
        drop(f);
        let _ = class;
        Err(SegmentError::Unsupported)
    }
    #[cfg(all(not(portable), feature = "growth"))]
    linked::run(class, f)
}
