//! Travelling homes: thread identities that threads put on and take off.
//!
//! A started routine is bound to its home. In version 1 a home is an OS thread. In version 2, which this
//! module is, it is an [`Identity`]: the thread-local block of a *donor*, a thread that sleeps for ever; a *carrier* mounts it
//! by writing the register that says where thread-locals are. So everything that a library keeps in a
//! thread-local goes with the routine from thread to thread: `thread::current()`, `errno`, an entered span, the
//! count of panics, the allocator's cache. One sentence: *thread-local identity travels, kernel-thread identity does
//! not*; `docs/hazards.md` lists what is bound to the kernel's thread.
//!
//! - A donor is described in `linux/donor.rs`, mounting in `linux/carrier.rs`, who has a home in [`door`].
//! - A fresh routine starts on a *clean* home. One that ends without blocking leaves it clean; the one that
//!   blocks keeps it until it ends. Homes that come back are used again, the warmest first, with their
//!   thread-locals as they were left, as in a pool of threads.
//! - At the limit, routines share homes ([`Homes::share`]): at most one of a home runs at a time, and what they
//!   do to each other's thread-locals is as in version 1.
//! - A home ends by its donor's waking, with nobody bound to it, so that destructors of thread-locals run on a
//!   thread that is whole. What cannot end keeps its home: a leaked routine leaks it.

mod door;
#[cfg(any(portable, not(target_env = "gnu")))]
#[path = "elsewhere.rs"]
mod platform;
#[cfg(all(not(portable), target_env = "gnu"))]
#[path = "linux/mod.rs"]
mod platform;
mod store;

use std::io;

pub(crate) use platform::{Carrier, check_not_forked, credentials_changed};
pub(crate) use store::{Homes, Identity};

/// No identity: not an index of one.
pub(crate) const NONE: u32 = u32::MAX;

/// Most homes that can be asked for.
pub(crate) const MOST: usize = 1 << 16;

/// Why there are no travelling homes.
#[derive(Debug, thiserror::Error)]
#[allow(dead_code, reason = "each platform has some of them")]
pub(crate) enum NoHomes {
    #[error("travelling homes were not asked for")]
    NotAsked,
    #[error("a deterministic run has one thread, on which nothing travels")]
    Deterministic,
    #[error("this platform has none: they are made for Linux with the GNU C library")]
    Platform,
    #[error("the processor or the kernel does not let a program write its thread base")]
    Processor,
    #[error("version {version} of the C library has not been tried with them")]
    Untested { version: &'static str },
    #[error("the try at the start failed: {0}")]
    Failed(&'static str),
    #[error("the system refuses a donor: {0}")]
    Donor(#[source] io::Error),
    #[error("{by} leaves room for {room} of them, and {least} are needed at least")]
    Room {
        by: &'static str,
        room: u64,
        least: u64,
    },
}
