//! Handles, channel ends and streams on other executors than tokio (which has a crate of its own), and their
//! futures on ours: nothing here knows who polls.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_executor::{Executor, LocalExecutor};
use futures_executor::{LocalPool, ThreadPool};
use futures_util::future::{join_all, select};
use futures_util::stream::{FuturesUnordered, StreamExt, select_all};
use futures_util::task::{LocalSpawnExt, SpawnExt};
use openwork::{JoinError, block_on, channel, spawn, spawn_future, time};
use support::{Ledger, Watchdog, runtime};

const LONG: Duration = Duration::from_secs(100);

async fn sum_of(rx: channel::Receiver<u64>) -> u64 {
    let mut sum = 0;
    let mut values = rx.into_stream();
    while let Some(n) = values.next().await {
        sum += n;
    }
    sum
}

/// Routines are awaited by the executors of the `futures` crates, single-threaded and not.
#[test]
fn futures_executors_await_routines() {
    let watchdog = Watchdog::new("futures-executor");
    let rt = runtime(2);
    watchdog.watch("futures-executor", &rt.handle());
    let handle = rt.handle();
    let all = futures_executor::block_on(join_all((0..50_u64).map(|n| {
        handle.spawn(move || {
            time::sleep(Duration::from_micros(n));
            n
        })
    })));
    assert_eq!(all.into_iter().map(Result::unwrap).sum::<u64>(), 1225);

    let mut local = LocalPool::new();
    let (tx, rx) = channel::rendezvous();
    let sum = local.spawner().spawn_local_with_handle(sum_of(rx)).unwrap();
    let routine = rt.spawn(move || (1..=100).for_each(|n| tx.send(n).unwrap()));
    assert_eq!(local.run_until(sum), 5050);
    routine.join().unwrap();

    let threads = ThreadPool::builder().pool_size(2).create().unwrap();
    let (tx, rx) = channel::bounded(3);
    let senders: Vec<_> = (0..4_u64)
        .map(|part| {
            let tx = tx.clone();
            let send = async move {
                for n in 0..250 {
                    tx.send_async(part * 250 + n).await.unwrap();
                }
            };
            threads.spawn_with_handle(send).unwrap()
        })
        .collect();
    drop(tx);
    let receivers: Vec<_> = (0..3)
        .map(|_| {
            let rx = rx.clone();
            rt.spawn(move || rx.iter().sum::<u64>())
        })
        .collect();
    futures_executor::block_on(join_all(senders));
    let sum: u64 = receivers.into_iter().map(|r| r.join().unwrap()).sum();
    assert_eq!(sum, 999 * 1000 / 2);
    rt.shutdown(LONG).unwrap();
}

/// And by the one of the smol family, which took the place of async-std.
#[test]
fn smols_executor_awaits_routines() {
    let watchdog = Watchdog::new("async-executor");
    let rt = runtime(2);
    watchdog.watch("async-executor", &rt.handle());
    let executor = Executor::new();
    let (tx, rx) = channel::unbounded();
    let task = executor.spawn(sum_of(rx));
    let panics = executor.spawn(rt.spawn(|| panic!("in the routine")));
    let routine = rt.spawn(move || {
        // Our routine runs their executor, and its tasks wait for our routines.
        let local = LocalExecutor::new();
        block_on(local.run(async {
            let parts = (0..10_u64).map(|n| local.spawn(spawn_future(async move { n * n })));
            for part in parts.collect::<Vec<_>>() {
                tx.send(part.await.unwrap()).unwrap();
            }
        }));
    });
    assert_eq!(futures_executor::block_on(executor.run(task)), 285);
    let panicked: Result<(), JoinError> = futures_executor::block_on(executor.run(panics));
    assert_eq!(panicked.unwrap_err().message(), "in the routine");
    routine.join().unwrap();
    rt.shutdown(LONG).unwrap();
}

/// Combinators keep wakers of their own: which member is polled again depends on them.
#[test]
fn combinators_work_in_routines() {
    let watchdog = Watchdog::new("combinators");
    let rt = runtime(1);
    watchdog.watch("combinators", &rt.handle());
    let sums = rt.block_on(|| {
        let mut open: FuturesUnordered<_> = (0..20_u64)
            .map(|n| {
                spawn(move || {
                    time::sleep(Duration::from_micros((20 - n) * 50));
                    n
                })
            })
            .collect();
        let unordered = block_on(async {
            let mut sum = 0;
            while let Some(done) = open.next().await {
                sum += done.unwrap();
            }
            sum
        });
        let (streams, senders): (Vec<_>, Vec<_>) = (0..5)
            .map(|part| {
                let (tx, rx) = channel::bounded(1);
                let sender = spawn(move || (0..20_u64).for_each(|n| tx.send(n + part).unwrap()));
                (rx.into_stream(), sender)
            })
            .unzip();
        let merged = block_on(select_all(streams).fold(0, async |sum, n| sum + n));
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        let ticks = block_on(time::interval(Duration::from_micros(100)).take(5).count());
        let ticked = channel::tick(Duration::from_micros(100));
        (
            unordered,
            merged,
            ticks + block_on(ticked.stream().take(5).count()),
        )
    });
    assert_eq!(sums, (190, 5 * 190 + 20 * 10, 10));
    rt.shutdown(LONG).unwrap();
}

/// A stream that is dropped in its wait takes a value along.
#[test]
fn a_dropped_stream_loses_nothing() {
    const VALUES: u64 = 2000;
    let watchdog = Watchdog::new("dropped streams");
    let ledger = Ledger::new();
    let rt = runtime(2);
    watchdog.watch("dropped streams", &rt.handle());
    let (tx, rx) = channel::rendezvous();
    let got = Arc::new(AtomicU64::new(0));
    let takers: Vec<_> = (0..3)
        .map(|_| {
            let (rx, got) = (rx.clone(), got.clone());
            rt.spawn(move || {
                block_on(async {
                    loop {
                        let mut stream = rx.stream();
                        let next = stream.next();
                        // Loses against the clock again and again.
                        match select(next, time::after(Duration::from_micros(20))).await {
                            futures_util::future::Either::Left((Some(token), _)) => {
                                drop::<support::Token>(token);
                                got.fetch_add(1, SeqCst);
                            }
                            futures_util::future::Either::Left((None, _)) => return,
                            futures_util::future::Either::Right(_) => {}
                        }
                    }
                });
            })
        })
        .collect();
    drop(rx);
    for _ in 0..VALUES {
        tx.send(ledger.token()).unwrap();
    }
    drop(tx);
    for taker in takers {
        taker.join().unwrap();
    }
    assert_eq!(got.load(SeqCst), VALUES);
    ledger.check("what was sent");
    rt.shutdown(LONG).unwrap();
}
