//! `GET /api/v1/stacks`: how deep stacks were by spawn site, what size would do, and where the memory is.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use openwork::snapshot::{SiteResidency, StackClassFigures, StackDetailPart, StackSite};
use openwork::{RoutineId, profile::NoStack};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Id, Query};
use crate::bridge::off_thread;
use crate::error::{ApiError, Code, Problem};
use crate::limits;
use crate::state::AppState;
use crate::wire::{self, Stacks};

/// Routines whose memory is counted for the figures by site: a system call each.
const RESIDENCY_ROUTINES: usize = 256;

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(stacks))
        .routes(routes!(of_routine))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Spawn sites listed.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
}

/// Stacks by size and by spawn site.
#[derive(Debug, Serialize, ToSchema)]
struct StacksAnswer {
    /// Names the process.
    boot: String,
    /// Number of the sample that `stacks` and `classes` are of.
    n: u64,
    /// When it was taken, in nanoseconds since process start.
    at_ns: u64,
    /// All stacks, as in the sample.
    stacks: Stacks,
    /// By size, smallest first. Empty where stacks are the system's.
    classes: Vec<Class>,
    /// By spawn site, deepest first, of the moment of this answer.
    sites: Vec<Site>,
    /// Spawn sites that there are.
    sites_total: u64,
    /// Times that a depth was left out, because a worker knew as many sites as it can keep.
    sites_lost: u64,
}

/// Stacks of one size.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StackClass)]
struct Class {
    /// Size of a slot with its guard, in bytes.
    slot_bytes: u64,
    /// Slots that routines use.
    in_use: u64,
    /// Slots kept warm by workers.
    pooled: u64,
    /// Slots that were used before and wait without memory.
    free: u64,
    /// Address space reserved, in bytes. Not memory.
    reserved_bytes: u64,
}

/// Stacks of the routines from one spawn site.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StackSite)]
struct Site {
    /// Where they were spawned, `path:line`.
    site: String,
    /// The largest slot that one of them had, in bytes.
    slot_bytes: u64,
    /// Routines measured: those that suspended at least once.
    measured: u64,
    /// Times that one was seen to have grown past another power of two.
    growths: u64,
    /// The deepest seen at a suspension, in bytes.
    high_water_bytes: u64,
    /// The slot that holds twice that and a panic with a backtrace. Advice, no promise: a depth between two suspensions
    /// was not seen.
    advised_bytes: u64,
    /// `fits`, `smaller` (a smaller slot would do) or `larger` (a larger one is advised).
    advice: &'static str,
    /// Routines from here that have a stack now; `null` if none is parked.
    routines: Option<u64>,
    /// Bytes of memory that one of their stacks holds on average; `null` if none could be counted.
    resident_bytes_each: Option<u64>,
}

/// Stacks by spawn site
///
/// How deep the routines of each spawn site were, and the stack size to be advised for them. Takes a walk over all
/// routines: ask now and then, not ten times a second.
#[utoipa::path(get, path = "/api/v1/stacks", tag = "watch", params(Asked), responses(
    (status = 200, description = "stacks by size and by spawn site", body = StacksAnswer),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn stacks(
    State(state): State<AppState>,
    Query(asked): Query<Asked>,
) -> Result<Json<StacksAnswer>, ApiError> {
    let limit = limits::STACKS_LIMIT.query(asked.limit.as_deref())?;
    let limit = limit.unwrap_or(limits::STACKS_LIMIT.max) as usize;
    let runtime = state.runtime.clone();
    let looked = off_thread(move || {
        let residency = runtime.sample_site_residency(RESIDENCY_ROUTINES);
        (runtime.stack_sites(), residency.unwrap_or_default())
    });
    let ((mut sites, sites_lost), residency) = looked.await?;
    sites.sort_by_key(|site| std::cmp::Reverse(site.high_water_bytes));
    let held: HashMap<_, _> = residency.iter().map(|held| (held.site, held)).collect();
    let sample = state.observatory.latest();
    Ok(Json(StacksAnswer {
        boot: sample.boot.to_string(),
        n: sample.n,
        at_ns: sample.at_ns,
        stacks: Stacks::of(&sample),
        classes: sample
            .snapshot
            .stack_classes
            .iter()
            .map(Class::from)
            .collect(),
        sites_total: sites.len() as u64,
        sites: sites
            .iter()
            .take(limit)
            .map(|site| Site::new(site, held.get(site.site).copied()))
            .collect(),
        sites_lost,
    }))
}

impl From<&StackClassFigures> for Class {
    fn from(class: &StackClassFigures) -> Class {
        Class {
            slot_bytes: class.slot_bytes,
            in_use: class.in_use,
            pooled: class.pooled,
            free: class.free,
            reserved_bytes: class.reserved_bytes,
        }
    }
}

impl Site {
    fn new(site: &StackSite, held: Option<&SiteResidency>) -> Site {
        let advised_bytes = site.advised_bytes();
        Site {
            site: wire::site(site.site),
            slot_bytes: site.slot_bytes,
            measured: site.measured,
            growths: site.growths,
            high_water_bytes: site.high_water_bytes,
            advised_bytes,
            advice: match advised_bytes.cmp(&site.slot_bytes) {
                std::cmp::Ordering::Less => "smaller",
                std::cmp::Ordering::Equal => "fits",
                std::cmp::Ordering::Greater => "larger",
            },
            routines: held.map(|held| held.routines),
            resident_bytes_each: held
                .and_then(|held| held.resident_bytes.checked_div(held.sampled)),
        }
    }
}

/// The stacks of one blocked routine.
#[derive(Debug, Serialize, ToSchema)]
struct RoutineStacks {
    /// Whose.
    routine: String,
    /// Its own stack and, in the order in which they were entered, its segments: the last is the one that it blocked on.
    parts: Vec<Part>,
}

/// One of a routine's stacks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoutineStackPart)]
struct Part {
    /// Size of the slot with its guard, in bytes.
    slot_bytes: u64,
    /// Bytes in use.
    depth_bytes: u64,
    /// Bytes that are left before the guard.
    guard_distance_bytes: u64,
    /// Bytes of memory behind it; `null` where the system does not tell.
    resident_bytes: Option<u64>,
}

impl From<&StackDetailPart> for Part {
    fn from(part: &StackDetailPart) -> Part {
        Part {
            slot_bytes: part.slot_bytes,
            depth_bytes: part.depth_bytes,
            guard_distance_bytes: part.guard_distance_bytes,
            resident_bytes: part.resident_bytes,
        }
    }
}

/// The stacks of a routine
///
/// What a blocked routine uses of its stack and of each segment that it is in, what is left, and what memory they hold.
#[utoipa::path(get, path = "/api/v1/routines/{id}/stack", tag = "watch",
    params(("id" = String, Path, description = "names a live routine")), responses(
    (status = 200, description = "its own stack, then its segments", body = RoutineStacks),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn of_routine(
    State(state): State<AppState>,
    Id(id): Id,
) -> Result<Json<RoutineStacks>, ApiError> {
    let runtime = state.runtime.clone();
    let routine = id.parse().map(RoutineId::new);
    let routine = routine.map_err(|_| ApiError::no_such("live routine", &id))?;
    let detail = off_thread(move || runtime.stack(routine)).await?;
    let detail = detail.map_err(|why| match why {
        NoStack::Ended => ApiError::no_such("live routine", &id),
        NoStack::Elsewhere => ApiError::new(Code::NotSupported, format!("routine {id}: {why}")),
        other => ApiError::new(Code::Conflict, format!("routine {id}: {other}")),
    })?;
    Ok(Json(RoutineStacks {
        routine: detail.routine.to_string(),
        parts: detail.parts.iter().map(Part::from).collect(),
    }))
}
