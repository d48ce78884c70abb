//! `kill -9` in the middle of a run: what was promised before is there afterwards.

mod support;

use support::Server;
use tempfile::TempDir;

/// Breaks when a run is acknowledged before its record is durable, when a block is announced before
/// it is, or when a start leaves a dead run `running`.
#[test]
fn a_killed_run_is_interrupted_and_its_blocks_verify() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let mut stream = server.events();
    let run = server.start_run(
        "/mine",
        r#"{"data":"cut","goroutines":5000,"difficulty":12}"#,
    );
    let mut announced = 0;
    for _ in 0..3 {
        let block: serde_json::Value =
            serde_json::from_str(&stream.wait_for("block").data).unwrap();
        announced = announced.max(block["index"].as_u64().expect("an index"));
    }
    server.signal("KILL");
    server.wait();

    let server = Server::start(dir.path(), &[]);
    let record = server.get(&format!("/api/v1/runs/{run}")).json();
    assert_eq!(record["state"], "interrupted", "{record}");
    let report = server.get("/blocks/verify").json();
    assert_eq!(report["valid"], true, "{report}");
    let blocks = report["blocks"].as_u64().expect("a count");
    assert!(blocks > announced, "{blocks} blocks, {announced} announced");
}
