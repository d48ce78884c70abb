//! The benches on threads of the operating system.
//!
//! With one worker all of them share one processor. Where a bench would take minutes it makes fewer operations: the figures
//! are per operation. The standard library has no channel with several receivers and no select; these
//! two are crossbeam's, with the feature `peers`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread::{self, yield_now};
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::ours_waiting::create_figures;
use super::{Body, Setup};
use crate::catalogue::Id;
use crate::echo;
use crate::hash;
use crate::host::Memory;
use crate::measure::{Figure, Stopwatch};

/// What the first thread of a bench does, with so many operations on so many workers.
pub(super) fn body(id: Id) -> Option<Body> {
    Some(match id {
        Id::SpawnJoin => |size, _| spawn_join(size / 20),
        Id::Create => |size, _| create(size / 10),
        Id::YieldPair => |size, _| yield_pair(size / 200),
        Id::Pingpong => |size, _| pingpong(size / 50),
        Id::ChanSelf => |size, _| chan_self(size),
        Id::Mpsc => |size, _| mpsc_of_four(size / 4),
        #[cfg(feature = "peers")]
        Id::Mpmc => |size, _| crossbeam::mpmc(size),
        #[cfg(feature = "peers")]
        Id::Select => |size, _| crossbeam::select_of_two(size),
        Id::MutexUncontended => |size, _| mutex(size, 1),
        Id::MutexContended => |size, _| mutex(size, 8),
        Id::Parked => |size, _| parked(size / 100),
        Id::Sha256 => sha256,
        _ => return None,
    })
}

/// Runs a body on a thread of its own.
pub(super) fn on_thread(setup: &Setup, body: Body) -> Vec<Figure> {
    if setup.workers == 1 {
        share_one_processor();
    }
    let (size, workers) = (setup.size, setup.workers as u64);
    let body = thread::spawn(move || body(size, workers));
    body.join().expect("the bench ends")
}

/// Binds this thread, and those that it starts, to one of the processors it may use.
fn share_one_processor() {
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let mut one = CpuSet::new();
    if let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)) {
        one.set(last);
        sched_setaffinity(None, &one).expect("a processor that is allowed");
    }
}

fn spawn_join(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    for i in 0..size {
        std::hint::black_box(thread::spawn(move || i).join().expect("a number"));
    }
    watch.per_op(size)
}

fn create(size: u64) -> Vec<Figure> {
    let (gate, closed) = mpsc::channel::<()>();
    let closed = Arc::new(Mutex::new(closed));
    let (here, arrived) = mpsc::sync_channel(1);
    let mut all = Vec::new();
    let cold: Vec<u64> = (0..size)
        .map(|_| {
            let (here, closed) = (here.clone(), closed.clone());
            let began = Instant::now();
            all.push(thread::spawn(move || {
                here.send(()).expect("the spawner waits");
                let closed = closed.lock().expect("nobody panics");
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
    // The library keeps a few stacks of ended threads.
    let warm: Vec<u64> = (0..size)
        .map(|i| {
            let began = Instant::now();
            std::hint::black_box(thread::spawn(move || i).join().expect("a number"));
            began.elapsed().as_nanos() as u64
        })
        .collect();
    create_figures(cold, warm)
}

fn yield_pair(size: u64) -> Vec<Figure> {
    let watch = Stopwatch::start();
    let pair = [(); 2].map(|()| thread::spawn(move || (0..size / 2).for_each(|_| yield_now())));
    for one in pair {
        one.join().expect("it gives way and ends");
    }
    watch.per_op(size)
}

fn pingpong(size: u64) -> Vec<Figure> {
    let (ping, to) = mpsc::sync_channel(0);
    let (back, pong) = mpsc::sync_channel(0);
    let partner = thread::spawn(move || {
        to.iter()
            .for_each(|i: u64| back.send(i).expect("the other is there"))
    });
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
    let (tx, rx) = mpsc::sync_channel(16);
    let watch = Stopwatch::start();
    for i in 0..size {
        tx.send(i).expect("open");
        std::hint::black_box(rx.recv().expect("open"));
    }
    watch.per_op(size)
}

fn mpsc_of_four(size: u64) -> Vec<Figure> {
    let (tx, rx) = mpsc::sync_channel(128);
    let watch = Stopwatch::start();
    for _ in 0..4 {
        let tx = tx.clone();
        thread::spawn(move || (0..size / 4).for_each(|i| tx.send(i).expect("open")));
    }
    drop(tx);
    let received = rx.iter().count() as u64;
    let figures = watch.per_op(size);
    assert_eq!(received, size / 4 * 4);
    figures
}

/// So many threads that want one lock all the time.
fn mutex(size: u64, threads: u64) -> Vec<Figure> {
    let counter = Arc::new(Mutex::new(0u64));
    let watch = Stopwatch::start();
    let count = |counter: &Mutex<u64>| {
        for _ in 0..size / threads {
            *counter.lock().expect("nobody panics") += 1;
        }
    };
    if threads == 1 {
        count(&counter);
    } else {
        thread::scope(|s| (0..threads).for_each(|_| drop(s.spawn(|| count(&counter)))));
    }
    let figures = watch.per_op(size);
    assert_eq!(
        *counter.lock().expect("nobody panics"),
        size / threads * threads
    );
    figures
}

/// What the kernel keeps for a thread, its kernel stack above all, is not in these figures.
fn parked(size: u64) -> Vec<Figure> {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let arrived = Arc::new(AtomicU64::new(0));
    let before = Memory::read();
    let watch = Stopwatch::start();
    let all: Vec<_> = (0..size)
        .map(|_| {
            let (gate, arrived) = (gate.clone(), arrived.clone());
            thread::spawn(move || {
                let open = gate.0.lock().expect("nobody panics");
                arrived.fetch_add(1, Relaxed);
                drop(gate.1.wait_while(open, |open| !*open));
            })
        })
        .collect();
    while arrived.load(Relaxed) < size {
        yield_now();
    }
    let spawning = watch.read().0;
    let held = Memory::read().since(&before);
    let releasing = Stopwatch::start();
    *gate.0.lock().expect("nobody panics") = true;
    gate.1.notify_all();
    for one in all {
        one.join().expect("it ends");
    }
    held.figures(size, spawning + releasing.read().0)
}

/// A thread a connection, until it is told to end.
pub(super) fn echo(setup: &Setup) -> Vec<Figure> {
    if setup.workers == 1 {
        share_one_processor();
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
    let address = listener.local_addr();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
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
    // Threads are dear to start: all begin together, and the clock with them.
    let start = Arc::new(Barrier::new(workers as usize + 1));
    let all: Vec<_> = (0..workers)
        .map(|part| {
            let start = start.clone();
            thread::spawn(move || {
                let mut header = hash::Header::new(part);
                start.wait();
                let mut left = size / workers;
                while left > 0 {
                    let now = hash::TURN.min(left);
                    header.hash_times(now);
                    left -= now;
                }
                header.digest()
            })
        })
        .collect();
    start.wait();
    let watch = Stopwatch::start();
    for one in all {
        std::hint::black_box(one.join().expect("a digest"));
    }
    watch.per_op(size / workers * workers)
}

#[cfg(feature = "peers")]
mod crossbeam {
    use crossbeam_channel::{bounded, select};

    use super::{Figure, Stopwatch, thread};

    pub(super) fn mpmc(size: u64) -> Vec<Figure> {
        let (tx, rx) = bounded(128);
        let watch = Stopwatch::start();
        for _ in 0..4 {
            let tx = tx.clone();
            thread::spawn(move || (0..size / 4).for_each(|i: u64| tx.send(i).expect("open")));
        }
        drop(tx);
        let receivers = [(); 4].map(|()| {
            let rx = rx.clone();
            thread::spawn(move || rx.iter().count() as u64)
        });
        let received: u64 = receivers
            .into_iter()
            .map(|r| r.join().expect("a count"))
            .sum();
        let figures = watch.per_op(size);
        assert_eq!(received, size / 4 * 4);
        figures
    }

    pub(super) fn select_of_two(size: u64) -> Vec<Figure> {
        let (to_a, a) = bounded(128);
        let (to_b, b) = bounded(128);
        let watch = Stopwatch::start();
        for to in [&to_a, &to_b] {
            let to = to.clone();
            thread::spawn(move || (0..size / 2).for_each(|i: u64| to.send(i).expect("open")));
        }
        let mut sum = 0;
        for _ in 0..size / 2 * 2 {
            select! {
                recv(a) -> value => sum += value.expect("open"),
                recv(b) -> value => sum += value.expect("open"),
            }
        }
        let figures = watch.per_op(size);
        let half = size / 2;
        assert_eq!(sum, half * (half - 1));
        figures
    }
}
