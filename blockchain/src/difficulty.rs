//! How hard a block is to find.

use std::fmt;

/// The number of leading zero bits a block's hash must have, 1 to 32.
///
/// One bit more doubles the expected work. The upper end is 32 because the search then reads one
/// 32-bit word of the digest, and because a laptop needs minutes for 32 bits and would need
/// lifetimes for 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Difficulty(u8);

impl Difficulty {
    /// 1 bit: every second hash will do.
    pub const MIN: Difficulty = Difficulty(1);
    /// 32 bits: about 4.3 thousand million attempts.
    pub const MAX: Difficulty = Difficulty(32);
    /// 16 bits, about 65,536 attempts: four zero digits at the front of the hash.
    pub const DEFAULT: Difficulty = Difficulty(16);

    /// `None` unless `bits` is within 1 to 32.
    pub fn new(bits: u64) -> Option<Difficulty> {
        let bits = u8::try_from(bits).ok()?;
        (Self::MIN.0..=Self::MAX.0)
            .contains(&bits)
            .then_some(Difficulty(bits))
    }

    /// The number of bits.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The mean number of attempts until a hash fits: 2 to the power of the bits.
    pub fn expected_attempts(self) -> u64 {
        1 << self.0
    }
}

impl Default for Difficulty {
    fn default() -> Difficulty {
        Difficulty::DEFAULT
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_1_to_32_bits_exist() {
        assert_eq!(Difficulty::new(0), None);
        assert_eq!(Difficulty::new(1), Some(Difficulty::MIN));
        assert_eq!(Difficulty::new(32), Some(Difficulty::MAX));
        assert_eq!(Difficulty::new(33), None);
        assert_eq!(Difficulty::new(256 + 16), None);
        assert_eq!(Difficulty::MAX.expected_attempts(), 1 << 32);
    }
}
