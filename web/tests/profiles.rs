//! Profiles of a service at work: what they name, how they are labelled, kept and refused.

mod service;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{StatusCode, header};
use flate2::read::GzDecoder;
use openwork::memory::CountingAllocator;
use prost::Message;
use serde::Deserialize as _;
use serde_json::{Value, json};
use service::{Answer, Running};

#[global_allocator]
static ALLOCATOR: CountingAllocator<dhat::Alloc> = CountingAllocator::new(dhat::Alloc);

/// The part of `profile.proto` that is looked at, with the numbers of its fields.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// A sample with its texts looked up.
struct Readable {
    functions: Vec<String>,
    labels: BTreeMap<String, String>,
    values: Vec<i64>,
}

impl Profile {
    #[track_caller]
    fn of(answer: &Answer) -> Profile {
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        let mut bytes = Vec::new();
        GzDecoder::new(&answer.body[..])
            .read_to_end(&mut bytes)
            .expect("gzip");
        Profile::decode(&bytes[..]).expect("a profile")
    }

    fn text(&self, index: i64) -> String {
        self.string_table[usize::try_from(index).expect("an index")].clone()
    }

    fn values(&self) -> Vec<(String, String)> {
        self.sample_type
            .iter()
            .map(|t| (self.text(t.kind), self.text(t.unit)))
            .collect()
    }

    fn samples(&self) -> Vec<Readable> {
        let functions: BTreeMap<u64, String> = self
            .function
            .iter()
            .map(|f| (f.id, self.text(f.name)))
            .collect();
        let locations: BTreeMap<u64, &Location> = self.location.iter().map(|l| (l.id, l)).collect();
        let name = |id: &u64| {
            locations[id]
                .line
                .iter()
                .map(|line| functions[&line.function_id].clone())
        };
        let readable = |s: &Sample| Readable {
            functions: s.location_id.iter().flat_map(name).collect(),
            labels: s
                .label
                .iter()
                .map(|l| (self.text(l.key), self.text(l.text)))
                .collect(),
            values: s.value.clone(),
        };
        self.sample.iter().map(readable).collect()
    }
}

fn pair(kind: &str, unit: &str) -> (String, String) {
    (kind.to_owned(), unit.to_owned())
}

/// Breaks if samples miss the leaf, name no function, or lose whose turn it was.
#[tokio::test]
async fn a_cpu_profile_during_mining_names_the_mining_function_and_carries_the_labels() {
    let service = Running::start();
    // So hard that it outlasts the profile; cancelled below.
    let run = service
        .post_async("/mine", r#"{"data":"x","goroutines":4,"difficulty":32}"#)
        .await
        .run();
    // All that runs from here on are the miners.
    service::within(async {
        while service.state.meter.total() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let profile = Profile::of(&service.get("/debug/pprof/profile?seconds=2").await);
    service
        .state
        .runs
        .cancel(run, openwork_web::runs::Stop::Asked);

    assert_eq!(
        profile.values(),
        [pair("samples", "count"), pair("cpu", "nanoseconds")]
    );
    let samples = profile.samples();
    let mining: Vec<_> = samples
        .iter()
        .filter(|s| {
            s.functions
                .iter()
                .any(|f| f.contains("openwork_blockchain"))
        })
        .collect();
    let cpu = |samples: &[&Readable]| samples.iter().map(|s| s.values[1]).sum::<i64>();
    let all: Vec<_> = samples.iter().collect();
    assert!(
        cpu(&mining) * 2 > cpu(&all),
        "mining is what it did: {} of {} ns",
        cpu(&mining),
        cpu(&all)
    );
    assert!(
        mining
            .iter()
            .any(|s| s.functions.iter().any(|f| f.contains("search"))),
        "the function that hashes"
    );
    for sample in &mining {
        assert!(
            sample.labels["routine"].starts_with("miner-"),
            "{:?}",
            sample.labels
        );
        assert!(
            ["0", "1"].contains(&&*sample.labels["worker"]),
            "{:?}",
            sample.labels
        );
        assert_eq!(
            sample.labels["workload"],
            format!("mine {run}"),
            "{:?}",
            sample.labels
        );
        // The leaf is where the processor was, not who called it.
        assert!(
            !sample.functions[0].contains("resume"),
            "{:?}",
            sample.functions
        );
    }
    service.ended(run).await;
}

/// Breaks if two are allowed, one is refused with another status than 409, or the first goes on without its client.
#[tokio::test]
async fn there_is_one_cpu_profile_at_a_time_and_it_ends_with_its_run() {
    let service = Running::start();
    let first = service
        .post_async("/api/v1/profiles", r#"{"kind":"cpu","seconds":60}"#)
        .await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    let record = service
        .get(first.headers[header::LOCATION].to_str().expect("a path"))
        .await
        .json();
    assert_eq!(
        (&record["kind"], &record["request"]),
        (&json!("profile"), &json!({"kind":"cpu","seconds":60}))
    );
    assert_eq!(record["progress"]["unit"], "seconds");
    for (path, body) in [
        ("/api/v1/profiles", r#"{"kind":"cpu"}"#),
        ("/gc/profile", r#"{"profile_type":"cpu"}"#),
    ] {
        let answer = service.post(path, body).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (StatusCode::CONFLICT, &json!("profile_running")),
            "{path}"
        );
    }
    let answer = service.get("/debug/pprof/profile?seconds=1").await;
    assert_eq!(
        (answer.status, answer.headers["x-go-pprof"].as_bytes()),
        (StatusCode::CONFLICT, &b"1"[..])
    );
    service
        .state
        .runs
        .cancel(first.run(), openwork_web::runs::Stop::Asked);
    assert_eq!(service.ended(first.run()).await.state.name(), "cancelled");
    // The instrument is put down by a thread of its own, right after the run's end.
    service::within(async {
        while service
            .state
            .profiles
            .claim(openwork_web::profiles::Kind::Cpu)
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        service.get("/api/v1/profiles").await.json()["profiles"],
        json!([])
    );
}

/// Breaks if a kept profile cannot be listed, drawn, or opened by a reader of its format.
#[tokio::test]
async fn profiles_are_kept_listed_drawn_and_downloaded() {
    let service = Running::start();
    // So many that chance, by which some are sampled, is six deviations away from the bounds.
    let held: Vec<Vec<u8>> = (0..256).map(|_| vec![1; 256 << 10]).collect();
    for kind in ["heap", "allocs", "routine"] {
        let taken = service
            .post("/api/v1/profiles", &json!({ "kind": kind }).to_string())
            .await;
        assert_eq!(taken.status, StatusCode::CREATED, "{kind}");
        let taken = taken.json();
        assert_eq!(taken["kind"], kind);
        assert_eq!(
            service.get("/api/v1/profiles").await.json()["profiles"][0],
            taken,
            "the newest first"
        );
        assert_eq!(
            service
                .get(&format!(
                    "/api/v1/profiles/{}",
                    taken["id"].as_str().expect("an id")
                ))
                .await
                .json(),
            taken
        );
        let file = service
            .get(taken["download"].as_str().expect("a path"))
            .await;
        assert_eq!(
            file.body.len() as u64,
            taken["file_size_bytes"].as_u64().expect("a size")
        );
        let profile = Profile::of(&file);
        let icicle = service.get(taken["icicle"].as_str().expect("a path")).await;
        let icicle = deeply_nested(&icicle.body);
        adds_up(&icicle["root"]);
        match kind {
            "routine" => assert_eq!(profile.values(), [pair("goroutine", "count")]),
            _ => {
                let expected = [
                    pair("alloc_objects", "count"),
                    pair("alloc_space", "bytes"),
                    pair("inuse_objects", "count"),
                    pair("inuse_space", "bytes"),
                ];
                assert_eq!(profile.values(), expected);
                let here = "profiles_are_kept_listed_drawn_and_downloaded";
                let samples = profile.samples();
                let ours = samples
                    .iter()
                    .filter(|s| s.functions.iter().any(|f| f.contains(here)));
                let bytes: i64 = ours.map(|s| s.values[3]).sum();
                assert!(
                    (32 << 20..128 << 20).contains(&bytes),
                    "64 MiB are held here, it says {bytes}"
                );
            }
        }
        let command = taken["view_command"].as_str().expect("a command");
        assert!(
            command.starts_with(
                "go tool pprof -http=127.0.0.1:0 http://127.0.0.1:8080/api/v1/profiles/"
            ),
            "{command}"
        );
    }
    drop(held);
}

/// A tree nests two levels of JSON for each of its own: more than serde_json reads unasked.
fn deeply_nested(text: &[u8]) -> Value {
    let mut reader = serde_json::Deserializer::from_slice(text);
    reader.disable_recursion_limit();
    Value::deserialize(&mut reader).expect("JSON")
}

/// `total` = `own` + totals of the children, everywhere.
fn adds_up(node: &Value) {
    let children = node["children"].as_array().expect("children");
    let sum: u64 = children
        .iter()
        .map(|c| c["total"].as_u64().expect("a total"))
        .sum();
    assert_eq!(
        node["total"].as_u64(),
        Some(sum + node["own"].as_u64().expect("own")),
        "{}",
        node["name"]
    );
    children.iter().for_each(adds_up);
}

/// Breaks if a field of old goes missing, or `gc_runs` is invented.
#[tokio::test]
async fn the_route_of_old_answers_in_its_old_shape() {
    let service = Running::start();
    for kind in ["heap", "goroutine", "allocs", ""] {
        let answer = service
            .post("/gc/profile", &json!({ "profile_type": kind }).to_string())
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{kind}");
        let answer = answer.json();
        let path = answer["profile_path"].as_str().expect("a path");
        let size = std::fs::metadata(path).expect("a file").len();
        assert_eq!(answer["file_size_kb"], size.div_ceil(1024), "{kind}");
        assert!(
            answer["duration_ms"].is_number() && answer["heap_alloc_mb"].is_number(),
            "{answer}"
        );
        assert_eq!(
            (&answer["gc_runs"], &answer["unmeasured"]),
            (&Value::Null, &json!(["gc_runs"])),
            "{kind}"
        );
        assert!(answer.get("error").is_none());
    }
    let answer = service
        .post(
            "/gc/profile",
            r#"{"profile_type":"cpu","duration_seconds":1}"#,
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let record = service.ended(answer.run()).await;
    assert_eq!(record.state.name(), "succeeded");
    assert_eq!(
        serde_json::from_str::<Value>(record.result.expect("a result").get()).expect("JSON"),
        answer.json()
    );
}

/// Breaks if a format of Go's tools is lost: text at `debug`, a difference with `seconds`, addresses to names.
#[tokio::test]
async fn the_debug_tree_speaks_gos_formats() {
    let service = Running::start();
    let sleepers = service
        .post_async("/api/v1/crowd", r#"{"routines":20,"sleep_ms":60000}"#)
        .await
        .run();
    let text = |answer: &Answer| String::from_utf8_lossy(&answer.body).into_owned();
    let asleep = |state: &openwork_web::AppState| {
        state.runtime.snapshot().routines.blocked_by[openwork::snapshot::WaitReason::Sleep as usize]
            >= 20
    };
    service::within(async {
        while !asleep(&service.state) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for path in ["/debug/pprof/goroutine", "/debug/pprof/routine"] {
        let profile = Profile::of(&service.get(path).await);
        assert!(
            profile.samples().iter().map(|s| s.values[0]).sum::<i64>() >= 20,
            "{path}"
        );
        let groups = text(&service.get(&format!("{path}?debug=1")).await);
        assert!(groups.starts_with("goroutine profile: total "), "{groups}");
        let each = text(&service.get(&format!("{path}?debug=2")).await);
        assert!(each.matches("created at ").count() >= 20, "{each}");
    }
    let changed = service.get("/debug/pprof/heap?seconds=1&gc=1").await;
    assert!(
        changed.headers.contains_key("openwork-run"),
        "a timed profile is a run"
    );
    Profile::of(&changed);
    assert!(text(&service.get("/debug/pprof/heap?debug=1").await).contains("heap"));
    assert!(text(&service.get("/debug/pprof/cmdline").await).contains("profiles"));
    assert!(text(&service.get("/debug/pprof/symbol").await).starts_with("num_symbols: 1"));
    let address = adds_up as fn(&Value) as usize;
    let named = text(
        &service
            .get(&format!("/debug/pprof/symbol?{address:#x}+0x1"))
            .await,
    );
    assert!(named.contains("adds_up"), "{named}");
    let index = text(&service.get("/debug/pprof/").await);
    assert!(
        index.contains("go tool pprof http://127.0.0.1:8080/debug/pprof/heap"),
        "{index}"
    );
    service
        .state
        .runs
        .cancel(sleepers, openwork_web::runs::Stop::Asked);
    service.ended(sleepers).await;
}

/// Breaks if dhat's backtraces overflow a routine's stack, its file is lost, or allocations stay diverted.
#[tokio::test]
async fn a_dhat_session_sees_routines_deep_in_recursion() {
    /// Goes down until 40 of the 64 KiB are used, whatever a frame takes in this build, and allocates there.
    #[inline(never)]
    fn deep(top: usize) -> usize {
        let frame = black_box([1_u8; 256]);
        let used = top.saturating_sub(std::ptr::from_ref(&frame).addr());
        let below = if used > 40 << 10 {
            black_box(vec![1_u8; 100]).len()
        } else {
            deep(top)
        };
        below + usize::from(black_box(frame)[0])
    }
    let service = Running::start();
    let over = Arc::new(AtomicBool::new(false));
    let routines: Vec<_> = (0..4)
        .map(|_| {
            let over = over.clone();
            service.state.runtime.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let top = 0_u8;
                    black_box(deep(std::ptr::from_ref(&top).addr()));
                    openwork::yield_now();
                }
            })
        })
        .collect();
    let taken = service
        .post("/api/v1/profiles", r#"{"kind":"dhat","seconds":1}"#)
        .await;
    over.store(true, Ordering::Relaxed);
    for routine in routines {
        routine.await.expect("it ends by itself");
    }
    assert_eq!(
        taken.status,
        StatusCode::CREATED,
        "{}",
        String::from_utf8_lossy(&taken.body)
    );
    let taken = taken.json();
    assert_eq!(taken["icicle"], Value::Null);
    let session = service
        .get(taken["download"].as_str().expect("a path"))
        .await
        .json();
    assert!(session["dhatFileVersion"].is_number());
    let frames = session["ftbl"].as_array().expect("frames");
    assert!(
        frames
            .iter()
            .any(|f| f.as_str().is_some_and(|f| f.contains("deep"))),
        "the routines' function is named"
    );
    let again = service
        .post("/api/v1/profiles", r#"{"kind":"dhat","seconds":1}"#)
        .await;
    assert_eq!(
        again.status,
        StatusCode::CREATED,
        "a second session can follow"
    );
}
