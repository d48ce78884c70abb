//! The monitor: the thread that watches the others.
//!
//! It finds turns that last too long and asks them to give way ([`leash`]), freezes those that do not
//! ([`signal`]), and takes the workers of threads that sleep in the kernel. What it sees comes from
//! [`probe`], what it decides from [`judge`].
//!
//! **Its law**: it allocates, frees and prints nothing, and takes no lock that it would have to wait for.
//! A frozen thread may hold the allocator's lock or a stream's, and the one that could let it go on
//! must not wait behind it.

#![allow(dead_code, reason = "the loop that uses it follows")]

mod counters;
pub(crate) mod judge;
mod latencies;
pub(crate) mod leash;
pub(crate) mod membarrier;
pub(crate) mod probe;
pub(crate) mod signal;
