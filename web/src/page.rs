//! The page at `/`: a frame with every table filled in as of now, and the files that bring it to life.
//!
//! The template knows no figures of its own: what it shows at first comes from the newest sample, like every later
//! tick, and the bounds of its forms from [`crate::limits`].

use askama::Template as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use openwork::snapshot::WorkerState;

use crate::error::ApiError;
use crate::routes::runtime::{COMMIT, VERSION};
use crate::state::AppState;
use crate::wire::{self, Build, ConfigWire, Tick, Worker};

mod assets;
mod view;

use view::{Page, Row, WorkerRow, grouped};

/// What stands for a figure that is not known.
const UNKNOWN: &str = "–";

/// The guide, so that the link in the foot works without a network.
const GUIDE: &str = include_str!("../../docs/GUIDE.md");

/// The page, its files and the guide.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(page))
        .route("/guide", get(guide))
        .route("/assets/{*path}", get(assets::asset))
}

async fn page(State(state): State<AppState>) -> Result<Response, ApiError> {
    let tick = Tick::figures(&state.observatory.latest());
    let config = ConfigWire::from(&state.runtime.config());
    let build = Build::new(&state.observatory.latest().snapshot);
    let html = render(&tick, &config, &build, state.workers.source).map_err(ApiError::internal)?;
    let mut response = Html(html).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

async fn guide() -> Response {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (plain, GUIDE).into_response()
}

fn render(
    tick: &Tick,
    config: &ConfigWire,
    build: &Build,
    workers_source: &str,
) -> Result<String, askama::Error> {
    Page {
        version: VERSION,
        commit: COMMIT,
        modules: assets::modules(),
        launchers: view::launchers(),
        benches: view::benches(),
        bench_rounds: view::bench_rounds(),
        workers: in_service(tick),
        workers_source: format!("from {workers_source}"),
        sentence: sentence(tick),
        worker_rows: tick.workers.iter().map(worker_row).collect(),
        queue_rows: tick
            .workers
            .iter()
            .map(|worker| row(format!("worker {}", worker.id), grouped(worker.queue_depth)))
            .collect(),
        waiting_rows: [
            ("running", tick.routines.running),
            ("runnable", tick.routines.runnable),
            ("new", tick.routines.new),
            ("blocked", tick.routines.blocked),
        ]
        .map(|(state, count)| row(state, grouped(count)))
        .into(),
        // A rate takes two samples; the page has them a moment later.
        rate_rows: vec![row("all", UNKNOWN)],
        memory_rows: vec![
            row("live", bytes(tick.memory.live_bytes)),
            row("resident", bytes(tick.memory.rss_bytes)),
            row("allocated", UNKNOWN),
        ],
        stack_rows: stack_rows(tick),
        io_rows: vec![
            row("calls running", grouped(tick.pool.running)),
            row("waiting for a thread", grouped(tick.pool.queued)),
            row("threads", grouped(tick.pool.threads)),
            row(
                "sockets watched",
                grouped(tick.io.as_ref().map_or(0, |io| io.sockets)),
            ),
        ],
        config_rows: config_rows(config),
        about_rows: build
            .facts()
            .into_iter()
            .map(|(name, what)| row(name, what))
            .collect(),
        thread_rows: ["asked", "gave way", "frozen", "taken in kernel"]
            .map(|what| row(what, UNKNOWN))
            .into_iter()
            .chain([
                row("hostages", grouped(tick.monitor.hostages)),
                row("threads", grouped(tick.threads.total)),
                row("away", grouped(tick.threads.away)),
                row("stopped", grouped(tick.threads.frozen)),
            ])
            .collect(),
        settings: view::settings(),
        timer_rows: vec![
            row("kept", grouped(tick.timers.pending)),
            row("served", UNKNOWN),
            row("taken back", UNKNOWN),
        ],
    }
    .render()
}

fn row(name: impl Into<String>, now: impl Into<String>) -> Row {
    Row {
        name: name.into(),
        now: now.into(),
    }
}

/// Workers that somebody holds.
fn in_service(tick: &Tick) -> usize {
    let serves = |worker: &&Worker| worker.state != WorkerState::Inactive.name();
    tick.workers.iter().filter(serves).count()
}

/// The state of the whole in one sentence. The page's script says the same, from the ticks that follow.
fn sentence(tick: &Tick) -> String {
    let busy = tick.workers.iter().filter(|w| w.state == "running").count();
    let routines = &tick.routines;
    let stolen: u64 = tick.workers.iter().map(|worker| worker.stolen).sum();
    format!(
        "{busy} of {} workers busy. {} routines: {} running, {} waiting for a worker, {} blocked. {} stolen since the start. Block {}.",
        in_service(tick),
        grouped(routines.live),
        grouped(routines.running),
        grouped(routines.runnable + routines.new),
        grouped(routines.blocked),
        grouped(stolen),
        grouped(tick.chain.length.saturating_sub(1)),
    )
}

fn worker_row(worker: &Worker) -> WorkerRow {
    let wire::BySource([lifo, inbox, local, timer, injector, stolen, poller, wanting]) =
        worker.turns_by_source;
    let count = |number: u64| grouped(number);
    WorkerRow {
        worker: worker.id,
        cells: vec![
            worker.state.to_owned(),
            worker.routine.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            count(worker.queue_depth),
            count(worker.turns),
            count(local + lifo),
            count(injector),
            count(stolen),
            count(inbox + poller),
            count(timer),
            count(wanting),
            count(worker.stolen),
            count(worker.steals),
            count(worker.steal_attempts),
            count(worker.parks),
            count(worker.keyed),
            format!("{:.2} s", worker.busy_ns as f64 / 1e9),
        ],
    }
}

/// Every setting by its name in the API.
fn config_rows(config: &ConfigWire) -> Vec<Row> {
    let word = |value: &serde_json::Value| match value {
        serde_json::Value::Bool(true) => "on".to_owned(),
        serde_json::Value::Bool(false) => "off".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(fields)) => fields
            .iter()
            .map(|(name, value)| row(name.as_str(), word(value)))
            .collect(),
        // Plain numbers and words: always an object.
        _ => Vec::new(),
    }
}

/// Depths up to the slot's own, and as far beyond as anything went.
fn stack_rows(tick: &Tick) -> Vec<Row> {
    let slot = (tick.stacks.slot_bytes / 4096).max(1).ilog2() as usize;
    let deepest = tick.stacks.high_water.iter().rposition(|&count| count > 0);
    tick.stacks
        .high_water
        .iter()
        .take(slot.max(deepest.unwrap_or(0)) + 1)
        .enumerate()
        .map(|(power, &count)| row(format!("{} KiB", 4_u64 << power), grouped(count)))
        .collect()
}

fn bytes(value: Option<u64>) -> String {
    match value {
        None => UNKNOWN.to_owned(),
        Some(bytes) => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}
