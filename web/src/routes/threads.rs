//! `GET /api/v1/threads`: who watches the threads, and what it saw and did.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;
use crate::wire::{HostageDeadlockWire, Monitor, ThreadsNow};

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(threads))
}

/// Threads and who watches them.
#[derive(Debug, Serialize, ToSchema)]
struct Threads {
    /// Names the process.
    boot: String,
    /// Number of the sample that `threads` and `monitor` are of.
    n: u64,
    /// When it was taken, in nanoseconds since process start.
    at_ns: u64,
    /// Threads that run routines.
    threads: ThreadsNow,
    /// The thread that watches the others.
    monitor: Monitor,
    /// Threads that slept on what a routine bound to them most likely holds, oldest first; the last 64.
    hostage_deadlocks: Vec<HostageDeadlockWire>,
}

/// Threads
///
/// What the monitor did to turns that would not give way and to threads that slept in the kernel, how fast, and whom such a
/// thread kept waiting.
#[utoipa::path(get, path = "/api/v1/threads", tag = "watch", responses(
    (status = 200, description = "the newest sample, and the reports so far", body = Threads)))]
async fn threads(State(state): State<AppState>) -> Json<Threads> {
    let sample = state.observatory.latest();
    let mut found = Vec::new();
    state.runtime.hostage_deadlocks(0, &mut found);
    Json(Threads {
        boot: sample.boot.to_string(),
        n: sample.n,
        at_ns: sample.at_ns,
        threads: ThreadsNow::from(&sample.snapshot.threads),
        monitor: Monitor::new(&sample.snapshot.monitor, sample.at_ns),
        hostage_deadlocks: found.iter().map(HostageDeadlockWire::from).collect(),
    })
}
