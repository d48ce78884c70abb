//! Blocks, in answers and in events.

use openwork_blockchain::Block;
use serde::Serialize;
use utoipa::ToSchema;

use super::words::rfc3339;

/// A block, as every answer shows it.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockWire {
    /// Place in the chain; genesis is 0.
    pub index: u64,
    /// When it was mined, RFC 3339 with nanoseconds.
    pub timestamp: String,
    /// What it holds.
    pub data: String,
    /// Hash of the block before it; 64 zeros for genesis.
    pub previous_hash: String,
    /// SHA-256 of `header`, hex.
    pub hash: String,
    /// What made the hash begin with enough zero bits; below 2^53.
    pub nonce: u64,
    /// Zero bits that the hash must begin with.
    pub difficulty: u8,
    /// The bytes that were hashed, hex: version, index, timestamp (ns), difficulty, previous hash, SHA-256 of `data`, nonce.
    pub header: String,
    /// The routine that found it, in the process that mined it.
    pub by_routine: Option<String>,
    /// The worker that routine ran on.
    pub by_worker: Option<u32>,
}

impl From<&Block> for BlockWire {
    fn from(block: &Block) -> BlockWire {
        BlockWire {
            index: block.index,
            timestamp: rfc3339(block.timestamp()),
            data: block.data.clone(),
            previous_hash: block.previous_hash.to_string(),
            hash: block.hash.to_string(),
            nonce: block.nonce,
            difficulty: block.difficulty.get(),
            header: block.header_hex(),
            by_routine: block.mined_by.as_ref().map(|by| by.routine.to_string()),
            by_worker: block.mined_by.as_ref().map(|by| by.worker),
        }
    }
}

/// A block as the event `block` carries it: the same, with long `data` cut.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockEvent {
    /// The block.
    #[serde(flatten)]
    #[schema(inline)]
    pub block: BlockWire,
    /// Whether `data` was cut.
    pub truncated: bool,
}

/// Longest `data` of a [`BlockEvent`], in bytes: what a page can show of it.
const EVENT_DATA_BYTES_MAX: usize = 1 << 10;

impl BlockEvent {
    /// The event of `block`.
    pub fn new(block: &Block) -> BlockEvent {
        let mut block = BlockWire::from(block);
        let truncated = block.data.len() > EVENT_DATA_BYTES_MAX;
        if truncated {
            let end = block.data.floor_char_boundary(EVENT_DATA_BYTES_MAX);
            block.data.truncate(end);
        }
        BlockEvent { block, truncated }
    }
}
