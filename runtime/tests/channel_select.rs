//! `select!` does one operation, a fair one, and loses nothing of the others.

mod channel_support;

use std::time::{Duration, Instant};

use channel_support::{Counted, Ledger, Random, runtime, seed, until_blocked, within};
use openwork::channel::{self, Receiver, RecvError, SendError, Sender, TryRecvError};
use openwork::{JoinError, select};

const LIMIT: Duration = Duration::from_secs(240);

/// Of four arms two are ready, the first and the third: each is taken in half of the cases. A rotation
/// instead of a shuffle would give the same here, but not for the first and the second.
#[test]
fn ready_arms_are_equally_likely() {
    const ROUNDS: usize = 20_000;
    let count = |ready: [bool; 4]| {
        let ends: [_; 4] = std::array::from_fn(|_| channel::bounded::<()>(1));
        for ((tx, _), _) in ends.iter().zip(ready).filter(|(_, ready)| *ready) {
            tx.send(()).unwrap();
        }
        let mut taken = [0usize; 4];
        for _ in 0..ROUNDS {
            let arm = select! {
                _ = ends[0].1.recv() => 0,
                _ = ends[1].1.recv() => 1,
                _ = ends[2].1.recv() => 2,
                _ = ends[3].1.recv() => 3,
            };
            taken[arm] += 1;
            ends[arm].0.send(()).unwrap();
        }
        taken
    };
    let check = move || {
        for ready in [
            [true, false, true, false],
            [true, true, false, false],
            [true, true, true, true],
            [false, true, true, true],
        ] {
            let share = ROUNDS / ready.iter().filter(|ready| **ready).count();
            let taken = count(ready);
            for (taken, ready) in taken.into_iter().zip(ready) {
                let expected = if ready { share } else { 0 };
                // Ten standard deviations and more.
                assert!(taken.abs_diff(expected) < ROUNDS / 25, "{taken} {expected}");
            }
        }
    };
    within(LIMIT, "fairness", move || {
        check();
        runtime(1).block_on(check);
    });
}

/// Senders and receivers that select over all of three channels, rendezvous among them, on routines and
/// threads: each value arrives once.
#[test]
fn selects_lose_nothing() {
    const SIDES: u64 = 5;
    const EACH: u64 = 600;
    let seed = seed();
    within(LIMIT, "conservation", move || {
        for workers in [1, 2, 8] {
            let rt = runtime(workers);
            let ledger = Ledger::default();
            let ends = [
                channel::rendezvous::<Counted>(),
                channel::bounded(1),
                channel::rendezvous(),
            ];
            let txs: [Sender<_>; 3] = ends.each_ref().map(|(tx, _)| tx.clone());
            let rxs: [Receiver<_>; 3] = ends.each_ref().map(|(_, rx)| rx.clone());
            drop(ends);
            let mut random = Random(seed);
            for me in 0..SIDES {
                let (ledger, txs, random) = (ledger.clone(), txs.clone(), Random(random.next()));
                let body = move || send_all(&txs, &ledger, me, random);
                if me % 2 == 0 {
                    rt.spawn(body);
                } else {
                    std::thread::spawn(body);
                }
            }
            drop(txs);
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let rxs = rxs.clone();
                    std::thread::spawn(move || recv_all(&rxs))
                })
                .collect();
            let routines: Vec<_> = (0..3)
                .map(|_| {
                    let rxs = rxs.clone();
                    rt.spawn(move || recv_all(&rxs))
                })
                .collect();
            drop(rxs);
            let mut all: Vec<u64> = threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .chain(routines.into_iter().flat_map(|r| r.join().unwrap()))
                .collect();
            all.sort_unstable();
            let sent: Vec<u64> = (0..SIDES)
                .flat_map(|me| (0..EACH).map(move |i| me << 32 | i))
                .collect();
            assert!(all == sent, "{} of {}", all.len(), sent.len());
            assert_eq!(ledger.alive(), 0);
        }
    });

    fn send_all(txs: &[Sender<Counted>; 3], ledger: &Ledger, me: u64, mut random: Random) {
        for i in 0..EACH {
            let make = || ledger.make(me << 32 | i);
            let limit = Duration::from_micros(random.below(100));
            // What is not sent in time is dropped by the `select!`, and made again.
            while !select! {
                sent = txs[0].send(make()) => sent.is_ok(),
                sent = txs[1].send(make()) => sent.is_ok(),
                sent = txs[2].send(make()) => sent.is_ok(),
                after(limit) => false,
            } {}
        }
    }

    fn recv_all(rxs: &[Receiver<Counted>; 3]) -> Vec<u64> {
        let mut all = Vec::new();
        let mut open = [true; 3];
        let never = channel::after(Duration::MAX);
        while open.contains(&true) {
            let live = |i: usize| if open[i] { Some(&rxs[i]) } else { None };
            let (arm, value) = match (live(0), live(1), live(2)) {
                (Some(a), Some(b), Some(c)) => select! {
                    value = a.recv() => (0, value),
                    value = b.recv() => (1, value),
                    value = c.recv() => (2, value),
                    _ = never.recv() => unreachable!("it is never due"),
                },
                // A closed one is left out: the rest one after the other.
                (a, b, c) => {
                    let (arm, rx) = [a, b, c]
                        .into_iter()
                        .enumerate()
                        .find_map(|(i, rx)| Some((i, rx?)))
                        .expect("one is open");
                    (arm, rx.recv())
                }
            };
            match value {
                Ok(value) => all.push(value.number),
                Err(_) => open[arm] = false,
            }
        }
        all
    }
}

/// Two that each would send to and receive from the other: one does, the other does its counterpart. And
/// nobody is its own partner.
#[test]
fn two_selects_meet() {
    within(LIMIT, "meeting", || {
        for workers in [1, 2] {
            let rt = runtime(workers);
            let (tx, rx) = channel::rendezvous::<u32>();
            let players: Vec<_> = (0..2)
                .map(|me| {
                    let (tx, rx) = (tx.clone(), rx.clone());
                    rt.spawn(move || {
                        let (mut sent, mut got) = (0u32, 0u32);
                        for _ in 0..2000 {
                            select! {
                                done = tx.send(me) => { done.unwrap(); sent += 1; }
                                from = rx.recv() => { assert_eq!(from, Ok(1 - me)); got += 1; }
                            }
                        }
                        (sent, got)
                    })
                })
                .collect();
            let scores: Vec<_> = players.into_iter().map(|p| p.join().unwrap()).collect();
            assert_eq!(scores[0].0, scores[1].1);
            assert_eq!(scores[0].1, scores[1].0);
            let alone = select! {
                _ = tx.send(7) => "sent",
                _ = rx.recv() => "received",
                after(Duration::from_millis(1)) => "nobody",
            };
            assert_eq!(alone, "nobody");
        }
    });
}

#[test]
fn limits_and_closed_channels() {
    within(LIMIT, "limits", || {
        let check = || {
            let (tx, rx) = channel::bounded::<u32>(1);
            let began = Instant::now();
            let limit = Duration::from_millis(2);
            select! {
                _ = rx.recv() => panic!("nothing is there"),
                after(limit) => assert!(began.elapsed() >= limit),
            }
            let ticks = channel::tick(limit);
            select! {
                _ = rx.recv() => panic!("nothing is there"),
                tick = ticks.recv() => assert!(tick.unwrap() >= began + limit),
            }
            select! {
                _ = rx.recv() => panic!("nothing is there"),
                default => {}
            }
            select!(after(Duration::ZERO) => {});
            tx.close();
            let told = select! { value = rx.recv() => value };
            assert_eq!(told, Err(RecvError::Disconnected));
            let told = select! { sent = tx.send(3) => sent, default => panic!("it is closed") };
            assert_eq!(told, Err(SendError::Disconnected(3)));
        };
        check();
        runtime(1).block_on(check);
    });
}

/// A close ends the wait through its arm, and a value that waits through another goes nowhere else.
#[test]
fn a_close_wakes_a_select() {
    within(LIMIT, "close", || {
        let rt = runtime(2);
        let ledger = Ledger::default();
        let (tx, rx) = channel::rendezvous::<Counted>();
        let (other, never) = channel::rendezvous::<()>();
        let waiting = {
            let ledger = ledger.clone();
            rt.spawn(move || {
                select! {
                    sent = tx.send(ledger.make(1)) => panic!("{sent:?}"),
                    got = never.recv() => got,
                }
            })
        };
        until_blocked(&rt.handle(), 1);
        drop(other);
        assert_eq!(waiting.join().unwrap(), Err(RecvError::Disconnected));
        assert_eq!(ledger.alive(), 0);
        assert_eq!(rx.try_recv().err(), Some(TryRecvError::Disconnected));
    });
}

/// A cancel comes through the first arm, with its value; the next `select!` unwinds.
#[test]
fn a_cancel_comes_through_the_first_arm() {
    within(LIMIT, "cancel", || {
        let rt = runtime(1);
        let ledger = Ledger::default();
        let (tx, rx) = channel::rendezvous::<Counted>();
        let waiting = {
            let (rx, ledger) = (rx.clone(), ledger.clone());
            rt.spawn(move || {
                let told = select! {
                    sent = tx.send(ledger.make(1)) => sent,
                    _ = rx.recv() => panic!("it is asked to end"),
                };
                assert!(matches!(told, Err(SendError::Cancelled(value)) if value.number == 1));
                select! {
                    _ = tx.send(ledger.make(2)) => {}
                    _ = rx.recv() => {}
                }
                unreachable!("it unwinds");
            })
        };
        until_blocked(&rt.handle(), 1);
        waiting.cancel(Duration::from_secs(3600));
        assert!(matches!(waiting.join(), Err(JoinError::Cancelled)));
        assert_eq!(ledger.alive(), 0);
        assert_eq!(rx.try_recv().err(), Some(TryRecvError::Disconnected));
    });
}

/// Many arms, expressions of several tokens, arms with and without commas.
#[test]
fn arms_are_written_as_one_likes() {
    struct Hub {
        inner: (Vec<Receiver<u8>>, Sender<u8>),
    }
    let (tx, rx) = channel::bounded::<u8>(1);
    let hub = Hub {
        inner: (vec![channel::rendezvous().1, rx.clone()], tx.clone()),
    };
    let by_reference = &rx;
    let mut log = String::new();
    for _ in 0..2 {
        select! {
            (Ok(()) | Err(_)) = hub.inner.1.send(5) => log.push('s'),
            (Ok(_) | Err(_)) = by_reference.recv() => { log.push('r'); }
            default => log.push('d')
        }
    }
    assert_eq!(log, "sr");
    let closed = hub.inner.0[0].clone();
    let arm = select! {
        _ = rx.recv() => 0, _ = rx.recv() => 1, _ = rx.recv() => 2, _ = rx.recv() => 3,
        _ = rx.recv() => 4, _ = rx.recv() => 5, _ = rx.recv() => 6, _ = rx.recv() => 7,
        _ = rx.recv() => 8, _ = rx.recv() => 9, _ = rx.recv() => 10, _ = rx.recv() => 11,
        _ = rx.recv() => 12, _ = rx.recv() => 13, _ = rx.recv() => 14, _ = rx.recv() => 15,
        _ = rx.recv() => 16, _ = rx.recv() => 17, _ = rx.recv() => 18,
        _ = closed.recv() => 19,
    };
    assert_eq!(arm, 19);
}
