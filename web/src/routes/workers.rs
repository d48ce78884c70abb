//! `GET /api/v1/workers`: each worker and who stole from whom, from the newest sample.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;
use crate::wire::{self, Worker};

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(workers))
}

/// The workers' part of a sample.
#[derive(Debug, Serialize, ToSchema)]
struct Workers {
    /// Names the process.
    boot: String,
    /// Number of the sample; an event of this number has the same figures.
    n: u64,
    /// When it was taken, in nanoseconds since process start.
    at_ns: u64,
    /// Time since the sample before it, in nanoseconds.
    interval_ns: u64,
    /// One entry per worker that is or was in service, in order of `id`.
    workers: Vec<Worker>,
    /// `[thief][victim]`: routines moved. A row sums to that worker's `stolen`.
    steal_matrix: Vec<Vec<u64>>,
    /// Routines that wait in the queue shared by all workers.
    injector_depth: u64,
}

/// Workers
///
/// What each worker does now and did since the process began, from the newest sample.
#[utoipa::path(
    get,
    path = "/api/v1/workers",
    tag = "watch",
    responses((status = 200, description = "the workers of the newest sample", body = Workers)),
)]
async fn workers(State(state): State<AppState>) -> Json<Workers> {
    let sample = state.observatory.latest();
    Json(Workers {
        boot: sample.boot.to_string(),
        n: sample.n,
        at_ns: sample.at_ns,
        interval_ns: sample.interval_ns,
        workers: wire::workers(&sample),
        steal_matrix: wire::steal_matrix(&sample),
        injector_depth: sample.snapshot.injector_depth,
    })
}
