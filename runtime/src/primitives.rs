//! The one place that chooses between std's primitives and the model checker's.
//!
//! Only the protocols that are model-checked take theirs from here: `routine/life.rs`, `join.rs`,
//! `block_on.rs`, `homes/door.rs`, `scope.rs`, `token/members.rs`, `trace/ring.rs`, in `sync/` `lock.rs`, `wait_queue.rs`,
//! `raw_lock.rs`, `once.rs` and the primitives on `station.rs`, and in `scheduler/` `idle.rs`, `inbox.rs`, `parker.rs`,
//! `roster.rs`, `stack_waiters.rs`, `threads/desk.rs`, `threads/grip.rs` and `timers/mod.rs`. Everything else
//! names std directly.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence,
};

#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};

pub(crate) use const_fn::const_unless_loom;
pub(crate) use futex::Futex;
pub(crate) use place::Place;

pub(crate) use crate::sync::lock::{Guard as ShortGuard, Lock as ShortLock};

#[cfg(loom)]
pub(crate) use loom_word::LoomWord;

/// Stands between the two halves of Dekker's pattern (write mine, read yours) where both are
/// sequentially consistent operations already.
///
/// Nothing in a real build: such operations have one order that all threads agree on. The model
/// checker takes them for acquire and release and knows only fences to be sequentially consistent,
/// so under it this is one.
#[inline(always)]
pub(crate) fn between_dekker_halves() {
    #[cfg(loom)]
    fence(std::sync::atomic::Ordering::SeqCst);
}

/// One that does not spin, which would have no end in a model.
#[cfg(loom)]
mod loom_word {
    use loom::cell::UnsafeCell;
    use loom::sync::{Mutex, MutexGuard};

    pub(crate) struct LoomWord {
        mutex: Mutex<()>,
        /// Of the holder.
        guard: UnsafeCell<Option<MutexGuard<'static, ()>>>,
    }

    // SAFETY: the guard's place is touched by the holder alone.
    unsafe impl Send for LoomWord {}
    // SAFETY: as above.
    unsafe impl Sync for LoomWord {}

    impl LoomWord {
        pub(crate) fn new() -> LoomWord {
            LoomWord {
                mutex: Mutex::new(()),
                guard: UnsafeCell::new(None),
            }
        }

        pub(crate) fn close(&self) {
            self.keep(self.mutex.lock().unwrap());
        }

        pub(crate) fn try_close(&self) -> bool {
            match self.mutex.try_lock() {
                Ok(guard) => {
                    self.keep(guard);
                    true
                }
                Err(_) => false,
            }
        }

        fn keep(&self, guard: MutexGuard<'_, ()>) {
            // SAFETY: only the lifetime changes; the guard goes when the lock is opened, which outlives it.
            let guard = unsafe { std::mem::transmute::<MutexGuard<'_, ()>, _>(guard) };
            // SAFETY: we are the holder.
            self.guard.with_mut(|place| unsafe { *place = Some(guard) });
        }

        pub(crate) fn open(&self) {
            // SAFETY: the caller is the holder.
            drop(self.guard.with_mut(|place| unsafe { (*place).take() }));
        }
    }
}

mod const_fn {
    /// Makes functions `const`, but not under the model checker: there no atomic can be made by a
    /// constant.
    macro_rules! const_unless_loom {
        ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty $body:block)*) => {$(
            #[cfg(not(loom))]
            $(#[$meta])*
            $vis const fn $name($($arg: $ty),*) -> $ret $body

            #[cfg(loom)]
            $(#[$meta])*
            $vis fn $name($($arg: $ty),*) -> $ret $body
        )*};
    }
    pub(crate) use const_unless_loom;
}

/// `len` records of `W` words, all zero. Pages are touched when they are written first.
#[cfg(not(loom))]
pub(crate) fn zeroed_records<const W: usize>(len: usize) -> Box<[[AtomicU64; W]]> {
    // SAFETY: an `AtomicU64` may hold any 64 bits, zeros too.
    unsafe { Box::new_zeroed_slice(len).assume_init() }
}

#[cfg(loom)]
pub(crate) fn zeroed_records<const W: usize>(len: usize) -> Box<[[AtomicU64; W]]> {
    (0..len)
        .map(|_| std::array::from_fn(|_| AtomicU64::new(0)))
        .collect()
}

/// A value that changes hands: a cell without a flag, whose protocol says who may touch it. The
/// model checker fails where two threads do so at once.
#[cfg(not(loom))]
mod place {
    use std::cell::UnsafeCell;
    use std::mem::MaybeUninit;

    pub(crate) struct Place<T>(UnsafeCell<MaybeUninit<T>>);

    impl<T> Place<T> {
        /// An empty place.
        pub(crate) fn new() -> Place<T> {
            Place(UnsafeCell::new(MaybeUninit::uninit()))
        }

        /// Stores a value.
        ///
        /// # Safety
        /// 1. Exclusive: the protocol gives the place to the caller, and it is empty.
        pub(crate) unsafe fn put(&self, value: T) {
            // SAFETY: 1 by the caller.
            unsafe { (*self.0.get()).write(value) };
        }

        /// Moves the value out.
        ///
        /// # Safety
        /// 1. Exclusive: the protocol gives the place to the caller, and it is full; it is empty
        ///    afterwards.
        pub(crate) unsafe fn take(&self) -> T {
            // SAFETY: 1 by the caller.
            unsafe { (*self.0.get()).assume_init_read() }
        }
    }
}

#[cfg(loom)]
mod place {
    use loom::cell::UnsafeCell;
    use std::mem::MaybeUninit;

    pub(crate) struct Place<T>(UnsafeCell<MaybeUninit<T>>);

    impl<T> Place<T> {
        pub(crate) fn new() -> Place<T> {
            Place(UnsafeCell::new(MaybeUninit::uninit()))
        }

        pub(crate) unsafe fn put(&self, value: T) {
            // SAFETY: by the caller's contract, as in the other build.
            self.0.with_mut(|place| unsafe {
                (*place).write(value);
            });
        }

        pub(crate) unsafe fn take(&self) -> T {
            // SAFETY: by the caller's contract, as in the other build.
            self.0
                .with_mut(|place| unsafe { (*place).assume_init_read() })
        }

        /// Copies the value, for models of shared access.
        ///
        /// # Safety
        /// 1. Shared: the protocol lets nobody write meanwhile, and the place is full.
        pub(crate) unsafe fn peek(&self) -> T
        where
            T: Copy,
        {
            // SAFETY: by the caller's contract.
            self.0.with(|place| unsafe { (*place).assume_init_read() })
        }
    }
}

/// A word to sleep on.
#[cfg(all(not(loom), not(portable)))]
mod futex {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    #[derive(Debug)]
    pub(crate) struct Futex(pub(crate) AtomicU32);

    impl Futex {
        pub(crate) fn new(value: u32) -> Futex {
            Futex(AtomicU32::new(value))
        }

        /// Sleeps if the word still holds `expected`: until a wake, a signal or the timeout.
        pub(crate) fn wait(&self, expected: u32, timeout: Option<Duration>) {
            let timeout = timeout.map(|d| libc::timespec {
                tv_sec: d.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: d.subsec_nanos().into(),
            });
            let timeout = timeout
                .as_ref()
                .map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: the word and the timeout live through the call; the kernel only reads them.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.0.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    expected,
                    timeout,
                );
            }
        }

        /// Ends one sleep.
        pub(crate) fn wake(&self) {
            // SAFETY: the kernel uses the address as a key only.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.0.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    1,
                );
            }
        }
    }
}

/// The same where the system has no such thing, or none that is the same everywhere. What the kernel does
/// under the lock of the word's queue is done under a lock beside the word: the word is compared, and
/// who wakes finds who sleeps.
#[cfg(all(not(loom), portable))]
mod futex {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::SeqCst;
    use std::sync::{Condvar, Mutex, PoisonError};
    use std::time::Duration;

    #[derive(Debug)]
    pub(crate) struct Futex(pub(crate) AtomicU32, Mutex<()>, Condvar);

    impl Futex {
        pub(crate) fn new(value: u32) -> Futex {
            Futex(AtomicU32::new(value), Mutex::new(()), Condvar::new())
        }

        /// Sleeps if the word still holds `expected`: until a wake, the timeout, or for no reason.
        pub(crate) fn wait(&self, expected: u32, timeout: Option<Duration>) {
            let queue = self.1.lock().unwrap_or_else(PoisonError::into_inner);
            // SeqCst as the kernel's comparison: whoever changed the word before it woke is seen.
            if self.0.load(SeqCst) != expected {
                return;
            }
            match timeout {
                None => drop(self.2.wait(queue)),
                Some(timeout) => drop(self.2.wait_timeout(queue, timeout)),
            }
        }

        /// Ends one sleep.
        pub(crate) fn wake(&self) {
            let _queue = self.1.lock().unwrap_or_else(PoisonError::into_inner);
            self.2.notify_one();
        }
    }
}

#[cfg(loom)]
mod futex {
    use loom::sync::atomic::AtomicU32;
    use loom::sync::{Condvar, Mutex};
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    /// As the kernel does it: the word is compared, and wakers look for sleepers, under one lock.
    /// No time passes in a model, so a sleep that nobody ends is a deadlock.
    #[derive(Debug)]
    pub(crate) struct Futex(pub(crate) AtomicU32, Mutex<()>, Condvar);

    impl Futex {
        pub(crate) fn new(value: u32) -> Futex {
            Futex(AtomicU32::new(value), Mutex::new(()), Condvar::new())
        }

        pub(crate) fn wait(&self, expected: u32, _timeout: Option<Duration>) {
            let queue = self.1.lock().unwrap();
            if self.0.load(Relaxed) == expected {
                drop(self.2.wait(queue).unwrap());
            }
        }

        pub(crate) fn wake(&self) {
            let _queue = self.1.lock().unwrap();
            self.2.notify_one();
        }
    }
}
