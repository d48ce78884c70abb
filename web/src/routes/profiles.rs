//! Profiles that are kept: take, list, draw, download. And `POST /gc/profile`, the route of old, on top of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::{Body, Id, Int, choice};
use crate::bridge::off_thread;
use crate::error::{ApiError, Problem};
use crate::limits;
use crate::profiles::{Claim, Kind, Part, Record};
use crate::runs::answer::{self, Caller};
use crate::runs::{Json as RunJson, Meter, Progress, RunKind};
use crate::state::AppState;
use crate::wire;

/// The routes of this resource.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, take))
        .routes(routes!(get))
        .routes(routes!(pprof))
        .routes(routes!(icicle))
        .routes(routes!(dhat))
        .routes(routes!(gc_profile))
}

/// A kept profile.
#[derive(Debug, Serialize, ToSchema)]
struct Profile {
    /// Names the profile; made by the service.
    id: String,
    /// What it shows.
    kind: Kind,
    /// When it was finished, RFC 3339.
    taken_at: String,
    /// How long taking it took, in milliseconds.
    duration_ms: f64,
    /// Size of the download.
    file_size_bytes: u64,
    /// Samples, stacks or routines in it; `null` where the format does not say.
    samples: Option<u64>,
    /// CPU only: samples asked for, per second of CPU time of each worker.
    asked_hz: Option<u32>,
    /// CPU only: samples got, per second of CPU time; `null` if the workers used too little of it to tell.
    achieved_hz: Option<f64>,
    /// CPU only: samples left out because they fell into a stack switch.
    skipped_in_switch: Option<u64>,
    /// CPU only: samples lost for want of room.
    lost: Option<u64>,
    /// Path of the download.
    download: String,
    /// Path of the tree that the page draws; `null` for dhat, which has a viewer of its own.
    icicle: Option<String>,
    /// A command line that shows it. It picks a free port for its viewer.
    view_command: String,
}

impl Profile {
    fn new(record: Record, state: &AppState) -> Self {
        let base = format!("/api/v1/profiles/{}", record.id);
        let dhat = record.kind == Kind::Dhat;
        let file = if dhat { "dhat.json" } else { "profile.pb.gz" };
        let download = format!("{base}/{file}");
        let url = format!("{}{}", state.url().trim_end_matches('/'), download);
        Profile {
            view_command: view_command(&record.id, &url, dhat, state.token.is_some(), state.listen),
            taken_at: wire::rfc3339(UNIX_EPOCH + Duration::from_millis(record.taken_at_ms)),
            duration_ms: wire::ms(Duration::from_nanos(record.duration_ns)),
            icicle: (!dhat).then(|| format!("{base}/icicle")),
            id: record.id,
            kind: record.kind,
            file_size_bytes: record.file_size_bytes,
            samples: record.samples,
            asked_hz: record.asked_hz,
            achieved_hz: record.achieved_hz,
            skipped_in_switch: record.skipped_in_switch,
            lost: record.lost,
            download,
        }
    }
}

/// What to type to look at a profile. The token stays out of it: curl asks for it.
fn view_command(id: &str, url: &str, dhat: bool, token: bool, listen: SocketAddr) -> String {
    // Port 0: pprof's viewer takes a free one, where a number could be the service's own.
    let viewer = match listen {
        SocketAddr::V4(_) => "go tool pprof -http=127.0.0.1:0",
        SocketAddr::V6(_) => "go tool pprof -http=[::1]:0",
    };
    let user = if token { "--user openwork " } else { "" };
    match (dhat, token) {
        (true, _) => format!(
            "curl {user}--output {id}.json {url}   # then load it into dh_view.html of valgrind"
        ),
        (false, true) => format!("curl {user}--output {id}.pb.gz {url} && {viewer} {id}.pb.gz"),
        (false, false) => format!("{viewer} {url}"),
    }
}

/// What is asked of `POST /api/v1/profiles`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
struct TakeProfile {
    /// `cpu` (default), `heap`, `allocs`, `routine` (also `goroutine`) or `dhat`.
    kind: Option<String>,
    /// How long, for `cpu` and `dhat`.
    #[schema(value_type = Option<u64>)]
    seconds: Option<Int>,
}

const KINDS: [(&str, Kind); 6] = [
    ("cpu", Kind::Cpu),
    ("heap", Kind::Heap),
    ("allocs", Kind::Allocs),
    ("routine", Kind::Routine),
    ("goroutine", Kind::Routine),
    ("dhat", Kind::Dhat),
];

/// What a run of a timed profile was asked.
#[derive(Debug, Serialize)]
pub(super) struct Asked {
    /// What is shown.
    pub(super) kind: Kind,
    /// For how long.
    pub(super) seconds: u64,
}

/// Take a profile
///
/// `cpu` and `dhat` last as long as asked and are runs: with `Prefer: respond-async` the answer comes at once, and the
/// run can be cancelled. The others are taken at once.
#[utoipa::path(post, path = "/api/v1/profiles", tag = "profiles", request_body = TakeProfile, responses(
    (status = 201, description = "the profile", body = Profile),
    (status = 202, description = "a run that takes it", body = crate::runs::RunRecord),
    (status = 409, description = "one is being taken", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn take(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<TakeProfile>,
) -> Result<Response, ApiError> {
    let kind = choice("kind", asked.kind.as_deref(), &KINDS, Kind::Cpu)?;
    let seconds = limits::PROFILE_SECONDS.check(asked.seconds)?;
    let claim = state.profiles.claim(kind)?;
    let Some(claim) = claim else {
        let profile = Profile::new(take_now(&state, kind).await?, &state);
        return Ok((StatusCode::CREATED, Json(profile)).into_response());
    };
    let answer = |record, state: &AppState| RunJson::new(&Profile::new(record, state));
    timed(
        &state,
        caller,
        StatusCode::CREATED,
        claim,
        Asked { kind, seconds },
        answer,
    )
    .await
}

/// Takes and keeps a profile of a kind that needs no time.
async fn take_now(state: &AppState, kind: Kind) -> Result<Record, ApiError> {
    let taken = match kind {
        Kind::Routine => state.profiles.routine(&state.observatory, None).await?,
        kind => state.profiles.heap(kind, &state.observatory, None).await?,
    };
    state.profiles.keep(taken, &state.observatory).await
}

/// Takes and keeps a timed profile as a run.
async fn timed(
    state: &AppState,
    caller: Caller,
    status: StatusCode,
    claim: Claim,
    asked: Asked,
    answer: impl FnOnce(Record, &AppState) -> RunJson + Send + 'static,
) -> Result<Response, ApiError> {
    let admitted = state.runs.admit(RunKind::Profile, &asked, caller.source)?;
    let in_run = state.clone();
    let response = answer::answer(&state.runs, caller, status, admitted, move |admitted| {
        let meter = seconds_of(asked.seconds);
        Ok(admitted.launch_future(meter, async move {
            let time = Duration::from_secs(asked.seconds);
            let record = match asked.kind {
                Kind::Dhat => in_run.profiles.dhat(claim, time).await?,
                _ => {
                    let taken = in_run
                        .profiles
                        .cpu(claim, &in_run.observatory, time)
                        .await?;
                    in_run.profiles.keep(taken, &in_run.observatory).await?
                }
            };
            Ok(answer(record, &in_run))
        }))
    });
    Ok(response.await)
}

/// Seconds gone of `seconds`, from now on.
pub(super) fn seconds_of(seconds: u64) -> Meter {
    let began = Instant::now();
    Box::new(move || Progress::of(began.elapsed().as_secs().min(seconds), seconds, "seconds"))
}

/// The profiles kept.
#[derive(Debug, Serialize, ToSchema)]
struct ProfileList {
    /// The newest first.
    profiles: Vec<Profile>,
}

/// List profiles
///
/// The newest 50, or fewer if they are large: older ones are forgotten.
#[utoipa::path(get, path = "/api/v1/profiles", tag = "profiles", responses(
    (status = 200, description = "the newest first", body = ProfileList),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn list(State(state): State<AppState>) -> Json<ProfileList> {
    let profiles = state
        .profiles
        .store()
        .list()
        .into_iter()
        .map(|r| Profile::new(r, &state))
        .collect();
    Json(ProfileList { profiles })
}

/// A profile's record
#[utoipa::path(get, path = "/api/v1/profiles/{id}", tag = "profiles",
    params(("id" = String, Path, description = "id of a profile")), responses(
    (status = 200, description = "the record", body = Profile),
    (status = 404, description = "no such profile", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn get(State(state): State<AppState>, Id(id): Id) -> Result<Json<Profile>, ApiError> {
    let record = state
        .profiles
        .store()
        .get(&id)
        .ok_or_else(|| ApiError::no_such("profile", &id))?;
    Ok(Json(Profile::new(record, &state)))
}

/// Download a profile
///
/// A gzipped `profile.proto`, as `go tool pprof` and others read it.
#[utoipa::path(get, path = "/api/v1/profiles/{id}/profile.pb.gz", tag = "profiles",
    params(("id" = String, Path, description = "id of a profile")), responses(
    (status = 200, description = "the file", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 404, description = "no such profile, or one of dhat", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn pprof(State(state): State<AppState>, Id(id): Id) -> Result<Response, ApiError> {
    part(&state, id, Part::Pprof, "application/octet-stream", "pb.gz").await
}

/// A profile as a tree
///
/// `{unit, root: {name, package, own, total, children}, remarks}`: functions from the root to the leaves, `total` being
/// `own` plus the totals of the children.
#[utoipa::path(get, path = "/api/v1/profiles/{id}/icicle", tag = "profiles",
    params(("id" = String, Path, description = "id of a profile")), responses(
    (status = 200, description = "the tree", body = Object),
    (status = 404, description = "no such profile, or one of dhat", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn icicle(State(state): State<AppState>, Id(id): Id) -> Result<Response, ApiError> {
    let mut response = part(&state, id, Part::Icicle, "application/json", "json").await?;
    response.headers_mut().remove(header::CONTENT_DISPOSITION);
    Ok(response)
}

/// Download a dhat session
///
/// JSON as dhat writes it, for its viewer `dh_view.html`.
#[utoipa::path(get, path = "/api/v1/profiles/{id}/dhat.json", tag = "profiles",
    params(("id" = String, Path, description = "id of a profile")), responses(
    (status = 200, description = "the file", body = Object),
    (status = 404, description = "no such profile, or not one of dhat", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn dhat(State(state): State<AppState>, Id(id): Id) -> Result<Response, ApiError> {
    part(&state, id, Part::Dhat, "application/json", "dhat.json").await
}

async fn part(
    state: &AppState,
    id: String,
    part: Part,
    content_type: &'static str,
    extension: &str,
) -> Result<Response, ApiError> {
    // An id that is listed consists of letters, digits and dashes, so it can stand in a header.
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{id}.{extension}\""));
    let store = state.profiles.store().clone();
    let wanted = id.clone();
    let bytes = off_thread(move || store.read(&wanted, part))
        .await?
        .map_err(ApiError::internal)?;
    let bytes = bytes.ok_or_else(|| ApiError::no_such("profile of this kind", &id))?;
    let mut response = bytes.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(disposition) = disposition {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// What is asked of `POST /gc/profile`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
struct GcProfile {
    /// `heap` (default), `cpu`, `goroutine` (also `routine`), `allocs` or `dhat`.
    profile_type: Option<String>,
    /// How long, for `cpu` and `dhat`.
    #[schema(value_type = Option<u64>)]
    duration_seconds: Option<Int>,
}

/// The answer of old, with where to fetch the profile beside it.
#[derive(Debug, Serialize, ToSchema)]
struct GcProfileTaken {
    /// The file on the service's disk.
    profile_path: String,
    /// A command line that shows it.
    view_command: String,
    /// Size of the file in KiB, rounded up.
    file_size_kb: u64,
    /// How long taking it took.
    duration_ms: f64,
    /// Always `null`: there is no collector.
    gc_runs: Option<u64>,
    /// Bytes allocated and not freed, in MB of 2^20; `null` without the counting allocator.
    heap_alloc_mb: Option<f64>,
    /// Names of the fields that are `null` because nothing measures them.
    unmeasured: Vec<&'static str>,
    /// The profile, as `/api/v1/profiles` lists it.
    profile: Profile,
}

impl GcProfileTaken {
    fn new(record: Record, state: &AppState) -> Self {
        let part = if record.kind == Kind::Dhat {
            Part::Dhat
        } else {
            Part::Pprof
        };
        let path = state.profiles.store().path(&record.id, part);
        let live = openwork::memory::is_counting().then(openwork::memory::live_bytes);
        let profile = Profile::new(record, state);
        let mut unmeasured = vec!["gc_runs"];
        if live.is_none() {
            unmeasured.push("heap_alloc_mb");
        }
        GcProfileTaken {
            profile_path: path.display().to_string(),
            view_command: profile.view_command.clone(),
            file_size_kb: profile.file_size_bytes.div_ceil(1024),
            duration_ms: profile.duration_ms,
            gc_runs: None,
            heap_alloc_mb: live.map(|bytes| wire::mb(bytes as i64)),
            unmeasured,
            profile,
        }
    }
}

/// Take a profile (route of old)
///
/// As `POST /api/v1/profiles`, with the fields and the defaults of old. A failure has its own status, never 200.
#[utoipa::path(post, path = "/gc/profile", tag = "profiles", request_body = GcProfile, responses(
    (status = 200, description = "the profile", body = GcProfileTaken),
    (status = 202, description = "a run that takes it", body = crate::runs::RunRecord),
    (status = 409, description = "one is being taken", body = Problem, content_type = "application/problem+json"),
    (status = "default", description = "refused", body = Problem, content_type = "application/problem+json")))]
async fn gc_profile(
    State(state): State<AppState>,
    caller: Caller,
    Body(asked): Body<GcProfile>,
) -> Result<Response, ApiError> {
    let kind = choice(
        "profile_type",
        asked.profile_type.as_deref(),
        &KINDS,
        Kind::Heap,
    )?;
    let seconds = limits::GC_PROFILE_SECONDS.check(asked.duration_seconds)?;
    let Some(claim) = state.profiles.claim(kind)? else {
        let record = take_now(&state, kind).await?;
        return Ok(Json(GcProfileTaken::new(record, &state)).into_response());
    };
    let answer = |record, state: &AppState| RunJson::new(&GcProfileTaken::new(record, state));
    timed(
        &state,
        caller,
        StatusCode::OK,
        claim,
        Asked { kind, seconds },
        answer,
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks if the viewer is sent to the service's own port, or the token into a command line.
    #[test]
    fn the_view_command_names_no_port_for_the_viewer_and_no_token() {
        let listen: SocketAddr = "127.0.0.1:8080".parse().expect("an address");
        let url = "http://127.0.0.1:8080/api/v1/profiles/cpu-1/profile.pb.gz";
        let open = view_command("cpu-1", url, false, false, listen);
        assert_eq!(open, format!("go tool pprof -http=127.0.0.1:0 {url}"));
        let closed = view_command("cpu-1", url, false, true, listen);
        assert!(
            closed.starts_with("curl --user openwork ") && closed.ends_with("cpu-1.pb.gz"),
            "{closed}"
        );
    }
}
