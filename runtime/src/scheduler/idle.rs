//! Which workers search and which are parked; implements `docs/scheduler.md`, whose step numbers
//! are named here.
//!
//! The module knows no queues and no stacks. It keeps two things: the number of workers that
//! search, and a bit for each parked worker. Clearing a worker's bit is the claim to wake it, so
//! each sleep is ended by exactly one party.

use crate::primitives::{AtomicU32, AtomicU64, fence};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// Most workers of a runtime: four words of bits.
pub(crate) const WORKERS_MAX: usize = 256;
const WORDS: usize = WORKERS_MAX / 64;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Idle {
    searching: AtomicU32,
    parked: [AtomicU64; WORDS],
    workers: u32,
}

/// What [`Idle::stop_searching`] leaves to the caller.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// The caller was the last one that searched: submitters relied on it, so it must look whether
    /// there is more work and, if so, wake a successor.
    Yes,
    /// Others still search.
    No,
}

impl Idle {
    pub(crate) fn new(workers: usize) -> Idle {
        Idle {
            searching: AtomicU32::new(0),
            parked: std::array::from_fn(|_| AtomicU64::new(0)),
            workers: workers as u32,
        }
    }

    /// Becomes a searching worker, unless half of the workers are already.
    pub(crate) fn start_searching(&self) -> bool {
        if 2 * self.searching.load(Relaxed) >= self.workers.max(2) {
            return false;
        }
        // SeqCst: step S3 reads the count; see `submitted`.
        self.searching.fetch_add(1, SeqCst);
        true
    }

    /// Ends a search that found work.
    pub(crate) fn stop_searching(&self) -> Last {
        // SeqCst: step P2. A submitter whose look at the count came before this relies on us; our
        // look at the queues, which comes after, sees what it had pushed before its look.
        let was = self.searching.fetch_sub(1, SeqCst);
        fence(SeqCst);
        if was == 1 { Last::Yes } else { Last::No }
    }

    /// Announces that `worker` goes to sleep (steps P1 and P2). The caller must look at every queue
    /// once more afterwards, and sleep only if it found nothing.
    pub(crate) fn prepare_park(&self, worker: usize, searching: bool) {
        self.parked[worker / 64].fetch_or(1 << (worker % 64), SeqCst);
        if searching {
            self.searching.fetch_sub(1, SeqCst);
        }
        // SeqCst fence between our announcement and our look at the queues; partner is the fence
        // in `submitted` and in `claim`.
        fence(SeqCst);
    }

    /// Takes the announcement back. False if somebody has claimed the worker already: its wake is
    /// on its way and must be waited for.
    pub(crate) fn cancel_park(&self, worker: usize) -> bool {
        let bit = 1 << (worker % 64);
        self.parked[worker / 64].fetch_and(!bit, SeqCst) & bit != 0
    }

    /// After work was made visible to all (step S1): picks a worker to wake, which then counts as
    /// searching. `None` if one searches already, or all are awake.
    pub(crate) fn submitted(&self) -> Option<usize> {
        // Step S2. SeqCst fence between the push and the look; partner is the one in
        // `prepare_park` and the one in `stop_searching`.
        fence(SeqCst);
        if self.searching.load(Relaxed) != 0 {
            return None;
        }
        for (index, word) in self.parked.iter().enumerate() {
            let mut bits = word.load(Relaxed);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                bits = word.fetch_and(!bit, SeqCst);
                if bits & bit != 0 {
                    // Step S4: before the wake, so that later submitters see a searcher.
                    self.searching.fetch_add(1, SeqCst);
                    return Some(index * 64 + bit.trailing_zeros() as usize);
                }
                bits &= !bit;
            }
        }
        None
    }

    /// After work was given to one worker: claims it if it is parked. It does not count as
    /// searching.
    pub(crate) fn claim(&self, worker: usize) -> bool {
        // SeqCst fence between the push into the worker's own queue and the look at its bit.
        fence(SeqCst);
        let bit = 1 << (worker % 64);
        let word = &self.parked[worker / 64];
        word.load(Relaxed) & bit != 0 && word.fetch_and(!bit, SeqCst) & bit != 0
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::atomic::{AtomicBool, AtomicUsize};
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// A worker's bed: sleeps until its token comes.
    struct Bed {
        token: Mutex<bool>,
        bell: Condvar,
    }

    struct World {
        idle: Idle,
        queue: AtomicUsize,
        beds: Vec<Bed>,
        done: AtomicBool,
    }

    impl World {
        fn new(workers: usize) -> World {
            World {
                idle: Idle::new(workers),
                queue: AtomicUsize::new(0),
                beds: (0..workers)
                    .map(|_| Bed {
                        token: Mutex::new(false),
                        bell: Condvar::new(),
                    })
                    .collect(),
                done: AtomicBool::new(false),
            }
        }

        fn wake(&self, worker: usize) {
            *self.beds[worker].token.lock().unwrap() = true;
            self.beds[worker].bell.notify_one();
        }

        fn submit(&self) {
            self.queue.fetch_add(1, Relaxed);
            if let Some(worker) = self.idle.submitted() {
                self.wake(worker);
            }
        }

        fn take(&self) -> bool {
            let queued = self.queue.load(Relaxed);
            queued > 0
                && self
                    .queue
                    .compare_exchange(queued, queued - 1, Relaxed, Relaxed)
                    .is_ok()
        }

        /// One worker until it has run a piece of work: fails by a deadlock that loom reports.
        fn run_one(&self, me: usize) {
            let mut searching = false;
            loop {
                if self.take() {
                    if searching
                        && self.idle.stop_searching() == Last::Yes
                        && self.queue.load(Relaxed) > 0
                    {
                        if let Some(next) = self.idle.submitted() {
                            self.wake(next);
                        }
                    }
                    return;
                }
                if self.done.load(Relaxed) {
                    return;
                }
                if !searching {
                    searching = self.idle.start_searching();
                    if searching {
                        continue;
                    }
                }
                self.idle.prepare_park(me, searching);
                if self.queue.load(Relaxed) > 0 && self.idle.cancel_park(me) {
                    searching = false;
                    continue;
                }
                let mut token = self.beds[me].token.lock().unwrap();
                while !*token {
                    token = self.beds[me].bell.wait(token).unwrap();
                }
                *token = false;
                searching = true;
            }
        }
    }

    /// Work submitted while the only worker falls asleep wakes it. Broken by removing the fence in
    /// `prepare_park` or in `submitted`.
    #[test]
    fn a_submission_wakes_the_worker_that_falls_asleep() {
        loom::model(|| {
            let world = Arc::new(World::new(1));
            let worker = {
                let world = world.clone();
                thread::spawn(move || world.run_one(0))
            };
            world.submit();
            worker.join().unwrap();
        });
    }

    /// Two pieces of work submitted in a row reach two workers, though the second submitter may
    /// rely on the first one's searcher.
    #[test]
    fn the_last_searcher_wakes_a_successor() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let world = Arc::new(World::new(2));
            let workers: Vec<_> = (0..2)
                .map(|me| {
                    let world = world.clone();
                    thread::spawn(move || world.run_one(me))
                })
                .collect();
            world.submit();
            world.submit();
            for worker in workers {
                worker.join().unwrap();
            }
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn at_most_half_of_the_workers_search() {
        let idle = Idle::new(4);
        assert!(idle.start_searching());
        assert!(idle.start_searching());
        assert!(!idle.start_searching());
        assert_eq!(idle.stop_searching(), Last::No);
        assert_eq!(idle.stop_searching(), Last::Yes);
    }

    #[test]
    fn a_sleep_is_ended_by_one_party() {
        let idle = Idle::new(130);
        idle.prepare_park(129, false);
        assert_eq!(idle.submitted(), Some(129));
        assert!(!idle.cancel_park(129), "the submitter has claimed it");
        assert_eq!(idle.submitted(), None, "the woken worker searches");
    }
}
