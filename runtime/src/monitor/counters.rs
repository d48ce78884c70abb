//! What is counted of giving way, and where the monitor sleeps.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::latencies::LatencyCounts;
use crate::scheduler::parker::Parker;

/// Shared by the monitor and all threads that it watches.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) counters: Counters,
    pub(crate) signal_to_frozen: LatencyCounts,
    pub(crate) frozen_to_running: LatencyCounts,
    pub(crate) blocked_to_noticed: LatencyCounts,
    bell: Parker,
}

/// Written by handlers and the monitor, at a few thousand a second at most: read-modify-write.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Turns that were asked to give way.
    pub(crate) requested: AtomicU64,
    /// Of these, the ones that did so at a safe point.
    pub(crate) honoured: AtomicU64,
    /// Signals that found their thread inside the runtime.
    pub(crate) deferred: AtomicU64,
    /// Signals that froze their thread.
    pub(crate) forced: AtomicU64,
    /// Signals that found another turn.
    pub(crate) stale: AtomicU64,
    /// Turns that were to be forced when no thread was to be had.
    pub(crate) at_cap: AtomicU64,
    /// Workers taken from threads that are blocked in the kernel.
    pub(crate) retaken: AtomicU64,
    /// Frozen threads that were let go without a worker.
    pub(crate) released: AtomicU64,
    /// Of these, the ones that were let go for no other reason than that a thread slept inside the runtime.
    #[cfg(test)]
    pub(crate) released_inside: AtomicU64,
    /// Deadlines served by another worker than their own.
    pub(crate) timers_rescued: AtomicU64,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            counters: Counters::default(),
            signal_to_frozen: LatencyCounts::new(),
            frozen_to_running: LatencyCounts::new(),
            blocked_to_noticed: LatencyCounts::new(),
            bell: Parker::new(),
        }
    }

    /// A worker was taken from a thread that has slept in the kernel for so long.
    pub(crate) fn note_retaken(&self, slept_ns: u64) {
        self.counters.retaken.fetch_add(1, Relaxed);
        self.blocked_to_noticed.note(slept_ns);
    }

    /// Wakes the monitor. Async-signal-safe. Of several rings before it looks one is enough.
    pub(crate) fn ring(&self) {
        self.bell.wake(false, || {});
    }

    /// Sleeps until rung for, or until the time is over. By the monitor alone.
    pub(super) fn sleep(&self, timeout: Option<Duration>) {
        self.bell.park(timeout);
    }
}
