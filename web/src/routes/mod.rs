//! All routes, one resource a file, and the layers around them.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::error::{self, ApiError, Code};
use crate::security::{csrf, headers, host, token};
use crate::state::AppState;

pub mod bench;
pub mod blocks;
pub mod build;
pub mod config;
pub mod crowd;
pub mod docs;
pub mod events;
pub mod faults;
pub mod gc;
pub mod health;
pub mod history;
pub mod io;
pub mod labs;
pub mod metrics;
pub mod mine;
pub mod pprof;
pub mod profiles;
pub mod routines;
pub mod runs;
pub mod runtime;
pub mod stacks;
pub mod stats;
pub mod stress;
pub mod threads;
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
        labs::routes(),
        faults::routes(),
        bench::routes(),
        runs::routes(),
        events::routes(),
        history::routes(),
        timeline::routes(),
        workers::routes(),
        threads::routes(),
        io::routes(),
        routines::routes(),
        stacks::routes(),
        runtime::routes(),
        build::routes(),
        config::routes(),
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
pub fn app(state: AppState) -> Router {
    let routes = Router::from(described())
        .merge(docs::pages())
        .merge(crate::page::routes());
    guarded(routes, state)
}

/// Puts the layers around `routes` that no request passes by.
fn guarded(routes: Router<AppState>, state: AppState) -> Router {
    let layers = ServiceBuilder::new()
        .layer(from_fn(headers::add))
        .layer(from_fn(error::shape))
        .layer(from_fn_with_state(state.clone(), host::check))
        .layer(from_fn_with_state(state.clone(), token::check))
        .layer(from_fn(csrf::costly_reads))
        .layer(csrf::layer());
    routes
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Service, Setting};
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::routing::get;
    use std::time::Duration;
    use tower::ServiceExt as _;

    /// Breaks if a panic closes the connection without an answer, or its text reaches the client.
    #[tokio::test]
    async fn a_handler_that_panics_is_answered_500() {
        let mut config = Config::with_data_dir("unused: the service is ephemeral".into());
        config.ephemeral = Setting::flag(true);
        config.workers = Setting::flag(Some(1));
        let listen = config.listen.value;
        let service = Service::open(config, listen).expect("the service starts");
        async fn broken() -> StatusCode {
            panic!("a secret of the handler")
        }
        let app = guarded(
            Router::new().route("/broken", get(broken)),
            service.state().clone(),
        );
        let request = Request::get("/broken").header("host", "localhost");
        let answer = app.oneshot(request.body(Body::empty()).expect("a request"));
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(answer.into_body(), 4096)
            .await
            .expect("a body");
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(problem["code"], "internal");
        assert!(!problem.to_string().contains("secret"), "{problem}");
        service.close(Duration::from_secs(5));
    }
}
