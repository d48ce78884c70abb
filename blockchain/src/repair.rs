//! Getting a chain back that does not open any more.
//!
//! Everything before the damage is copied to a new file, which then takes the place of the old one.
//! The old file stays, under a name that says when it was moved aside; nothing is deleted. At no
//! moment does the chain's name point to nothing or to half a chain:
//!
//! 1. The good blocks are written to `<file>.repaired` and synced.
//! 2. The old file gets a second name, `<file>.damaged-<seconds since 1970>`.
//! 3. The new file is renamed over the first name, or, when not even genesis was good, the first
//!    name is removed, and the next start begins a new chain.
//!
//! The old database stays open, and so locked, until the end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::chain::{sibling, sync_folder};
use crate::error::{RepairError, StorageError};
use crate::reason::Reason;
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
    /// The first bad block; `None` when the file as a whole cannot be read.
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
    let aside = |kept, damage| {
        replace(path, kept)
            .map_err(|error| failed(error.into()))
            .map(|moved_to| RepairReport {
                kept,
                damage: Some(damage),
                moved_to: Some(moved_to),
            })
    };
    let unreadable = |message| Damage {
        index: None,
        reason: Reason::Database { message },
    };

    let store = match Store::open(file_opener(path)) {
        Ok(store) => store,
        Err(Fault::InUse) => {
            return Err(RepairError::InUse {
                path: path.to_owned(),
            });
        }
        Err(Fault::Damaged(message)) => return aside(0, unreadable(message)),
        Err(Fault::Failed(error)) => return Err(failed(error)),
    };
    let snapshot = match store.snapshot() {
        Ok(snapshot) => snapshot,
        Err(Fault::Damaged(message)) => return aside(0, unreadable(message)),
        Err(fault) => return Err(failed(fault.into_storage_error())),
    };
    let (walk, bad) = first_bad(&snapshot).map_err(failed)?;
    let Some(bad) = bad else {
        return Ok(RepairReport {
            kept: walk.good(),
            damage: None,
            moved_to: None,
        });
    };
    let kept = walk.good().min(bad.index);
    if kept > 0 {
        copy(&snapshot, kept, path).map_err(failed)?;
    }
    drop(snapshot);
    aside(
        kept,
        Damage {
            index: Some(bad.index),
            reason: bad.reason,
        },
    )
}

fn first_bad(snapshot: &Snapshot) -> Result<(Walk, Option<FirstBad>), StorageError> {
    let mut walk = Walk::new(snapshot);
    match walk.advance(snapshot, u64::MAX) {
        Ok(_) => Ok((walk, None)),
        Err(Broken::Bad(bad)) => Ok((walk, Some(bad))),
        Err(Broken::Fault(fault)) => Err(fault.into_storage_error()),
    }
}

/// Writes the first `count` blocks, which are good, to a new file beside `path`.
fn copy(snapshot: &Snapshot, count: u64, path: &Path) -> Result<(), StorageError> {
    let target = sibling(path, "repaired");
    // What an interrupted repair left behind is a copy of good blocks only; it can go.
    match fs::remove_file(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let store = Store::open(file_creator(&target)).map_err(Fault::into_storage_error)?;
    let mut walk = Walk::new(snapshot);
    while walk.good() < count {
        let first = walk.good();
        let mut records = Vec::new();
        let stretch = walk.advance_with(snapshot, COPY_BLOCKS.min(count - first), |record| {
            records.push(record.to_vec());
        });
        if let Err(Broken::Fault(fault)) = stretch {
            return Err(fault.into_storage_error());
        }
        let hash = match walk.last() {
            Some(last) if walk.good() > first => last.hash,
            _ => {
                let message = format!("block {first} was readable a moment ago");
                return Err(StorageError::Database { message });
            }
        };
        let tip = TipRecord {
            length: walk.good(),
            hash,
            bytes: walk.bytes(),
        };
        store
            .commit(first, &records, tip)
            .map_err(Fault::into_storage_error)?;
    }
    store.close();
    Ok(())
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
