//! The runs on disk, written by one thread of their own.
//!
//! A commit waits for the disk, so neither a worker nor the thread that answers HTTP may make one. They leave the newest
//! state of a run in [`Pending`] and go on; whoever promised durability waits for the writer's word. The writer takes all
//! that is pending into one transaction, so a burst of runs costs one flush. What is pending is bounded by the number of
//! runs kept, since a later state of a run replaces an earlier one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::oneshot;

use super::record::{RunId, RunRecord};

/// File name in the data directory.
pub const FILE_NAME: &str = "runs.redb";
/// JSON of a record by id.
const RUNS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("runs");
/// How long the writer waits after a failed commit before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Page cache; records are read once, at start, so the default of a gigabyte would be a limit nobody means.
const CACHE_BYTES: usize = 4 << 20;

/// Why the runs could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is of another kind, damaged, or in use by another process.
    #[error("{}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// A record could not be made durable.
    #[error("a run could not be recorded: {0}")]
    Write(String),
    /// The writer thread could not be started.
    #[error("no thread for the runs' store: {0}")]
    Thread(#[source] std::io::Error),
}

/// Where records go.
#[derive(Debug)]
pub(super) enum Store {
    /// `--ephemeral`: nowhere.
    Memory,
    /// Into `runs.redb`.
    Disk(Writer),
}

/// The way to the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    changes: BTreeMap<u64, Change>,
    closing: bool,
}

/// What is to happen to one run's record.
#[derive(Debug)]
struct Change {
    /// The JSON to store; `None` removes it.
    json: Option<Vec<u8>>,
    /// Whom to tell once it is durable, or why it is not.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

impl Store {
    /// Opens the file in `data_dir` and reads the records in it, oldest first.
    pub(super) fn open(data_dir: &Path) -> Result<(Store, Vec<RunRecord>), StoreError> {
        let path = data_dir.join(FILE_NAME);
        let failed = |source: redb::Error| StoreError::Open {
            path: path.clone(),
            source: Box::new(source),
        };
        let database = open_database(&path).map_err(failed)?;
        let records = read_all(&database).map_err(failed)?;
        let shared = Arc::new(Shared::default());
        let thread = {
            let (shared, path) = (Arc::clone(&shared), path.clone());
            thread::Builder::new()
                .name("runs-writer".to_owned())
                .spawn(move || write_until_closed(&shared, &path, database))
                .map_err(StoreError::Thread)?
        };
        let writer = Writer {
            shared,
            thread: Mutex::new(Some(thread)),
        };
        Ok((Store::Disk(writer), records))
    }

    /// Stores `record` sooner or later. Never waits.
    pub(super) fn put(&self, record: &RunRecord) {
        self.change(record.id, Some(record), None);
    }

    /// Stores `record`; the receiver hears when it is durable.
    pub(super) fn put_durable(&self, record: &RunRecord) -> Durable {
        match self {
            Store::Memory => Durable(None),
            Store::Disk(_) => {
                let (told, hears) = oneshot::channel();
                self.change(record.id, Some(record), Some(told));
                Durable(Some(hears))
            }
        }
    }

    /// Forgets the run.
    pub(super) fn remove(&self, id: RunId) {
        self.change(id, None, None);
    }

    /// Writes what is pending and ends the writer. Blocks for the disk; later changes are lost.
    pub(super) fn close(&self) {
        let Store::Disk(writer) = self else { return };
        writer.shared.lock().closing = true;
        writer.shared.changed.notify_one();
        let thread = writer
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the runs' writer panicked");
        }
    }

    fn change(
        &self,
        id: RunId,
        record: Option<&RunRecord>,
        waiting: Option<oneshot::Sender<Result<(), String>>>,
    ) {
        let Store::Disk(writer) = self else { return };
        let json = record.map(|r| serde_json::to_vec(r).expect("a record is JSON"));
        let mut pending = writer.shared.lock();
        let change = pending.changes.entry(id.0).or_insert(Change {
            json: None,
            waiting: Vec::new(),
        });
        change.json = json;
        change.waiting.extend(waiting);
        drop(pending);
        writer.shared.changed.notify_one();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// A promise that a record will be durable.
#[derive(Debug)]
#[must_use = "durability is only promised once this was awaited"]
pub(super) struct Durable(Option<oneshot::Receiver<Result<(), String>>>);

impl Durable {
    /// Waits until the record would survive a power cut.
    pub(super) async fn wait(self) -> Result<(), StoreError> {
        match self.0 {
            None => Ok(()),
            Some(hears) => match hears.await {
                Ok(done) => done.map_err(StoreError::Write),
                Err(_) => Err(StoreError::Write("the store is closed".to_owned())),
            },
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        // Nothing in here panics with the lock held, and a map of records has no state in between.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_database(path: &Path) -> Result<Database, redb::Error> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)?;
    Ok(database)
}

fn read_all(database: &Database) -> Result<Vec<RunRecord>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(RUNS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (id, json) = entry?;
        match serde_json::from_slice(json.value()) {
            Ok(record) => records.push(record),
            // Of a version that knew more kinds or states: the run is history, and no reason not to start.
            Err(error) => tracing::warn!(run = id.value(), %error, "a stored run cannot be read"),
        }
    }
    Ok(records)
}

fn write_until_closed(shared: &Shared, path: &Path, database: Database) {
    // `None` after a failed commit: redb refuses everything after an I/O error until the file is opened anew.
    let mut database = Some(database);
    loop {
        let mut pending = shared.lock();
        while pending.changes.is_empty() && !pending.closing {
            pending = shared
                .changed
                .wait(pending)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let closing = pending.closing;
        let mut changes = std::mem::take(&mut pending.changes);
        drop(pending);
        if changes.is_empty() {
            return;
        }
        let written = match database.take() {
            Some(open) => Ok(open),
            None => open_database(path),
        }
        .and_then(|open| commit(&open, &changes).map(|()| database = Some(open)));
        match written {
            Ok(()) => tell(&mut changes, &Ok(())),
            Err(error) => {
                tracing::error!(%error, "runs could not be written");
                tell(&mut changes, &Err(error.to_string()));
                if closing {
                    return;
                }
                retry_later(shared, changes);
            }
        }
    }
}

fn commit(database: &Database, changes: &BTreeMap<u64, Change>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(RUNS)?;
        for (id, change) in changes {
            match &change.json {
                Some(json) => table.insert(id, json.as_slice())?,
                None => table.remove(id)?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

fn tell(changes: &mut BTreeMap<u64, Change>, outcome: &Result<(), String>) {
    for waiting in changes.values_mut().flat_map(|c| c.waiting.drain(..)) {
        // Who waited may have gone; the record stays all the same.
        let _ = waiting.send(outcome.clone());
    }
}

/// Puts back what could not be written, under what has come since, and waits a while or until the store closes.
fn retry_later(shared: &Shared, changes: BTreeMap<u64, Change>) {
    let mut pending = shared.lock();
    for (id, change) in changes {
        pending.changes.entry(id).or_insert(change);
    }
    let _unused = shared
        .changed
        .wait_timeout_while(pending, RETRY_AFTER, |pending| !pending.closing);
}

#[cfg(test)]
mod tests {
    use super::super::progress::Progress;
    use super::super::record::{Counters, Json, RunKind, RunSource, RunState};
    use super::*;

    fn record(id: u64, state: RunState) -> RunRecord {
        RunRecord {
            id: RunId(id),
            kind: RunKind::Mine,
            state,
            source: RunSource::Api,
            request: Json::new(&"asked"),
            progress: Progress::of(1, 2, "blocks"),
            counters: Counters::default(),
            result: None,
            error: None,
            truncated: false,
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            started_at: None,
            ended_at: None,
            workload: "1".to_owned(),
        }
    }

    fn states(records: &[RunRecord]) -> Vec<(u64, RunState)> {
        records.iter().map(|r| (r.id.0, r.state)).collect()
    }

    /// Breaks if a later state of a run can be overtaken by an earlier one on the way to the disk.
    #[tokio::test]
    async fn the_newest_state_of_each_run_is_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (store, none) = Store::open(dir.path()).unwrap();
        assert!(none.is_empty());
        for id in [3, 1, 2] {
            store.put(&record(id, RunState::Queued));
        }
        store.put(&record(2, RunState::Running));
        store.put(&record(2, RunState::Failed));
        store.remove(RunId(1));
        // Durable means that a second look at the file sees it, with everything before it.
        let durable = store.put_durable(&record(4, RunState::Queued));
        durable.wait().await.unwrap();
        drop(store);
        let (_, kept) = Store::open(dir.path()).unwrap();
        let expected = [
            (2, RunState::Failed),
            (3, RunState::Queued),
            (4, RunState::Queued),
        ];
        assert_eq!(states(&kept), expected);
    }

    /// Breaks if closing loses what was put a moment before.
    #[test]
    fn closing_writes_what_is_pending() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        for id in 1..=500 {
            store.put(&record(id, RunState::Succeeded));
        }
        store.close();
        let (_, kept) = Store::open(dir.path()).unwrap();
        assert_eq!(kept.len(), 500);
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "not a database").unwrap();
        let error = Store::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(FILE_NAME), "{error}");
    }
}
