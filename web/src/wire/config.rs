//! The runtime's configuration in words and numbers, and what was changed in it.

use openwork::config::RuntimeConfig;
use serde::Serialize;
use utoipa::ToSchema;

/// The runtime's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = RuntimeConfig)]
pub struct ConfigWire {
    /// Workers: routines that run at the same time.
    pub workers: usize,
    /// Most workers that there may be; set at the start.
    pub max_workers: usize,
    /// Where fresh routines are queued.
    pub placement: &'static str,
    /// Whom idle workers steal from first.
    pub victims: &'static str,
    /// How much they take.
    pub steal: &'static str,
    /// Whether work is moved from workers that have too much of it.
    pub rebalance: bool,
    /// What is too much: so many times the mean.
    pub rebalance_ratio: f64,
    /// How often that is looked at.
    pub rebalance_period_ms: u64,
    /// What happens to a routine that runs on while others wait: `off`, `cooperative` or `forced`.
    pub preemption: &'static str,
    /// How long a routine may run while others wait.
    pub slice_ms: u64,
    /// Whether a thread that is blocked in the kernel has its worker taken.
    pub hand_off: bool,
    /// Most threads that may hold workers or have been stopped while they did.
    pub max_threads: usize,
}

impl From<&RuntimeConfig> for ConfigWire {
    fn from(config: &RuntimeConfig) -> ConfigWire {
        let whole_ms = |time: std::time::Duration| time.as_millis() as u64;
        ConfigWire {
            workers: config.workers,
            max_workers: config.max_workers,
            placement: config.placement.name(),
            victims: config.victims.name(),
            steal: config.steal.name(),
            rebalance: config.rebalance,
            rebalance_ratio: config.rebalance_ratio,
            rebalance_period_ms: whole_ms(config.rebalance_period),
            preemption: config.preemption.name(),
            slice_ms: whole_ms(config.slice),
            hand_off: config.hand_off,
            max_threads: config.max_threads,
        }
    }
}

/// A setting before and after.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SettingChange {
    /// Its name.
    pub field: String,
    /// Before.
    #[schema(value_type = serde_json::Value)]
    pub old: serde_json::Value,
    /// After.
    #[schema(value_type = serde_json::Value)]
    pub new: serde_json::Value,
}

/// A change of the configuration: the `data` of an SSE `config` event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ConfigChanged {
    /// When, in nanoseconds since process start.
    pub at_ns: u64,
    /// When, RFC 3339.
    pub wall: String,
    /// What became another one, in the order of the configuration. Never empty.
    pub changes: Vec<SettingChange>,
}

/// Every setting that differs.
pub fn differences(old: &ConfigWire, new: &ConfigWire) -> Vec<SettingChange> {
    let fields = |config: &ConfigWire| match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(fields)) => fields,
        // Plain numbers and words: always an object.
        _ => serde_json::Map::new(),
    };
    let mut after = fields(new);
    fields(old)
        .into_iter()
        .filter_map(|(field, old)| {
            let new = after.remove(&field)?;
            (new != old).then_some(SettingChange { field, old, new })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_no_difference() {
        let old = ConfigWire::from(&RuntimeConfig::default());
        assert_eq!(differences(&old, &old), []);
        let new = ConfigWire {
            slice_ms: 3,
            hand_off: !old.hand_off,
            ..old.clone()
        };
        let mut fields: Vec<_> = differences(&old, &new)
            .into_iter()
            .map(|change| change.field)
            .collect();
        fields.sort();
        assert_eq!(fields, ["hand_off", "slice_ms"]);
    }
}
