//! `POST /api/v1/crowd`: a great many routines at once.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use openwork_workloads::available_memory;
use openwork_workloads::crowd::{self, Report, Request};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::mine::unmeasured;
use crate::body::{Body, Int};
use crate::error::{ApiError, Problem};
use crate::limits;
use crate::runs::answer::{Caller, answer};
use crate::runs::{Json, RunKind, workload};
use crate::state::AppState;
use crate::wire::{go_duration, ms};

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(crowd))
}

/// How many, and for how long.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = CrowdRequest)]
struct Asked {
    /// How many routines.
    #[schema(value_type = Option<u64>)]
    routines: Option<Int>,
    /// How long each sleeps; 0: each ends at once.
    #[schema(value_type = Option<u64>)]
    sleep_ms: Option<Int>,
}

/// The request with its defaults, as the run's record shows it.
#[derive(Debug, Serialize)]
struct Resolved {
    routines: u64,
    sleep_ms: u64,
}

/// What the crowd took.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CrowdAnswer)]
struct Answer {
    /// How many routines.
    routines: u64,
    /// How long each slept.
    sleep_ms: u64,
    /// From the first spawn to the last end, as Go writes it.
    duration: String,
    /// The same in milliseconds.
    duration_ms: f64,
    /// Time to spawn all of them; others ran meanwhile, on the spawning worker too.
    spawning_ms: f64,
    /// Most routines of the crowd alive at once, among the readings taken.
    live_peak: u64,
    /// Most stacks in use at once in the whole process, among the readings taken.
    stacks_peak: u64,
    /// Growth of the process's memory in RAM at its greatest, divided by the routines alive then, in bytes. `null` when it
    /// did not grow: a second crowd lives in the pages of the first.
    resident_bytes_per_routine: Option<u64>,
    /// The fields of this answer that are `null` because they cannot be measured.
    unmeasured: Vec<&'static str>,
}

/// Gather a crowd
///
/// A million routines that end at once need a handful of stacks; a hundred thousand that sleep show what one costs.
#[utoipa::path(
    post,
    path = "/api/v1/crowd",
    tag = "runs",
    request_body = Asked,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 with the run at once"),
    ),
    responses(
        (status = 200, description = "what it took", body = Answer, headers(("Openwork-Run" = String, description = "names the run"))),
        (status = 202, description = "accepted, with `Prefer: respond-async`", body = crate::runs::RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn crowd(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let request = Request {
        routines: limits::CROWD_ROUTINES.check(asked.routines)?,
        sleep_ms: limits::CROWD_SLEEP_MS.check(asked.sleep_ms)?,
    };
    let plan = crowd::check(&request, available_memory());
    let plan = plan.map_err(|exceeded| workload::limit_exceeded(&exceeded))?;
    let resolved = Resolved {
        routines: request.routines,
        sleep_ms: request.sleep_ms,
    };
    let admitted = state.runs.admit(RunKind::Crowd, &resolved, caller.source)?;
    Ok(
        answer(&state.runs, caller, StatusCode::OK, admitted, |admitted| {
            workload::launch(
                admitted,
                |runtime, workload| crowd::start(runtime, plan, workload),
                |report| render(&report),
            )
        })
        .await,
    )
}

fn render(report: &Report) -> Json {
    let resident = report.resident_bytes_per_routine;
    Json::new(&Answer {
        routines: report.request.routines,
        sleep_ms: report.request.sleep_ms,
        duration: go_duration(report.duration),
        duration_ms: ms(report.duration),
        spawning_ms: ms(report.spawning),
        live_peak: report.live_peak,
        stacks_peak: report.stacks_peak,
        resident_bytes_per_routine: resident,
        unmeasured: unmeasured(&[], &[("resident_bytes_per_routine", resident.is_none())]),
    })
}
