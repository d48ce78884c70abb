//! The 96 bytes that are hashed.
//!
//! A block's hash is one SHA-256 of its header. All numbers are big-endian, so the hexadecimal
//! text of a header reads from left to right:
//!
//! ```text
//! offset  size  field
//!      0     4  version, 1
//!      4     4  difficulty, bits
//!      8     8  index, genesis is 0
//!     16     8  timestamp, ns since 1970-01-01T00:00:00Z
//!     24    32  previous hash
//!     56    32  SHA-256 of the data (UTF-8 bytes)
//!     88     8  nonce, below 2^53
//!     96        end
//! ```
//!
//! SHA-256 eats 64 bytes at a time. The nonce is last so that it lies in the second of the two
//! 64-byte pieces: the state after the first piece (the *midstate*) is the same for all nonces and
//! is computed once, and an attempt costs one compression instead of two (`proof`).
//! The data enters by its digest so that the header has one size whatever the data is.

use crate::difficulty::Difficulty;
use crate::hash::Hash;

/// The size of an encoded header in bytes.
pub const HEADER_BYTES: usize = 96;

/// The version of the layout, the first field of every header.
pub const HEADER_VERSION: u32 = 1;

/// Nonces are below 2^53, so that a JSON number holds every one exactly.
pub const NONCE_LIMIT: u64 = 1 << 53;

/// An encoded header.
pub type HeaderBytes = [u8; HEADER_BYTES];

/// A header before encoding, or after decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version of the layout; [`HEADER_VERSION`] in every block this crate makes.
    pub version: u32,
    /// Leading zero bits that the hash must have.
    pub difficulty: Difficulty,
    /// Place in the chain; genesis is 0.
    pub index: u64,
    /// When the search for this block began, in nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Hash of the block before; [`Hash::ZERO`] in genesis.
    pub previous_hash: Hash,
    /// SHA-256 of the block's data.
    pub data_hash: Hash,
    /// The number that makes the hash fit; below [`NONCE_LIMIT`].
    pub nonce: u64,
}

impl Header {
    /// The bytes that are hashed, in the layout of this module.
    pub fn encode(&self) -> HeaderBytes {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.version.to_be_bytes());
        bytes[4..8].copy_from_slice(&u32::from(self.difficulty.get()).to_be_bytes());
        bytes[8..16].copy_from_slice(&self.index.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.timestamp_ns.to_be_bytes());
        bytes[24..56].copy_from_slice(&self.previous_hash.0);
        bytes[56..88].copy_from_slice(&self.data_hash.0);
        bytes[88..96].copy_from_slice(&self.nonce.to_be_bytes());
        bytes
    }

    /// The field that the byte at `offset` belongs to, by its name in a block's JSON.
    ///
    /// # Panics
    ///
    /// When `offset` is [`HEADER_BYTES`] or more.
    pub(crate) fn field_at(offset: usize) -> &'static str {
        match offset {
            0..4 => "version",
            4..8 => "difficulty",
            8..16 => "index",
            16..24 => "timestamp",
            24..56 => "previous_hash",
            56..88 => "data",
            88..96 => "nonce",
            _ => panic!("a header has {HEADER_BYTES} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_where_the_layout_says() {
        let header = Header {
            version: 1,
            difficulty: Difficulty::new(0x11).unwrap(),
            index: 0x0102_0304_0506_0708,
            timestamp_ns: 0x1112_1314_1516_1718,
            previous_hash: Hash([0xaa; 32]),
            data_hash: Hash([0xbb; 32]),
            nonce: 0x001a_1b1c_1d1e_1f20,
        };
        let expected = [
            "00000001",
            "00000011",
            "0102030405060708",
            "1112131415161718",
            &"aa".repeat(32),
            &"bb".repeat(32),
            "001a1b1c1d1e1f20",
        ]
        .concat();
        assert_eq!(crate::hash::hex(&header.encode()), expected);
    }
}
