//! A run from its admission to its end.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openwork::{Handle, Workload};
use tokio::sync::oneshot;

use super::progress::Meter;
use super::record::{Counters, Json, RunId, RunState, now};
use super::registry::{Inner, Live};
use super::stop::Stop;
use crate::bridge;
use crate::error::{ApiError, Code};

/// How long a cancelled run may take to end its routines before its record is closed without them.
///
/// A routine sees its cancel at its next call into the runtime; one that makes none for this long is stuck, and its
/// run's place is worth more than an exact end.
const ENDING_TIME_MAX: Duration = Duration::from_secs(10);

/// How the work of a run ended, without its cancel or time-out, which the registry knows.
pub type Outcome = Result<Json, Failure>;

/// A run's work did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// What a synchronous client is told.
    pub error: ApiError,
    /// What was done before and stays.
    pub so_far: Option<Json>,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure {
            error,
            so_far: None,
        }
    }
}

/// What a client that waited gets.
#[derive(Debug)]
pub struct Ended {
    /// The answer, or why there is none.
    pub outcome: Result<Json, ApiError>,
    /// From admission to end.
    pub took: Duration,
    /// What its routines did.
    pub counters: Counters,
}

/// A place among the runs, until the run has ended.
struct Place {
    inner: Arc<Inner>,
    id: RunId,
    live: Arc<Live>,
    admitted: Instant,
}

/// A run that was accepted and is not yet under way. Dropping it cancels the run: its client went away.
pub struct Admitted(Option<Place>);

impl Admitted {
    pub(super) fn new(inner: Arc<Inner>, id: RunId, live: Arc<Live>) -> Admitted {
        Admitted(Some(Place {
            inner,
            id,
            live,
            admitted: Instant::now(),
        }))
    }

    fn place(&self) -> &Place {
        // Taken only by the methods that consume `self`.
        self.0.as_ref().expect("an admitted run has a place")
    }

    /// Names the run.
    pub fn id(&self) -> RunId {
        self.place().id
    }

    /// The set that all its routines belong to.
    pub fn workload(&self) -> &Workload {
        &self.place().live.workload
    }

    /// The runtime its routines run on.
    pub fn runtime(&self) -> &Handle {
        &self.place().inner.runtime
    }

    /// Waits until the record would survive a power cut.
    ///
    /// # Errors
    /// `storage`: the disk refused.
    pub async fn durable(&self) -> Result<(), ApiError> {
        let place = self.place();
        let record = place.inner.record(place.id);
        let durable = place.inner.store.put_durable(&record);
        durable
            .wait()
            .await
            .map_err(|error| ApiError::storage(error.to_string()))
    }

    /// Ends the run before it began, and passes the reason on.
    pub fn refuse(mut self, error: ApiError) -> ApiError {
        if let Some(place) = self.0.take() {
            place.end(RunState::Failed, None, Some(error.detail().to_owned()));
        }
        error
    }

    /// Sets routines' work going. A cancel ends the workload and waits for `work` to say what stayed.
    ///
    /// `work` must resolve soon after [`Admitted::workload`] is cancelled.
    pub fn launch(
        self,
        meter: Meter,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) -> Ticket {
        self.start(meter, work, OnStop::WaitForRoutines)
    }

    /// Sets work going that has no routines. A cancel drops it.
    pub fn launch_future(
        self,
        meter: Meter,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) -> Ticket {
        self.start(meter, work, OnStop::Drop)
    }

    fn start(
        mut self,
        meter: Meter,
        work: impl Future<Output = Outcome> + Send + 'static,
        on_stop: OnStop,
    ) -> Ticket {
        let place = self.0.take().expect("an admitted run has a place");
        let (inner, id, live) = (Arc::clone(&place.inner), place.id, Arc::clone(&place.live));
        // Set once, here, since starting consumes the admission.
        let _first = live.meter.set(meter);
        let record = inner.update(id, |record| {
            record.state = RunState::Running;
            record.started_at = Some(now());
            if let Some(meter) = live.meter.get() {
                record.progress = meter();
            }
        });
        // A request holds foreign text; `{:?}` escapes control and bidirectional characters, so it stays on its line.
        tracing::info!(run = %id, kind = record.kind.name(), request = ?record.request.get(), "run started");
        let (tell, told) = oneshot::channel();
        tokio::spawn(drive(place, work, on_stop, tell));
        Ticket {
            id,
            live,
            told: Some(told),
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(place) = self.0.take() {
            let gone = Stop::ClientGone;
            let error = gone.error(place.inner.settings.timeout);
            place.end(gone.state(), None, Some(error.detail().to_owned()));
        }
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admitted").field(&self.id()).finish()
    }
}

/// A run under way. Dropping it tells the run that its client has gone; [`Ticket::detach`] does not.
#[must_use = "dropping a ticket cancels its run"]
pub struct Ticket {
    id: RunId,
    live: Arc<Live>,
    told: Option<oneshot::Receiver<Ended>>,
}

impl Ticket {
    /// Names the run.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Waits for the end. Dropping this future tells the run that its client has gone.
    pub async fn wait(mut self) -> Ended {
        let told = self.told.as_mut().expect("taken only below and in detach");
        let ended = told.await;
        self.told = None;
        ended.unwrap_or_else(|_| Ended {
            outcome: Err(ApiError::internal(format_args!(
                "run {} was not driven to its end",
                self.id
            ))),
            took: Duration::ZERO,
            counters: Counters::default(),
        })
    }

    /// Leaves the run to itself.
    pub fn detach(mut self) {
        self.told = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.told.is_some() {
            self.live.stop(Stop::ClientGone);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.id).finish()
    }
}

/// What becomes of the work when its run is told to stop.
#[derive(Clone, Copy)]
enum OnStop {
    /// It ends by itself, because its routines are cancelled.
    WaitForRoutines,
    /// It is dropped.
    Drop,
}

async fn drive(
    place: Place,
    work: impl Future<Output = Outcome>,
    on_stop: OnStop,
    tell: oneshot::Sender<Ended>,
) {
    let place = Unfinished(Some(place));
    let (outcome, stop) = place.get().until_end(work, on_stop).await;
    let timeout = place.get().inner.settings.timeout;
    let outcome = outcome.unwrap_or_else(|| {
        let error = ApiError::new(Code::Cancelled, "some of its routines have not ended yet");
        Err(error.into())
    });
    let (state, result, error) = match (outcome, stop) {
        // Perhaps told to stop, but it was just done: that is a success.
        (Ok(result), _) => (RunState::Succeeded, Some(result), None),
        (Err(failure), Some(why)) => (why.state(), failure.so_far, Some(why.error(timeout))),
        // Its routines were cancelled by other means than its run.
        (Err(failure), None) if failure.error.code() == Code::Cancelled => {
            (RunState::Cancelled, failure.so_far, Some(failure.error))
        }
        (Err(failure), None) => (RunState::Failed, failure.so_far, Some(failure.error)),
    };
    let kept = keep(result.clone()).await;
    let place = place.finish();
    let counters = place.inner.counters(&place.live.workload);
    let took = place.admitted.elapsed();
    place.end(
        state,
        kept,
        error.as_ref().map(|error| error.detail().to_owned()),
    );
    let outcome = match (error, result) {
        (Some(error), _) => Err(error),
        (None, Some(result)) => Ok(result),
        (None, None) => unreachable!("a success has a result"),
    };
    // Nobody listens to the end of an asynchronous run here.
    let _heard = tell.send(Ended {
        outcome,
        took,
        counters,
    });
}

/// A result as a record keeps it. Cutting a long one parses megabytes: not on the HTTP thread.
async fn keep(result: Option<Json>) -> Option<(Json, bool)> {
    let result = result?;
    if result.is_short() {
        return Some((result, false));
    }
    bridge::off_thread(move || result.cut_result()).await.ok()
}

impl Place {
    /// Drives the work to its end, or to that of its run. Without an outcome the work was dropped.
    async fn until_end(
        &self,
        work: impl Future<Output = Outcome>,
        on_stop: OnStop,
    ) -> (Option<Outcome>, Option<Stop>) {
        let mut work = pin!(work);
        let why = tokio::select! {
            biased;
            outcome = &mut work => return (Some(outcome), None),
            why = self.live.stopped() => why,
            () = tokio::time::sleep(self.inner.settings.timeout) => Stop::TimedOut,
        };
        self.live.stop(why);
        self.live.workload.cancel(&self.inner.runtime);
        let outcome = match on_stop {
            OnStop::Drop => None,
            OnStop::WaitForRoutines => {
                let ending = tokio::time::timeout(ENDING_TIME_MAX, &mut work).await;
                if ending.is_err() {
                    tracing::warn!(run = %self.id, "some routines of a stopped run have not ended");
                }
                ending.ok()
            }
        };
        (outcome, Some(why))
    }

    /// Closes the record and gives the place back.
    fn end(self, state: RunState, result: Option<(Json, bool)>, error: Option<String>) {
        let (result, cut) = match result {
            Some((result, cut)) => (Some(result), cut),
            None => (None, false),
        };
        let counters = self.inner.counters(&self.live.workload);
        let progress = self.live.meter.get().map(|meter| meter());
        let record = self.inner.update(self.id, |record| {
            record.state = state;
            record.result = result;
            record.error = error;
            record.truncated |= cut;
            record.counters = counters;
            if let Some(progress) = progress {
                record.progress = progress;
            }
            record.ended_at = Some(now());
        });
        let (kind, state) = (record.kind.name(), record.state.name());
        match record.error {
            None => tracing::info!(run = %self.id, kind, state, "run ended"),
            Some(error) => tracing::info!(run = %self.id, kind, state, error = ?error, "run ended"),
        }
        self.inner.leave(self.id);
    }
}

/// A place whose work may panic: then the run has failed, and its place is free.
struct Unfinished(Option<Place>);

impl Unfinished {
    fn get(&self) -> &Place {
        self.0.as_ref().expect("there until finished")
    }

    fn finish(mut self) -> Place {
        self.0.take().expect("finished once")
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(place) = self.0.take() {
            let error = "the service failed while it drove this run; its log has the cause";
            place.end(RunState::Failed, None, Some(error.to_owned()));
        }
    }
}
