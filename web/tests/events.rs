//! What the event stream promises.

mod service;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use openwork_web::stream::Closer;
use serde_json::{Value, json};
use service::{Events, Running};

/// The figures of a sample that two renderings must share.
fn figures(of: &Value) -> Value {
    json!([of["workers"], of["steal_matrix"], of["injector_depth"]])
}

/// Breaks if any view reads live counters instead of the numbered sample.
#[tokio::test]
async fn equal_sample_numbers_mean_equal_figures_everywhere() {
    let service = Running::start();
    let mut events = Events::open(&service, None).await;
    let id = service
        .post_async("/mine", r#"{"data":"x","goroutines":64,"difficulty":18}"#)
        .await
        .run();
    let mut compared = 0;
    let number = |sample: &Value| sample["n"].as_u64().unwrap();
    let mut tick = events.next_named("tick").await.data;
    // While the run mines, every figure moves.
    while compared < 3 {
        let workers = service.get("/api/v1/workers").await.json();
        while number(&tick) < number(&workers) {
            tick = events.next_named("tick").await.data;
        }
        // A tick that is newer already waits for the next answer: to read on would stay ahead of
        // the answers for ever.
        if number(&tick) == number(&workers) {
            // `site` comes from the lanes, which the stream's sample and this one share.
            assert_eq!(figures(&tick), figures(&workers), "sample {}", tick["n"]);
            compared += 1;
            tick = events.next_named("tick").await.data;
        }
    }
    service
        .state
        .runs
        .cancel(id, openwork_web::runs::Stop::Asked);
    service.ended(id).await;
}

/// Breaks if totals of one sample contradict each other.
#[tokio::test]
async fn the_parts_of_a_sample_sum_to_its_totals() {
    let service = Running::start();
    service
        .post("/mine", r#"{"data":"x","goroutines":64,"difficulty":12}"#)
        .await;
    let mut events = Events::open(&service, None).await;
    let n = service.state.observatory.latest().n;
    let tick = loop {
        let tick = events.next_named("tick").await.data;
        if tick["n"].as_u64() > Some(n) {
            break tick;
        }
    };
    let number = |value: &Value| value.as_u64().unwrap();
    for (thief, worker) in tick["workers"].as_array().unwrap().iter().enumerate() {
        let by_source = worker["turns_by_source"].as_object().unwrap();
        assert_eq!(
            by_source.values().map(number).sum::<u64>(),
            number(&worker["turns"])
        );
        let row = tick["steal_matrix"][thief].as_array().unwrap();
        assert_eq!(
            row.iter().map(number).sum::<u64>(),
            number(&worker["stolen"])
        );
        let queued: u64 = ["lifo", "local", "inbox"]
            .iter()
            .map(|part| number(&worker[*part]))
            .sum();
        assert_eq!(queued, number(&worker["queue_depth"]));
    }
    let routines = &tick["routines"];
    let states = ["new", "runnable", "running", "blocked", "ended"];
    let sum: u64 = states.iter().map(|state| number(&routines[*state])).sum();
    assert_eq!(sum, number(&routines["spawned"]));
    assert_eq!(
        number(&routines["spawned"]),
        number(&routines["ended"]) + number(&routines["live"])
    );
}

/// Breaks if a page that was away for a moment loses what happened meanwhile.
#[tokio::test]
async fn a_reader_that_comes_back_gets_every_sample_since() {
    let service = Running::start();
    let mut events = Events::open(&service, None).await;
    let first = events.next_named("tick").await;
    let seen = first.data["n"].as_u64().unwrap();
    // Away for three samples, while somebody else watches.
    let mut other = Events::open(&service, None).await;
    while other.next_named("tick").await.data["n"].as_u64() < Some(seen + 3) {}
    drop(events);
    let mut back = Events::open(&service, first.id.as_deref()).await;
    // Those that there were when it came back; of later ones a reader that is late may skip some.
    for n in seen + 1..=seen + 3 {
        let tick = back.next_named("tick").await;
        assert_eq!(
            (tick.data["n"].as_u64(), &tick.data["skipped"]),
            (Some(n), &json!(0))
        );
        assert_eq!(
            tick.id,
            Some(format!("{}-{n}", tick.data["boot"].as_str().unwrap()))
        );
    }
}

#[tokio::test]
async fn a_reader_of_another_process_is_told_to_begin_anew() {
    let service = Running::start();
    for id in ["other-3", "nonsense", "-"] {
        let mut events = Events::open(&service, Some(id)).await;
        let reset = events.next().await.unwrap();
        let boot = service.state.observatory.boot().to_string();
        assert_eq!(
            (reset.name.as_str(), reset.data),
            ("reset", json!({ "boot": boot }))
        );
        assert_eq!(events.next().await.unwrap().name, "tick");
    }
    let history = service.get("/api/v1/history?since=other-3").await.json();
    assert_eq!(history["reset"], true);
    assert!(!history["samples"].as_array().unwrap().is_empty());
    let own = format!(
        "/api/v1/history?since={}-1",
        history["boot"].as_str().unwrap()
    );
    let history = service.get(&own).await.json();
    assert_eq!(history["reset"], false);
    assert!(
        history["samples"]
            .as_array()
            .unwrap()
            .iter()
            .all(|sample| sample.get("lanes").is_none())
    );
    let malformed = service.get("/api/v1/history?since=nonsense").await;
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
}

/// Breaks if a stream that nobody reads keeps the service from ending.
#[tokio::test]
async fn every_stream_ends_with_bye() {
    let service = Running::start();
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut events = Events::open(&service, None).await;
        events.next_named("tick").await;
        streams.push(events);
    }
    service.state.hub.bye();
    for events in &mut streams {
        events.next_named("bye").await;
        assert_eq!(events.next().await, None);
    }
    // One that comes too late is told so as well.
    let mut late = Events::open(&service, None).await;
    late.next_named("bye").await;
    assert_eq!(late.next().await, None);
}

/// Breaks if samples are queued for a reader that does not keep up.
#[tokio::test]
async fn a_slow_reader_gets_the_newest_sample_and_is_told_what_it_missed() {
    let service = Running::start();
    let mut slow = Events::open(&service, None).await;
    let mut last = slow.next_named("tick").await.data["n"].as_u64().unwrap();
    let mut quick = Events::open(&service, None).await;
    let mut now = 0;
    while now < last + 10 {
        now = quick.next_named("tick").await.data["n"].as_u64().unwrap();
    }
    // What was on its way already may be older; what comes after is not.
    let mut skipped = 0;
    for _ in 0..3 {
        let tick = slow.next_named("tick").await.data;
        let n = tick["n"].as_u64().unwrap();
        assert_eq!(tick["skipped"].as_u64().unwrap(), n - last - 1);
        skipped += tick["skipped"].as_u64().unwrap();
        last = n;
    }
    assert!(
        skipped >= 7 && last >= now,
        "skipped {skipped}, at {last} of {now}"
    );
    let counted = loop {
        let watching = quick.next_named("tick").await.data["watching"].clone();
        if watching["samples_skipped"].as_u64() >= Some(skipped) {
            break watching;
        }
    };
    assert_eq!(counted["viewers"], 2);
    assert!(counted["bytes_sent"].as_u64() > Some(0));
}

/// Breaks if a viewer that went to sleep with its connection open keeps its place for ever.
// The clock is paused: it runs on as soon as nothing but a timer is waited for, so the ten seconds pass at once.
#[tokio::test(start_paused = true)]
async fn a_viewer_that_takes_nothing_is_closed_and_counted() {
    let service = Running::start();
    let (closer, closed) = Closer::new();
    let mut request = Request::get("/api/v1/events").body(Body::empty()).unwrap();
    request.extensions_mut().insert(closer);
    let (_, _unread) = service.open(request).await;
    closed.closed().await;
    while service.state.hub.viewers() > 0 {
        tokio::task::yield_now().await;
    }
    let observatory = &service.state.observatory;
    let mut sample = observatory.latest();
    while sample.watching.viewers_closed == 0 {
        let stuck = std::time::Duration::from_secs(60);
        sample = observatory
            .wait_newer(sample.n, stuck)
            .expect("a sample within a minute");
    }
    assert_eq!(sample.watching.viewers_closed, 1);
}

#[tokio::test]
async fn a_viewer_too_many_is_refused_and_a_place_comes_free() {
    let service = Running::start();
    let mut viewers = Vec::new();
    for _ in 0..64 {
        viewers.push(Events::open(&service, None).await);
    }
    let refused = service.get("/api/v1/events").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json()["limit"], 64);
    drop(viewers.pop());
    // The place is given back by the stream's task, which notices at its next turn.
    while service.state.hub.viewers() == 64 {
        tokio::task::yield_now().await;
    }
    Events::open(&service, None).await;
}

/// Breaks if a block appears on the page only after a reload, or a run only at its end.
#[tokio::test]
async fn runs_and_blocks_are_events() {
    let service = Running::start();
    let mut events = Events::open(&service, None).await;
    let answer = service.post("/blocks", r#"{"data":"hello"}"#).await.json();
    let queued = events.next_named("run").await.data;
    assert_eq!(
        (&queued["state"], &queued["kind"]),
        (&json!("queued"), &json!("block"))
    );
    let block = events.next_named("block").await.data;
    let listed = service.get("/blocks?offset=1").await.json();
    for field in [
        "index",
        "hash",
        "nonce",
        "data",
        "header",
        "by_routine",
        "by_worker",
    ] {
        assert_eq!(block[field], answer["block"][field], "{field}");
        assert_eq!(block[field], listed[0][field], "{field}");
    }
    assert!(block["by_worker"].is_u64(), "{block}");
    loop {
        if events.next_named("run").await.data["state"] == "succeeded" {
            break;
        }
    }
}
