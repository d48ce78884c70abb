//! The benches on may's coroutines.
//!
//! It has unbounded channels only, so every channel here is one. Each stack is two mappings: with the default
//! `vm.max_map_count` it ends at about 32,700 coroutines alive at once, so it has no form of the benches
//! that need more.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use may::coroutine::{sleep, yield_now};
use may::go;
use may::net::TcpListener;
use may::sync::{Mutex, mpmc, mpsc};

use super::countdown::Countdown;
use super::ours_waiting::create_figures;
use super::sleepers::{self, Sleepers};
use super::{Program, Setup};
use crate::catalogue::Id;
use crate::echo;
use crate::hash;
use crate::measure::{Figure, Stopwatch};

/// The program of a bench, for a process of its own: may's workers belong to the process.
pub(super) fn program(id: Id) -> Option<Program> {
    Some(match id {
        Id::SpawnBatch => |setup| in_coroutine(setup, |size, _| spawn_batch(size)),
        Id::SpawnJoin => |setup| in_coroutine(setup, |size, _| spawn_join(size / 10)),
        Id::Create => |setup| in_coroutine(setup, |size, _| create(size)),
        Id::YieldAlone => |setup| in_coroutine(setup, |size, _| yield_alone(size)),
        Id::YieldPair => |setup| in_coroutine(setup, |size, _| yield_pair(size)),
        Id::Pingpong => |setup| in_coroutine(setup, |size, _| pingpong(size)),
        Id::ChanSelf => |setup| in_coroutine(setup, |size, _| chan_self(size)),
        Id::Mpmc => |setup| in_coroutine(setup, |size, _| many_to_many(size)),
        Id::Mpsc => |setup| in_coroutine(setup, |size, _| many_to_one(size)),
        Id::MutexUncontended => |setup| in_coroutine(setup, |size, _| mutex(size, 1)),
        Id::MutexContended => |setup| in_coroutine(setup, |size, _| mutex(size / 4, 8)),
        Id::Skynet10k => |setup| in_coroutine(setup, |size, _| skynet(size)),
        Id::Timers20k => |setup| in_coroutine(setup, |size, _| timers(size)),
        Id::TimersBusy => |setup| in_coroutine(setup, |size, _| timers_busy(size)),
        Id::Echo50 | Id::Echo1000 => echo,
        Id::Sha256 => |setup| in_coroutine(setup, sha256),
        _ => return None,
    })
}

fn in_coroutine(setup: &Setup, body: fn(u64, u64) -> Vec<Figure>) -> Vec<Figure> {
    may::config().set_workers(setup.workers);
    let (size, workers) = (setup.size, setup.workers as u64);
    go!(move || body(size, workers))
        .join()
        .expect("the bench ends")
}

const BATCH: u64 = 1_000;

fn spawn_batch(size: u64) -> Vec<Figure> {
    let (tx, all) = mpsc::channel();
    let countdown = Countdown::new(move || tx.send(()).expect("the spawner waits"));
    let batch = || {
        countdown.expect(BATCH);
        for _ in 0..BATCH {
            go!(move || countdown.one());
        }
        all.recv().expect("the last one tells");
    };
    batch();
    let watch = Stopwatch::start();
    (0..size / BATCH).for_each(|_| batch());
    watch.per_op(size)
}

fn spawn_join(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    for i in 0..size {
        std::hint::black_box(go!(move || i).join().expect("a number"));
    }
    watch.per_op(size)
}

fn create(size: u64) -> Vec<Figure> {
    let (gate, closed) = mpmc::channel::<()>();
    let (here, arrived) = mpsc::channel();
    let mut all = Vec::new();
    let cold: Vec<u64> = (0..size)
        .map(|_| {
            let (here, closed) = (here.clone(), closed.clone());
            let began = Instant::now();
            all.push(go!(move || {
                here.send(()).expect("the spawner waits");
                closed.recv().expect_err("the gate sends nothing");
            }));
            arrived.recv().expect("it arrives");
            began.elapsed().as_nanos() as u64
        })
        .collect();
    drop(gate);
    for one in all {
        one.join().expect("it ends");
    }
    let warm: Vec<u64> = (0..size)
        .map(|i| {
            let began = Instant::now();
            std::hint::black_box(go!(move || i).join().expect("a number"));
            began.elapsed().as_nanos() as u64
        })
        .collect();
    create_figures(cold, warm)
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
    let pair = [(); 2].map(|()| go!(move || (0..size / 2).for_each(|_| yield_now())));
    for one in pair {
        one.join().expect("it gives way and ends");
    }
    watch.per_op(size)
}

fn pingpong(size: u64) -> Vec<Figure> {
    let (ping, to) = mpsc::channel();
    let (back, pong) = mpsc::channel();
    let partner = go!(move || to
        .iter()
        .for_each(|i: u64| back.send(i).expect("the other is there")));
    let watch = Stopwatch::start();
    for i in 0..size {
        ping.send(i).expect("the partner is there");
        std::hint::black_box(pong.recv().expect("the partner answers"));
    }
    let figures = watch.per_op(size);
    drop(ping);
    partner.join().expect("the partner ends");
    figures
}

fn chan_self(size: u64) -> Vec<Figure> {
    let (tx, rx) = mpsc::channel();
    let watch = Stopwatch::start();
    for i in 0..size {
        tx.send(i).expect("open");
        std::hint::black_box(rx.recv().expect("open"));
    }
    watch.per_op(size)
}

fn many_to_many(size: u64) -> Vec<Figure> {
    let (tx, rx) = mpmc::channel();
    let watch = Stopwatch::start();
    for _ in 0..4 {
        let tx = tx.clone();
        go!(move || (0..size / 4).for_each(|i: u64| tx.send(i).expect("open")));
    }
    drop(tx);
    let receivers = [(); 4].map(|()| {
        let rx = rx.clone();
        go!(move || rx.iter().count() as u64)
    });
    let received: u64 = receivers
        .into_iter()
        .map(|r| r.join().expect("a count"))
        .sum();
    let figures = watch.per_op(size);
    assert_eq!(received, size / 4 * 4);
    figures
}

fn many_to_one(size: u64) -> Vec<Figure> {
    let (tx, rx) = mpsc::channel();
    let watch = Stopwatch::start();
    for _ in 0..4 {
        let tx = tx.clone();
        go!(move || (0..size / 4).for_each(|i: u64| tx.send(i).expect("open")));
    }
    drop(tx);
    let received = rx.iter().count() as u64;
    let figures = watch.per_op(size);
    assert_eq!(received, size / 4 * 4);
    figures
}

fn mutex(size: u64, coroutines: u64) -> Vec<Figure> {
    let counter = Arc::new(Mutex::new(0u64));
    let watch = Stopwatch::start();
    let all: Vec<_> = (0..coroutines)
        .map(|_| {
            let counter = counter.clone();
            go!(move || {
                for _ in 0..size / coroutines {
                    *counter.lock().expect("nobody panics") += 1;
                }
            })
        })
        .collect();
    for one in all {
        one.join().expect("it counts and ends");
    }
    let figures = watch.per_op(size);
    assert_eq!(
        *counter.lock().expect("nobody panics"),
        size / coroutines * coroutines
    );
    figures
}

fn node(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let each = leaves / 10;
    let children: [_; 10] =
        std::array::from_fn(|i| go!(move || node(first + i as u64 * each, each)));
    children.into_iter().map(|c| c.join().expect("a sum")).sum()
}

fn skynet(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let sum = node(0, size);
    let figures = watch.per_op(size);
    assert_eq!(sum, size * (size - 1) / 2);
    figures
}

fn timers(size: u64) -> Vec<Figure> {
    let sleepers = Sleepers::new(size);
    let all: Vec<_> = (0..size)
        .map(|index| {
            let sleepers = sleepers.clone();
            go!(move || {
                let began = Instant::now();
                sleep(sleepers.duration(index));
                sleepers.awake(index, began);
            })
        })
        .collect();
    for one in all {
        one.join().expect("it wakes and ends");
    }
    sleepers.figures()
}

fn timers_busy(size: u64) -> Vec<Figure> {
    let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let hogs: Vec<_> = (0..sleepers::HOGS)
        .map(|_| {
            go!(move || {
                while !stop.load(Relaxed) {
                    sleepers::compute();
                    yield_now();
                }
            })
        })
        .collect();
    let figures = timers(size);
    stop.store(true, Relaxed);
    for hog in hogs {
        hog.join().expect("it stops");
    }
    figures
}

/// Serves until it is told to end.
fn echo(setup: &Setup) -> Vec<Figure> {
    may::config().set_workers(setup.workers);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
    let address = listener.local_addr();
    go!(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            go!(move || {
                let mut bytes = [0; 256];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    echo::serve(address)
}

fn sha256(size: u64, workers: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let all: Vec<_> = (0..workers)
        .map(|part| {
            go!(move || {
                let mut header = hash::Header::new(part);
                let mut left = size / workers;
                while left > 0 {
                    let now = hash::TURN.min(left);
                    header.hash_times(now);
                    left -= now;
                    yield_now();
                }
                header.digest()
            })
        })
        .collect();
    for one in all {
        std::hint::black_box(one.join().expect("a digest"));
    }
    watch.per_op(size / workers * workers)
}
