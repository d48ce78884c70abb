//! The values of a configuration that may change, as the runtime reads them.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::{Placement, Preemption, RuntimeConfig, StealAmount, VictimOrder};

/// One atomic for each value. Written under the lock and read without it. Nothing depends on two of them
/// being of one change, so relaxed is enough.
#[derive(Debug)]
pub(crate) struct Tunables {
    placement: AtomicU8,
    victims: AtomicU8,
    steal: AtomicU8,
    rebalance: AtomicBool,
    /// Bits of an `f64`.
    rebalance_ratio: AtomicU64,
    rebalance_period_ns: AtomicU64,
    preemption: AtomicU8,
    slice_ns: AtomicU64,
    hand_off: AtomicBool,
    max_threads: AtomicUsize,
    changing: Mutex<()>,
}

impl Tunables {
    pub(crate) fn new(config: &RuntimeConfig) -> Tunables {
        let tunables = Tunables {
            placement: AtomicU8::new(0),
            victims: AtomicU8::new(0),
            steal: AtomicU8::new(0),
            rebalance: AtomicBool::new(false),
            rebalance_ratio: AtomicU64::new(0),
            rebalance_period_ns: AtomicU64::new(0),
            preemption: AtomicU8::new(0),
            slice_ns: AtomicU64::new(0),
            hand_off: AtomicBool::new(false),
            max_threads: AtomicUsize::new(0),
            changing: Mutex::new(()),
        };
        tunables.write(config);
        tunables
    }

    /// For the time of a change, and of the last step of a shutdown.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn write(&self, config: &RuntimeConfig) {
        self.placement.store(config.placement as u8, Relaxed);
        self.victims.store(config.victims as u8, Relaxed);
        self.steal.store(config.steal as u8, Relaxed);
        self.rebalance.store(config.rebalance, Relaxed);
        let ratio = config.rebalance_ratio.to_bits();
        self.rebalance_ratio.store(ratio, Relaxed);
        let period = config.rebalance_period.as_nanos() as u64;
        self.rebalance_period_ns.store(period, Relaxed);
        self.preemption.store(config.preemption as u8, Relaxed);
        self.slice_ns.store(config.slice.as_nanos() as u64, Relaxed);
        self.hand_off.store(config.hand_off, Relaxed);
        self.max_threads.store(config.max_threads, Relaxed);
    }

    /// Everything, with the numbers of workers, which are kept elsewhere.
    pub(super) fn read(&self, workers: usize, max_workers: usize) -> RuntimeConfig {
        RuntimeConfig {
            workers,
            max_workers,
            placement: self.placement(),
            victims: self.victims(),
            steal: self.steal(),
            rebalance: self.rebalance.load(Relaxed),
            rebalance_ratio: self.rebalance_ratio(),
            rebalance_period: Duration::from_nanos(self.rebalance_period_ns()),
            preemption: self.preemption(),
            slice: Duration::from_nanos(self.slice_ns()),
            hand_off: self.hand_off(),
            max_threads: self.max_threads(),
        }
    }

    /// The user's strategy is not asked for places any more, unless somebody has set another one meanwhile.
    pub(crate) fn stop_custom_placement(&self) {
        let (custom, usual) = (Placement::Custom as u8, Placement::default() as u8);
        let _ = self
            .placement
            .compare_exchange(custom, usual, Relaxed, Relaxed);
    }

    /// The same for victims.
    pub(crate) fn stop_custom_victims(&self) {
        let (custom, usual) = (VictimOrder::Custom as u8, VictimOrder::default() as u8);
        let _ = self
            .victims
            .compare_exchange(custom, usual, Relaxed, Relaxed);
    }

    pub(crate) fn rebalance(&self) -> bool {
        self.rebalance.load(Relaxed)
    }

    /// Whether this is how fresh routines are placed.
    #[inline]
    pub(crate) fn places(&self, placement: Placement) -> bool {
        self.placement.load(Relaxed) == placement as u8
    }

    #[inline]
    pub(crate) fn placement(&self) -> Placement {
        Placement::from_u8(self.placement.load(Relaxed))
    }

    pub(crate) fn victims(&self) -> VictimOrder {
        VictimOrder::from_u8(self.victims.load(Relaxed))
    }

    pub(crate) fn steal(&self) -> StealAmount {
        StealAmount::from_u8(self.steal.load(Relaxed))
    }

    pub(crate) fn rebalance_ratio(&self) -> f64 {
        f64::from_bits(self.rebalance_ratio.load(Relaxed))
    }

    pub(crate) fn rebalance_period_ns(&self) -> u64 {
        self.rebalance_period_ns.load(Relaxed)
    }

    pub(crate) fn preemption(&self) -> Preemption {
        Preemption::from_u8(self.preemption.load(Relaxed))
    }

    /// How long a routine may run while others wait, in nanoseconds.
    pub(crate) fn slice_ns(&self) -> u64 {
        self.slice_ns.load(Relaxed)
    }

    pub(crate) fn hand_off(&self) -> bool {
        self.hand_off.load(Relaxed)
    }

    pub(crate) fn max_threads(&self) -> usize {
        self.max_threads.load(Relaxed)
    }
}
