//! Benches of the service: run like other work, kept with machine and commit.

mod service;

use std::alloc::System;

use axum::http::StatusCode;
use openwork::memory::CountingAllocator;
use openwork_web::runs::RunState;
use serde_json::json;
use service::Running;

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);

#[tokio::test]
async fn a_bench_is_a_run_and_stays_in_the_history() {
    let service = Running::start();
    let body = r#"{"bench":"create","rounds":2}"#;
    let answer = service.post("/api/v1/bench", body).await;
    assert_eq!(answer.status, StatusCode::OK);
    let result = answer.json();
    assert_eq!(
        (&result["bench"], &result["rounds"]),
        (&json!("create"), &json!(2))
    );
    assert_eq!(result["recorder"], true);
    assert_eq!(result["other_runs"], 0);
    assert!(result["machine"]["cores"].as_u64() > Some(0));
    let peers: Vec<_> = result["peers"].as_array().unwrap().iter().collect();
    assert_eq!(peers.len(), 2, "{result}");
    for peer in peers {
        assert_eq!(peer["failed"], json!(null));
        assert_eq!(peer["figures"][0]["runs"].as_array().unwrap().len(), 2);
    }

    let run = service
        .get(&format!("/api/v1/runs/{}", answer.run()))
        .await
        .json();
    assert_eq!((&run["kind"], &run["result"]), (&json!("bench"), &result));
    assert_eq!(run["progress"]["done"], 4);
    assert_eq!(run["progress"]["unit"], "turns");
    assert!(run["counters"]["spawned"].as_u64() > Some(2_000), "{run}");

    // Of another bench, and one that did not succeed: neither belongs to this history.
    service
        .post("/api/v1/bench", r#"{"bench":"skynet_10k","rounds":1}"#)
        .await;
    let history = service
        .get("/api/v1/bench/history?bench=create")
        .await
        .json();
    let past = history["history"].as_array().unwrap();
    assert_eq!(past.len(), 1, "{history}");
    assert_eq!(past[0]["run"], answer.run().to_string());
    assert_eq!(past[0]["result"], result);
}

#[tokio::test]
async fn a_bench_is_cancelled_like_any_run() {
    let service = Running::start();
    let body = r#"{"bench":"timers_20k","rounds":20}"#;
    let id = service.post_async("/api/v1/bench", body).await.run();
    let cancelled = service.post(&format!("/api/v1/runs/{id}/cancel"), "").await;
    assert!(cancelled.status.is_success());
    assert_eq!(service.ended(id).await.state, RunState::Cancelled);
    let history = service
        .get("/api/v1/bench/history?bench=timers_20k")
        .await
        .json();
    assert_eq!(history["history"], json!([]));
}

#[tokio::test]
async fn the_list_is_what_can_be_run() {
    let service = Running::start();
    let list = service.get("/api/v1/bench").await.json();
    let names: Vec<_> = list["benches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| &b["name"])
        .collect();
    assert!(names.contains(&&json!("yield_alone")), "{list}");
    // It takes gigabytes, and has no short form.
    assert!(!names.contains(&&json!("parked")), "{list}");
}
