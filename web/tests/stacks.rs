//! Stacks by size, by spawn site and of one routine.

mod service;

use std::time::Duration;

use axum::http::StatusCode;
use openwork::{Builder, Workload, time, with_segment};
use serde_json::Value;
use service::{Running, within};

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// Breaks if a site or a size is lost, sizes do not add up, or a routine's segment is not told of.
#[tokio::test]
async fn stacks_are_told_by_size_by_site_and_of_one_routine() {
    let service = Running::start();
    let workload = Workload::new("stacks");
    let (begun, begins) = std::sync::mpsc::channel();
    let deep = begun.clone();
    let builder = || {
        Builder::new()
            .workload(&workload)
            .on(&service.state.runtime)
    };
    let plain = builder().spawn(move || {
        begun.send(()).unwrap();
        time::sleep(Duration::from_secs(3600));
    });
    let parser = builder().spawn(move || {
        with_segment(256 << 10, || {
            deep.send(()).unwrap();
            time::sleep(Duration::from_secs(3600));
        })
        .unwrap();
    });
    let (plain, parser) = (plain.unwrap(), parser.unwrap());
    begins.iter().take(2).for_each(drop);

    let of_parser = format!("/api/v1/routines/{}/stack", parser.id());
    let parts = within(async {
        loop {
            let answer = service.get(&of_parser).await;
            if answer.status == StatusCode::OK {
                return answer.json()["parts"].clone();
            }
            assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.json());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let sizes: Vec<_> = parts.as_array().expect("parts").iter().collect();
    assert_eq!(sizes.len(), 2, "{parts}");
    assert_eq!(number(&parts[1]["slot_bytes"]), 256 << 10);
    for part in &sizes {
        let within_slot = number(&part["depth_bytes"]) + number(&part["guard_distance_bytes"]);
        assert!(within_slot <= number(&part["slot_bytes"]), "{part}");
    }
    let view = service
        .get(&format!("/api/v1/routines/{}", parser.id()))
        .await;
    assert_eq!(view.json()["stack"]["segments"], 1);

    let shown = within(async {
        loop {
            let shown = service.get("/api/v1/stacks").await.json();
            let sites = shown["sites"].as_array().expect("sites");
            let ours = sites.iter().filter(|s| {
                s["site"]
                    .as_str()
                    .is_some_and(|s| s.contains("tests/stacks.rs"))
            });
            // The figures of sizes are of the newest sample, which may be from before.
            if ours.count() == 2 && number(&shown["stacks"]["segments"]) == 1 {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let classes = shown["classes"].as_array().expect("classes");
    let sum = |figure: &str| {
        classes
            .iter()
            .map(|class| number(&class[figure]))
            .sum::<u64>()
    };
    assert_eq!(sum("in_use"), number(&shown["stacks"]["in_use"]));
    assert!(
        classes
            .iter()
            .any(|c| number(&c["slot_bytes"]) == 256 << 10)
    );
    for site in shown["sites"].as_array().expect("sites") {
        let (slot, advised) = (number(&site["slot_bytes"]), number(&site["advised_bytes"]));
        let advice = match advised.cmp(&slot) {
            std::cmp::Ordering::Less => "smaller",
            std::cmp::Ordering::Equal => "fits",
            std::cmp::Ordering::Greater => "larger",
        };
        assert_eq!(site["advice"], advice, "{site}");
        assert!(number(&site["measured"]) > 0 && number(&site["high_water_bytes"]) > 0);
    }
    let one = service.get("/api/v1/stacks?limit=1").await.json();
    assert_eq!(one["sites"].as_array().expect("sites").len(), 1);
    assert_eq!(one["sites_total"], shown["sites_total"]);

    let nobody = service.get("/api/v1/routines/999999999/stack").await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    workload.cancel(&service.state.runtime);
    let ended = tokio::task::spawn_blocking(move || (plain.join(), parser.join()));
    let (plain, parser) = within(ended).await.unwrap();
    assert!(plain.is_err() && parser.is_err());
    assert_eq!(service.get(&of_parser).await.status, StatusCode::NOT_FOUND);
}
