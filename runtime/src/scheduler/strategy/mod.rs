//! What is decided by strategies: where a fresh routine goes, whom a thief looks at first, how much it
//! takes, and when work is moved besides.
//!
//! [`choose`] decides over plain values; [`chosen`] and [`rebalance`] ask it with the runtime's own, where the feature
//! `balance` is on (`no_balance` stands for them where it is not); [`placement`] asks them; [`class`] says what a routine's own history makes of it. The default of each costs the hot path one
//! relaxed load, or nothing where it is asked for in a search only.

pub(crate) mod assigned;
pub(crate) mod choose;
#[cfg(test)]
mod choose_tests;
#[cfg(feature = "balance")]
mod chosen;
pub(crate) mod class;
#[cfg(not(feature = "balance"))]
mod no_balance;
pub(crate) mod placement;
#[cfg(feature = "balance")]
mod rebalance;
mod sites;

use std::fmt;
#[cfg(feature = "balance")]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

#[cfg(feature = "balance")]
use crate::cancel::CancelPayload;
use crate::config::Strategy;
#[cfg(feature = "balance")]
use crate::routine::body;
#[cfg(feature = "balance")]
use crate::scheduler::Shared;
use sites::Sites;

/// What strategies keep, of one runtime.
pub(crate) struct Balance {
    /// Some routine was assigned to a worker before it started: [`assigned`] is to be looked at.
    assigns: AtomicBool,
    in_turn: AtomicUsize,
    /// When the loads are compared next, in nanoseconds since process start.
    compare_at: AtomicU64,
    pub(crate) sites: Sites,
    pub(crate) custom: Option<Custom>,
    /// Times that a strategy of the user's panicked.
    pub(crate) panics: AtomicU64,
}

/// A strategy of the user's.
#[derive(Clone)]
pub(crate) struct Custom(pub(crate) Arc<dyn Strategy>);

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom")
    }
}

impl Balance {
    pub(crate) fn new(custom: Option<Custom>) -> Balance {
        Balance {
            assigns: AtomicBool::new(false),
            in_turn: AtomicUsize::new(0),
            compare_at: AtomicU64::new(0),
            sites: Sites::new(),
            custom,
            panics: AtomicU64::new(0),
        }
    }

    /// Before a routine is put into an [`assigned`] queue. Relaxed: whoever parks looks after its fence (P2),
    /// and the submitter passes its own (S2) after this.
    #[inline]
    pub(crate) fn use_assigned(&self) {
        if !self.assigns.load(Relaxed) {
            self.assigns.store(true, Relaxed);
        }
    }

    #[inline]
    pub(crate) fn assigns(&self) -> bool {
        self.assigns.load(Relaxed)
    }

    /// Numbers for whatever goes round.
    fn next_in_turn(&self) -> usize {
        self.in_turn.fetch_add(1, Relaxed)
    }
}

/// Asks the user's strategy. If it panics, it is not asked for this any more: `off` switches it off.
#[cfg(feature = "balance")]
fn contained<T>(shared: &Shared, off: impl FnOnce(), ask: impl FnOnce() -> Option<T>) -> Option<T> {
    let payload = match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(chosen) => return chosen,
        Err(payload) => payload,
    };
    if payload.is::<CancelPayload>() {
        // It called what raises a cancel, and it is its routine that is cancelled.
        resume_unwind(payload);
    }
    shared.balance.panics.fetch_add(1, Relaxed);
    off();
    // Its destructor is the user's as well.
    body::swallow(move || drop(payload));
    None
}
