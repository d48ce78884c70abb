//! Sockets, signals, and the end.
//!
//! The loop is ours rather than `axum::serve`, because four promises of the service are about connections: at most
//! [`limits::CONNECTIONS`] at once (a further one is told so), a header that arrives in time (else 408), a viewer that
//! stopped reading is closed, and an end within the drain time, with streams told `bye` first.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tower::ServiceExt as _;

use crate::config::{Access, Config};
use crate::error::{ApiError, Code, Problem};
use crate::limits::{self, ARRIVAL_TIME};
use crate::machine::holder_of;
use crate::state::{AppState, Service};
use crate::stream::Closer;

/// Bytes buffered for a connection: small, so that a slow viewer is not fed from a long stale queue.
const CONNECTION_BUFFER_BYTES: usize = 64 << 10;
/// Connections over the limit that are told so at the same time; more are closed without a word.
const REFUSALS: usize = 32;
/// How long a refused client is given to take its answer.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Share of the drain time that is kept for what comes after waiting: cancelling, last answers, closing files.
const CLOSING_SHARE: u32 = 4;
/// The most that is kept for it.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(3);

/// Why the service did not start, or did not end as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Something that should not fail failed.
    #[error("{0}")]
    Internal(String),
    /// The runtime cannot be set up as it was asked for.
    #[error("{0}")]
    Refused(String),
    /// A loopback address needs no token, any other one does.
    #[error(
        "{0} can be reached from other machines, so a token is needed: add --generate-token or --token-file FILE"
    )]
    TokenNeeded(SocketAddr),
    /// Another process listens there.
    #[error("{address} is in use{}; to use another port: openwork serve --listen {}", holder.as_deref().unwrap_or(""), next_port(*address))]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
        /// ` by <name> (process <id>)`, if we may see it.
        holder: Option<String>,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The data directory is in use, damaged or not accessible.
    #[error("{0}")]
    Data(String),
}

impl ServeError {
    /// The code that the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            ServeError::Internal(_) => 1,
            ServeError::Refused(_) | ServeError::TokenNeeded(_) | ServeError::Listen { .. } => 2,
            ServeError::AddressInUse { .. } => 3,
            ServeError::Data(_) => 4,
        }
    }
}

fn next_port(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(0))
}

/// Runs the service until SIGINT or SIGTERM and ends it within the drain time.
///
/// Prints its facts to standard error and one line with the URL to standard output. A second signal ends the process
/// at once.
///
/// # Errors
/// It could not start; see [`ServeError`]. The address is claimed before anything is opened in the data directory.
pub fn serve(config: Config) -> Result<(), ServeError> {
    let address = config.listen.value;
    if !address.ip().is_loopback() && matches!(config.access.value, Access::Open) {
        return Err(ServeError::TokenNeeded(address));
    }
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("http-blocking")
        .build()
        .map_err(|e| ServeError::Internal(format!("cannot start the HTTP thread: {e}")))?;
    let ended = tokio.block_on(async {
        let listener = listen(address).await?;
        let mut signals = Signals::new()?;
        let address = listener
            .local_addr()
            .map_err(|source| ServeError::Listen { address, source })?;
        let service = Service::open(config, address)?;
        service.announce();
        let state = service.state().clone();
        println!("{}", state.url());
        // Whoever reads the URL through a pipe must get it now.
        io::stdout()
            .flush()
            .map_err(|e| ServeError::Internal(format!("cannot print the URL: {e}")))?;
        let connections = Connections::new(limits::CONNECTIONS.max as usize);
        let accepting = tokio::spawn(
            connections
                .clone()
                .accept(listener, crate::app(state.clone())),
        );
        signals.next().await;
        tracing::info!("ending: no new work is taken; a second signal ends at once");
        let end = end(service, state, connections, accepting);
        tokio::select! {
            () = end => {}
            () = signals.next() => {
                tracing::warn!("second signal: ending at once");
                // Threads may still be in the middle of closing; the files survive being killed here.
                std::process::exit(0);
            }
        }
        Ok(())
    });
    tokio.shutdown_background();
    ended
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => {
                let holder =
                    holder_of(address).map(|h| format!(" by {} (process {})", h.name, h.pid));
                ServeError::AddressInUse { address, holder }
            }
            _ => ServeError::Listen { address, source },
        })
}

/// SIGINT and SIGTERM, which ask for the same.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, ServeError> {
        let listen = |kind| {
            signal(kind)
                .map_err(|e| ServeError::Internal(format!("cannot listen for signals: {e}")))
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// From the first signal to the last closed file, within the drain time.
async fn end(
    service: Service,
    state: AppState,
    connections: Connections,
    accepting: tokio::task::JoinHandle<()>,
) {
    let time = state.config.drain_timeout.value;
    let deadline = Instant::now() + time;
    let closing = (time / CLOSING_SHARE).min(CLOSING_TIME_MAX);

    // 1. No new work. Requests are still answered, /readyz with 503, so that a balancer looks elsewhere.
    state.lifecycle.drain();
    state.runs.drain();
    // 2. Streams end now: they have no end of their own, and would be waited for until the deadline.
    state.hub.bye();
    // 3. What runs may finish, and is cancelled when time is short.
    if timeout_at(deadline - closing, state.runs.idle())
        .await
        .is_err()
    {
        state.runs.cancel_all();
        if timeout_at(deadline - closing / 2, state.runs.idle())
            .await
            .is_err()
        {
            tracing::warn!("some runs did not end when cancelled");
        }
    }
    // 4. Answers under way are finished, idle connections closed.
    connections.close();
    if timeout_at(deadline - closing / 4, connections.closed())
        .await
        .is_err()
    {
        tracing::warn!("some clients did not take their answer in time");
    }
    accepting.abort();
    // 5. The parts, which block.
    drop(state);
    let left = deadline.saturating_duration_since(Instant::now());
    if tokio::task::spawn_blocking(move || service.close(left))
        .await
        .is_err()
    {
        tracing::error!("closing failed");
    }
}

/// The connections, counted. A cheap handle.
#[derive(Clone)]
struct Connections {
    limit: usize,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

impl Connections {
    fn new(limit: usize) -> Self {
        Connections {
            limit,
            places: Arc::new(Semaphore::new(limit)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            closing: watch::Sender::new(false),
        }
    }

    /// Asks every connection to end after the answer it is giving.
    fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until no connection is left.
    async fn closed(&self) {
        // Err would mean that the semaphore was closed, which nobody does.
        let _ = self.places.acquire_many(self.limit as u32).await;
    }

    async fn accept(self, listener: TcpListener, app: Router) {
        let mut closing = self.closing.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    // Out of descriptors, most likely: they come back as connections end.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Ticks are small and late ones are worthless.
            let _ = socket.set_nodelay(true);
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                tokio::spawn(converse(socket, app.clone(), closing.clone(), place));
            } else if let Ok(place) = self.refusals.clone().try_acquire_owned() {
                let full = ApiError::new(
                    Code::TooManyConnections,
                    "as many connections as allowed are open",
                )
                .limit(self.limit as u64);
                tokio::spawn(refuse(socket, full.problem(), Some(place)));
            }
        }
    }
}

/// Serves one connection until it ends, is asked to, or is closed by a stream that its client stopped reading.
async fn converse(
    socket: TcpStream,
    app: Router,
    mut closing: watch::Receiver<bool>,
    place: OwnedSemaphorePermit,
) {
    let (closer, closed) = Closer::new();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(closer.clone());
        let request: Request = request.map(Body::new);
        // Boxed, because `poll_without_shutdown` wants a future that can be moved.
        let answer: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(app.clone().oneshot(request));
        answer
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ARRIVAL_TIME)
        .max_buf_size(CONNECTION_BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut asked_to_close = false;
    let result = loop {
        tokio::select! {
            result = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break result,
            _ = closing.wait_for(|closing| *closing), if !asked_to_close => {
                asked_to_close = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = closed.closed() => return,
        }
    };
    let parts = connection.into_parts();
    let socket = parts.io.into_inner();
    match result {
        // A header that began and did not end. Silence, on the other hand, is how an idle connection ends.
        Err(error) if error.is_timeout() && !parts.read_buf.is_empty() => {
            let detail = format!(
                "the header did not arrive within {} s",
                ARRIVAL_TIME.as_secs()
            );
            let late = ApiError::new(Code::RequestTimeout, detail).limit(ARRIVAL_TIME.as_secs());
            refuse(socket, late.problem(), Some(place)).await;
        }
        Err(error) => tracing::debug!(%error, "connection ended"),
        Ok(()) => {}
    }
}

/// Answers a client outside of hyper, and waits a moment so that the answer is not lost to a reset.
async fn refuse(mut socket: TcpStream, problem: Problem, _place: Option<OwnedSemaphorePermit>) {
    let answer = async {
        socket.write_all(raw(&problem).as_bytes()).await?;
        socket.shutdown().await?;
        // Closing with unread bytes would reset the connection and may discard the answer on its way.
        let mut rest = [0; 1024];
        while socket.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(REFUSAL_TIME, answer).await;
}

fn raw(problem: &Problem) -> String {
    let body = serde_json::to_string(problem).unwrap_or_default();
    let status = problem.code.status();
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\nretry-after: 1\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::sync::Notify;

    /// Listens with at most `limit` connections. The second path answers when told to.
    async fn start(limit: usize) -> (SocketAddr, Connections, Arc<Notify>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let answer = Arc::new(Notify::new());
        let told = answer.clone();
        let slow = get(async move || {
            told.notified().await;
            "slow"
        });
        let app = Router::new()
            .route("/", get(async || "ok"))
            .route("/slow", slow);
        let connections = Connections::new(limit);
        tokio::spawn(connections.clone().accept(listener, app));
        (address, connections, answer)
    }

    async fn send(address: SocketAddr, text: &str) -> TcpStream {
        let mut socket = TcpStream::connect(address).await.expect("connected");
        socket.write_all(text.as_bytes()).await.expect("sent");
        socket
    }

    async fn read_until(socket: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let mut bytes = [0; 4096];
            let read = socket.read(&mut bytes).await.expect("read");
            assert!(read > 0, "the connection ended after {text:?}");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        text
    }

    async fn rest(mut socket: TcpStream) -> String {
        let mut bytes = Vec::new();
        socket
            .read_to_end(&mut bytes)
            .await
            .expect("read to the end");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    const WHOLE: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    /// Breaks if a client that sends a header byte by byte holds its connection for ever, or is cut off without a word.
    ///
    /// The clock is paused: it jumps to the next deadline when every task waits.
    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_end_is_answered_408() {
        let (address, _connections, _) = start(4).await;
        let text = rest(send(address, "GET / HTTP/1.1\r\nhost: loc").await).await;
        assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
        assert!(
            text.contains("application/problem+json")
                && text.contains("\"code\":\"request_timeout\""),
            "{text}"
        );
    }

    /// Breaks if an idle connection is told that it was late.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_stays_idle_is_closed_in_silence() {
        let (address, _connections, _) = start(4).await;
        let mut socket = send(address, WHOLE).await;
        read_until(&mut socket, "ok").await;
        assert_eq!(rest(socket).await, "");
    }

    /// Breaks if the bound is not kept, or a place is not given back.
    #[tokio::test]
    async fn a_connection_too_many_is_told_so_and_the_next_one_is_served() {
        let (address, connections, _) = start(1).await;
        let mut first = send(address, WHOLE).await;
        read_until(&mut first, "ok").await;
        let refused = rest(send(address, WHOLE).await).await;
        assert!(
            refused.starts_with("HTTP/1.1 503 ") && refused.contains("too_many_connections"),
            "{refused}"
        );
        drop(first);
        connections.closed().await;
        let mut third = send(address, WHOLE).await;
        assert!(
            read_until(&mut third, "ok")
                .await
                .starts_with("HTTP/1.1 200 ")
        );
    }

    /// Breaks if the end cuts an answer off, or waits for clients that only stay connected.
    #[tokio::test]
    async fn closing_finishes_answers_and_closes_idle_connections() {
        let (address, connections, answer) = start(4).await;
        let mut idle = send(address, WHOLE).await;
        read_until(&mut idle, "ok").await;
        let busy = send(address, &WHOLE.replace("GET /", "GET /slow")).await;
        // Both connections are taken by now: the idle one has answered, and this one takes a third place.
        let mut third = send(address, WHOLE).await;
        read_until(&mut third, "ok").await;
        connections.close();
        assert_eq!(rest(idle).await, "");
        answer.notify_one();
        let last = rest(busy).await;
        assert!(
            last.starts_with("HTTP/1.1 200 ") && last.ends_with("slow"),
            "{last}"
        );
        connections.closed().await;
        assert!(
            TcpStream::connect(address).await.is_err(),
            "nobody listens any more"
        );
    }

    #[test]
    fn each_failure_has_the_exit_code_of_the_command_line() {
        let address: SocketAddr = "127.0.0.1:8080".parse().expect("an address");
        let taken = ServeError::AddressInUse {
            address,
            holder: Some(" by nginx (process 7)".to_owned()),
        };
        assert_eq!(
            taken.to_string(),
            "127.0.0.1:8080 is in use by nginx (process 7); to use another port: openwork serve --listen 127.0.0.1:8081"
        );
        assert_eq!(taken.exit_code(), 3);
        assert_eq!(ServeError::TokenNeeded(address).exit_code(), 2);
        assert_eq!(ServeError::Data(String::new()).exit_code(), 4);
        assert_eq!(ServeError::Internal(String::new()).exit_code(), 1);
    }
}
