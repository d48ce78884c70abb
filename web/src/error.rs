//! The one error body, and the one place where a refusal becomes a status.
//!
//! Every refusal of the service is an [`ApiError`]: a [`Code`] from a closed list, a sentence for a person and, where
//! it applies, the field and the limit that were overstepped. The code decides status and title, so two handlers
//! cannot answer the same fault differently. Outside `/debug/pprof` it is rendered as `application/problem+json`;
//! under it as plain text with `X-Go-Pprof: 1`, which is what `go tool pprof` prints (see [`shape`]).

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was refused. The name on the wire is stable; sentences may be reworded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// 400: the body is empty.
    EmptyBody,
    /// 400: the body or a query parameter is not JSON, or not well-formed.
    Malformed,
    /// 400: a field has a value of the wrong type.
    WrongType,
    /// 400: a required field is missing or empty.
    MissingValue,
    /// 401: the service asks for its token.
    Unauthorized,
    /// 403: the `Host` header names a host that this service is not.
    HostNotAllowed,
    /// 403: a page of another origin asked.
    CrossOrigin,
    /// 403: the feature is switched off at start (`--demo-faults`).
    SwitchedOff,
    /// 404: there is no such path, or nothing with this id.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 408: header or body did not arrive in time.
    RequestTimeout,
    /// 409: a second CPU profile or dhat session was asked for while one runs.
    ProfileRunning,
    /// 409: what was asked contradicts the present state.
    Conflict,
    /// 413: the body is larger than the limit.
    BodyTooLarge,
    /// 415: the body is declared to be something else than JSON.
    UnsupportedMediaType,
    /// 422: a number is outside its range.
    OutOfRange,
    /// 422: a value is not one of the known ones.
    UnknownValue,
    /// 422: each field is in range, their product is not.
    ProductTooLarge,
    /// 422: two fields contradict each other.
    Contradiction,
    /// 429: as many runs as allowed are running.
    TooManyRuns,
    /// 429: as many streams as allowed are open.
    TooManyViewers,
    /// 499: the run was cancelled before it had an answer.
    Cancelled,
    /// 500: the service failed; the log says more.
    Internal,
    /// 501: this build or machine cannot do or measure what was asked for.
    NotSupported,
    /// 503: the service is ending.
    Draining,
    /// 503: the disk refused to store, or the chain has reached its size limit.
    Storage,
    /// 503: as many connections as allowed are open.
    TooManyConnections,
    /// 504: the run took longer than runs may take.
    RunTimeout,
}

impl Code {
    /// Every code, in the order of its status.
    pub const ALL: [Code; 28] = [
        Code::EmptyBody,
        Code::Malformed,
        Code::WrongType,
        Code::MissingValue,
        Code::Unauthorized,
        Code::HostNotAllowed,
        Code::CrossOrigin,
        Code::SwitchedOff,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::RequestTimeout,
        Code::ProfileRunning,
        Code::Conflict,
        Code::BodyTooLarge,
        Code::UnsupportedMediaType,
        Code::OutOfRange,
        Code::UnknownValue,
        Code::ProductTooLarge,
        Code::Contradiction,
        Code::TooManyRuns,
        Code::TooManyViewers,
        Code::Cancelled,
        Code::Internal,
        Code::NotSupported,
        Code::Draining,
        Code::Storage,
        Code::TooManyConnections,
        Code::RunTimeout,
    ];

    /// The status that every refusal with this code has.
    pub fn status(self) -> StatusCode {
        match self {
            Code::EmptyBody | Code::Malformed | Code::WrongType | Code::MissingValue => {
                StatusCode::BAD_REQUEST
            }
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::HostNotAllowed | Code::CrossOrigin | Code::SwitchedOff => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Code::ProfileRunning | Code::Conflict => StatusCode::CONFLICT,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::OutOfRange | Code::UnknownValue | Code::ProductTooLarge | Code::Contradiction => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Code::TooManyRuns | Code::TooManyViewers => StatusCode::TOO_MANY_REQUESTS,
            // 499 has no registered name; it is what proxies log for a client that went away, and a cancelled
            // synchronous run has, but for `DELETE /api/v1/runs/{id}` by another client, no one left to read it.
            Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::CONFLICT),
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::NotSupported => StatusCode::NOT_IMPLEMENTED,
            Code::Draining | Code::Storage | Code::TooManyConnections => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Code::RunTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// A short heading, the same for every refusal with this code.
    pub fn title(self) -> &'static str {
        match self {
            Code::EmptyBody => "Empty body",
            Code::Malformed => "Malformed request",
            Code::WrongType => "Wrong type",
            Code::MissingValue => "Missing value",
            Code::Unauthorized => "Token required",
            Code::HostNotAllowed => "Host not allowed",
            Code::CrossOrigin => "Cross-origin request refused",
            Code::SwitchedOff => "Switched off",
            Code::NotFound => "Not found",
            Code::MethodNotAllowed => "Method not allowed",
            Code::RequestTimeout => "Request took too long to arrive",
            Code::ProfileRunning => "A profile is running",
            Code::Conflict => "Conflict",
            Code::BodyTooLarge => "Body too large",
            Code::UnsupportedMediaType => "Unsupported media type",
            Code::OutOfRange => "Out of range",
            Code::UnknownValue => "Unknown value",
            Code::ProductTooLarge => "Product of fields too large",
            Code::Contradiction => "Contradicting fields",
            Code::TooManyRuns => "Too many runs",
            Code::TooManyViewers => "Too many viewers",
            Code::Cancelled => "Cancelled",
            Code::Internal => "Internal error",
            Code::NotSupported => "Not supported here",
            Code::Draining => "Ending",
            Code::Storage => "Storage refused",
            Code::TooManyConnections => "Too many connections",
            Code::RunTimeout => "Run took too long",
        }
    }

    /// The name on the wire, as in the `code` field.
    pub fn name(self) -> &'static str {
        match self {
            Code::EmptyBody => "empty_body",
            Code::Malformed => "malformed",
            Code::WrongType => "wrong_type",
            Code::MissingValue => "missing_value",
            Code::Unauthorized => "unauthorized",
            Code::HostNotAllowed => "host_not_allowed",
            Code::CrossOrigin => "cross_origin",
            Code::SwitchedOff => "switched_off",
            Code::NotFound => "not_found",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::RequestTimeout => "request_timeout",
            Code::ProfileRunning => "profile_running",
            Code::Conflict => "conflict",
            Code::BodyTooLarge => "body_too_large",
            Code::UnsupportedMediaType => "unsupported_media_type",
            Code::OutOfRange => "out_of_range",
            Code::UnknownValue => "unknown_value",
            Code::ProductTooLarge => "product_too_large",
            Code::Contradiction => "contradiction",
            Code::TooManyRuns => "too_many_runs",
            Code::TooManyViewers => "too_many_viewers",
            Code::Cancelled => "cancelled",
            Code::Internal => "internal",
            Code::NotSupported => "not_supported",
            Code::Draining => "draining",
            Code::Storage => "storage",
            Code::TooManyConnections => "too_many_connections",
            Code::RunTimeout => "run_timeout",
        }
    }
}

/// The body of every refusal (RFC 9457, with `error`, `code`, `field` and `limit` beside the standard members).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `/api/docs#<code>`: names the kind of problem; the same for every refusal with this code.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short heading.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// One sentence for a person: what was wrong, and what would be right.
    pub detail: String,
    /// Equal to `detail`; the field that clients of the first version read.
    pub error: String,
    /// The name of the kind of problem.
    pub code: Code,
    /// The field, parameter or header at fault, if one is.
    pub field: Option<String>,
    /// The limit that was overstepped, if one was.
    pub limit: Option<u64>,
}

/// A refused request.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: Code,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    limit: Option<u64>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// A refusal with this code; `detail` is a sentence for a person.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        ApiError {
            code,
            detail: detail.into(),
            field: None,
            limit: None,
            retry_after: None,
        }
    }

    /// Names the field at fault.
    pub fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names the limit that was overstepped.
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Says when asking again makes sense (`Retry-After`, whole seconds, at least one).
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// 400: a required value is missing or empty. The text is the one of old.
    pub fn missing(field: &'static str) -> Self {
        ApiError::new(Code::MissingValue, "missing required value").field(field)
    }

    /// 404: nothing with this id.
    pub fn no_such(what: &str, id: &str) -> Self {
        ApiError::new(Code::NotFound, format!("no {what} with id {id:?}"))
    }

    /// 422: the value is not one of `known`.
    pub fn unknown_value(field: &'static str, value: &str, known: &[&str]) -> Self {
        ApiError::new(
            Code::UnknownValue,
            format!(
                "{field} is {value:?}, but must be one of {}",
                known.join(", ")
            ),
        )
        .field(field)
    }

    /// 500: something that should not fail failed. The cause goes to the log, not to the client.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed inside the service");
        ApiError::new(
            Code::Internal,
            "the service failed to answer; its log has the cause",
        )
    }

    /// 503: the service is ending and takes no new work.
    pub fn draining() -> Self {
        ApiError::new(
            Code::Draining,
            "the service is ending and takes no new work",
        )
        .retry_after(Duration::from_secs(5))
    }

    /// 503: the disk or the size limit of the chain refuses to store more.
    pub fn storage(detail: impl Into<Cow<'static, str>>) -> Self {
        ApiError::new(Code::Storage, detail)
    }

    /// The kind of refusal.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The sentence for a person.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The body that is sent.
    pub fn problem(&self) -> Problem {
        Problem {
            kind: format!("/api/docs#{}", self.code.name()),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            detail: self.detail.to_string(),
            error: self.detail.to_string(),
            code: self.code,
            field: self.field.as_ref().map(ToString::to_string),
            limit: self.limit,
        }
    }

    fn plain(&self) -> Response {
        let mut response = (self.code.status(), format!("{}\n", self.detail)).into_response();
        response
            .headers_mut()
            .insert("x-go-pprof", HeaderValue::from_static("1"));
        self.add_headers(&mut response);
        response
    }

    fn add_headers(&self, response: &mut Response) {
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        if self.code == Code::Unauthorized {
            // Basic, because that is what browsers, `go tool pprof` and Prometheus can all be told to send.
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"openwork\", charset=\"UTF-8\""),
            );
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ApiError {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (self.code.status(), body).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        self.add_headers(&mut response);
        response.extensions_mut().insert(self);
        response
    }
}

/// What a refusal says beside its body: the methods that would be allowed, the run that failed and how long it took.
const KEPT_HEADERS: [HeaderName; 3] = [
    header::ALLOW,
    crate::runs::answer::RUN_HEADER,
    HeaderName::from_static("server-timing"),
];

/// Outermost layer: gives every refusal the one body, whoever made it.
///
/// Handlers answer with [`ApiError`]; the framework's own refusals (a wrong method, a broken path parameter) come
/// without our body and are replaced here. Each refusal is one line in the log.
pub async fn shape(request: Request, next: Next) -> Response {
    let pprof = request.uri().path().starts_with("/debug/pprof");
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let error = match response.extensions().get::<ApiError>() {
        Some(error) => error.clone(),
        None => foreign(response.status()),
    };
    // A path is foreign text: `{:?}` escapes control and bidirectional characters, so that it stays on its line.
    tracing::warn!(status = error.code.status().as_u16(), code = error.code.name(), %method, path = ?path,
        detail = ?error.detail, "request refused");
    let mut shaped = if pprof {
        error.plain()
    } else {
        error.into_response()
    };
    for name in KEPT_HEADERS {
        if let Some(value) = response.headers().get(&name) {
            shaped.headers_mut().insert(name, value.clone());
        }
    }
    if method == axum::http::Method::HEAD {
        *shaped.body_mut() = Body::empty();
    }
    shaped
}

/// What a refusal that the framework made means in our words.
fn foreign(status: StatusCode) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::new(
            Code::NotFound,
            "there is nothing at this path; GET /api/docs lists all paths",
        ),
        StatusCode::METHOD_NOT_ALLOWED => ApiError::new(
            Code::MethodNotAllowed,
            "this path does not know this method; the Allow header names those it knows",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(Code::BodyTooLarge, "the body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ApiError::new(Code::UnsupportedMediaType, "the body must be JSON")
        }
        StatusCode::REQUEST_TIMEOUT => {
            ApiError::new(Code::RequestTimeout, "the request took too long to arrive")
        }
        StatusCode::FORBIDDEN => ApiError::new(
            Code::CrossOrigin,
            "a page of another origin may not ask this",
        ),
        StatusCode::UNPROCESSABLE_ENTITY => {
            ApiError::new(Code::OutOfRange, "a value is outside its range")
        }
        status if status.is_client_error() => {
            ApiError::new(Code::Malformed, "the request could not be understood")
        }
        status => ApiError::internal(format_args!("answer {status} without a body of ours")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks if a code is added without its place in `ALL`, or `name` and the serialised form part ways.
    #[test]
    fn every_code_is_listed_once_and_named_as_on_the_wire() {
        for (i, code) in Code::ALL.iter().enumerate() {
            let wire = serde_json::to_value(code).expect("a code serialises");
            assert_eq!(wire, code.name());
            assert_eq!(Code::ALL.iter().position(|c| c == code), Some(i));
        }
        assert!(
            Code::ALL.windows(2).all(|w| w[0].status() <= w[1].status()),
            "ordered by status"
        );
    }
}
