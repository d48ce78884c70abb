//! The chain's file: a redb database with two tables.
//!
//! `blocks` maps a block's index to its record (`record`). `chain` holds one entry, `tip`: the
//! chain's length, the hash of its last block and the sum of all record sizes. Blocks and `tip`
//! change in the same transaction, so a chain that was cut at its end differs from its `tip`.
//!
//! After a failed write redb refuses all further work until the database is opened again. That is
//! why a [`Store`] keeps the way it was opened, and why its database may be absent for a while.

use std::any::Any;
use std::fmt;
use std::ops::RangeBounds;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase, TableDefinition};

use crate::error::StorageError;
use crate::hash::Hash;
use crate::listing::Order;

const BLOCKS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("blocks");
const CHAIN: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("chain");
const TIP: &str = "tip";

/// What redb may keep in memory: nothing. A verification would otherwise look at what the process
/// remembers instead of what the file holds, and 1 GiB (redb's default) would dominate the process
/// that is being watched. The system's page cache remains. Measured with 200,000 small blocks,
/// `cargo bench -p openwork-blockchain --bench store`: see there.
const CACHE_BYTES: usize = 0;

/// Opens the database, the first time and again after a failure.
pub(crate) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// The end of a chain, as the store records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TipRecord {
    /// Number of blocks.
    pub(crate) length: u64,
    /// Hash of the last block.
    pub(crate) hash: Hash,
    /// Sum of the sizes of all records.
    pub(crate) bytes: u64,
}

/// Why the store could not do it.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Another process holds the file.
    InUse,
    /// The bytes are there and are not what was written.
    Damaged(String),
    /// The system or the database refused.
    Failed(StorageError),
}

/// The database, or the absence of one between a failure and the next attempt to open it.
pub(crate) struct Store {
    opener: Opener,
    database: RwLock<Option<Database>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("open", &self.read_lock().is_some())
            .finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn open(opener: Opener) -> Result<Store, Fault> {
        let database = open_with(&opener)?;
        Ok(Store {
            opener,
            database: RwLock::new(Some(database)),
        })
    }

    /// Closes the database and opens it again. On failure it stays closed, and every use answers
    /// with an error until `reopen` succeeds.
    pub(crate) fn reopen(&self) -> Result<(), Fault> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Dropped first: the file's lock must be free for the new handle.
        *database = None;
        *database = Some(open_with(&self.opener)?);
        Ok(())
    }

    pub(crate) fn close(&self) {
        let database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(database);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.read_lock().is_some()
    }

    /// Writes `records` from index `first` on and the new `tip`, durably, all or nothing.
    pub(crate) fn commit(
        &self,
        first: u64,
        records: &[Vec<u8>],
        tip: TipRecord,
    ) -> Result<(), Fault> {
        let guard = self.read_lock();
        let database = guard.as_ref().ok_or(Fault::Failed(StorageError::Closed))?;
        let outcome = catch_unwind(AssertUnwindSafe(|| -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            {
                let mut blocks = transaction.open_table(BLOCKS)?;
                for (index, record) in (first..).zip(records) {
                    blocks.insert(index, record.as_slice())?;
                }
                let mut chain = transaction.open_table(CHAIN)?;
                chain.insert(TIP, tip.encode().as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        }));
        settle(outcome)
    }

    /// The chain as it is now; later commits do not change what the snapshot shows.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Fault> {
        let guard = self.read_lock();
        let database = guard.as_ref().ok_or(Fault::Failed(StorageError::Closed))?;
        let outcome = catch_unwind(AssertUnwindSafe(|| -> Result<Snapshot, redb::Error> {
            let transaction = database.begin_read()?;
            let blocks = transaction.open_table(BLOCKS)?;
            let chain = transaction.open_table(CHAIN)?;
            let tip = chain
                .get(TIP)?
                .and_then(|bytes| TipRecord::decode(bytes.value()));
            Ok(Snapshot { blocks, tip })
        }));
        settle(outcome)
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An immutable view of the whole chain.
pub(crate) struct Snapshot {
    blocks: ReadOnlyTable<u64, &'static [u8]>,
    /// `None` when the store has no readable `tip`.
    pub(crate) tip: Option<TipRecord>,
}

impl Snapshot {
    pub(crate) fn get(&self, index: u64) -> Result<Option<Vec<u8>>, Fault> {
        settle(catch_unwind(AssertUnwindSafe(|| {
            let record = self.blocks.get(index).map_err(redb::Error::from)?;
            Ok(record.map(|record| record.value().to_vec()))
        })))
    }

    /// Visits the records with these indices in this order, until `visit` returns `false` or the
    /// records end.
    pub(crate) fn visit(
        &self,
        indices: impl RangeBounds<u64>,
        order: Order,
        mut visit: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Fault> {
        settle(catch_unwind(AssertUnwindSafe(
            || -> Result<(), redb::Error> {
                let mut records = self.blocks.range(indices)?;
                loop {
                    let record = match order {
                        Order::Ascending => records.next(),
                        Order::Descending => records.next_back(),
                    };
                    let Some(record) = record else { return Ok(()) };
                    let (index, record) = record?;
                    if !visit(index.value(), record.value()) {
                        return Ok(());
                    }
                }
            },
        )))
    }
}

impl TipRecord {
    fn encode(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..8].copy_from_slice(&self.length.to_be_bytes());
        bytes[8..40].copy_from_slice(&self.hash.0);
        bytes[40..].copy_from_slice(&self.bytes.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<TipRecord> {
        let bytes: &[u8; 48] = bytes.try_into().ok()?;
        Some(TipRecord {
            length: u64::from_be_bytes(bytes[..8].try_into().ok()?),
            hash: Hash(bytes[8..40].try_into().ok()?),
            bytes: u64::from_be_bytes(bytes[40..].try_into().ok()?),
        })
    }
}

/// Opens the existing database at `path`.
pub(crate) fn file_opener(path: &Path) -> Opener {
    let path = path.to_owned();
    Box::new(move || Database::builder().set_cache_size(CACHE_BYTES).open(&path))
}

/// Creates a database at `path`, or opens it when it is there.
pub(crate) fn file_creator(path: &Path) -> Opener {
    let path = path.to_owned();
    Box::new(move || {
        Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
    })
}

/// A database in memory. Opening it again would lose all, so it refuses to.
pub(crate) fn memory_opener() -> Opener {
    let opened = std::sync::atomic::AtomicBool::new(false);
    Box::new(move || {
        if opened.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let message = "a chain in memory cannot be opened again".to_owned();
            return Err(DatabaseError::Storage(redb::StorageError::Corrupted(
                message,
            )));
        }
        Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(redb::backends::InMemoryBackend::new())
    })
}

fn open_with(opener: &Opener) -> Result<Database, Fault> {
    let outcome = catch_unwind(AssertUnwindSafe(opener));
    settle(outcome.map(|opened| opened.map_err(redb::Error::from)))
}

/// Turns what redb answered into a value or a fault. A panic of redb is a fault too: with a damaged
/// file it is the library's last word, and the writer thread must outlive it.
fn settle<T>(outcome: Result<Result<T, redb::Error>, Box<dyn Any + Send>>) -> Result<T, Fault> {
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault(error)),
        Err(payload) => Err(Fault::Damaged(panic_message(payload.as_ref()))),
    }
}

fn fault(error: redb::Error) -> Fault {
    use redb::Error;
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        Error::DatabaseAlreadyOpen => Fault::InUse,
        Error::Corrupted(message) => Fault::Damaged(message),
        // How redb reports a file that is no redb database, and one that was cut.
        Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => {
            Fault::Damaged(error.to_string())
        }
        Error::Io(error) => Fault::Failed(error.into()),
        error @ (Error::UpgradeRequired(_)
        | Error::RepairAborted
        | Error::TableTypeMismatch { .. }
        | Error::TableIsMultimap(_)
        | Error::TypeDefinitionChanged { .. }
        | Error::TableDoesNotExist(_)) => Fault::Damaged(error.to_string()),
        error => Fault::Failed(StorageError::Database {
            message: error.to_string(),
        }),
    }
}

/// The text of a panic's payload.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text").to_owned()
}

impl Fault {
    /// The fault as an error of the store, where it does not matter what the block is like.
    pub(crate) fn into_storage_error(self) -> StorageError {
        match self {
            Fault::InUse => StorageError::Database {
                message: "in use by another process".to_owned(),
            },
            Fault::Damaged(message) => StorageError::Database { message },
            Fault::Failed(error) => error,
        }
    }
}
