//! The bed of one worker: a futex word with a token.
//!
//! Not `std::thread::park`: its token is the thread's own, and routines may use it for themselves.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

const EMPTY: u32 = 0;
const ASLEEP: u32 = 1;
const WOKEN: u32 = 2;
const WOKEN_TO_SEARCH: u32 = 3;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Parker(AtomicU32);

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// By somebody who had work for this worker.
    ForOwnWork,
    /// By a submitter: the worker counts as searching already.
    ToSearch,
    /// By the deadline, or for no reason.
    TimedOut,
}

impl Parker {
    pub(crate) fn new() -> Parker {
        Parker(AtomicU32::new(EMPTY))
    }

    /// Sleeps until woken or until `timeout` is over. Only by the worker's thread.
    pub(crate) fn park(&self, timeout: Option<Duration>) -> Woken {
        if self
            .0
            .compare_exchange(EMPTY, ASLEEP, Acquire, Acquire)
            .is_ok()
        {
            futex_wait(&self.0, ASLEEP, timeout);
        }
        // Acquire pairs with the release swap in `wake`: what the waker did comes before.
        match self.0.swap(EMPTY, Acquire) {
            WOKEN => Woken::ForOwnWork,
            WOKEN_TO_SEARCH => Woken::ToSearch,
            _ => Woken::TimedOut,
        }
    }

    /// Waits for a wake that is known to be on its way.
    pub(crate) fn take_token(&self) -> Woken {
        loop {
            match self.park(None) {
                Woken::TimedOut => {}
                woken => return woken,
            }
        }
    }

    /// Leaves the token and ends the sleep. By the one party that claimed the worker.
    pub(crate) fn wake(&self, to_search: bool) {
        let token = if to_search { WOKEN_TO_SEARCH } else { WOKEN };
        // Release pairs with the acquire in `park`.
        if self.0.swap(token, Release) == ASLEEP {
            futex_wake(&self.0);
        }
    }
}

fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(|d| libc::timespec {
        tv_sec: d.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: d.subsec_nanos().into(),
    });
    let timeout_ptr = timeout
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the timeout live through the call; the kernel only reads them. A signal
    // or a changed word ends it early, which the caller handles as a time-out.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            timeout_ptr,
        );
    }
}

fn futex_wake(word: &AtomicU32) {
    // SAFETY: the kernel uses the address as a key only.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        );
    }
}
