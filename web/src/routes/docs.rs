//! The description of the API: `openapi.yaml` in the repository, `/openapi.json`, and a page to try it.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::limits::{Limit, Place, TABLE, Zero};
use crate::state::AppState;

const FAVICON: &str = include_str!("favicon.svg");

/// Computed once: it is the same for every process of this build.
static DESCRIPTION: LazyLock<String> = LazyLock::new(|| crate::openapi().to_string());

/// What stands at the head of the description.
pub(super) fn preface() -> OpenApi {
    #[derive(utoipa::OpenApi)]
    #[openapi(
        info(
            title = "Openwork",
            description = "A runtime of routines that can be watched while it runs.\n\n\
                Every refusal has the one body `Problem`; under `/debug/pprof` it is plain text with `X-Go-Pprof: 1`. \
                `_ns` fields count from the start of the process, wall times are RFC 3339, ids are text. What cannot be \
                measured is `null`, never 0. Bodies are JSON, with or without a content type.",
            license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        ),
        tags(
            (name = "chain", description = "Mining, listing and verifying blocks"),
            (name = "memory", description = "Allocating on routines, and what it costs"),
            (name = "runs", description = "Everything that takes time and was asked for: watch, come back, cancel"),
            (name = "watch", description = "What the runtime does, all from numbered samples"),
            (name = "profiles", description = "Profiles that are kept"),
            (name = "pprof", description = "Profiles under the paths of Go's `net/http/pprof`"),
            (name = "health", description = "Probes and the description itself"),
        ),
        security((), ("bearer" = []), ("basic" = [])),
        modifiers(&Schemes),
    )]
    struct Preface;
    <Preface as utoipa::OpenApi>::openapi()
}

/// The two ways in which a token is sent, where one is asked for.
struct Schemes;

impl utoipa::Modify for Schemes {
    fn modify(&self, openapi: &mut OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(
            "bearer",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
        components.add_security_scheme(
            "basic",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)),
        );
    }
}

/// The name of a schema that two descriptions have and mean differently: merging them would lose one without a word.
pub(super) fn clash(one: &OpenApi, other: &OpenApi) -> Option<String> {
    let schemas = &one.components.as_ref()?.schemas;
    let others = &other.components.as_ref()?.schemas;
    others
        .iter()
        .find(|(name, schema)| schemas.get(*name).is_some_and(|s| s != *schema))
        .map(|(name, _)| name.clone())
}

/// The description with every bound of the table filled in where its field or parameter is described.
///
/// # Panics
/// If a row names a route, field or parameter that is not described: then one of the two is wrong.
pub(super) fn with_limits(description: OpenApi) -> Value {
    let mut value = serde_json::to_value(description).expect("a description is plain data");
    for limit in TABLE
        .iter()
        .filter(|l| matches!(l.place, Place::Body | Place::Query))
    {
        for field in names(limit) {
            let schema = schema_of(&mut value, limit, field).unwrap_or_else(|| {
                panic!(
                    "{} does not describe {field}, which the table of limits bounds",
                    limit.route
                )
            });
            state(limit, schema);
        }
    }
    value
}

/// The names of the bounded field: `goroutines` has a second one.
fn names(limit: &Limit) -> Vec<&'static str> {
    if limit.field == "goroutines" {
        vec!["goroutines", "routines"]
    } else {
        vec![limit.field]
    }
}

/// The schema of the field or parameter that a row bounds.
fn schema_of<'a>(description: &'a mut Value, limit: &Limit, field: &str) -> Option<&'a mut Value> {
    let (method, path) = limit.route.split_once(' ')?;
    let operation = description
        .get("paths")?
        .get(path)?
        .get(method.to_ascii_lowercase())?;
    match limit.place {
        Place::Query => {
            let parameters = operation.get("parameters")?.as_array()?;
            let at = parameters
                .iter()
                .position(|p| p["name"] == field && p["in"] == "query")?;
            description.pointer_mut(&format!(
                "/paths/{}/{}/parameters/{at}/schema",
                path.replace('/', "~1"),
                method.to_ascii_lowercase()
            ))
        }
        _ => {
            let reference = operation
                .pointer("/requestBody/content/application~1json/schema/$ref")?
                .as_str()?;
            let properties = format!("{}/properties/{field}", reference.strip_prefix('#')?);
            description.pointer_mut(&properties)
        }
    }
}

/// Writes minimum, maximum and default of a row into a schema.
fn state(limit: &Limit, schema: &mut Value) {
    let of_text = limit.default.is_none() && limit.unit == "bytes" && limit.place == Place::Body;
    if of_text {
        schema["minLength"] = json!(limit.min);
        schema["maxLength"] = json!(limit.max);
    } else {
        schema["minimum"] = json!(limit.least());
        schema["maximum"] = json!(limit.max);
        if limit.zero == Zero::IsNever {
            // Zero and the range, nothing between.
            schema["anyOf"] = json!([{ "const": 0 }, { "minimum": limit.min }]);
        }
    }
    if let Some(default) = limit.default {
        schema["default"] = json!(default);
    }
}

/// The description itself.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(openapi_json))
}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn openapi_json() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        DESCRIPTION.as_str(),
    )
}

/// Pages that are no API: the one to try it, served from this binary, and the icon.
pub(super) fn pages() -> Router<AppState> {
    let ui =
        SwaggerUi::new("/api/docs").config(Config::from("/openapi.json").try_it_out_enabled(true));
    Router::from(ui)
        .route("/docs", get(async || Redirect::permanent("/api/docs/")))
        .route("/favicon.svg", get(favicon))
        .route("/favicon.ico", get(favicon))
}

async fn favicon() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "image/svg+xml"),
            (header::CACHE_CONTROL, "max-age=86400"),
        ],
        FAVICON,
    )
}
