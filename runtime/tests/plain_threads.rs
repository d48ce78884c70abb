//! Primitives among plain threads, without a runtime, so without a stack of our own: what tools can look at
//! that do not know of stack switches (ThreadSanitizer, helgrind, miri). `runtime/tests/sanitize.sh` runs
//! this file under those that are there.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use openwork::{CancelCause, CancelToken, channel, routine_local, select, sync};

/// A tool makes a program some hundred times slower.
const ROUNDS: u64 = if cfg!(miri) { 20 } else { 2_000 };
const SOON: Duration = Duration::from_millis(1);

/// Values that are written before they are sent, without synchronisation of their own: a tool sees a race if
/// a channel does not order them.
fn boxed(n: u64) -> Box<Cell<u64>> {
    Box::new(Cell::new(n))
}

#[test]
fn channels_hand_over_what_was_written() {
    for capacity in [0, 1, 8] {
        let (tx, rx) = channel::bounded(capacity);
        let sum = thread::scope(|s| {
            for sender in 0..3 {
                let tx = tx.clone();
                s.spawn(move || {
                    for n in 0..ROUNDS {
                        let value = boxed(0);
                        value.set(sender * ROUNDS + n);
                        tx.send(value).unwrap();
                    }
                });
            }
            drop(tx);
            let receivers: Vec<_> = (0..3)
                .map(|_| {
                    let rx = rx.clone();
                    s.spawn(move || rx.iter().map(|value| value.replace(0)).sum::<u64>())
                })
                .collect();
            receivers
                .into_iter()
                .map(|r| r.join().unwrap())
                .sum::<u64>()
        });
        let count = 3 * ROUNDS;
        assert_eq!(sum, count * (count - 1) / 2);
    }
}

#[test]
fn unbounded_channels_and_timeouts() {
    let (tx, rx) = channel::unbounded::<Box<Cell<u64>>>();
    let received = thread::scope(|s| {
        let receiver = s.spawn(|| {
            let mut received = 0;
            loop {
                match rx.recv_timeout(SOON) {
                    Ok(value) => received += value.get(),
                    Err(channel::RecvTimeoutError::Timeout) => {}
                    Err(_) => return received,
                }
            }
        });
        for _ in 0..ROUNDS {
            tx.send(boxed(1)).unwrap();
        }
        drop(tx);
        receiver.join().unwrap()
    });
    assert_eq!(received, ROUNDS);
}

#[test]
fn selects_among_threads() {
    let (left_tx, left) = channel::rendezvous();
    let (right_tx, right) = channel::bounded(2);
    let total = thread::scope(|s| {
        s.spawn(move || (0..ROUNDS).for_each(|_| left_tx.send(boxed(1)).unwrap()));
        s.spawn(move || (0..ROUNDS).for_each(|_| right_tx.send(boxed(1)).unwrap()));
        let mut total = 0;
        while total < 2 * ROUNDS {
            select! {
                value = left.recv() => total += value.map_or(0, |value| value.get()),
                value = right.recv() => total += value.map_or(0, |value| value.get()),
            }
        }
        total
    });
    assert_eq!(total, 2 * ROUNDS);
}

#[test]
fn locks_protect() {
    let lock = sync::Mutex::new(Cell::new(0u64));
    let table = sync::RwLock::new(0u64);
    thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                for n in 0..ROUNDS {
                    let guard = lock.lock().unwrap();
                    guard.set(guard.get() + 1);
                    drop(guard);
                    if n % 8 == 0 {
                        *table.write().unwrap() += 1;
                    } else {
                        assert!(*table.read().unwrap() <= 3 * ROUNDS);
                    }
                }
            });
        }
    });
    assert_eq!(lock.into_inner().unwrap().get(), 3 * ROUNDS);
}

#[test]
fn tokens_are_cancelled_while_others_look() {
    let seen = AtomicU64::new(0);
    for round in 0..ROUNDS.div_ceil(20) {
        let root = CancelToken::new();
        let written = boxed(0);
        thread::scope(|s| {
            for _ in 0..2 {
                let child = root.child();
                let seen = &seen;
                s.spawn(move || {
                    let below: Vec<_> = (0..5).map(|_| child.child()).collect();
                    let why = below[0].wait().unwrap();
                    assert_eq!(why.to_string(), "done");
                    assert!(below.iter().all(CancelToken::is_cancelled));
                    seen.fetch_add(1, Relaxed);
                });
            }
            if round % 2 == 0 {
                thread::yield_now();
            }
            written.set(round);
            root.cancel_because("done");
        });
        assert_eq!(
            (seen.load(Relaxed), written.get()),
            (2 * (round + 1), round)
        );
    }
    let timed = CancelToken::with_timeout(SOON);
    assert!(matches!(timed.wait(), Ok(CancelCause::Deadline)));
}

#[test]
fn routine_locals_of_threads() {
    routine_local!(static COUNT: Cell<u64> = Cell::new(0));
    let shared = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    COUNT.set(COUNT.get() + 1);
                }
                shared.fetch_add(COUNT.take(), Relaxed);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(shared.load(Relaxed), 4 * ROUNDS);
}
