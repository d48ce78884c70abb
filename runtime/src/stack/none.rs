//! Stacks where a routine has none: a slot is the right to a turn on the caller's stack.
//!
//! In place of [arena and pool](super) on WebAssembly. As one turn runs at a time, and returns, nobody waits for one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::{ArenaFigures, StackClass, StackConfig};
use crate::scheduler::timers::NEVER;
use crate::snapshot::{GuardMode, StackClassFigures};

/// The right to a turn.
#[derive(Debug)]
pub(crate) struct Slot(());

/// Why there is no stack to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutOfStacks {
    /// As many are in use as may be.
    #[error("all stacks are in use")]
    Limit,
    /// The system refuses.
    #[error("no stack: the system's error {errno}")]
    Kernel {
        /// The system's error number.
        errno: i32,
    },
}

impl OutOfStacks {
    pub(crate) fn may_heal_elsewhere(self) -> bool {
        false
    }
}

/// The turns of one runtime.
#[derive(Debug)]
pub(crate) struct StackArena {
    in_use: AtomicU64,
}

impl StackArena {
    /// # Errors
    /// Guards were asked for that only slots have.
    pub(crate) fn new(config: StackConfig) -> io::Result<Arc<StackArena>> {
        if !matches!(config.guard, GuardMode::Auto | GuardMode::System) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "guard mode `{}`: here all turns run on the one stack there is",
                    config.guard.name()
                ),
            ));
        }
        Ok(Arc::new(StackArena {
            in_use: AtomicU64::new(0),
        }))
    }

    /// The machine's own.
    pub(crate) fn mode(&self) -> GuardMode {
        GuardMode::System
    }

    pub(crate) fn figures(&self) -> ArenaFigures {
        ArenaFigures {
            in_use: self.in_use.load(Relaxed),
            ..ArenaFigures::default()
        }
    }

    /// Never: there is nothing to shrink.
    pub(crate) fn note_shrunk(&self, _bytes: usize) {}

    /// There are no classes.
    pub(crate) fn class_figures(&self) -> Vec<StackClassFigures> {
        Vec::new()
    }

    /// Always.
    pub(crate) fn has_room(&self) -> bool {
        true
    }
}

/// The worker's way to the arena.
#[derive(Debug)]
pub(crate) struct StackPool {
    arena: Arc<StackArena>,
}

impl StackPool {
    pub(crate) fn new(arena: Arc<StackArena>) -> StackPool {
        StackPool { arena }
    }

    pub(crate) fn arena(&self) -> Arc<StackArena> {
        self.arena.clone()
    }

    /// Never fails.
    pub(crate) fn take(&mut self, _class: StackClass) -> Result<Slot, OutOfStacks> {
        self.arena.in_use.fetch_add(1, Relaxed);
        Ok(Slot(()))
    }

    /// Takes a slot of this pool's arena back.
    ///
    /// # Safety
    /// None.
    pub(crate) unsafe fn give_back(&mut self, _slot: Slot, _lowest_sp: usize) {
        self.arena.in_use.fetch_sub(1, Relaxed);
    }

    /// Nothing is kept.
    pub(crate) fn give_all_back(&mut self) {}

    /// As [`give_all_back`](Self::give_all_back).
    pub(crate) fn cool_between_turns(&mut self, _now: u64) {}

    /// As [`give_all_back`](Self::give_all_back).
    pub(crate) fn cools_at(&self, _now: u64) -> u64 {
        NEVER
    }

    /// As [`give_all_back`](Self::give_all_back).
    pub(crate) fn cool_after_sleep(&mut self, _asleep: u64, _now: u64) {}
}
