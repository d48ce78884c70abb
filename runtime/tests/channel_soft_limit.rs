//! Unbounded channels with a soft limit: who is told, who waits, what is counted.

mod support;

use std::time::{Duration, Instant};

use openwork::channel::{self, SendError, SendTimeoutError};
use openwork::{block_on, deterministic, spawn, yield_now};
use support::{Ledger, Watchdog, runtime, until};

const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(2);

#[test]
fn the_limit_tells_and_counts() {
    let (tx, rx) = channel::unbounded_with_soft_limit(10);
    assert_eq!(
        (tx.soft_limit(), rx.soft_limit(), tx.capacity()),
        (Some(10), Some(10), None)
    );
    for n in 0..25 {
        assert_eq!(tx.is_over_soft_limit(), n > 10);
        tx.send(n).unwrap();
    }
    assert_eq!(
        (tx.sent_over_soft_limit(), rx.sent_over_soft_limit()),
        (15, 15)
    );
    assert_eq!(rx.try_iter().take(15).sum::<i32>(), 105);
    assert!(!rx.is_over_soft_limit());
    tx.send(25).unwrap();
    assert!(tx.is_over_soft_limit());
    assert_eq!((tx.high_water(), tx.len()), (25, 11));

    let (tx, _rx) = channel::unbounded();
    tx.send(1).unwrap();
    assert_eq!(
        (
            tx.soft_limit(),
            tx.is_over_soft_limit(),
            tx.sent_over_soft_limit()
        ),
        (None, false, 0)
    );
    // Nothing to wait at.
    tx.send_paced(2).unwrap();
    let (tx, _rx) = channel::bounded(1);
    tx.send_paced(1).unwrap();
    assert_eq!(
        tx.send_paced_timeout(2, SHORT),
        Err(SendTimeoutError::Timeout(2))
    );
    assert_eq!(tx.soft_limit(), None);
}

/// A sender at the limit is never let go on, or is let on beyond it.
#[test]
fn paced_senders_wait_for_receivers() {
    let watchdog = Watchdog::new("paced");
    for workers in [1, 2] {
        for limit in [0, 1, 7] {
            let rt = runtime(workers);
            watchdog.watch("paced", &rt.handle());
            let (tx, rx) = channel::unbounded_with_soft_limit(limit);
            let senders: Vec<_> = (0..8_u64)
                .map(|part| {
                    let tx = tx.clone();
                    rt.spawn(move || {
                        for n in 0..200 {
                            let value = part * 200 + n;
                            match n % 3 {
                                0 => tx.send_paced(value).unwrap(),
                                1 => tx.send_paced_timeout(value, LONG).unwrap(),
                                _ => block_on(tx.send_paced_async(value)).unwrap(),
                            }
                            if n % 50 == 0 {
                                yield_now();
                            }
                        }
                    })
                })
                .collect();
            drop(tx);
            let high = rx.clone();
            let sums: Vec<_> = (0..2)
                .map(|_| {
                    let rx = rx.clone();
                    rt.spawn(move || rx.iter().sum::<u64>())
                })
                .collect();
            drop(rx);
            for sender in senders {
                sender.join().unwrap();
            }
            let sum: u64 = sums.into_iter().map(|sum| sum.join().unwrap()).sum();
            assert_eq!(sum, 1599 * 1600 / 2);
            assert!(
                high.high_water() <= limit,
                "{} > {limit}",
                high.high_water()
            );
            assert_eq!(high.sent_over_soft_limit(), 0);
            rt.shutdown(LONG).unwrap();
        }
    }
}

#[test]
fn a_paced_wait_ends_like_any() {
    let watchdog = Watchdog::new("ends");
    let ledger = Ledger::new();
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("ends", &handle);
    let (tx, rx) = channel::unbounded_with_soft_limit(1);
    tx.send_paced(ledger.token()).unwrap();
    let soon = Instant::now() + SHORT;
    assert!(matches!(
        tx.send_paced_deadline(ledger.token(), soon),
        Err(SendTimeoutError::Timeout(_))
    ));
    // Cancelled in its wait.
    let (to, token) = (tx.clone(), ledger.token());
    let waiter = rt.spawn(move || {
        to.send_paced(token)
            .map_err(|e| matches!(e, SendError::Cancelled(_)))
    });
    until("it waits", || {
        handle
            .routine(waiter.id())
            .is_some_and(|view| view.wait_reason().is_some())
    });
    waiter.cancel(LONG);
    assert_eq!(waiter.join().unwrap(), Err(true));
    // Closed under it; a plain send goes past it before.
    let (to, token) = (tx.clone(), ledger.token());
    let waiter = rt.spawn(move || {
        to.send_paced(token)
            .map_err(|e| matches!(e, SendError::Disconnected(_)))
    });
    until("it waits", || {
        handle
            .routine(waiter.id())
            .is_some_and(|view| view.wait_reason().is_some())
    });
    tx.send(ledger.token()).unwrap();
    assert_eq!((tx.len(), tx.sent_over_soft_limit()), (2, 1));
    // Still over the limit: the waiting one does not move up.
    drop(rx.recv().unwrap());
    assert_eq!(tx.len(), 1);
    rx.close();
    assert_eq!(waiter.join().unwrap(), Err(true));
    drop((tx, rx));
    ledger.check("all that was sent or came back");
    rt.shutdown(LONG).unwrap();
}

/// In every order: all arrives, each sender's values in their order, and the limit holds.
#[test]
fn every_schedule_keeps_the_limit() {
    deterministic::explore(300, || {
        let (tx, rx) = channel::unbounded_with_soft_limit(2);
        let senders: Vec<_> = (0..3)
            .map(|part| {
                let tx = tx.clone();
                spawn(move || (0..4).for_each(|n| tx.send_paced((part, n)).unwrap()))
            })
            .collect();
        drop(tx);
        let mut next = [0; 3];
        for (part, n) in &rx {
            assert_eq!(n, next[part]);
            next[part] += 1;
        }
        assert_eq!(next, [4; 3]);
        assert!(rx.high_water() <= 2);
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
    });
}
