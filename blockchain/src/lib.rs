//! Blocks, proof of work and a durable chain, mined on Openwork routines.
//!
//! ```
//! use std::sync::Arc;
//! use openwork::{Runtime, Workload};
//! use openwork_blockchain::{Chain, ChainOptions, Difficulty, HashMeter, MineRequest, mine, verify};
//!
//! let runtime = Runtime::builder().workers(2).build().unwrap();
//! let chain = Chain::in_memory(ChainOptions::default()).unwrap();
//! let meter = Arc::new(HashMeter::new(2));
//!
//! let request = MineRequest::chain("hello", 4, Difficulty::new(8).unwrap());
//! let run = mine(&runtime.handle(), &chain, &meter, request, &Workload::new("mine")).unwrap();
//! let outcome = run.wait().unwrap();
//! assert_eq!(outcome.blocks.len(), 4);
//! assert_eq!(chain.length(), 5); // genesis is the fifth
//! assert!(verify(&chain).unwrap().valid);
//! ```
//!
//! # Where to look
//!
//! | question                                     | file                        |
//! |----------------------------------------------|-----------------------------|
//! | which bytes are hashed?                      | `header`                    |
//! | what does an attempt cost?                   | `proof`                     |
//! | how is a block stored, and each field guarded? | `record`                  |
//! | who decides which block comes first?         | `chain`                     |
//! | when is a block durable, what if the disk fails? | `writer`                |
//! | what is wrong with this chain?               | `verify`, `reason`          |
//! | how do I get it back?                        | `repair`, `salvage`         |
//! | how do routines share the search?            | `miner`                     |
//!
//! **Invariants.** Only the writer thread commits; no routine, worker or HTTP thread ever waits in a
//! commit. A block is acknowledged only when it is durable. The store never holds a block that its
//! header does not prove. `miner` and `verify_turns` alone know routines; nothing here knows HTTP
//! or JSON.
#![forbid(unsafe_code)]

mod block;
mod candidate;
mod chain;
mod difficulty;
mod error;
#[cfg(test)]
mod faulty;
mod hash;
mod header;
mod listing;
mod meter;
mod miner;
mod proof;
mod reason;
mod receipt;
mod record;
mod repair;
mod salvage;
mod store;
mod verify;
mod verify_turns;
mod writer;

pub use block::{Block, DATA_BYTES_MAX, GENESIS_DATA, MinedBy};
pub use candidate::Candidate;
pub use chain::{Chain, ChainOptions, Tip};
pub use difficulty::Difficulty;
pub use error::{AppendError, OpenError, ReadError, RepairError, StorageError};
pub use hash::{Hash, ParseHashError};
pub use header::{HEADER_BYTES, HEADER_VERSION, Header, HeaderBytes, NONCE_LIMIT};
pub use listing::{Listing, Order, Pages};
pub use meter::{HashMeter, baseline};
pub use miner::{
    InvalidRequest, MineEnd, MineError, MineFailure, MineOutcome, MineProgress, MineRequest,
    MineRun, MineStartError, MineWatch, Mode, Share, mine,
};
pub use proof::Search;
pub use reason::Reason;
pub use receipt::{Appended, Receipt};
pub use repair::{Damage, RepairReport, repair};
pub use verify::{FirstBad, Verification, VerifyReport, verify};
pub use verify_turns::spawn_verify;

/// The Python 3 program that recomputes the hash of each block it gets as JSON on its standard
/// input, one block or a list of them, and checks all that a header proves. For the guide; a test
/// runs it.
pub const RECOMPUTE_PY: &str = include_str!("recompute.py");
