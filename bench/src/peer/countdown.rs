//! Waiting for the last of many, at the least price that each peer's users would pay.

use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Relaxed};

/// Counts ends. The last one calls `last`.
///
/// It lives as long as the process, as a static would: routines refer to it without counting
/// references, like goroutines do, so that the bench is not one of reference counting.
pub(super) struct Countdown {
    left: AtomicU64,
    last: Box<dyn Fn() + Send + Sync>,
}

impl Countdown {
    pub(super) fn new(last: impl Fn() + Send + Sync + 'static) -> &'static Countdown {
        Box::leak(Box::new(Countdown {
            left: AtomicU64::new(0),
            last: Box::new(last),
        }))
    }

    /// Before the routines are spawned that will call `one`.
    pub(super) fn expect(&self, ends: u64) {
        self.left.store(ends, Relaxed);
    }

    /// One has ended.
    pub(super) fn one(&self) {
        // Acquire and release: what the others did before their end has happened before `last`.
        if self.left.fetch_sub(1, AcqRel) == 1 {
            (self.last)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_told() {
        let (tx, rx) = std::sync::mpsc::channel();
        let countdown = Countdown::new(move || tx.send(()).unwrap());
        countdown.expect(2);
        countdown.one();
        assert!(rx.try_recv().is_err());
        countdown.one();
        assert!(rx.try_recv().is_ok());
    }
}
