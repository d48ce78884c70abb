//! A block as a plain value.

use std::time::{Duration, SystemTime};

use crate::difficulty::Difficulty;
use crate::hash::{Hash, hex};
use crate::header::{HEADER_VERSION, Header, HeaderBytes};

/// The data of the first block of every chain.
pub const GENESIS_DATA: &str = "Genesis Block";

/// The longest `data` of a block, in bytes of UTF-8.
pub const DATA_BYTES_MAX: usize = 64 << 10;

/// A mined block.
///
/// `index`, `timestamp_ns`, `difficulty`, `previous_hash` and `nonce` stand in `header` too, and so
/// does the digest of `data`: the header is what the hash covers, the fields are there to be read.
/// [`verify`](crate::verify()) checks that they agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Place in the chain; genesis is 0.
    pub index: u64,
    /// When the search for this block began, in nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Leading zero bits that its hash had to have.
    pub difficulty: Difficulty,
    /// What the block carries.
    pub data: String,
    /// Hash of the block before; [`Hash::ZERO`] in genesis.
    pub previous_hash: Hash,
    /// One SHA-256 of `header`.
    pub hash: Hash,
    /// The number that was searched for.
    pub nonce: u64,
    /// The bytes that are hashed; their layout is drawn at [`Header`].
    pub header: HeaderBytes,
    /// Who found the nonce; `None` for genesis and for blocks found outside a routine.
    pub mined_by: Option<MinedBy>,
}

/// The routine and the worker that found a block's nonce. Not part of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinedBy {
    /// Id of the routine, unique within one run of the process.
    pub routine: u64,
    /// Number of the worker that the routine ran on at that moment.
    pub worker: u32,
}

impl Block {
    /// Puts a block together from the parts that were searched over and the nonce that was found.
    pub(crate) fn new(header: &Header, data: String, mined_by: Option<MinedBy>) -> Block {
        debug_assert_eq!(header.version, HEADER_VERSION);
        let bytes = header.encode();
        Block {
            index: header.index,
            timestamp_ns: header.timestamp_ns,
            difficulty: header.difficulty,
            data,
            previous_hash: header.previous_hash,
            hash: Hash::of(&bytes),
            nonce: header.nonce,
            header: bytes,
            mined_by,
        }
    }

    /// `header` as 192 hexadecimal digits.
    pub fn header_hex(&self) -> String {
        hex(&self.header)
    }

    /// `timestamp_ns` as a point in time.
    pub fn timestamp(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.timestamp_ns)
    }
}

/// Now, in nanoseconds since the Unix epoch, or `floor` when the clock stands before it, as it may
/// after the clock was set back: a block is never older than the one before it.
pub(crate) fn timestamp_ns_not_before(floor: u64) -> u64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(floor)
}
