//! `POST /api/v1/labs`: routines that do what a scheduler suffers from, with a witness beside them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use openwork::Handle;
use openwork_workloads::labs::{self, Kind, Report, Request};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::mine::unmeasured;
use crate::body::{Body, Int, choice};
use crate::error::{ApiError, Problem};
use crate::limits;
use crate::runs::answer::{Caller, answer};
use crate::runs::{Json, RunKind, workload};
use crate::state::AppState;
use crate::wire::{ConfigWire, go_duration, ms};

const KINDS: [(&str, Kind); 4] = [
    ("spin", Kind::Spin),
    ("blocking-call", Kind::BlockingCall),
    ("blocking-pool", Kind::BlockingPool),
    ("imbalance", Kind::Imbalance),
];

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(lab))
}

/// What is to go wrong, and for how long.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = LabRequest)]
struct Asked {
    /// `spin` (the default): compute and never call the runtime. `blocking-call`: sleep in the kernel, by
    /// `std::thread::sleep`, which the runtime is not told of. `blocking-pool`: the same on the pool for blocking calls.
    /// `imbalance`: routines of which a tenth, on one worker, have ten times the work.
    kind: Option<String>,
    /// How many routines.
    #[schema(value_type = Option<u64>)]
    routines: Option<Int>,
    /// For how long each does it.
    #[schema(value_type = Option<u64>)]
    ms: Option<Int>,
}

/// The request with its defaults, as the run's record shows it.
#[derive(Debug, Serialize)]
struct Resolved {
    kind: &'static str,
    routines: u64,
    ms: u64,
}

/// What it came to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LabAnswer)]
struct Answer {
    /// What the routines did.
    kind: &'static str,
    /// How many routines.
    routines: u64,
    /// For how long each did it.
    ms: u64,
    /// From the first spawn to the last end, as Go writes it.
    duration: String,
    /// The same in milliseconds.
    duration_ms: f64,
    /// What it takes at best: all workers busy all the time, or all routines asleep at once.
    at_best_ms: f64,
    /// A routine beside them slept for 10 ms again and again: how many times.
    witness_sleeps: u64,
    /// By how much half of these sleeps were late at most; `null` if the lab was over before the first one.
    witness_late_p50_ms: Option<f64>,
    /// By how much 99 of a hundred were.
    witness_late_p99_ms: Option<f64>,
    /// By how much the latest was.
    witness_late_max_ms: Option<f64>,
    /// The configuration at the end.
    config: ConfigWire,
    /// The fields of this answer that are `null` because they cannot be measured.
    unmeasured: Vec<&'static str>,
}

/// Let a scheduler suffer
///
/// Routines that compute without pause, block their thread in the kernel, or are spread unevenly; and how late others were
/// served meanwhile. Run it, change `PATCH /api/v1/config`, and run it again.
#[utoipa::path(
    post,
    path = "/api/v1/labs",
    tag = "runs",
    request_body = Asked,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 with the run at once"),
    ),
    responses(
        (status = 200, description = "what it came to", body = Answer, headers(("Openwork-Run" = String, description = "names the run"))),
        (status = 202, description = "accepted, with `Prefer: respond-async`", body = crate::runs::RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn lab(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let request = Request {
        kind: choice("kind", asked.kind.as_deref(), &KINDS, Kind::Spin)?,
        routines: limits::LAB_ROUTINES.check(asked.routines)?,
        ms: limits::LAB_MS.check(asked.ms)?,
    };
    let plan = labs::check(&request).map_err(|exceeded| workload::limit_exceeded(&exceeded))?;
    let resolved = Resolved {
        kind: request.kind.name(),
        routines: request.routines,
        ms: request.ms,
    };
    let admitted = state.runs.admit(RunKind::Lab, &resolved, caller.source)?;
    let runtime = state.runtime.clone();
    Ok(
        answer(&state.runs, caller, StatusCode::OK, admitted, |admitted| {
            workload::launch(
                admitted,
                |runtime, workload| labs::start(runtime, plan, workload),
                move |report| render(&report, &runtime),
            )
        })
        .await,
    )
}

fn render(report: &Report, runtime: &Handle) -> Json {
    let late = |of: fn(&openwork_workloads::Latency) -> std::time::Duration| {
        report.late.as_ref().map(|late| ms(of(late)))
    };
    let none = report.late.is_none();
    Json::new(&Answer {
        kind: report.request.kind.name(),
        routines: report.request.routines,
        ms: report.request.ms,
        duration: go_duration(report.duration),
        duration_ms: ms(report.duration),
        at_best_ms: ms(report.at_best),
        witness_sleeps: report.sleeps,
        witness_late_p50_ms: late(|late| late.p50),
        witness_late_p99_ms: late(|late| late.p99),
        witness_late_max_ms: late(|late| late.max),
        config: ConfigWire::from(&runtime.config()),
        unmeasured: unmeasured(
            &[],
            &[
                ("witness_late_p50_ms", none),
                ("witness_late_p99_ms", none),
                ("witness_late_max_ms", none),
            ],
        ),
    })
}
