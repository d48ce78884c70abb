//! Channels, `select!` and their deadlines under thousands of schedules: everything that was sent arrives
//! once, in each sender's order, whatever is cancelled or late.

mod deterministic_support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use deterministic_support::explore;
use openwork::channel::{self, Receiver, RecvError, RecvTimeoutError, SendTimeoutError, Sender};
use openwork::deterministic::{Config, Strategy};
use openwork::{checkpoint, select, spawn, spawn_future, time};

type Ends<T> = (Sender<T>, Receiver<T>);

fn every_kind<T>() -> [Ends<T>; 4] {
    [
        channel::rendezvous(),
        channel::bounded(1),
        channel::bounded(2),
        channel::unbounded(),
    ]
}

/// Each producer's values in their order, all of them, none twice.
fn check_streams(received: &[(u32, u32)], producers: u32, each: u32) {
    let mut next = BTreeMap::new();
    for &(producer, number) in received {
        let expected = next.entry(producer).or_insert(0);
        assert_eq!(number, *expected, "of producer {producer} in {received:?}");
        *expected += 1;
    }
    assert_eq!(received.len() as u32, producers * each, "{received:?}");
}

#[test]
fn each_value_arrives_once_and_in_its_senders_order() {
    explore(|| {
        for (tx, rx) in every_kind() {
            for producer in 0..3 {
                let tx = tx.clone();
                spawn(move || (0..3).for_each(|number| tx.send((producer, number)).unwrap()));
            }
            drop(tx);
            check_streams(&rx.iter().collect::<Vec<_>>(), 3, 3);
        }
    });
}

#[test]
fn several_receivers_share_without_loss() {
    explore(|| {
        for (tx, rx) in every_kind() {
            let sum = Arc::new(AtomicU64::new(0));
            let takers = [(); 3].map(|()| {
                let (rx, sum) = (rx.clone(), sum.clone());
                spawn(move || {
                    for value in rx {
                        sum.fetch_add(value, Relaxed);
                    }
                })
            });
            drop(rx);
            let senders = [0, 1].map(|sender| {
                let tx = tx.clone();
                spawn(move || (0..4).for_each(|bit| tx.send(1u64 << (4 * sender + bit)).unwrap()))
            });
            drop(tx);
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            takers.into_iter().for_each(|taker| taker.join().unwrap());
            assert_eq!(sum.load(Relaxed), 0xFF);
        }
    });
}

/// A time-out gives the value back, or it was received: never both, never neither.
#[test]
fn what_comes_too_late_is_not_lost() {
    explore(|| {
        for (tx, rx) in every_kind() {
            let sender = spawn(move || {
                let mut back = 0;
                for value in 1..=4u32 {
                    match tx.send_timeout(value, Duration::from_micros(15)) {
                        Ok(()) => {}
                        Err(SendTimeoutError::Timeout(value)) => back += value,
                        Err(other) => panic!("{other:?}"),
                    }
                }
                back
            });
            let mut received = 0;
            let mut late = 0;
            loop {
                match rx.recv_timeout(Duration::from_micros(10)) {
                    Ok(value) => received += value,
                    Err(RecvTimeoutError::Timeout) => late += 1,
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(other) => panic!("{other:?}"),
                }
                assert!(late < 10_000, "the sender never ends");
            }
            assert_eq!(sender.join().unwrap() + received, 10);
        }
    });
}

/// An operation that was asked to end did nothing, or says what it did.
#[test]
fn a_cancel_takes_nothing_with_it() {
    explore(|| {
        for (tx, rx) in every_kind() {
            let kept = Arc::new(AtomicU32::new(0));
            let keep = kept.clone();
            let taker = spawn(move || {
                let mut taken = 0;
                loop {
                    match rx.recv() {
                        Ok(value) => taken += value,
                        Err(RecvError::Cancelled) => break,
                        Err(RecvError::Disconnected) => break,
                        Err(other) => panic!("{other:?}"),
                    }
                }
                // What is left comes out still.
                taken += rx.try_iter().sum::<u32>();
                keep.store(taken, Relaxed);
                taken
            });
            let sender = spawn(move || {
                (0..3)
                    .map(|bit| 1 << bit)
                    .filter(|value| tx.send(*value).is_ok())
                    .sum::<u32>()
            });
            checkpoint();
            taker.cancel(Duration::from_secs(1000));
            let sent = sender.join().unwrap();
            match taker.join() {
                // One that came between its last look and the end is dropped with the channel.
                Ok(taken) => assert!(taken <= sent && sent & taken == taken, "{taken} of {sent}"),
                Err(_) => assert_eq!(kept.load(Relaxed), 0, "cancelled before it began"),
            }
        }
    });
}

#[test]
fn a_close_reaches_everybody() {
    explore(|| {
        for (tx, rx) in every_kind::<u32>() {
            let waiting = [(); 3].map(|()| {
                let rx = rx.clone();
                spawn(move || rx.recv())
            });
            let closer = spawn(move || tx.close());
            for one in waiting {
                assert_eq!(one.join().unwrap(), Err(RecvError::Disconnected));
            }
            closer.join().unwrap();
        }
    });
}

#[test]
fn select_loses_nothing_and_sees_every_end() {
    explore(|| {
        let (a_tx, a) = channel::rendezvous();
        let (b_tx, b) = channel::bounded(1);
        let (c_tx, c) = channel::rendezvous();
        spawn(move || (0..3).for_each(|number| a_tx.send((0, number)).unwrap()));
        spawn(move || (0..3).for_each(|number| b_tx.send((1, number)).unwrap()));
        // Sends from a `select!` as well, to whoever comes.
        let (d_tx, d) = channel::bounded(1);
        spawn(move || {
            for number in 0..3 {
                select! {
                    sent = c_tx.send((2, number)) => sent.unwrap(),
                    sent = d_tx.send((2, number)) => sent.unwrap(),
                }
            }
        });
        let (mut from_d, mut all) = (Vec::new(), Vec::new());
        let (mut open_a, mut open_b, mut open_c, mut open_d) = (true, true, true, true);
        while open_a || open_b || open_c || open_d {
            select! {
                value = a.recv() => match value {
                    Ok(value) => all.push(value),
                    Err(_) => open_a = false,
                },
                value = b.recv() => match value {
                    Ok(value) => all.push(value),
                    Err(_) => open_b = false,
                },
                value = c.recv() => match value {
                    Ok(value) => all.push(value),
                    Err(_) => open_c = false,
                },
                value = d.recv() => match value {
                    Ok(value) => from_d.push(value),
                    Err(_) => open_d = false,
                },
            }
        }
        // Two ways have no common order.
        all.extend(from_d);
        all.sort_unstable();
        check_streams(&all, 3, 3);
    });
}

/// Two routines that `select!` over the same two rendezvous channels, one to send and one to receive in
/// each: they meet in one of them, and neither is in two places.
#[test]
fn two_selects_meet_once() {
    explore(|| {
        let (to_right, right) = channel::rendezvous();
        let (to_left, left) = channel::rendezvous();
        let (done_tx, done) = channel::unbounded();
        let other = done_tx.clone();
        let (r_rx, l_tx) = (right.clone(), to_left.clone());
        spawn(move || {
            select! {
                sent = to_right.send(1u32) => { sent.unwrap(); done_tx.send(('L', 0)).unwrap() }
                got = left.recv() => done_tx.send(('L', got.unwrap())).unwrap(),
            }
        });
        spawn(move || {
            select! {
                sent = l_tx.send(2u32) => { sent.unwrap(); other.send(('R', 0)).unwrap() }
                got = r_rx.recv() => other.send(('R', got.unwrap())).unwrap(),
            }
        });
        let mut seen: Vec<_> = done.iter().collect();
        seen.sort_unstable();
        assert!(
            seen == [('L', 0), ('R', 1)] || seen == [('L', 2), ('R', 0)],
            "{seen:?}"
        );
        drop((right, to_left));
    });
}

/// Among arms that are ready each is chosen as often as the others, over seeds and within a run.
#[test]
fn select_is_fair() {
    let counts = Arc::new([const { AtomicU32::new(0) }; 3]);
    let all = counts.clone();
    let config = Config::new().strategy(Strategy::Uniform);
    let runs = 300;
    let result = config.explore(0..runs, move || {
        let ready = [(); 3].map(|()| {
            let (tx, rx) = channel::bounded(30);
            (0..30).for_each(|_| tx.send(()).unwrap());
            (tx, rx)
        });
        for _ in 0..30 {
            let arm = select! {
                _ = ready[0].1.recv() => 0,
                _ = ready[1].1.recv() => 1,
                _ = ready[2].1.recv() => 2,
            };
            all[arm].fetch_add(1, Relaxed);
        }
    });
    assert_eq!(result.unwrap().runs, runs);
    // 9,000 draws of a third: mean 3,000, standard deviation 45. The seeds are fixed, and so is the
    // outcome; six deviations are for other versions of the generator.
    for count in counts.iter() {
        let count = count.load(Relaxed);
        assert!(count.abs_diff(3000) < 270, "{counts:?}");
    }
}

/// Futures and routines on one channel.
#[test]
fn tasks_and_routines_meet() {
    explore(|| {
        for (tx, rx) in every_kind() {
            let from_task = tx.clone();
            spawn_future(async move {
                for number in 0..3 {
                    from_task.send_async((0, number)).await.unwrap();
                }
            });
            spawn(move || (0..3).for_each(|number| tx.send((1, number)).unwrap()));
            let by_task = rx.clone();
            let task = spawn_future(async move {
                let mut got = Vec::new();
                while let Ok(value) = by_task.recv_async().await {
                    got.push(value);
                }
                got
            });
            let mut got: Vec<_> = rx.iter().collect();
            got.extend(task.join().unwrap());
            got.sort_unstable();
            check_streams(&got, 2, 3);
        }
    });
}

/// A task that is dropped while it waits gives back what it was given.
#[test]
fn a_task_that_is_aborted_gives_its_value_back() {
    explore(|| {
        for (tx, rx) in every_kind() {
            let by_task = rx.clone();
            let got = Arc::new(AtomicU32::new(0));
            let store = got.clone();
            let task = spawn_future(async move {
                if let Ok(value) = by_task.recv_async().await {
                    store.fetch_add(value, Relaxed);
                }
            });
            let sender = spawn(move || {
                tx.send(1).unwrap();
                tx.send(2).unwrap();
            });
            checkpoint();
            task.abort();
            // It may be given a value until it has ended, and give it back to a closed channel.
            let _ = task.join();
            let rest: u32 = rx.iter().sum();
            sender.join().unwrap();
            assert_eq!(rest + got.load(Relaxed), 3);
        }
    });
}

/// Ticks come at their moments of virtual time, however late somebody looks.
#[test]
fn ticks_keep_their_rhythm() {
    explore(|| {
        let period = Duration::from_millis(5);
        let began = time::now();
        let ticks = channel::tick(period);
        let busy = spawn(|| (0..20).for_each(|_| checkpoint()));
        for _ in 0..3 {
            let at = ticks.recv().unwrap() - began;
            assert_eq!(at.as_nanos() % period.as_nanos(), 0, "{at:?}");
            assert!(time::now() >= began + at);
        }
        busy.join().unwrap();
    });
}
