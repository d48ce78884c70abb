//! `POST /stress`: many routines allocate at once.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use openwork::Handle;
use openwork_workloads::stress::{self, Report, Request};
use openwork_workloads::{Pattern, available_memory};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::mine::unmeasured;
use crate::body::{Body, Int, choice, routine_count};
use crate::error::{ApiError, Problem};
use crate::limits;
use crate::runs::answer::{Caller, answer};
use crate::runs::{Json, RunKind, workload};
use crate::state::AppState;
use crate::wire::{go_duration, mb, mb_per_sec};

/// What becomes of a block, by the names of old.
pub(super) const PATTERNS: [(&str, Pattern); 3] = [
    ("short-lived", Pattern::ShortLived),
    ("long-lived", Pattern::LongLived),
    ("mixed", Pattern::Mixed),
];

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(stress))
}

/// What to allocate.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = StressRequest)]
struct Asked {
    /// Blocks that each routine makes.
    #[schema(value_type = Option<u64>)]
    allocations: Option<Int>,
    /// Routines that allocate.
    #[schema(value_type = Option<u64>)]
    goroutines: Option<Int>,
    /// Another name of `goroutines`.
    #[schema(value_type = Option<u64>)]
    routines: Option<Int>,
    /// `short-lived` (the default): hash each block and drop it. `long-lived`: keep all. `mixed`: keep the even ones.
    pattern: Option<String>,
    /// Size of a block in KiB.
    #[schema(value_type = Option<u64>)]
    block_kb: Option<Int>,
    /// How long kept blocks are held after the last allocation.
    #[schema(value_type = Option<u64>)]
    hold_ms: Option<Int>,
    /// Blocks that a routine makes before it gives way; it does so after each MiB too. 0: it never does, and makes all of
    /// them in one turn, unless it is made to give way.
    #[schema(value_type = Option<u64>)]
    yield_every: Option<Int>,
}

/// The request with its defaults, as the run's record shows it.
#[derive(Debug, Serialize)]
struct Resolved {
    allocations: u64,
    goroutines: u64,
    pattern: &'static str,
    block_kb: u64,
    hold_ms: u64,
    yield_every: u64,
}

/// What the allocations did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StressAnswer)]
struct Answer {
    /// From the first allocation to the release of the last block, as Go writes it.
    duration: String,
    /// Routines that allocated.
    goroutines: u64,
    /// Blocks that each routine made.
    allocations: u64,
    /// What became of the blocks.
    pattern: &'static str,
    /// Size of a block in KiB.
    block_kb: u64,
    /// How long kept blocks were held.
    hold_ms: u64,
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<u64>)]
    gc_collections: (),
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<f64>)]
    gc_pause_total_ms: (),
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<f64>)]
    gc_cpu_fraction: (),
    /// Allocations of this run's own routines that they had not freed while all kept blocks were alive.
    heap_objects_delta: Option<i64>,
    /// MB that this run's own routines held while all kept blocks were alive.
    memory_delta_mb: Option<f64>,
    /// MB that they still held after the release.
    memory_delta_at_end_mb: Option<f64>,
    /// MB that the whole process held while all kept blocks were alive.
    final_alloc_mb: Option<f64>,
    /// Live routines in the whole process at the end.
    num_goroutines: u64,
    /// MB written in a second of the allocating phase.
    throughput_mb_per_sec: Option<f64>,
    /// How long the allocating phase took, as Go writes it.
    allocating: String,
    /// Blocks made by all routines.
    blocks: u64,
    /// Blocks kept to the end.
    kept: u64,
    /// Blocks dropped at once.
    dropped: u64,
    /// Bytes written, every one of every block.
    written_bytes: u64,
    /// Times a routine gave way.
    yields: u64,
    /// All SHA-256 of dropped blocks, exclusive-or: equal requests have equal digests. `null` if none was dropped.
    digest: Option<String>,
    /// The fields of this answer that are `null` because they cannot be measured.
    unmeasured: Vec<&'static str>,
}

/// Allocate
///
/// Each routine makes blocks and writes every byte of them, then keeps or drops each as `pattern` says. Bytes are counted
/// per run: two at once do not see each other's.
#[utoipa::path(
    post,
    path = "/stress",
    tag = "memory",
    request_body = Asked,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 with the run at once"),
    ),
    responses(
        (status = 200, description = "what it did", body = Answer, headers(("Openwork-Run" = String, description = "names the run"))),
        (status = 202, description = "accepted, with `Prefer: respond-async`", body = crate::runs::RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn stress(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let request = Request {
        routines: routine_count(&limits::STRESS_ROUTINES, asked.goroutines, asked.routines)?,
        allocations: limits::STRESS_ALLOCATIONS.check(asked.allocations)?,
        pattern: choice(
            "pattern",
            asked.pattern.as_deref(),
            &PATTERNS,
            Pattern::ShortLived,
        )?,
        block_kb: limits::STRESS_BLOCK_KB.check(asked.block_kb)?,
        hold_ms: limits::STRESS_HOLD_MS.check(asked.hold_ms)?,
        yield_every: limits::STRESS_YIELD_EVERY.check(asked.yield_every)?,
    };
    let plan = stress::check(&request, available_memory());
    let plan = plan.map_err(|exceeded| workload::limit_exceeded(&exceeded))?;
    let resolved = Resolved {
        allocations: request.allocations,
        goroutines: request.routines,
        pattern: request.pattern.name(),
        block_kb: request.block_kb,
        hold_ms: request.hold_ms,
        yield_every: request.yield_every,
    };
    let admitted = state
        .runs
        .admit(RunKind::Stress, &resolved, caller.source)?;
    let runtime = state.runtime.clone();
    Ok(
        answer(&state.runs, caller, StatusCode::OK, admitted, |admitted| {
            workload::launch(
                admitted,
                |runtime, workload| stress::start(runtime, plan, workload),
                move |report| render(&report, &runtime),
            )
        })
        .await,
    )
}

fn render(report: &Report, runtime: &Handle) -> Json {
    let request = report.request;
    let throughput = report.throughput_bytes_per_second();
    let final_bytes = report.process_live_bytes_at_peak;
    Json::new(&Answer {
        duration: go_duration(report.duration),
        goroutines: request.routines,
        allocations: request.allocations,
        pattern: request.pattern.name(),
        block_kb: request.block_kb,
        hold_ms: request.hold_ms,
        gc_collections: (),
        gc_pause_total_ms: (),
        gc_cpu_fraction: (),
        heap_objects_delta: report.own_at_peak.map(|own| own.objects),
        memory_delta_mb: report.own_at_peak.map(|own| mb(own.bytes)),
        memory_delta_at_end_mb: report.own_at_end.map(|own| mb(own.bytes)),
        final_alloc_mb: final_bytes.map(|bytes| mb(bytes.cast_signed())),
        num_goroutines: runtime.snapshot().routines.live(),
        throughput_mb_per_sec: throughput.map(mb_per_sec),
        allocating: go_duration(report.allocating),
        blocks: report.allocations,
        kept: report.kept,
        dropped: report.dropped,
        written_bytes: report.written_bytes,
        yields: report.yields,
        digest: (report.hashed > 0).then(|| hex(&report.digest)),
        unmeasured: unmeasured(
            &["gc_collections", "gc_pause_total_ms", "gc_cpu_fraction"],
            &[
                ("heap_objects_delta", report.own_at_peak.is_none()),
                ("memory_delta_mb", report.own_at_peak.is_none()),
                ("memory_delta_at_end_mb", report.own_at_end.is_none()),
                ("final_alloc_mb", final_bytes.is_none()),
                ("throughput_mb_per_sec", throughput.is_none()),
            ],
        ),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
