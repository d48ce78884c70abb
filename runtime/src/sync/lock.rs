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
use crate::scheduler::threads::Here;
use crate::scheduler::threads::section::{self, Section};

const FREE: u32 = 0;
const TAKEN: u32 = 1;

/// Rounds of spinning, each twice as long as the one before, before the processor is given away.
/// 127 pauses in all, some microseconds: several times what is done under the lock.
const SPIN_ROUNDS: u32 = 7;

/// See the module's text.
pub(crate) struct Lock<T> {
    word: Word,
    value: UnsafeCell<T>,
}

/// The lock apart from what it protects.
pub(crate) struct Word(Latch);

#[cfg(not(loom))]
type Latch = SpinWord;
#[cfg(loom)]
type Latch = crate::primitives::LoomWord;

/// Free or taken.
#[cfg_attr(loom, allow(dead_code, reason = "modelled apart"))]
struct SpinWord(AtomicU32);

// SAFETY: the cell blocks the automatic one; the word lets one thread at a time reach the value, which
// then is as good as sent to it.
unsafe impl<T: Send> Sync for Lock<T> {}

/// Holds the lock.
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
    /// Ends after the lock was given back.
    _section: Section,
}

impl<T> Lock<T> {
    const_unless_loom! {
        pub(crate) fn new(value: T) -> Lock<T> {
            Lock {
                word: Word(Latch::new()),
                value: UnsafeCell::new(value),
            }
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.lock_here(Here::find())
    }

    /// The same for a caller that knows its thread.
    #[inline]
    pub(crate) fn lock_here(&self, here: Here) -> Guard<'_, T> {
        let section = Section::enter_here(here);
        self.word.0.close();
        Guard {
            lock: self,
            _section: section,
        }
    }

    /// Takes the lock if nobody has it.
    #[inline]
    #[cfg_attr(portable, allow(dead_code, reason = "for the monitor"))]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        let section = Section::enter();
        self.word.0.try_close().then_some(Guard {
            lock: self,
            _section: section,
        })
    }

    /// The lock itself, for those who hold several at once, or over a switch.
    #[inline]
    pub(crate) fn word(&self) -> &Word {
        &self.word
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

impl Word {
    /// Takes the lock without a guard.
    #[inline]
    pub(crate) fn acquire(&self) {
        section::raise();
        self.0.close();
    }

    /// Gives the lock back, on the same side of a switch as it was taken.
    ///
    /// # Safety
    /// 1. Exclusive: the caller took it with [`acquire`](Self::acquire), or kept its guard, and no reference of
    ///    [`Lock::get`] lives on.
    #[inline]
    pub(crate) unsafe fn release(&self) {
        self.0.open();
        section::lower();
    }

    /// The same in scheduler context, for the routine that took it and has suspended since: its sections have ended
    /// with the switch.
    ///
    /// # Safety
    /// 1. Exclusive: as for [`release`](Self::release); the caller acts for the routine.
    #[inline]
    pub(crate) unsafe fn release_after_switch(&self) {
        self.0.open();
    }
}

#[cfg_attr(loom, allow(dead_code, reason = "modelled apart"))]
impl SpinWord {
    const_unless_loom! {
        fn new() -> SpinWord {
            SpinWord(AtomicU32::new(FREE))
        }
    }

    #[inline]
    fn close(&self) {
        if !self.try_close() {
            self.close_slowly();
        }
    }

    #[inline]
    fn try_close(&self) -> bool {
        // Acquire pairs with the store in `open`: what the last holder did to the value is visible.
        self.0
            .compare_exchange(FREE, TAKEN, Acquire, Relaxed)
            .is_ok()
    }

    #[cold]
    fn close_slowly(&self) {
        let mut round = 0;
        loop {
            // A plain load while it is taken: an exchange would take the line from the holder.
            if self.0.load(Relaxed) == FREE && self.try_close() {
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

    #[inline]
    fn open(&self) {
        // Release pairs with the acquire exchange of the next holder.
        self.0.store(FREE, Release);
    }
}

impl<T> Guard<'_, T> {
    /// Leaves the lock taken: somebody else gives it back with [`Word::release`].
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
        unsafe { self.lock.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: 1: as above.
        unsafe { self.lock.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.word.0.open();
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::Place;
    use loom::sync::Arc;
    use loom::thread;

    struct World {
        word: SpinWord,
        place: Place<u32>,
    }

    // SAFETY: the place is touched by whoever holds the lock, which is what the model checks.
    unsafe impl Sync for World {}
    // SAFETY: as for `Sync`.
    unsafe impl Send for World {}

    /// One holder at a time, who sees what the last one wrote. Breaks if the store in `open` or
    /// the exchange in `try_close` is relaxed, or if that is a load and a store.
    #[test]
    fn the_lock_has_one_holder() {
        loom::model(|| {
            let world = World {
                word: SpinWord::new(),
                place: Place::new(),
            };
            // SAFETY: nobody else knows the lock yet.
            unsafe { world.place.put(0) };
            let world = Arc::new(world);
            let other = {
                let world = world.clone();
                thread::spawn(move || add_one(&world))
            };
            let mine = add_one(&world);
            let theirs = other.join().unwrap();
            // SAFETY: the other thread has ended.
            assert_eq!(unsafe { world.place.take() }, mine + theirs);
        });
    }

    /// Spinning would have no end in a model, so a lock that is taken is let be.
    fn add_one(world: &World) -> u32 {
        if !world.word.try_close() {
            return 0;
        }
        // SAFETY: we hold the lock.
        unsafe {
            let count = world.place.take();
            world.place.put(count + 1);
        }
        world.word.open();
        1
    }
}
