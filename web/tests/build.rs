//! `GET /api/v1/build`, and what the page says of it.

mod service;

use openwork::Builder;
use serde_json::Value;
use service::{Running, within};

/// Breaks if a fact is missing, made up, or another one than the runtime tells itself.
#[tokio::test]
async fn the_build_is_told_as_the_runtime_tells_it() {
    let service = Running::start();
    let build = service.get("/api/v1/build").await.json();
    let info = openwork::build_info();
    assert_eq!(build["library"], info.version);
    assert_eq!(build["switch"], info.switch.name());
    assert_eq!(build["arch"], info.arch);
    let features = build["features"].as_array().expect("a list");
    let told: Vec<_> = features.iter().map(|f| (&f["name"], &f["on"])).collect();
    assert_eq!(told.len(), info.features.len());
    for (feature, (name, on)) in info.features.iter().zip(told) {
        assert_eq!(
            (name, on),
            (&Value::from(feature.name), &Value::from(feature.on))
        );
    }
    let snapshot = service.state.runtime.snapshot();
    assert_eq!(build["homes"]["version"], snapshot.homes.version.name());
    assert_eq!(build["homes"]["reason"], snapshot.homes.reason);
    assert_eq!(build["guard"], snapshot.stacks.mode.name());
    assert_eq!(build["probe"], snapshot.monitor.probe.name());
    assert_eq!(build["strategies"]["steal"], snapshot.config.steal.name());
    assert_eq!(build["poller"], Value::Null, "no socket yet");
    assert!(
        build["unmeasured"]
            .as_array()
            .expect("a list")
            .contains(&"poller".into())
    );
    // What cannot be had has a reason, and what can has none.
    for what in ["hand_off", "forced_preemption"] {
        let available = build[what]["available"].as_bool().expect("a truth");
        assert_eq!(build[what]["reason"].is_null(), available, "{what}");
        assert!(available || build[what]["on"] == false, "{what}");
    }
    let page = String::from_utf8(service.get("/").await.body.to_vec()).expect("text");
    let reason = build["homes"]["reason"].as_str().expect("a reason");
    assert!(page.contains(reason), "the page says which homes, and why");
}

/// Breaks if a turn's end is lost on its way to the page, or the list of routines has no class.
#[tokio::test]
async fn turns_say_why_they_are_over() {
    let service = Running::start();
    let handle = &service.state.runtime;
    let yields = Builder::new()
        .on(handle)
        .spawn(openwork::yield_now)
        .unwrap();
    let id = yields.id().to_string();
    yields.join().unwrap();
    // Ended = 0, yielded = 2; the record of the last turn is written when it is over.
    let ends = within(async {
        loop {
            let timeline = service.get("/api/v1/timeline?px=10000").await.json();
            assert!(timeline["absences"].is_array());
            let lanes = timeline["lanes"].as_array().expect("lanes");
            let cells = lanes
                .iter()
                .flat_map(|lane| lane.as_array().expect("cells"));
            let of_it = cells.filter(|cell| cell[5] == *id && cell[8] != Value::Null);
            let ends: Vec<_> = of_it.map(|cell| cell[8].as_u64()).collect();
            if !ends.is_empty() {
                break ends;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(
        ends.iter().all(|end| [Some(0), Some(2)].contains(end)),
        "{ends:?}"
    );
    let sleeps = Builder::new()
        .on(handle)
        .spawn(|| openwork::time::sleep(std::time::Duration::from_secs(3600)))
        .unwrap();
    let routine = service
        .get(&format!("/api/v1/routines/{}", sleeps.id()))
        .await
        .json();
    assert!(
        routine
            .as_object()
            .expect("a routine")
            .contains_key("class")
    );
    sleeps.abort();
}
