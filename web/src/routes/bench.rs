//! `/api/v1/bench`: what an operation of the runtime costs on this machine, now and before.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use openwork_bench::rounds::Line;
use openwork_bench::short::{self, Short};
use openwork_bench::{Bench, Machine};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::runtime::COMMIT;
use crate::body::{Body, Int, Query};
use crate::bridge;
use crate::error::{ApiError, Problem};
use crate::limits;
use crate::runs::answer::{Caller, answer};
use crate::runs::{Failure, Json, Progress, RunKind, RunRecord, RunState};
use crate::state::AppState;
use crate::wire::{BenchMachine, BenchResult};

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, run))
        .routes(routes!(history))
}

/// The benches that can be run here.
#[derive(Debug, Serialize, ToSchema)]
struct Benches {
    /// In the order in which they are listed.
    benches: Vec<BenchEntry>,
    /// This machine.
    machine: BenchMachine,
    /// Commit of this program; `null` if its build did not know.
    commit: Option<&'static str>,
}

/// A bench.
#[derive(Debug, Serialize, ToSchema)]
struct BenchEntry {
    /// Its name.
    name: &'static str,
    /// What it belongs to.
    group: &'static str,
    /// What it asks.
    question: &'static str,
    /// What `time` is the time of.
    operation: &'static str,
    /// The figure to look at first.
    figure: &'static str,
}

impl From<&Bench> for BenchEntry {
    fn from(bench: &Bench) -> BenchEntry {
        BenchEntry {
            name: bench.name,
            group: bench.group,
            question: bench.question,
            operation: bench.operation,
            figure: bench.figure,
        }
    }
}

/// Benches
///
/// Those with a short form. `openwork bench list` has all of them.
#[utoipa::path(get, path = "/api/v1/bench", tag = "runs", responses(
    (status = 200, description = "what can be run", body = Benches),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn list() -> Result<JsonBody<Benches>, ApiError> {
    let machine = bridge::off_thread(Machine::here).await?;
    Ok(JsonBody(Benches {
        benches: short::benches().map(BenchEntry::from).collect(),
        machine: (&machine).into(),
        commit: COMMIT,
    }))
}

/// Which bench, and how often.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = BenchRequest)]
struct Asked {
    /// Name of the bench.
    #[schema(required)]
    bench: Option<String>,
    /// Turns that each runtime gets.
    #[schema(value_type = Option<u64>)]
    rounds: Option<Int>,
}

/// The request with its defaults, as the run's record shows it.
#[derive(Debug, Serialize)]
struct Resolved {
    bench: &'static str,
    rounds: u64,
}

/// What was measured, where and of what.
#[derive(Debug, Serialize, ToSchema)]
struct BenchAnswer {
    /// The machine.
    machine: BenchMachine,
    /// Commit of the program; `null` if its build did not know.
    commit: Option<String>,
    /// Whether workers recorded turns and thefts meanwhile.
    recorder: bool,
    /// Turns that each runtime had.
    rounds: u64,
    /// Other runs of this service that were under way at its begin or at its end.
    other_runs: usize,
    #[serde(flatten)]
    #[schema(inline)]
    result: BenchResult,
}

/// Run a bench
///
/// The short form: on the service's own workers, while they are watched, beside threads. `openwork bench` runs the long one,
/// in a process of its own and beside other runtimes.
#[utoipa::path(
    post,
    path = "/api/v1/bench",
    tag = "runs",
    request_body = Asked,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 with the run at once"),
    ),
    responses(
        (status = 200, description = "what was measured", body = BenchAnswer, headers(("Openwork-Run" = String, description = "names the run"))),
        (status = 202, description = "accepted, with `Prefer: respond-async`", body = RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn run(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let rounds = limits::BENCH_ROUNDS.check(asked.rounds)?;
    let name = asked.bench.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ApiError::missing("bench"))?;
    let known = known(&name)?;
    let short = Short::new(known.name, rounds).map_err(ApiError::internal)?;
    let resolved = Resolved {
        bench: known.name,
        rounds,
    };
    let admitted = state.runs.admit(RunKind::Bench, &resolved, caller.source)?;
    Ok(
        answer(&state.runs, caller, StatusCode::OK, admitted, |admitted| {
            let runtime = admitted.runtime().clone();
            let (root, turns) = match short.start(&runtime, admitted.workload()) {
                Ok(started) => started,
                Err(error) => return Err(admitted.refuse(ApiError::internal(error))),
            };
            let meter = Box::new(move || {
                let (done, total) = turns.read();
                Progress::of(done, total, "turns")
            });
            let root = bridge::joined(root);
            let runs = state.runs.clone();
            // This one is among them.
            let others = move || runs.under_way().saturating_sub(1);
            let others_before = others();
            Ok(admitted.launch(meter, async move {
                let line = root.await.map_err(|error| bridge::join_error(&error))?;
                let machine = bridge::off_thread(Machine::here).await?;
                let other_runs = others().max(others_before);
                measured(&line, |result| BenchAnswer {
                    machine: (&machine).into(),
                    commit: COMMIT.map(str::to_owned),
                    recorder: runtime.records_turns(),
                    rounds,
                    other_runs,
                    result,
                })
            }))
        })
        .await,
    )
}

fn known(name: &str) -> Result<&'static Bench, ApiError> {
    let names: Vec<_> = short::benches().map(|bench| bench.name).collect();
    let found = short::benches().find(|bench| bench.name == name);
    found.ok_or_else(|| ApiError::unknown_value("bench", name, &names))
}

fn measured(line: &Line, answer: impl FnOnce(BenchResult) -> BenchAnswer) -> Result<Json, Failure> {
    match line.peers.iter().find_map(|peer| peer.failed.as_ref()) {
        Some(why) => Err(ApiError::internal(why).into()),
        None => Ok(Json::new(&answer(line.into()))),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Listing {
    /// Name of the bench.
    #[param(required)]
    bench: Option<String>,
    /// Runs listed.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
}

/// What was measured before, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct BenchHistory {
    /// Name of the bench.
    bench: &'static str,
    /// One a run that succeeded.
    history: Vec<BenchPast>,
}

/// One run of the past.
#[derive(Debug, Serialize, ToSchema)]
struct BenchPast {
    /// Names the run.
    run: String,
    /// When it ended, RFC 3339.
    at: Option<String>,
    /// What it measured.
    #[schema(value_type = BenchAnswer)]
    result: Json,
}

/// What a bench measured before
///
/// With the machine and the commit of each; kept over restarts, apart from the other runs.
#[utoipa::path(
    get,
    path = "/api/v1/bench/history",
    tag = "runs",
    params(Listing),
    responses(
        (status = 200, description = "newest first", body = BenchHistory),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn history(
    State(state): State<AppState>,
    Query(listing): Query<Listing>,
) -> Result<JsonBody<BenchHistory>, ApiError> {
    let limit = limits::BENCH_HISTORY_LIMIT
        .query(listing.limit.as_deref())?
        .unwrap_or(limits::BENCH_HISTORY_LIMIT.max);
    let name = listing.bench.filter(|name| !name.is_empty());
    let bench = known(&name.ok_or_else(|| ApiError::missing("bench"))?)?;
    let of_bench = |run: &RunRecord| {
        run.kind == RunKind::Bench
            && run.state == RunState::Succeeded
            && name_of(&run.request).as_deref() == Some(bench.name)
    };
    let runs = state.runs.list(None, limit as usize, of_bench);
    let past = |run: RunRecord| {
        Some(BenchPast {
            run: run.id.to_string(),
            at: run.ended_at,
            result: run.result?,
        })
    };
    Ok(JsonBody(BenchHistory {
        bench: bench.name,
        history: runs.into_iter().filter_map(past).collect(),
    }))
}

/// The bench that a run was asked for.
fn name_of(request: &Json) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        bench: String,
    }
    let named: Named = serde_json::from_str(request.get()).ok()?;
    Some(named.bench)
}
