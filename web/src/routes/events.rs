//! `GET /api/v1/events`: the stream of samples, runs and blocks.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, Problem};
use crate::state::AppState;
use crate::stream::{Closer, Since};
use crate::wire::{BlockEvent, Tick};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Watch live
///
/// Server-sent events. `tick` (with `id: <boot>-<n>`) is a whole sample, ten a second; `run` is a run's record after each
/// change; `block` is an appended block; `config` is a change of the runtime's configuration; `reset` says that samples or events were missed for good (another process, more
/// than 60 s ago, or a reader far behind): read runs and blocks anew; `bye` says that the service is ending. A reader that
/// is slower than ten samples a second gets the newest one only, with the number it missed in `skipped`; one that takes
/// nothing for 10 s is closed.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "watch",
    params(("Last-Event-ID" = Option<String>, Header, description = "`<boot>-<n>` of the last sample seen; up to 60 s are sent again")),
    responses(
        (status = 200, description = "the stream; the schema is the data of `tick` and of `block`; that of `config` is `ConfigChanged`", content(
            (Tick = "text/event-stream"),
            (BlockEvent = "application/json"),
        )),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn events(
    State(state): State<AppState>,
    closer: Option<Extension<Closer>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let since = match headers.get(LAST_EVENT_ID) {
        None => Since::Now,
        // An id that is none of ours is of another process as far as this stream can tell.
        Some(id) => id
            .to_str()
            .ok()
            .and_then(Since::parse)
            .unwrap_or(Since::After {
                boot: String::new(),
                n: 0,
            }),
    };
    let stream = state
        .hub
        .view(since, closer.map(|Extension(closer)| closer))?;
    let head = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        // A proxy that buffers would turn ten samples a second into one heap a minute.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    Ok((head, stream).into_response())
}
