//! Equal sample numbers, equal figures: `/metrics`, `/stats`, `/api/v1/runtime` and `/api/v1/workers`.

mod service;

use std::alloc::System;
use std::collections::BTreeMap;

use openwork::memory::CountingAllocator;
use serde_json::Value;
use service::Running;

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);

/// `name{labels}` to value.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// Asks until all answers are of one sample: the sampler goes on meanwhile, once a second.
async fn of_one_sample(service: &Running) -> (BTreeMap<String, f64>, Value, Value, Value) {
    loop {
        let metrics =
            parse(std::str::from_utf8(&service.get("/metrics").await.body).expect("text"));
        let stats = service.get("/stats").await.json();
        let runtime = service.get("/api/v1/runtime").await.json();
        let workers = service.get("/api/v1/workers").await.json();
        let n = metrics["openwork_sample_number"];
        let numbers = [
            &stats["sample"]["n"],
            &runtime["sample"]["n"],
            &workers["n"],
        ];
        if numbers.iter().all(|other| other.as_f64() == Some(n)) {
            return (metrics, stats, runtime, workers);
        }
    }
}

/// Breaks if one of them reads a live counter instead of the sample, or a total is not the sum of its parts.
#[tokio::test]
async fn equal_sample_numbers_give_equal_figures() {
    let service = Running::start();
    service
        .post("/mine", r#"{"data":"x","goroutines":16,"difficulty":8}"#)
        .await;
    service
        .post(
            "/stress",
            r#"{"allocations":20,"goroutines":8,"block_kb":16}"#,
        )
        .await;
    // A sample that has seen the end of both.
    let seen = service.state.observatory.latest().n;
    let observatory = service.state.observatory.clone();
    let waited = tokio::task::spawn_blocking(move || {
        observatory.wait_newer(seen, std::time::Duration::from_secs(60))
    });
    waited.await.expect("no panic").expect("a newer sample");

    let (metrics, stats, runtime, workers) = of_one_sample(&service).await;
    assert_eq!(stats["sample"], runtime["sample"]);
    assert_eq!(stats["sample"]["workers"], workers["workers"]);
    assert_eq!(stats["sample"]["steal_matrix"], workers["steal_matrix"]);

    let sample = &stats["sample"];
    let routines = &sample["routines"];
    let number = |value: &Value| value.as_f64().expect("a number");
    let sum = |prefix: &str| {
        metrics
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(_, v)| v)
            .sum::<f64>()
    };
    let states = ["new", "runnable", "running", "blocked", "ended"];
    assert_eq!(
        states.iter().map(|s| number(&routines[s])).sum::<f64>(),
        number(&routines["spawned"])
    );
    assert_eq!(
        number(&routines["spawned"]),
        number(&routines["ended"]) + number(&routines["live"])
    );
    assert_eq!(stats["num_goroutine"], routines["live"]);

    let mut turns = 0.0;
    for (thief, worker) in workers["workers"]
        .as_array()
        .expect("workers")
        .iter()
        .enumerate()
    {
        let by_source = worker["turns_by_source"].as_object().expect("sources");
        assert_eq!(
            by_source.values().map(number).sum::<f64>(),
            number(&worker["turns"])
        );
        let row = workers["steal_matrix"][thief].as_array().expect("a row");
        assert_eq!(
            row.iter().map(number).sum::<f64>(),
            number(&worker["stolen"])
        );
        let parts = ["lifo", "local", "inbox"]
            .iter()
            .map(|q| number(&worker[q]))
            .sum::<f64>();
        assert_eq!(parts, number(&worker["queue_depth"]));
        let stolen = sum(&format!("openwork_stolen_total{{worker=\"{thief}\""));
        assert_eq!(stolen, number(&worker["stolen"]));
        turns += number(&worker["turns"]);
    }
    assert!(turns > 0.0);
    assert_eq!(sum("openwork_turns_total"), turns);
    assert_eq!(
        metrics["openwork_chain_length"],
        number(&sample["chain"]["length"])
    );
    assert_eq!(
        sum("openwork_hashes_total"),
        number(&sample["mining"]["hashes"])
    );
    assert_eq!(
        metrics["openwork_heap_live_bytes"],
        number(&sample["memory"]["live_bytes"])
    );
}

/// Breaks if the text stops being OpenMetrics, whose readers are strict.
#[tokio::test]
async fn metrics_are_openmetrics() {
    let service = Running::start();
    let answer = service.get("/metrics").await;
    let content_type = answer.headers["content-type"].to_str().expect("text");
    assert!(
        content_type.starts_with("application/openmetrics-text; version=1.0.0"),
        "{content_type}"
    );
    let text = std::str::from_utf8(&answer.body).expect("text");
    assert!(text.ends_with("# EOF\n"));
    let mut described = BTreeMap::new();
    for line in text.lines().filter(|l| l.starts_with("# TYPE ")) {
        let (name, kind) = line["# TYPE ".len()..]
            .split_once(' ')
            .expect("name and kind");
        assert!(described.insert(name, kind).is_none(), "{name} twice");
    }
    for name in parse(text).keys() {
        let name = name.split('{').next().expect("a name");
        let family = name.strip_suffix("_total").unwrap_or(name);
        let kind = described
            .get(family)
            .unwrap_or_else(|| panic!("{name} has no type"));
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
    }
    for metric in openwork_observatory::catalogue::METRICS {
        let family = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        if !metric.read(&service.state.observatory.latest()).is_empty() {
            assert!(
                described.contains_key(family),
                "{} is in the catalogue",
                metric.name
            );
        }
    }
}

/// Breaks if a figure of a collector is invented, or one of ours goes missing.
#[tokio::test]
async fn gc_metrics_has_every_key_of_old_measured_or_null() {
    let service = Running::start();
    let metrics = service.get("/gc/metrics").await.json();
    let unmeasured: Vec<_> = metrics["unmeasured"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for key in [
        "/gc/heap/allocs:bytes",
        "/gc/heap/allocs:objects",
        "/gc/heap/frees:bytes",
        "/gc/heap/frees:objects",
        "/gc/heap/goal:bytes",
        "/gc/heap/objects:objects",
        "/gc/heap/tiny/allocs:objects",
        "/gc/cycles/total:gc-cycles",
        "/gc/cycles/forced-gc:gc-cycles",
        "/gc/pause/total:seconds",
        "/gc/pause/p50:seconds",
        "/gc/pause/p99:seconds",
        "/memory/classes/total:bytes",
        "/memory/classes/heap/released:bytes",
        "/sched/goroutines:goroutines",
        "/sched/latency:seconds",
        "alloc_rate_mb_per_sec",
        "go_version",
    ] {
        let value = metrics
            .get(key)
            .unwrap_or_else(|| panic!("{key} is missing"));
        assert_eq!(value.is_null(), unmeasured.contains(&key), "{key}");
    }
    assert!(
        metrics["/gc/heap/allocs:bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0)
    );
    let line = service.get("/stats?format=schedtrace").await;
    let line = String::from_utf8_lossy(&line.body).into_owned();
    assert!(
        line.starts_with("SCHED ") && line.contains(" workers=2 ") && line.ends_with("]\n"),
        "{line}"
    );
}
