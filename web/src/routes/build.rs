//! `GET /api/v1/build`: how the program was built, and what it found at its start.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;
use crate::wire::Build;

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(build))
}

/// Build
///
/// What was decided when the program was built and when it started, and why: features, homes, guards, the poller, what
/// preemption can be had, strategies and the machine. What changes while it runs is of the newest sample.
#[utoipa::path(get, path = "/api/v1/build", tag = "watch", responses(
    (status = 200, description = "what runs here", body = Build)))]
async fn build(State(state): State<AppState>) -> Json<Build> {
    Json(Build::new(&state.observatory.latest().snapshot))
}
