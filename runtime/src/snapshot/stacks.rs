//! Stacks: how they are guarded, how many there are, how deep they are and what memory they occupy.

use std::panic::Location;

use super::RoutineId;
use crate::stack::{self, StackClass};

/// How the guard page at the foot of each stack is made.
///
/// ```
/// use openwork::{Runtime, snapshot::GuardMode};
///
/// let rt = Runtime::builder().workers(1).guard(GuardMode::Mprotect).build().unwrap();
/// assert_eq!(rt.snapshot().stacks.mode, GuardMode::Mprotect);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardMode {
    /// Let the runtime choose: [`Light`](Self::Light) where the kernel has it.
    Auto,
    /// `madvise(MADV_GUARD_INSTALL)`, Linux 6.13 or later: no mapping per stack.
    Light,
    /// `mprotect`: two mappings per stack, so the number of stacks is bounded by `vm.max_map_count`.
    Mprotect,
    /// The system's own, below the stack of each thread: where each routine has an OS thread, in builds with
    /// the feature `portable` and on systems that need it. No other can be had there, nor this one
    /// elsewhere.
    System,
}

impl GuardMode {
    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::snapshot::GuardMode::Mprotect.name(), "mprotect");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            GuardMode::Auto => "auto",
            GuardMode::Light => "light",
            GuardMode::Mprotect => "mprotect",
            GuardMode::System => "system",
        }
    }
}

/// Stacks of a runtime.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let stacks = rt.snapshot().stacks;
/// println!("{} in use of {} bytes each, guards by {}", stacks.in_use, stacks.slot_bytes, stacks.mode.name());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackFigures {
    /// How guards are made here; never [`GuardMode::Auto`].
    pub mode: GuardMode,
    /// Size of a default slot with its guard, in bytes.
    pub slot_bytes: u64,
    /// Slots that a routine uses.
    pub in_use: u64,
    /// Slots kept warm by workers.
    pub pooled: u64,
    /// Slots that were used before and wait without memory.
    pub free: u64,
    /// Most slots at once, if bounded.
    pub limit: Option<u64>,
    /// Routines that wait for a slot.
    pub waiting: u64,
    /// Growths seen, over all workers.
    pub growths: u64,
    /// Routines by deepest stack seen at a suspension: entry `i` counts those over `2 KiB << i` and
    /// up to `4 KiB << i` (the first: up to 4 KiB; the last: all beyond). A routine that never
    /// suspended was never measured and is in none.
    pub high_water: [u64; 16],
    /// Address space reserved, in bytes. Not memory.
    pub reserved_bytes: u64,
    /// Times that memory was taken from a stack that goes on: of a routine that was parked for long, or
    /// that was used deep and waits in a pool.
    pub shrinks: u64,
    /// Bytes so given back, resident before.
    pub shrunk_bytes: u64,
    /// Of the slots in use, those that routines have beside their own; see
    /// [`with_segment`](crate::with_segment).
    pub segments: u64,
    /// Segments that there were so far.
    pub segments_entered: u64,
    /// Overflows that ended their routine alone. The slots of these, segments included, count as in use for
    /// ever; see [`Builder::contain_overflow`](crate::Builder::contain_overflow).
    pub contained: u64,
}

/// Stacks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackClassFigures {
    /// Size of a slot with its guard, in bytes: a power of two.
    pub slot_bytes: u64,
    /// Slots that routines use.
    pub in_use: u64,
    /// Slots kept warm by workers.
    pub pooled: u64,
    /// Slots that were used before and wait without memory.
    pub free: u64,
    /// Address space reserved, in bytes. Not memory.
    pub reserved_bytes: u64,
}

/// How deep the stacks of the routines from one spawn site were; see
/// [`Handle::stack_sites`](crate::Handle::stack_sites).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackSite {
    /// Where they were spawned.
    pub site: &'static Location<'static>,
    /// The largest slot that one of them had, in bytes.
    pub slot_bytes: u64,
    /// Routines measured: those that suspended at least once.
    pub measured: u64,
    /// Times that one was seen to have grown past another power of two.
    pub growths: u64,
    /// The deepest seen at a suspension, in bytes.
    pub high_water_bytes: u64,
}

impl StackSite {
    /// The stack size to be advised, in bytes: the smallest slot that holds twice the deepest stack seen,
    /// and the 24 KiB that a panic with a backtrace takes on top of that, and a guard page.
    ///
    /// Twice, because a depth that was reached and left between two suspensions was not seen: it is
    /// advice, and no promise.
    ///
    /// ```
    /// use openwork::snapshot::StackSite;
    /// let mut found = StackSite {
    ///     site: std::panic::Location::caller(),
    ///     slot_bytes: 64 << 10,
    ///     measured: 1,
    ///     growths: 0,
    ///     high_water_bytes: 1_000,
    /// };
    /// assert_eq!(found.advised_bytes(), 32 << 10);
    /// found.high_water_bytes = 30 << 10;
    /// assert_eq!(found.advised_bytes(), 128 << 10);
    /// ```
    pub fn advised_bytes(&self) -> u64 {
        const PANIC_BYTES: u64 = 24 << 10;
        let guard = stack::guard_bytes() as u64;
        let needed = self
            .high_water_bytes
            .saturating_mul(2)
            .saturating_add(PANIC_BYTES + guard);
        let class = StackClass::for_bytes(usize::try_from(needed).unwrap_or(usize::MAX));
        class.unwrap_or(StackClass::LARGEST).bytes() as u64
    }
}

/// The stack of one routine, as seen at its last suspension.
///
/// ```
/// use openwork::{Runtime, time};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let sleeper = rt.spawn(|| time::sleep(Duration::from_secs(3600)));
/// let depth = || rt.handle().routine(sleeper.id())?.stack?.depth_bytes;
/// while depth().is_none() {
///     std::thread::yield_now(); // until it has suspended
/// }
/// assert!(depth() <= rt.handle().routine(sleeper.id()).unwrap().stack.unwrap().high_water_bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackView {
    /// Size of the slot with its guard, in bytes.
    pub size_bytes: u64,
    /// Depth at the last suspension, in bytes; `None` before the first one.
    pub depth_bytes: Option<u64>,
    /// Deepest seen at a suspension, in bytes; `None` before the first one.
    pub high_water_bytes: Option<u64>,
    /// Segments that it is in, one in the other; see [`with_segment`](crate::with_segment). Depths leave
    /// them out: [`Handle::stack`](crate::Handle::stack) tells of each.
    pub segments: u32,
    /// Segments it was ever in.
    pub segments_entered: u64,
}

/// The stacks of one blocked routine; see [`Handle::stack`](crate::Handle::stack).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackDetail {
    /// Whose.
    pub routine: RoutineId,
    /// Its own stack and, in the order in which they were entered, its segments: the last is the one
    /// that it blocked on.
    pub parts: Vec<StackDetailPart>,
}

/// One of a routine's stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackDetailPart {
    /// Size of the slot with its guard, in bytes.
    pub slot_bytes: u64,
    /// Bytes in use.
    pub depth_bytes: u64,
    /// Bytes that are left before the guard.
    pub guard_distance_bytes: u64,
    /// Bytes of memory behind it; `None` where the system does not tell.
    pub resident_bytes: Option<u64>,
}

/// Memory that sampled routines' stacks occupy, of one spawn site; see
/// [`Handle::sample_site_residency`](crate::Handle::sample_site_residency).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteResidency {
    /// Where they were spawned.
    pub site: &'static Location<'static>,
    /// Routines that have a stack.
    pub routines: u64,
    /// Of these, the ones whose pages were counted.
    pub sampled: u64,
    /// Resident bytes of the sampled ones.
    pub resident_bytes: u64,
}

/// Memory that sampled routines' stacks occupy.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// if let Some(sample) = rt.handle().sample_residency(100) {
///     assert_eq!((sample.sampled, sample.resident_bytes), (0, 0), "no routine has a stack");
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidencySample {
    /// Routines that have a stack.
    pub routines: u64,
    /// Of these, the ones whose pages were counted.
    pub sampled: u64,
    /// Resident bytes of the sampled ones.
    pub resident_bytes: u64,
}
