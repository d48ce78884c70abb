//! The service as a child process, and HTTP to talk to it.
//!
//! Requests are HTTP/1.0, so every answer, a stream too, is plain bytes up to the end of the
//! connection and nothing has to be decoded. Everything waits for an event (a line, an answer, an
//! end); the time-outs only turn a hang into a failure.
#![allow(dead_code, unreachable_pub, missing_docs)] // Each test file uses its part.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for any one event.
const PATIENCE: Duration = Duration::from_secs(120);

/// The command without any setting of the environment that runs the test.
pub fn openwork() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openwork"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OPENWORK_") {
            command.env_remove(name);
        }
    }
    command.env_remove("XDG_DATA_HOME");
    command
}

/// Runs the command to its end.
#[track_caller]
pub fn output<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    openwork()
        .args(arguments)
        .output()
        .expect("the binary runs")
}

pub fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running service. It is killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub url: String,
    log: PathBuf,
    _scratch: TempDir,
}

impl Server {
    /// Starts the service on a port of its own with its data in `dir`, and waits until it says that
    /// it listens.
    #[track_caller]
    pub fn start(dir: &Path, arguments: &[&str]) -> Server {
        Server::start_with(dir, arguments, &[])
    }

    #[track_caller]
    pub fn start_with(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let scratch = TempDir::new().expect("a directory");
        let log = scratch.path().join("stderr");
        let mut child = openwork()
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log file"))
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line of text");
        let Some(url) = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
        else {
            let status = child.wait().expect("a status");
            let said = fs::read_to_string(&log).unwrap_or_default();
            panic!("no address in {line:?}; ended with {status}\n{said}");
        };
        let url = url.trim_end_matches('/').to_owned();
        let address = url["http://".len()..].parse().expect("an address");
        Server {
            child,
            address,
            url,
            log,
            _scratch: scratch,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal by name, like `TERM`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name])
            .arg(self.pid().to_string())
            .status()
            .expect("a shell");
        assert!(status.success(), "kill -s {name} ended with {status}");
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a status")
    }

    /// Opens a connection and sends a request, whose answer is still to be read.
    #[track_caller]
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n", self.address);
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        request += body;
        stream
            .write_all(request.as_bytes())
            .expect("a request sent");
        stream
    }

    #[track_caller]
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut bytes = Vec::new();
        self.send(method, path, headers, body)
            .read_to_end(&mut bytes)
            .expect("an answer");
        Answer::parse(&bytes)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, &[], body)
    }

    /// Starts a run without waiting for its end, and gives its id.
    #[track_caller]
    pub fn start_run(&self, path: &str, body: &str) -> String {
        let answer = self.request("POST", path, &[("Prefer", "respond-async")], body);
        assert_eq!(answer.status, 202, "{}", answer.body);
        let location = answer.header("location").expect("a location");
        location.rsplit('/').next().expect("an id").to_owned()
    }

    /// Opens the event stream and reads its head.
    #[track_caller]
    pub fn events(&self) -> Events {
        let stream = self.send("GET", "/api/v1/events", &[], "");
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).expect("a status line");
        assert!(line.contains(" 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            lines.read_line(&mut line).expect("a header");
        }
        Events { lines }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    #[track_caller]
    fn parse(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .expect("a status");
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Answer {
            status,
            headers,
            body: body.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {}", self.status, self.body))
    }
}

/// One event of a stream.
#[derive(Debug)]
pub struct Event {
    pub kind: String,
    pub data: String,
}

/// An open event stream.
pub struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// The next event, or `None` at the end of the stream.
    #[track_caller]
    pub fn next_event(&mut self) -> Option<Event> {
        let mut event = Event {
            kind: String::from("message"),
            data: String::new(),
        };
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("an event in time") == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(kind) = line.strip_prefix("event:") {
                event.kind = kind.trim_start().to_owned();
            } else if let Some(data) = line.strip_prefix("data:") {
                event.data += data.trim_start();
            } else if line.is_empty() && !event.data.is_empty() {
                return Some(event);
            }
        }
    }

    /// Waits for an event of this kind.
    #[track_caller]
    pub fn wait_for(&mut self, kind: &str) -> Event {
        while let Some(event) = self.next_event() {
            if event.kind == kind {
                return event;
            }
        }
        panic!("the stream ended without `{kind}`");
    }

    /// Reads to the end of the stream and gives the kinds of all events seen.
    #[track_caller]
    pub fn kinds_to_the_end(mut self) -> Vec<String> {
        let mut kinds = Vec::new();
        while let Some(event) = self.next_event() {
            kinds.push(event.kind);
        }
        kinds
    }
}

/// A child that is killed when dropped.
pub struct Stopped(pub Child);

impl Stopped {
    /// Waits for its first line.
    #[track_caller]
    pub fn wait_for_line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line of text");
        line
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
