//! Poison: a lock remembers that a panic struck while it was held. A cancel does not poison; it ends
//! a routine in an orderly way, and values are as their destructors left them.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::cancel;

/// Whether a panic struck. The lock around it orders this.
pub(crate) struct Poison(AtomicBool);

/// Taken with the lock: tells a panic that begins from one that was there before.
#[derive(Clone, Copy)]
pub(crate) struct Calm(bool);

impl Poison {
    pub(crate) const fn new() -> Poison {
        Poison(AtomicBool::new(false))
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Relaxed);
    }

    /// The lock is given back.
    #[inline]
    pub(crate) fn note(&self, calm: Calm) {
        if calm.0 && cancel::is_panicking() {
            self.0.store(true, Relaxed);
        }
    }
}

impl Calm {
    #[inline]
    pub(crate) fn now() -> Calm {
        Calm(!std::thread::panicking())
    }
}
