//! `GET /stats` and `GET /gc/metrics`: the figures of old, from the observatory's latest sample.
//!
//! Fields that only a collector has are `null` and named in `unmeasured`; those that have a counterpart here hold it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use openwork::memory::Totals;
use openwork_observatory::Sample;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Query, choice};
use crate::error::{ApiError, Problem};
use crate::state::AppState;
use crate::wire::{self, Tick};

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(stats))
        .routes(routes!(gc_metrics))
}

/// The answer of old, with the whole sample beside it.
#[derive(Debug, Serialize, ToSchema)]
struct Stats {
    /// Live routines.
    num_goroutine: u64,
    /// CPUs that this process may use; `null` if the system does not say.
    num_cpu: Option<usize>,
    /// Memory, in whole MB of 2^20.
    memory_stats: MemoryStats,
    /// Always `null`: there is no collector.
    gc_stats: GcStats,
    /// The scheduler.
    scheduler_stats: SchedulerStats,
    /// When the sample was taken, RFC 3339.
    timestamp: String,
    /// Paths of the fields that are `null` because nothing measures them.
    unmeasured: Vec<&'static str>,
    /// The sample that all figures here come from, as an event of this number carries it, without lanes.
    sample: Tick,
}

#[derive(Debug, Serialize, ToSchema)]
struct MemoryStats {
    /// Allocated and not freed.
    alloc_mb: Option<u64>,
    /// Allocated since the process began.
    total_alloc_mb: Option<u64>,
    /// Always `null`: the allocator does not say what it took from the system.
    sys_mb: Option<u64>,
    /// Always `null`: there is no collector.
    num_gc: Option<u64>,
    /// Allocated and not freed.
    heap_alloc_mb: Option<u64>,
    /// Blocks allocated and not freed.
    heap_objects: Option<u64>,
    /// Always `null`: the allocator does not say.
    heap_idle_mb: Option<u64>,
    /// Allocated and not freed.
    heap_in_use_mb: Option<u64>,
    /// Always `null`: the allocator does not say.
    heap_released_mb: Option<u64>,
    /// Resident memory of the process.
    rss_mb: Option<u64>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
struct GcStats {
    last_gc: Option<String>,
    next_gc_mb: Option<u64>,
    pause_total: Option<String>,
    num_forced_gc: Option<u64>,
    gc_cpu_fraction: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SchedulerStats {
    /// Workers.
    num_procs: usize,
    /// Live routines.
    num_goroutines: u64,
    /// Always `null`: calls into foreign code are not counted.
    num_cgo_call: Option<u64>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Format {
    /// `json` (default), or `schedtrace` for one line of text as Go's `GODEBUG=schedtrace` prints it.
    format: Option<String>,
}

/// Statistics of the process
///
/// The fields of old, and under `sample` everything that the page shows.
#[utoipa::path(get, path = "/stats", tag = "watch", params(Format), responses(
    (status = 200, description = "the newest sample", body = Stats),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn stats(
    State(state): State<AppState>,
    Query(query): Query<Format>,
) -> Result<Response, ApiError> {
    let line = choice(
        "format",
        query.format.as_deref(),
        &[("json", false), ("schedtrace", true)],
        false,
    )?;
    let sample = state.observatory.latest();
    if line {
        let mut response = schedtrace(&sample).into_response();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        return Ok(response);
    }
    Ok(Json(Stats::new(&sample)).into_response())
}

impl Stats {
    fn new(sample: &Sample) -> Self {
        let live = sample.snapshot.routines.live();
        let whole_mb = |bytes: u64| bytes >> 20;
        let held = sample.memory.map(held_bytes);
        let mut unmeasured = vec![
            "memory_stats.sys_mb",
            "memory_stats.num_gc",
            "memory_stats.heap_idle_mb",
            "memory_stats.heap_released_mb",
            "gc_stats.last_gc",
            "gc_stats.next_gc_mb",
            "gc_stats.pause_total",
            "gc_stats.num_forced_gc",
            "gc_stats.gc_cpu_fraction",
            "scheduler_stats.num_cgo_call",
        ];
        if sample.memory.is_none() {
            unmeasured.extend([
                "memory_stats.alloc_mb",
                "memory_stats.total_alloc_mb",
                "memory_stats.heap_alloc_mb",
                "memory_stats.heap_objects",
                "memory_stats.heap_in_use_mb",
            ]);
        }
        if sample.rss_bytes.is_none() {
            unmeasured.push("memory_stats.rss_mb");
        }
        Stats {
            num_goroutine: live,
            num_cpu: std::thread::available_parallelism().ok().map(|n| n.get()),
            memory_stats: MemoryStats {
                alloc_mb: held.map(whole_mb),
                total_alloc_mb: sample.memory.map(|m| whole_mb(m.allocated_bytes)),
                sys_mb: None,
                num_gc: None,
                heap_alloc_mb: held.map(whole_mb),
                heap_objects: sample.memory.map(held_objects),
                heap_idle_mb: None,
                heap_in_use_mb: held.map(whole_mb),
                heap_released_mb: None,
                rss_mb: sample.rss_bytes.map(whole_mb),
            },
            gc_stats: GcStats::default(),
            scheduler_stats: SchedulerStats {
                num_procs: sample.snapshot.config.workers,
                num_goroutines: live,
                num_cgo_call: None,
            },
            timestamp: wire::rfc3339(sample.wall),
            unmeasured,
            sample: Tick::figures(sample),
        }
    }
}

// A block that one thread allocates and another frees may be seen freed before it is seen allocated.
fn held_bytes(totals: Totals) -> u64 {
    totals.allocated_bytes.saturating_sub(totals.freed_bytes)
}

fn held_objects(totals: Totals) -> u64 {
    totals
        .allocated_objects
        .saturating_sub(totals.freed_objects)
}

/// One line for a bug report.
fn schedtrace(sample: &Sample) -> String {
    use openwork::snapshot::WorkerState;
    let snapshot = &sample.snapshot;
    let in_state = |state| snapshot.workers.iter().filter(|w| w.state == state).count();
    let mut line = format!(
        "SCHED {}ms: workers={} idle={} spinning={} routines={} global={} [",
        sample.at_ns / 1_000_000,
        snapshot.config.workers,
        in_state(WorkerState::Parked),
        in_state(WorkerState::Searching),
        snapshot.routines.live(),
        snapshot.injector_depth,
    );
    let in_service = snapshot
        .workers
        .iter()
        .filter(|w| w.state != WorkerState::Inactive);
    for (i, worker) in in_service.enumerate() {
        let space = if i == 0 { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(line, "{space}{}", worker.queue_depth());
    }
    line + "]\n"
}

/// Keys of `GET /gc/metrics` that only a collector could fill.
const OF_A_COLLECTOR: [&str; 10] = [
    "/gc/cycles/forced-gc:gc-cycles",
    "/gc/cycles/total:gc-cycles",
    "/gc/heap/goal:bytes",
    "/gc/heap/tiny/allocs:objects",
    "/gc/pause/p50:seconds",
    "/gc/pause/p99:seconds",
    "/gc/pause/total:seconds",
    "/memory/classes/heap/released:bytes",
    "/sched/latency:seconds",
    "go_version",
];

/// Time that the allocation rate is taken over, at least.
const RATE_NS: u64 = 900_000_000;
/// Samples in that time at the faster cadence, with room.
const RATE_SAMPLES: u64 = 20;

/// Memory metrics under Go's names
///
/// Every key of old: measured by the counting allocator, or `null` and named in `unmeasured`. `alloc_rate_mb_per_sec`
/// is a rate here, over the last second or so.
#[utoipa::path(get, path = "/gc/metrics", tag = "watch", responses(
    (status = 200, description = "key to figure", body = BTreeMap<String, Value>),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn gc_metrics(State(state): State<AppState>) -> Json<BTreeMap<&'static str, Value>> {
    let sample = state.observatory.latest();
    // The newest sample that is about a second older, at either cadence; none in the first second.
    let history = state
        .observatory
        .history(sample.n.saturating_sub(RATE_SAMPLES));
    let before = history
        .iter()
        .rev()
        .find(|s| s.at_ns + RATE_NS <= sample.at_ns);
    Json(metrics(&sample, before.map(|s| &**s)))
}

fn metrics(sample: &Sample, before: Option<&Sample>) -> BTreeMap<&'static str, Value> {
    let memory = sample.memory;
    let rate = before.and_then(|before| {
        let elapsed = sample.at_ns.checked_sub(before.at_ns)?;
        let (now, then) = (memory?.allocated_bytes, before.memory?.allocated_bytes);
        openwork_observatory::per_second(then, now, elapsed).map(|bytes| bytes / f64::from(1 << 20))
    });
    let mut map = BTreeMap::from([
        (
            "/gc/heap/allocs:bytes",
            json!(memory.map(|m| m.allocated_bytes)),
        ),
        (
            "/gc/heap/allocs:objects",
            json!(memory.map(|m| m.allocated_objects)),
        ),
        ("/gc/heap/frees:bytes", json!(memory.map(|m| m.freed_bytes))),
        (
            "/gc/heap/frees:objects",
            json!(memory.map(|m| m.freed_objects)),
        ),
        ("/gc/heap/objects:objects", json!(memory.map(held_objects))),
        ("/memory/classes/total:bytes", json!(sample.rss_bytes)),
        (
            "/sched/goroutines:goroutines",
            json!(sample.snapshot.routines.live()),
        ),
        ("alloc_rate_mb_per_sec", json!(rate)),
        ("openwork_version", json!(super::runtime::VERSION)),
        ("sample", json!(sample.n)),
    ]);
    map.extend(OF_A_COLLECTOR.map(|key| (key, Value::Null)));
    let unmeasured: Vec<_> = map
        .iter()
        .filter(|(_, value)| value.is_null())
        .map(|(key, _)| *key)
        .collect();
    map.insert("unmeasured", json!(unmeasured));
    map
}
