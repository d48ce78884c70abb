//! `/debug/pprof/`: the paths, parameters and formats of Go's `net/http/pprof`, so that its tools work here.
//!
//! Everything is in pprof's format, with labels for routine name, worker and workload. `gc` is accepted and ignored:
//! there is no collector to run first. Errors are plain text with `X-Go-Pprof: 1` ([`crate::error::shape`]).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::Query;
use crate::bridge::off_thread;
use crate::error::{ApiError, Code};
use crate::limits::{self, Limit};
use crate::profiles::{Claim, Kind, Taken, walk};
use crate::routes::profiles::{Asked, seconds_of};
use crate::runs::answer::{Caller, RUN_HEADER};
use crate::runs::{Json, RunKind};
use crate::state::AppState;

/// Routines written one by one at `debug=2`; the rest is counted.
const LISTED_MAX: usize = 10_000;
/// Addresses looked up in one request to `symbol`.
const SYMBOLS_MAX: usize = 10_000;

/// The routes of this tree.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(index))
        .routes(routes!(index_elsewhere))
        .routes(routes!(profile))
        .routes(routes!(heap))
        .routes(routes!(allocs))
        .routes(routes!(goroutine))
        .routes(routes!(routine))
        .routes(routes!(cmdline))
        .routes(routes!(symbol, symbol_post))
}

/// Go's parameters. All are text here, because each has its own bounds.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Parameters {
    /// Length of a CPU profile; of any other one: show what changed in this time.
    #[param(value_type = Option<u64>)]
    seconds: Option<String>,
    /// 0 for `profile.proto`, otherwise text.
    #[param(value_type = Option<u64>)]
    debug: Option<String>,
    /// Accepted and ignored.
    #[param(value_type = Option<u64>)]
    gc: Option<String>,
}

impl Parameters {
    fn seconds(&self, limit: &Limit) -> Result<Option<u64>, ApiError> {
        limit.query(self.seconds.as_deref())
    }

    fn debug(&self, limit: &Limit) -> Result<u64, ApiError> {
        limit
            .query(self.debug.as_deref())
            .map(Option::unwrap_or_default)
    }
}

/// Profiles that Go's tools can fetch
#[utoipa::path(get, path = "/debug/pprof/", tag = "pprof", responses(
    (status = 200, description = "a page of links", body = String, content_type = "text/html"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn index(State(state): State<AppState>) -> Html<String> {
    let live = state.observatory.latest().snapshot.routines.live();
    let row = |path: &str, what: &str| format!("<li><a href=\"{path}\">{path}</a>: {what}\n");
    let rows = [
        row(
            "profile?seconds=5",
            "where processor time goes, for 5 seconds",
        ),
        row(
            "heap?debug=1",
            "what is held, by the place that allocated it",
        ),
        row("allocs?debug=1", "what was ever allocated, by place"),
        row(
            "goroutine?debug=1",
            &format!("what each of {live} routines does, by equal stack; debug=2: one by one"),
        ),
        row("cmdline", "the command line"),
        row("symbol", "names of addresses"),
    ]
    .concat();
    let url = format!("{}debug/pprof", state.url());
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>/debug/pprof/</title>\n\
         <h1>/debug/pprof/</h1>\n<ul>\n{rows}</ul>\n\
         <p>Without <code>debug</code> these are files for <code>go tool pprof {url}/heap</code>.\n"
    ))
}

/// The list, with the slash that its links need
#[utoipa::path(get, path = "/debug/pprof", tag = "pprof", responses(
    (status = 308, description = "to `/debug/pprof/`"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn index_elsewhere() -> Redirect {
    Redirect::permanent("/debug/pprof/")
}

/// Where processor time goes
#[utoipa::path(get, path = "/debug/pprof/profile", tag = "pprof", params(Parameters), responses(
    (status = 200, description = "`profile.proto`, gzipped", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 409, description = "one is being taken", body = String, content_type = "text/plain"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn profile(
    method: Method,
    State(state): State<AppState>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Result<Response, ApiError> {
    let seconds = parameters.seconds(&limits::PPROF_SECONDS)?.unwrap_or(30);
    if method == Method::HEAD {
        // The head alone is known without half a minute of sampling.
        return Ok(download(Vec::new(), "profile"));
    }
    let claim = state.profiles.claim(Kind::Cpu)?;
    timed(state, caller, Kind::Cpu, claim, seconds, "profile").await
}

/// What is held, by the place that allocated it
#[utoipa::path(get, path = "/debug/pprof/heap", tag = "pprof", params(Parameters), responses(
    (status = 200, description = "`profile.proto`, gzipped; text with `debug`", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn heap(
    State(state): State<AppState>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Result<Response, ApiError> {
    let text = parameters.debug(&limits::PPROF_HEAP_DEBUG)? > 0;
    let seconds = parameters.seconds(&limits::PPROF_HEAP_SECONDS)?;
    now_or_meanwhile(state, caller, Kind::Heap, seconds, text, "heap").await
}

/// What was ever allocated, by place
#[utoipa::path(get, path = "/debug/pprof/allocs", tag = "pprof", params(Parameters), responses(
    (status = 200, description = "`profile.proto`, gzipped; text with `debug`", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn allocs(
    State(state): State<AppState>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Result<Response, ApiError> {
    let text = parameters.debug(&limits::PPROF_ALLOCS_DEBUG)? > 0;
    let seconds = parameters.seconds(&limits::PPROF_ALLOCS_SECONDS)?;
    now_or_meanwhile(state, caller, Kind::Allocs, seconds, text, "allocs").await
}

/// What routines do, by equal stack
///
/// `debug=2` writes each routine with its stack, as a Go panic does.
#[utoipa::path(get, path = "/debug/pprof/goroutine", tag = "pprof", params(Parameters), responses(
    (status = 200, description = "`profile.proto`, gzipped; text with `debug`", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn goroutine(
    State(state): State<AppState>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Result<Response, ApiError> {
    let debug = parameters.debug(&limits::PPROF_GOROUTINE_DEBUG)?;
    let seconds = parameters.seconds(&limits::PPROF_GOROUTINE_SECONDS)?;
    routines(state, caller, debug, seconds).await
}

/// What routines do, under their own name
///
/// As `/debug/pprof/goroutine`.
#[utoipa::path(get, path = "/debug/pprof/routine", tag = "pprof", params(Parameters), responses(
    (status = 200, description = "`profile.proto`, gzipped; text with `debug`", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn routine(
    State(state): State<AppState>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Result<Response, ApiError> {
    let debug = parameters.debug(&limits::PPROF_ROUTINE_DEBUG)?;
    let seconds = parameters.seconds(&limits::PPROF_ROUTINE_SECONDS)?;
    routines(state, caller, debug, seconds).await
}

async fn routines(
    state: AppState,
    caller: Caller,
    debug: u64,
    seconds: Option<u64>,
) -> Result<Response, ApiError> {
    if debug == 2 {
        let text = off_thread(move || {
            walk(&state.runtime).text_each(LISTED_MAX, state.observatory.symbols())
        })
        .await?;
        return Ok(plain(text));
    }
    now_or_meanwhile(
        state,
        caller,
        Kind::Routine,
        seconds,
        debug == 1,
        "goroutine",
    )
    .await
}

/// A profile that needs no time: as it is now, or what changed in `seconds`, which is a run like every timed one.
async fn now_or_meanwhile(
    state: AppState,
    caller: Caller,
    kind: Kind,
    seconds: Option<u64>,
    text: bool,
    name: &'static str,
) -> Result<Response, ApiError> {
    if let Some(seconds) = seconds {
        let claim = state.profiles.claim(kind)?;
        return timed(state, caller, kind, claim, seconds, name).await;
    }
    let taken = take(&state, kind, None).await?;
    let observatory = state.observatory;
    if text {
        return off_thread(move || taken.report().text(observatory.symbols()))
            .await
            .map(plain);
    }
    let file = off_thread(move || taken.pprof(observatory.symbols())).await?;
    Ok(download(file, name))
}

async fn take(state: &AppState, kind: Kind, time: Option<Duration>) -> Result<Taken, ApiError> {
    match kind {
        Kind::Routine => state.profiles.routine(&state.observatory, time).await,
        kind => state.profiles.heap(kind, &state.observatory, time).await,
    }
}

/// Takes a profile that lasts, as a run: it is on the page while it is taken, and ends with its client.
async fn timed(
    state: AppState,
    caller: Caller,
    kind: Kind,
    claim: Option<Claim>,
    seconds: u64,
    name: &'static str,
) -> Result<Response, ApiError> {
    let runs = state.runs.clone();
    let admitted = runs.admit(RunKind::Profile, &Asked { kind, seconds }, caller.source)?;
    let id = admitted.id();
    // The run's result is JSON; the file takes another way to the client that waits for it.
    let file = Arc::new(OnceLock::new());
    let into = file.clone();
    let ticket = admitted.launch_future(seconds_of(seconds), async move {
        let time = Duration::from_secs(seconds);
        let taken = match claim {
            Some(claim) => state.profiles.cpu(claim, &state.observatory, time).await?,
            None => take(&state, kind, Some(time)).await?,
        };
        let samples = taken.samples();
        let bytes = off_thread(move || taken.pprof(state.observatory.symbols())).await?;
        let size = bytes.len();
        // Set once: this is the only writer.
        let _ = into.set(bytes);
        Ok(Json::new(
            &serde_json::json!({ "samples": samples, "file_size_bytes": size }),
        ))
    });
    ticket.wait().await.outcome?;
    let bytes = file
        .get()
        .cloned()
        .ok_or_else(|| ApiError::internal("a profile's run ended without its file"))?;
    let mut response = download(bytes, name);
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(RUN_HEADER, id);
    }
    Ok(response)
}

/// The command line
///
/// Its arguments, separated by zero bytes, as Go sends them. A token is never among them: there is no flag for one.
#[utoipa::path(get, path = "/debug/pprof/cmdline", tag = "pprof", responses(
    (status = 200, description = "arguments", body = String, content_type = "text/plain"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn cmdline() -> Response {
    let arguments: Vec<_> = std::env::args_os()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    plain(arguments.join("\0"))
}

/// Names of addresses
///
/// Addresses like `0x55d0c0ffee`, joined by `+`; without any it says that it can name them.
#[utoipa::path(get, path = "/debug/pprof/symbol", tag = "pprof", responses(
    (status = 200, description = "`num_symbols: 1`, then a line for each address", body = String, content_type = "text/plain"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn symbol(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    symbols(state, query.unwrap_or_default()).await
}

/// Names of addresses in the body
#[utoipa::path(post, path = "/debug/pprof/symbol", tag = "pprof", request_body(content = String, content_type = "text/plain"), responses(
    (status = 200, description = "`num_symbols: 1`, then a line for each address", body = String, content_type = "text/plain"),
    (status = "default", description = "refused", body = String, content_type = "text/plain")))]
async fn symbol_post(
    State(state): State<AppState>,
    body: axum::body::Body,
) -> Result<Response, ApiError> {
    let bytes = crate::body::read(body).await?;
    symbols(state, String::from_utf8_lossy(&bytes).into_owned()).await
}

async fn symbols(state: AppState, asked: String) -> Result<Response, ApiError> {
    let addresses = addresses(&asked)?;
    let text = off_thread(move || {
        // The number is no count: it says that names can be had at all.
        let mut text = "num_symbols: 1\n".to_owned();
        for address in addresses {
            if let Some(function) = state.observatory.symbols().at(address).last() {
                text.push_str(&format!("{address:#x} {}\n", function.name));
            }
        }
        text
    })
    .await?;
    Ok(plain(text))
}

fn addresses(asked: &str) -> Result<Vec<usize>, ApiError> {
    let addresses: Vec<usize> = asked
        .split('+')
        .map(|word| word.trim())
        .filter_map(|word| usize::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok())
        .take(SYMBOLS_MAX + 1)
        .collect();
    if addresses.len() > SYMBOLS_MAX {
        let detail = format!("more than {SYMBOLS_MAX} addresses");
        return Err(ApiError::new(Code::OutOfRange, detail).limit(SYMBOLS_MAX as u64));
    }
    Ok(addresses)
}

fn plain(text: String) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn download(bytes: Vec<u8>, name: &'static str) -> Response {
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}
