//! What can go wrong, one enum per operation.

use std::io;
use std::path::PathBuf;

use crate::hash::Hash;
use crate::reason::Reason;

/// The store failed; nothing is known to be wrong with the blocks.
///
/// Clonable because one failed commit answers every block in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file could not be read, written or synced.
    #[error("the chain's file: {message}")]
    Io {
        /// The kind the system reported.
        kind: io::ErrorKind,
        /// The system's words.
        message: String,
    },
    /// The database refused for a reason of its own.
    #[error("the chain's database: {message}")]
    Database {
        /// The database's words.
        message: String,
    },
    /// The chain was closed.
    #[error("the chain is closed")]
    Closed,
}

impl StorageError {
    /// Whether the cause is that the disk, a quota or a file size limit is exhausted: freeing space
    /// is all it needs.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(
            self,
            Self::Io {
                kind: StorageFull | QuotaExceeded | FileTooLarge,
                ..
            }
        )
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        StorageError::Io {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

/// A chain could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another [`Chain`](crate::Chain) of this one, has the file open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The chain's file.
        path: PathBuf,
    },
    /// A block is not what was stored, or the file is no chain.
    #[error("{} is damaged{}: {reason}", path.display(), at_block(*index))]
    Damaged {
        /// The chain's file.
        path: PathBuf,
        /// The first bad block; `None` when there is no block in the file at all.
        index: Option<u64>,
        /// What is wrong.
        reason: Reason,
    },
    /// The file could not be created, read or written.
    #[error("{}: {source}", path.display())]
    Storage {
        /// The chain's file.
        path: PathBuf,
        /// Why.
        source: StorageError,
    },
}

/// A chain's file could not be repaired. Nothing was moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// Another process has the file open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The chain's file.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// The chain's file.
        path: PathBuf,
    },
    /// Reading the old file or writing the new one failed.
    #[error("{}: {source}", path.display())]
    Storage {
        /// The chain's file.
        path: PathBuf,
        /// Why.
        source: StorageError,
    },
}

/// Blocks could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The block is not what was stored.
    #[error("block {index}: {reason}")]
    Damaged {
        /// Its place in the chain.
        index: u64,
        /// What is wrong.
        reason: Reason,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A block was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Another block came first: this one does not follow the chain's last block any more.
    #[error("the chain has moved on to {length} blocks")]
    TipMoved {
        /// Blocks in the chain now, those on their way to the disk included.
        length: u64,
        /// Hash of the last of them.
        hash: Hash,
    },
    /// The chain may not grow beyond its limit.
    #[error("the chain is full: its limit is {limit_bytes} bytes")]
    Full {
        /// The limit, in bytes of stored records.
        limit_bytes: u64,
    },
    /// The block itself is wrong.
    #[error("the block is invalid: {0}")]
    Invalid(Reason),
    /// The block could not be made durable; it is not in the chain.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn at_block(index: Option<u64>) -> String {
    index.map_or_else(String::new, |index| format!(" at block {index}"))
}
