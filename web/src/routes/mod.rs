//! All routes, one resource a file, and the layers around them.

use axum::middleware::{from_fn, from_fn_with_state};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::error::{self, ApiError, Code};
use crate::security::{csrf, headers, host, token};
use crate::state::AppState;

pub mod blocks;
pub mod crowd;
pub mod docs;
pub mod events;
pub mod faults;
pub mod gc;
pub mod health;
pub mod history;
pub mod metrics;
pub mod mine;
pub mod pprof;
pub mod profiles;
pub mod routines;
pub mod runs;
pub mod runtime;
pub mod stats;
pub mod stress;
pub mod timeline;
pub mod workers;

fn described() -> OpenApiRouter<AppState> {
    let resources = [
        blocks::routes(),
        mine::routes(),
        stress::routes(),
        stats::routes(),
        gc::routes(),
        profiles::routes(),
        crowd::routes(),
        faults::routes(),
        runs::routes(),
        events::routes(),
        history::routes(),
        timeline::routes(),
        workers::routes(),
        routines::routes(),
        runtime::routes(),
        pprof::routes(),
        metrics::routes(),
        health::routes(),
        docs::routes(),
    ];
    resources
        .into_iter()
        .fold(OpenApiRouter::with_openapi(docs::preface()), |all, one| {
            debug_assert_eq!(
                docs::clash(all.get_openapi(), one.get_openapi()),
                None,
                "two types, one name"
            );
            all.merge(one)
        })
}

/// The description of every route that is an API, with the bounds of [`crate::limits`] filled in.
pub fn openapi() -> serde_json::Value {
    docs::with_limits(described().into_openapi())
}

/// The service as a value: every route and every layer, without a socket.
pub fn app(state: AppState) -> axum::Router {
    let (router, _) = described().split_for_parts();
    let layers = ServiceBuilder::new()
        .layer(from_fn(headers::add))
        .layer(from_fn(error::shape))
        .layer(from_fn_with_state(state.clone(), host::check))
        .layer(from_fn_with_state(state.clone(), token::check))
        .layer(from_fn(csrf::costly_reads))
        .layer(csrf::layer());
    router
        .merge(docs::pages())
        .merge(crate::page::routes())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(layers)
        .with_state(state)
}

/// A handler panicked: the panic hook has logged where; the client learns only that it did.
fn panicked(_: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    ApiError::new(
        Code::Internal,
        "the service failed to answer; its log has the cause",
    )
    .into_response()
}
