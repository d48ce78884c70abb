//! A signal ends the service: streams get their good-bye, runs their drain time.

mod support;

use std::time::{Duration, Instant};

use support::Server;
use tempfile::TempDir;

/// Breaks when graceful stop waits for the streams, which never end by themselves, or when a run
/// that has a long way to go is waited for without limit.
#[test]
fn open_streams_and_a_run_do_not_hold_the_end_up() {
    let dir = TempDir::new().unwrap();
    let drain = Duration::from_secs(2);
    let mut server = Server::start(dir.path(), &["--drain-timeout", "2s"]);
    let mut streams: Vec<_> = (0..3).map(|_| server.events()).collect();
    for stream in &mut streams {
        stream.wait_for("tick");
    }
    // 2^32 attempts: far from done when the signal comes.
    server.start_run("/mine", r#"{"data":"long","goroutines":4,"difficulty":32}"#);
    let signalled = Instant::now();
    server.signal("TERM");
    for stream in streams {
        let kinds = stream.kinds_to_the_end();
        assert_eq!(kinds.last().map(String::as_str), Some("bye"));
    }
    let status = server.wait();
    let took = signalled.elapsed();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    // What comes after the drain (cancel, close) has a second of its own; the run would take hours.
    assert!(took < drain + Duration::from_secs(100), "took {took:?}");
}

/// Breaks when the first signal's drain cannot be cut short.
#[test]
fn a_second_signal_ends_at_once() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &["--drain-timeout", "10m"]);
    server.start_run("/mine", r#"{"data":"long","goroutines":2,"difficulty":32}"#);
    let mut stream = server.events();
    server.signal("TERM");
    stream.wait_for("bye");
    let second = Instant::now();
    server.signal("TERM");
    server.wait();
    assert!(second.elapsed() < Duration::from_secs(300), "not the drain");
}

/// A run that ends within the drain time is not cancelled, and its blocks are kept.
#[test]
fn a_short_run_is_finished_while_draining() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &["--drain-timeout", "2m"]);
    let mut stream = server.events();
    let run = server.start_run("/stress", r#"{"pattern":"long-lived","hold_ms":1500}"#);
    server.signal("TERM");
    stream.wait_for("bye");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());

    let server = Server::start(dir.path(), &[]);
    let record = server.get(&format!("/api/v1/runs/{run}")).json();
    assert_eq!(record["state"], "succeeded", "{record}");
}
