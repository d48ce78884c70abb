//! Which workers search and which are parked; implements `docs/scheduler.md`, whose step numbers
//! are named here: S1 to S4 of a submitter, P1 to P3 of a worker that parks, E1 to E3 of one whose
//! search ends because it found something.
//!
//! The module knows no queues and no stacks. It keeps two things: the number of workers that
//! search, and a bit for each parked worker. Clearing a worker's bit is the claim to wake it, so
//! each sleep is ended by exactly one party.

use crate::primitives::{AtomicU32, AtomicU64, fence};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// Most workers of a runtime: four words of bits.
pub(crate) const WORKERS_MAX: usize = 256;
const WORDS: usize = WORKERS_MAX / 64;

const NOBODY: u32 = u32::MAX;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Idle {
    searching: AtomicU32,
    parked: [AtomicU64; WORDS],
    /// The worker that sleeps in the poller, or [`NOBODY`]. A hint.
    seated: AtomicU32,
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
            seated: AtomicU32::new(NOBODY),
            workers: workers as u32,
        }
    }

    /// Becomes a searching worker, unless half of the workers are already.
    pub(crate) fn start_searching(&self) -> bool {
        if 2 * self.searching.load(Relaxed) >= self.workers.max(2) {
            return false;
        }
        // SeqCst: read by step S3.
        self.searching.fetch_add(1, SeqCst);
        true
    }

    /// Ends a search that found work (steps E1 and E2).
    pub(crate) fn stop_searching(&self) -> Last {
        // Step E1. SeqCst: read by step S3.
        let was = self.searching.fetch_sub(1, SeqCst);
        // Step E2: a submitter whose look at the count (S3) still found us has passed its fence
        // (S2) before this one, so our look at the queues (E3) finds what it had pushed (S1).
        fence(SeqCst);
        if was == 1 { Last::Yes } else { Last::No }
    }

    /// Announces that `worker` goes to sleep (steps P1 and P2). The caller must look at every queue
    /// once more afterwards (P3), and sleep only if it found nothing.
    pub(crate) fn prepare_park(&self, worker: usize, searching: bool) {
        // Step P1. The bit first: whoever misses us in the count finds the bit.
        self.parked[worker / 64].fetch_or(1 << (worker % 64), SeqCst);
        if searching {
            self.searching.fetch_sub(1, SeqCst);
        }
        // Step P2: between the announcement and the look at the queues; partners are the fences in
        // `submitted` (S2) and in `claim`.
        fence(SeqCst);
    }

    /// Takes the announcement back. False if somebody has claimed the worker already: its wake is
    /// on its way and must be waited for.
    pub(crate) fn cancel_park(&self, worker: usize) -> bool {
        let bit = 1 << (worker % 64);
        self.parked[worker / 64].fetch_and(!bit, SeqCst) & bit != 0
    }

    /// Goes back to searching after step P3 found work, for a worker that searched until it
    /// announced its sleep. Not bounded by half of the workers: the submitters of that work may
    /// have relied on this very searcher, and only one that counts as searching looks for a
    /// successor when it takes something (step E3).
    pub(crate) fn resume_searching(&self) {
        // SeqCst: read by step S3.
        self.searching.fetch_add(1, SeqCst);
    }

    /// After work was made visible to all (step S1): picks a worker to wake, which then counts as
    /// searching. `None` if one searches already, or all are awake.
    pub(crate) fn submitted(&self) -> Option<usize> {
        // Step S2: between the push and the looks at count and bits; partners are the fences in
        // `prepare_park` (P2) and `stop_searching` (E2).
        fence(SeqCst);
        self.look_for_sleeper()
    }

    /// Steps S3 and S4 of [`submitted`](Self::submitted), for a caller that has done S2.
    #[inline]
    pub(crate) fn look_for_sleeper(&self) -> Option<usize> {
        // Step S3.
        if self.searching.load(Relaxed) != 0 {
            return None;
        }
        let seated = self.seated.load(Relaxed);
        for (index, word) in self.parked.iter().enumerate() {
            let mut bits = word.load(Relaxed);
            while bits != 0 {
                let bit = pick(bits, index, seated);
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

    /// `worker`, which has announced its sleep, has the poller's seat.
    pub(crate) fn sit_down(&self, worker: usize) {
        self.seated.store(worker as u32, Relaxed);
    }

    /// Whether some worker sleeps in the poller.
    pub(crate) fn is_seated(&self) -> bool {
        self.seated.load(Relaxed) != NOBODY
    }

    /// The worker in the poller is awake.
    pub(crate) fn stand_up(&self) {
        self.seated.store(NOBODY, Relaxed);
    }

    /// After work was given to one worker: claims it if it is parked. It does not count as
    /// searching.
    pub(crate) fn claim(&self, worker: usize) -> bool {
        // Between the push into the worker's own queue and the look at its bit; partner is the
        // fence in `prepare_park` (P2).
        fence(SeqCst);
        let bit = 1 << (worker % 64);
        let word = &self.parked[worker / 64];
        word.load(Relaxed) & bit != 0 && word.fetch_and(!bit, SeqCst) & bit != 0
    }
}

/// One of the bits of a word, if possible not that of the worker that sleeps in the poller: while it
/// stays there, nobody else need look for sockets.
fn pick(bits: u64, word: usize, seated: u32) -> u64 {
    let others = match (seated as usize).checked_sub(word * 64) {
        Some(seat @ 0..64) => bits & !(1 << seat),
        _ => bits,
    };
    let from = if others == 0 { bits } else { others };
    from & from.wrapping_neg()
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// A worker's bed: sleeps until its token comes, which says whether to search.
    struct Bed {
        token: Mutex<Option<bool>>,
        bell: Condvar,
    }

    impl Bed {
        fn sleep(&self) -> bool {
            let mut token = self.token.lock().unwrap();
            loop {
                match token.take() {
                    Some(to_search) => return to_search,
                    None => token = self.bell.wait(token).unwrap(),
                }
            }
        }
    }

    /// The scheduler as far as this protocol goes: work is a number, and each worker runs one piece
    /// of it, which then never lets it go. So a piece that is left while a worker sleeps is lost,
    /// and the checker reports the sleeper as a deadlock.
    struct World {
        idle: Idle,
        queue: AtomicUsize,
        /// Work that a thread beside the workers has taken from the queue, open to thieves.
        deque: AtomicUsize,
        /// Work that worker 0 alone may take.
        inbox: AtomicUsize,
        beds: Vec<Bed>,
    }

    impl World {
        fn new(workers: usize) -> Arc<World> {
            Arc::new(World {
                idle: Idle::new(workers),
                queue: AtomicUsize::new(0),
                deque: AtomicUsize::new(0),
                inbox: AtomicUsize::new(0),
                beds: (0..workers)
                    .map(|_| Bed {
                        token: Mutex::new(None),
                        bell: Condvar::new(),
                    })
                    .collect(),
            })
        }

        fn start(world: &Arc<World>, workers: usize) -> Vec<thread::JoinHandle<()>> {
            (0..workers)
                .map(|me| {
                    let world = world.clone();
                    thread::spawn(move || world.run_one(me))
                })
                .collect()
        }

        fn wake(&self, worker: usize, to_search: bool) {
            *self.beds[worker].token.lock().unwrap() = Some(to_search);
            self.beds[worker].bell.notify_one();
        }

        fn notify_work(&self) {
            if let Some(worker) = self.idle.submitted() {
                self.wake(worker, true);
            }
        }

        fn submit(&self) {
            self.queue.fetch_add(1, Relaxed);
            self.notify_work();
        }

        fn submit_to_worker_0(&self) {
            self.inbox.fetch_add(1, Relaxed);
            if self.idle.claim(0) {
                self.wake(0, false);
            }
        }

        fn take(&self, me: usize) -> bool {
            let take = |queue: &AtomicUsize| {
                let queued = queue.load(Relaxed);
                queued > 0
                    && queue
                        .compare_exchange(queued, queued - 1, Relaxed, Relaxed)
                        .is_ok()
            };
            (me == 0 && take(&self.inbox)) || take(&self.queue) || take(&self.deque)
        }

        fn has_stealable_work(&self) -> bool {
            self.queue.load(Relaxed) > 0 || self.deque.load(Relaxed) > 0
        }

        /// A running worker takes two pieces at once: one for itself, the other for its deque.
        fn take_batch(&self) {
            if self.queue.compare_exchange(2, 0, Relaxed, Relaxed).is_ok() {
                self.deque.fetch_add(1, Relaxed);
                self.notify_work();
            }
        }

        /// A worker until it has taken a piece of work; the shape of `WorkerCore::run` and `park`.
        fn run_one(&self, me: usize) {
            let mut searching = false;
            loop {
                if self.take(me) {
                    if searching
                        && self.idle.stop_searching() == Last::Yes
                        && self.has_stealable_work()
                    {
                        self.notify_work();
                    }
                    return;
                }
                if !searching {
                    searching = self.idle.start_searching();
                    if searching {
                        continue;
                    }
                }
                self.idle.prepare_park(me, searching);
                let own = me == 0 && self.inbox.load(Relaxed) > 0;
                if (own || self.has_stealable_work()) && self.idle.cancel_park(me) {
                    if searching {
                        self.idle.resume_searching();
                    }
                    continue;
                }
                searching = self.beds[me].sleep();
            }
        }
    }

    /// Small enough to end, deep enough for every lost wake-up named below.
    fn check(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(model);
    }

    /// Work submitted while the only worker falls asleep wakes it. Breaks without the fence in
    /// `prepare_park` or the one in `submitted`.
    #[test]
    fn a_submission_wakes_the_worker_that_falls_asleep() {
        check(|| {
            let world = World::new(1);
            let workers = World::start(&world, 1);
            world.submit();
            workers.into_iter().for_each(|w| w.join().unwrap());
        });
    }

    /// Work that a worker has taken to put it into its deque is in no queue for a moment, in which
    /// another one may fall asleep. Breaks if whoever moves work does not submit it again.
    #[test]
    fn work_on_its_way_is_submitted_again() {
        check(|| {
            let world = World::new(1);
            let mover = {
                let world = world.clone();
                thread::spawn(move || world.take_batch())
            };
            let workers = World::start(&world, 1);
            world.submit();
            world.submit();
            workers.into_iter().for_each(|w| w.join().unwrap());
            mover.join().unwrap();
        });
    }

    /// Work given to one worker while it falls asleep wakes it. Breaks without the fence in
    /// `prepare_park` or the one in `claim`.
    #[test]
    fn a_worker_sees_what_was_given_to_it_alone() {
        check(|| {
            let world = World::new(1);
            let workers = World::start(&world, 1);
            world.submit_to_worker_0();
            workers.into_iter().for_each(|w| w.join().unwrap());
        });
    }

    /// Two pieces of work submitted in a row reach two workers, though the second submission may
    /// rely on the first one's searcher. Breaks without `resume_searching`, without step E3, or
    /// without the fence in `stop_searching`.
    #[test]
    fn the_last_searcher_wakes_a_successor() {
        check(|| {
            let world = World::new(2);
            let workers = World::start(&world, 2);
            world.submit();
            world.submit();
            workers.into_iter().for_each(|w| w.join().unwrap());
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
