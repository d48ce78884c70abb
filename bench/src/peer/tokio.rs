//! The benches on tokio's multi-thread runtime.
//!
//! Its channels hold one value at least, so `pingpong` has room for one. It has no channel with several receivers: `mpmc`
//! is async-channel's. Tasks that wait park on a `Notify`, which is less than a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::countdown::Countdown;
use super::ours_waiting::create_figures;
use super::sleepers::{self, Sleepers};
use super::{Program, Setup};
use crate::catalogue::Id;
use crate::echo;
use crate::hash;
use crate::host::Memory;
use crate::measure::{Figure, Stopwatch};

/// The program of a bench, which starts a runtime of its own.
pub(super) fn program(id: Id) -> Option<Program> {
    Some(match id {
        Id::SpawnRun => |setup| on_runtime(setup, spawn_run),
        Id::SpawnBatch | Id::SpawnFuture => |setup| on_runtime(setup, spawn_batch),
        Id::SpawnJoin | Id::SpawnFutureJoin => |setup| on_runtime(setup, spawn_join),
        Id::Create => |setup| on_runtime(setup, create),
        Id::YieldAlone => |setup| on_runtime(setup, yield_alone),
        Id::YieldPair => |setup| on_runtime(setup, yield_pair),
        Id::Pingpong => |setup| on_runtime(setup, pingpong),
        Id::ChanSelf => |setup| on_runtime(setup, chan_self),
        Id::Mpmc => |setup| on_runtime(setup, mpmc),
        Id::Mpsc => |setup| on_runtime(setup, mpsc_of_four),
        Id::Select => |setup| on_runtime(setup, select_of_two),
        Id::MutexUncontended => |setup| on_runtime(setup, |size| mutex(size, 1)),
        Id::MutexContended => |setup| on_runtime(setup, |size| mutex(size, 8)),
        Id::Skynet10k | Id::Skynet1m => |setup| on_runtime(setup, skynet),
        Id::Parked => |setup| on_runtime(setup, parked),
        Id::Unstarted => |setup| on_runtime(setup, unstarted),
        Id::Timers20k | Id::Timers100k => |setup| on_runtime(setup, timers),
        Id::TimersBusy => |setup| on_runtime(setup, timers_busy),
        Id::Echo50 | Id::Echo1000 => echo,
        Id::Sha256 => |setup| {
            let workers = setup.workers as u64;
            on_runtime(setup, move |size| sha256(size, workers))
        },
        _ => return None,
    })
}

pub(super) fn runtime(setup: &Setup) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(setup.workers)
        .enable_all()
        .build()
        .expect("a runtime of so many workers")
}

fn on_runtime<F>(setup: &Setup, body: impl FnOnce(u64) -> F) -> Vec<Figure>
where
    F: Future<Output = Vec<Figure>> + Send + 'static,
{
    let runtime = runtime(setup);
    let body = runtime.spawn(body(setup.size));
    runtime.block_on(body).expect("the bench ends")
}

async fn spawn_run(size: u64) -> Vec<Figure> {
    let (countdown, all) = countdown();
    let watch = Stopwatch::start();
    countdown.expect(size);
    for _ in 0..size {
        tokio::spawn(async move { countdown.one() });
    }
    all.notified().await;
    watch.per_op(size)
}

/// A countdown whose last one notifies.
fn countdown() -> (&'static Countdown, Arc<Notify>) {
    let all = Arc::new(Notify::new());
    let last = all.clone();
    (Countdown::new(move || last.notify_one()), all)
}

const BATCH: u64 = 1_000;

async fn spawn_batch(size: u64) -> Vec<Figure> {
    let (countdown, all) = countdown();
    let batch = async || {
        countdown.expect(BATCH);
        for _ in 0..BATCH {
            tokio::spawn(async move { countdown.one() });
        }
        all.notified().await;
    };
    batch().await;
    let watch = Stopwatch::start();
    for _ in 0..size / BATCH {
        batch().await;
    }
    watch.per_op(size)
}

async fn spawn_join(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let mut sum = 0;
    for i in 0..size {
        sum += tokio::spawn(async move { i }).await.expect("a number");
    }
    let figures = watch.per_op(size);
    assert_eq!(sum, size * (size - 1) / 2);
    figures
}

/// Tasks have no stacks: cold and warm differ by what the allocator has at hand.
async fn create(size: u64) -> Vec<Figure> {
    let (gate, _) = tokio::sync::broadcast::channel::<()>(1);
    let (here, mut arrived) = mpsc::channel(1);
    let (mut all, mut cold) = (Vec::new(), Vec::new());
    for _ in 0..size {
        let (here, mut closed) = (here.clone(), gate.subscribe());
        let began = Instant::now();
        all.push(tokio::spawn(async move {
            here.send(()).await.expect("the spawner waits");
            closed.recv().await.expect_err("the gate sends nothing");
        }));
        arrived.recv().await.expect("it arrives");
        cold.push(began.elapsed().as_nanos() as u64);
    }
    drop(gate);
    for one in all {
        one.await.expect("it ends");
    }
    let mut warm = Vec::new();
    for i in 0..size {
        let began = Instant::now();
        std::hint::black_box(tokio::spawn(async move { i }).await.expect("a number"));
        warm.push(began.elapsed().as_nanos() as u64);
    }
    create_figures(cold, warm)
}

async fn yield_alone(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    for _ in 0..size {
        yield_now().await;
    }
    watch.per_op(size)
}

async fn yield_pair(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let pair = [(); 2].map(|()| {
        tokio::spawn(async move {
            for _ in 0..size / 2 {
                yield_now().await;
            }
        })
    });
    for one in pair {
        one.await.expect("it gives way and ends");
    }
    watch.per_op(size)
}

async fn pingpong(size: u64) -> Vec<Figure> {
    let (ping, mut to) = mpsc::channel(1);
    let (back, mut pong) = mpsc::channel(1);
    let partner = tokio::spawn(async move {
        while let Some(i) = to.recv().await {
            back.send(i).await.expect("the other is there");
        }
    });
    let watch = Stopwatch::start();
    for i in 0..size {
        ping.send(i).await.expect("the partner is there");
        std::hint::black_box(pong.recv().await.expect("the partner answers"));
    }
    let figures = watch.per_op(size);
    drop(ping);
    partner.await.expect("the partner ends");
    figures
}

async fn chan_self(size: u64) -> Vec<Figure> {
    let (tx, mut rx) = mpsc::channel(16);
    let watch = Stopwatch::start();
    for i in 0..size {
        tx.send(i).await.expect("open");
        std::hint::black_box(rx.recv().await.expect("open"));
    }
    watch.per_op(size)
}

async fn mpmc(size: u64) -> Vec<Figure> {
    let (tx, rx) = async_channel::bounded(128);
    let watch = Stopwatch::start();
    for _ in 0..4 {
        let tx = tx.clone();
        tokio::spawn(async move {
            for i in 0..size / 4 {
                tx.send(i).await.expect("open");
            }
        });
    }
    drop(tx);
    let receivers = [(); 4].map(|()| {
        let rx = rx.clone();
        tokio::spawn(async move {
            let mut count = 0;
            while rx.recv().await.is_ok() {
                count += 1;
            }
            count
        })
    });
    let mut received = 0;
    for receiver in receivers {
        received += receiver.await.expect("a count");
    }
    let figures = watch.per_op(size);
    assert_eq!(received, size / 4 * 4);
    figures
}

async fn mpsc_of_four(size: u64) -> Vec<Figure> {
    let (tx, mut rx) = mpsc::channel(128);
    let watch = Stopwatch::start();
    for _ in 0..4 {
        let tx = tx.clone();
        tokio::spawn(async move {
            for i in 0..size / 4 {
                tx.send(i).await.expect("open");
            }
        });
    }
    drop(tx);
    let mut received = 0;
    while rx.recv().await.is_some() {
        received += 1;
    }
    let figures = watch.per_op(size);
    assert_eq!(received, size / 4 * 4);
    figures
}

async fn select_of_two(size: u64) -> Vec<Figure> {
    let (to_a, mut a) = mpsc::channel(128);
    let (to_b, mut b) = mpsc::channel(128);
    let watch = Stopwatch::start();
    for to in [&to_a, &to_b] {
        let to = to.clone();
        tokio::spawn(async move {
            for i in 0..size / 2 {
                to.send(i).await.expect("open");
            }
        });
    }
    let mut sum = 0;
    for _ in 0..size / 2 * 2 {
        tokio::select! {
            value = a.recv() => sum += value.expect("open"),
            value = b.recv() => sum += value.expect("open"),
        }
    }
    let figures = watch.per_op(size);
    let half = size / 2;
    assert_eq!(sum, half * (half - 1));
    figures
}

async fn mutex(size: u64, tasks: u64) -> Vec<Figure> {
    let counter = Arc::new(Mutex::new(0u64));
    let count = async |counter: &Mutex<u64>| {
        for _ in 0..size / tasks {
            *counter.lock().await += 1;
        }
    };
    let watch = Stopwatch::start();
    if tasks == 1 {
        count(&counter).await;
    } else {
        let all: Vec<_> = (0..tasks)
            .map(|_| {
                let counter = counter.clone();
                tokio::spawn(async move {
                    for _ in 0..size / tasks {
                        *counter.lock().await += 1;
                    }
                })
            })
            .collect();
        for one in all {
            one.await.expect("it counts and ends");
        }
    }
    let figures = watch.per_op(size);
    assert_eq!(*counter.lock().await, size / tasks * tasks);
    figures
}

fn node(first: u64, leaves: u64) -> std::pin::Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if leaves == 1 {
            return first;
        }
        let each = leaves / 10;
        let children: [_; 10] =
            std::array::from_fn(|i| tokio::spawn(node(first + i as u64 * each, each)));
        let mut sum = 0;
        for child in children {
            sum += child.await.expect("a sum");
        }
        sum
    })
}

async fn skynet(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let sum = node(0, size).await;
    let figures = watch.per_op(size);
    assert_eq!(sum, size * (size - 1) / 2);
    figures
}

async fn parked(size: u64) -> Vec<Figure> {
    static ARRIVED: AtomicU64 = AtomicU64::new(0);
    let gate = Arc::new(Notify::new());
    let (countdown, all_ended) = countdown();
    countdown.expect(size);
    let before = Memory::read();
    let watch = Stopwatch::start();
    for _ in 0..size {
        let gate = gate.clone();
        tokio::spawn(async move {
            let opened = gate.notified();
            ARRIVED.fetch_add(1, Relaxed);
            opened.await;
            countdown.one();
        });
    }
    while ARRIVED.load(Relaxed) < size {
        sleep(Duration::from_millis(1)).await;
    }
    let spawning = watch.read().0;
    let held = Memory::read().since(&before);
    let releasing = Stopwatch::start();
    gate.notify_waiters();
    all_ended.notified().await;
    held.figures(size, spawning + releasing.read().0)
}

async fn unstarted(size: u64) -> Vec<Figure> {
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    let before = Memory::read();
    let watch = Stopwatch::start();
    for i in 0..size {
        tokio::spawn(async move { BEGUN.fetch_add(i, Relaxed) });
    }
    let spawning = watch.read().0;
    assert_eq!(BEGUN.load(Relaxed), 0, "a task began");
    Memory::read().since(&before).figures(size, spawning)
}

async fn timers(size: u64) -> Vec<Figure> {
    let sleepers = Sleepers::new(size);
    let all: Vec<_> = (0..size)
        .map(|index| {
            let sleepers = sleepers.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                sleep(sleepers.duration(index)).await;
                sleepers.awake(index, began);
            })
        })
        .collect();
    for one in all {
        one.await.expect("it wakes and ends");
    }
    sleepers.figures()
}

async fn timers_busy(size: u64) -> Vec<Figure> {
    let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let hogs: Vec<_> = (0..sleepers::HOGS)
        .map(|_| {
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    sleepers::compute();
                    yield_now().await;
                }
            })
        })
        .collect();
    let figures = timers(size).await;
    stop.store(true, Relaxed);
    for hog in hogs {
        hog.await.expect("it stops");
    }
    figures
}

/// Serves until it is told to end.
fn echo(setup: &Setup) -> Vec<Figure> {
    let runtime = runtime(setup);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port of this machine");
    let address = listener.local_addr();
    runtime.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let mut bytes = [0; 256];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    if stream.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    echo::serve(address)
}

async fn sha256(size: u64, workers: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let all: Vec<_> = (0..workers)
        .map(|part| {
            tokio::spawn(async move {
                let mut header = hash::Header::new(part);
                let mut left = size / workers;
                while left > 0 {
                    let now = hash::TURN.min(left);
                    header.hash_times(now);
                    left -= now;
                    yield_now().await;
                }
                header.digest()
            })
        })
        .collect();
    for one in all {
        std::hint::black_box(one.await.expect("a digest"));
    }
    watch.per_op(size / workers * workers)
}
