//! The one place that chooses between std's atomics and the model checker's.
//!
//! Only the protocols that are model-checked (`routine/life.rs`, `scheduler/idle.rs`, `inbox`) take
//! their atomics from here; everything else names std directly.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, fence};
