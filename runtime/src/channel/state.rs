//! What the ends of a channel share.
//!
//! Under the lock, always: if a receiver waits, nothing lies in the buffer and no other caller's
//! sender waits; if a sender waits, the buffer is full. So a value goes straight to the receiver that
//! has waited longest, and where one is taken the value of the longest waiting sender moves up. A
//! closed channel has no waiters. For senders that wait at a soft limit, "full" is that limit.

use std::cell::UnsafeCell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::channel::buffer::Buffer;
use crate::channel::clock::Clock;
use crate::scheduler::explore;
use crate::scheduler::threads::Here;
use crate::scheduler::timers::NEVER;
use crate::sync::lock::{Guard, Lock};
use crate::sync::wait::{Rouse, Sleeper};
use crate::sync::wait_queue::Queue;

/// Where a waiter's value lies or is to lie: in its frame.
pub(crate) type Slot<T> = NonNull<UnsafeCell<Option<T>>>;

/// See the module's text.
pub(crate) struct Chan<T> {
    state: Lock<State<T>>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

pub(crate) struct State<T> {
    buffer: Buffer<T>,
    pub(crate) senders: Queue<Slot<T>, Sleeper>,
    pub(crate) receivers: Queue<Slot<T>, Sleeper>,
    closed: bool,
    high_water: usize,
    clock: Option<Clock<T>>,
}

// SAFETY: the queues' pointers and the slots behind them block the automatic ones. They are followed
// under the lock only, to frames that wait, and only `T`s move between threads by them.
unsafe impl<T: Send> Send for State<T> {}

// A panic under the lock is impossible but for a failed allocation, which aborts: no state that a
// caught panic could show is half made.
impl<T> UnwindSafe for Chan<T> {}
impl<T> RefUnwindSafe for Chan<T> {}

/// Why a value could not be sent now.
pub(crate) enum Refusal<T> {
    Full(T),
    Closed(T),
}

/// Why nothing can be received now.
pub(crate) enum Nothing {
    Yet,
    Ever,
}

impl<T> State<T> {
    /// If `paced`, the soft limit counts as full.
    #[inline(always)]
    pub(crate) fn send(&mut self, value: T, paced: bool) -> Result<Option<Rouse>, Refusal<T>> {
        if self.closed {
            return Err(Refusal::Closed(value));
        }
        if !self.receivers.is_empty() {
            match self.hand_over(value) {
                Ok(rouse) => return Ok(Some(rouse)),
                Err(value) => return self.store(value),
            }
        }
        if paced && !self.buffer.has_soft_room() {
            return Err(Refusal::Full(value));
        }
        self.store(value)
    }

    #[inline]
    fn store(&mut self, value: T) -> Result<Option<Rouse>, Refusal<T>> {
        if !self.buffer.has_room() {
            return Err(Refusal::Full(value));
        }
        self.buffer.push(value);
        self.high_water = self.high_water.max(self.buffer.len());
        Ok(None)
    }

    /// Gives the value to the receiver that has waited longest.
    #[inline(always)]
    fn hand_over(&mut self, value: T) -> Result<Rouse, T> {
        let Some(receiver) = self.receivers.claim() else {
            return Err(value);
        };
        // SAFETY: the slot belongs to the claimer, which we are until `complete`.
        unsafe { *receiver.payload().as_ref().get() = Some(value) };
        Ok(receiver.complete(Sleeper::leave_frame))
    }

    /// Takes the value of the sender that has waited longest.
    #[inline(always)]
    fn take_over(&mut self) -> Option<(T, Rouse)> {
        let sender = self.senders.claim()?;
        // SAFETY: the slot belongs to the claimer, which we are until `complete`.
        let value = unsafe { (*sender.payload().as_ref().get()).take() };
        let rouse = sender.complete(Sleeper::leave_frame);
        Some((value.expect("a waiting sender has a value"), rouse))
    }

    #[inline(always)]
    pub(crate) fn recv(&mut self) -> Result<(T, Option<Rouse>), Nothing> {
        if let Some(value) = self.buffer.pop() {
            let mut rouse = None;
            if !self.senders.is_empty()
                && self.buffer.has_soft_room()
                && let Some((next, sender)) = self.take_over()
            {
                self.buffer.push(next);
                rouse = Some(sender);
            }
            return Ok((value, rouse));
        }
        self.recv_elsewhere()
    }

    #[inline(always)]
    fn recv_elsewhere(&mut self) -> Result<(T, Option<Rouse>), Nothing> {
        if let Some((value, rouse)) = self.take_over() {
            return Ok((value, Some(rouse)));
        }
        if self.closed {
            return Err(Nothing::Ever);
        }
        match self.clock.as_mut().and_then(Clock::take) {
            Some(value) => Ok((value, None)),
            None => Err(Nothing::Yet),
        }
    }

    /// When something comes without a sender.
    pub(crate) fn due(&self) -> u64 {
        self.clock.as_ref().map_or(NEVER, Clock::due)
    }
}

impl<T> Chan<T> {
    /// With one sender and one receiver.
    pub(crate) fn new(buffer: Buffer<T>, clock: Option<Clock<T>>) -> Chan<T> {
        Chan {
            state: Lock::new(State {
                buffer,
                senders: Queue::new(),
                receivers: Queue::new(),
                closed: false,
                high_water: 0,
                clock,
            }),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, State<T>> {
        self.state.lock()
    }

    /// The same for a caller that knows its thread.
    #[inline]
    pub(crate) fn lock_here(&self, here: Here) -> Guard<'_, State<T>> {
        self.state.lock_here(here)
    }

    /// The lock itself, for those who hold several.
    pub(crate) fn raw(&self) -> &Lock<State<T>> {
        &self.state
    }

    #[inline]
    pub(crate) fn send(&self, value: T, paced: bool) -> Result<(), Refusal<T>> {
        explore::point();
        let rouse = self.lock().send(value, paced)?;
        if let Some(rouse) = rouse {
            rouse.rouse();
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn recv(&self) -> Result<T, Nothing> {
        explore::point();
        let received = self.lock().recv();
        let (value, rouse) = received?;
        if let Some(rouse) = rouse {
            rouse.rouse();
        }
        Ok(value)
    }

    /// Takes back what a receiver was given but has not looked at: it is the next again.
    pub(crate) fn give_back(&self, value: T) {
        let mut state = self.lock();
        let rouse = match state.hand_over(value) {
            Ok(rouse) => Some(rouse),
            Err(value) => {
                state.buffer.unpop(value);
                None
            }
        };
        drop(state);
        if let Some(rouse) = rouse {
            rouse.rouse();
        }
    }

    pub(crate) fn close(&self) {
        explore::point();
        self.lock().closed = true;
        // Nobody enters a queue of a closed channel. One at a time: wakers are not called under the
        // lock.
        loop {
            let mut state = self.lock();
            // What the slots hold says the rest: a sender finds its value, a receiver none.
            let waiter = match state.senders.claim() {
                Some(waiter) => Some(waiter),
                None => state.receivers.claim(),
            };
            let rouse = waiter.map(|waiter| waiter.complete(Sleeper::leave_frame));
            drop(state);
            match rouse {
                Some(rouse) => rouse.rouse(),
                None => return,
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn len(&self) -> usize {
        let state = self.lock();
        match &state.clock {
            Some(clock) => usize::from(clock.due() <= crate::time::now_ns()),
            None => state.buffer.len(),
        }
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        self.lock().buffer.capacity()
    }

    /// The soft limit, whether the channel is over it, and how many values were sent beyond it.
    pub(crate) fn soft_limit(&self) -> Option<(usize, bool, u64)> {
        let state = self.lock();
        let (limit, sent_over) = state.buffer.soft_limit()?;
        Some((limit, state.buffer.len() > limit, sent_over))
    }

    pub(crate) fn high_water(&self) -> usize {
        self.lock().high_water
    }

    pub(crate) fn add_sender(&self) {
        // Relaxed: the caller has a sender, so the count cannot reach 0 meanwhile.
        self.senders.fetch_add(1, Relaxed);
    }

    pub(crate) fn drop_sender(&self) {
        // AcqRel: what the other senders did comes before the close. The lock would order it as well.
        if self.senders.fetch_sub(1, AcqRel) == 1 {
            self.close();
        }
    }

    pub(crate) fn add_receiver(&self) {
        // Relaxed: as above.
        self.receivers.fetch_add(1, Relaxed);
    }

    pub(crate) fn drop_receiver(&self) {
        // AcqRel: as above.
        if self.receivers.fetch_sub(1, AcqRel) == 1 {
            self.close();
            // Nobody can receive these. Dropped here, without the lock: destructors are foreign.
            let left = self.lock().buffer.take();
            drop(left);
        }
    }
}
