//! Stacks of the system's making: a slot is an OS thread that waits to be told what to run on it.
//!
//! In place of [arena and pool](super) in portable builds. The threads that nobody uses are kept, up to a
//! number, because to start one costs more than to wake it; what is thread-local on such a thread is
//! therefore passed on to the next routine there, as it is between routines on one thread anywhere.
//!
//! The system guards and grows these stacks, and names a thread that overflows its own.

use std::io;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{ArenaFigures, StackClass, StackConfig};
use crate::routine::context::threads::{Carrier, Runner};
use crate::scheduler::timers::NEVER;
use crate::snapshot::{GuardMode, StackClassFigures};

/// Most threads for routines in this process. A thread takes four mappings on Linux, of which a process
/// has 65,530; where there are none left, it is not a thread that fails but an allocation or an unwinding. On
/// 32-bit machines the address space ends before.
const THREADS_MAX: u64 = if cfg!(target_pointer_width = "64") {
    8_192
} else {
    1_024
};
/// Threads that a runtime keeps without a routine.
const KEPT: usize = 64;
/// Bytes of each thread's stack on top of the class: what the system and the standard library put there, and
/// what other builds run elsewhere, a handler on the alternate stack or a heap profiler's backtrace.
const OVERHEAD: usize = 256 << 10;

/// Threads for routines, in all runtimes. Relaxed: a count, nothing is published by it.
static THREADS: AtomicU64 = AtomicU64::new(0);

/// One OS thread and the right to have it run a routine. There is one value per thread. Dropped without
/// [`StackPool::give_back`], the thread stays as it is for ever, with what lives on its stack.
#[derive(Debug)]
pub(crate) struct Slot {
    carrier: Arc<Carrier>,
    class: StackClass,
}

impl Slot {
    /// By which the thread is told to run, and tells that it has.
    pub(crate) fn carrier(&self) -> &Arc<Carrier> {
        &self.carrier
    }

    fn start(class: StackClass) -> Result<Slot, OutOfStacks> {
        THREADS
            .fetch_update(Relaxed, Relaxed, |n| (n < THREADS_MAX).then_some(n + 1))
            .map_err(|_| OutOfStacks::Threads)?;
        let carrier = Arc::new(Carrier::new());
        let of_thread = carrier.clone();
        thread::Builder::new()
            .name("openwork-routine".to_owned())
            .stack_size(class.bytes() + OVERHEAD)
            .spawn(move || {
                let _counted = Counted;
                Runner::new(of_thread).run();
            })
            .map_err(|why| {
                drop(Counted);
                OutOfStacks::refused(&why)
            })?;
        Ok(Slot { carrier, class })
    }

    /// Lets the thread end.
    fn dismiss(self) {
        self.carrier.dismiss();
    }
}

/// One of [`THREADS`], until it is dropped.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Relaxed);
    }
}

/// All stacks of one runtime. Threads without a routine end with the last `Arc`; nobody waits for them.
#[derive(Debug)]
pub(crate) struct StackArena {
    limit: u64,
    admitted: AtomicU64,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The one used last at the end.
    slots: Vec<Slot>,
    /// Bytes of the stacks of all threads, those with a routine too.
    bytes: u64,
}

/// Why there is no stack to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutOfStacks {
    /// As many are in use as may be. One that is given back heals it.
    #[error("all stacks are in use")]
    Limit,
    /// This process has as many threads for routines as it may.
    #[error("no thread for a stack: {} are in use in this process", THREADS_MAX)]
    Threads,
    /// The system started no thread.
    #[error("no thread for a stack: {}", refusal(*errno))]
    Kernel {
        /// The system's error number; 0 if it gave none.
        errno: i32,
    },
}

impl OutOfStacks {
    /// Whether somebody outside the runtime may heal it: the threads are the process's.
    pub(crate) fn may_heal_elsewhere(self) -> bool {
        matches!(self, OutOfStacks::Threads)
    }

    fn refused(why: &io::Error) -> OutOfStacks {
        OutOfStacks::Kernel {
            errno: why.raw_os_error().unwrap_or(0),
        }
    }
}

fn refusal(errno: i32) -> io::Error {
    match errno {
        0 => io::ErrorKind::OutOfMemory.into(),
        errno => io::Error::from_raw_os_error(errno),
    }
}

impl StackArena {
    /// # Errors
    /// Guards were asked for that only slots have.
    pub(crate) fn new(config: StackConfig) -> io::Result<Arc<StackArena>> {
        if !matches!(config.guard, GuardMode::Auto | GuardMode::System) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "guard mode `{}`: here each routine has a thread of the system's, which guards it",
                    config.guard.name()
                ),
            ));
        }
        Ok(Arc::new(StackArena {
            limit: config
                .max_stacks
                .map_or(THREADS_MAX, |n| n.min(THREADS_MAX)),
            admitted: AtomicU64::new(0),
            idle: Mutex::default(),
        }))
    }

    /// How guards are made.
    pub(crate) fn mode(&self) -> GuardMode {
        GuardMode::System
    }

    pub(crate) fn figures(&self) -> ArenaFigures {
        let idle = self.idle();
        ArenaFigures {
            in_use: self.admitted.load(Relaxed),
            pooled: idle.slots.len() as u64,
            reserved_bytes: idle.bytes,
            limit: Some(self.limit),
            ..ArenaFigures::default()
        }
    }

    /// Never: nothing is taken from a thread's stack.
    pub(crate) fn note_shrunk(&self, _bytes: usize) {}

    /// Classes are not counted apart.
    pub(crate) fn class_figures(&self) -> Vec<StackClassFigures> {
        Vec::new()
    }

    /// Whether one more would be admitted now. SeqCst with a waiter's place in the queue before it:
    /// partners are the subtraction in [`StackPool::give_back`] and the giver's look at the queue after it.
    pub(crate) fn has_room(&self) -> bool {
        self.admitted.load(SeqCst) < self.limit
    }

    fn take(&self, class: StackClass) -> Result<Slot, OutOfStacks> {
        self.admitted
            .fetch_update(Relaxed, Relaxed, |n| (n < self.limit).then_some(n + 1))
            .map_err(|_| OutOfStacks::Limit)?;
        {
            let mut idle = self.idle();
            if let Some(at) = idle.slots.iter().rposition(|slot| slot.class == class) {
                return Ok(idle.slots.remove(at));
            }
        }
        let started = Slot::start(class).inspect_err(|_| {
            // Perhaps those of other classes are in the way; the caller comes again.
            let idle = std::mem::take(&mut self.idle().slots);
            idle.into_iter().for_each(|slot| self.dismiss(slot));
            // SeqCst: see `StackArena::has_room`.
            self.admitted.fetch_sub(1, SeqCst);
        })?;
        self.idle().bytes += class.bytes() as u64;
        Ok(started)
    }

    fn give_back(&self, slot: Slot) {
        let mut idle = self.idle();
        idle.slots.push(slot);
        // The one that has been idle for longest goes.
        let surplus = (idle.slots.len() > KEPT).then(|| idle.slots.remove(0));
        drop(idle);
        if let Some(slot) = surplus {
            self.dismiss(slot);
        }
    }

    fn dismiss(&self, slot: Slot) {
        self.idle().bytes -= slot.class.bytes() as u64;
        slot.dismiss();
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StackArena {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut self.idle().slots);
        idle.into_iter().for_each(Slot::dismiss);
    }
}

/// A worker's way to the arena, which is shared by all: to pass a baton costs far more than its lock.
#[derive(Debug)]
pub(crate) struct StackPool {
    arena: Arc<StackArena>,
}

impl StackPool {
    pub(crate) fn new(arena: Arc<StackArena>) -> StackPool {
        StackPool { arena }
    }

    /// Where the slots come from.
    pub(crate) fn arena(&self) -> Arc<StackArena> {
        self.arena.clone()
    }

    /// A thread with a stack of `class`.
    pub(crate) fn take(&mut self, class: StackClass) -> Result<Slot, OutOfStacks> {
        self.arena.take(class)
    }

    /// Takes back a slot of this pool's arena.
    ///
    /// # Safety
    /// 1. Exclusive: the routine that ran on the slot has ended.
    /// 2. Alive: the slot came from a pool of the same arena.
    pub(crate) unsafe fn give_back(&mut self, slot: Slot, _lowest_sp: usize) {
        self.arena.give_back(slot);
        // Last, so that whoever is admitted by it finds the slot where it was put. SeqCst: see
        // `StackArena::has_room`.
        self.arena.admitted.fetch_sub(1, SeqCst);
    }

    /// Nothing: what nobody uses is with the arena.
    pub(crate) fn give_all_back(&mut self) {}

    /// Threads that nobody uses stay asleep and keep little: nothing cools.
    pub(crate) fn cool_between_turns(&mut self, _now: u64) {}

    /// As [`cool_between_turns`](Self::cool_between_turns).
    pub(crate) fn cools_at(&self, _now: u64) -> u64 {
        NEVER
    }

    /// As [`cool_between_turns`](Self::cool_between_turns).
    pub(crate) fn cool_after_sleep(&mut self, _asleep: u64, _now: u64) {}
}
