//! Lets work be done only as often as its own cost allows.
//!
//! Some figures need a walk whose length depends on what the program does. Each such walk is timed,
//! and the next one waits until the cost is a small part of the time that passed.

use std::time::Instant;

/// The next time comes so many times later than this one took: 0.5 % of a processor.
const REST: u64 = 200;

#[derive(Debug)]
pub(crate) struct Budget {
    /// At least so long between two times.
    period_ns: u64,
    next_ns: u64,
}

impl Budget {
    pub(crate) const fn every(period_ns: u64) -> Budget {
        Budget {
            period_ns,
            next_ns: 0,
        }
    }

    /// Does `work` if it is due at `now_ns`.
    pub(crate) fn spend<T>(&mut self, now_ns: u64, work: impl FnOnce() -> T) -> Option<T> {
        if now_ns < self.next_ns {
            return None;
        }
        let began = Instant::now();
        let done = work();
        self.charge(now_ns, began.elapsed().as_nanos() as u64);
        Some(done)
    }

    fn charge(&mut self, now_ns: u64, cost_ns: u64) {
        self.next_ns = now_ns + self.period_ns.max(cost_ns.saturating_mul(REST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cost_much_is_done_seldom() {
        let mut budget = Budget::every(1_000);
        let due = |budget: &mut Budget, now_ns| budget.spend(now_ns, || ()).is_some();
        budget.charge(0, 1);
        assert!(!due(&mut budget, 999));
        budget.charge(0, 50);
        assert!(!due(&mut budget, 9_999));
        assert!(due(&mut budget, 10_000));
    }
}
