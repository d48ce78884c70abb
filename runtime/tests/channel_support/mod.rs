//! What the tests of channels share.

// Each test file uses its own part.
#![allow(dead_code)]

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openwork::Runtime;
use openwork::snapshot::{RoutineState, WaitReason};

pub(crate) fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().unwrap()
}

/// Runs `test` under a watchdog: a wait that nobody ends becomes a failure that says what it was.
pub(crate) fn within(limit: Duration, what: &str, test: impl FnOnce() + Send + 'static) {
    let (done, over) = mpsc::channel();
    let body = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match over.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: not over after {limit:?}"),
        _ => {
            if let Err(payload) = body.join() {
                std::panic::resume_unwind(payload);
            }
        }
    }
}

/// How many routines wait for a channel.
pub(crate) fn blocked(rt: &openwork::Handle) -> u64 {
    let mut blocked = 0;
    rt.routines(&mut |view| {
        blocked += u64::from(view.state == RoutineState::Blocked(WaitReason::Channel));
    });
    blocked
}

/// Yields until exactly `count` routines wait for a channel. The last one may be about to enter its queue still.
pub(crate) fn until_blocked(rt: &openwork::Handle, count: u64) {
    while blocked(rt) != count {
        std::thread::yield_now();
    }
}

/// A seed from the clock, or from `OPENWORK_SEED` to run a failure again; printed.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("OPENWORK_SEED").map_or_else(
        |_| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_nanos() as u64
        },
        |text| text.parse().unwrap(),
    );
    println!("again with OPENWORK_SEED={seed}");
    seed
}

/// Small and repeatable: splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Counts what was made and what was dropped.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<(AtomicUsize, AtomicUsize)>);

/// A value that must be dropped exactly once.
pub(crate) struct Counted {
    ledger: Ledger,
    alive: bool,
    pub(crate) number: u64,
}

impl Ledger {
    pub(crate) fn make(&self, number: u64) -> Counted {
        self.0.0.fetch_add(1, Relaxed);
        Counted {
            ledger: self.clone(),
            alive: true,
            number,
        }
    }

    /// Made and not dropped.
    pub(crate) fn alive(&self) -> usize {
        self.0.0.load(Relaxed) - self.0.1.load(Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(std::mem::replace(&mut self.alive, false), "dropped twice");
        self.ledger.0.1.fetch_add(1, Relaxed);
    }
}
