//! Which workers are in service: how many are meant to be, and what each one's duty is.
//!
//! The protocol is *More and fewer workers* in `docs/scheduler.md`, whose step names (G1 to G3, D1 to D5)
//! are used here. The module knows no queues and no threads.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use super::idle::WORKERS_MAX;
use crate::primitives::{AtomicU32, AtomicU64, ShortLock, fence};

const ACTIVE: u32 = 0;
const LEAVING: u32 = 1;
const INACTIVE: u32 = 2;

const WORDS: usize = WORKERS_MAX / 64;

/// See the module's text. Read by everybody and hardly ever written, so it shares no cache line with what is.
#[repr(align(128))]
pub(crate) struct Roster {
    /// Workers that are meant to be in service: those with smaller numbers.
    active: AtomicU32,
    /// Workers with smaller numbers may hold work.
    span: AtomicU32,
    /// The most that were ever active.
    ever: AtomicU32,
    duties: Box<[AtomicU32]>,
    /// A bit for each inactive worker whose wheel may hold deadlines.
    orphans: [AtomicU64; WORDS],
    /// Taken by who changes a duty, for the span.
    change: ShortLock<()>,
    pub(crate) resizes: AtomicU64,
    /// Routines that were taken from a worker that left.
    pub(crate) moved: AtomicU64,
}

/// What came of [`Roster::enlist`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enlisted {
    /// It was in service, or about to leave: whoever holds it goes on.
    Stays,
    /// It was not: the caller owns it.
    Ours,
}

impl Roster {
    /// Room for `max` workers, of which `active` begin in service.
    pub(crate) fn new(active: usize, max: usize) -> Roster {
        let duty = |worker| if worker < active { ACTIVE } else { INACTIVE };
        Roster {
            active: AtomicU32::new(active as u32),
            span: AtomicU32::new(active as u32),
            ever: AtomicU32::new(active as u32),
            duties: (0..max)
                .map(|worker| AtomicU32::new(duty(worker)))
                .collect(),
            orphans: std::array::from_fn(|_| AtomicU64::new(0)),
            change: ShortLock::new(()),
            resizes: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        }
    }

    /// Workers that are meant to be in service. For whoever gives out places, and for limits.
    #[inline]
    pub(crate) fn active(&self) -> usize {
        self.active.load(Relaxed) as usize
    }

    /// Workers whose queues may hold something. For whoever looks for work.
    #[inline]
    pub(crate) fn span(&self) -> usize {
        self.span.load(Relaxed) as usize
    }

    /// The most workers that there ever were.
    pub(crate) fn ever(&self) -> usize {
        self.ever.load(Relaxed) as usize
    }

    /// The most that there can be.
    pub(crate) fn max(&self) -> usize {
        self.duties.len()
    }

    /// Workers that somebody holds, or is about to.
    #[cfg(not(portable))]
    pub(crate) fn in_service(&self) -> usize {
        let serves = |duty: &&AtomicU32| duty.load(Relaxed) != INACTIVE;
        self.duties.iter().filter(serves).count()
    }

    /// Workers that are to leave and have not left yet.
    pub(crate) fn leaving(&self) -> usize {
        let leaves = |duty: &&AtomicU32| duty.load(Relaxed) == LEAVING;
        self.duties.iter().filter(leaves).count()
    }

    /// Whether what is put into the worker's queues will be found there. Asked after the push and a sequentially
    /// consistent fence, whose partner is the one of the leaver ([`sees_duty`](Self::sees_duty)).
    #[inline]
    pub(crate) fn is_active(&self, worker: usize) -> bool {
        self.duties[worker].load(Relaxed) == ACTIVE
    }

    pub(crate) fn is_inactive(&self, worker: usize) -> bool {
        self.duties[worker].load(Relaxed) == INACTIVE
    }

    /// Whether the worker is to leave. For its holder.
    #[inline]
    pub(crate) fn must_leave(&self, worker: u32) -> bool {
        self.duties[worker as usize].load(Relaxed) == LEAVING
    }

    /// The holder has seen that it must leave, and looks at its queues next (step D2).
    pub(crate) fn sees_duty(&self) {
        // Between the look at the duty and the last look at the queues; partner is the fence of whoever pushes
        // into them and then asks `is_active`.
        fence(SeqCst);
    }

    /// The holder lets go of the worker (step D4). False if it is to stay after all.
    pub(crate) fn leave(&self, worker: u32) -> bool {
        let _change = self.change.lock();
        let duty = &self.duties[worker as usize];
        // Relaxed: who enlists the worker next has the lock after us.
        let left = duty
            .compare_exchange(LEAVING, INACTIVE, Relaxed, Relaxed)
            .is_ok();
        if left {
            self.narrow();
        }
        left
    }

    /// Under the lock.
    fn narrow(&self) {
        let serves = |duty: &AtomicU32| duty.load(Relaxed) != INACTIVE;
        let last = self.duties.iter().rposition(serves);
        self.span
            .store(last.map_or(0, |last| last as u32 + 1), Relaxed);
    }

    /// The worker is to be in service again (step G1).
    pub(crate) fn enlist(&self, worker: usize) -> Enlisted {
        let _change = self.change.lock();
        match self.duties[worker].swap(ACTIVE, Relaxed) {
            INACTIVE => {
                let span = self.span.load(Relaxed).max(worker as u32 + 1);
                self.span.store(span, Relaxed);
                Enlisted::Ours
            }
            _ => Enlisted::Stays,
        }
    }

    /// There was no thread for the worker, which the caller has enlisted and owns no longer.
    pub(crate) fn discharge(&self, worker: usize) {
        let _change = self.change.lock();
        self.duties[worker].store(INACTIVE, Relaxed);
        self.narrow();
    }

    /// The worker is to leave. The caller passes a fence and wakes it.
    pub(crate) fn dismiss(&self, worker: usize) {
        let _change = self.change.lock();
        // Relaxed: whoever is not told by a wake sees it by the fences that the wake stands for.
        let _ = self.duties[worker].compare_exchange(ACTIVE, LEAVING, Relaxed, Relaxed);
    }

    /// From now on so many are meant to be in service.
    pub(crate) fn set_active(&self, active: usize) {
        self.active.store(active as u32, Relaxed);
        self.ever.fetch_max(active as u32, Relaxed);
    }

    /// Whose work it is that deadlines of an inactive worker are not slept over.
    pub(crate) fn guardian(&self, orphan: usize) -> usize {
        orphan % self.active().max(1)
    }

    /// The wheel of `worker`, which is about to leave, holds deadlines (step D3).
    pub(crate) fn orphan(&self, worker: usize) {
        // Release pairs with the acquire of `adopt`: who takes the bit sees what is in the wheel.
        self.orphans[worker / 64].fetch_or(1 << (worker % 64), Release);
    }

    /// Takes the mark off: the wheel was seen to be empty, or its worker is in service again. The caller looks
    /// at the wheel again, and puts the mark back if there is something.
    pub(crate) fn adopt(&self, worker: usize) {
        self.orphans[worker / 64].fetch_and(!(1 << (worker % 64)), Acquire);
    }

    /// Workers whose wheels others have to serve.
    #[inline]
    pub(crate) fn orphans(&self) -> impl Iterator<Item = usize> {
        let words = self.orphans.iter().enumerate();
        words.flat_map(|(index, word)| {
            let mut bits = word.load(Relaxed);
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::Place;
    use loom::sync::Arc;
    use loom::thread;

    /// Two workers; worker 1 leaves. `queue` is its assigned queue, `common` where anybody takes from.
    struct World {
        roster: Roster,
        queue: AtomicU32,
        common: AtomicU32,
        /// The worker's own data.
        data: Place<u32>,
    }

    // SAFETY: the place is touched by whoever has the worker, which is what the model checks.
    unsafe impl Sync for World {}
    // SAFETY: as for `Sync`.
    unsafe impl Send for World {}

    impl World {
        fn new() -> Arc<World> {
            let world = World {
                roster: Roster::new(2, 2),
                queue: AtomicU32::new(0),
                common: AtomicU32::new(0),
                data: Place::new(),
            };
            // SAFETY: nobody else is there yet.
            unsafe { world.data.put(0) };
            Arc::new(world)
        }

        fn hand_out(&self) {
            let moved = self.queue.swap(0, Relaxed);
            self.common.fetch_add(moved, Relaxed);
        }

        fn push(&self) {
            self.queue.fetch_add(1, Relaxed);
            fence(SeqCst);
            if !self.roster.is_active(1) {
                self.hand_out();
            }
        }

        /// The holder of worker 1 until it has left. Returns whether it has.
        fn leave(&self) -> bool {
            self.roster.sees_duty();
            self.hand_out();
            // SAFETY: the holder has the worker until it has left.
            unsafe { self.data.put(self.data.take() + 1) };
            self.roster.leave(1)
        }
    }

    /// A routine that is pushed while the worker leaves is handed out by one side or the other. Breaks without
    /// either fence, if the pusher does not look, and if the leaver hands out before it passes its fence.
    #[test]
    fn what_is_assigned_to_a_leaver_is_not_left_behind() {
        loom::model(|| {
            let world = World::new();
            let pusher = {
                let world = world.clone();
                thread::spawn(move || world.push())
            };
            world.roster.dismiss(1);
            assert!(world.roster.must_leave(1));
            assert!(world.leave());
            pusher.join().unwrap();
            assert_eq!(world.common.load(Relaxed), 1, "stranded");
            assert_eq!((world.roster.span(), world.roster.in_service()), (1, 1));
        });
    }

    /// The same where the holder learns of its duty by itself, from a third thread.
    #[test]
    fn a_dismissal_by_another_thread_strands_nothing() {
        loom::model(|| {
            let world = World::new();
            let resizer = {
                let world = world.clone();
                thread::spawn(move || world.roster.dismiss(1))
            };
            let holder = {
                let world = world.clone();
                thread::spawn(move || world.roster.must_leave(1) && world.leave())
            };
            world.push();
            resizer.join().unwrap();
            let left = holder.join().unwrap() || world.roster.must_leave(1) && world.leave();
            assert!(left);
            assert_eq!(world.common.load(Relaxed), 1, "stranded");
        });
    }

    /// A worker that is wanted again while it leaves has one owner. Breaks if the exchange in `leave` is a
    /// store, or if `leave` and `enlist` have no lock and relaxed orderings.
    #[test]
    fn a_worker_that_is_wanted_again_has_one_owner() {
        loom::model(|| {
            let world = World::new();
            world.roster.dismiss(1);
            let leaver = {
                let world = world.clone();
                thread::spawn(move || world.leave())
            };
            let ours = world.roster.enlist(1) == Enlisted::Ours;
            if ours {
                // SAFETY: nobody else has the worker.
                unsafe { world.data.put(world.data.take() + 10) };
            }
            let left = leaver.join().unwrap();
            assert_eq!(left, ours);
            assert!(world.roster.is_active(1));
            assert_eq!(world.roster.span(), 2);
        });
    }

    /// A deadline in a wheel that is orphaned is looked at by its guardian, which falls asleep meanwhile, though the
    /// number of workers changes as well: worker 3 leaves, with a deadline, and 3 workers become 2. Breaks if
    /// the leaver wakes no guardian, or without its fence; or if who changes the count does not wake.
    #[test]
    fn no_orphaned_deadline_is_slept_over() {
        use super::super::idle::Idle;
        struct Wheels {
            roster: Roster,
            idle: Idle,
            next: AtomicU32,
            woken: [AtomicU32; 2],
        }
        impl Wheels {
            fn wake(&self, worker: usize) {
                fence(SeqCst);
                if worker < 2 && self.idle.claim(worker) {
                    self.woken[worker].store(1, Relaxed);
                }
            }
            /// Falls asleep. Returns whether it watches the wheel, which it does until it is woken.
            fn park(&self, worker: usize) -> bool {
                self.idle.prepare_park(worker, false);
                self.roster
                    .orphans()
                    .any(|orphan| self.roster.guardian(orphan) == worker)
                    && self.next.load(Relaxed) > 0
            }
        }
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(|| {
            let wheels = Arc::new(Wheels {
                roster: Roster::new(3, 4),
                idle: Idle::new(),
                next: AtomicU32::new(0),
                woken: std::array::from_fn(|_| AtomicU32::new(0)),
            });
            let resizer = {
                let wheels = wheels.clone();
                thread::spawn(move || {
                    wheels.roster.set_active(2);
                    (0..2).for_each(|worker| wheels.wake(worker));
                })
            };
            let leaver = {
                let wheels = wheels.clone();
                thread::spawn(move || {
                    wheels.next.store(1, Relaxed);
                    wheels.roster.orphan(3);
                    fence(SeqCst);
                    let guardian = wheels.roster.guardian(3);
                    wheels.wake(guardian);
                })
            };
            // Worker 0 guards it among three, worker 1 among two.
            let watches = wheels.park(1);
            resizer.join().unwrap();
            leaver.join().unwrap();
            assert_eq!(wheels.roster.guardian(3), 1);
            assert!(watches || wheels.woken[1].load(Relaxed) > 0, "slept over");
        });
    }
}
