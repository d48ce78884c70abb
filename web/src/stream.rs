//! Server-sent events: every viewer sees the same samples, and none can hold up another or the service.
//!
//! A sample is rendered once, on the sampler's thread, and the same bytes go to all viewers. Each viewer has a task that
//! waits until its connection has taken the piece before, and only then picks the newest sample: a slow viewer thereby
//! skips samples instead of queueing them, and is told how many (`skipped`). One whose connection takes nothing for
//! [`PROGRESS_TIME_MAX`] is closed. hyper does not ask a body for more while the socket is full, so closing has to come
//! from outside: that is what [`Closer`] is for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::body::{Body, Bytes};
use openwork_blockchain::{Block, Chain};
use openwork_observatory::{Observatory, Sample, ViewerGuard};
use serde::Serialize;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::{ApiError, Code};
use crate::runs::Registry;
use crate::wire::{BlockEvent, ConfigChanged, Tick};

/// A viewer that takes nothing for this long is closed.
pub const PROGRESS_TIME_MAX: Duration = Duration::from_secs(10);
/// After this long without an event a comment is sent, so that a dead connection is noticed.
const QUIET_TIME_MAX: Duration = Duration::from_secs(15);
/// How long a viewer may take to get its `bye`.
const BYE_TIME_MAX: Duration = Duration::from_secs(1);
/// Events kept for a viewer that is behind; beyond, it gets a `reset` and reads runs and blocks anew.
const EVENTS_BEHIND_MAX: usize = 256;
/// Samples of a replay that are rendered in one go.
const REPLAY_BATCH: usize = 32;
/// When a viewer that found all places taken should ask again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// All event streams. A cheap handle.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    observatory: Observatory,
    ticks: watch::Sender<Option<Arc<Frame>>>,
    events: broadcast::Sender<Bytes>,
    ending: watch::Sender<bool>,
    viewers: AtomicUsize,
    viewers_max: usize,
}

/// What a stream is to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// The newest sample.
    Now,
    /// The samples after number `n` of the process `boot`.
    After {
        /// Names a process.
        boot: String,
        /// Number of the last sample seen.
        n: u64,
    },
}

impl Since {
    /// Reads `<boot>-<n>`, the form of `Last-Event-ID` and of `since`.
    pub fn parse(id: &str) -> Option<Since> {
        let (boot, n) = id.rsplit_once('-')?;
        Some(Since::After {
            boot: boot.to_owned(),
            n: n.parse().ok()?,
        })
    }
}

/// Closes the connection that a request came on. The server puts one into the extensions of every request.
#[derive(Debug, Clone)]
pub struct Closer(Arc<Notify>);

/// The server's end of a [`Closer`].
#[derive(Debug)]
pub struct ClosedSignal(Arc<Notify>);

impl Closer {
    /// A closer and the end that hears it.
    #[allow(clippy::new_ret_no_self, reason = "the two ends are made together")]
    pub fn new() -> (Closer, ClosedSignal) {
        let notify = Arc::new(Notify::new());
        (Closer(Arc::clone(&notify)), ClosedSignal(notify))
    }

    /// Has the connection dropped, whatever it is doing.
    pub fn close(&self) {
        self.0.notify_one();
    }
}

impl ClosedSignal {
    /// Waits for [`Closer::close`].
    pub async fn closed(&self) {
        self.0.notified().await;
    }
}

impl Hub {
    /// Begins to listen to samples, runs and blocks. At most `viewers_max` streams at once.
    pub fn start(
        observatory: &Observatory,
        runs: &Registry,
        chain: &Chain,
        viewers_max: usize,
    ) -> Hub {
        let hub = Hub(Arc::new(Inner {
            observatory: observatory.clone(),
            ticks: watch::Sender::new(None),
            events: broadcast::Sender::new(EVENTS_BEHIND_MAX),
            ending: watch::Sender::new(false),
            viewers: AtomicUsize::new(0),
            viewers_max,
        }));
        let (ticking, progressing) = (hub.clone(), runs.clone());
        observatory.on_sample(move |sample| {
            if ticking.viewers() > 0 {
                ticking
                    .0
                    .ticks
                    .send_replace(Some(Arc::new(Frame::new(sample))));
                progressing.announce_progress();
            }
        });
        let announcing = hub.clone();
        runs.on_change(move |run| announcing.announce("run", run));
        let appending = hub.clone();
        chain.on_append(move |block: &Arc<Block>| {
            appending.announce("block", &BlockEvent::new(block))
        });
        hub
    }

    /// Open streams.
    pub fn viewers(&self) -> usize {
        self.0.viewers.load(Relaxed)
    }

    /// Ends all streams, each with `bye`, and from now on every new one at once.
    pub fn bye(&self) {
        self.0.ending.send_replace(true);
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// `too_many_viewers` when all places are taken.
    pub fn view(&self, since: Since, closer: Option<Closer>) -> Result<Body, ApiError> {
        let places = self.0.viewers_max;
        let taken = self
            .0
            .viewers
            .fetch_update(Relaxed, Relaxed, |n| (n < places).then_some(n + 1));
        if taken.is_err() {
            let detail = format!("{places} streams are open, which is as many as allowed");
            return Err(ApiError::new(Code::TooManyViewers, detail)
                .limit(places as u64)
                .retry_after(RETRY_AFTER));
        }
        let (sender, receiver) = mpsc::channel(1);
        let viewer = Viewer {
            // Subscribed here and not in the task: what happens from now on belongs to this stream.
            ticks: self.0.ticks.subscribe(),
            events: self.0.events.subscribe(),
            ending: self.0.ending.subscribe(),
            _place: Place(self.clone()),
            _watching: self.0.observatory.viewer(),
            hub: self.clone(),
            sender,
            closer,
            last: None,
        };
        tokio::spawn(viewer.run(since));
        Ok(Body::from_stream(ReceiverStream::new(receiver)))
    }

    /// Says that the runtime's configuration has changed.
    pub fn configured(&self, changed: &ConfigChanged) {
        self.announce("config", changed);
    }

    /// Sends an event to whoever watches.
    fn announce(&self, name: &str, data: &impl Serialize) {
        if self.viewers() > 0 {
            // The last viewer may have gone this moment.
            let _heard = self.0.events.send(event(name, data));
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("viewers", &self.viewers())
            .finish_non_exhaustive()
    }
}

/// One of the places for viewers.
struct Place(Hub);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.viewers.fetch_sub(1, Relaxed);
    }
}

/// A rendered sample, whole and with a gap where `skipped` stands.
#[derive(Debug)]
struct Frame {
    n: u64,
    whole: Bytes,
    /// Where the `0` of `"skipped":0` is in `whole`.
    skipped_at: usize,
}

impl Frame {
    fn new(sample: &Sample) -> Frame {
        let tick = Tick::whole(sample);
        let (boot, n) = (&tick.boot, tick.n);
        let fields = format!("id: {boot}-{n}\nevent: tick\ndata: ");
        let until_skipped = format!("{fields}{{\"boot\":\"{boot}\",\"n\":{n},\"skipped\":");
        let mut text = fields.into_bytes();
        // Writing to memory cannot fail, and every map in a tick has string keys.
        serde_json::to_writer(&mut text, &tick).expect("a tick is JSON");
        text.extend_from_slice(b"\n\n");
        assert!(
            text.starts_with(until_skipped.as_bytes()),
            "a tick begins with boot, n, skipped"
        );
        Frame {
            n,
            whole: Bytes::from(text),
            skipped_at: until_skipped.len(),
        }
    }

    /// For a viewer that missed `skipped` samples before this one.
    fn bytes(&self, skipped: u64) -> Bytes {
        if skipped == 0 {
            return self.whole.clone();
        }
        let (head, tail) = self.whole.split_at(self.skipped_at);
        Bytes::from([head, skipped.to_string().as_bytes(), &tail[1..]].concat())
    }
}

/// An event without an id: a reader that comes back asks for samples only.
fn event(name: &str, data: &impl Serialize) -> Bytes {
    let mut text = format!("event: {name}\ndata: ").into_bytes();
    // As above.
    serde_json::to_writer(&mut text, data).expect("events are JSON");
    text.extend_from_slice(b"\n\n");
    Bytes::from(text)
}

/// Why a stream ends.
enum End {
    /// Its client closed it.
    Gone,
    /// The service is ending.
    Bye,
    /// It took nothing for [`PROGRESS_TIME_MAX`].
    Slow,
}

/// One open stream.
struct Viewer {
    hub: Hub,
    ticks: watch::Receiver<Option<Arc<Frame>>>,
    events: broadcast::Receiver<Bytes>,
    ending: watch::Receiver<bool>,
    sender: mpsc::Sender<Result<Bytes, std::convert::Infallible>>,
    closer: Option<Closer>,
    /// Number of the sample sent last.
    last: Option<u64>,
    _place: Place,
    _watching: ViewerGuard,
}

impl Viewer {
    async fn run(mut self, since: Since) {
        let end = match self.begin(since).await {
            Ok(()) => self.follow().await,
            Err(end) => end,
        };
        match end {
            End::Gone => {}
            End::Bye => {
                // A full connection cannot take a `bye`, and must not hold up the end of the service either.
                let bye = self.sender.send(Ok(event("bye", &serde_json::json!({}))));
                if timeout(BYE_TIME_MAX, bye).await.is_err()
                    && let Some(closer) = &self.closer
                {
                    closer.close();
                }
            }
            End::Slow => {
                self.hub.0.observatory.add_viewer_closed();
                tracing::info!(
                    last = self.last,
                    "a viewer took nothing for 10 s and was closed"
                );
                if let Some(closer) = &self.closer {
                    closer.close();
                }
            }
        }
    }

    /// Sends what the viewer missed, or the newest sample.
    async fn begin(&mut self, since: Since) -> Result<(), End> {
        // The page must learn at once that it is connected, also when the first sample takes a second.
        self.send(Bytes::from_static(b"retry: 500\n\n")).await?;
        let observatory = self.hub.0.observatory.clone();
        let newest = observatory.latest();
        let missed = match &since {
            Since::Now => None,
            Since::After { boot, n } if **boot == *newest.boot => observatory.since(*n),
            Since::After { .. } => None,
        };
        let Some(missed) = missed else {
            if since != Since::Now {
                self.reset(&newest.boot).await?;
            }
            return self.tick(&Frame::new(&newest)).await;
        };
        for batch in missed.chunks(REPLAY_BATCH) {
            let batch = batch.to_vec();
            let frames = tokio::task::spawn_blocking(move || {
                batch
                    .iter()
                    .map(|sample| Frame::new(sample))
                    .collect::<Vec<_>>()
            });
            for frame in frames.await.map_err(|_| End::Gone)? {
                self.tick(&frame).await?;
            }
        }
        Ok(())
    }

    /// Sends what happens, until something ends the stream.
    async fn follow(&mut self) -> End {
        loop {
            // A place in the channel first, the newest sample then: so nothing sent is older than it must be.
            if let Err(end) = self.ready().await {
                return end;
            }
            let sent = tokio::select! {
                () = said(&mut self.ending) => Err(End::Bye),
                () = self.sender.closed() => Err(End::Gone),
                event = self.events.recv() => match event {
                    Ok(bytes) => self.send(bytes).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        let boot = self.hub.0.observatory.latest().boot.clone();
                        self.reset(&boot).await
                    }
                    Err(broadcast::error::RecvError::Closed) => Err(End::Bye),
                },
                changed = self.ticks.changed() => match changed {
                    Ok(()) => {
                        let frame = self.ticks.borrow_and_update().clone();
                        match frame {
                            Some(frame) => self.tick(&frame).await,
                            None => Ok(()),
                        }
                    }
                    Err(_) => Err(End::Bye),
                },
                () = tokio::time::sleep(QUIET_TIME_MAX) => {
                    self.send(Bytes::from_static(b": still here\n\n")).await
                }
            };
            if let Err(end) = sent {
                return end;
            }
        }
    }

    /// Sends a sample, unless the viewer has it or a newer one.
    async fn tick(&mut self, frame: &Frame) -> Result<(), End> {
        let skipped = match self.last {
            Some(last) if frame.n <= last => return Ok(()),
            Some(last) => frame.n - last - 1,
            None => 0,
        };
        if skipped > 0 {
            self.hub.0.observatory.add_samples_skipped(skipped);
        }
        self.last = Some(frame.n);
        self.send(frame.bytes(skipped)).await
    }

    /// Tells the viewer that it has missed things that cannot be sent again.
    async fn reset(&mut self, boot: &str) -> Result<(), End> {
        self.last = None;
        self.send(event("reset", &serde_json::json!({ "boot": boot })))
            .await
    }

    /// Waits until the connection has taken what was sent before.
    async fn ready(&mut self) -> Result<(), End> {
        tokio::select! {
            biased;
            () = said(&mut self.ending) => Err(End::Bye),
            ready = timeout(PROGRESS_TIME_MAX, self.sender.reserve()) => match ready {
                Ok(Ok(_place)) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Slow),
            },
        }
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), End> {
        self.ready().await?;
        self.hub.0.observatory.add_bytes_sent(bytes.len() as u64);
        self.sender.try_send(Ok(bytes)).map_err(|_| End::Gone)
    }
}

/// Waits until `ending` says so, or nobody is left to say it.
async fn said(ending: &mut watch::Receiver<bool>) {
    let _ending_or_gone = ending.wait_for(|ending| *ending).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_boot_and_number() {
        #[track_caller]
        fn check(id: &str, expected: Option<(&str, u64)>) {
            let expected = expected.map(|(boot, n)| Since::After {
                boot: boot.to_owned(),
                n,
            });
            assert_eq!(Since::parse(id), expected, "{id}");
        }
        check("k3x9f2-1234", Some(("k3x9f2", 1234)));
        check("a-b-7", Some(("a-b", 7)));
        check("1234", None);
        check("k3x9f2-", None);
        check("k3x9f2--1", Some(("k3x9f2-", 1)));
        check("", None);
    }

    #[test]
    fn only_the_skipped_count_differs_between_viewers() {
        let whole =
            "id: b-7\nevent: tick\ndata: {\"boot\":\"b\",\"n\":7,\"skipped\":0,\"at_ns\":1}\n\n";
        let frame = Frame {
            n: 7,
            whole: Bytes::from_static(whole.as_bytes()),
            skipped_at: whole.find(":0,").unwrap() + 1,
        };
        assert_eq!(frame.bytes(0), whole);
        assert_eq!(
            frame.bytes(12),
            whole.replace("\"skipped\":0", "\"skipped\":12")
        );
    }
}
