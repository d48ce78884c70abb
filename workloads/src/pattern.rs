//! What becomes of a block after it was written.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What a workload does with the blocks that it allocates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Every block is dropped at once: memory stays flat however much is allocated.
    #[default]
    ShortLived,
    /// Every block is kept to the end of the run: memory steps up, and down when the run ends.
    LongLived,
    /// Blocks with an even index are kept, the others dropped.
    Mixed,
}

/// A text that names no [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown pattern `{0}`: use short-lived, long-lived or mixed")]
pub struct UnknownPattern(pub String);

impl Pattern {
    /// Every pattern.
    pub const ALL: [Pattern; 3] = [Pattern::ShortLived, Pattern::LongLived, Pattern::Mixed];

    /// The name used in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Pattern::ShortLived => "short-lived",
            Pattern::LongLived => "long-lived",
            Pattern::Mixed => "mixed",
        }
    }

    /// Whether the block with this index, counted from 0 in each routine, is kept.
    pub(crate) fn keeps(self, index: u64) -> bool {
        match self {
            Pattern::ShortLived => false,
            Pattern::LongLived => true,
            Pattern::Mixed => index.is_multiple_of(2),
        }
    }

    /// How many of the first `count` blocks are kept.
    pub(crate) fn kept_of(self, count: u64) -> u64 {
        match self {
            Pattern::ShortLived => 0,
            Pattern::LongLived => count,
            Pattern::Mixed => count.div_ceil(2),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Pattern {
    type Err = UnknownPattern;

    fn from_str(text: &str) -> Result<Pattern, UnknownPattern> {
        Pattern::ALL
            .into_iter()
            .find(|pattern| pattern.name() == text)
            .ok_or_else(|| UnknownPattern(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_themselves() {
        for pattern in Pattern::ALL {
            assert_eq!(pattern.name().parse(), Ok(pattern));
        }
        assert!("Mixed".parse::<Pattern>().is_err());
    }

    /// The plan reserves room by `kept_of` and the routines keep by `keeps`: they must agree.
    #[test]
    fn kept_of_counts_what_keeps_says() {
        for pattern in Pattern::ALL {
            for count in 0..20 {
                let counted = (0..count).filter(|&index| pattern.keeps(index)).count() as u64;
                assert_eq!(pattern.kept_of(count), counted, "{pattern} of {count}");
            }
        }
    }
}
