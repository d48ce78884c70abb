//! Nothing is lost, nothing comes twice, and what one sender sends arrives in its order: over routines,
//! plain threads and futures, all kinds of calls, all kinds of channels.

mod channel_support;

use std::sync::Arc;
use std::time::Duration;

use channel_support::{Counted, Ledger, Random, runtime, seed, within};
use openwork::channel::{
    self, Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};

const SENDERS: u64 = 6;
const RECEIVERS: u64 = 6;
const EACH: u64 = 400;
const LIMIT: Duration = Duration::from_secs(240);

/// Sender in the high half, sequence in the low half.
type Value = u64;

fn send_one(tx: &Sender<Counted>, mut value: Counted, random: &mut Random) {
    loop {
        value = match random.below(3) {
            0 => return tx.send(value).unwrap(),
            1 => match tx.try_send(value) {
                Ok(()) => return,
                Err(TrySendError::Full(value)) => value,
                Err(error) => panic!("{error}"),
            },
            _ => match tx.send_timeout(value, Duration::from_micros(random.below(50))) {
                Ok(()) => return,
                Err(SendTimeoutError::Timeout(value)) => value,
                Err(error) => panic!("{error}"),
            },
        };
        openwork::yield_now();
    }
}

fn recv_one(rx: &Receiver<Counted>, random: &mut Random) -> Option<Counted> {
    loop {
        match random.below(3) {
            0 => return rx.recv().ok(),
            1 => match rx.try_recv() {
                Ok(value) => return Some(value),
                Err(TryRecvError::Empty) => {}
                Err(_) => return None,
            },
            _ => match rx.recv_timeout(Duration::from_micros(random.below(50))) {
                Ok(value) => return Some(value),
                Err(RecvTimeoutError::Timeout) => {}
                Err(_) => return None,
            },
        }
        openwork::yield_now();
    }
}

fn send_all(tx: &Sender<Counted>, ledger: &Ledger, me: u64, mut random: Random) {
    for i in 0..EACH {
        send_one(tx, ledger.make(me << 32 | i), &mut random);
    }
}

fn recv_all(rx: &Receiver<Counted>, mut random: Random) -> Vec<Value> {
    std::iter::from_fn(|| recv_one(rx, &mut random))
        .map(|value| value.number)
        .collect()
}

/// Each third sender and receiver is a routine, a thread, a future.
#[track_caller]
fn check(workers: usize, (tx, rx): (Sender<Counted>, Receiver<Counted>), seed: u64) {
    let rt = runtime(workers);
    let ledger = Ledger::default();
    let mut random = Random(seed);
    let mut joins: Vec<Box<dyn FnOnce() -> Vec<Value>>> = Vec::new();
    for me in 0..SENDERS {
        let (tx, ledger, random) = (tx.clone(), ledger.clone(), Random(random.next()));
        match me % 3 {
            0 => drop(rt.spawn(move || send_all(&tx, &ledger, me, random))),
            1 => drop(std::thread::spawn(move || {
                send_all(&tx, &ledger, me, random)
            })),
            _ => drop(rt.spawn_future(async move {
                for i in 0..EACH {
                    tx.send_async(ledger.make(me << 32 | i)).await.unwrap();
                }
            })),
        }
    }
    for me in 0..RECEIVERS {
        let (rx, random) = (rx.clone(), Random(random.next()));
        match me % 3 {
            0 => {
                let routine = rt.spawn(move || recv_all(&rx, random));
                joins.push(Box::new(move || routine.join().unwrap()));
            }
            1 => {
                let thread = std::thread::spawn(move || recv_all(&rx, random));
                joins.push(Box::new(move || thread.join().unwrap()));
            }
            _ => {
                let future = rt.spawn_future(async move {
                    let mut all = Vec::new();
                    while let Ok(value) = rx.recv_async().await {
                        all.push(value.number);
                    }
                    all
                });
                joins.push(Box::new(move || future.join().unwrap()));
            }
        }
    }
    drop((tx, rx));
    let received: Vec<Vec<Value>> = joins.into_iter().map(|join| join()).collect();
    for one in &received {
        for sender in 0..SENDERS {
            let own = one.iter().filter(|value| *value >> 32 == sender);
            assert!(own.is_sorted(), "the order of one sender");
        }
    }
    let mut all = received.concat();
    all.sort_unstable();
    let sent: Vec<Value> = (0..SENDERS)
        .flat_map(|me| (0..EACH).map(move |i| me << 32 | i))
        .collect();
    assert!(all == sent, "{} of {} values", all.len(), sent.len());
    assert_eq!(ledger.alive(), 0);
}

fn check_all(make: impl Fn() -> (Sender<Counted>, Receiver<Counted>) + Send + 'static) {
    let seed = seed();
    within(LIMIT, "conservation", move || {
        for workers in [1, 2, 8] {
            check(workers, make(), seed);
        }
    });
}

#[test]
fn a_rendezvous_loses_nothing() {
    check_all(channel::rendezvous);
}

#[test]
fn room_for_one_loses_nothing() {
    check_all(|| channel::bounded(1));
}

#[test]
fn a_bounded_channel_loses_nothing() {
    check_all(|| channel::bounded(17));
}

#[test]
fn an_unbounded_channel_loses_nothing() {
    check_all(channel::unbounded);
}

/// Closed at any moment, with waiters on both sides: each value is received, or came back to its sender,
/// or was dropped with the channel, and dropped once.
#[test]
fn a_close_at_any_moment_loses_nothing() {
    let seed = seed();
    within(LIMIT, "closing", move || {
        let mut random = Random(seed);
        for round in 0..300 {
            let rt = runtime([1, 2, 8][round % 3]);
            let ledger = Ledger::default();
            let capacity = random.below(4) as usize;
            let (tx, rx) = channel::bounded(capacity);
            let senders: Vec<_> = (0..4)
                .map(|_| {
                    let (tx, ledger) = (tx.clone(), ledger.clone());
                    rt.spawn(move || (0..20).filter(|i| tx.send(ledger.make(*i)).is_ok()).count())
                })
                .collect();
            let receivers: Vec<_> = (0..3)
                .map(|_| {
                    let rx = rx.clone();
                    rt.spawn(move || rx.iter().count())
                })
                .collect();
            let late = Arc::new(rx);
            for _ in 0..random.below(200) {
                std::hint::spin_loop();
            }
            if random.below(2) == 0 {
                tx.close();
            } else {
                late.close();
            }
            let sent: usize = senders.into_iter().map(|s| s.join().unwrap()).sum();
            let received: usize = receivers.into_iter().map(|r| r.join().unwrap()).sum();
            let left = late.try_iter().count();
            assert_eq!(sent, received + left, "round {round}");
            assert_eq!(ledger.alive(), 0);
        }
    });
}
