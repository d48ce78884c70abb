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
    /// The worker that naps, or [`NOBODY`].
    napper: AtomicU32,
    /// Not 0 if a submitter relied on the one that naps. A hint.
    relied: AtomicU32,
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
    pub(crate) fn new() -> Idle {
        Idle {
            searching: AtomicU32::new(0),
            parked: std::array::from_fn(|_| AtomicU64::new(0)),
            seated: AtomicU32::new(NOBODY),
            napper: AtomicU32::new(NOBODY),
            relied: AtomicU32::new(0),
        }
    }

    /// Becomes a searching worker, unless half of so many workers are already.
    pub(crate) fn start_searching(&self, workers: usize) -> bool {
        if 2 * self.searching.load(Relaxed) as usize >= workers.max(2) {
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
        if was == 1 || self.napper().is_some() {
            Last::Yes
        } else {
            Last::No
        }
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

    /// Announces that `worker`, which searches, takes a nap: it sleeps for a bounded time, counts as
    /// searching all the while, and must search again afterwards. False if another one naps. As
    /// with [`prepare_park`](Self::prepare_park), the caller looks once more afterwards.
    pub(crate) fn prepare_nap(&self, worker: usize) -> bool {
        let free = self
            .napper
            .compare_exchange(NOBODY, worker as u32, Relaxed, Relaxed);
        if free.is_err() {
            return false;
        }
        self.relied.store(0, Relaxed);
        // Steps P1 and P2, but for the count.
        self.prepare_park(worker, false);
        true
    }

    /// The nap is over, and the bit is cleared; `to_search` says that a submitter did that. Returns
    /// whether any relied on the nap.
    pub(crate) fn end_nap(&self, to_search: bool) -> bool {
        self.napper.store(NOBODY, Relaxed);
        if to_search {
            // Somebody looked at the count before the napper was in it, and at the bits when its bit
            // was there, so that step S4 has counted it a second time.
            self.searching.fetch_sub(1, SeqCst);
        }
        self.relied.load(Relaxed) != 0
    }

    /// The worker that naps.
    #[inline]
    pub(crate) fn napper(&self) -> Option<usize> {
        let napper = self.napper.load(Relaxed);
        (napper != NOBODY).then_some(napper as usize)
    }

    /// A submitter relies on the worker that naps.
    #[inline]
    pub(crate) fn rely_on_napper(&self) {
        if self.relied.load(Relaxed) == 0 {
            self.relied.store(1, Relaxed);
        }
    }

    /// Takes the announcement back. False if somebody has claimed the worker already: its wake is
    /// on its way and must be waited for.
    pub(crate) fn cancel_park(&self, worker: usize) -> bool {
        let bit = 1 << (worker % 64);
        // SeqCst, as the claim in `look_for_sleeper`: one of the two finds the bit set.
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

    /// Whether so many workers are parked, or about to be.
    #[cfg(not(portable))]
    pub(crate) fn all_parked(&self, workers: usize) -> bool {
        let parked: u32 = self
            .parked
            .iter()
            .map(|word| word.load(Relaxed).count_ones())
            .sum();
        parked as usize >= workers
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

    /// After work was given to one worker, and a sequentially consistent fence, whose partner is the one in
    /// `prepare_park` (P2): claims it if it is parked. It does not count as searching.
    pub(crate) fn claim(&self, worker: usize) -> bool {
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
                idle: Idle::new(),
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
            World::start_with_naps(world, workers, 0)
        }

        /// Worker 0 takes so many naps before it sleeps in earnest.
        fn start_with_naps(
            world: &Arc<World>,
            workers: usize,
            naps: usize,
        ) -> Vec<thread::JoinHandle<()>> {
            (0..workers)
                .map(|me| {
                    let world = world.clone();
                    let naps = if me == 0 { naps } else { 0 };
                    thread::spawn(move || world.run_one(me, naps))
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
            fence(SeqCst);
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

        /// A nap of worker 0, which is over at once unless the token has come already.
        fn nap(&self) {
            assert!(self.idle.prepare_nap(0));
            let to_search = !self.idle.cancel_park(0) && self.beds[0].sleep();
            self.idle.end_nap(to_search);
        }

        /// A worker until it has taken a piece of work; the shape of `WorkerCore::run` and `park`.
        fn run_one(&self, me: usize, mut naps: usize) {
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
                    searching = self.idle.start_searching(self.beds.len());
                    if searching {
                        continue;
                    }
                }
                if searching && naps > 0 {
                    naps -= 1;
                    self.nap();
                    continue;
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

    /// As before, with a worker that naps before it sleeps. Breaks if a napper that was claimed to search
    /// is left in the count twice, or if a nap takes it out of the count.
    #[test]
    fn a_nap_keeps_the_promise_of_a_search() {
        check(|| {
            let world = World::new(2);
            let workers = World::start_with_naps(&world, 2, 1);
            // Not this thread: what must come between costs it one preemption more.
            let submitter = {
                let world = world.clone();
                thread::spawn(move || (0..2).for_each(|_| world.submit()))
            };
            workers.into_iter().for_each(|w| w.join().unwrap());
            submitter.join().unwrap();
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
        let idle = Idle::new();
        assert!(idle.start_searching(4));
        assert!(idle.start_searching(4));
        assert!(!idle.start_searching(4));
        assert_eq!(idle.stop_searching(), Last::No);
        assert_eq!(idle.stop_searching(), Last::Yes);
    }

    #[test]
    fn a_sleep_is_ended_by_one_party() {
        let idle = Idle::new();
        idle.prepare_park(129, false);
        assert_eq!(idle.submitted(), Some(129));
        assert!(!idle.cancel_park(129), "the submitter has claimed it");
        assert_eq!(idle.submitted(), None, "the woken worker searches");
    }
}
