//! The attempts of one turn.

use std::ops::Range;

use crate::candidate::Candidate;

/// Attempts between two looks at whether they still make sense: some 0.1 ms of work, so that a miner
/// notices a new head soon, and far more than the look costs.
const PIECE_ATTEMPTS: u64 = 1_024;

/// What a turn's search did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Searched {
    pub(super) attempts: u64,
    /// Attempts of the piece during which the search lost its sense, an upper bound of those made
    /// in vain.
    pub(super) attempts_late: u64,
    /// The nonce that fits.
    pub(super) found: Option<u64>,
}

/// Tries `nonces` until one fits or `in_vain` says that the search has lost its sense.
pub(super) fn search(
    candidate: &mut Candidate,
    nonces: Range<u64>,
    in_vain: impl Fn() -> bool,
) -> Searched {
    let mut next = nonces.start;
    while next < nonces.end {
        let piece = next..nonces.end.min(next + PIECE_ATTEMPTS);
        let found = candidate.search(piece.clone());
        next = found.map_or(piece.end, |nonce| nonce + 1);
        let late = in_vain();
        if found.is_some() || late {
            return Searched {
                attempts: next - nonces.start,
                attempts_late: if late { next - piece.start } else { 0 },
                found,
            };
        }
    }
    Searched {
        attempts: next - nonces.start,
        attempts_late: 0,
        found: None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::chain::{Chain, ChainOptions};
    use crate::difficulty::Difficulty;

    fn candidate(difficulty: Difficulty) -> Candidate {
        let options = ChainOptions {
            genesis_difficulty: Difficulty::MIN,
            ..ChainOptions::default()
        };
        Candidate::new(&Chain::in_memory(options).unwrap(), "data", difficulty)
    }

    #[test]
    fn attempts_are_counted_exactly() {
        let mut hopeless = candidate(Difficulty::MAX);
        let searched = search(&mut hopeless, 5..5 + 2_500, || false);
        assert_eq!(
            searched,
            Searched {
                attempts: 2_500,
                attempts_late: 0,
                found: None
            }
        );

        let mut easy = candidate(Difficulty::new(6).unwrap());
        let searched = search(&mut easy, 0..100_000, || false);
        let nonce = searched.found.unwrap();
        assert_eq!(searched.attempts, nonce + 1);
        assert_eq!(easy.search(0..nonce), None);
    }

    #[test]
    fn a_search_in_vain_ends_with_its_piece() {
        let mut hopeless = candidate(Difficulty::MAX);
        let looks = Cell::new(0);
        let searched = search(&mut hopeless, 0..1_000_000, || {
            looks.set(looks.get() + 1);
            looks.get() == 3
        });
        let expected = Searched {
            attempts: 3 * PIECE_ATTEMPTS,
            attempts_late: PIECE_ATTEMPTS,
            found: None,
        };
        assert_eq!(searched, expected);
    }
}
