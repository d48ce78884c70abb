//! `/blocks`: append a block, list the chain, verify it.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use openwork_blockchain::{self as blockchain, Listing, MineRequest, Order, ReadError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::mine::{self, CollectorFigures, Mined};
use crate::body::{Body, Int, Query, choice};
use crate::bridge;
use crate::error::{ApiError, Code, Problem};
use crate::limits;
use crate::runs::answer::{Caller, answer};
use crate::runs::{Json, RunKind};
use crate::state::AppState;
use crate::wire::{BlockWire, go_duration, mb};

/// Blocks in the whole chain; for a page of it, how many pages there are to come.
const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(append, list))
        .routes(routes!(verify))
}

/// A block to append.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = BlockRequest)]
struct Asked {
    /// What the block holds; required.
    #[schema(required, value_type = String)]
    data: Option<String>,
    /// Zero bits that its hash must begin with.
    #[schema(value_type = Option<u64>)]
    difficulty: Option<Int>,
    /// Nonces that its routine tries in one turn.
    #[schema(value_type = Option<u64>)]
    yield_every: Option<Int>,
}

/// The request with its defaults, as the run's record shows it.
#[derive(Debug, Serialize)]
struct Resolved<'a> {
    data: &'a str,
    difficulty: u64,
    yield_every: u64,
}

/// An appended block.
#[derive(Debug, Serialize, ToSchema)]
struct Appended {
    /// The block.
    block: BlockWire,
    /// How long it took, as Go writes it.
    duration: String,
    /// Hashes tried.
    attempts: u64,
    /// Hashes that such a search takes on average.
    expected_attempts: u64,
    /// Hashes a second; `null` for a search too short to tell.
    hashes_per_sec: Option<f64>,
    /// Times the routine gave way.
    yields: u64,
    /// Times another block got to the tip first and the search began anew on it.
    rebases: u64,
    /// MB that the run's own routines allocated and did not free; `null` without a counting allocator.
    heap_delta_mb: Option<f64>,
    /// Allocations that they did not free; `null` without a counting allocator.
    heap_objects: Option<i64>,
    #[serde(flatten)]
    #[schema(inline)]
    collector: CollectorFigures,
}

/// Append a block
///
/// One routine searches for a nonce, and the block it finds is appended.
#[utoipa::path(
    post,
    path = "/blocks",
    tag = "chain",
    request_body = Asked,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 with the run at once"),
    ),
    responses(
        (status = 201, description = "the block", body = Appended, headers(("Openwork-Run" = String, description = "names the run"))),
        (status = 202, description = "accepted, with `Prefer: respond-async`", body = crate::runs::RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn append(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let data = limits::BLOCK_DATA.text(asked.data)?;
    let difficulty = limits::BLOCK_DIFFICULTY.check(asked.difficulty)?;
    let yield_every = limits::BLOCK_YIELD_EVERY.check(asked.yield_every)?;
    mine::room(&state.chain, &data)?;
    let resolved = Resolved {
        data: &data,
        difficulty,
        yield_every,
    };
    let admitted = state.runs.admit(RunKind::Block, &resolved, caller.source)?;
    let mut request = MineRequest::one_block(data, mine::difficulty(difficulty)?);
    request.yield_every = yield_every;
    Ok(answer(
        &state.runs,
        caller,
        StatusCode::CREATED,
        admitted,
        |admitted| mine::launch(&state, admitted, request, appended),
    )
    .await)
}

fn appended(mined: &Mined<'_>) -> Option<Json> {
    let outcome = mined.outcome;
    let block = outcome.blocks.first()?;
    let unmeasured = CollectorFigures::new(&[
        ("heap_delta_mb", mined.own_bytes.is_none()),
        ("heap_objects", mined.own_objects.is_none()),
    ]);
    Some(Json::new(&Appended {
        block: BlockWire::from(&**block),
        duration: go_duration(outcome.duration),
        attempts: outcome.attempts,
        expected_attempts: outcome.difficulty.expected_attempts(),
        hashes_per_sec: outcome.hashes_per_sec,
        yields: outcome.yields,
        rebases: outcome.rebases,
        heap_delta_mb: mined.own_bytes.map(mb),
        heap_objects: mined.own_objects,
        collector: unmeasured,
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// First block listed, counted in the order of the list.
    #[param(value_type = Option<u64>)]
    offset: Option<String>,
    /// Blocks listed; without it all.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
    /// `asc` (the default, genesis first) or `desc`.
    order: Option<String>,
}

/// The chain
///
/// Without parameters the whole chain, genesis first. Never waits for mining.
#[utoipa::path(
    get,
    path = "/blocks",
    tag = "chain",
    params(Page),
    responses(
        (status = 200, description = "the blocks", body = Vec<BlockWire>, headers(("X-Total-Count" = u64, description = "blocks in the chain"))),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list(
    State(state): State<AppState>,
    Query(page): Query<Page>,
) -> Result<Response, ApiError> {
    const ORDERS: [(&str, Order); 2] = [("asc", Order::Ascending), ("desc", Order::Descending)];
    let listing = Listing {
        offset: limits::BLOCKS_OFFSET
            .query(page.offset.as_deref())?
            .unwrap_or(0),
        limit: limits::BLOCKS_LIMIT.query(page.limit.as_deref())?,
        order: choice("order", page.order.as_deref(), &ORDERS, Order::Ascending)?,
    };
    let mut pages = state.chain.list(listing);
    let total = HeaderValue::from(pages.total());
    let batches = std::iter::from_fn(move || pages.next_page().transpose()).map(|page| {
        let blocks = page?;
        let text = blocks
            .iter()
            .map(|block| serde_json::to_string(&BlockWire::from(block)));
        text.collect::<Result<Vec<_>, _>>().map_err(Broken::Render)
    });
    let pieces = bridge::json_list(String::new(), batches, String::new());
    Ok((
        crate::runs::answer::JSON,
        [(TOTAL_COUNT, total)],
        bridge::pieces(pieces),
    )
        .into_response())
}

/// Why a list of blocks broke off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Render(serde_json::Error),
}

/// What a check of the whole chain found.
#[derive(Debug, Serialize, ToSchema)]
struct Verified {
    /// Whether every hash, link and proof is right.
    valid: bool,
    /// Blocks checked.
    blocks: u64,
    /// How long it took, as Go writes it.
    duration: String,
    /// The first block that is not right.
    first_bad: Option<FirstBad>,
}

/// A block that is not right.
#[derive(Debug, Serialize, ToSchema)]
struct FirstBad {
    /// Its place in the chain.
    index: u64,
    /// What is wrong with it, in words.
    reason: String,
    /// The stored field that was found changed.
    field: &'static str,
}

/// Verify the chain
///
/// Recomputes every hash and follows every link, on a routine.
#[utoipa::path(
    get,
    path = "/blocks/verify",
    tag = "chain",
    responses(
        (status = 200, description = "what was found", body = Verified),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn verify(State(state): State<AppState>) -> Result<axum::Json<Verified>, ApiError> {
    let workload = openwork::Workload::new("verify");
    let verifying = blockchain::spawn_verify(&state.runtime, &state.chain, &workload);
    let verifying = bridge::joined(verifying.map_err(ApiError::internal)?);
    let report = verifying
        .await
        .map_err(|error| bridge::join_error(&error))?
        .map_err(read_error)?;
    Ok(axum::Json(Verified {
        valid: report.valid,
        blocks: report.blocks,
        duration: go_duration(report.duration),
        first_bad: report.first_bad.map(|bad| FirstBad {
            index: bad.index,
            field: bad.reason.field(),
            reason: bad.reason.to_string(),
        }),
    }))
}

fn read_error(error: ReadError) -> ApiError {
    match error {
        ReadError::Storage(error) => ApiError::new(
            Code::Storage,
            format!("the chain could not be read: {error}"),
        ),
        other => ApiError::internal(other),
    }
}
