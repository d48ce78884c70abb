//! The runtime's configuration, changed while it runs.

mod service;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use service::{Answer, Events, Running};

async fn patch(service: &Running, body: Value) -> Answer {
    let request = Request::patch("/api/v1/config")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    service.call(request.unwrap()).await
}

async fn config(service: &Running) -> Value {
    service.get("/api/v1/config").await.json()
}

/// Breaks if a change is not carried out, not told, or told twice.
#[tokio::test]
async fn a_change_is_answered_announced_and_remembered() {
    let service = Running::start();
    let mut events = Events::open(&service, None).await;
    let before = config(&service).await;
    assert_eq!(before["config"]["slice_ms"], 10);
    assert_eq!(before["config"]["workers"], 2);
    assert_eq!(before["changes"], json!([]));
    for (choice, word) in [
        ("placement", "least_loaded"),
        ("victims", "most_loaded"),
        ("steal", "adaptive"),
        ("preemption", "forced"),
    ] {
        let words = before["choices"][choice].as_array().expect("words");
        assert!(words.iter().any(|w| w == word), "{words:?}");
    }

    let answer = patch(
        &service,
        json!({"slice_ms": 5, "preemption": "off", "steal": null}),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json());
    let changed = answer.json();
    assert_eq!(changed["old"], before["config"]);
    assert_eq!(changed["new"]["slice_ms"], 5);
    assert_eq!(changed["new"]["preemption"], "off");
    let event = events.next_named("config").await.data;
    assert_eq!(event["changes"], changed["changes"]);
    assert_eq!(event["changes"].as_array().expect("changes").len(), 2);
    let after = config(&service).await;
    assert_eq!(after["config"], changed["new"]);
    assert_eq!(after["changes"], json!([event]));

    // What is so already is no change: no event, no mark.
    let answer = patch(&service, json!({"slice_ms": 5})).await;
    assert_eq!(answer.json()["changes"], json!([]));
    let answer = patch(&service, json!({"slice_ms": 6})).await;
    assert_eq!(answer.status, StatusCode::OK);
    let event = events.next_named("config").await.data;
    assert_eq!(
        event["changes"],
        json!([{"field": "slice_ms", "old": 5, "new": 6}])
    );
}

/// Breaks if the number of workers is not changed, or the figures of workers that were are lost.
#[tokio::test]
async fn workers_come_and_go() {
    let service = Running::start();
    let mut events = Events::open(&service, None).await;
    let before = config(&service).await;
    let most = before["config"]["max_workers"].as_u64().expect("a number");
    assert!(most >= 3, "room for one more than there are");
    let answer = patch(&service, json!({"workers": 3, "slice_ms": 5})).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json());
    let event = events.next_named("config").await.data;
    let changes = event["changes"].as_array().expect("a list");
    let change = json!({"field": "workers", "old": 2, "new": 3});
    assert!(changes.contains(&change), "{changes:?}");
    assert_eq!(config(&service).await["config"]["workers"], 3);
    let answer = patch(&service, json!({"workers": 1})).await;
    assert_eq!(answer.status, StatusCode::OK);
    loop {
        let workers = events.next_named("tick").await.data["workers"].clone();
        let workers = workers.as_array().expect("workers");
        let inactive = workers.iter().filter(|w| w["state"] == "inactive");
        if inactive.count() == 2 {
            assert_eq!(workers.len(), 3);
            break;
        }
    }
    let answer = patch(&service, json!({"workers": most + 1, "slice_ms": 7})).await;
    let problem = answer.json();
    assert_eq!(answer.status.as_u16(), 422, "{problem}");
    assert_eq!(
        (&problem["code"], &problem["field"]),
        (&json!("out_of_range"), &json!("workers"))
    );
    assert_eq!(problem["limit"], most);
    let after = config(&service).await;
    assert_eq!(
        (&after["config"]["workers"], &after["config"]["slice_ms"]),
        (&json!(1), &json!(5))
    );
}

/// Breaks if a part of a refused change is carried out, or the refusal does not name its field and limit.
#[tokio::test]
async fn a_change_is_taken_whole_or_not_at_all() {
    let service = Running::start();
    let before = config(&service).await;
    let cases = [
        (
            json!({"slice_ms": 7, "preemption": "later"}),
            422,
            "unknown_value",
            "preemption",
            None,
        ),
        (
            json!({"preemption": "off", "slice_ms": 0}),
            422,
            "out_of_range",
            "slice_ms",
            Some(1),
        ),
        (
            json!({"preemption": "off", "slice_ms": 101}),
            422,
            "out_of_range",
            "slice_ms",
            Some(100),
        ),
        (
            json!({"preemption": "off", "slice_ms": "5"}),
            400,
            "wrong_type",
            "slice_ms",
            None,
        ),
        (
            json!({"preemption": "off", "hand_off": 1}),
            400,
            "wrong_type",
            "hand_off",
            None,
        ),
        (
            json!({"preemption": "off", "rebalance_ratio": 1.0}),
            422,
            "out_of_range",
            "rebalance_ratio",
            None,
        ),
        (
            json!({"preemption": "off", "workers": 1_000}),
            422,
            "out_of_range",
            "workers",
            None,
        ),
        (
            json!({"preemption": "off", "workers": 0}),
            422,
            "out_of_range",
            "workers",
            Some(1),
        ),
        (
            json!({"preemption": "off", "max_workers": 3}),
            422,
            "unknown_value",
            "max_workers",
            None,
        ),
        (
            json!({"preemption": "off", "slise_ms": 3}),
            422,
            "unknown_value",
            "slise_ms",
            None,
        ),
    ];
    for (body, status, code, field, limit) in cases {
        let answer = patch(&service, body.clone()).await;
        let problem = answer.json();
        assert_eq!(answer.status.as_u16(), status, "{body}: {problem}");
        assert_eq!(problem["code"], code, "{body}");
        assert_eq!(problem["field"], field, "{body}");
        if limit.is_some() {
            assert_eq!(problem["limit"].as_u64(), limit, "{body}");
        }
    }
    assert_eq!(config(&service).await, before);
}
