//! `GET /api/v1/runtime`: what runs here, how it was set up, within which bounds.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::bridge::off_thread;
use crate::error::{ApiError, Problem};
use crate::limits::{self, LimitRow};
use crate::state::AppState;
use crate::wire::{self, Tick};

/// Version of the service.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the program was built from, if its build knew.
pub const COMMIT: Option<&str> = option_env!("OPENWORK_COMMIT");

/// ` (commit)`, or nothing.
pub(crate) fn commit_in_parentheses() -> String {
    COMMIT.map_or_else(String::new, |commit| format!(" ({commit})"))
}

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(runtime))
        .routes(routes!(dismiss_last_crash))
}

/// The service and how it was set up.
#[derive(Debug, Serialize, ToSchema)]
struct RuntimeFacts {
    /// Version of the service.
    version: &'static str,
    /// Commit it was built from; `null` if its build did not know.
    commit: Option<&'static str>,
    /// Names this process among its restarts.
    boot: String,
    /// When it began to serve, RFC 3339.
    started_at: String,
    /// Time since the process began, at the sample, in nanoseconds.
    uptime_ns: u64,
    /// WorkerFacts.
    workers: WorkerFacts,
    /// Guard pages: `light`, or `mprotect` with a bound on stacks.
    guard: &'static str,
    /// Whether frames can be walked for profiles and stack dumps.
    frame_pointers: bool,
    /// Whether allocations are counted; without that memory figures are `null`.
    allocator_counting: bool,
    /// Where chain, runs and profiles are kept.
    data_dir: String,
    /// Address listened on.
    listen: String,
    /// Every setting, with where its value came from.
    config: Vec<SettingRow>,
    /// Every bound that requests are checked against.
    limits: Vec<LimitRow>,
    /// The newest sample, without lanes.
    sample: Tick,
    /// The crash of the process before this one, until it is dismissed.
    last_crash: Option<LastCrash>,
}

#[derive(Debug, Serialize, ToSchema)]
struct WorkerFacts {
    /// How many.
    count: usize,
    /// Who decided: `flag`, `environment`, `CPU quota`, `CPU affinity` or `CPUs online`.
    source: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct SettingRow {
    /// Name of the flag, with underscores.
    name: &'static str,
    /// Value in force, as text. Of the token only whether there is one.
    value: String,
    /// `flag`, `environment` or `default`.
    source: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct LastCrash {
    /// When the report was written, RFC 3339.
    at: String,
    /// The report: which routine overflowed, and where it was spawned.
    text: String,
}

/// What runs here
#[utoipa::path(get, path = "/api/v1/runtime", tag = "watch", responses(
    (status = 200, description = "the service and how it was set up", body = RuntimeFacts),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn runtime(State(state): State<AppState>) -> Json<RuntimeFacts> {
    let sample = state.observatory.latest();
    let config = state.config.rows().into_iter();
    Json(RuntimeFacts {
        version: VERSION,
        commit: COMMIT,
        boot: sample.boot.to_string(),
        started_at: wire::rfc3339(state.started_at),
        uptime_ns: sample.at_ns,
        workers: WorkerFacts {
            count: state.workers.count,
            source: state.workers.source,
        },
        guard: sample.snapshot.stacks.mode.name(),
        frame_pointers: env!("OPENWORK_FRAME_POINTERS") == "yes",
        allocator_counting: openwork::memory::is_counting(),
        data_dir: state.data_dir.display().to_string(),
        listen: state.listen.to_string(),
        config: config
            .map(|(name, value, source)| SettingRow {
                name,
                value,
                source: source.name(),
            })
            .collect(),
        limits: limits::rows(&state.config),
        sample: Tick::figures(&sample),
        last_crash: state.last_crash.get().map(|c| LastCrash {
            at: wire::rfc3339(c.at),
            text: c.text,
        }),
    })
}

/// Dismiss the last crash
///
/// It is shown until then, over restarts too. Dismissing twice is dismissing once.
#[utoipa::path(post, path = "/api/v1/runtime/last-crash/dismiss", tag = "watch", responses(
    (status = 204, description = "it is not shown any more"),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn dismiss_last_crash(State(state): State<AppState>) -> Result<StatusCode, ApiError> {
    let last_crash = state.last_crash.clone();
    off_thread(move || last_crash.dismiss())
        .await?
        .map_err(|e| ApiError::storage(format!("the report could not be emptied: {e}")))?;
    Ok(StatusCode::NO_CONTENT)
}
