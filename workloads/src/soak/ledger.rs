//! Who was made and who was dropped: what a round has to account for.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts tokens and what was found broken.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    made: AtomicU64,
    dropped: AtomicU64,
    /// Sums of the tokens' numbers, mixed: a token that is lost and another that is dropped twice leave the
    /// counts equal, but not these.
    made_sum: AtomicU64,
    dropped_sum: AtomicU64,
    broken: Mutex<Vec<String>>,
}

/// A value that must be dropped once, wherever it has gone.
#[derive(Debug)]
pub(super) struct Token {
    number: u64,
    ledger: Arc<Ledger>,
}

/// The output function of splitmix64 (Steele, Lea, Flood 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Ledger {
    pub(super) fn token(self: &Arc<Ledger>) -> Token {
        let number = self.made.fetch_add(1, Relaxed);
        self.made_sum.fetch_add(mix(number), Relaxed);
        Token {
            number,
            ledger: self.clone(),
        }
    }

    /// A promise does not hold.
    pub(super) fn broken(&self, what: String) {
        let mut broken = self.broken.lock().unwrap_or_else(|e| e.into_inner());
        broken.push(what);
    }

    /// Whether `so`, which is reported as broken otherwise.
    pub(super) fn check(&self, so: bool, what: impl FnOnce() -> String) {
        if !so {
            self.broken(what());
        }
    }

    pub(super) fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// Whether every token was dropped, and none twice.
    pub(super) fn is_even(&self) -> bool {
        self.made.load(Relaxed) == self.dropped.load(Relaxed)
            && self.made_sum.load(Relaxed) == self.dropped_sum.load(Relaxed)
    }

    /// What does not hold at the end of a round.
    pub(super) fn verdict(&self) -> Vec<String> {
        let mut broken = self.broken.lock().unwrap_or_else(|e| e.into_inner());
        let mut broken = std::mem::take(&mut *broken);
        if !self.is_even() {
            let (made, dropped) = (self.made.load(Relaxed), self.dropped.load(Relaxed));
            broken.push(format!(
                "of {made} values {dropped} were dropped; the sums of their numbers differ by {}",
                self.made_sum
                    .load(Relaxed)
                    .wrapping_sub(self.dropped_sum.load(Relaxed))
            ));
        }
        broken
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.dropped.fetch_add(1, Relaxed);
        self.ledger.dropped_sum.fetch_add(mix(self.number), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_value_and_one_dropped_twice_are_both_seen() {
        let ledger = Arc::new(Ledger::default());
        let (first, second) = (ledger.token(), ledger.token());
        drop(first);
        assert!(!ledger.is_even(), "one is there still");
        let number = second.number;
        std::mem::forget(second);
        assert_eq!(ledger.verdict().len(), 1, "one is lost");
        let again = |number| {
            drop(Token {
                number,
                ledger: ledger.clone(),
            });
        };
        again(number - 1);
        assert!(!ledger.is_even(), "the count fits, the numbers do not");
        assert_eq!(ledger.verdict().len(), 1);
    }
}
