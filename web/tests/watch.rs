//! Looking at routines and turns, and provoking something to look at.

mod service;

use std::sync::mpsc;

use axum::http::StatusCode;
use openwork::{Builder, Workload, time};
use openwork_web::Setting;
use serde_json::{Value, json};
use service::{Running, within};

/// Routines that sleep until the value is dropped.
struct Sleepers(Workload, openwork::Handle);

impl Sleepers {
    /// Starts `count` of them, and waits until each sleeps.
    fn start(service: &Running, count: usize) -> Sleepers {
        let workload = Workload::new("sleepers");
        let (begun, begins) = mpsc::channel();
        for number in 0..count {
            let begun = begun.clone();
            let sleeper = Builder::new()
                .name(&format!("sleeper-{number}"))
                .workload(&workload)
                .on(&service.state.runtime)
                .spawn(move || {
                    begun.send(()).unwrap();
                    time::sleep(std::time::Duration::from_secs(3600));
                });
            sleeper.unwrap();
        }
        begins.iter().take(count).for_each(drop);
        let runtime = service.state.runtime.clone();
        while runtime.snapshot().routines.blocked < count as u64 {
            std::thread::yield_now();
        }
        Sleepers(workload, runtime)
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        self.0.cancel(&self.1);
    }
}

#[tokio::test]
async fn routines_are_found_by_state_site_name_and_workload() {
    let service = Running::start();
    let sleepers = Sleepers::start(&service, 5);
    let total = async |query: &str| -> u64 {
        let answer = service.get(&format!("/api/v1/routines?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        answer.json()["total"].as_u64().unwrap()
    };
    assert_eq!(total("").await, 5);
    assert_eq!(total("state=blocked").await, 5);
    assert_eq!(total("state=sleep").await, 5);
    assert_eq!(total("state=runnable").await, 0);
    assert_eq!(total("site=tests/watch.rs").await, 5);
    assert_eq!(total("site=elsewhere.rs").await, 0);
    assert_eq!(total("name=sleeper-3").await, 1);
    assert_eq!(total(&format!("workload={}", sleepers.0.id())).await, 5);
    assert_eq!(total("workload=0").await, 0);
    assert_eq!(total("min_wait_ms=3600000").await, 0);
    for refused in [
        "state=asleep",
        "sort=beauty",
        "limit=10001",
        "min_wait_ms=-1",
    ] {
        let answer = service.get(&format!("/api/v1/routines?{refused}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    }

    let first = service.get("/api/v1/routines?limit=1").await.json()["routines"][0].clone();
    let one = service
        .get(&format!(
            "/api/v1/routines/{}",
            first["id"].as_str().unwrap()
        ))
        .await
        .json();
    for field in [
        "id",
        "name",
        "site",
        "state",
        "wait_reason",
        "spawned_at_ns",
        "workload",
        "kind",
        "home",
    ] {
        assert_eq!(one[field], first[field], "{field}");
    }
    assert_eq!(
        (&one["state"], &one["wait_reason"]),
        (&json!("blocked"), &json!("sleep"))
    );
    assert!(one["stack"]["high_water_bytes"].as_u64() > Some(0), "{one}");
    for id in ["999999999", "x", "..%2f..%2fetc%2fpasswd", "1%00"] {
        let answer = service.get(&format!("/api/v1/routines/{id}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
    }
}

/// Breaks if a page boundary loses or repeats a routine, in any order.
#[tokio::test]
async fn pages_hold_every_routine_once_in_every_order() {
    let service = Running::start();
    let _sleepers = Sleepers::start(&service, 23);
    for sort in [
        "age", "-age", "wait", "-wait", "turns", "-turns", "moves", "stack", "-stack",
    ] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = service
                .get(&format!(
                    "/api/v1/routines?sort={sort}&limit=5&cursor={cursor}"
                ))
                .await
                .json();
            assert_eq!(page["total"], 23);
            seen.extend(
                page["routines"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|r| r["id"].as_str().unwrap().to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!((seen.len(), unique.len()), (23, 23), "{sort}");
    }
}

#[tokio::test]
async fn the_timeline_holds_the_turns_of_a_run() {
    let service = Running::start();
    let before = time::now_ns();
    service
        .post("/mine", r#"{"data":"x","goroutines":8,"difficulty":12}"#)
        .await;
    let after = time::now_ns();
    let timeline = service
        .get(&format!(
            "/api/v1/timeline?from_ns={before}&to_ns={after}&px=10000"
        ))
        .await
        .json();
    let cells: Vec<&Value> = timeline["lanes"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|l| l.as_array().unwrap())
        .collect();
    assert!(!cells.is_empty(), "{timeline}");
    for cell in cells {
        assert_eq!(cell.as_array().map(Vec::len), Some(9), "{cell}");
        let site = timeline["sites"][cell[6].to_string()].as_str();
        assert!(site.is_some_and(|site| site.contains(".rs:")), "{cell}");
        assert!(
            cell[5].is_string() && cell[2].as_u64().is_some_and(|source| source < 8),
            "{cell}"
        );
        // No turn that is over is without a reason.
        let end = cell[8].as_u64();
        assert_eq!(end.is_none(), cell[4] == 0, "{cell}");
        assert!(end.is_none_or(|end| end < 6), "{cell}");
    }
    let backwards = service.get("/api/v1/timeline?from_ns=9&to_ns=3").await;
    assert_eq!(backwards.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        service.get("/api/v1/timeline?from_ns=now").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(service.get("/api/v1/timeline").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_crowd_is_counted_and_gone_afterwards() {
    let service = Running::start();
    let answer = service
        .post("/api/v1/crowd", r#"{"routines":20000,"sleep_ms":50}"#)
        .await
        .json();
    let peak = answer["live_peak"].as_u64().unwrap();
    // How many sleep at once depends on how fast this machine spawns.
    assert!(
        answer["routines"] == 20000 && (1..=20000).contains(&peak),
        "{answer}"
    );
    let burst = service
        .post("/api/v1/crowd", r#"{"routines":100000,"sleep_ms":0}"#)
        .await
        .json();
    assert!(burst["stacks_peak"].as_u64() < Some(1000), "{burst}");
    let counts = service.state.runtime.snapshot().routines;
    assert_eq!((counts.live(), counts.spawned), (0, counts.ended));
}

/// Breaks if a panicking routine takes its run's place, its worker or the service with it.
#[tokio::test]
async fn a_panic_on_purpose_is_reported_and_ends_nothing_else() {
    let service = Running::with(|config| config.demo_faults = Setting::flag(true));
    for _ in 0..5 {
        let answer = service.post("/api/v1/faults", r#"{"kind":"panic"}"#).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["message"], "a panic was asked for");
    }
    assert_eq!(
        service.post("/api/v1/faults", "{}").await.status,
        StatusCode::BAD_REQUEST
    );
    let unknown = service.post("/api/v1/faults", r#"{"kind":"flood"}"#).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(service.state.runtime.snapshot().routines.panicked, 5);
    let mined =
        within(service.post("/mine", r#"{"data":"x","goroutines":4,"difficulty":8}"#)).await;
    assert_eq!(mined.status, StatusCode::OK);
}
