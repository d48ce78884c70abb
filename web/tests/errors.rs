//! One error body everywhere, whoever refuses.

mod service;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use openwork_web::error::Code;
use service::Running;

/// Method, path, content type, body; code and field of the refusal.
type Case<'a> = (
    &'a str,
    &'a str,
    Option<&'a str>,
    &'a str,
    Code,
    Option<&'a str>,
);

/// Compares what is refused, in whole: status, code, field, and that `error` repeats `detail`.
#[track_caller]
fn refused(answer: &service::Answer, what: &str, code: Code, field: Option<&str>) {
    let problem = answer.json();
    assert_eq!(answer.status, code.status(), "{what}: {problem}");
    assert_eq!(
        answer.headers[header::CONTENT_TYPE],
        "application/problem+json",
        "{what}"
    );
    assert_eq!(problem["code"], code.name(), "{what}: {problem}");
    assert_eq!(problem["field"].as_str(), field, "{what}: {problem}");
    assert_eq!(problem["error"], problem["detail"], "{what}");
    assert_eq!(problem["title"], code.title(), "{what}");
    assert_eq!(problem["status"], code.status().as_u16(), "{what}");
    assert_eq!(
        problem["type"],
        format!("/api/docs#{}", code.name()),
        "{what}"
    );
    let members: Vec<_> = problem
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        members,
        [
            "code", "detail", "error", "field", "limit", "status", "title", "type"
        ],
        "{what}"
    );
}

/// Breaks if a check is forgotten, gets another status, or a framework's own answer reaches a client.
#[tokio::test]
async fn every_refusal_has_the_one_body() {
    use Code::{
        Contradiction, EmptyBody, Malformed, MethodNotAllowed, MissingValue, NotFound, OutOfRange,
        ProductTooLarge, SwitchedOff, UnknownValue, UnsupportedMediaType, WrongType,
    };
    const JSON: Option<&str> = Some("application/json");
    let service = Running::start();
    let big = format!(r#"{{"data":"{}"}}"#, "x".repeat(70 << 10));
    let huge = "x".repeat(2 << 20);
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("POST", "/blocks", JSON, "", EmptyBody, None),
        ("POST", "/blocks", JSON, " \r\n", EmptyBody, None),
        ("POST", "/blocks", JSON, "data=x", Malformed, None),
        ("POST", "/blocks", JSON, "{\"data\":", Malformed, None),
        ("POST", "/blocks", JSON, "[1]", WrongType, None),
        ("POST", "/blocks", JSON, "null", WrongType, None),
        ("POST", "/blocks", JSON, "{}", MissingValue, Some("data")),
        ("POST", "/blocks", JSON, r#"{"data":""}"#, MissingValue, Some("data")),
        ("POST", "/blocks", JSON, r#"{"data":null}"#, MissingValue, Some("data")),
        ("POST", "/blocks", JSON, r#"{"data":7}"#, WrongType, Some("data")),
        ("POST", "/blocks", Some("text/plain"), "{}", UnsupportedMediaType, Some("Content-Type")),
        ("POST", "/blocks", Some("multipart/form-data; boundary=x"), "{}", UnsupportedMediaType, Some("Content-Type")),
        ("POST", "/blocks", JSON, &big, OutOfRange, Some("data")),
        ("POST", "/blocks", JSON, &huge, Code::BodyTooLarge, None),
        ("POST", "/blocks", JSON, r#"{"data":"x","difficulty":0}"#, OutOfRange, Some("difficulty")),
        ("POST", "/blocks", JSON, r#"{"data":"x","difficulty":33}"#, OutOfRange, Some("difficulty")),
        ("POST", "/mine", JSON, r#"{"data":"x","goroutines":-1}"#, OutOfRange, Some("goroutines")),
        ("POST", "/mine", JSON, r#"{"data":"x","goroutines":10001}"#, OutOfRange, Some("goroutines")),
        ("POST", "/mine", JSON, r#"{"data":"x","goroutines":"4"}"#, WrongType, Some("goroutines")),
        ("POST", "/mine", JSON, r#"{"data":"x","goroutines":1.5}"#, WrongType, Some("goroutines")),
        ("POST", "/mine", JSON, r#"{"data":"x","goroutines":4,"routines":5}"#, Contradiction, Some("routines")),
        ("POST", "/mine", JSON, r#"{"data":"x","mode":"fast"}"#, UnknownValue, Some("mode")),
        ("POST", "/mine", JSON, r#"{"data":"x","yield_every":999}"#, OutOfRange, Some("yield_every")),
        ("POST", "/stress", JSON, r#"{"pattern":"wild"}"#, UnknownValue, Some("pattern")),
        ("POST", "/stress", JSON, r#"{"hold_ms":60001}"#, OutOfRange, Some("hold_ms")),
        ("POST", "/stress", JSON, r#"{"block_kb":0}"#, OutOfRange, Some("block_kb")),
        ("POST", "/stress", JSON, r#"{"allocations":1000000,"goroutines":1000}"#, ProductTooLarge, Some("allocated_bytes")),
        ("POST", "/gc/benchmark", JSON, r#"{"size_kb":65537}"#, OutOfRange, Some("size_kb")),
        ("POST", "/gc/finalizers", JSON, r#"{"count":1000001}"#, OutOfRange, Some("count")),
        ("POST", "/gc/profile", JSON, r#"{"profile_type":"block"}"#, UnknownValue, Some("profile_type")),
        ("POST", "/gc/profile", JSON, r#"{"profile_type":"cpu","duration_seconds":61}"#, OutOfRange, Some("duration_seconds")),
        ("POST", "/api/v1/profiles", JSON, r#"{"seconds":0}"#, OutOfRange, Some("seconds")),
        ("POST", "/api/v1/profiles", JSON, r#"{"kind":"heap"}"#, Code::NotSupported, None),
        ("POST", "/api/v1/crowd", JSON, r#"{"routines":1000001}"#, OutOfRange, Some("routines")),
        ("POST", "/api/v1/bench", JSON, r#"{"bench":"pingpong","rounds":21}"#, OutOfRange, Some("rounds")),
        ("POST", "/api/v1/bench", JSON, r#"{"bench":"swim"}"#, UnknownValue, Some("bench")),
        ("POST", "/api/v1/bench", JSON, "{}", MissingValue, Some("bench")),
        ("GET", "/api/v1/bench/history?bench=swim", None, "", UnknownValue, Some("bench")),
        ("POST", "/api/v1/faults", JSON, r#"{"kind":"panic"}"#, SwitchedOff, None),
        ("GET", "/blocks?limit=0", None, "", OutOfRange, Some("limit")),
        ("GET", "/blocks?limit=x", None, "", WrongType, Some("limit")),
        ("GET", "/blocks?order=up", None, "", UnknownValue, Some("order")),
        ("GET", "/stats?format=xml", None, "", UnknownValue, Some("format")),
        ("GET", "/api/v1/timeline?from_ns=x", None, "", WrongType, Some("from_ns")),
        ("GET", "/nowhere", None, "", NotFound, None),
        ("GET", "/api/v1/nowhere", None, "", NotFound, None),
        ("GET", "/api/v1/runs/99999", None, "", NotFound, None),
        ("GET", "/api/v1/profiles/cpu-1", None, "", NotFound, None),
        ("DELETE", "/mine", None, "", MethodNotAllowed, None),
        ("GET", "/mine", None, "", MethodNotAllowed, None),
        ("PUT", "/stats", None, "", MethodNotAllowed, None),
    ];
    for (method, path, content_type, body, code, field) in cases {
        let mut request = Request::builder().method(*method).uri(*path);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, *content_type);
        }
        let request = request
            .body(Body::from((*body).to_owned()))
            .expect("a request");
        let answer = service.call(request).await;
        let what = format!("{method} {path} {}", &body[..body.len().min(60)]);
        refused(&answer, &what, *code, *field);
    }
}

/// Breaks if the limit that was overstepped is not named, or the method list is lost on the way.
#[tokio::test]
async fn a_refusal_names_the_limit_and_the_methods() {
    let service = Running::start();
    let answer = service
        .post("/stress", r#"{"goroutines":100001}"#)
        .await
        .json();
    assert_eq!(answer["limit"], 100_000);
    assert!(
        answer["detail"].as_str().expect("text").contains("100000"),
        "{answer}"
    );
    let answer = service.get("/mine").await;
    assert_eq!(answer.headers[header::ALLOW], "POST");
    let answer = service.post("/blocks", "{}").await;
    assert_eq!(
        answer.json()["error"],
        "missing required value",
        "the text of old"
    );
}

/// Breaks if Go's tools get JSON, or lose the header by which they know whose error it is.
#[tokio::test]
async fn under_debug_pprof_errors_are_text_for_gos_tools() {
    let service = Running::start();
    for (path, status) in [
        ("/debug/pprof/nowhere", StatusCode::NOT_FOUND),
        (
            "/debug/pprof/profile?seconds=0",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("/debug/pprof/profile?seconds=x", StatusCode::BAD_REQUEST),
        (
            "/debug/pprof/goroutine?debug=3",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("/debug/pprof/heap", StatusCode::NOT_IMPLEMENTED),
    ] {
        let answer = service.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.headers["x-go-pprof"], "1", "{path}");
        assert_eq!(
            answer.headers[header::CONTENT_TYPE],
            "text/plain; charset=utf-8",
            "{path}"
        );
        assert!(
            answer.body.ends_with(b"\n") && !answer.body.starts_with(b"{"),
            "{path}: {:?}",
            answer.body
        );
    }
}

/// Breaks if HEAD is refused, or carries a body.
#[tokio::test]
async fn head_works_wherever_get_does() {
    let service = Running::start();
    for path in [
        "/",
        "/stats",
        "/blocks",
        "/metrics",
        "/api/v1/runtime",
        "/debug/pprof/profile",
        "/openapi.json",
    ] {
        let request = Request::builder()
            .method(Method::HEAD)
            .uri(path)
            .body(Body::empty())
            .expect("a request");
        let answer = service.call(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.body.is_empty(), "{path}");
    }
    let request = Request::builder()
        .method(Method::HEAD)
        .uri("/nowhere")
        .body(Body::empty())
        .expect("a request");
    let answer = service.call(request).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body.is_empty());
}
