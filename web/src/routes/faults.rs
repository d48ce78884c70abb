//! `POST /api/v1/faults`: break something on purpose, for people who want to see what happens then.

use axum::Json;
use axum::extract::State;
use openwork::{JoinError, Workload};
use openwork_workloads::faults::{self, Kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Body, choice};
use crate::bridge;
use crate::error::{ApiError, Code, Problem};
use crate::state::AppState;

const KINDS: [(&str, Kind); 2] = [("panic", Kind::Panic), ("overflow", Kind::Overflow)];

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(fault))
}

/// What to break.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = FaultRequest)]
struct Asked {
    /// `panic`: one routine ends. `overflow`: the process reports which routine ran out of stack, and aborts. Required.
    #[schema(required, value_type = String)]
    kind: Option<String>,
}

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FaultAnswer)]
struct Answer {
    /// What was asked for.
    kind: &'static str,
    /// The routine that ended.
    routine: String,
    /// What its panic said.
    message: String,
}

/// Break something
///
/// Refused unless the service was started with `--demo-faults`. A panic is answered; an overflow ends the process, so the
/// connection breaks, and the report is on the page after the next start.
#[utoipa::path(
    post,
    path = "/api/v1/faults",
    tag = "runs",
    request_body = Asked,
    responses(
        (status = 200, description = "the routine panicked, and nothing else did", body = Answer),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn fault(
    State(state): State<AppState>,
    Body(asked): Body<Asked>,
) -> Result<Json<Answer>, ApiError> {
    if !state.config.demo_faults.value {
        let detail = "faults are switched off; start the service with --demo-faults";
        return Err(ApiError::new(Code::SwitchedOff, detail));
    }
    let kind = asked.kind.filter(|kind| !kind.is_empty());
    let kind = kind.ok_or_else(|| ApiError::missing("kind"))?;
    // Given, so the default is never taken.
    let kind = choice("kind", Some(&kind), &KINDS, Kind::Panic)?;
    if state.lifecycle.is_draining() {
        return Err(ApiError::draining());
    }
    let run = faults::start(&state.runtime, kind, &Workload::new("fault"));
    let root = run.map_err(ApiError::internal)?.into_join();
    let routine = root.id().to_string();
    match bridge::joined(root).await {
        Err(error @ JoinError::Panicked(_)) => Ok(Json(Answer {
            kind: kind.name(),
            routine,
            message: error.message(),
        })),
        Err(error) => Err(bridge::join_error(&error)),
        Ok(_) => Err(ApiError::internal("a routine that was to fail did not")),
    }
}
