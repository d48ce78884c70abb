//! `/api/v1/runs`: the runs, and how to end one.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Id, Query};
use crate::bridge;
use crate::error::{ApiError, Code, Problem};
use crate::limits;
use crate::runs::{RunId, RunRecord, RunState, Stop};
use crate::state::AppState;

/// How long a cancel waits for the run to end, so that its answer usually shows the end.
const CANCEL_WAIT_MAX: Duration = Duration::from_secs(2);

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, delete))
        .routes(routes!(cancel))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Listing {
    /// Runs listed.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
    /// Only runs older than the one with this id.
    before: Option<String>,
    /// Only runs in this state.
    #[param(value_type = Option<RunState>)]
    state: Option<String>,
}

/// Runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what `list` streams")]
struct Runs {
    /// Newest first.
    runs: Vec<RunRecord>,
    /// Value of `before` for the next page; `null` at the end.
    next: Option<String>,
}

/// Runs
///
/// The newest 1,000 are kept, over restarts too.
#[utoipa::path(
    get,
    path = "/api/v1/runs",
    tag = "runs",
    params(Listing),
    responses(
        (status = 200, description = "newest first", body = Runs),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list(
    State(state): State<AppState>,
    Query(listing): Query<Listing>,
) -> Result<Response, ApiError> {
    let limit = limits::RUNS_LIMIT
        .query(listing.limit.as_deref())?
        .unwrap_or(limits::RUNS_LIMIT.max);
    let before = listing
        .before
        .as_deref()
        .filter(|id| !id.is_empty())
        .map(run_id)
        .transpose()?;
    let wanted = listing
        .state
        .as_deref()
        .filter(|s| !s.is_empty())
        .map(run_state)
        .transpose()?;
    let picked = |run: &RunRecord| wanted.is_none_or(|state| run.state == state);
    let mut runs = state.runs.list(before, limit as usize + 1, picked);
    let more = runs.len() > limit as usize;
    runs.truncate(limit as usize);
    let next = match runs.last().filter(|_| more) {
        Some(last) => format!("\"{}\"", last.id),
        None => "null".to_owned(),
    };
    // A record may be 64 KiB long: rendered one by one, as the reader takes them.
    let rendered = runs
        .into_iter()
        .map(|run| serde_json::to_string(&run).map(|text| vec![text]));
    let pieces = bridge::json_list(
        "{\"runs\":".to_owned(),
        rendered,
        format!(",\"next\":{next}}}"),
    );
    Ok((crate::runs::answer::JSON, bridge::pieces(pieces)).into_response())
}

/// One run
#[utoipa::path(
    get,
    path = "/api/v1/runs/{id}",
    tag = "runs",
    params(("id" = String, Path, description = "names the run, as in the header `Openwork-Run`")),
    responses(
        (status = 200, description = "the run as it is now", body = RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get(State(state): State<AppState>, Id(id): Id) -> Result<Json<RunRecord>, ApiError> {
    known(&state, &id).map(Json)
}

/// Cancel a run
///
/// The same as `POST /api/v1/runs/{id}/cancel`.
#[utoipa::path(
    delete,
    path = "/api/v1/runs/{id}",
    tag = "runs",
    params(("id" = String, Path, description = "names the run")),
    responses(
        (status = 200, description = "the run has ended", body = RunRecord),
        (status = 202, description = "the run was told to end and has not ended yet", body = RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn delete(State(state): State<AppState>, Id(id): Id) -> Result<Response, ApiError> {
    stop(&state, &id).await
}

/// Cancel a run
///
/// Doing it twice, or to a run that has ended, changes nothing. Blocks that were appended before stay.
#[utoipa::path(
    post,
    path = "/api/v1/runs/{id}/cancel",
    tag = "runs",
    params(("id" = String, Path, description = "names the run")),
    responses(
        (status = 200, description = "the run has ended", body = RunRecord),
        (status = 202, description = "the run was told to end and has not ended yet", body = RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn cancel(State(state): State<AppState>, Id(id): Id) -> Result<Response, ApiError> {
    stop(&state, &id).await
}

async fn stop(state: &AppState, id: &str) -> Result<Response, ApiError> {
    let run = known(state, id)?;
    state.runs.cancel(run.id, Stop::Asked);
    // Whether it ended in time is read from the record below.
    let _in_time = tokio::time::timeout(CANCEL_WAIT_MAX, state.runs.ended(run.id)).await;
    let run = known(state, id)?;
    let status = match run.state.is_final() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    Ok((status, Json(run)).into_response())
}

fn known(state: &AppState, id: &str) -> Result<RunRecord, ApiError> {
    let run = id.parse().ok().and_then(|id: RunId| state.runs.get(id));
    run.ok_or_else(|| ApiError::no_such("run", id))
}

fn run_id(text: &str) -> Result<RunId, ApiError> {
    text.parse().map_err(|_| {
        let detail = format!("before is {text:?}, but must be the id of a run");
        ApiError::new(Code::WrongType, detail).field("before")
    })
}

fn run_state(text: &str) -> Result<RunState, ApiError> {
    let named = RunState::ALL.into_iter().find(|state| state.name() == text);
    named.ok_or_else(|| ApiError::unknown_value("state", text, &RunState::ALL.map(RunState::name)))
}
