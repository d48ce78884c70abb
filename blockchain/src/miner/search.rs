//! The attempts of one turn.

use std::ops::Range;

use crate::candidate::Candidate;

/// Attempts between two looks at whether they still make sense: some 0.05 ms of work, so that a miner
/// notices a new head or a cancel soon and its counters move smoothly, and far more than a look
/// costs.
const PIECE_ATTEMPTS: u64 = 1_024;

/// What a look between two pieces has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The search makes sense.
    GoOn,
    /// The block would not follow the head any more.
    TipMoved,
    /// The routine is to end.
    End,
}

/// What a turn's search did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Searched {
    /// The first nonce that was not tried.
    pub(super) next_nonce: u64,
    /// The nonce that fits.
    pub(super) found: Option<u64>,
}

/// Tries `nonces` in pieces until one fits or `look`, which is told each piece's number of attempts,
/// says that there is no sense in going on.
pub(super) fn search(
    candidate: &mut Candidate,
    nonces: Range<u64>,
    mut look: impl FnMut(u64) -> Look,
) -> Searched {
    let mut next_nonce = nonces.start;
    while next_nonce < nonces.end {
        let piece = next_nonce..nonces.end.min(next_nonce + PIECE_ATTEMPTS);
        let found = candidate.search(piece.clone());
        next_nonce = found.map_or(piece.end, |nonce| nonce + 1);
        let go_on = look(next_nonce - piece.start) == Look::GoOn;
        if found.is_some() || !go_on {
            return Searched { next_nonce, found };
        }
    }
    Searched {
        next_nonce,
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
        let attempts = Cell::new(0);
        let count = |piece| {
            attempts.set(attempts.get() + piece);
            Look::GoOn
        };
        let searched = search(&mut candidate(Difficulty::MAX), 5..5 + 2_500, count);
        assert_eq!(
            searched,
            Searched {
                next_nonce: 2_505,
                found: None
            }
        );
        assert_eq!(attempts.take(), 2_500);

        let mut easy = candidate(Difficulty::new(6).unwrap());
        let searched = search(&mut easy, 0..100_000, count);
        let nonce = searched.found.unwrap();
        assert_eq!(searched.next_nonce, nonce + 1);
        assert_eq!(attempts.get(), nonce + 1);
        assert_eq!(easy.search(0..nonce), None);
    }

    #[test]
    fn a_search_without_sense_ends_with_its_piece() {
        for reason in [Look::TipMoved, Look::End] {
            let mut looks = 0;
            let searched = search(&mut candidate(Difficulty::MAX), 0..1_000_000, |_| {
                looks += 1;
                if looks == 3 { reason } else { Look::GoOn }
            });
            assert_eq!(
                searched,
                Searched {
                    next_nonce: 3 * PIECE_ATTEMPTS,
                    found: None
                }
            );
        }
    }
}
