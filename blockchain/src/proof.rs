//! The search for a nonce.
//!
//! SHA-256 of a 96-byte header is two compressions. The first takes bytes 0..64, which hold no bit
//! of the nonce, so [`Search::new`] computes it once. The second takes
//!
//! ```text
//! offset  size
//!      0    24  header bytes 64..88: the rest of the data's digest
//!     24     8  nonce
//!     32     1  0x80, the end mark of the message
//!     33    23  zero
//!     56     8  message length in bits, 768
//! ```
//!
//! and is all that an attempt costs. The hash fits when the first word of the state has at least
//! the wanted number of leading zero bits.

use std::ops::Range;

use sha2::block_api::compress256;

use crate::difficulty::Difficulty;
use crate::hash::Hash;
use crate::header::{HEADER_BYTES, HeaderBytes};

/// The initial state of SHA-256 (FIPS 180-4, section 5.3.3).
const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Bytes that one compression takes.
const PIECE_BYTES: usize = 64;

/// Where the nonce lies within the second piece.
const NONCE_AT: Range<usize> = 24..32;

/// A header prepared for trying nonces.
#[derive(Debug, Clone)]
pub struct Search {
    midstate: [u32; 8],
    piece: [u8; PIECE_BYTES],
    difficulty: Difficulty,
}

impl Search {
    /// Prepares the search for a nonce of `header`; the nonce in it does not matter.
    pub fn new(header: &HeaderBytes, difficulty: Difficulty) -> Search {
        let (first, rest) = header
            .split_first_chunk::<PIECE_BYTES>()
            .expect("96 is over 64");
        let mut midstate = INITIAL_STATE;
        compress256(&mut midstate, &[*first]);

        let mut piece = [0; PIECE_BYTES];
        piece[..rest.len()].copy_from_slice(rest);
        piece[rest.len()] = 0x80;
        piece[56..].copy_from_slice(&(HEADER_BYTES as u64 * 8).to_be_bytes());
        Search {
            midstate,
            piece,
            difficulty,
        }
    }

    /// Tries the nonces of `nonces` in order and returns the first that fits.
    ///
    /// When it returns `Some(nonce)`, `nonce - nonces.start + 1` attempts were made, else
    /// `nonces.end - nonces.start`.
    pub fn find(&mut self, nonces: Range<u64>) -> Option<u64> {
        let wanted = u32::from(self.difficulty.get());
        nonces
            .into_iter()
            .find(|nonce| self.state(*nonce)[0].leading_zeros() >= wanted)
    }

    /// The hash of the header with `nonce`.
    pub fn hash(&mut self, nonce: u64) -> Hash {
        let mut bytes = [0; 32];
        for (four, word) in bytes.chunks_exact_mut(4).zip(self.state(nonce)) {
            four.copy_from_slice(&word.to_be_bytes());
        }
        Hash(bytes)
    }

    #[inline]
    fn state(&mut self, nonce: u64) -> [u32; 8] {
        self.piece[NONCE_AT].copy_from_slice(&nonce.to_be_bytes());
        let mut state = self.midstate;
        compress256(&mut state, std::slice::from_ref(&self.piece));
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{HEADER_VERSION, Header};

    fn header(nonce: u64, difficulty: Difficulty) -> Header {
        Header {
            version: HEADER_VERSION,
            difficulty,
            index: 7,
            timestamp_ns: 1_700_000_000_000_000_000,
            previous_hash: Hash::of(b"before"),
            data_hash: Hash::of(b"data"),
            nonce,
        }
    }

    #[test]
    fn the_midstate_gives_the_same_hash_as_hashing_the_whole_header() {
        let difficulty = Difficulty::DEFAULT;
        let mut search = Search::new(&header(0, difficulty).encode(), difficulty);
        for nonce in [0, 1, 65_535, 1 << 32, crate::header::NONCE_LIMIT - 1] {
            assert_eq!(
                search.hash(nonce),
                Hash::of(&header(nonce, difficulty).encode())
            );
        }
    }

    #[test]
    fn the_first_nonce_that_fits_is_found_and_none_before_it_fits() {
        for bits in [1, 5, 8, 12] {
            let difficulty = Difficulty::new(bits).unwrap();
            let mut search = Search::new(&header(0, difficulty).encode(), difficulty);
            let found = search.find(0..1 << 20).expect("2^20 attempts find 12 bits");
            for nonce in 0..=found {
                let fits = search.hash(nonce).leading_zero_bits() >= bits as u32;
                assert_eq!(fits, nonce == found, "{bits} bits, nonce {nonce}");
            }
            assert_eq!(search.find(0..found), None);
        }
    }

    #[test]
    fn thirty_two_bits_are_the_whole_first_word() {
        // No search here could meet 32 bits, so the comparison is checked on what must not fit.
        let mut search = Search::new(&header(0, Difficulty::MAX).encode(), Difficulty::MAX);
        assert_eq!(search.find(0..100_000), None);
    }
}
