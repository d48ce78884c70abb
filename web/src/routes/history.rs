//! `GET /api/v1/history`: samples of the past, for a page that has just opened or was away.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use openwork_observatory::Sample;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::Query;
use crate::bridge;
use crate::error::{ApiError, Code, Problem};
use crate::state::AppState;
use crate::stream::Since;
use crate::wire::Tick;

/// Samples rendered in one go.
const BATCH: usize = 32;

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(history))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// `<boot>-<n>` of the last sample seen. Without it, or if it is of another process: all of the last ten minutes.
    since: Option<String>,
}

/// Samples of the past.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what `history` streams")]
struct History {
    /// Names the process that all the samples are of.
    boot: String,
    /// Whether `since` is of another process, so that counts begin anew.
    reset: bool,
    /// Oldest first, without lanes and steals.
    samples: Vec<Tick>,
}

/// History
///
/// Samples since one that was seen: ten a second if it is at most 60 s old, else one a second of the last ten minutes.
#[utoipa::path(
    get,
    path = "/api/v1/history",
    tag = "watch",
    params(Asked),
    responses(
        (status = 200, description = "oldest first", body = History),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn history(
    State(state): State<AppState>,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let since = asked.since.as_deref().filter(|since| !since.is_empty());
    let since = since.map(|since| {
        Since::parse(since).ok_or_else(|| {
            let detail = format!("since is {since:?}, but must be <boot>-<n>, the id of an event");
            ApiError::new(Code::WrongType, detail).field("since")
        })
    });
    let since = since.transpose()?;
    let boot = state.observatory.latest().boot.clone();
    let reset = matches!(&since, Some(Since::After { boot: of, .. }) if **of != *boot);
    let samples = match since {
        Some(Since::After { n, .. }) if !reset => state
            .observatory
            .since(n)
            .unwrap_or_else(|| state.observatory.history(n)),
        _ => state.observatory.history(0),
    };
    let head = format!("{{\"boot\":\"{boot}\",\"reset\":{reset},\"samples\":");
    let pieces = bridge::json_list(head, batches(samples), "}".to_owned());
    Ok((crate::runs::answer::JSON, bridge::pieces(pieces)).into_response())
}

fn batches(
    samples: Vec<Arc<Sample>>,
) -> impl Iterator<Item = Result<Vec<String>, serde_json::Error>> + Send + 'static {
    let mut samples = samples.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<_> = samples.by_ref().take(BATCH).collect();
        let render = |sample: &Arc<Sample>| serde_json::to_string(&Tick::figures(sample));
        (!batch.is_empty()).then(|| batch.iter().map(render).collect())
    })
}
