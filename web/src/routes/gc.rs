//! `/gc/benchmark`, `/gc/finalizers`, `/gc/collect`: the old questions to a collector, asked of native memory.
//!
//! Nothing is collected here: memory is freed when its owner ends. Figures that only a collector has are `null` and named
//! in `unmeasured`; the others come from the counting allocator.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use openwork_workloads::{Pattern, available_memory, benchmark, collect, finalizers};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::mine::{CollectorFigures, unmeasured};
use super::stress::PATTERNS;
use crate::body::{Body, Int, choice};
use crate::error::{ApiError, Problem};
use crate::limits;
use crate::runs::answer::{Caller, answer};
use crate::runs::{Json, RunKind, workload};
use crate::state::AppState;
use crate::wire::{mb, mb_per_sec, ms};

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(run_benchmark))
        .routes(routes!(run_finalizers))
        .routes(routes!(run_collect))
}

/// What to allocate.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
struct BenchmarkAsked {
    /// Blocks that are made.
    #[schema(value_type = Option<u64>)]
    allocations: Option<Int>,
    /// Size of a block in KiB.
    #[schema(value_type = Option<u64>)]
    size_kb: Option<Int>,
    /// `short-lived` (the default): drop each block. `long-lived`: keep all. `mixed`: keep the even ones.
    pattern: Option<String>,
}

/// The request with its defaults, as the run's record shows it.
#[derive(Debug, Serialize)]
struct BenchmarkResolved {
    allocations: u64,
    size_kb: u64,
    pattern: &'static str,
}

/// What the benchmark measured.
#[derive(Debug, Serialize, ToSchema)]
struct BenchmarkAnswer {
    /// Time to allocate and write everything.
    duration_ms: f64,
    /// Blocks that were made.
    allocations: u64,
    /// Size of a block in KiB.
    size_kb: u64,
    /// What became of the blocks.
    pattern: &'static str,
    /// MB that the whole process held before.
    alloc_before_mb: Option<f64>,
    /// MB that the whole process held while all kept blocks were alive.
    alloc_after_mb: Option<f64>,
    /// MB that this run's own routine held while all kept blocks were alive.
    memory_delta_mb: Option<f64>,
    /// Allocations that it had not freed then.
    heap_objects_delta: Option<i64>,
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<u64>)]
    gc_runs: (),
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<f64>)]
    gc_pause_total_ms: (),
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<f64>)]
    gc_cpu_fraction: (),
    /// MB written in a second.
    throughput_mb_per_sec: Option<f64>,
    /// Blocks kept to the end.
    kept: u64,
    /// Blocks dropped at once.
    dropped: u64,
    /// The fields of this answer that are `null` because they cannot be measured.
    unmeasured: Vec<&'static str>,
}

/// Benchmark allocation
///
/// One routine makes blocks and writes every byte of them; the figures are read while what it keeps is still alive.
#[utoipa::path(
    post,
    path = "/gc/benchmark",
    tag = "memory",
    request_body = BenchmarkAsked,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 with the run at once"),
    ),
    responses(
        (status = 200, description = "what it measured", body = BenchmarkAnswer, headers(("Openwork-Run" = String, description = "names the run"))),
        (status = 202, description = "accepted, with `Prefer: respond-async`", body = crate::runs::RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn run_benchmark(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<BenchmarkAsked>,
) -> Result<Response, ApiError> {
    let request = benchmark::Request {
        allocations: limits::BENCHMARK_ALLOCATIONS.check(asked.allocations)?,
        size_kb: limits::BENCHMARK_SIZE_KB.check(asked.size_kb)?,
        pattern: choice(
            "pattern",
            asked.pattern.as_deref(),
            &PATTERNS,
            Pattern::ShortLived,
        )?,
    };
    let plan = benchmark::check(&request, available_memory());
    let plan = plan.map_err(|exceeded| workload::limit_exceeded(&exceeded))?;
    let resolved = BenchmarkResolved {
        allocations: request.allocations,
        size_kb: request.size_kb,
        pattern: request.pattern.name(),
    };
    let admitted = state
        .runs
        .admit(RunKind::GcBenchmark, &resolved, caller.source)?;
    Ok(
        answer(&state.runs, caller, StatusCode::OK, admitted, |admitted| {
            workload::launch(
                admitted,
                |runtime, workload| benchmark::start(runtime, plan, workload),
                |report| benchmarked(&report),
            )
        })
        .await,
    )
}

fn benchmarked(report: &benchmark::Report) -> Json {
    let request = report.request;
    let throughput = report.throughput_bytes_per_second();
    let live_mb = |bytes: Option<u64>| bytes.map(|bytes| mb(bytes.cast_signed()));
    Json::new(&BenchmarkAnswer {
        duration_ms: ms(report.duration),
        allocations: request.allocations,
        size_kb: request.size_kb,
        pattern: request.pattern.name(),
        alloc_before_mb: live_mb(report.live_before_bytes),
        alloc_after_mb: live_mb(report.live_after_bytes),
        memory_delta_mb: report.own.map(|own| mb(own.bytes)),
        heap_objects_delta: report.own.map(|own| own.objects),
        gc_runs: (),
        gc_pause_total_ms: (),
        gc_cpu_fraction: (),
        throughput_mb_per_sec: throughput.map(mb_per_sec),
        kept: report.kept,
        dropped: report.dropped,
        unmeasured: unmeasured(
            &["gc_runs", "gc_pause_total_ms", "gc_cpu_fraction"],
            &[
                ("alloc_before_mb", report.live_before_bytes.is_none()),
                ("alloc_after_mb", report.live_after_bytes.is_none()),
                ("memory_delta_mb", report.own.is_none()),
                ("heap_objects_delta", report.own.is_none()),
                ("throughput_mb_per_sec", throughput.is_none()),
            ],
        ),
    })
}

/// What to make and let go of.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
struct FinalizersAsked {
    /// Objects that are made.
    #[schema(value_type = Option<u64>)]
    count: Option<Int>,
    /// Of old: force a collection. Without a collector it changes nothing; destructors run when an owner lets go.
    trigger_gc: Option<bool>,
}

/// The request with its defaults, as the run's record shows it.
#[derive(Debug, Serialize)]
struct FinalizersResolved {
    count: u64,
    trigger_gc: bool,
}

/// What became of the objects.
#[derive(Debug, Serialize, ToSchema)]
struct FinalizersAnswer {
    /// Objects made.
    objects_created: u64,
    /// Destructors that ran, counted by themselves.
    finalizers_executed: u64,
    /// From the first object's making to the last one's end.
    duration_ms: f64,
    /// As asked for.
    trigger_gc: bool,
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<u64>)]
    gc_runs: (),
    /// Only when fewer destructors ran than objects were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// From letting go of an object to its destructor, the middle one of all.
    finalizer_latency_ms: Option<f64>,
    /// The shortest.
    finalizer_latency_min_ms: Option<f64>,
    /// Exceeded by one in a hundred.
    finalizer_latency_p99_ms: Option<f64>,
    /// The longest.
    finalizer_latency_max_ms: Option<f64>,
    /// MB that this run's own routine held at the end.
    memory_delta_mb: Option<f64>,
    /// The fields of this answer that are `null` because they cannot be measured.
    unmeasured: Vec<&'static str>,
}

/// Run destructors
///
/// Makes objects, lets go of them one by one, and measures how long each destructor took to begin.
#[utoipa::path(
    post,
    path = "/gc/finalizers",
    tag = "memory",
    request_body = FinalizersAsked,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 with the run at once"),
    ),
    responses(
        (status = 200, description = "what became of them", body = FinalizersAnswer, headers(("Openwork-Run" = String, description = "names the run"))),
        (status = 202, description = "accepted, with `Prefer: respond-async`", body = crate::runs::RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn run_finalizers(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<FinalizersAsked>,
) -> Result<Response, ApiError> {
    let request = finalizers::Request {
        count: limits::FINALIZERS_COUNT.check(asked.count)?,
    };
    let plan = finalizers::check(&request);
    let plan = plan.map_err(|exceeded| workload::limit_exceeded(&exceeded))?;
    let resolved = FinalizersResolved {
        count: request.count,
        trigger_gc: asked.trigger_gc.unwrap_or(false),
    };
    let admitted = state
        .runs
        .admit(RunKind::GcFinalizers, &resolved, caller.source)?;
    Ok(
        answer(&state.runs, caller, StatusCode::OK, admitted, |admitted| {
            workload::launch(
                admitted,
                |runtime, workload| finalizers::start(runtime, plan, workload),
                move |report| finalized(&report, resolved.trigger_gc),
            )
        })
        .await,
    )
}

fn finalized(report: &finalizers::Report, trigger_gc: bool) -> Json {
    let latency = report.latency;
    let short = report.created.saturating_sub(report.executed);
    Json::new(&FinalizersAnswer {
        objects_created: report.created,
        finalizers_executed: report.executed,
        duration_ms: ms(report.duration),
        trigger_gc,
        gc_runs: (),
        warning: (short > 0).then(|| format!("{short} destructors have not run")),
        finalizer_latency_ms: latency.map(|l| ms(l.p50)),
        finalizer_latency_min_ms: latency.map(|l| ms(l.min)),
        finalizer_latency_p99_ms: latency.map(|l| ms(l.p99)),
        finalizer_latency_max_ms: latency.map(|l| ms(l.max)),
        memory_delta_mb: report.own.map(|own| mb(own.bytes)),
        unmeasured: unmeasured(
            &["gc_runs"],
            &[
                ("finalizer_latency_ms", latency.is_none()),
                ("finalizer_latency_min_ms", latency.is_none()),
                ("finalizer_latency_p99_ms", latency.is_none()),
                ("finalizer_latency_max_ms", latency.is_none()),
                ("memory_delta_mb", report.own.is_none()),
            ],
        ),
    })
}

/// Memory before and after, with nothing collected between.
#[derive(Debug, Serialize, ToSchema)]
struct CollectAnswer {
    /// Memory of the whole process at the start.
    before: MemoryNow,
    /// Memory of the whole process at the end.
    after: MemoryNow,
    /// Always `null`: nothing is given back.
    returned_bytes: Option<u64>,
    /// Why.
    note: &'static str,
    /// Between the two readings.
    duration_ms: f64,
    #[serde(flatten)]
    #[schema(inline)]
    collector: CollectorFigures,
}

/// Memory of the whole process.
#[derive(Debug, Serialize, ToSchema)]
struct MemoryNow {
    /// Bytes allocated and not freed.
    live_bytes: Option<u64>,
    /// Allocations not freed.
    live_objects: Option<u64>,
    /// Bytes in RAM.
    rss_bytes: Option<u64>,
}

impl From<collect::Figures> for MemoryNow {
    fn from(figures: collect::Figures) -> MemoryNow {
        MemoryNow {
            live_bytes: figures.live_bytes,
            live_objects: figures.live_objects,
            rss_bytes: figures.rss_bytes,
        }
    }
}

/// Collect
///
/// Shows memory before and after, and says why nothing happened between. Needs no body.
#[utoipa::path(
    post,
    path = "/gc/collect",
    tag = "memory",
    responses((status = 200, description = "memory before and after", body = CollectAnswer)),
)]
async fn run_collect() -> JsonBody<CollectAnswer> {
    let report = collect::collect();
    let counted = report.after.live_bytes.is_some();
    JsonBody(CollectAnswer {
        before: report.before.into(),
        after: report.after.into(),
        returned_bytes: report.returned_bytes,
        note: report.note,
        duration_ms: ms(report.duration),
        collector: CollectorFigures::new(&[
            ("returned_bytes", report.returned_bytes.is_none()),
            ("live_bytes", !counted),
            ("live_objects", !counted),
            ("rss_bytes", report.after.rss_bytes.is_none()),
        ]),
    })
}
