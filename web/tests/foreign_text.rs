//! Text of strangers: it may say anything and does nothing.

mod service;

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;
use service::{Events, Running};

/// Markup, a line break, a terminal's clear-screen, a right-to-left override, a quote and a zero byte.
const HOSTILE: &str =
    "<img src=x onerror=alert(1)>\r\nfake log line\u{1b}[2J\u{202e}gnp.exe\" \0 end";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Breaks if `data` can forge a log line, reach a terminal, or come back as something else than JSON text.
#[tokio::test]
async fn hostile_data_is_one_log_line_and_plain_text() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || written.clone());
    let _logging = tracing::subscriber::set_default(subscriber.finish());

    let service = Running::start();
    let mut events = Events::open(&service, None).await;
    let body = json!({"data": HOSTILE, "difficulty": 4}).to_string();
    let answer = service.post("/blocks", &body).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.json()["block"]["data"], HOSTILE);
    assert_eq!(
        service.get("/blocks?offset=1").await.json()[0]["data"],
        HOSTILE
    );
    assert_eq!(events.next_named("block").await.data["data"], HOSTILE);
    // A refusal repeats what it refuses.
    let body = json!({"data": "x", "mode": HOSTILE}).to_string();
    assert_eq!(service.post("/mine", &body).await.status.as_u16(), 422);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let about_it: Vec<_> = log
        .lines()
        .filter(|line| line.contains("onerror"))
        .collect();
    assert_eq!(about_it.len(), 2, "one line a request: {log}");
    let bad = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!log.contains(bad), "{log:?}");
    assert!(!log.lines().any(|line| line.starts_with("fake")), "{log}");
}
