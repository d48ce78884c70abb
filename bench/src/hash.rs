//! The work that only computes: double SHA-256 of a block's 80 bytes, with the nonce counted up.

use sha2::{Digest, Sha256};

/// Hashes between two chances for others to run: about half a millisecond.
pub(crate) const TURN: u64 = 4_096;

/// What is hashed, and its last hash.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    bytes: [u8; 80],
    digest: [u8; 32],
}

impl Header {
    /// Parts that start with different numbers hash different bytes.
    pub(crate) fn new(part: u64) -> Header {
        let mut bytes = [0; 80];
        bytes[..8].copy_from_slice(&part.to_le_bytes());
        Header {
            bytes,
            digest: [0; 32],
        }
    }

    /// Hashes the next `times` nonces. Never inlined: every runtime is to run the same instructions, and where the
    /// compiler laid them out decides about ten percent.
    #[inline(never)]
    pub(crate) fn hash_times(&mut self, times: u64) {
        for _ in 0..times {
            let nonce = u64::from_le_bytes(self.bytes[72..].try_into().expect("8 bytes"));
            self.bytes[72..].copy_from_slice(&(nonce + 1).to_le_bytes());
            self.digest = Sha256::digest(Sha256::digest(self.bytes)).into();
        }
    }

    /// The hash of the last nonce.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_the_work_give_the_hash_of_the_whole() {
        let mut whole = Header::new(3);
        whole.hash_times(5);
        let mut pieces = Header::new(3);
        pieces.hash_times(2);
        pieces.hash_times(3);
        assert_eq!(whole.digest(), pieces.digest());
        assert_ne!(whole.digest(), Header::new(3).digest());
    }
}
