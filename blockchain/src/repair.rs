//! Getting a chain back that does not open any more.
//!
//! Everything before the damage is copied to a new file, which then takes the place of the old one.
//! The old file stays, under a name that says when it was moved aside; nothing is deleted. Where the
//! database itself cannot be read, the blocks are looked for in the bare file (`salvage`).
//!
//! At no moment does the chain's name point to nothing or to half a chain:
//!
//! 1. The good blocks are written to `<file>.repaired` and synced.
//! 2. The old file gets a second name, `<file>.damaged-<seconds since 1970>`.
//! 3. The new file is renamed over the first name, or, when not even genesis was good, the first
//!    name is removed, and the next start begins a new chain.
//!
//! Where the old database can be opened it stays so, and locked, until the end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::block::Block;
use crate::chain::{sibling, sync_folder};
use crate::error::{RepairError, StorageError};
use crate::hash::Hash;
use crate::listing::Order;
use crate::reason::Reason;
use crate::record::decode;
use crate::salvage::Salvage;
use crate::store::{Fault, Snapshot, Store, TipRecord, file_creator, file_opener};
use crate::verify::{Broken, FirstBad, Walk};

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairReport {
    /// Blocks in the chain's file now.
    pub kept: u64,
    /// What was wrong; `None` when nothing was, and then nothing was moved.
    pub damage: Option<Damage>,
    /// Where the old file is now.
    pub moved_to: Option<PathBuf>,
}

/// Where a chain's file is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The first bad block; `None` when no block was found at all.
    pub index: Option<u64>,
    /// What is wrong.
    pub reason: Reason,
}

/// Blocks copied in one transaction.
const COPY_BLOCKS: u64 = 10_000;

/// Verifies the chain in the file `path`, and if it is damaged keeps all blocks before the damage
/// and moves the old file aside.
///
/// # Errors
///
/// [`RepairError`] when the file is in use, absent, or cannot be read or replaced; the chain's file
/// is then what it was.
pub fn repair(path: impl AsRef<Path>) -> Result<RepairReport, RepairError> {
    let path = path.as_ref();
    let failed = |source| RepairError::Storage {
        path: path.to_owned(),
        source,
    };
    if !path.try_exists().map_err(|error| failed(error.into()))? {
        return Err(RepairError::NotFound {
            path: path.to_owned(),
        });
    }
    let (store, condition) = match Store::open(file_opener(path)) {
        Ok(store) => {
            let condition = examine(&store).map_err(failed)?;
            (Some(store), condition)
        }
        Err(Fault::InUse) => {
            return Err(RepairError::InUse {
                path: path.to_owned(),
            });
        }
        Err(Fault::Damaged(message)) => (
            None,
            Condition::Unreadable {
                good: None,
                message,
            },
        ),
        Err(Fault::Failed(error)) => return Err(failed(error)),
    };
    let (kept, damage) = match condition {
        Condition::Good { blocks } => {
            return Ok(RepairReport {
                kept: blocks,
                damage: None,
                moved_to: None,
            });
        }
        Condition::Bad {
            good,
            bad,
            snapshot,
        } => {
            let kept = good.min(bad.index);
            copy(path, kept, |first, count| read(&snapshot, first, count)).map_err(failed)?;
            (
                kept,
                Damage {
                    index: Some(bad.index),
                    reason: bad.reason,
                },
            )
        }
        Condition::Unreadable { good, message } => {
            let mut salvage = Salvage::scan(path).map_err(|error| failed(error.into()))?;
            let kept = salvage.len();
            copy(path, kept, |first, count| Ok(salvage.read(first, count)?)).map_err(failed)?;
            let index = (kept > 0).then_some(kept).or(good);
            (
                kept,
                Damage {
                    index,
                    reason: Reason::Database { message },
                },
            )
        }
    };
    let moved_to = replace(path, kept).map_err(|error| failed(error.into()))?;
    drop(store);
    Ok(RepairReport {
        kept,
        damage: Some(damage),
        moved_to: Some(moved_to),
    })
}

/// What a chain's file is like.
enum Condition {
    Good {
        blocks: u64,
    },
    /// The database hands out every record, and one of them is bad.
    Bad {
        good: u64,
        bad: FirstBad,
        snapshot: Box<Snapshot>,
    },
    /// The database fails after handing out this many good blocks; `None`: it cannot be opened.
    Unreadable {
        good: Option<u64>,
        message: String,
    },
}

fn examine(store: &Store) -> Result<Condition, StorageError> {
    let snapshot = match store.snapshot() {
        Ok(snapshot) => snapshot,
        Err(Fault::Damaged(message)) => {
            return Ok(Condition::Unreadable {
                good: None,
                message,
            });
        }
        Err(fault) => return Err(fault.into_storage_error()),
    };
    let mut walk = Walk::new(&snapshot);
    match walk.advance(&snapshot, u64::MAX) {
        Ok(_) => Ok(Condition::Good {
            blocks: walk.good(),
        }),
        Err(Broken::Bad(FirstBad {
            reason: Reason::Database { message },
            ..
        })) => Ok(Condition::Unreadable {
            good: Some(walk.good()),
            message,
        }),
        Err(Broken::Bad(bad)) => Ok(Condition::Bad {
            good: walk.good(),
            bad,
            snapshot: Box::new(snapshot),
        }),
        Err(Broken::Fault(fault)) => Err(fault.into_storage_error()),
    }
}

/// Records in a row, and the block that the last of them holds.
type Stretch = (Vec<Vec<u8>>, Block);

/// Writes the first `kept` blocks, which are good, to a new file beside `path`. `read` is asked for
/// records from an index on and gives as many as it is asked for, or fewer, but one at least.
fn copy(
    path: &Path,
    kept: u64,
    mut read: impl FnMut(u64, u64) -> Result<Stretch, StorageError>,
) -> Result<(), StorageError> {
    let target = sibling(path, "repaired");
    // What an interrupted repair left behind is a copy of good blocks only; it can go.
    match fs::remove_file(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    if kept == 0 {
        return Ok(());
    }
    let store = Store::open(file_creator(&target)).map_err(Fault::into_storage_error)?;
    let mut tip = TipRecord {
        length: 0,
        hash: Hash::ZERO,
        bytes: 0,
    };
    while tip.length < kept {
        let first = tip.length;
        let (records, last) = read(first, COPY_BLOCKS.min(kept - first))?;
        tip.length += records.len() as u64;
        tip.hash = last.hash;
        tip.bytes += records
            .iter()
            .map(|record| record.len() as u64)
            .sum::<u64>();
        store
            .commit(first, &records, tip)
            .map_err(Fault::into_storage_error)?;
    }
    store.close();
    Ok(())
}

fn read(snapshot: &Snapshot, first: u64, count: u64) -> Result<Stretch, StorageError> {
    let mut records = Vec::new();
    let keep = |_, record: &[u8]| {
        records.push(record.to_vec());
        true
    };
    snapshot
        .visit(first..first + count, Order::Ascending, keep)
        .map_err(Fault::into_storage_error)?;
    let last = records.last().and_then(|record| decode(record).ok());
    let gone = || StorageError::Database {
        message: format!("block {first} was readable a moment ago"),
    };
    last.map(|last| (records, last)).ok_or_else(gone)
}

/// Steps 2 and 3.
fn replace(path: &Path, kept: u64) -> io::Result<PathBuf> {
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut moved_to = sibling(path, &format!("damaged-{}", seconds.as_secs()));
    let mut again = 0;
    // `hard_link` refuses a name that is taken, so an older damaged file is never replaced.
    while let Err(error) = fs::hard_link(path, &moved_to) {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        again += 1;
        moved_to = sibling(path, &format!("damaged-{}-{again}", seconds.as_secs()));
    }
    if kept > 0 {
        fs::rename(sibling(path, "repaired"), path)?;
    } else {
        fs::remove_file(path)?;
    }
    sync_folder(path)?;
    Ok(moved_to)
}
