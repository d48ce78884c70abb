//! Profiles of the running program: where CPU time goes ([`cpu`]) and where routines stand
//! ([`stacks`]).
//!
//! Both walk frame pointers, so everything that is to be seen must be built with
//! `-C force-frame-pointers=yes`. Addresses are not looked up here: a profile is taken inside the
//! program that it is about, and naming functions is the reader's work.

pub mod cpu;
pub(crate) mod frames;
#[cfg(not(portable))]
pub(crate) mod interrupted;
#[cfg_attr(portable, allow(dead_code, reason = "nothing is sampled"))]
mod ring;
#[cfg(not(portable))]
mod signal;
#[cfg(portable)]
#[path = "no_signal.rs"]
mod signal;
mod stacks;

pub(crate) use stacks::unclaimed;
pub use stacks::{NoStack, RoutineStack, stacks};
