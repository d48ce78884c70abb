//! The routes that were there before: their fields, defaults, statuses and `error` text.

mod service;

use std::alloc::System;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use openwork::memory::CountingAllocator;
use serde_json::{Value, json};
use service::{Running, post};

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);

/// Whether each field is there, with the kind of value it had; `null` stands for what only a collector has.
#[track_caller]
fn check(answer: &Value, fields: &[(&str, &str)]) {
    for (name, kind) in fields {
        let value = answer
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {answer}"));
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert_eq!(is, *kind, "{name} in {answer}");
    }
    let unmeasured = answer["unmeasured"].as_array().expect("a list");
    for (name, kind) in fields {
        assert_eq!(
            unmeasured.contains(&json!(name)),
            *kind == "null",
            "{name} in unmeasured of {answer}"
        );
    }
}

#[tokio::test]
async fn a_block_is_appended_and_listed() {
    let service = Running::start();
    let answer = service.post("/blocks", r#"{"data":"hello"}"#).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let answer = answer.json();
    check(
        &answer,
        &[
            ("block", "object"),
            ("duration", "string"),
            ("gc_runs", "null"),
            ("gc_pause_ms", "null"),
            ("heap_delta_mb", "number"),
            ("heap_objects", "number"),
            ("gc_cpu_fraction", "null"),
        ],
    );
    let block = &answer["block"];
    assert_eq!(
        (&block["index"], &block["data"], &block["difficulty"]),
        (&json!(1), &json!("hello"), &json!(16))
    );
    assert!(block["hash"].as_str().unwrap().starts_with("0000"));
    let chain = service.get("/blocks").await;
    assert_eq!(chain.headers["x-total-count"], "2");
    let chain = chain.json();
    assert_eq!(
        (&chain[0]["index"], &chain[0]["previous_hash"]),
        (&json!(0), &json!("0".repeat(64)))
    );
    assert_eq!(&chain[1], block);
    assert_eq!(block["previous_hash"], chain[0]["hash"]);
}

#[tokio::test]
async fn the_chain_is_paged_both_ways() {
    let service = Running::start();
    service
        .post("/mine", r#"{"data":"x","goroutines":600,"difficulty":1}"#)
        .await;
    let indexes = async |query: &str| -> Vec<u64> {
        let answer = service.get(&format!("/blocks{query}")).await;
        assert_eq!(answer.headers["x-total-count"], "601");
        answer
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|block| block["index"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(indexes("").await, (0..=600).collect::<Vec<_>>());
    assert_eq!(indexes("?offset=599").await, [599, 600]);
    assert_eq!(indexes("?order=desc&limit=2&offset=1").await, [599, 598]);
    assert_eq!(indexes("?offset=9999").await, [0u64; 0]);
    for refused in [
        "?limit=0",
        "?limit=1000001",
        "?order=sideways",
        "?offset=-1",
    ] {
        let answer = service.get(&format!("/blocks{refused}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    }
}

#[tokio::test]
async fn mining_appends_a_block_a_routine_in_order_of_finding() {
    let service = Running::start();
    let answer = service
        .post("/mine", r#"{"data":"batch","goroutines":4}"#)
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = answer.json();
    check(
        &answer,
        &[
            ("blocks", "array"),
            ("duration", "string"),
            ("goroutines", "number"),
            ("total_blocks", "number"),
            ("gc_runs", "null"),
            ("gc_pause_ms", "null"),
            ("heap_delta_mb", "number"),
            ("gc_cpu_fraction", "null"),
        ],
    );
    assert_eq!(
        (&answer["goroutines"], &answer["total_blocks"]),
        (&json!(4), &json!(5))
    );
    let blocks = answer["blocks"].as_array().unwrap();
    assert!(
        blocks
            .iter()
            .zip(1u64..)
            .all(|(block, index)| block["index"] == index)
    );
    let mut data: Vec<_> = blocks
        .iter()
        .map(|block| block["data"].as_str().unwrap())
        .collect();
    data.sort_unstable();
    assert_eq!(
        data,
        [
            "batch-worker-0",
            "batch-worker-1",
            "batch-worker-2",
            "batch-worker-3"
        ]
    );
    let share: f64 = answer["shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["share"].as_f64().unwrap())
        .sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");
}

#[tokio::test]
async fn a_race_is_for_one_block() {
    let service = Running::start();
    let answer = service
        .post("/mine", r#"{"data":"race","routines":8,"mode":"race"}"#)
        .await
        .json();
    assert_eq!(answer["blocks"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&answer["goroutines"], &answer["expected_attempts"]),
        (&json!(8), &json!(65536))
    );
    assert_eq!(service.get("/blocks/verify").await.json()["blocks"], 2);
}

#[tokio::test]
async fn stress_has_its_fields_and_defaults() {
    let service = Running::start();
    let answer = service
        .post("/stress", r#"{"pattern":"mixed","goroutines":0}"#)
        .await
        .json();
    check(
        &answer,
        &[
            ("duration", "string"),
            ("goroutines", "number"),
            ("allocations", "number"),
            ("pattern", "string"),
            ("gc_collections", "null"),
            ("gc_pause_total_ms", "null"),
            ("gc_cpu_fraction", "null"),
            ("heap_objects_delta", "number"),
            ("memory_delta_mb", "number"),
            ("final_alloc_mb", "number"),
            ("num_goroutines", "number"),
            ("throughput_mb_per_sec", "number"),
        ],
    );
    assert_eq!(
        (
            &answer["goroutines"],
            &answer["allocations"],
            &answer["block_kb"]
        ),
        (&json!(1), &json!(10), &json!(1024))
    );
    assert_eq!(
        (&answer["kept"], &answer["dropped"]),
        (&json!(5), &json!(5))
    );
    let held = answer["memory_delta_mb"].as_f64().unwrap();
    assert!((5.0..6.0).contains(&held), "{held} MB for 5 blocks of 1 MB");
}

#[tokio::test]
async fn the_collector_routes_answer_for_native_memory() {
    let service = Running::start();
    let benchmark = service
        .post(
            "/gc/benchmark",
            r#"{"pattern":"long-lived","allocations":1000}"#,
        )
        .await;
    let benchmark = benchmark.json();
    check(
        &benchmark,
        &[
            ("duration_ms", "number"),
            ("alloc_before_mb", "number"),
            ("alloc_after_mb", "number"),
            ("heap_objects_delta", "number"),
            ("gc_runs", "null"),
            ("gc_pause_total_ms", "null"),
            ("gc_cpu_fraction", "null"),
            ("throughput_mb_per_sec", "number"),
        ],
    );
    assert!(
        benchmark["heap_objects_delta"].as_i64() >= Some(1000),
        "read while all is kept: {benchmark}"
    );
    let finalizers = service
        .post("/gc/finalizers", r#"{"trigger_gc":true}"#)
        .await
        .json();
    check(
        &finalizers,
        &[
            ("objects_created", "number"),
            ("finalizers_executed", "number"),
            ("duration_ms", "number"),
            ("gc_runs", "null"),
            ("finalizer_latency_ms", "number"),
        ],
    );
    assert_eq!(
        (
            &finalizers["objects_created"],
            &finalizers["finalizers_executed"]
        ),
        (&json!(100), &json!(100))
    );
    assert_eq!(finalizers.get("warning"), None);
    let collect = service.post("/gc/collect", "").await;
    assert_eq!(collect.status, StatusCode::OK);
    assert!(collect.json()["before"]["live_bytes"].is_u64());
}

/// Breaks for people who type what the readme prints.
#[tokio::test]
async fn the_printed_curl_lines_work_with_and_without_a_content_type() {
    let service = Running::start();
    let body = r#"{"data":"x","goroutines":4,"difficulty":8}"#;
    assert_eq!(
        service.call(post("/mine", body)).await.status,
        StatusCode::OK
    );
    let bare = Request::post("/mine").body(Body::from(body)).unwrap();
    assert_eq!(service.call(bare).await.status, StatusCode::OK);
    let json = Request::post("/mine").header(header::CONTENT_TYPE, "application/json");
    assert_eq!(
        service
            .call(json.body(Body::from(body)).unwrap())
            .await
            .status,
        StatusCode::OK
    );
    let text = Request::post("/mine").header(header::CONTENT_TYPE, "text/plain");
    let refused = service.call(text.body(Body::from(body)).unwrap()).await;
    assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn what_was_refused_is_refused_and_what_was_swallowed_is_named() {
    let service = Running::start();
    let refused = async |path: &str, body: &str, status: u16, code: &str, field: Value| {
        let answer = service.post(path, body).await;
        let problem = answer.json();
        assert_eq!(
            (answer.status.as_u16(), &problem["code"]),
            (status, &json!(code)),
            "{path} {body}: {problem}"
        );
        assert_eq!(problem["field"], field, "{path} {body}: {problem}");
        assert_eq!(
            (&problem["error"], answer.headers.get("openwork-run")),
            (&problem["detail"], None)
        );
        problem
    };
    for path in ["/blocks", "/mine"] {
        for body in ["{}", r#"{"data":""}"#] {
            let problem = refused(path, body, 400, "missing_value", json!("data")).await;
            assert_eq!(problem["error"], "missing required value");
        }
        refused(path, "", 400, "empty_body", Value::Null).await;
        refused(path, "{", 400, "malformed", Value::Null).await;
        refused(path, r#"{"data":7}"#, 400, "wrong_type", json!("data")).await;
    }
    refused(
        "/mine",
        r#"{"data":"x","goroutines":-1}"#,
        422,
        "out_of_range",
        json!("goroutines"),
    )
    .await;
    refused(
        "/mine",
        r#"{"data":"x","goroutines":10001}"#,
        422,
        "out_of_range",
        json!("goroutines"),
    )
    .await;
    refused(
        "/mine",
        r#"{"data":"x","goroutines":2,"routines":3}"#,
        422,
        "contradiction",
        json!("routines"),
    )
    .await;
    refused(
        "/mine",
        r#"{"data":"x","difficulty":0}"#,
        422,
        "out_of_range",
        json!("difficulty"),
    )
    .await;
    refused(
        "/mine",
        r#"{"data":"x","mode":"fast"}"#,
        422,
        "unknown_value",
        json!("mode"),
    )
    .await;
    refused(
        "/stress",
        r#"{"pattern":"odd"}"#,
        422,
        "unknown_value",
        json!("pattern"),
    )
    .await;
    let whole = r#"{"allocations":1000000,"goroutines":100000}"#;
    refused(
        "/stress",
        whole,
        422,
        "product_too_large",
        json!("allocated_bytes"),
    )
    .await;
    let kept = r#"{"allocations":3000,"pattern":"long-lived"}"#;
    refused(
        "/stress",
        kept,
        422,
        "product_too_large",
        json!("kept_bytes"),
    )
    .await;
    refused(
        "/gc/finalizers",
        r#"{"count":1000001}"#,
        422,
        "out_of_range",
        json!("count"),
    )
    .await;
    let long = format!(r#"{{"data":"{}"}}"#, "x".repeat((64 << 10) + 1));
    refused("/blocks", &long, 422, "out_of_range", json!("data")).await;
    refused(
        "/api/v1/faults",
        r#"{"kind":"panic"}"#,
        403,
        "switched_off",
        Value::Null,
    )
    .await;
    // Nothing of all this was a run, or touched the chain.
    assert_eq!(service.get("/api/v1/runs").await.json()["runs"], json!([]));
    assert_eq!(service.state.chain.length(), 1);
}
