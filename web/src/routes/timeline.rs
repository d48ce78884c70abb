//! `GET /api/v1/timeline`: a stretch of the past, at the resolution of the picture it is for.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::Query;
use crate::bridge;
use crate::error::{ApiError, Code, Problem};
use crate::limits;
use crate::state::AppState;
use crate::wire::Lanes;

/// The stretch without `from_ns`: what the page shows at first.
const STRETCH_NS: u64 = 10_000_000_000;

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(timeline))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Stretch {
    /// Begin, in nanoseconds since process start; 10 s before the end without it.
    #[param(value_type = Option<u64>)]
    from_ns: Option<String>,
    /// End, in nanoseconds since process start; now without it.
    #[param(value_type = Option<u64>)]
    to_ns: Option<String>,
    /// Width of the picture; turns narrower than one of its columns are merged.
    #[param(value_type = Option<u64>)]
    px: Option<String>,
}

/// Who ran where in a stretch of time.
#[derive(Debug, Serialize, ToSchema)]
struct TimelineWire {
    /// Begin, in nanoseconds since process start.
    from_ns: u64,
    /// End, in nanoseconds since process start.
    to_ns: u64,
    /// The turns and steals.
    #[serde(flatten)]
    #[schema(inline)]
    lanes: Lanes,
    /// Turns of the stretch that were overwritten, at most; 0 when it is complete.
    lost: u64,
    /// From when on no turn is missing, in nanoseconds since process start; `null` when none was ever overwritten.
    complete_from_ns: Option<u64>,
}

/// Timeline
///
/// Turns and steals between two moments, from the last 65,536 turns of each worker.
#[utoipa::path(
    get,
    path = "/api/v1/timeline",
    tag = "watch",
    params(Stretch),
    responses(
        (status = 200, description = "the stretch, as far as it is still recorded", body = TimelineWire),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn timeline(
    State(state): State<AppState>,
    Query(stretch): Query<Stretch>,
) -> Result<Response, ApiError> {
    let to_ns = moment("to_ns", stretch.to_ns.as_deref())?.unwrap_or_else(openwork::time::now_ns);
    let from_ns = moment("from_ns", stretch.from_ns.as_deref())?
        .unwrap_or_else(|| to_ns.saturating_sub(STRETCH_NS));
    if from_ns >= to_ns {
        let detail = format!("from_ns is {from_ns}, but must be before to_ns, {to_ns}");
        return Err(ApiError::new(Code::OutOfRange, detail)
            .field("from_ns")
            .limit(to_ns));
    }
    let px = limits::TIMELINE_PX
        .query(stretch.px.as_deref())?
        .unwrap_or(limits::TIMELINE_PX.max);
    // The rings hold tens of thousands of turns: neither reading nor rendering them is for the HTTP thread.
    let text = bridge::off_thread(move || {
        let timeline = state.observatory.timeline(from_ns, to_ns, px as u32);
        serde_json::to_vec(&TimelineWire {
            from_ns: timeline.from_ns,
            to_ns: timeline.to_ns,
            lanes: Lanes::new(
                &timeline.lanes,
                &timeline.steals,
                &timeline.absences,
                timeline.merged,
                timeline.omitted,
            ),
            lost: timeline.lost,
            complete_from_ns: timeline.complete_from_ns,
        })
    });
    let text = text.await?.map_err(ApiError::internal)?;
    Ok((crate::runs::answer::JSON, Bytes::from(text)).into_response())
}

fn moment(field: &'static str, text: Option<&str>) -> Result<Option<u64>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let detail =
            format!("{field} is {text:?}, but must be a number of nanoseconds since process start");
        ApiError::new(Code::WrongType, detail).field(field)
    })
}
