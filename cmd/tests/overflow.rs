//! A stack that runs out: the process ends by SIGABRT and says who it was, then and afterwards.

mod support;

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;

use support::Server;
use tempfile::TempDir;

const SIGABRT: i32 = 6;
/// Samples, ten a second, within which something must be told.
const TICKS: u32 = 50;

#[test]
fn an_overflow_is_named_and_told_at_the_next_start() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &["--demo-faults"]);
    let mut rest = Vec::new();
    server
        .send("POST", "/api/v1/faults", &[], r#"{"kind":"overflow"}"#)
        .read_to_end(&mut rest)
        .ok();
    let status = server.wait();
    let log = server.log();
    assert_eq!(status.signal(), Some(SIGABRT), "{status}\n{log}");
    let report = fs::read_to_string(dir.path().join("last-crash.txt")).expect("a report");
    for text in [&log, &report] {
        assert!(text.contains("fault-overflow"), "no name in {text}");
        assert!(text.contains("faults.rs:"), "no spawn site in {text}");
        assert!(text.contains("64 KiB"), "no size in {text}");
    }

    let server = Server::start(dir.path(), &[]);
    let told = server.get("/api/v1/runtime").json()["last_crash"].clone();
    let text = told["text"].as_str().expect("a text");
    assert!(text.contains("fault-overflow"), "{told}");
    assert_eq!(
        server.post("/api/v1/runtime/last-crash/dismiss", "").status,
        204
    );
    assert!(server.get("/api/v1/runtime").json()["last_crash"].is_null());
    assert_eq!(server.get("/blocks/verify").json()["valid"], true);
}

#[test]
fn a_panic_ends_one_routine_and_the_service_goes_on() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--demo-faults"]);
    let answer = server.post("/api/v1/faults", r#"{"kind":"panic"}"#);
    assert_eq!(answer.json()["message"], "a panic was asked for");
    assert_eq!(server.post("/blocks", r#"{"data":"after"}"#).status, 201);
    // The service learns of a panic with a sample, so the line is there some ticks later.
    let mut ticks = server.events();
    let told = |log: &str| {
        log.lines().any(|line| {
            ["fault-panic", "faults.rs:", "a panic was asked for"]
                .iter()
                .all(|part| line.contains(part))
        })
    };
    let seen = (0..TICKS).any(|_| {
        ticks.wait_for("tick");
        told(&server.log())
    });
    assert!(seen, "{}", server.log());
}

#[test]
fn faults_are_refused_unless_asked_for() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let answer = server.post("/api/v1/faults", r#"{"kind":"overflow"}"#);
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(server.get("/healthz").status, 200);
}
