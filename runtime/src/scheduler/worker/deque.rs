//! The common work of one worker: what it takes itself, and what others may steal.
//!
//! A routine that starts needs a stack, and keeps it while it waits for the routines that it has spawned.
//! If all start in the order in which they were spawned, a tree of routines is run level by level: of a
//! million leaves 111,000 parents have a stack at one time, and each faults its pages in. So there is
//! a queue for each generation. The worker takes from the *youngest*, and runs a tree branch by branch, as
//! a sequential program would; thieves take from the *oldest*, which has most below it. Within a
//! generation both take what came first.
//!
//! What a fresh routine spawns in its first turn is a generation after its own; the last of them holds all
//! that would come after it. What comes from elsewhere (futures between two turns, loot) has a
//! queue of its own, which takes turns with these; and now and then a worker takes from the queues in
//! rotation ([`Deque::pop_in_rotation`]), so that none starves another.
//!
//! Rejected: one slot for the newest, as Go has (of each parent's children only the last would run at
//! once, and the others after all their cousins); newest first within a generation, too (of four senders
//! and four receivers, spawned in this order, a thief got the senders and the worker the receivers, and
//! each value went from one processor to the other: 130 ns instead of 30).

use std::array::from_fn;
use std::cell::Cell;

use crossbeam_deque::{Steal, Stealer, Worker};

use crate::routine::RoutineRef;

/// The queue for what comes from elsewhere, and one for each generation: of a tree of a million leaves, ten
/// below each parent, then 60 have a stack at one time.
const QUEUES: usize = 8;
const ELSEWHERE: usize = 0;

/// The worker's side.
pub(crate) struct Deque {
    queues: [Worker<RoutineRef>; QUEUES],
    /// A bit for each queue that may hold something. None is missing; thieves may have emptied others.
    filled: Cell<u32>,
    /// The queue that the running routine came from, if it is a fresh one.
    generation: Cell<usize>,
    elsewhere_first: Cell<bool>,
    rotation: Cell<usize>,
}

/// The others' side.
#[derive(Debug)]
pub(crate) struct Stealers([Stealer<RoutineRef>; QUEUES]);

impl Deque {
    pub(crate) fn new() -> Deque {
        Deque {
            queues: from_fn(|_| Worker::new_fifo()),
            filled: Cell::new(0),
            generation: Cell::new(ELSEWHERE),
            elsewhere_first: Cell::new(false),
            rotation: Cell::new(0),
        }
    }

    pub(crate) fn stealers(&self) -> Stealers {
        Stealers(from_fn(|queue| self.queues[queue].stealer()))
    }

    /// Adds a routine that the running one has spawned.
    #[inline]
    pub(super) fn push_fresh(&self, routine: RoutineRef) {
        self.push_to(QUEUES.min(self.generation.get() + 2) - 1, routine);
    }

    /// Adds any other.
    #[inline]
    pub(super) fn push(&self, routine: RoutineRef) {
        self.push_to(ELSEWHERE, routine);
    }

    #[inline]
    fn push_to(&self, queue: usize, routine: RoutineRef) {
        self.queues[queue].push(routine);
        self.filled.set(self.filled.get() | 1 << queue);
    }

    /// The running routine is none that was taken from here.
    #[inline]
    pub(super) fn forget_generation(&self) {
        self.generation.set(ELSEWHERE);
    }

    /// What was spawned goes before what comes from elsewhere, next time.
    #[inline]
    pub(super) fn fresh_comes_next(&self) {
        self.elsewhere_first.set(true);
    }

    /// The next one for the worker itself.
    #[inline]
    pub(super) fn pop(&self) -> Option<RoutineRef> {
        if self.filled.get() == 0 {
            return None;
        }
        self.pop_some()
    }

    fn pop_some(&self) -> Option<RoutineRef> {
        let elsewhere_first = !self.elsewhere_first.get();
        self.elsewhere_first.set(elsewhere_first);
        if elsewhere_first && let Some(routine) = self.pop_from(ELSEWHERE) {
            return Some(routine);
        }
        loop {
            let youngest = self.filled.get().checked_ilog2()?;
            if let Some(routine) = self.pop_from(youngest as usize) {
                return Some(routine);
            }
        }
    }

    /// One of a queue that others could starve.
    pub(super) fn pop_in_rotation(&self) -> Option<RoutineRef> {
        let first = self.rotation.get();
        self.rotation.set((first + 1) % QUEUES);
        (first..QUEUES)
            .chain(0..first)
            .find_map(|queue| self.pop_from(queue))
    }

    fn pop_from(&self, queue: usize) -> Option<RoutineRef> {
        let bit = 1 << queue;
        if self.filled.get() & bit == 0 {
            return None;
        }
        let routine = self.queues[queue].pop();
        match routine {
            Some(_) => self.generation.set(queue),
            None => self.filled.set(self.filled.get() & !bit),
        }
        routine
    }

    /// Whether fresh routines may wait that were spawned here.
    #[inline]
    pub(super) fn has_fresh(&self) -> bool {
        self.filled.get() >> (ELSEWHERE + 1) != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filled.get() == 0 || self.queues.iter().all(Worker::is_empty)
    }

    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(Worker::len).sum()
    }
}

impl Stealers {
    /// Takes at most `limit` routines, and at most half, of the oldest queue that has some: one is returned,
    /// the others go into `loot`.
    pub(crate) fn steal(&self, loot: &Worker<RoutineRef>, limit: usize) -> Steal<RoutineRef> {
        let some = self.0.iter().filter(|stealer| !stealer.is_empty());
        some.map(|stealer| stealer.steal_batch_with_limit_and_pop(loot, limit))
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Stealer::is_empty)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Stealer::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

    use super::*;

    /// A routine that is none: queues look at no routine.
    fn routine(number: usize) -> RoutineRef {
        // SAFETY: nobody follows it.
        unsafe { RoutineRef::from_ptr(std::ptr::without_provenance_mut(number * 256)) }
    }

    fn number(routine: RoutineRef) -> usize {
        routine.as_ptr().addr() / 256
    }

    #[test]
    fn the_worker_takes_from_the_youngest_and_thieves_from_the_oldest() {
        let deque = Deque::new();
        let stealers = deque.stealers();
        let pop = || deque.pop().map(number);
        [1, 2, 3]
            .into_iter()
            .for_each(|n| deque.push_fresh(routine(n)));
        assert_eq!(pop(), Some(1));
        [11, 12]
            .into_iter()
            .for_each(|n| deque.push_fresh(routine(n)));
        assert_eq!(pop(), Some(11));
        deque.push_fresh(routine(111));
        let loot = Worker::new_fifo();
        assert_eq!(stealers.len(), 4);
        let stolen = |limit| match stealers.steal(&loot, limit) {
            Steal::Success(routine) => number(routine),
            _ => panic!("nothing to steal"),
        };
        assert_eq!(stolen(1), 2);
        assert_eq!(pop(), Some(111));
        // It blocks, and what was spawned by a turn that is not its first is of the first generation.
        deque.forget_generation();
        deque.push_fresh(routine(4));
        assert_eq!(pop(), Some(12));
        deque.push(routine(5));
        assert_eq!([stolen(1), stolen(1)], [5, 3]);
        assert_eq!((pop(), pop()), (Some(4), None));
        assert!(deque.is_empty() && stealers.is_empty());
    }

    /// A chain longer than there are generations, beside one that waits: the rotation comes to it.
    #[test]
    fn no_queue_starves_another() {
        let deque = Deque::new();
        [1, 2]
            .into_iter()
            .for_each(|n| deque.push_fresh(routine(n)));
        for n in 3..100 {
            assert_eq!(
                deque.pop().map(number),
                Some(if n == 3 { 1 } else { n - 1 })
            );
            deque.push_fresh(routine(n));
        }
        let mut rotated = Vec::new();
        for n in 100..100 + QUEUES {
            rotated.push(deque.pop_in_rotation().map(number));
            deque.push_fresh(routine(n));
        }
        assert!(rotated.contains(&Some(2)), "{rotated:?}");
    }

    /// Under thieves, each routine comes out once.
    #[test]
    fn nothing_is_lost_or_doubled() {
        const ALL: usize = 50_000;
        let deque = Deque::new();
        let stealers = deque.stealers();
        let seen: Vec<AtomicU32> = (0..ALL).map(|_| AtomicU32::new(0)).collect();
        let note = |routine| seen[number(routine) - 1].fetch_add(1, Relaxed);
        let over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    let loot = Worker::new_fifo();
                    while !over.load(Relaxed) || !stealers.is_empty() {
                        if let Steal::Success(routine) = stealers.steal(&loot, 4) {
                            note(routine);
                        }
                        while let Some(routine) = loot.pop() {
                            note(routine);
                        }
                    }
                });
            }
            for n in 1..=ALL {
                match n % 7 {
                    0 => deque.push(routine(n)),
                    _ => deque.push_fresh(routine(n)),
                }
                match n % 5 {
                    0 | 1 => drop(deque.pop().map(note)),
                    2 => drop(deque.pop_in_rotation().map(note)),
                    3 => deque.forget_generation(),
                    _ => {}
                }
            }
            while let Some(routine) = deque.pop() {
                note(routine);
            }
            over.store(true, Relaxed);
        });
        assert!(seen.iter().all(|times| times.load(Relaxed) == 1));
    }
}
