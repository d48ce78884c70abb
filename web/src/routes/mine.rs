//! `POST /mine`: many routines search for blocks at once.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use openwork_blockchain::{
    self as blockchain, AppendError, Chain, Difficulty, MineError, MineOutcome, MineRequest,
    MineStartError, Mode,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Body, Int, choice, routine_count};
use crate::error::{ApiError, Code, Problem};
use crate::limits;
use crate::runs::answer::{Caller, answer};
use crate::runs::{Admitted, Failure, Json, Progress, RunKind, Ticket};
use crate::state::AppState;
use crate::wire::{BlockWire, go_duration, mb};

const MODES: [(&str, Mode); 2] = [("chain", Mode::Chain), ("race", Mode::Race)];

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(mine))
}

/// What to mine.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = MineRequest)]
struct Asked {
    /// What the blocks hold; required. In mode `chain` each has `-worker-<i>` after it.
    #[schema(required, value_type = String)]
    data: Option<String>,
    /// Routines that search.
    #[schema(value_type = Option<u64>)]
    goroutines: Option<Int>,
    /// Another name of `goroutines`.
    #[schema(value_type = Option<u64>)]
    routines: Option<Int>,
    /// Zero bits that each hash must begin with.
    #[schema(value_type = Option<u64>)]
    difficulty: Option<Int>,
    /// `chain` (the default): each routine appends a block of its own. `race`: all search for one block.
    mode: Option<String>,
    /// Nonces that a routine tries in one turn. 0: it never gives way, until it has found a block, the tip has moved or the
    /// run ends, unless it is made to.
    #[schema(value_type = Option<u64>)]
    yield_every: Option<Int>,
}

/// The request with its defaults, as the run's record shows it.
#[derive(Debug, Serialize)]
struct Resolved<'a> {
    data: &'a str,
    goroutines: u64,
    difficulty: u64,
    mode: &'static str,
    yield_every: u64,
}

/// Mined blocks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MineAnswer)]
struct Answer {
    /// In order of appending.
    blocks: Vec<BlockWire>,
    /// How long it took, as Go writes it.
    duration: String,
    /// Routines that searched.
    goroutines: u64,
    /// `chain` or `race`.
    mode: &'static str,
    /// Zero bits that each hash begins with.
    difficulty: u8,
    /// Blocks in the chain afterwards, genesis included.
    total_blocks: u64,
    /// Hashes tried.
    attempts: u64,
    /// Hashes that such a search takes on average.
    expected_attempts: u64,
    /// Of the hashes tried, those on a tip that had already been built on.
    attempts_on_old_tips: u64,
    /// Times a routine took up a new tip.
    rebases: u64,
    /// Times a routine gave way.
    yields: u64,
    /// Hashes a second of all routines together; `null` for a search too short to tell.
    hashes_per_sec: Option<f64>,
    /// Times a routine was moved to another worker by a steal.
    stolen: u64,
    /// What each routine did, in order of `number`.
    shares: Vec<ShareWire>,
    /// MB that the run's own routines allocated and did not free; `null` without a counting allocator.
    heap_delta_mb: Option<f64>,
    #[serde(flatten)]
    #[schema(inline)]
    collector: CollectorFigures,
}

/// What one routine did.
#[derive(Debug, Serialize, ToSchema)]
struct ShareWire {
    /// The `<i>` of `-worker-<i>`.
    number: u32,
    /// The routine; `null` if it was never spawned.
    routine: Option<String>,
    /// Hashes it tried.
    attempts: u64,
    /// Its part of all hashes tried.
    share: Option<f64>,
    /// Times it gave way.
    yields: u64,
    /// Times it took up a new tip.
    rebases: u64,
    /// Blocks it appended.
    blocks: u64,
}

/// Figures of a garbage collector, which native memory does not have; always `null`, and named in `unmeasured`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CollectorFigures {
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<u64>)]
    gc_runs: (),
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<f64>)]
    gc_pause_ms: (),
    /// Always `null`: nothing is collected.
    #[schema(value_type = Option<f64>)]
    gc_cpu_fraction: (),
    /// The fields of this answer that are `null` because they cannot be measured.
    unmeasured: Vec<&'static str>,
}

impl CollectorFigures {
    /// The figures, and the names of the `others` that could not be measured either.
    pub(super) fn new(others: &[(&'static str, bool)]) -> CollectorFigures {
        CollectorFigures {
            gc_runs: (),
            gc_pause_ms: (),
            gc_cpu_fraction: (),
            unmeasured: unmeasured(&["gc_runs", "gc_pause_ms", "gc_cpu_fraction"], others),
        }
    }
}

/// The names that are `always` unmeasured, and those of `others` that are so this time.
pub(super) fn unmeasured(
    always: &[&'static str],
    others: &[(&'static str, bool)],
) -> Vec<&'static str> {
    let missing = others
        .iter()
        .filter(|(_, missing)| *missing)
        .map(|(name, _)| *name);
    always.iter().copied().chain(missing).collect()
}

/// Mine
///
/// Mode `chain`: as many blocks as routines; all search at once on the present tip, and who finds one appends it. Mode
/// `race`: one block, first finder wins.
#[utoipa::path(
    post,
    path = "/mine",
    tag = "chain",
    request_body = Asked,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: answer 202 with the run at once"),
    ),
    responses(
        (status = 200, description = "the blocks", body = Answer, headers(("Openwork-Run" = String, description = "names the run"))),
        (status = 202, description = "accepted, with `Prefer: respond-async`", body = crate::runs::RunRecord),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn mine(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let data = limits::MINE_DATA.text(asked.data)?;
    let routines = routine_count(&limits::MINE_ROUTINES, asked.goroutines, asked.routines)?;
    let bits = limits::MINE_DIFFICULTY.check(asked.difficulty)?;
    let mode = choice("mode", asked.mode.as_deref(), &MODES, Mode::Chain)?;
    let yield_every = limits::MINE_YIELD_EVERY.check(asked.yield_every)?;
    room(&state.chain, &data)?;
    let resolved = Resolved {
        data: &data,
        goroutines: routines,
        difficulty: bits,
        mode: mode_name(mode),
        yield_every,
    };
    let admitted = state.runs.admit(RunKind::Mine, &resolved, caller.source)?;
    let request = MineRequest {
        data,
        routines: routines as u32,
        difficulty: difficulty(bits)?,
        mode,
        yield_every,
    };
    Ok(
        answer(&state.runs, caller, StatusCode::OK, admitted, |admitted| {
            launch(&state, admitted, request, |mined| Some(whole(mined)))
        })
        .await,
    )
}

fn whole(mined: &Mined<'_>) -> Json {
    let outcome = mined.outcome;
    let share =
        |attempts: u64| (outcome.attempts > 0).then(|| attempts as f64 / outcome.attempts as f64);
    Json::new(&Answer {
        blocks: outcome
            .blocks
            .iter()
            .map(|block| BlockWire::from(&**block))
            .collect(),
        duration: go_duration(outcome.duration),
        goroutines: outcome.routines.into(),
        mode: mode_name(outcome.mode),
        difficulty: outcome.difficulty.get(),
        total_blocks: outcome.total_blocks,
        attempts: outcome.attempts,
        expected_attempts: mined.expected_attempts,
        attempts_on_old_tips: outcome.attempts_on_old_tips,
        rebases: outcome.rebases,
        yields: outcome.yields,
        hashes_per_sec: outcome.hashes_per_sec,
        stolen: mined.stolen,
        shares: outcome
            .shares
            .iter()
            .map(|of| ShareWire {
                number: of.number,
                routine: of.routine.map(|id| id.to_string()),
                attempts: of.attempts,
                share: share(of.attempts),
                yields: of.yields,
                rebases: of.rebases,
                blocks: of.blocks,
            })
            .collect(),
        heap_delta_mb: mined.own_bytes.map(mb),
        collector: CollectorFigures::new(&[
            ("heap_delta_mb", mined.own_bytes.is_none()),
            ("hashes_per_sec", outcome.hashes_per_sec.is_none()),
        ]),
    })
}

/// How a mining run ended, with what was counted beside it.
pub(super) struct Mined<'a> {
    /// What the miners say.
    pub(super) outcome: &'a MineOutcome,
    /// Hashes that such a run takes on average.
    pub(super) expected_attempts: u64,
    /// Times one of its routines was moved by a steal.
    pub(super) stolen: u64,
    /// Bytes its routines allocated and did not free.
    pub(super) own_bytes: Option<i64>,
    /// Allocations they did not free.
    pub(super) own_objects: Option<i64>,
}

/// Starts mining as a run. `render` makes the answer; `None` where there is nothing to show.
pub(super) fn launch(
    state: &AppState,
    admitted: Admitted,
    request: MineRequest,
    render: impl Fn(&Mined<'_>) -> Option<Json> + Send + 'static,
) -> Result<Ticket, ApiError> {
    let workload = admitted.workload().clone();
    let run = match blockchain::mine(
        &state.runtime,
        &state.chain,
        &state.meter,
        request,
        &workload,
    ) {
        Ok(run) => run,
        Err(error) => return Err(admitted.refuse(start_error(error))),
    };
    let (watch, expected_attempts) = (run.watch(), run.progress().expected_attempts);
    let meter = Box::new(move || {
        let progress = watch.progress();
        Progress {
            attempts: Some(progress.attempts),
            expected_attempts: Some(progress.expected_attempts as f64),
            ..Progress::of(progress.blocks, progress.blocks_total, "blocks")
        }
    });
    Ok(admitted.launch(meter, async move {
        let end = run.await;
        let counters = workload.counters();
        let counting = openwork::memory::is_counting();
        let own = move |allocated: u64, freed: u64| {
            counting.then_some(allocated.wrapping_sub(freed).cast_signed())
        };
        // Ten thousand blocks are several megabytes of JSON.
        let rendered = crate::bridge::off_thread(move || {
            let (outcome, error): (&MineOutcome, _) = match &end {
                Ok(outcome) => (outcome, None),
                Err(failure) => (&failure.so_far, Some(mine_error(&failure.error))),
            };
            let rendered = render(&Mined {
                outcome,
                expected_attempts,
                stolen: counters.stolen,
                own_bytes: own(counters.allocated_bytes, counters.freed_bytes),
                own_objects: own(counters.allocated_objects, counters.freed_objects),
            });
            (rendered, error)
        });
        match rendered.await? {
            (Some(result), None) => Ok(result),
            (None, None) => Err(ApiError::internal("mining succeeded without a block").into()),
            (so_far, Some(error)) => Err(Failure { error, so_far }),
        }
    }))
}

/// Whether the chain takes a block with this data, asked before a run is begun for nothing.
pub(super) fn room(chain: &Chain, data: &str) -> Result<(), ApiError> {
    chain.room(data.len()).map_err(|error| append_error(&error))
}

/// The difficulty of a number of bits that the limits let pass.
pub(super) fn difficulty(bits: u64) -> Result<Difficulty, ApiError> {
    Difficulty::new(bits)
        .ok_or_else(|| ApiError::internal(format_args!("a limit let {bits} bits pass")))
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Chain => "chain",
        Mode::Race => "race",
    }
}

fn start_error(error: MineStartError) -> ApiError {
    match error {
        MineStartError::Append(error) => append_error(&error),
        other => ApiError::internal(other),
    }
}

fn mine_error(error: &MineError) -> ApiError {
    match error {
        MineError::Cancelled => ApiError::new(Code::Cancelled, "its routines were cancelled"),
        MineError::Append(error) => append_error(error),
        other => ApiError::internal(other),
    }
}

fn append_error(error: &AppendError) -> ApiError {
    match error {
        AppendError::Full { limit_bytes } => {
            let detail =
                format!("the chain holds {limit_bytes} bytes, which is as many as allowed");
            ApiError::storage(detail).limit(*limit_bytes)
        }
        AppendError::Storage(error) => {
            ApiError::storage(format!("the chain could not be written: {error}"))
        }
        other => ApiError::internal(other),
    }
}
