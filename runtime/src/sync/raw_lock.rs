//! A lock for one writer or many readers, apart from what it protects: one word, and a queue of those
//! who wait. [`Mutex`](super::Mutex) uses the writer's half, [`RwLock`](super::RwLock) all of it.
//!
//! ```text
//!   31           4      3       2        1        0
//!  ┌──────────────┬────────┬───────┬────────┬────────┐
//!  │ readers      │ CLOSED │ WOKEN │ PARKED │ WRITER │
//!  └──────────────┴────────┴───────┴────────┴────────┘
//! ```
//!
//! Without waiters a lock is one exchange and an unlock one subtraction. **PARKED** says that the queue may
//! hold somebody; it changes under the queue's lock only. Who unlocks and finds it set takes the lock again,
//! if nobody was faster, to pass it on:
//!
//! - To a *reader* who is first: he and the readers right behind him hold the lock when they wake.
//! - To a *writer* who is first and has waited for 1 ms: he holds the lock when he wakes, so nobody can
//!   come before him.
//! - A younger writer is only woken, and the lock is free: whoever runs takes it, which keeps a lock
//!   that many want from changing threads for each use. **WOKEN** says that such a writer is on his
//!   way; nobody wakes another one then. If he finds the lock taken, he is first in the queue again,
//!   and his age counts from his first attempt.
//!
//! If somebody was faster, he passes the lock on when he unlocks, and might again be too slow. So who is too
//! slow while the first has waited for long sets **CLOSED**: from then on the lock is taken by way of the
//! queue only, and the next one to unlock can pass it on.
//!
//! **Writers come first**: readers wait while anybody waits, so a stream of readers cannot keep a writer
//! out. **Readers do not starve**: the queue is served in order, and who has waited for 1 ms is given
//! the lock.
//!
//! **Nothing is lost** when a waiter gives up (time, cancel, drop): he calls [`nudge`](RawLock::nudge),
//! because he may have been the woken one that all others relied on, or the writer because of whom
//! readers wait. The rule that all steps keep: when PARKED is set, somebody holds the lock, or WOKEN is
//! set, or somebody is inside `see_to_parked`.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::primitives::{AtomicU32, AtomicU64, ShortGuard, ShortLock, const_unless_loom};
use crate::sync::holder::{Holder, Owner};
use crate::sync::wait_queue::{Claimed, Node, Queue, Wait};

const WRITER: u32 = 1;
const PARKED: u32 = 1 << 1;
const WOKEN: u32 = 1 << 2;
const CLOSED: u32 = 1 << 3;
const READER: u32 = 1 << 4;
const READERS: u32 = !(READER - 1);
/// From so many readers on, 2^27, others wait: forgotten guards can come to that, and the count must not
/// run over. Those who are let in from the queue may go beyond; they have a frame each.
const READERS_MAX: u32 = 1 << 31;

/// Readers that are let in before their wakers are called, without the queue's lock.
const BATCH: usize = 16;

/// See the module's text. `S` sleeps in the queue.
pub(crate) struct RawLock<S: Sleeps> {
    word: AtomicU32,
    queue: ShortLock<Waiters<S>>,
    /// The writer, while there is one. A moment late after a lock, never after an unlock.
    owner: AtomicU64,
}

type Waiters<S> = Queue<OrderPtr, S>;

/// Who sleeps in a queue, as far as a lock must know.
pub(crate) trait Sleeps: Sized {
    type Rouse;

    /// What wakes the sleeper even when its frame is gone.
    fn leave_frame(self) -> Self::Rouse;

    /// Wakes it. Under no lock.
    fn rouse(rouse: Self::Rouse);

    /// Whether a wait that began then is so long that the lock is to be handed over.
    fn is_long(since: u64) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Read,
    Write,
}

/// What a waiter wants, and what it got. Lies in its frame.
pub(crate) struct Order {
    pub(crate) mode: Mode,
    holder: Holder,
    /// When it began to wait, in nanoseconds since process start. Written by the waiter before it enters
    /// the queue.
    since: Cell<u64>,
    /// It was woken to try again, and WOKEN is its own to clear.
    woken: Cell<bool>,
    /// It was first in the queue before.
    again: Cell<bool>,
    /// The lock was handed to it. Written by the claimer, or by the waiter under the queue's lock.
    granted: Cell<bool>,
}

/// An order in the frame of a waiter.
#[derive(Clone, Copy)]
pub(crate) struct OrderPtr(NonNull<Order>);

// SAFETY: it is followed under the queue's lock, while the waiter stands in the queue or is claimed.
unsafe impl Send for OrderPtr {}

impl Order {
    pub(crate) fn new(mode: Mode, holder: Holder, since: u64) -> Order {
        Order {
            mode,
            holder,
            since: Cell::new(since),
            woken: Cell::new(false),
            again: Cell::new(false),
            granted: Cell::new(false),
        }
    }

    /// Of an order whose wait is done: whether the lock is the waiter's. Otherwise it was woken to try
    /// again.
    pub(crate) fn is_granted(&self) -> bool {
        self.granted.get()
    }

    /// The wait begins now; of an order that is in no queue.
    pub(crate) fn begin(&self, since: u64) {
        self.since.set(since);
    }

    /// The waiter was woken to try again.
    pub(crate) fn try_again(&self) {
        self.woken.set(true);
        self.again.set(true);
    }
}

impl<S: Sleeps> RawLock<S> {
    const_unless_loom! {
        pub(crate) fn new() -> RawLock<S> {
            RawLock {
                word: AtomicU32::new(0),
                queue: ShortLock::new(Queue::new()),
                owner: AtomicU64::new(0),
            }
        }
    }

    /// The queue's lock.
    pub(crate) fn queue(&self) -> &ShortLock<Waiters<S>> {
        &self.queue
    }

    /// The writer, if there is one.
    pub(crate) fn owner(&self) -> Holder {
        Holder(self.owner.load(Relaxed))
    }

    /// How many readers there are.
    pub(crate) fn readers(&self) -> u32 {
        self.word.load(Relaxed) / READER
    }

    /// Those who wait, in their order.
    pub(crate) fn waiters(&self) -> Vec<Owner> {
        let mut waiters = Vec::new();
        // SAFETY: in the queue, and its lock is held.
        let holder = |order: OrderPtr| unsafe { order.0.as_ref() }.holder;
        self.queue
            .lock()
            .for_each(|order| waiters.extend(holder(order).owner()));
        waiters
    }

    /// Takes a lock that nobody holds, also before those who wait.
    #[inline]
    pub(crate) fn try_write(&self, me: Holder) -> bool {
        // Acquire pairs with the releases of all ways to unlock.
        let taken = match self.word.compare_exchange(0, WRITER, Acquire, Relaxed) {
            Ok(_) => true,
            Err(word) => self.try_write_from(word),
        };
        if taken {
            self.owner.store(me.0, Relaxed);
        }
        taken
    }

    fn try_write_from(&self, mut word: u32) -> bool {
        while word & (WRITER | READERS | CLOSED) == 0 {
            // Acquire: as above.
            match self
                .word
                .compare_exchange_weak(word, word | WRITER, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Whether a writer could take the lock now, without an exchange that would take the line from its
    /// holder; and whether anybody waits.
    pub(crate) fn look(&self) -> (bool, bool) {
        let word = self.word.load(Relaxed);
        (word & (WRITER | READERS | CLOSED) == 0, word & PARKED != 0)
    }

    /// Becomes a reader, if there is no writer and nobody waits.
    #[inline]
    pub(crate) fn try_read(&self) -> bool {
        let mut word = self.word.load(Relaxed);
        while word & (WRITER | PARKED) == 0 && word < READERS_MAX {
            // Acquire: as above.
            match self
                .word
                .compare_exchange_weak(word, word + READER, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Gives a writer's lock back.
    ///
    /// # Safety
    /// 1. Exclusive: the caller is the writer.
    #[inline]
    pub(crate) unsafe fn unlock_write(&self) {
        self.owner.store(0, Relaxed);
        // Release pairs with the acquire of whoever takes the lock next.
        let word = self.word.fetch_sub(WRITER, Release);
        if word & (PARKED | WOKEN) == PARKED {
            self.see_to_parked();
        }
    }

    /// Gives a reader's share back.
    ///
    /// # Safety
    /// 1. Shared: the caller is a reader.
    #[inline]
    pub(crate) unsafe fn unlock_read(&self) {
        // Release: as above; with the readers before us in one release sequence.
        let word = self.word.fetch_sub(READER, Release);
        if word & (READERS | PARKED | WOKEN) == READER | PARKED {
            self.see_to_parked();
        }
    }

    /// The writer becomes a reader. Readers who wait are let in.
    ///
    /// # Safety
    /// 1. Exclusive: the caller is the writer.
    pub(crate) unsafe fn downgrade(&self) {
        self.owner.store(0, Relaxed);
        // Release: what the writer wrote is visible to the other readers.
        let word = self.word.fetch_add(READER - WRITER, Release);
        if word & PARKED != 0 {
            let mut queue = self.queue.lock();
            let first = queue.claim_if(is_reader);
            self.let_in(first, queue);
        }
    }

    /// The writer hands the lock to those who wait, or frees it. WOKEN is clear: it is set here only.
    #[cold]
    fn pass_on(&self) {
        let mut queue = self.queue.lock();
        let Some(first) = queue.claim() else {
            // They have all given up. Release: as above.
            self.word.fetch_and(!(WRITER | PARKED | CLOSED), Release);
            return;
        };
        // SAFETY: a claimed waiter's order is there until `complete`.
        let order = unsafe { first.payload().0.as_ref() };
        if order.mode == Mode::Read {
            // Release: as above.
            self.word.fetch_add(READER - WRITER, Release);
            self.let_in(Some(first), queue);
            // SAFETY: 1: a reader since the line before.
            return unsafe { self.unlock_read() };
        }
        let parked = if queue.is_empty() { 0 } else { PARKED };
        if S::is_long(order.since.get()) {
            order.granted.set(true);
            self.owner.store(order.holder.0, Relaxed);
            let stays = if parked == 0 {
                !(PARKED | CLOSED)
            } else {
                !CLOSED
            };
            self.word.fetch_and(stays, Relaxed);
        } else {
            // A store will do: while we are the writer, and nobody is woken, only the holder of the
            // queue's lock changes the word. Release: as above.
            self.word.store(WOKEN | parked, Release);
        }
        let rouse = first.complete(S::leave_frame);
        drop(queue);
        S::rouse(rouse);
    }

    /// Lets in the claimed reader, and those that follow him in the queue. The caller is a reader, so
    /// there is no writer meanwhile.
    fn let_in<'a>(
        &'a self,
        first: Option<Claimed<OrderPtr, S>>,
        mut queue: ShortGuard<'a, Waiters<S>>,
    ) {
        let mut first = first;
        loop {
            let mut rouse = [const { None }; BATCH];
            let mut count = 0;
            while count < BATCH
                && let Some(reader) = first.take().or_else(|| queue.claim_if(is_reader))
            {
                // Relaxed: the reader comes by `complete`, under the queue's lock.
                self.word.fetch_add(READER, Relaxed);
                // SAFETY: a claimed waiter's order is there until `complete`.
                unsafe { reader.payload().0.as_ref() }.granted.set(true);
                rouse[count] = Some(reader.complete(S::leave_frame));
                count += 1;
            }
            if queue.is_empty() {
                self.word.fetch_and(!(PARKED | CLOSED), Relaxed);
            }
            drop(queue);
            rouse.into_iter().flatten().for_each(S::rouse);
            if count < BATCH {
                return;
            }
            queue = self.queue.lock();
        }
    }

    /// Tries again without waiting, for one who was woken to do so. Only writers are.
    pub(crate) fn retry(&self, order: &Order) -> bool {
        let mut word = self.word.load(Relaxed);
        while word & (WRITER | READERS) == 0 {
            // Acquire: as in `try_write`.
            match self
                .word
                .compare_exchange_weak(word, (word | WRITER) & !WOKEN, Acquire, Relaxed)
            {
                Ok(_) => {
                    self.owner.store(order.holder.0, Relaxed);
                    order.woken.set(false);
                    order.granted.set(true);
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes the lock, or says that the caller is about to enter the queue.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the queue's lock, and enters the queue before it gives it back, if
    ///    this says no.
    pub(crate) unsafe fn attempt(&self, order: &Order) -> bool {
        let mine = if order.woken.get() { WOKEN } else { 0 };
        let mut word = self.word.load(Relaxed);
        loop {
            let (free, taken) = match order.mode {
                Mode::Write => (word & (WRITER | READERS | CLOSED) == 0, word | WRITER),
                Mode::Read => (
                    word & (WRITER | PARKED) == 0 && word < READERS_MAX,
                    word.wrapping_add(READER),
                ),
            };
            let next = if free { taken } else { word | PARKED } & !mine;
            // Acquire: as in `try_write`.
            match self
                .word
                .compare_exchange_weak(word, next, Acquire, Relaxed)
            {
                Ok(_) => {
                    order.woken.set(false);
                    order.granted.set(free);
                    if free && order.mode == Mode::Write {
                        self.owner.store(order.holder.0, Relaxed);
                    }
                    return free;
                }
                Err(now) => word = now,
            }
        }
    }

    /// Enters the queue: at the front, if the waiter was first before.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the queue's lock, under which [`attempt`](Self::attempt) said no.
    ///    The node is in no queue, the wait open and armed.
    /// 2. Alive: as 2 of [`Queue::push`], the order too.
    pub(crate) unsafe fn enter(
        &self,
        node: &Node<OrderPtr, S>,
        wait: &Wait<S>,
        number: u32,
        order: &Order,
    ) {
        let order_ptr = OrderPtr(NonNull::from(order));
        // SAFETY: 1, 2 by the caller.
        unsafe {
            let queue = self.queue.get();
            if order.again.get() {
                queue.push_front(NonNull::from(node), wait, number, order_ptr);
            } else {
                queue.push(NonNull::from(node), wait, number, order_ptr);
            }
        }
    }

    /// Leaves the queue.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the queue's lock. The node is in this queue or in none.
    pub(crate) unsafe fn leave(&self, node: &Node<OrderPtr, S>) {
        // SAFETY: 1 by the caller.
        let queue = unsafe { self.queue.get() };
        // SAFETY: as above.
        unsafe { queue.remove(NonNull::from(node)) };
        let stays = if queue.is_empty() {
            !(PARKED | CLOSED)
        } else {
            !CLOSED
        };
        self.word.fetch_and(stays, Relaxed);
    }

    /// A waiter has given up, and is out of the queue: whoever may go on because of that does.
    pub(crate) fn nudge(&self, order: &Order) {
        if order.woken.replace(false) {
            self.word.fetch_and(!WOKEN, Relaxed);
        }
        self.see_to_parked();
    }

    /// Takes the lock, if waiters are left to themselves, and passes it on.
    #[cold]
    fn see_to_parked(&self) {
        let mut word = self.word.load(Relaxed);
        // Otherwise nobody waits, or somebody woken sees to it.
        while word & (PARKED | WOKEN) == PARKED {
            if word & WRITER != 0 {
                return self.close_if_long();
            }
            let as_writer = word & READERS == 0;
            let next = if as_writer {
                word | WRITER
            } else {
                word + READER
            };
            // Acquire: as in `try_write`.
            match self
                .word
                .compare_exchange_weak(word, next, Acquire, Relaxed)
            {
                Ok(_) if as_writer => return self.pass_on(),
                Ok(_) => {
                    let mut queue = self.queue.lock();
                    let first = queue.claim_if(is_reader);
                    self.let_in(first, queue);
                    // SAFETY: 1: a reader by the exchange.
                    return unsafe { self.unlock_read() };
                }
                Err(now) => word = now,
            }
        }
    }

    /// Somebody else has the lock and will pass it on. If the first has waited for long, that one is to be
    /// the last who comes before it.
    fn close_if_long(&self) {
        let queue = self.queue.lock();
        // SAFETY: in the queue, and its lock is held.
        let since = |order: OrderPtr| unsafe { order.0.as_ref() }.since.get();
        let is_long = queue.first().is_some_and(|order| S::is_long(since(order)));
        // Nobody is woken but under the queue's lock.
        if is_long && self.word.load(Relaxed) & WOKEN == 0 {
            self.word.fetch_or(CLOSED, Relaxed);
        }
    }
}

fn is_reader(order: OrderPtr) -> bool {
    // SAFETY: asked under the queue's lock, of one in the queue; the mode never changes.
    unsafe { order.0.as_ref() }.mode == Mode::Read
}

#[cfg(all(test, loom))]
mod model;
