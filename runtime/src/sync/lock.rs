//! A lock for a few instructions, never for a wait.
//!
//! Taking it is one exchange and giving it back one store, half of what a lock costs that can put
//! its waiters to sleep. So what is done under it must be short and must not be foreign: values are
//! moved, not dropped, and wakers are called after it. Whoever finds it taken spins a little and then
//! gives the processor to other threads, one of which may be the holder.
//!
//! Whoever holds one is in a [section](crate::scheduler::threads::section): the thread is neither stopped nor
//! robbed of its worker, or all others would spin for as long.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::primitives::{AtomicU32, const_unless_loom};
use crate::scheduler::threads::section;

const FREE: u32 = 0;
const TAKEN: u32 = 1;

/// Rounds of spinning, each twice as long as the one before, before the processor is given away.
/// 127 pauses in all, some microseconds: several times what is done under the lock.
const SPIN_ROUNDS: u32 = 7;

/// See the module's text.
pub(crate) struct Lock<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the cell blocks the automatic one; the word lets one thread at a time reach the value, which
// then is as good as sent to it.
unsafe impl<T: Send> Sync for Lock<T> {}

/// Holds the lock.
pub(crate) struct Guard<'a, T>(&'a Lock<T>);

impl<T> Lock<T> {
    const_unless_loom! {
        pub(crate) fn new(value: T) -> Lock<T> {
            Lock {
                word: AtomicU32::new(FREE),
                value: UnsafeCell::new(value),
            }
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.acquire();
        Guard(self)
    }

    /// Takes the lock if nobody has it.
    #[inline]
    #[cfg_attr(portable, allow(dead_code, reason = "for the monitor"))]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        section::raise();
        if self.try_acquire() {
            return Some(Guard(self));
        }
        section::lower();
        None
    }

    /// Takes the lock without a guard, for those who hold several at once.
    #[inline]
    pub(crate) fn acquire(&self) {
        section::raise();
        if !self.try_acquire() {
            self.acquire_slowly();
        }
    }

    #[inline]
    fn try_acquire(&self) -> bool {
        // Acquire pairs with the store in `release`: what the last holder did to the value is
        // visible.
        self.word
            .compare_exchange(FREE, TAKEN, Acquire, Relaxed)
            .is_ok()
    }

    #[cold]
    fn acquire_slowly(&self) {
        let mut round = 0;
        loop {
            // A plain load while it is taken: an exchange would take the line from the holder.
            if self.word.load(Relaxed) == FREE && self.try_acquire() {
                return;
            }
            if round < SPIN_ROUNDS {
                for _ in 0..1 << round {
                    std::hint::spin_loop();
                }
                round += 1;
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Gives the lock back: on the same side of a switch as it was taken, or after [`section::adopt`] on the
    /// other.
    ///
    /// # Safety
    /// 1. Exclusive: the caller took it with [`acquire`](Self::acquire), and no reference of
    ///    [`get`](Self::get) lives on.
    #[inline]
    pub(crate) unsafe fn release(&self) {
        // Release pairs with the acquire exchange of the next holder.
        self.word.store(FREE, Release);
        section::lower();
    }

    /// What the lock protects.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the lock, and no other reference of this function lives.
    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "exclusive by the lock, says the contract"
    )]
    pub(crate) unsafe fn get(&self) -> &mut T {
        // SAFETY: 1 by the caller.
        unsafe { &mut *self.value.get() }
    }
}

impl<T> Guard<'_, T> {
    /// Leaves the lock taken: somebody else gives it back with [`Lock::release`].
    #[inline]
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: 1: this guard holds the lock, and lends it by its own borrow.
        unsafe { self.0.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: 1: as above.
        unsafe { self.0.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: 1: this guard holds the lock, and its references end with it.
        unsafe { self.0.release() };
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::Place;
    use loom::sync::Arc;
    use loom::thread;

    /// One holder at a time, who sees what the last one wrote. Breaks if the store in `release` or
    /// the exchange in `try_acquire` is relaxed, or if that is a load and a store.
    #[test]
    fn the_lock_has_one_holder() {
        loom::model(|| {
            let lock = Arc::new(Lock::new(Place::<u32>::new()));
            // SAFETY: nobody else knows the lock yet.
            unsafe { lock.get().put(0) };
            let other = {
                let lock = lock.clone();
                thread::spawn(move || add_one(&lock))
            };
            let mine = add_one(&lock);
            let theirs = other.join().unwrap();
            // SAFETY: the other thread has ended.
            assert_eq!(unsafe { lock.get().take() }, mine + theirs);
        });
    }

    /// Spinning would have no end in a model, so a lock that is taken is let be.
    fn add_one(lock: &Lock<Place<u32>>) -> u32 {
        if !lock.try_acquire() {
            return 0;
        }
        // SAFETY: we hold the lock.
        unsafe {
            let place = lock.get();
            let count = place.take();
            place.put(count + 1);
            lock.release();
        }
        1
    }
}
