//! `/api/v1/config`: what the runtime does by choice, read and changed while it runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use openwork::Handle;
use openwork::config::{
    ConfigChange, ConfigError, Placement, Preemption, StealAmount, VictimOrder,
};
use openwork::time;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Body, Int};
use crate::bridge::off_thread;
use crate::error::{ApiError, Code, Problem};
use crate::limits;
use crate::state::AppState;
use crate::stream::Hub;
use crate::wire::{self, ConfigChanged, ConfigWire, SettingChange};

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(config, change))
}

/// The changes made since the start, newest last. A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct ConfigLog(Arc<Mutex<VecDeque<ConfigChanged>>>);

impl ConfigLog {
    /// Those that are kept.
    fn all(&self) -> Vec<ConfigChanged> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().cloned().collect()
    }

    /// Changes the configuration, notes and announces it: one at a time, so that the events come in the order of the
    /// changes.
    fn carry_out(
        &self,
        runtime: &Handle,
        hub: &Hub,
        change: ConfigChange,
    ) -> Result<(ConfigWire, ConfigWire, Vec<SettingChange>), ConfigError> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = runtime.reconfigure(change)?;
        let at_ns = time::now_ns();
        let (old, new) = (ConfigWire::from(&done.old), ConfigWire::from(&done.new));
        let changes = wire::differences(&old, &new);
        if !changes.is_empty() {
            let changed = ConfigChanged {
                at_ns,
                wall: wire::rfc3339(time::process_start() + Duration::from_nanos(at_ns)),
                changes: changes.clone(),
            };
            let words: Vec<_> = changes
                .iter()
                .map(|c| format!("{}: {} -> {}", c.field, c.old, c.new))
                .collect();
            tracing::info!(changes = words.join(", "), "configuration changed");
            hub.configured(&changed);
            if log.len() as u64 == limits::CONFIG_CHANGES_KEPT.max {
                log.pop_front();
            }
            log.push_back(changed);
        }
        Ok((old, new, changes))
    }
}

/// The configuration and what can be chosen.
#[derive(Debug, Serialize, ToSchema)]
struct ConfigAnswer {
    /// In force now.
    config: ConfigWire,
    /// The words of the settings that are one of several.
    choices: Choices,
    /// Changes since the process began, oldest first; the newest hundred.
    changes: Vec<ConfigChanged>,
}

/// The words of the settings that are one of several.
#[derive(Debug, Serialize, ToSchema)]
struct Choices {
    /// Where fresh routines are queued.
    placement: Vec<&'static str>,
    /// Whom idle workers steal from first.
    victims: Vec<&'static str>,
    /// How much they take.
    steal: Vec<&'static str>,
    /// What happens to a routine that runs on while others wait.
    preemption: Vec<&'static str>,
}

/// What is to change; what is absent or `null` stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ConfigChange)]
struct Asked {
    /// Workers in use: at most `max_workers`.
    #[schema(value_type = Option<u64>)]
    workers: Option<Int>,
    /// Where fresh routines are queued.
    placement: Option<String>,
    /// Whom idle workers steal from first.
    victims: Option<String>,
    /// How much they take.
    steal: Option<String>,
    /// Whether work is moved from workers that have too much of it.
    rebalance: Option<bool>,
    /// What is too much: so many times the mean, from 1.1 to 100.
    rebalance_ratio: Option<f64>,
    /// How often that is looked at.
    #[schema(value_type = Option<u64>)]
    rebalance_period_ms: Option<Int>,
    /// `off`, `cooperative` or `forced`.
    preemption: Option<String>,
    /// How long a routine may run while others wait.
    #[schema(value_type = Option<u64>)]
    slice_ms: Option<Int>,
    /// Whether a thread that is blocked in the kernel has its worker taken.
    hand_off: Option<bool>,
    /// Most threads that may hold workers or have been stopped while they did.
    #[schema(value_type = Option<u64>)]
    max_threads: Option<Int>,
}

/// The settings that can be changed.
const FIELDS: [&str; 11] = [
    "workers",
    "placement",
    "victims",
    "steal",
    "rebalance",
    "rebalance_ratio",
    "rebalance_period_ms",
    "preemption",
    "slice_ms",
    "hand_off",
    "max_threads",
];

/// Before and after.
#[derive(Debug, Serialize, ToSchema)]
struct Changed {
    /// The configuration before.
    old: ConfigWire,
    /// The configuration now.
    new: ConfigWire,
    /// What became another one; empty if all of it was so already.
    changes: Vec<SettingChange>,
}

/// The configuration
#[utoipa::path(get, path = "/api/v1/config", tag = "watch", responses(
    (status = 200, description = "the configuration in force", body = ConfigAnswer),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn config(State(state): State<AppState>) -> Json<ConfigAnswer> {
    Json(ConfigAnswer {
        config: ConfigWire::from(&state.runtime.config()),
        choices: Choices {
            placement: Placement::ALL.iter().map(|c| c.name()).collect(),
            victims: VictimOrder::ALL.iter().map(|c| c.name()).collect(),
            steal: StealAmount::ALL.iter().map(|c| c.name()).collect(),
            preemption: Preemption::ALL.iter().map(|c| c.name()).collect(),
        },
        changes: state.config_log.all(),
    })
}

/// Change the configuration
///
/// All of it or nothing, while everything runs. It holds until the process ends and is not kept over a restart. Each change
/// is an event `config` and a mark on every chart.
#[utoipa::path(patch, path = "/api/v1/config", tag = "watch", request_body = Asked, responses(
    (status = 200, description = "before and after", body = Changed),
    (status = "default", description = "refused; nothing has changed", body = Problem, content_type = "application/problem+json")))]
async fn change(
    State(state): State<AppState>,
    Body(fields): Body<Map<String, Value>>,
) -> Result<Json<Changed>, ApiError> {
    // A misspelt setting that changed nothing would look like one that did.
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let detail = format!(
            "{unknown:?} cannot be changed; what can is {}",
            FIELDS.join(", ")
        );
        return Err(ApiError::new(Code::UnknownValue, detail).field(unknown.clone()));
    }
    let asked = serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let field = error.path().to_string();
        ApiError::new(Code::WrongType, error.into_inner().to_string()).field(field)
    })?;
    let change = to_change(asked)?;
    // More or fewer workers take a while to come and go.
    let done = off_thread(move || {
        state
            .config_log
            .carry_out(&state.runtime, &state.hub, change)
    });
    let (old, new, changes) = done.await?.map_err(|error| refusal(&error))?;
    Ok(Json(Changed { old, new, changes }))
}

fn to_change(asked: Asked) -> Result<ConfigChange, ApiError> {
    let ms = |value: Option<u64>| value.map(Duration::from_millis);
    let count = |value: Option<u64>| value.map(|count| count as usize);
    let mut change = ConfigChange::default();
    change.workers = count(limits::CONFIG_WORKERS.check_given(asked.workers)?);
    change.placement = word(
        "placement",
        asked.placement,
        Placement::ALL,
        Placement::name,
    )?;
    change.victims = word(
        "victims",
        asked.victims,
        VictimOrder::ALL,
        VictimOrder::name,
    )?;
    change.steal = word("steal", asked.steal, StealAmount::ALL, StealAmount::name)?;
    change.rebalance = asked.rebalance;
    change.rebalance_ratio = asked.rebalance_ratio;
    change.rebalance_period =
        ms(limits::CONFIG_REBALANCE_PERIOD_MS.check_given(asked.rebalance_period_ms)?);
    change.preemption = word(
        "preemption",
        asked.preemption,
        Preemption::ALL,
        Preemption::name,
    )?;
    change.slice = ms(limits::CONFIG_SLICE_MS.check_given(asked.slice_ms)?);
    change.hand_off = asked.hand_off;
    change.max_threads = count(limits::CONFIG_MAX_THREADS.check_given(asked.max_threads)?);
    Ok(change)
}

/// One of several, by its name.
fn word<T: Copy>(
    field: &'static str,
    value: Option<String>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    match all.iter().find(|choice| name(**choice) == value) {
        Some(choice) => Ok(Some(*choice)),
        None => {
            let names: Vec<_> = all.iter().map(|choice| name(*choice)).collect();
            Err(ApiError::unknown_value(field, &value, &names))
        }
    }
}

fn refusal(error: &ConfigError) -> ApiError {
    let code = match error {
        ConfigError::OutOfRange { .. } => Code::OutOfRange,
        ConfigError::NotAvailable { .. } => Code::NotSupported,
        _ => Code::Conflict,
    };
    let refusal = ApiError::new(code, error.to_string()).field(match error.field() {
        "slice" => "slice_ms",
        "rebalance_period" => "rebalance_period_ms",
        other => other,
    });
    match error {
        ConfigError::OutOfRange { max, .. } => match max.parse() {
            Ok(max) => refusal.limit(max),
            // Times have a unit, and are bounded by the table before.
            Err(_) => refusal,
        },
        _ => refusal,
    }
}
