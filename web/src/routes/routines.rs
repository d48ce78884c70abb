//! `/api/v1/routines`: every live routine, found, sorted and paged.

use std::collections::{BTreeMap, HashMap};
use std::panic::Location;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use openwork::RoutineId;
use openwork::snapshot::{InKernel, RoutineState, RoutineView, SystemCall, WaitReason};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Id, Query};
use crate::bridge;
use crate::error::{ApiError, Code, Problem};
use crate::limits;
use crate::state::AppState;
use crate::wire;

/// Routines rendered in one go.
const BATCH: usize = 500;
/// States that a live routine can be in, by name.
const STATES: [&str; 4] = ["new", "runnable", "running", "blocked"];

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only routines in this state: `new`, `runnable`, `running` or `blocked`, or a reason to be blocked, `sleep` say.
    state: Option<String>,
    /// Only routines whose spawn site (`path:line`) contains this.
    site: Option<String>,
    /// Only routines of the workload with this id or name.
    workload: Option<String>,
    /// Only routines whose name contains this.
    name: Option<String>,
    /// Only routines that have been in their state for at least this long.
    #[param(value_type = Option<u64>)]
    min_wait_ms: Option<String>,
    /// `age` (oldest first, the default), `wait` (longest in its state first), `turns`, `moves` or `stack` (most first);
    /// with `-` before it the other way round.
    sort: Option<String>,
    /// Routines listed.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
    /// `next` of the page before. Routines live on between pages, so one may be seen twice or not at all.
    cursor: Option<String>,
}

/// A page of routines.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what `list` streams")]
struct Page {
    /// In the order asked for.
    routines: Vec<Routine>,
    /// Live routines that match, on all pages.
    total: u64,
    /// Value of `cursor` for the next page; `null` at the end.
    next: Option<String>,
}

/// A live routine.
#[derive(Debug, Serialize, ToSchema)]
struct Routine {
    /// Names it within this process.
    id: String,
    /// The name that it was spawned with.
    name: Option<String>,
    /// Where it was spawned, `path:line`.
    site: String,
    /// `new`, `runnable`, `running` or `blocked`.
    state: &'static str,
    /// What it is blocked by.
    wait_reason: Option<&'static str>,
    /// The routine that keeps its thread; set where `wait_reason` is `thread_busy`.
    busy_with: Option<String>,
    /// Its thread sleeps in the kernel, in this routine's turn.
    in_kernel: Option<Asleep>,
    /// Since when its thread is stopped to give way to others, in nanoseconds since process start.
    frozen_since_ns: Option<u64>,
    /// Since when it has been in its state, in nanoseconds since process start.
    state_since_ns: u64,
    /// How long it has been in its state.
    wait_ms: f64,
    /// When it was spawned, in nanoseconds since process start.
    spawned_at_ns: u64,
    /// The routine that spawned it.
    parent: Option<String>,
    /// The worker that it ran on last.
    worker: Option<u32>,
    /// The workers that it ran on, in order of their number. All from 63 on are `63`.
    workers: Vec<u32>,
    /// Id of the workload it belongs to.
    workload: Option<String>,
    /// Name of that workload, while its run is under way.
    workload_name: Option<String>,
    /// Turns run.
    turns: u64,
    /// Times it ran on another worker than before.
    moves: u64,
    /// `stackful` or `turns`.
    kind: &'static str,
    /// What it mostly does: `cpu` computes, `io` waits; `null` while too little is known.
    class: Option<&'static str>,
    /// `high`, `normal` or `low`: who goes first where several could run.
    priority: &'static str,
    /// The home it is bound to.
    home: Option<u32>,
    /// Its stack, if it has one.
    stack: Option<Stack>,
}

/// A sleep in the kernel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InKernel)]
struct Asleep {
    /// Since when, in nanoseconds since process start, as far as looks a few milliseconds apart can tell.
    since_ns: u64,
    /// Name of the system call; `null` if the system does not say, or the sleep is over by now.
    call: Option<String>,
}

impl From<&InKernel> for Asleep {
    fn from(asleep: &InKernel) -> Asleep {
        let name = |call: &SystemCall| {
            let known = call.name().map(str::to_owned);
            known.unwrap_or_else(|| format!("system call {}", call.number))
        };
        Asleep {
            since_ns: asleep.since_ns,
            call: asleep.call.as_ref().map(name),
        }
    }
}

/// A stack, as seen when its routine was last suspended.
#[derive(Debug, Serialize, ToSchema)]
struct Stack {
    /// Its size with its guard, in bytes.
    size_bytes: u64,
    /// Bytes in use; `null` before the first suspension.
    depth_bytes: Option<u64>,
    /// Most bytes ever in use; `null` before the first suspension.
    high_water_bytes: Option<u64>,
    /// Segments for deep calls that it is in, one in the other; the depths leave them out.
    segments: u32,
}

/// Routines
///
/// Every live routine of the runtime, whoever spawned it. Ended ones are counted, not kept.
#[utoipa::path(
    get,
    path = "/api/v1/routines",
    tag = "watch",
    params(Asked),
    responses(
        (status = 200, description = "a page of them", body = Page),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list(
    State(state): State<AppState>,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let limit = limits::ROUTINES_LIMIT.query(asked.limit.as_deref())?;
    let limit = limit.unwrap_or(limits::ROUTINES_LIMIT.max) as usize;
    let names = state.runs.workload_names();
    let mut filter = Filter::new(&asked, &names)?;
    let sort = Sort::parse(asked.sort.as_deref())?;
    let after = asked
        .cursor
        .as_deref()
        .filter(|c| !c.is_empty())
        .map(cursor)
        .transpose()?;
    let runtime = state.runtime.clone();
    // A walk over a million routines takes a while: not on this thread, and not on a worker either.
    let selection = bridge::off_thread(move || {
        let mut selection = Selection::new(limit, after);
        let now_ns = openwork::time::now_ns();
        runtime.routines(&mut |view| {
            if filter.wants(view, now_ns) {
                selection.offer(sort.key(view), view);
            }
        });
        (selection, now_ns)
    });
    let (selection, now_ns) = selection.await?;
    let next = match selection.next() {
        Some((key, id)) => format!("\"{key}-{id}\""),
        None => "null".to_owned(),
    };
    let tail = format!(",\"total\":{},\"next\":{next}}}", selection.matched);
    let mut views = selection.best.into_values();
    let batches = std::iter::from_fn(move || {
        let batch: Vec<_> = views.by_ref().take(BATCH).collect();
        let render =
            |view: &RoutineView| serde_json::to_string(&Routine::new(view, now_ns, &names));
        (!batch.is_empty()).then(|| batch.iter().map(render).collect::<Result<Vec<_>, _>>())
    });
    let pieces = bridge::json_list("{\"routines\":".to_owned(), batches, tail);
    Ok((crate::runs::answer::JSON, bridge::pieces(pieces)).into_response())
}

/// One routine
#[utoipa::path(
    get,
    path = "/api/v1/routines/{id}",
    tag = "watch",
    params(("id" = String, Path, description = "names a live routine")),
    responses(
        (status = 200, description = "the routine as it is now", body = Routine),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get(State(state): State<AppState>, Id(id): Id) -> Result<Json<Routine>, ApiError> {
    let view = id
        .parse()
        .ok()
        .and_then(|id| state.runtime.routine(RoutineId::new(id)));
    let view = view.ok_or_else(|| ApiError::no_such("live routine", &id))?;
    Ok(Json(Routine::new(
        &view,
        openwork::time::now_ns(),
        &state.runs.workload_names(),
    )))
}

impl Routine {
    fn new(view: &RoutineView, now_ns: u64, names: &BTreeMap<u64, String>) -> Routine {
        let workload = view.workload.map(|id| id.get());
        Routine {
            id: view.id.to_string(),
            name: view.name.clone(),
            site: wire::site(view.site),
            state: view.state.name(),
            wait_reason: wait_reason(view),
            busy_with: view.busy_with.map(|id| id.to_string()),
            in_kernel: view.in_kernel.as_ref().map(Asleep::from),
            frozen_since_ns: view.frozen_since_ns,
            state_since_ns: view.state_since_ns,
            wait_ms: now_ns.saturating_sub(view.state_since_ns) as f64 / 1e6,
            spawned_at_ns: view.spawned_at_ns,
            parent: view.parent.map(|id| id.to_string()),
            worker: view.worker.map(|id| id.get()),
            workers: (0..64)
                .filter(|bit| view.workers_mask >> bit & 1 == 1)
                .collect(),
            workload: workload.map(|id| id.to_string()),
            workload_name: workload.and_then(|id| names.get(&id).cloned()),
            turns: view.turns,
            moves: view.moves,
            kind: view.kind.name(),
            class: view.class.map(|class| class.name()),
            priority: view.priority.name(),
            home: view.home,
            stack: view.stack.as_ref().map(|stack| Stack {
                size_bytes: stack.size_bytes,
                depth_bytes: stack.depth_bytes,
                high_water_bytes: stack.high_water_bytes,
                segments: stack.segments,
            }),
        }
    }
}

fn wait_reason(view: &RoutineView) -> Option<&'static str> {
    view.wait_reason().map(WaitReason::name)
}

/// Which routines are wanted.
#[derive(Debug, Default)]
struct Filter {
    state: Option<String>,
    site: Option<Sites>,
    workloads: Option<Vec<u64>>,
    name: Option<String>,
    min_wait_ns: u64,
}

impl Filter {
    fn new(asked: &Asked, names: &BTreeMap<u64, String>) -> Result<Filter, ApiError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let state = given(&asked.state);
        if let Some(state) = &state {
            let reasons = WaitReason::ALL.map(|reason| reason.name());
            let known: Vec<_> = STATES.into_iter().chain(reasons).collect();
            if !known.contains(&state.as_str()) {
                return Err(ApiError::unknown_value("state", state, &known));
            }
        }
        let workloads = given(&asked.workload).map(|wanted| {
            let named = names
                .iter()
                .filter(|(_, name)| **name == wanted)
                .map(|(id, _)| *id);
            named.chain(wanted.parse()).collect()
        });
        let min_wait_ms = limits::ROUTINES_MIN_WAIT_MS.query(asked.min_wait_ms.as_deref())?;
        Ok(Filter {
            state,
            site: given(&asked.site).map(Sites::containing),
            workloads,
            name: given(&asked.name),
            min_wait_ns: min_wait_ms.unwrap_or(0) * 1_000_000,
        })
    }

    fn wants(&mut self, view: &RoutineView, now_ns: u64) -> bool {
        let is =
            |wanted: &Option<String>, has: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(has);
        !matches!(view.state, RoutineState::Ended)
            && is(&self.state, &|s| {
                s == view.state.name() || wait_reason(view) == Some(s)
            })
            && is(&self.name, &|s| {
                view.name.as_deref().is_some_and(|name| name.contains(s))
            })
            && self
                .workloads
                .as_ref()
                .is_none_or(|wanted| view.workload.is_some_and(|id| wanted.contains(&id.get())))
            && now_ns.saturating_sub(view.state_since_ns) >= self.min_wait_ns
            && self.site.as_mut().is_none_or(|sites| sites.have(view.site))
    }
}

/// The spawn sites that contain a text. A million routines come from a handful of sites, so each is looked at once.
#[derive(Debug)]
struct Sites {
    text: String,
    /// By the address of the site's location.
    known: HashMap<usize, bool>,
}

impl Sites {
    fn containing(text: String) -> Sites {
        Sites {
            text,
            known: HashMap::new(),
        }
    }

    fn have(&mut self, location: &'static Location<'static>) -> bool {
        let known = self.known.entry(std::ptr::from_ref(location).addr());
        *known.or_insert_with(|| wire::site(location).contains(&self.text))
    }
}

/// The order of a list.
#[derive(Debug, Clone, Copy)]
struct Sort {
    by: By,
    reversed: bool,
}

#[derive(Debug, Clone, Copy)]
enum By {
    Age,
    Wait,
    Turns,
    Moves,
    Stack,
}

impl Sort {
    const KEYS: [(&str, By); 5] = [
        ("age", By::Age),
        ("wait", By::Wait),
        ("turns", By::Turns),
        ("moves", By::Moves),
        ("stack", By::Stack),
    ];

    fn parse(text: Option<&str>) -> Result<Sort, ApiError> {
        let text = text.filter(|text| !text.is_empty()).unwrap_or("age");
        let (reversed, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text),
        };
        match Sort::KEYS.iter().find(|(key, _)| *key == name) {
            Some((_, by)) => Ok(Sort { by: *by, reversed }),
            None => Err(ApiError::unknown_value(
                "sort",
                name,
                &Sort::KEYS.map(|(key, _)| key),
            )),
        }
    }

    /// Routines are listed by this, lowest first.
    fn key(self, view: &RoutineView) -> u64 {
        let depth = || {
            view.stack
                .as_ref()
                .and_then(|stack| stack.high_water_bytes)
                .unwrap_or(0)
        };
        let key = match self.by {
            By::Age => view.spawned_at_ns,
            By::Wait => view.state_since_ns,
            By::Turns => u64::MAX - view.turns,
            By::Moves => u64::MAX - view.moves,
            By::Stack => u64::MAX - depth(),
        };
        match self.reversed {
            true => u64::MAX - key,
            false => key,
        }
    }
}

/// The first routines of an order after a place in it; holds no more than a page, whatever it is offered.
#[derive(Debug)]
struct Selection {
    limit: usize,
    after: Option<(u64, u64)>,
    matched: u64,
    /// Routines after the page that were seen.
    beyond: bool,
    best: BTreeMap<(u64, u64), RoutineView>,
}

impl Selection {
    fn new(limit: usize, after: Option<(u64, u64)>) -> Selection {
        Selection {
            limit,
            after,
            matched: 0,
            beyond: false,
            best: BTreeMap::new(),
        }
    }

    fn offer(&mut self, key: u64, view: &RoutineView) {
        self.matched += 1;
        let place = (key, view.id.get());
        if self.after.is_some_and(|after| place <= after) {
            return;
        }
        if self.best.len() == self.limit {
            self.beyond = true;
            match self.best.last_key_value() {
                Some((last, _)) if *last > place => self.best.pop_last(),
                _ => return,
            };
        }
        self.best.insert(place, view.clone());
    }

    /// Where the next page begins, if there is one.
    fn next(&self) -> Option<(u64, u64)> {
        let last = self.best.last_key_value().map(|(place, _)| *place);
        last.filter(|_| self.beyond)
    }
}

fn cursor(text: &str) -> Result<(u64, u64), ApiError> {
    let place = text
        .split_once('-')
        .and_then(|(key, id)| Some((key.parse().ok()?, id.parse().ok()?)));
    place.ok_or_else(|| {
        let detail = format!("cursor is {text:?}, but must be `next` of the page before");
        ApiError::new(Code::Malformed, detail).field("cursor")
    })
}
