//! A service for tests: all its parts in one process, called as a value or over a socket.
#![allow(
    dead_code,
    reason = "each test file is a program of its own and uses a part of this"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use openwork_web::runs::{RunId, RunRecord};
use openwork_web::{AppState, Config, Service, Setting};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;
use tower::ServiceExt as _;

/// Nothing here waits for time; a test that takes this long is stuck.
const STUCK: Duration = Duration::from_secs(240);

/// A service in memory, with two workers.
pub(crate) struct Running {
    pub(crate) state: AppState,
    service: Option<Service>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&self.body)))
    }

    /// The id in the header `Openwork-Run`.
    #[track_caller]
    pub(crate) fn run(&self) -> RunId {
        let id = self.headers.get("openwork-run").expect("a run's answer");
        id.to_str().unwrap().parse().unwrap()
    }
}

/// All defaults, in memory, two workers.
pub(crate) fn config() -> Config {
    let mut config = Config::with_data_dir("unused: the service is ephemeral".into());
    config.ephemeral = Setting::flag(true);
    config.workers = Setting::flag(Some(2));
    config
}

impl Running {
    /// Starts a service with [`config`] as changed by `change`.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Running {
        let mut config = config();
        change(&mut config);
        let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        let service = Service::open(config, listen).expect("the service starts");
        Running {
            state: service.state().clone(),
            service: Some(service),
        }
    }

    /// Starts a service with [`config`].
    pub(crate) fn start() -> Running {
        Running::with(|_| {})
    }

    /// Sends a request as a client on this machine does.
    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.open(request).await;
        Answer {
            status: head.status,
            headers: head.headers,
            body: within(axum::body::to_bytes(body, usize::MAX))
                .await
                .expect("a whole body"),
        }
    }

    /// Sends a request and returns the answer's head and its body, unread.
    pub(crate) async fn open(
        &self,
        mut request: Request<Body>,
    ) -> (axum::http::response::Parts, Body) {
        let host = header::HeaderValue::from_static("127.0.0.1:8080");
        request.headers_mut().entry(header::HOST).or_insert(host);
        let app = openwork_web::app(self.state.clone());
        within(app.oneshot(request))
            .await
            .expect("the router answers")
            .into_parts()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.call(post(path, body)).await
    }

    pub(crate) async fn post_async(&self, path: &str, body: &str) -> Answer {
        let mut request = post(path, body);
        let headers = request.headers_mut();
        headers.insert("prefer", "respond-async".parse().unwrap());
        self.call(request).await
    }

    /// The run, once it has ended.
    pub(crate) async fn ended(&self, id: RunId) -> RunRecord {
        within(self.state.runs.ended(id)).await;
        self.state.runs.get(id).expect("a run that was started")
    }

    /// Listens on a port of the kernel's choice, for tests that need a connection to break.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = openwork_web::app(self.state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            service.close(Duration::from_secs(5));
        }
    }
}

/// A POST as a bare `curl -d` sends it.
pub(crate) fn post(path: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// Awaits `what` under a watchdog.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(STUCK, what)
        .await
        .expect("stuck for minutes")
}

/// Sends raw bytes over a socket that stays open.
pub(crate) async fn send(address: SocketAddr, request: &str) -> TcpStream {
    let mut socket = within(TcpStream::connect(address)).await.unwrap();
    within(socket.write_all(request.as_bytes())).await.unwrap();
    socket
}

/// Reads what is left of a connection.
pub(crate) async fn rest(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    within(socket.read_to_end(&mut text)).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// An event stream, read event by event.
pub(crate) struct Events {
    chunks: axum::body::BodyDataStream,
    text: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Events {
    /// Opens the stream, after the event with this id if there is one.
    pub(crate) async fn open(service: &Running, last_event_id: Option<&str>) -> Events {
        let mut request = Request::get("/api/v1/events").body(Body::empty()).unwrap();
        if let Some(id) = last_event_id {
            request
                .headers_mut()
                .insert("last-event-id", id.parse().unwrap());
        }
        let (head, body) = service.open(request).await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.headers[header::CONTENT_TYPE], "text/event-stream");
        Events {
            chunks: body.into_data_stream(),
            text: String::new(),
        }
    }

    /// The next event; `None` at the end of the stream. Comments and `retry` are passed over.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parse(event);
                self.text = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let chunk = within(self.chunks.next())
                .await?
                .expect("an unbroken stream");
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("whole characters in a chunk"));
        }
    }

    /// The next event with this name.
    pub(crate) async fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the stream ended before `{name}`"));
            if event.name == name {
                return event;
            }
        }
    }
}

fn parse(text: &str) -> Option<Event> {
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(": ")
                .map(str::to_owned)
        })
    };
    Some(Event {
        id: field("id"),
        name: field("event")?,
        data: serde_json::from_str(&field("data")?).expect("an event's data is JSON"),
    })
}
