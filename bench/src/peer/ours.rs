//! Our own form of the benches: an ordinary user of the runtime's public API.

use std::fmt;
use std::time::Duration;

use openwork::channel::{self, Receiver};
use openwork::sync::Mutex;
use openwork::{Runtime, Turn, scope, select, spawn, spawn_future, spawn_turns, time, yield_now};

use super::countdown::Countdown;
use super::ours_waiting as waiting;
use super::{Body, Setup};
use crate::catalogue::Id;
use crate::hash;
use crate::measure::{Figure, Stopwatch};

/// What the routine of a bench does, with so many operations on so many workers.
pub(super) fn body(id: Id) -> Option<Body> {
    Some(match id {
        Id::SpawnRun => |size, _| spawn_run(size),
        Id::SpawnBatch => |size, _| spawn_batch(size),
        Id::SpawnJoin => |size, _| spawn_join(size),
        Id::SpawnFuture => |size, _| spawn_futures(size),
        Id::SpawnFutureJoin => |size, _| spawn_future_join(size),
        Id::Create => |size, _| waiting::create(size),
        Id::YieldAlone => |size, _| yield_alone(size),
        Id::YieldPair => |size, _| yield_pair(size),
        Id::Pingpong => |size, _| pingpong(size),
        Id::ChanSelf => |size, _| chan_self(size),
        Id::Mpmc => |size, _| many(size, 4),
        Id::Mpsc => |size, _| many(size, 1),
        Id::Select => |size, _| select_of_two(size),
        Id::MutexUncontended => |size, _| mutex(size, 1),
        Id::MutexContended => |size, _| mutex(size, 8),
        Id::Skynet10k | Id::Skynet1m => |size, _| skynet(size),
        Id::Parked => |size, _| waiting::parked(size),
        Id::Unstarted => |size, _| waiting::unstarted(size),
        Id::Timers20k | Id::Timers100k => |size, _| waiting::timers(size),
        Id::TimersBusy => |size, _| waiting::timers_busy(size),
        Id::Sha256 => sha256,
        _ => return None,
    })
}

/// Runs a body as the first routine of a runtime.
pub(super) fn on_runtime(setup: &Setup, body: Body) -> Vec<Figure> {
    runtime(setup).block_on(|| body(setup.size, setup.workers as u64))
}

pub(super) fn runtime(setup: &Setup) -> Runtime {
    Runtime::builder()
        .workers(setup.workers)
        .record_turns(setup.recorder)
        .build()
        .expect("a runtime of so many workers")
}

/// The value. In the service a bench can be cancelled like every run, and that reaches its routines one
/// after the other: who sees a partner gone first waits for its own cancel, which ends it here.
pub(super) fn got<T, E: fmt::Debug>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        time::sleep(Duration::from_secs(1));
        panic!("{error:?}")
    })
}

/// No value was lost; or the bench is being cancelled.
fn sure(holds: bool) {
    got(holds.then_some(()).ok_or("a value was lost"));
}

/// A countdown, and the receiver that its last one wakes.
type Awaited = (&'static Countdown, Receiver<()>);

/// Calls `body` with a countdown that nobody else uses. It is used again afterwards, so a service that runs
/// benches for ever keeps as many as it ran at once; one whose bench was cancelled may still be counted down, and is left alone.
pub(super) fn with_countdown<T>(body: impl FnOnce(&'static Countdown, &Receiver<()>) -> T) -> T {
    static FREE: Mutex<Vec<Awaited>> = Mutex::new(Vec::new());
    let free = got(FREE.lock()).pop();
    let (countdown, all) = free.unwrap_or_else(|| {
        let (tx, rx) = channel::bounded(1);
        let countdown = Countdown::new(move || got(tx.send(())));
        (countdown, rx)
    });
    let value = body(countdown, &all);
    got(FREE.lock()).push((countdown, all));
    value
}

fn spawn_run(size: u64) -> Vec<Figure> {
    with_countdown(|countdown, all| {
        let watch = Stopwatch::start();
        countdown.expect(size);
        for _ in 0..size {
            spawn(move || countdown.one()).detach();
        }
        got(all.recv());
        watch.per_op(size)
    })
}

const BATCH: u64 = 1_000;

fn spawn_batch(size: u64) -> Vec<Figure> {
    with_countdown(|countdown, all| {
        let batch = || {
            countdown.expect(BATCH);
            for _ in 0..BATCH {
                spawn(move || countdown.one()).detach();
            }
            got(all.recv());
        };
        batch();
        let watch = Stopwatch::start();
        (0..size / BATCH).for_each(|_| batch());
        watch.per_op(size)
    })
}

fn spawn_join(size: u64) -> Vec<Figure> {
    let round = |size| (0..size).map(|i| got(spawn(move || i).join())).sum::<u64>();
    round(BATCH);
    let watch = Stopwatch::start();
    let sum = round(size);
    let figures = watch.per_op(size);
    sure(sum == size * (size - 1) / 2);
    figures
}

fn spawn_futures(size: u64) -> Vec<Figure> {
    with_countdown(|countdown, all| {
        let batch = || {
            countdown.expect(BATCH);
            for _ in 0..BATCH {
                spawn_future(async move { countdown.one() }).detach();
            }
            got(all.recv());
        };
        batch();
        let watch = Stopwatch::start();
        (0..size / BATCH).for_each(|_| batch());
        watch.per_op(size)
    })
}

fn spawn_future_join(size: u64) -> Vec<Figure> {
    let spawner = spawn_future(async move {
        let watch = Stopwatch::start();
        let mut sum = 0;
        for i in 0..size {
            sum += spawn_future(async move { i }).await.expect("a number");
        }
        sure(sum == size * (size - 1) / 2);
        watch.per_op(size)
    });
    got(spawner.join())
}

fn yield_alone(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    for _ in 0..size {
        yield_now();
    }
    watch.per_op(size)
}

fn yield_pair(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let pair = [(); 2].map(|()| spawn(move || (0..size / 2).for_each(|_| yield_now())));
    for one in pair {
        got(one.join());
    }
    watch.per_op(size)
}

fn pingpong(size: u64) -> Vec<Figure> {
    let (ping, to) = channel::rendezvous();
    let (back, pong) = channel::rendezvous();
    let partner = spawn(move || to.iter().for_each(|i: u64| got(back.send(i))));
    let watch = Stopwatch::start();
    for i in 0..size {
        got(ping.send(i));
        std::hint::black_box(got(pong.recv()));
    }
    let figures = watch.per_op(size);
    drop(ping);
    got(partner.join());
    figures
}

fn chan_self(size: u64) -> Vec<Figure> {
    let (tx, rx) = channel::bounded(16);
    let watch = Stopwatch::start();
    for i in 0..size {
        got(tx.send(i));
        std::hint::black_box(got(rx.recv()));
    }
    watch.per_op(size)
}

const SENDERS: u64 = 4;
const ROOM: usize = 128;

/// From four senders to so many receivers.
fn many(size: u64, receivers: usize) -> Vec<Figure> {
    let (tx, rx) = channel::bounded(ROOM);
    let watch = Stopwatch::start();
    for _ in 0..SENDERS {
        let tx = tx.clone();
        spawn(move || (0..size / SENDERS).for_each(|i| got(tx.send(i)))).detach();
    }
    drop(tx);
    let receivers: Vec<_> = (0..receivers)
        .map(|_| {
            let rx = rx.clone();
            spawn(move || rx.iter().count() as u64)
        })
        .collect();
    let received: u64 = receivers.into_iter().map(|r| got(r.join())).sum();
    let figures = watch.per_op(size);
    sure(received == size / SENDERS * SENDERS);
    figures
}

fn select_of_two(size: u64) -> Vec<Figure> {
    // The senders that stay here keep the channels open: a closed one would be ready for ever.
    let (to_a, a) = channel::bounded(ROOM);
    let (to_b, b) = channel::bounded(ROOM);
    let watch = Stopwatch::start();
    for to in [&to_a, &to_b] {
        let to = to.clone();
        spawn(move || (0..size / 2).for_each(|i| got(to.send(i)))).detach();
    }
    let mut sum = 0;
    for _ in 0..size / 2 * 2 {
        select! {
            value = a.recv() => sum += value.expect("open"),
            value = b.recv() => sum += value.expect("open"),
        }
    }
    let figures = watch.per_op(size);
    let half = size / 2;
    sure(sum == half * (half - 1));
    figures
}

/// So many routines that want one lock all the time.
fn mutex(size: u64, routines: u64) -> Vec<Figure> {
    let counter = Mutex::new(0u64);
    let count = || {
        for _ in 0..size / routines {
            *got(counter.lock()) += 1;
        }
    };
    let watch = Stopwatch::start();
    if routines == 1 {
        count();
    } else {
        scope(|s| (0..routines).for_each(|_| drop(s.spawn(count))));
    }
    let figures = watch.per_op(size);
    sure(*got(counter.lock()) == size / routines * routines);
    figures
}

const CHILDREN: u64 = 10;

/// The sum of the numbers of all leaves below a node.
fn node(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let each = leaves / CHILDREN;
    let child = |i| spawn(move || node(first + i * each, each));
    let children: [_; CHILDREN as usize] = std::array::from_fn(|i| child(i as u64));
    children.into_iter().map(|c| got(c.join())).sum()
}

fn skynet(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let sum = node(0, size);
    let figures = watch.per_op(size);
    sure(sum == size * (size - 1) / 2);
    figures
}

/// Turn loops, one per worker, that may move between two turns: a turn computes for about half a
/// millisecond.
fn sha256(size: u64, workers: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let loops: Vec<_> = (0..workers)
        .map(|part| {
            spawn_turns(
                (hash::Header::new(part), size / workers),
                |(header, left)| {
                    let now = hash::TURN.min(*left);
                    header.hash_times(now);
                    *left -= now;
                    match *left {
                        0 => Turn::Done(header.digest()),
                        _ => Turn::Again,
                    }
                },
            )
        })
        .collect();
    for one in loops {
        std::hint::black_box(got(one.join()));
    }
    watch.per_op(size / workers * workers)
}
