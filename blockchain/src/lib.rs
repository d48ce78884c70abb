//! Blocks, proof of work and a durable chain, mined on Openwork routines.
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
//! | how do I get it back?                        | `repair`                    |
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
mod proof;
mod reason;
mod receipt;
mod record;
mod repair;
mod store;
mod verify;
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
pub use proof::Search;
pub use reason::Reason;
pub use receipt::{Appended, Receipt};
pub use repair::{Damage, RepairReport, repair};
pub use verify::{FirstBad, Verification, VerifyReport, verify};

/// The Python 3 program that recomputes the hash of each block it gets as JSON on its standard
/// input, one block or a list of them, and checks all that a header proves. For the guide; a test
/// runs it.
pub const RECOMPUTE_PY: &str = include_str!("recompute.py");
