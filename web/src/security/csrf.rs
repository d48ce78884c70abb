//! Pages of other origins may not ask.
//!
//! Methods that change something pass tower-http's `csrf` layer, which believes `Sec-Fetch-Site` and falls back on
//! `Origin`. It lets every GET through, since a GET changes nothing; but a GET under `/api`, `/debug` or `/metrics` can
//! cost a 60 s profile or a walk over a million routines, and an `<img>` on any page can make one. So those are
//! refused as well when a browser says that another site made them.

use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use crate::error::{ApiError, Code};

const COSTLY: [&str; 3] = ["/api", "/debug", "/metrics"];

fn refusal(header: &'static str) -> ApiError {
    ApiError::new(
        Code::CrossOrigin,
        "a page of another origin may not ask this",
    )
    .field(header)
}

/// What [`layer`] answers with; a function pointer, so that the layer's type can be named.
pub type Refuse = fn(ProtectionError) -> Response;

/// Refuses every method but GET, HEAD and OPTIONS from another origin.
pub fn layer() -> CsrfLayer<Refuse> {
    let refuse: Refuse = |_| refusal("Origin").into_response();
    CsrfLayer::new().with_rejection_response(refuse)
}

/// Refuses costly GETs that a page of another site made a browser send.
pub async fn costly_reads(request: Request, next: Next) -> Result<Response, ApiError> {
    let path = request.uri().path();
    let costly = COSTLY.iter().any(|tree| {
        path.strip_prefix(tree)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if !costly {
        return Ok(next.run(request).await);
    }
    let headers = request.headers();
    match headers.get("sec-fetch-site").map(|v| v.as_bytes()) {
        Some(b"same-origin" | b"none") => Ok(next.run(request).await),
        Some(_) => Err(refusal("Sec-Fetch-Site")),
        // A browser without Sec-Fetch-Site still sends Origin with a cross-origin fetch.
        None => match headers.get(header::ORIGIN) {
            Some(origin)
                if !same_origin(
                    origin.as_bytes(),
                    headers.get(header::HOST).map(|h| h.as_bytes()),
                ) =>
            {
                Err(refusal("Origin"))
            }
            _ => Ok(next.run(request).await),
        },
    }
}

/// Whether an `Origin` names the host that the request was sent to, port included.
fn same_origin(origin: &[u8], host: Option<&[u8]>) -> bool {
    let authority = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    authority.is_some() && authority == host
}
