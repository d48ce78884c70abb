//! From a request that starts a run to its response.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::record::{Json, RunId, RunSource};
use super::registry::Registry;
use super::ticket::{Admitted, Ended, Ticket};
use crate::error::ApiError;

/// Names the run in every answer to a request that started one.
pub const RUN_HEADER: HeaderName = HeaderName::from_static("openwork-run");
/// The dashboard marks its requests with the value `page`.
const SOURCE_HEADER: HeaderName = HeaderName::from_static("openwork-source");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Who asks for a run, and whether they will wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Whether the dashboard asks.
    pub source: RunSource,
    /// `Prefer: respond-async` (RFC 7240).
    pub respond_async: bool,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Infallible> {
        let page = parts
            .headers
            .get(SOURCE_HEADER)
            .is_some_and(|v| v == "page");
        Ok(Caller {
            source: if page {
                RunSource::Page
            } else {
                RunSource::Api
            },
            respond_async: prefers_async(&parts.headers),
        })
    }
}

fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER);
    preferences
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|preference| {
            let name = preference.split(['=', ';']).next().unwrap_or_default();
            name.trim().eq_ignore_ascii_case("respond-async")
        })
}

/// Launches an admitted run and answers as its client prefers: with the result and `status` once it has ended, or with
/// 202 once its record is durable.
///
/// # Errors
/// What `launch` refuses, what the run failed with, `storage` if the record of an asynchronous run cannot be written.
pub async fn answer(
    runs: &Registry,
    caller: Caller,
    status: StatusCode,
    admitted: Admitted,
    launch: impl FnOnce(Admitted) -> Result<Ticket, ApiError>,
) -> Response {
    let id = admitted.id();
    let mut response = if caller.respond_async {
        match accepted(runs, id, admitted, launch).await {
            Ok(response) => response,
            Err(error) => error.into_response(),
        }
    } else {
        // From here to the end of `wait`, dropping this future cancels the run: hyper does so when the client goes.
        match launch(admitted) {
            Ok(ticket) => finished(status, ticket.wait().await),
            Err(error) => error.into_response(),
        }
    };
    response
        .headers_mut()
        .insert(RUN_HEADER, HeaderValue::from(id.0));
    response
}

async fn accepted(
    runs: &Registry,
    id: RunId,
    admitted: Admitted,
    launch: impl FnOnce(Admitted) -> Result<Ticket, ApiError>,
) -> Result<Response, ApiError> {
    if let Err(error) = admitted.durable().await {
        return Err(admitted.refuse(error));
    }
    launch(admitted)?.detach();
    let record = runs
        .get(id)
        .ok_or_else(|| ApiError::no_such("run", &id.to_string()))?;
    let mut response = json(StatusCode::ACCEPTED, &Json::new(&record));
    let headers = response.headers_mut();
    let location = format!("/api/v1/runs/{id}");
    headers.insert(
        header::LOCATION,
        HeaderValue::try_from(location).expect("digits"),
    );
    headers.insert(
        PREFERENCE_APPLIED,
        HeaderValue::from_static("respond-async"),
    );
    Ok(response)
}

fn finished(status: StatusCode, ended: Ended) -> Response {
    let mut response = match ended.outcome {
        Ok(result) => json(status, &result),
        Err(error) => error.into_response(),
    };
    let timing = format!(
        "run;dur={:.3}, routines;desc=\"{}\", stolen;desc=\"{}\"",
        crate::wire::ms(ended.took),
        ended.counters.spawned,
        ended.counters.stolen
    );
    let timing = HeaderValue::try_from(timing).expect("digits and ASCII words");
    response.headers_mut().append(SERVER_TIMING, timing);
    response
}

/// The head of an answer whose body is JSON text already.
pub const JSON: [(HeaderName, HeaderValue); 1] = [(
    header::CONTENT_TYPE,
    HeaderValue::from_static("application/json"),
)];

fn json(status: StatusCode, text: &Json) -> Response {
    (status, JSON, Body::from(Bytes::from_owner(text.clone()))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_found_among_others_in_any_case() {
        #[track_caller]
        fn check(values: &[&'static str], expected: bool) {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            assert_eq!(prefers_async(&headers), expected, "{values:?}");
        }
        check(&[], false);
        check(&["respond-async"], true);
        check(&["return=minimal, Respond-Async; foo=1"], true);
        check(&["wait=10", "respond-async, wait=10"], true);
        check(&["respond-asynchronously"], false);
    }
}
