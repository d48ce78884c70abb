//! Fresh routines that found no stack, oldest first, and who lets them try again.
//!
//! Why there was none decides what ends the wait:
//!
//! - *The limit.* A stack that comes back ends it. The worker that was refused queues its routine
//!   and then looks at the room once more; a worker that gives a stack back frees the room and then
//!   looks at the queue ([`StackWaiters::is_empty`]). Both sides are sequentially consistent, so at
//!   least one sees the other (Dekker's pattern), and lets the oldest try.
//! - *The system* refused memory or a guard. No event tells when that is over, and the stacks that
//!   are free may lie warm in the pool of a worker that sleeps. So every worker that would sleep
//!   lets the oldest try now and then, with its own pool; the first one that succeeds lets the next
//!   one try at once. If the system refuses though no stack is in use, nothing that this runtime
//!   does will change that, and the routine fails; not so where what is missing is counted for the
//!   process ([`OutOfStacks::may_heal_elsewhere`](crate::stack::OutOfStacks)), because another runtime may have it.
//!
//! The queue knows no routines, so that the model checker can run it.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::primitives::{AtomicU64, Mutex, MutexGuard, between_dekker_halves};
use crate::routine::RoutineRef;

/// See the module's text.
pub(crate) struct StackWaiters<T = RoutineRef> {
    queue: Mutex<VecDeque<T>>,
    len: AtomicU64,
    /// Whether the system refused one of those in the queue. Stays until the queue is empty.
    by_system: AtomicBool,
}

impl<T> StackWaiters<T> {
    pub(crate) fn new() -> StackWaiters<T> {
        StackWaiters {
            queue: Mutex::new(VecDeque::new()),
            len: AtomicU64::new(0),
            by_system: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        // Nothing in here panics while the lock is held.
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Queues one that found no stack. Afterwards the caller must look for room once more.
    pub(crate) fn push(&self, waiter: T, by_system: bool) {
        let mut queue = self.lock();
        queue.push_back(waiter);
        if by_system {
            self.by_system.store(true, Relaxed);
        }
        // SeqCst: length first, room after (`StackArena::has_room`); partner is `is_empty`, asked
        // after a stack went back.
        self.len.store(queue.len() as u64, SeqCst);
        drop(queue);
        between_dekker_halves();
    }

    /// Whether nobody waits. To be asked after a stack was given back.
    pub(crate) fn is_empty(&self) -> bool {
        // SeqCst: see `push`; our own half is the subtraction in `StackArena::release`.
        self.len.load(SeqCst) == 0
    }

    /// Routines waiting.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Relaxed)
    }

    /// Whether one may be waiting that no event of this runtime need ever wake.
    pub(crate) fn wait_for_system(&self) -> bool {
        // Relaxed: whoever misses a push for a moment does not matter, because the worker that
        // pushed asks before it sleeps.
        self.by_system.load(Relaxed)
    }

    /// Takes the oldest one: it may try again.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut queue = self.lock();
        let first = queue.pop_front();
        if queue.is_empty() {
            self.by_system.store(false, Relaxed);
        }
        // SeqCst as in `push`, in whose order `is_empty` must find the stores.
        self.len.store(queue.len() as u64, SeqCst);
        first
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::StackWaiters;
    use crate::primitives::{AtomicU64, between_dekker_halves};
    use loom::sync::Arc;
    use loom::thread;
    use std::sync::atomic::Ordering::SeqCst;

    /// One stack, in use by a routine that ends while another one is refused: the other one gets its
    /// second try, from exactly one side. Breaks without `between_dekker_halves` on either side,
    /// which is to say without sequential consistency, and if the length is looked at before the
    /// room is freed.
    #[test]
    fn a_waiter_gets_the_stack_that_comes_back() {
        loom::model(|| {
            let shared = Arc::new((StackWaiters::<u32>::new(), AtomicU64::new(1)));
            let giver = {
                let shared = shared.clone();
                thread::spawn(move || {
                    // `StackArena::release`.
                    shared.1.fetch_sub(1, SeqCst);
                    between_dekker_halves();
                    // `WorkerCore::take_stack_back`.
                    (!shared.0.is_empty()).then(|| shared.0.pop()).flatten()
                })
            };
            // `StackArena::admit` has refused us.
            shared.0.push(7, false);
            // `StackArena::has_room`.
            let mine = (shared.1.load(SeqCst) < 1)
                .then(|| shared.0.pop())
                .flatten();
            let theirs = giver.join().unwrap();
            assert_eq!(mine.or(theirs), Some(7));
            assert!(mine.is_none() || theirs.is_none());
        });
    }
}
