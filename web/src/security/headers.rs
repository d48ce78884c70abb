//! What a browser may do with an answer, and how long the answer took.

use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// Scripts, styles and connections of this origin alone, in no frame.
pub const CSP: &str = "default-src 'self'; frame-ancestors 'none'";

/// Swagger UI writes style attributes and draws its icons from `data:` URLs; scripts stay bound to this origin.
pub const CSP_DOCS: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// Adds the security headers and `Server-Timing` to every answer, refusals included.
pub async fn add(request: Request, next: Next) -> Response {
    let asked = Instant::now();
    let path = request.uri().path();
    let api = path == "/api" || path.starts_with("/api/");
    let docs = path.starts_with("/api/docs");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(if docs { CSP_DOCS } else { CSP }),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    if api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    // Until the head is ready: a streamed body takes longer, and its end comes too late for a header.
    let timing = format!("head;dur={:.3}", asked.elapsed().as_secs_f64() * 1e3);
    if let Ok(timing) = HeaderValue::try_from(timing) {
        // Beside what a run says about itself.
        headers.append(HeaderName::from_static("server-timing"), timing);
    }
    response
}
