//! For how long routines wait for a worker.
//!
//! Counts are free, but the age of the oldest runnable routine needs a walk over all of them. So it
//! is walked only while something is runnable, at most once a second, more seldom when a walk is
//! dear, and not at all beyond a number of routines at which the walk would delay the samples.

use openwork::Handle;
use openwork::snapshot::{RoutineCounts, RoutineState};

use crate::budget::Budget;
use crate::finding::LONG_NS;

/// Beyond so many live routines there is no walk: at some 100 ns a routine it takes 2 ms, of the
/// 100 ms between two samples.
const ROUTINES_MAX: u64 = 20_000;
/// Between two walks.
const PERIOD_NS: u64 = 1_000_000_000;

/// What the newest walk found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The longest wait in nanoseconds, 0 when none waits.
    pub(crate) oldest_ns: u64,
    /// Routines that have waited for over [`LONG_NS`].
    pub(crate) long: u64,
}

/// Walks when it is due.
#[derive(Debug)]
pub(crate) struct Walk {
    budget: Budget,
    found: Option<Waiting>,
}

impl Walk {
    pub(crate) const fn new() -> Walk {
        Walk {
            budget: Budget::every(PERIOD_NS),
            found: None,
        }
    }

    pub(crate) fn at(
        &mut self,
        handle: &Handle,
        now_ns: u64,
        counts: &RoutineCounts,
    ) -> Option<Waiting> {
        if counts.runnable + counts.new == 0 {
            self.found = Some(Waiting::default());
        } else if counts.live() > ROUTINES_MAX {
            self.found = None;
        } else if let Some(found) = self.budget.spend(now_ns, || Waiting::look(handle, now_ns)) {
            self.found = Some(found);
        }
        self.found
    }
}

impl Waiting {
    fn look(handle: &Handle, now_ns: u64) -> Waiting {
        let mut waiting = Waiting::default();
        handle.routines(&mut |routine| {
            waiting.add(routine.state, now_ns.saturating_sub(routine.state_since_ns));
        });
        waiting
    }

    fn add(&mut self, state: RoutineState, for_ns: u64) {
        // A fresh routine waits for a worker like a readied one.
        if matches!(state, RoutineState::Runnable | RoutineState::New) {
            self.oldest_ns = self.oldest_ns.max(for_ns);
            self.long += u64::from(for_ns > LONG_NS);
        }
    }
}

#[cfg(test)]
mod tests {
    use openwork::snapshot::WaitReason;

    use super::*;

    #[test]
    fn only_those_that_could_run_wait_for_a_worker() {
        let mut waiting = Waiting::default();
        for (state, for_ns) in [
            (RoutineState::Runnable, 5),
            (RoutineState::New, LONG_NS + 1),
            (RoutineState::Runnable, LONG_NS),
            (RoutineState::Running, 3 * LONG_NS),
            (RoutineState::Blocked(WaitReason::Sleep), 4 * LONG_NS),
        ] {
            waiting.add(state, for_ns);
        }
        assert_eq!((waiting.oldest_ns, waiting.long), (LONG_NS + 1, 1));
    }
}
