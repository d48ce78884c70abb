//! The bed of one worker: a futex word with a token.
//!
//! A worker may also sleep somewhere else, in the poller, where it is woken by other means than the
//! futex. The word says so, and whoever leaves the token then rings there.
//!
//! Not `std::thread::park`: its token is the thread's own, and routines may use it for themselves.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::primitives::Futex;

const EMPTY: u32 = 0;
const ASLEEP: u32 = 1;
const WOKEN: u32 = 2;
const WOKEN_TO_SEARCH: u32 = 3;
const ASLEEP_ELSEWHERE: u32 = 4;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Parker(Futex);

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
        Parker(Futex::new(EMPTY))
    }

    /// Sleeps until woken or until `timeout` is over. Only by the worker's thread.
    pub(crate) fn park(&self, timeout: Option<Duration>) -> Woken {
        let word = &self.0.0;
        // Relaxed: only the token is waited for, and the swap below takes it.
        if word
            .compare_exchange(EMPTY, ASLEEP, Relaxed, Relaxed)
            .is_ok()
        {
            // A signal or a changed word ends it early, which counts as a time-out.
            self.0.wait(ASLEEP, timeout);
        }
        self.woken()
    }

    /// Whether a token lies there: the next sleep would end at once.
    pub(crate) fn has_token(&self) -> bool {
        // Relaxed: a hint; `park` takes it.
        self.0.0.load(Relaxed) != EMPTY
    }

    /// As [`park`](Self::park), but sleeps by calling `sleep`, which must end when the `ring` of
    /// [`wake`](Self::wake) is called during it, or was called since it ended the last time.
    pub(crate) fn park_elsewhere(&self, sleep: impl FnOnce()) -> Woken {
        // Relaxed: as in `park`.
        if self
            .0
            .0
            .compare_exchange(EMPTY, ASLEEP_ELSEWHERE, Relaxed, Relaxed)
            .is_ok()
        {
            sleep();
        }
        self.woken()
    }

    fn woken(&self) -> Woken {
        // Acquire pairs with the release swap in `wake`: what the waker did comes before.
        match self.0.0.swap(EMPTY, Acquire) {
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

    /// Leaves the token and ends the sleep, by `ring` if it is one of
    /// [`park_elsewhere`](Self::park_elsewhere). By the one party that claimed the worker.
    pub(crate) fn wake(&self, to_search: bool, ring: impl FnOnce()) {
        let token = if to_search { WOKEN_TO_SEARCH } else { WOKEN };
        // Release pairs with the acquire in `woken`.
        match self.0.0.swap(token, Release) {
            ASLEEP => self.0.wake(),
            ASLEEP_ELSEWHERE => ring(),
            _ => {}
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32 as Count;
    use loom::thread;

    /// A token left before or during the sleep ends it, once, and what the waker did before is
    /// visible. Breaks if `park` sleeps without the exchange to `ASLEEP`, if `wake` does not look
    /// for it, or if either side's half of the pair release/acquire is relaxed.
    #[test]
    fn a_token_is_never_lost() {
        loom::model(|| {
            let shared = Arc::new((Parker::new(), Count::new(0)));
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.1.store(1, Relaxed);
                    shared.0.wake(true, || unreachable!("asleep in its bed"));
                })
            };
            assert_eq!(shared.0.take_token(), Woken::ToSearch);
            assert_eq!(shared.1.load(Relaxed), 1);
            waker.join().unwrap();
            assert_eq!(shared.0.0.0.load(Relaxed), EMPTY, "one token, one wake");
        });
    }

    /// As the kernel's poller with its bell: a ring that nobody has taken ends the next wait.
    struct Poll {
        rung: loom::sync::Mutex<bool>,
        bell: loom::sync::Condvar,
    }

    impl Poll {
        fn wait(&self) {
            let mut rung = self.rung.lock().unwrap();
            while !std::mem::take(&mut *rung) {
                rung = self.bell.wait(rung).unwrap();
            }
        }

        fn ring(&self) {
            *self.rung.lock().unwrap() = true;
            self.bell.notify_one();
        }
    }

    /// A token left before or during a sleep in the poller ends it, once; and the bed can be slept in
    /// afterwards. Breaks if `park_elsewhere` sleeps without the exchange, or if `wake` does not ring.
    #[test]
    fn a_token_reaches_the_poller() {
        loom::model(|| {
            let poll = Poll {
                rung: loom::sync::Mutex::new(false),
                bell: loom::sync::Condvar::new(),
            };
            let shared = Arc::new((Parker::new(), Count::new(0), poll));
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.1.store(1, Relaxed);
                    shared.0.wake(true, || shared.2.ring());
                })
            };
            let woken = shared.0.park_elsewhere(|| shared.2.wait());
            assert_eq!(woken, Woken::ToSearch);
            assert_eq!(shared.1.load(Relaxed), 1);
            waker.join().unwrap();
            assert_eq!(shared.0.0.0.load(Relaxed), EMPTY, "one token, one wake");
        });
    }

    /// Two sleeps, two tokens, in either order of token and sleep.
    #[test]
    fn each_sleep_takes_its_own_token() {
        loom::model(|| {
            let shared = Arc::new((Parker::new(), Parker::new()));
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.0.wake(false, || {});
                    // The claim protocol lets nobody wake a worker again before it has woken.
                    assert_eq!(shared.1.take_token(), Woken::ForOwnWork);
                    shared.0.wake(true, || {});
                })
            };
            assert_eq!(shared.0.take_token(), Woken::ForOwnWork);
            shared.1.wake(false, || {});
            assert_eq!(shared.0.take_token(), Woken::ToSearch);
            waker.join().unwrap();
        });
    }
}
