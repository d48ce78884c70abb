//! What several test files need.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};

use openwork_blockchain::{
    AppendError, Block, Candidate, Chain, ChainOptions, Difficulty, NONCE_LIMIT, Receipt,
};

/// Options under which a block costs two attempts.
pub(crate) fn easy() -> ChainOptions {
    ChainOptions {
        genesis_difficulty: Difficulty::MIN,
        ..ChainOptions::default()
    }
}

/// A folder that is removed with the value, and the chain file in it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder().join("chain.redb")
    }

    pub(crate) fn open(&self) -> Chain {
        Chain::open(self.file(), easy()).expect("the chain opens")
    }

    /// Names in the folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).expect("the folder is readable");
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A block that follows the chain's head.
pub(crate) fn mine(chain: &Chain, data: &str) -> Block {
    let mut candidate = Candidate::new(chain, data, Difficulty::MIN);
    let nonce = candidate
        .search(0..NONCE_LIMIT)
        .expect("one of 2^53 nonces fits");
    candidate.block(nonce, None)
}

pub(crate) fn append(chain: &Chain, data: &str) -> Receipt {
    chain.append(mine(chain, data))
}

/// Appends `count` blocks with the data `block 1`, `block 2` and so on.
pub(crate) fn fill(chain: &Chain, count: u64) -> Result<(), AppendError> {
    let first = chain.length();
    let receipts: Vec<_> = (first..first + count)
        .map(|index| append(chain, &format!("block {index}")))
        .collect();
    receipts
        .into_iter()
        .try_for_each(|receipt| receipt.wait().map(drop))
}
