//! A worker's deadlines: a heap under a lock that is hardly ever contended.
//!
//! The worker that a routine sleeps on holds its deadline; any thread may add one. A wait that ended
//! early leaves its entry behind: the entry names the wait by its ticket, so it finds nothing when
//! its time comes, and a heap that has doubled since it was last swept drops such entries. The
//! earliest deadline is published, so that looking whether something is due takes one load.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;

use crate::routine::life::{CancelLevel, Ticket};
use crate::routine::{Held, RoutineRef, body, waker};
use crate::scheduler::ready;
use crate::snapshot::{RoutineState, Source};

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// Entries below which a sweep is not worth its time.
const SWEEP_MIN: usize = 1024;

/// See the module's text.
pub(crate) struct Timers {
    heap: Mutex<Heap>,
    next: AtomicU64,
}

struct Heap {
    entries: BinaryHeap<Reverse<Entry>>,
    inserted: u64,
    sweep_at: usize,
    /// The runtime has ended: nothing is due any more.
    closed: bool,
}

/// What happens at a deadline.
pub(crate) enum Due {
    /// The routine's sleep is over, if it is still the one that the ticket names. Holds no
    /// reference: the entry lies with the routine's own home, so while it is served or swept by that
    /// worker the routine cannot end, and a block that was recycled has another `id`.
    Sleep {
        routine: RoutineRef,
        id: u64,
        ticket: Ticket,
    },
    /// A future's waker.
    Wake(Waker),
    /// The grace time of a cancel is over.
    Abort(Held),
}

struct Entry {
    at: u64,
    /// Order of insertion, so that equal deadlines are served in order.
    seq: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers {
            heap: Mutex::new(Heap {
                entries: BinaryHeap::new(),
                inserted: 0,
                sweep_at: SWEEP_MIN,
                closed: false,
            }),
            next: AtomicU64::new(NEVER),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heap> {
        // Nothing in here panics while the lock is held.
        self.heap.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The earliest deadline, in nanoseconds since process start.
    pub(crate) fn next(&self) -> u64 {
        // Acquire pairs with the release store in `publish`.
        self.next.load(Acquire)
    }

    /// Adds a deadline. Returns whether it is the earliest now.
    pub(crate) fn insert(&self, at: u64, due: Due) -> bool {
        let mut heap = self.lock();
        if heap.closed {
            drop(heap);
            // Foreign perhaps, so without the lock.
            drop(due);
            return false;
        }
        if heap.entries.len() >= heap.sweep_at {
            heap.entries.retain(|Reverse(entry)| entry.due.is_wanted());
            heap.sweep_at = SWEEP_MIN.max(2 * heap.entries.len());
        }
        let seq = heap.inserted;
        heap.inserted += 1;
        heap.entries.push(Reverse(Entry { at, seq, due }));
        let earliest = at < self.next.load(Relaxed);
        self.publish(&heap);
        earliest
    }

    /// Serves what is due. Returns how many entries that were.
    ///
    /// Each entry is served without the lock: a wake may add a deadline.
    pub(crate) fn serve(&self, now: u64) -> usize {
        let mut served = 0;
        while self.next() <= now {
            let Some(due) = self.pop(now) else { break };
            due.serve();
            served += 1;
        }
        served
    }

    fn pop(&self, now: u64) -> Option<Due> {
        let mut heap = self.lock();
        let due = heap
            .entries
            .peek()
            .is_some_and(|Reverse(first)| first.at <= now)
            .then(|| heap.entries.pop())
            .flatten();
        self.publish(&heap);
        due.map(|Reverse(entry)| entry.due)
    }

    fn publish(&self, heap: &Heap) {
        let next = heap.entries.peek().map_or(NEVER, |Reverse(first)| first.at);
        // Release pairs with the acquire load in `next`.
        self.next.store(next, Release);
    }

    /// Drops every entry, and each one added from now on; for a runtime that has ended. What they
    /// hold would otherwise keep the runtime's memory for ever.
    pub(crate) fn close(&self) {
        let entries = {
            let mut heap = self.lock();
            heap.closed = true;
            let entries = std::mem::take(&mut heap.entries);
            self.publish(&heap);
            entries
        };
        for Reverse(entry) in entries {
            body::swallow(move || drop(entry));
        }
    }
}

impl Due {
    fn is_wanted(&self) -> bool {
        match self {
            Due::Sleep {
                routine,
                id,
                ticket,
            } => {
                let header = routine.header();
                header.id.load(Relaxed) == *id
                    && header.life.ticket() == *ticket
                    && matches!(header.life.state(), RoutineState::Blocked(_))
            }
            Due::Wake(_) => true,
            Due::Abort(held) => !held.routine().header().join.is_done(),
        }
    }

    fn serve(self) {
        match self {
            Due::Sleep {
                routine,
                id,
                ticket,
            } => {
                if routine.header().id.load(Relaxed) == id {
                    ready::ready(routine, ticket, Source::Timer);
                }
            }
            Due::Wake(waker) => match waker::routine_of(&waker) {
                Some(routine) => waker::notify(routine, Source::Timer),
                // A foreign waker may run any code, which must not happen between turns: a
                // routine of its own does it.
                None => crate::spawn::spawn_internal("waker", move || waker.wake()),
            },
            Due::Abort(held) => ready::cancel(held.routine(), CancelLevel::Told),
        }
    }
}
