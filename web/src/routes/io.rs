//! `GET /api/v1/io`: what routines wait for outside the runtime, from the newest sample.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;
use crate::wire::{BlockingPool, Io, Timers};

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(io))
}

/// Sockets, blocking calls and deadlines.
#[derive(Debug, Serialize, ToSchema)]
struct Outside {
    /// Names the process.
    boot: String,
    /// Number of the sample; an event of this number has the same figures.
    n: u64,
    /// When it was taken, in nanoseconds since process start.
    at_ns: u64,
    /// The poller; `null` as long as no routine has waited for a socket.
    io: Option<Io>,
    /// The pool of threads for calls that block in the kernel.
    pool: BlockingPool,
    /// Deadlines of all workers.
    timers: Timers,
    /// Deadlines by worker, in order of their number.
    timers_by_worker: Vec<Timers>,
    /// The fields of this answer that are `null` because there is nothing to measure yet.
    unmeasured: Vec<&'static str>,
}

/// Sockets, blocking calls and deadlines
///
/// How many sockets are watched, by which back end and why; the pool that runs blocking calls and how long they wait for
/// a thread; deadlines, and how late they were served. All from the newest sample.
#[utoipa::path(
    get,
    path = "/api/v1/io",
    tag = "watch",
    responses((status = 200, description = "the newest sample", body = Outside)),
)]
async fn io(State(state): State<AppState>) -> Json<Outside> {
    let sample = state.observatory.latest();
    let snapshot = &sample.snapshot;
    Json(Outside {
        boot: sample.boot.to_string(),
        n: sample.n,
        at_ns: sample.at_ns,
        io: snapshot.io.as_ref().map(Io::from),
        pool: BlockingPool::from(&snapshot.blocking),
        timers: Timers::of_all(snapshot),
        timers_by_worker: snapshot
            .workers
            .iter()
            .map(|worker| Timers::from(&worker.timers))
            .collect(),
        unmeasured: snapshot.io.is_none().then_some("io").into_iter().collect(),
    })
}
