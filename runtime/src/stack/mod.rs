//! Stacks that never move: slots of a power of two in reserved address space, each with a guard.
//!
//! A [`Slot`] is address space, not memory: the kernel gives it a page at a time as the stack grows
//! into it, so there is no growth code to run and nothing to copy. Its lowest page is the guard.
//! [`StackArena`] reserves the space and keeps what nobody uses; each worker has a [`StackPool`] of
//! slots that are still warm. [`overflow`] names the routine that ran into its guard, and
//! [`residency`] asks the kernel what a stack holds and takes back what it no longer needs.
//!
//! In portable builds a stack is an OS thread's own: [`threads`] stands for arena and pools, and [`system`]
//! for what then cannot be known. Where routines have no stacks at all, `none` stands for [`threads`].

#[cfg(not(portable))]
pub(crate) mod altstack;
#[cfg(not(portable))]
mod arena;
#[cfg(not(portable))]
mod guard;
#[cfg(not(portable))]
pub(crate) mod overflow;
#[cfg(not(portable))]
mod pool;
#[cfg(not(portable))]
pub(crate) mod residency;
#[cfg(not(portable))]
mod segments;
pub(crate) mod sites;
#[cfg(not(portable))]
mod slot;
#[cfg(portable)]
mod system;
#[cfg_attr(stackless, path = "none.rs")]
#[cfg(portable)]
mod threads;

#[cfg(not(portable))]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[cfg(not(portable))]
pub(crate) use arena::{OutOfStacks, StackArena};
#[cfg(not(portable))]
pub(crate) use pool::StackPool;
#[cfg(not(portable))]
pub(crate) use slot::Slot;
#[cfg(portable)]
pub(crate) use system::{altstack, overflow, residency};
#[cfg(portable)]
pub(crate) use threads::{OutOfStacks, Slot, StackArena, StackPool};

use crate::snapshot::GuardMode;

/// Size of a slot, guard page included: a power of two from 32 KiB to 1 GiB.
///
/// 32 KiB is the least because a panic with a backtrace was measured to need 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StackClass(u8);

/// More was asked for than the largest class holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stack of {asked} bytes was asked for, the largest is {} bytes", StackClass::LARGEST.bytes())]
pub(crate) struct StackSizeError {
    /// Bytes asked for.
    pub(crate) asked: usize,
}

impl StackClass {
    pub(crate) const SMALLEST: StackClass = StackClass(15);
    pub(crate) const LARGEST: StackClass = StackClass(30);
    /// How many classes there are.
    #[cfg(not(portable))]
    const COUNT: usize = (Self::LARGEST.0 - Self::SMALLEST.0) as usize + 1;

    /// The smallest class of at least `bytes`. Less than the smallest class is rounded up to it.
    pub(crate) fn for_bytes(bytes: usize) -> Result<StackClass, StackSizeError> {
        if bytes > Self::LARGEST.bytes() {
            return Err(StackSizeError { asked: bytes });
        }
        let log2 = bytes.next_power_of_two().trailing_zeros() as u8;
        Ok(StackClass(log2).max(Self::smallest_here()))
    }

    /// The smallest class on this machine: where pages are larger than usual (16 or 64 KiB on some ARM64), a guard
    /// and three pages above it.
    #[cfg(not(portable))]
    fn smallest_here() -> StackClass {
        let log2 = (4 * page_bytes()).next_power_of_two().trailing_zeros() as u8;
        StackClass(log2).max(Self::SMALLEST)
    }

    /// The smallest class.
    #[cfg(portable)]
    fn smallest_here() -> StackClass {
        Self::SMALLEST
    }

    /// Bytes of address space of a slot, guard page included.
    pub(crate) const fn bytes(self) -> usize {
        1 << self.0
    }

    /// The class as it is kept in a routine's block.
    pub(crate) const fn raw(self) -> u8 {
        self.0
    }

    /// The class that [`raw`](Self::raw) gave.
    pub(crate) const fn from_raw(raw: u8) -> StackClass {
        StackClass(raw)
    }

    #[cfg(not(portable))]
    const fn log2(self) -> u8 {
        self.0
    }

    /// The class that is so many steps above this one.
    #[cfg(not(portable))]
    const fn larger(self, steps: usize) -> StackClass {
        StackClass(self.0 + steps as u8)
    }

    /// Position among the classes, from 0.
    #[cfg(not(portable))]
    const fn index(self) -> usize {
        (self.0 - Self::SMALLEST.0) as usize
    }
}

/// A moment of the arena. Taken while workers run, so that the counts may be a few slots apart. In portable builds
/// a slot is a thread, of which there are no free ones, segments or shrunk stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ArenaFigures {
    /// Slots that routines have.
    pub(crate) in_use: u64,
    /// Slots that wait in workers' pools and may hold a few pages each.
    pub(crate) pooled: u64,
    /// Slots that were used before and wait in the arena, without memory.
    pub(crate) free: u64,
    /// Bytes of address space reserved. No measure of memory.
    pub(crate) reserved_bytes: u64,
    /// Most slots that may be in use, if there is a limit.
    pub(crate) limit: Option<u64>,
    /// Stacks that memory was taken from while they went on, and how much.
    pub(crate) shrinks: u64,
    pub(crate) shrunk_bytes: u64,
    /// Slots that routines have beside their own, now and ever.
    pub(crate) segments: u64,
    pub(crate) segments_entered: u64,
    /// Overflows that ended their routine alone.
    pub(crate) contained: u64,
}

/// What a [`StackArena`] is built from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackConfig {
    /// The class that the workers' pools keep warm.
    #[cfg_attr(
        portable,
        allow(dead_code, reason = "threads are kept whatever their class")
    )]
    pub(crate) default_class: StackClass,
    /// How guard pages are made.
    pub(crate) guard: GuardMode,
    /// Most slots in use at one time, over all classes; `None`: as many as memory allows.
    pub(crate) max_stacks: Option<u64>,
}

/// Start and end of the slot that `address` lies in. Async-signal-safe.
#[cfg(not(portable))]
pub(crate) fn slot_of(address: usize) -> Option<(usize, usize)> {
    let hit = segments::find(address)?;
    Some((hit.slot_start, hit.slot_start + hit.slot_bytes))
}

/// Where there are no slots.
#[cfg(portable)]
pub(crate) fn slot_of(_address: usize) -> Option<(usize, usize)> {
    None
}

/// Bytes of a slot that are its guard.
pub(crate) fn guard_bytes() -> usize {
    #[cfg(portable)]
    return 0;
    #[cfg(not(portable))]
    page_bytes()
}

/// Bytes in a page of this machine. Async-signal-safe.
#[cfg(not(portable))]
pub(crate) fn page_bytes() -> usize {
    static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
    let known = PAGE_BYTES.load(Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: sysconf reads a constant of the system; it has no preconditions.
    let asked = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let asked = usize::try_from(asked).expect("every Unix has a page size");
    PAGE_BYTES.store(asked, Relaxed);
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: usize, expected: Option<usize>) {
        assert_eq!(
            StackClass::for_bytes(bytes).ok().map(StackClass::bytes),
            expected
        );
    }

    /// Rounding down anywhere here would hand out less stack than was asked for.
    #[test]
    fn a_class_holds_what_was_asked_for() {
        let least = StackClass::smallest_here().bytes();
        #[cfg(not(portable))]
        assert_eq!(least, (32 << 10).max(4 * page_bytes()));
        for (bytes, expected) in [
            (0, 32 << 10),
            (1, 32 << 10),
            (32 << 10, 32 << 10),
            ((32 << 10) + 1, 64 << 10),
            (64 << 10, 64 << 10),
            (100_000, 128 << 10),
        ] {
            check(bytes, Some(least.max(expected)));
        }
        check(1 << 30, Some(1 << 30));
        check((1 << 30) + 1, None);
        check(usize::MAX, None);
    }
}

/// For tests whose subject is the whole process: its end, its mappings, its handlers.
#[cfg(all(test, not(portable)))]
pub(crate) mod child {
    use std::process::{Command, Output};

    const MARK: &str = "OPENWORK_TEST_CHILD";

    /// In the test itself: runs the same test in a process of its own and returns how that ended.
    /// In that process: `None`. `test` is the test's path in this crate.
    pub(crate) fn run(test: &str) -> Option<Output> {
        if std::env::var_os(MARK).is_some() {
            return None;
        }
        let binary = std::env::current_exe().expect("a test knows its binary");
        // A program that must run it, if this machine cannot: an emulator and its arguments.
        let runner = std::env::var("OPENWORK_TEST_RUNNER").unwrap_or_default();
        let mut words = runner.split_whitespace();
        let mut command = match words.next() {
            Some(emulator) => Command::new(emulator),
            None => Command::new(&binary),
        };
        if !runner.is_empty() {
            command.args(words).arg(&binary);
        }
        let output = command
            .args(["--exact", test, "--nocapture"])
            .env(MARK, "1")
            .output()
            .expect("a test can run its binary");
        Some(output)
    }

    /// As [`run`], for a process that should end well.
    #[track_caller]
    pub(crate) fn passes(test: &str) -> bool {
        let Some(output) = run(test) else {
            return false;
        };
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && told.contains("1 passed"),
            "{told}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        true
    }
}
