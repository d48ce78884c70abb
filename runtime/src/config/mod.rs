//! What a runtime does by choice, and what of that can be chosen anew while it runs.
//!
//! [`RuntimeConfig`] is the configuration as a plain value; [`ConfigChange`] names what is to be another
//! one. A change is taken as a whole or refused as a whole. Each value takes effect where it is read
//! next: at the next spawn, search or look of the monitor.

mod available;
mod choices;
mod strategy;
mod tunables;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use available::{Availability, availability};
pub use choices::{Placement, Preemption, StealAmount, VictimOrder};
pub use strategy::{FreshRoutine, Strategy, WorkerLoad, Workers};
pub(crate) use tunables::Tunables;

use crate::handle::Handle;
use crate::monitor;
use crate::scheduler::Shared;
use crate::scheduler::threads::NoThread;

/// A runtime's configuration at one moment.
///
/// ```
/// use openwork::config::{Placement, RuntimeConfig};
///
/// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
/// let config: RuntimeConfig = rt.handle().config();
/// assert_eq!((config.workers, config.placement), (2, Placement::Local));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RuntimeConfig {
    /// Active workers: routines that run at the same time.
    pub workers: usize,
    /// Most workers that there may be. Set at the start; see
    /// [`RuntimeBuilder::max_workers`](crate::RuntimeBuilder::max_workers).
    pub max_workers: usize,
    /// Where fresh routines are queued.
    pub placement: Placement,
    /// Whom idle workers steal from first.
    pub victims: VictimOrder,
    /// How much they take.
    pub steal: StealAmount,
    /// Whether work is moved from workers that have too much of it to those that have little.
    pub rebalance: bool,
    /// What is too much: so many times the mean. Two workers differ by less than twice the mean, whatever they
    /// have.
    pub rebalance_ratio: f64,
    /// How often that is looked at.
    pub rebalance_period: Duration,
    /// What happens to a routine that runs on while others wait.
    pub preemption: Preemption,
    /// How long a routine may run while others wait.
    pub slice: Duration,
    /// Whether a thread that is blocked in the kernel has its worker taken.
    pub hand_off: bool,
    /// Most threads that may hold workers or have been stopped while they did.
    pub max_threads: usize,
}

/// What is to change; what is `None` stays.
///
/// ```
/// use openwork::config::ConfigChange;
/// use std::time::Duration;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let mut change = ConfigChange::default();
/// change.slice = Some(Duration::from_millis(5));
/// let done = rt.handle().reconfigure(change).unwrap();
/// assert_eq!((done.old.slice.as_millis(), done.new.slice.as_millis()), (10, 5));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ConfigChange {
    /// See [`RuntimeConfig::workers`]. From 1 to [`RuntimeConfig::max_workers`], and if there are to be more than
    /// before, fewer than [`RuntimeConfig::max_threads`]. See [`Handle::set_workers`].
    pub workers: Option<usize>,
    /// See [`RuntimeConfig::placement`].
    pub placement: Option<Placement>,
    /// See [`RuntimeConfig::victims`].
    pub victims: Option<VictimOrder>,
    /// See [`RuntimeConfig::steal`].
    pub steal: Option<StealAmount>,
    /// See [`RuntimeConfig::rebalance`].
    pub rebalance: Option<bool>,
    /// See [`RuntimeConfig::rebalance_ratio`]. From 1.1 to 100.
    pub rebalance_ratio: Option<f64>,
    /// See [`RuntimeConfig::rebalance_period`]. From 1 ms to 10 s.
    pub rebalance_period: Option<Duration>,
    /// See [`RuntimeConfig::preemption`].
    pub preemption: Option<Preemption>,
    /// See [`RuntimeConfig::slice`]. From 1 to 100 ms.
    pub slice: Option<Duration>,
    /// See [`RuntimeConfig::hand_off`].
    pub hand_off: Option<bool>,
    /// See [`RuntimeConfig::max_threads`]. From 2 to 4096, and more than there are workers.
    pub max_threads: Option<usize>,
}

/// The configurations before and after a change.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reconfigured {
    /// Before.
    pub old: RuntimeConfig,
    /// After.
    pub new: RuntimeConfig,
}

/// Why a configuration was refused. Nothing has changed then.
///
/// ```
/// use openwork::config::ConfigChange;
/// use std::time::Duration;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let mut change = ConfigChange::default();
/// change.slice = Some(Duration::from_secs(1));
/// let why = rt.handle().reconfigure(change).unwrap_err();
/// assert_eq!(why.to_string(), "slice: 1s is out of range, from 1ms to 100ms are possible");
/// assert_eq!(why.field(), "slice");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value is too small or too large.
    #[error("{field}: {asked} is out of range, from {min} to {max} are possible")]
    OutOfRange {
        /// Which one.
        field: &'static str,
        /// What was asked for, with its unit.
        asked: String,
        /// The smallest that is possible.
        min: String,
        /// The largest that is possible.
        max: String,
    },
    /// This build or machine cannot do it.
    #[error("{field}: {asked} is not available: {why}")]
    NotAvailable {
        /// Which one.
        field: &'static str,
        /// What was asked for.
        asked: String,
        /// What is missing.
        why: &'static str,
    },
}

impl ConfigError {
    /// Which field of the change was refused, by its name in [`ConfigChange`].
    pub fn field(&self) -> &'static str {
        match self {
            ConfigError::OutOfRange { field, .. } | ConfigError::NotAvailable { field, .. } => {
                field
            }
        }
    }

    fn not_available(
        field: &'static str,
        asked: impl fmt::Display,
        why: &'static str,
    ) -> ConfigError {
        ConfigError::NotAvailable {
            field,
            asked: asked.to_string(),
            why,
        }
    }
}

const SLICES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
const PERIODS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(10));
const RATIOS: (f64, f64) = (1.1, 100.0);
const THREADS: (usize, usize) = (2, 4096);

impl Default for RuntimeConfig {
    /// That of a runtime of one worker for which nothing was asked.
    fn default() -> RuntimeConfig {
        RuntimeConfig {
            workers: 1,
            max_workers: 1,
            placement: Placement::default(),
            victims: VictimOrder::default(),
            steal: StealAmount::default(),
            rebalance: false,
            rebalance_ratio: 1.5,
            rebalance_period: Duration::from_millis(10),
            preemption: Preemption::default(),
            slice: Duration::from_millis(10),
            hand_off: false,
            max_threads: 256,
        }
    }
}

impl RuntimeConfig {
    /// This configuration with `change` in it, if all of it is possible, for a runtime that has a strategy of
    /// the user's or not.
    pub(crate) fn with(
        &self,
        change: &ConfigChange,
        has_strategy: bool,
    ) -> Result<RuntimeConfig, ConfigError> {
        let new = RuntimeConfig {
            workers: change.workers.unwrap_or(self.workers),
            max_workers: self.max_workers,
            placement: change.placement.unwrap_or(self.placement),
            victims: change.victims.unwrap_or(self.victims),
            steal: change.steal.unwrap_or(self.steal),
            rebalance: change.rebalance.unwrap_or(self.rebalance),
            rebalance_ratio: change.rebalance_ratio.unwrap_or(self.rebalance_ratio),
            rebalance_period: change.rebalance_period.unwrap_or(self.rebalance_period),
            preemption: change.preemption.unwrap_or(self.preemption),
            slice: change.slice.unwrap_or(self.slice),
            hand_off: change.hand_off.unwrap_or(self.hand_off),
            max_threads: change.max_threads.unwrap_or(self.max_threads),
        };
        new.check_ranges()?;
        new.check_available(self, has_strategy)?;
        Ok(new)
    }

    /// Whether there is anything for a monitor to do.
    pub(crate) fn needs_monitor(&self) -> bool {
        self.hand_off || self.preemption == Preemption::Forced
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        in_range("workers", self.workers, (1, self.max_workers))?;
        in_range("rebalance_ratio", self.rebalance_ratio, RATIOS)?;
        in_range("rebalance_period", self.rebalance_period, PERIODS)?;
        in_range("slice", self.slice, SLICES)?;
        in_range("max_threads", self.max_threads, THREADS)
    }

    /// What nobody carries out yet is refused rather than ignored.
    fn check_available(&self, old: &RuntimeConfig, has_strategy: bool) -> Result<(), ConfigError> {
        if !cfg!(feature = "balance") {
            let why = "the crate was built without its feature `balance`";
            if self.placement != Placement::Local {
                let asked = self.placement.name();
                return Err(ConfigError::not_available("placement", asked, why));
            }
            if self.victims == VictimOrder::Custom {
                return Err(ConfigError::not_available("victims", "custom", why));
            }
            if self.rebalance {
                return Err(ConfigError::not_available("rebalance", "on", why));
            }
        }
        let no_strategy = |field| {
            let why = "the runtime was built without a strategy of its own";
            Err(ConfigError::not_available(field, "custom", why))
        };
        if self.placement == Placement::Custom && !has_strategy {
            return no_strategy("placement");
        }
        if self.victims == VictimOrder::Custom && !has_strategy {
            return no_strategy("victims");
        }
        if self.preemption == Preemption::Forced && self.preemption != old.preemption {
            monitor::prepare_freezing().map_err(|why| {
                ConfigError::not_available("preemption", self.preemption.name(), why)
            })?;
        }
        if self.hand_off && !old.hand_off {
            monitor::prepare_hand_off()
                .map_err(|why| ConfigError::not_available("hand_off", "on", why))?;
        }
        Ok(())
    }
}

fn in_range<T: PartialOrd + fmt::Debug>(
    field: &'static str,
    asked: T,
    (min, max): (T, T),
) -> Result<(), ConfigError> {
    // Not a number is in no range.
    if min <= asked && asked <= max {
        return Ok(());
    }
    Err(ConfigError::OutOfRange {
        field,
        asked: format!("{asked:?}"),
        min: format!("{min:?}"),
        max: format!("{max:?}"),
    })
}

impl Handle {
    /// The configuration now. While another thread changes it, some values may be old and others new.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// assert_eq!(rt.handle().config().slice.as_millis(), 10);
    /// ```
    pub fn config(&self) -> RuntimeConfig {
        self.shared.config()
    }

    /// Changes the configuration while the runtime runs: all that `change` names, or nothing.
    ///
    /// ```
    /// use openwork::config::{ConfigChange, Preemption};
    ///
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let mut change = ConfigChange::default();
    /// change.preemption = Some(Preemption::Off);
    /// rt.handle().reconfigure(change).unwrap();
    /// assert_eq!(rt.handle().config().preemption, Preemption::Off);
    /// ```
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn reconfigure(&self, change: ConfigChange) -> Result<Reconfigured, ConfigError> {
        self.shared.reconfigure(&change)
    }
}

impl Handle {
    /// Changes how many workers are active, from 1 to [`max_workers`](Self::max_workers), while the runtime runs. This is
    /// [`reconfigure`](Self::reconfigure) with [`ConfigChange::workers`].
    ///
    /// When this returns, new workers have a thread, and those that go get no more work. They leave when their
    /// turn is over, and hand on what they have: a routine that does not give way keeps its worker that long
    /// ([`ResizeFigures::leaving`](crate::snapshot::ResizeFigures::leaving)). What is bound to the thread of one that has
    /// left runs there as before, whenever another worker comes by. Keys name other workers
    /// afterwards. A routine may call this, also one on a worker that is to go.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).max_workers(4).build().unwrap();
    /// let done = rt.handle().set_workers(3).unwrap();
    /// assert_eq!((done.old.workers, done.new.workers), (1, 3));
    /// assert_eq!(rt.handle().workers(), 3);
    /// let why = rt.handle().set_workers(5).unwrap_err();
    /// assert_eq!(why.to_string(), "workers: 5 is out of range, from 1 to 4 are possible");
    /// ```
    ///
    /// # Errors
    /// See [`ConfigError`]. The number is out of range, or there is no thread for a new worker: there are
    /// [`max_threads`](RuntimeConfig::max_threads) of them, or the system refuses one. The number is as before then.
    pub fn set_workers(&self, workers: usize) -> Result<Reconfigured, ConfigError> {
        self.reconfigure(ConfigChange {
            workers: Some(workers),
            ..ConfigChange::default()
        })
    }
}

impl Shared {
    pub(crate) fn config(&self) -> RuntimeConfig {
        self.tunables.read(self.roster.active(), self.roster.max())
    }

    fn reconfigure(self: &Arc<Self>, change: &ConfigChange) -> Result<Reconfigured, ConfigError> {
        let _one_at_a_time = self.tunables.lock();
        let old = self.config();
        let new = old.with(change, self.balance.custom.is_some())?;
        if new.max_threads != old.max_threads {
            let places = self.threads.slots().len();
            in_range("max_threads", new.max_threads, (new.workers + 1, places))?;
        } else if new.workers > old.workers {
            let threads = new.max_threads.saturating_sub(1);
            in_range("workers", new.workers, (1, threads))?;
        }
        // What was started now would outlive those who join it.
        let is_over = self.end.is_stopping();
        if is_over && new.workers != old.workers {
            let why = "the runtime has been shut down";
            return Err(ConfigError::not_available("workers", new.workers, why));
        }
        if !is_over && new.needs_monitor() && self.start_monitor().is_err() {
            let why = "the system starts no thread that would watch the others";
            return Err(match new.preemption {
                Preemption::Forced => {
                    ConfigError::not_available("preemption", new.preemption.name(), why)
                }
                _ => ConfigError::not_available("hand_off", "on", why),
            });
        }
        if new.workers != old.workers {
            self.resize(new.workers, new.max_threads).map_err(|why| {
                let why = match why {
                    NoThread::AtCap => "there are max_threads threads, and none of them is free",
                    NoThread::Refused => "the system starts no more threads",
                };
                ConfigError::not_available("workers", new.workers, why)
            })?;
        }
        self.tunables.write(&new);
        Ok(Reconfigured { old, new })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(set: impl FnOnce(&mut ConfigChange)) -> Result<RuntimeConfig, ConfigError> {
        let mut change = ConfigChange::default();
        set(&mut change);
        RuntimeConfig::default().with(&change, false)
    }

    #[test]
    fn what_is_not_named_stays() {
        let new = change(|c| c.slice = Some(Duration::from_millis(2))).unwrap();
        let expected = RuntimeConfig {
            slice: Duration::from_millis(2),
            ..RuntimeConfig::default()
        };
        assert_eq!(new, expected);
    }

    #[test]
    fn each_bound_is_the_last_value_that_is_possible() {
        let ms = Duration::from_millis;
        for (asked, possible) in [(0, false), (1, true), (100, true), (101, false)] {
            assert_eq!(change(|c| c.slice = Some(ms(asked))).is_ok(), possible);
        }
        for (asked, possible) in [(0, false), (1, true), (10_000, true), (10_001, false)] {
            let result = change(|c| c.rebalance_period = Some(ms(asked)));
            assert_eq!(result.is_ok(), possible);
        }
        for asked in [f64::NAN, 1.09, 100.1, f64::INFINITY] {
            let why = change(|c| c.rebalance_ratio = Some(asked)).unwrap_err();
            assert_eq!(why.field(), "rebalance_ratio");
        }
        let why = change(|c| c.max_threads = Some(1)).unwrap_err();
        assert_eq!(
            why.to_string(),
            "max_threads: 1 is out of range, from 2 to 4096 are possible"
        );
        let why = change(|c| c.workers = Some(2)).unwrap_err();
        assert_eq!(
            why.to_string(),
            "workers: 2 is out of range, from 1 to 1 are possible"
        );
    }

    /// One bad value among good ones changes nothing.
    #[test]
    fn a_change_is_taken_as_a_whole_or_not_at_all() {
        let rt = crate::Runtime::builder().workers(1).build().unwrap();
        let change = ConfigChange {
            preemption: Some(Preemption::Off),
            slice: Some(Duration::ZERO),
            ..ConfigChange::default()
        };
        let before = rt.handle().config();
        assert_eq!(
            rt.handle().reconfigure(change).unwrap_err().field(),
            "slice"
        );
        assert_eq!(rt.handle().config(), before);
    }
}
