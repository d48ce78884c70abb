//! A process that is killed in the middle of a run, and the one after it.
//!
//! This program runs itself as the service: [`serve_for_a_test`] is a test only to be reachable by name.

mod service;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use openwork_web::{Config, Setting};
use serde_json::Value;

/// Names the data directory to the child; without it [`serve_for_a_test`] does nothing.
const DATA_DIR: &str = "OPENWORK_TEST_DATA_DIR";

#[test]
fn serve_for_a_test() {
    let Some(dir) = std::env::var_os(DATA_DIR) else {
        return;
    };
    let mut config = Config::with_data_dir(dir.into());
    config.listen = Setting::flag(([127, 0, 0, 1], 0).into());
    config.workers = Setting::flag(Some(2));
    openwork_web::serve(config).expect("the service ends as asked");
}

/// A service in a process of its own; killed, as by `kill -9`, when dropped.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(dir: &Path) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serve_for_a_test", "--nocapture"])
            .env(DATA_DIR, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map(|line| line.expect("output up to the URL"))
            .find_map(|line| {
                // The test harness may print its own words before it on the same line.
                let (_, url) = line.split_once("http://")?;
                Some(url.trim_end_matches('/').to_owned())
            })
            .expect("a line with the URL");
        Process { child, address }
    }

    /// Sends a request and returns the status and the body as JSON.
    fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let (host, length) = (&self.address, body.len());
        write!(
            socket,
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, "", "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Breaks if 202 is answered before the record is durable, or a block is shown before it is.
#[test]
fn a_killed_process_leaves_an_interrupted_run_and_a_chain_that_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let service = Process::start(dir.path());
    // Ten thousand blocks: some are appended at once, all of them take minutes.
    let body = r#"{"data":"x","goroutines":10000,"difficulty":18}"#;
    let (status, run) = service.call("POST", "/mine", "Prefer: respond-async\r\n", body);
    assert_eq!(status, 202, "{run}");
    let path = format!("/api/v1/runs/{}", run["id"].as_str().unwrap());
    let appended = loop {
        let run = service.get(&path);
        assert_eq!(run["state"], "running", "{run}");
        match run["progress"]["done"].as_u64().unwrap() {
            done @ 3.. => break done,
            _ => std::thread::yield_now(),
        }
    };
    drop(service);

    let service = Process::start(dir.path());
    let run = service.get(&path);
    assert_eq!(
        (run["state"].as_str(), &run["ended_at"]),
        (Some("interrupted"), &Value::Null)
    );
    assert_eq!(
        run["error"],
        "the process ended while this run was under way"
    );
    let verified = service.get("/blocks/verify");
    assert_eq!(verified["valid"], true, "{verified}");
    assert!(
        verified["blocks"].as_u64() > Some(appended),
        "every block that was shown is there: {verified}"
    );
    // The next run does not take its number.
    let (_, next) = service.call("POST", "/stress", "Prefer: respond-async\r\n", "{}");
    let number = |run: &Value| run["id"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(number(&next) > number(&run), "{next}");
}
