//! Which of two threads runs: a routine's or its worker's.

use std::sync::atomic::Ordering::{Acquire, Release};

use crate::primitives::Futex;

/// The worker's thread runs, or the thread waits to be used.
const WORKER: u32 = 0;
/// The routine's thread runs.
const ROUTINE: u32 = 1;
/// The routine's thread may end.
const DISMISSED: u32 = 2;

/// Who runs of a routine's thread and its worker's. What one wrote before it passed the baton the other
/// one sees.
///
/// Both sleep on the same word. At most one of them does when the other one wakes it: who wakes is the
/// one that runs.
#[derive(Debug)]
pub(super) struct Baton {
    word: Futex,
}

impl Baton {
    /// The worker's side has it.
    pub(super) fn new() -> Baton {
        Baton {
            word: Futex::new(WORKER),
        }
    }

    /// The worker's side: lets the routine's thread run until that passes the baton back.
    pub(super) fn run(&self) {
        // Release pairs with the acquire in `wait`, acquire with the release in `pass_back`.
        self.word.0.store(ROUTINE, Release);
        self.word.wake();
        while self.word.0.load(Acquire) == ROUTINE {
            self.word.wait(ROUTINE, None);
        }
    }

    /// The routine's side: lets the worker go on.
    pub(super) fn pass_back(&self) {
        // Release pairs with the acquire in `run`.
        self.word.0.store(WORKER, Release);
        self.word.wake();
    }

    /// The routine's side: waits until it may run. False if it was dismissed.
    pub(super) fn wait(&self) -> bool {
        loop {
            // Acquire pairs with the release in `run` and `dismiss`.
            match self.word.0.load(Acquire) {
                WORKER => self.word.wait(WORKER, None),
                said => return said == ROUTINE,
            }
        }
    }

    /// The worker's side: there will be nothing to run any more.
    pub(super) fn dismiss(&self) {
        // Release pairs with the acquire in `wait`.
        self.word.0.store(DISMISSED, Release);
        self.word.wake();
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// Each side runs when the other one does not, and sees what that wrote: neither sleeps for ever,
    /// and no turn is lost. Breaks (loses a wake-up) if `pass_back` wakes before it stores, and (a race
    /// on the cell) if a store or a load of the word is relaxed.
    #[test]
    fn turns_alternate() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(|| {
            let shared = Arc::new((Baton::new(), loom::cell::UnsafeCell::new(0)));
            let routine = thread::spawn({
                let shared = shared.clone();
                move || {
                    while shared.0.wait() {
                        // SAFETY: the baton is ours; the model checker looks whether that is so.
                        shared.1.with_mut(|count| unsafe { *count += 1 });
                        shared.0.pass_back();
                    }
                }
            });
            for turn in 1..=2 {
                shared.0.run();
                // SAFETY: as above.
                shared
                    .1
                    .with_mut(|count| unsafe { assert_eq!(*count, turn) });
            }
            shared.0.dismiss();
            routine.join().unwrap();
        });
    }
}
