//! Routines that never give way, and labs.

mod service;

use axum::http::StatusCode;
use openwork_web::runs::{RunState, Stop};
use serde_json::json;
use service::Running;

/// Breaks if a hog gives way, does other work than a polite routine, or 0 means the default.
#[tokio::test]
async fn a_hog_does_its_work_in_one_turn() {
    let service = Running::start();
    let mined = service
        .post("/mine", r#"{"data":"x","difficulty":10,"yield_every":0}"#)
        .await
        .json();
    assert_eq!(mined["yields"], 0, "{mined}");
    assert_eq!(mined["blocks"].as_array().expect("blocks").len(), 1);
    let race = r#"{"data":"x","difficulty":10,"mode":"race","goroutines":3,"yield_every":0}"#;
    let raced = service.post("/mine", race).await.json();
    assert_eq!(raced["blocks"].as_array().expect("blocks").len(), 1);

    let stress = |yield_every: u64| {
        json!({"allocations": 25, "goroutines": 2, "block_kb": 16, "yield_every": yield_every})
            .to_string()
    };
    let hog = service.post("/stress", &stress(0)).await.json();
    let polite = service.post("/stress", &stress(5)).await.json();
    assert_eq!(hog["yields"], 0, "{hog}");
    assert!(polite["yields"].as_u64() >= Some(8), "{polite}");
    assert_eq!(hog["digest"], polite["digest"]);
}

/// Breaks if a hog cannot be stopped, or holds the service up.
#[tokio::test]
async fn hogs_on_every_worker_are_cancelled() {
    let service = Running::start();
    for mode in ["chain", "race"] {
        let body =
            json!({"data": "x", "difficulty": 32, "goroutines": 8, "yield_every": 0, "mode": mode});
        let run = service.post_async("/mine", &body.to_string()).await.run();
        while service.state.runtime.snapshot().routines.running < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(service.get("/api/v1/workers").await.status, StatusCode::OK);
        service.state.runs.cancel(run, Stop::Asked);
        assert_eq!(service.ended(run).await.state, RunState::Cancelled);
    }
}

/// Breaks if a lab does not answer, or accepts what would take for ever.
#[tokio::test]
async fn labs_answer_with_their_witness() {
    let service = Running::start();
    for kind in ["spin", "blocking-call", "blocking-pool", "imbalance"] {
        let body = json!({"kind": kind, "routines": 6, "ms": 12}).to_string();
        let answer = service.post("/api/v1/labs", &body).await;
        let lab = answer.json();
        assert_eq!(answer.status, StatusCode::OK, "{lab}");
        assert_eq!((&lab["kind"], &lab["routines"]), (&json!(kind), &json!(6)));
        assert!(lab["duration_ms"].as_f64() >= Some(12.0), "{lab}");
        assert!(lab["at_best_ms"].as_f64() >= Some(12.0), "{lab}");
        assert!(lab["witness_sleeps"].as_u64() > Some(0), "{lab}");
        let late = ["p50", "p99", "max"].map(|q| lab[format!("witness_late_{q}_ms")].as_f64());
        assert!(
            late[0] <= late[1] && late[1] <= late[2] && late[0].is_some(),
            "{lab}"
        );
        assert_eq!(lab["config"]["workers"], 2);
        let record = service.ended(answer.run()).await;
        assert_eq!(record.kind.name(), "lab");
    }
    for (body, field) in [
        (json!({"kind": "nap"}), "kind"),
        (json!({"routines": 0}), "routines"),
        (json!({"ms": 10_001}), "ms"),
        (json!({"routines": 1_000, "ms": 10_000}), "total_ms"),
    ] {
        let answer = service.post("/api/v1/labs", &body.to_string()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.json()["field"], field, "{body}");
    }
}
