//! What a run promises to its client, and to the others.

mod service;

use std::alloc::System;
use std::time::Duration;

use axum::http::StatusCode;
use openwork::memory::CountingAllocator;
use openwork_web::Setting;
use openwork_web::runs::{RunId, RunState};
use serde_json::{Value, json};
use service::{Events, Running, send, within};

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);

/// Mining that takes days: what a cancel is for.
const ENDLESS: &str = r#"{"data":"x","goroutines":4,"difficulty":32,"mode":"race"}"#;

async fn get_run(service: &Running, id: RunId) -> Value {
    service.get(&format!("/api/v1/runs/{id}")).await.json()
}

/// Breaks if a run is tied to the request that started it although its client will not wait.
#[tokio::test]
async fn an_asynchronous_run_outlives_its_request_and_equals_the_synchronous_answer() {
    let service = Running::start();
    let body = r#"{"data":"x","goroutines":3,"difficulty":8}"#;
    let accepted = service.post_async("/mine", body).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    assert_eq!(accepted.headers["preference-applied"], "respond-async");
    let id = accepted.run();
    assert_eq!(accepted.headers["location"], format!("/api/v1/runs/{id}"));
    assert_eq!(accepted.json()["kind"], "mine");

    assert_eq!(service.ended(id).await.state, RunState::Succeeded);
    let run = get_run(&service, id).await;
    assert_eq!(run["result"]["blocks"].as_array().unwrap().len(), 3);
    assert_eq!(run["progress"]["done"], 3);
    assert_eq!(run["progress"]["expected_attempts"], 768.0);
    assert_eq!(run["request"]["mode"], "chain");
    assert!(run["counters"]["spawned"].as_u64() >= Some(4), "{run}");
    assert_eq!(run["counters"]["spawned"], run["counters"]["ended"]);

    let synchronous = service.post("/mine", body).await;
    assert_eq!(synchronous.status, StatusCode::OK);
    let same = get_run(&service, synchronous.run()).await;
    assert_eq!(same["result"], synchronous.json());
}

#[tokio::test]
async fn cancelling_twice_is_cancelling_once() {
    let service = Running::start();
    let id = service.post_async("/mine", ENDLESS).await.run();
    let first = service.post(&format!("/api/v1/runs/{id}/cancel"), "").await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.json()["state"], "cancelled");
    let delete = axum::http::Request::delete(format!("/api/v1/runs/{id}"));
    let second = service
        .call(delete.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(
        (second.status, second.json()),
        (StatusCode::OK, first.json())
    );
    // What stayed of it is listed: here, no block.
    assert_eq!(first.json()["result"]["blocks"], json!([]));
    assert_eq!(
        service.get("/api/v1/runs/7777").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        service.post("/api/v1/runs/x/cancel", "").await.status,
        StatusCode::NOT_FOUND
    );
}

/// Breaks if a synchronous run goes on for a client that has closed its connection.
#[tokio::test]
async fn a_synchronous_run_ends_with_its_client_and_attempts_stop() {
    let service = Running::start();
    let mut events = Events::open(&service, None).await;
    let address = service.listen().await;
    let request = format!(
        "POST /mine HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{ENDLESS}",
        ENDLESS.len()
    );
    let client = send(address, &request).await;
    // The run is seen at once, and works.
    let id: RunId = loop {
        let run = events.next_named("run").await.data;
        if run["progress"]["attempts"].as_u64() > Some(0) {
            break run["id"].as_str().unwrap().parse().unwrap();
        }
    };
    drop(client);
    let run = service.ended(id).await;
    assert_eq!(run.state, RunState::Cancelled);
    assert_eq!(
        run.error.as_deref(),
        Some("the client went away before the run ended")
    );
    // No routine of it is left that could try another hash.
    assert_eq!(run.counters.spawned, run.counters.ended);
    let attempts = service.state.meter.total();
    service.get("/api/v1/runs").await;
    assert_eq!(service.state.meter.total(), attempts);
}

/// Breaks if bytes are measured as a difference of the whole process.
#[tokio::test]
async fn two_stress_runs_at_once_report_their_own_bytes() {
    let service = Running::start();
    let body = |allocations: u64| {
        format!(
            r#"{{"allocations":{allocations},"goroutines":2,"pattern":"long-lived","block_kb":256,"hold_ms":200}}"#
        )
    };
    let (small, large) = (body(8), body(64));
    let (small, large) = tokio::join!(
        service.post("/stress", &small),
        service.post("/stress", &large)
    );
    for (answer, blocks) in [(small.json(), 16), (large.json(), 128)] {
        let held = f64::from(blocks) * 0.25;
        let delta = answer["memory_delta_mb"].as_f64().unwrap();
        assert!(
            (held..held + 1.0).contains(&delta),
            "{delta} MB for {held} MB of blocks"
        );
        assert!(
            answer["memory_delta_at_end_mb"].as_f64().unwrap().abs() < 1.0,
            "{answer}"
        );
        assert_eq!(
            (&answer["kept"], &answer["dropped"]),
            (&json!(blocks), &json!(0))
        );
        assert_eq!(answer["gc_collections"], Value::Null);
        assert_eq!(
            answer["unmeasured"],
            json!(["gc_collections", "gc_pause_total_ms", "gc_cpu_fraction"])
        );
    }
}

#[tokio::test]
async fn a_run_too_many_is_refused_with_the_limit() {
    let service = Running::with(|config| config.max_runs = Setting::flag(1));
    let id = service.post_async("/mine", ENDLESS).await.run();
    let refused = service.post("/stress", "{}").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["retry-after"], "1");
    let problem = refused.json();
    assert_eq!(
        (&problem["code"], &problem["limit"]),
        (&json!("too_many_runs"), &json!(1))
    );
    service.post(&format!("/api/v1/runs/{id}/cancel"), "").await;
    assert_eq!(service.post("/stress", "{}").await.status, StatusCode::OK);
}

/// Breaks if a time-out loses what was appended before it.
#[tokio::test]
async fn a_run_that_takes_too_long_is_timed_out_and_its_blocks_stay() {
    let service =
        Running::with(|config| config.run_timeout = Setting::flag(Duration::from_secs(1)));
    // Ten thousand blocks take far more than a second, the first one far less.
    let body = r#"{"data":"x","goroutines":10000,"difficulty":14}"#;
    let answer = service.post("/mine", body).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.json()["code"], "run_timeout");
    let run = service.ended(answer.run()).await;
    assert_eq!(run.state, RunState::TimedOut);
    let result: Value = serde_json::from_str(run.result.unwrap().get()).unwrap();
    assert!(result["total_blocks"].as_u64() > Some(1), "{result}");
    assert_eq!(service.state.chain.length(), run.progress.done + 1);
    let verified = service.get("/blocks/verify").await.json();
    assert_eq!(
        (&verified["valid"], &verified["first_bad"]),
        (&json!(true), &Value::Null)
    );
    let text = service.state.runs.last_failure().and_then(|run| run.error);
    assert_eq!(text.as_deref(), Some("the run took longer than 1 s"));
}

#[tokio::test]
async fn a_long_result_is_answered_whole_and_kept_cut() {
    let service = Running::start();
    let answer = service
        .post("/mine", r#"{"data":"x","goroutines":500,"difficulty":1}"#)
        .await;
    assert_eq!(answer.json()["blocks"].as_array().unwrap().len(), 500);
    let run = get_run(&service, answer.run()).await;
    assert_eq!(
        (&run["truncated"], &run["result"]["truncated"]),
        (&json!(true), &json!(true))
    );
    assert!(run["result"].to_string().len() <= 64 << 10);
    assert_eq!(run["result"]["total_blocks"], 501);
}

#[tokio::test]
async fn a_draining_service_takes_no_run_and_can_wait_for_those_it_has() {
    let service = Running::start();
    let id = service.post_async("/mine", ENDLESS).await.run();
    service.state.runs.drain();
    let refused = service.post("/mine", ENDLESS).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("draining"))
    );
    service.state.runs.cancel_all();
    within(service.state.runs.idle()).await;
    let run = get_run(&service, id).await;
    assert_eq!(run["state"], "cancelled");
    assert_eq!(
        run["error"],
        "the service is ending, and the run did not end in time"
    );
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages() {
    let service = Running::start();
    for _ in 0..5 {
        service.post("/gc/finalizers", "{}").await;
    }
    let page = service.get("/api/v1/runs?limit=3").await.json();
    let ids = |page: &Value| -> Vec<String> {
        let runs = page["runs"].as_array().unwrap().iter();
        runs.map(|run| run["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (ids(&page), &page["next"]),
        (vec!["5".into(), "4".into(), "3".into()], &json!("3"))
    );
    let rest = service.get("/api/v1/runs?limit=3&before=3").await.json();
    assert_eq!(
        (ids(&rest), &rest["next"]),
        (vec!["2".to_owned(), "1".into()], &Value::Null)
    );
    let failed = service.get("/api/v1/runs?state=failed").await.json();
    assert_eq!(failed["runs"], json!([]));
    assert_eq!(
        service.get("/api/v1/runs?state=lost").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        service.get("/api/v1/runs?limit=0").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

/// Breaks if the page cannot tell its own runs from those of curl.
#[tokio::test]
async fn a_run_knows_who_started_it() {
    let service = Running::start();
    let mut request = service::post("/stress", "{}");
    request
        .headers_mut()
        .insert("openwork-source", "page".parse().unwrap());
    let of_page = service.call(request).await.run();
    let of_curl = service.post("/stress", "{}").await;
    assert_eq!(get_run(&service, of_page).await["source"], "page");
    assert_eq!(get_run(&service, of_curl.run()).await["source"], "api");
    let timing = of_curl.headers["server-timing"].to_str().unwrap();
    assert!(timing.starts_with("run;dur="), "{timing}");
}
