//! All runs of this service: which are under way, which ended and how.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use openwork::{Handle, Workload};
use serde::Serialize;
use tokio::sync::watch;

use super::progress::{Meter, Progress};
use super::record::{Counters, Json, RunId, RunKind, RunRecord, RunSource, RunState, now};
use super::stop::Stop;
use super::store::{Store, StoreError};
use super::ticket::Admitted;
use crate::error::{ApiError, Code};
use crate::limits;

/// How long a client that was refused for lack of a place should wait. Most runs take well under a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Hears of each change of a run.
type Listener = Box<dyn Fn(&RunRecord) + Send + Sync>;

/// What bounds runs.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Runs at once.
    pub max_runs: usize,
    /// Longest time of one run.
    pub timeout: Duration,
}

/// All runs. A cheap handle.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

pub(super) struct Inner {
    pub(super) runtime: Handle,
    pub(super) settings: Settings,
    pub(super) store: Store,
    runs: Mutex<Runs>,
    /// Runs accepted and not ended; what a graceful stop waits for.
    under_way: watch::Sender<usize>,
    listener: OnceLock<Listener>,
}

struct Runs {
    next_id: u64,
    entries: BTreeMap<RunId, Entry>,
    live: BTreeSet<RunId>,
    draining: bool,
}

struct Entry {
    record: RunRecord,
    /// Until the run has ended.
    live: Option<Arc<Live>>,
}

/// What a run under way is watched and stopped by.
pub(super) struct Live {
    pub(super) workload: Workload,
    pub(super) meter: OnceLock<Meter>,
    stop: watch::Sender<Option<Stop>>,
    ended: watch::Sender<bool>,
    /// The progress told to the listener last. Held while it is told anything about this run, so that it hears of its
    /// changes in their order.
    told: Mutex<Option<Progress>>,
}

impl Registry {
    /// Opens the runs in `data_dir`, or none and in memory. Runs that were under way when the process ended are now
    /// `interrupted`.
    ///
    /// # Errors
    /// If the file cannot be opened or read.
    pub fn open(
        data_dir: Option<&Path>,
        runtime: Handle,
        settings: Settings,
    ) -> Result<Registry, StoreError> {
        let (store, mut records) = match data_dir {
            Some(dir) => Store::open(dir)?,
            None => (Store::Memory, Vec::new()),
        };
        for record in records.iter_mut().filter(|r| !r.state.is_final()) {
            record.state = RunState::Interrupted;
            record.error = Some("the process ended while this run was under way".to_owned());
            store.put(record);
        }
        let entries: BTreeMap<_, _> = records
            .into_iter()
            .map(|record| (record.id, Entry { record, live: None }))
            .collect();
        let next_id = entries.last_key_value().map_or(1, |(id, _)| id.0 + 1);
        Ok(Registry(Arc::new(Inner {
            runtime,
            settings,
            store,
            runs: Mutex::new(Runs {
                next_id,
                entries,
                live: BTreeSet::new(),
                draining: false,
            }),
            under_way: watch::Sender::new(0),
            listener: OnceLock::new(),
        })))
    }

    /// Sets who hears of each change of a run, with the record after it. The first one set stays.
    pub fn on_change(&self, listener: impl Fn(&RunRecord) + Send + Sync + 'static) {
        // A second listener would be a second stream of the same events.
        let _first_stays = self.0.listener.set(Box::new(listener));
    }

    /// Takes a place and makes the record of a run.
    ///
    /// # Errors
    /// `too_many_runs` without a free place, `draining` when the service is ending.
    pub fn admit(
        &self,
        kind: RunKind,
        request: &impl Serialize,
        source: RunSource,
    ) -> Result<Admitted, ApiError> {
        let (request, truncated) = Json::new(request).cut_request();
        let mut runs = self.0.lock();
        if runs.draining {
            return Err(ApiError::draining());
        }
        let places = self.0.settings.max_runs;
        if runs.live.len() >= places {
            let detail = format!("{places} runs are under way, which is as many as allowed");
            return Err(ApiError::new(Code::TooManyRuns, detail)
                .limit(places as u64)
                .retry_after(RETRY_AFTER));
        }
        let id = RunId(runs.next_id);
        runs.next_id += 1;
        let workload = Workload::new(&format!("{} {id}", kind.name()));
        let record = RunRecord {
            id,
            kind,
            state: RunState::Queued,
            source,
            request,
            progress: Progress::not_begun(),
            counters: self.0.counters(&workload),
            result: None,
            error: None,
            truncated,
            created_at: now(),
            started_at: None,
            ended_at: None,
            workload: workload.id().to_string(),
        };
        let live = Arc::new(Live {
            workload,
            meter: OnceLock::new(),
            stop: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            told: Mutex::new(None),
        });
        runs.live.insert(id);
        runs.entries.insert(
            id,
            Entry {
                record: record.clone(),
                live: Some(Arc::clone(&live)),
            },
        );
        let forgotten = runs.forget_oldest();
        self.0.under_way.send_replace(runs.live.len());
        drop(runs);
        for id in forgotten {
            self.0.store.remove(id);
        }
        self.0.changed(&record);
        Ok(Admitted::new(Arc::clone(&self.0), id, live))
    }

    /// The run as it is now.
    pub fn get(&self, id: RunId) -> Option<RunRecord> {
        let runs = self.0.lock();
        let entry = runs.entries.get(&id)?;
        let (record, live) = (entry.record.clone(), entry.live.clone());
        drop(runs);
        Some(self.0.as_of_now(record, live.as_deref()))
    }

    /// Up to `limit` runs that `wanted` picks, newest first, all older than `before`.
    pub fn list(
        &self,
        before: Option<RunId>,
        limit: usize,
        wanted: impl Fn(&RunRecord) -> bool,
    ) -> Vec<RunRecord> {
        let runs = self.0.lock();
        let below = before.unwrap_or(RunId(u64::MAX));
        let picked: Vec<_> = runs
            .entries
            .range(..below)
            .rev()
            .map(|(_, entry)| entry)
            .filter(|entry| wanted(&entry.record))
            .take(limit)
            .map(|entry| (entry.record.clone(), entry.live.clone()))
            .collect();
        drop(runs);
        picked
            .into_iter()
            .map(|(record, live)| self.0.as_of_now(record, live.as_deref()))
            .collect()
    }

    /// Tells the run to stop, if it is under way. Returns at once; [`Registry::ended`] waits.
    pub fn cancel(&self, id: RunId, why: Stop) {
        let live = self.0.lock().entries.get(&id).and_then(|e| e.live.clone());
        if let Some(live) = live {
            live.stop(why);
        }
    }

    /// Waits until the run has ended. At once if it has, or is unknown.
    pub async fn ended(&self, id: RunId) {
        let ended = {
            let runs = self.0.lock();
            let live = runs.entries.get(&id).and_then(|e| e.live.as_ref());
            live.map(|live| live.ended.subscribe())
        };
        if let Some(mut ended) = ended {
            // The sender lives until it has said so.
            let _ended_or_gone = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Tells the listener of every run whose progress has changed since it was last told.
    pub fn announce_progress(&self) {
        if self.0.listener.get().is_none() {
            return;
        }
        let live: Vec<_> = {
            let runs = self.0.lock();
            let entries = runs.live.iter().filter_map(|id| runs.entries.get(id));
            entries
                .filter_map(|entry| Some((entry.record.id, entry.live.clone()?)))
                .collect()
        };
        for (id, live) in live {
            // Read under the lock that orders what is told: were it read before, the run could end in between, and its
            // end be told before this.
            let mut told = live.told();
            let Some(record) = self.get(id).filter(|record| !record.state.is_final()) else {
                continue;
            };
            if told.as_ref() != Some(&record.progress) {
                *told = Some(record.progress.clone());
                self.0.tell(&record);
            }
        }
    }

    /// Runs accepted and not ended.
    pub fn under_way(&self) -> usize {
        *self.0.under_way.borrow()
    }

    /// The name of the workload with this id, if it belongs to a run that is remembered.
    pub fn workload_names(&self) -> BTreeMap<u64, String> {
        let runs = self.0.lock();
        let live = runs.entries.values().filter_map(|e| e.live.as_ref());
        live.map(|l| (l.workload.id().get(), l.workload.name().to_owned()))
            .collect()
    }

    /// The run that ended last, if it failed or timed out. A success after it makes it history.
    pub fn last_failure(&self) -> Option<RunRecord> {
        let runs = self.0.lock();
        let ended = runs.entries.values().rev().map(|e| &e.record);
        ended
            .filter(|r| r.state.is_final())
            .take(1)
            .find(|r| matches!(r.state, RunState::Failed | RunState::TimedOut))
            .cloned()
    }

    /// From now on refuses new runs.
    pub fn drain(&self) {
        self.0.lock().draining = true;
    }

    /// Waits until no run is under way.
    pub async fn idle(&self) {
        let mut under_way = self.0.under_way.subscribe();
        // The sender is in `self`.
        let _idle = under_way.wait_for(|n| *n == 0).await;
    }

    /// Tells every run to stop, because the service is ending.
    pub fn cancel_all(&self) {
        let live: Vec<_> = {
            let runs = self.0.lock();
            runs.entries
                .values()
                .filter_map(|e| e.live.clone())
                .collect()
        };
        for live in live {
            live.stop(Stop::Draining);
        }
    }

    /// Writes what is not yet on disk and ends the writer thread. Blocks for the disk.
    pub fn close(&self) {
        self.0.store.close();
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("settings", &self.0.settings)
            .field("under_way", &self.under_way())
            .finish_non_exhaustive()
    }
}

impl Runs {
    /// Drops the oldest ended runs above the number kept, and says which. Benches are counted apart: what an
    /// operation cost a year ago is not to be pushed out by a thousand requests of a script.
    fn forget_oldest(&mut self) -> Vec<RunId> {
        let is_bench = |entry: &Entry| entry.record.kind == RunKind::Bench;
        let mut oldest = Vec::new();
        for (bench, kept) in [
            (true, limits::BENCHES_KEPT.max),
            (false, limits::RUNS_KEPT.max),
        ] {
            let of_kind = || self.entries.iter().filter(|(_, e)| is_bench(e) == bench);
            let excess = of_kind().count().saturating_sub(kept as usize);
            let ended = of_kind().filter(|(_, entry)| entry.live.is_none());
            oldest.extend(ended.map(|(id, _)| *id).take(excess));
        }
        for id in &oldest {
            self.entries.remove(id);
        }
        oldest
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Runs> {
        // No code of others runs under this lock; a panic under it would be ours, and the map is whole at each step.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counters(&self, workload: &Workload) -> Counters {
        Counters::new(&workload.counters(), openwork::memory::is_counting())
    }

    fn as_of_now(&self, mut record: RunRecord, live: Option<&Live>) -> RunRecord {
        if let Some(live) = live.filter(|_| !record.state.is_final()) {
            record.counters = self.counters(&live.workload);
            if let Some(meter) = live.meter.get() {
                record.progress = meter();
            }
        }
        record
    }

    /// Stores the record and tells the listener.
    fn changed(&self, record: &RunRecord) {
        self.store.put(record);
        self.tell(record);
    }

    fn tell(&self, record: &RunRecord) {
        if let Some(listener) = self.listener.get() {
            listener(record);
        }
    }

    /// The record of a run that has its place, as it was stored last.
    pub(super) fn record(&self, id: RunId) -> RunRecord {
        let runs = self.lock();
        let entry = runs.entries.get(&id);
        entry
            .expect("a run with a place is not forgotten")
            .record
            .clone()
    }

    /// Changes the record of a run that has its place, stores it, tells the listener and returns it.
    pub(super) fn update(&self, id: RunId, change: impl FnOnce(&mut RunRecord)) -> RunRecord {
        let mut runs = self.lock();
        let entry = runs.entries.get_mut(&id);
        let entry = entry.expect("a run with a place is not forgotten");
        change(&mut entry.record);
        let (record, live) = (entry.record.clone(), entry.live.clone());
        drop(runs);
        let _in_order = live.as_ref().map(|live| live.told());
        self.changed(&record);
        record
    }

    /// Gives the place of a run back, whose record is final.
    pub(super) fn leave(&self, id: RunId) {
        let mut runs = self.lock();
        runs.live.remove(&id);
        let live = runs
            .entries
            .get_mut(&id)
            .and_then(|entry| entry.live.take());
        self.under_way.send_replace(runs.live.len());
        drop(runs);
        if let Some(live) = live {
            live.ended.send_replace(true);
        }
    }
}

impl Live {
    fn told(&self) -> MutexGuard<'_, Option<Progress>> {
        // A listener that panicked leaves the progress whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first reason stays.
    pub(super) fn stop(&self, why: Stop) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(why);
            first
        });
    }

    /// Waits until somebody stops the run.
    pub(super) async fn stopped(&self) -> Stop {
        let mut stop = self.stop.subscribe();
        loop {
            if let Some(why) = *stop.borrow_and_update() {
                return why;
            }
            // The sender is in `self`, so this cannot fail.
            let _changed = stop.changed().await;
        }
    }
}
