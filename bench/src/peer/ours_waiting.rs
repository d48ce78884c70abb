//! Our own form of the benches in which routines wait: for memory, timers, stacks and thieves.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::{Duration, Instant};

use openwork::snapshot::WorkerSnapshot;
use openwork::{channel, spawn, time, yield_now};

use super::Setup;
use super::ours::{got, runtime};
use super::sleepers::{self, Sleepers};
use crate::host::Memory;
use crate::measure::{Figure, Stopwatch, percentiles};

/// Between two looks at whether all have come.
const LOOK: Duration = Duration::from_millis(1);

/// First `size` routines that all stay, each on a stack never used before; then as many one after the
/// other.
pub(super) fn create(size: u64) -> Vec<Figure> {
    let (gate, closed) = channel::rendezvous::<()>();
    let (here, arrived) = channel::bounded(1);
    let cold: Vec<u64> = (0..size)
        .map(|_| {
            let (here, closed) = (here.clone(), closed.clone());
            let began = Instant::now();
            spawn(move || {
                got(here.send(()));
                closed.recv().expect_err("the gate sends nothing");
            })
            .detach();
            got(arrived.recv());
            began.elapsed().as_nanos() as u64
        })
        .collect();
    drop(gate);
    let warm: Vec<u64> = (0..size)
        .map(|i| {
            let began = Instant::now();
            std::hint::black_box(got(spawn(move || i).join()));
            began.elapsed().as_nanos() as u64
        })
        .collect();
    create_figures(cold, warm)
}

pub(super) fn create_figures(cold: Vec<u64>, warm: Vec<u64>) -> Vec<Figure> {
    let [cold_p50, cold_p99, _] = percentiles(cold).unwrap_or_default();
    let [warm_p50, warm_p99, _] = percentiles(warm).unwrap_or_default();
    [
        ("warm_p50", warm_p50),
        ("warm_p99", warm_p99),
        ("cold_p50", cold_p50),
        ("cold_p99", cold_p99),
    ]
    .map(|(name, ns)| Figure::new(name, "ns", ns as f64))
    .to_vec()
}

pub(super) fn parked(size: u64) -> Vec<Figure> {
    static ARRIVED: AtomicU64 = AtomicU64::new(0);
    let (gate, closed) = channel::rendezvous::<()>();
    let before = Memory::read();
    let watch = Stopwatch::start();
    let all: Vec<_> = (0..size)
        .map(|_| {
            let closed = closed.clone();
            spawn(move || {
                ARRIVED.fetch_add(1, Relaxed);
                closed.recv().expect_err("the gate sends nothing");
            })
        })
        .collect();
    while ARRIVED.load(Relaxed) < size {
        time::sleep(LOOK);
    }
    let spawning = watch.read().0;
    let held = Memory::read().since(&before);
    let releasing = Stopwatch::start();
    drop(gate);
    for one in all {
        got(one.join());
    }
    let releasing = releasing.read().0;
    held.figures(size, spawning + releasing)
}

/// The spawner never gives way, and there is no other worker: none of the routines begins.
pub(super) fn unstarted(size: u64) -> Vec<Figure> {
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    let before = Memory::read();
    let watch = Stopwatch::start();
    for i in 0..size {
        spawn(move || BEGUN.fetch_add(i, Relaxed)).detach();
    }
    let spawning = watch.read().0;
    assert_eq!(BEGUN.load(Relaxed), 0, "a routine began");
    Memory::read().since(&before).figures(size, spawning)
}

pub(super) fn timers(size: u64) -> Vec<Figure> {
    let sleepers = Sleepers::new(size);
    let all: Vec<_> = (0..size)
        .map(|index| {
            spawn(move || {
                let began = Instant::now();
                time::sleep(sleepers.duration(index));
                sleepers.awake(index, began);
            })
        })
        .collect();
    for one in all {
        got(one.join());
    }
    sleepers.figures()
}

pub(super) fn timers_busy(size: u64) -> Vec<Figure> {
    let stop = latch(0);
    let hogs: Vec<_> = (0..sleepers::HOGS)
        .map(|_| {
            spawn(move || {
                while stop.load(Relaxed) == 0 {
                    sleepers::compute();
                    yield_now();
                }
            })
        })
        .collect();
    let figures = timers(size);
    stop.store(1, Relaxed);
    for hog in hogs {
        got(hog.join());
    }
    figures
}

/// One worker spawns, and computes while the others run everything: each batch must be stolen.
///
/// The price of a theft is what that took beyond the time for as many fresh routines of one's own,
/// divided by the thefts. That the thieves touch what another core wrote last is part of it.
pub(super) fn steal(setup: &Setup) -> Vec<Figure> {
    let size = setup.size;
    let alone = runtime(&Setup {
        workers: 1,
        ..*setup
    });
    let own = alone.block_on(|| {
        let ended = crowd(size);
        let began = Instant::now();
        while ended.load(Acquire) < size {
            yield_now();
        }
        began.elapsed()
    });
    drop(alone);
    let shared = runtime(setup);
    let thieves = setup.workers as u64 - 1;
    let sum = |figure: fn(&WorkerSnapshot) -> u64| {
        shared.snapshot().workers.iter().map(figure).sum::<u64>()
    };
    let (taken, before) = shared.block_on(|| {
        let (held, released) = (latch(0), latch(0));
        for _ in 0..thieves {
            spawn(move || {
                held.fetch_add(1, Release);
                spin_until(released, 1);
            })
            .detach();
        }
        spin_until(held, thieves);
        let ended = crowd(size);
        let before = (sum(|worker| worker.steals), sum(|worker| worker.stolen));
        let began = Instant::now();
        released.store(1, Release);
        spin_until(ended, size);
        (began.elapsed(), before)
    });
    let thefts = sum(|worker| worker.steals).saturating_sub(before.0).max(1) as f64;
    let moved = sum(|worker| worker.stolen).saturating_sub(before.1) as f64;
    let own = own.as_nanos() as f64;
    let foreign = taken.as_nanos() as f64 * thieves as f64;
    vec![
        Figure::new("theft", "ns", (foreign - own).max(0.0) / thefts),
        Figure::new("batch", "routines", moved / thefts),
        Figure::new("own", "ns", own / size as f64),
        Figure::new("stolen", "ns", foreign / size as f64),
    ]
}

/// Spawns routines that only count their ends.
fn crowd(size: u64) -> &'static AtomicU64 {
    let ended = latch(0);
    for _ in 0..size {
        spawn(move || ended.fetch_add(1, Release)).detach();
    }
    ended
}

fn latch(value: u64) -> &'static AtomicU64 {
    Box::leak(Box::new(AtomicU64::new(value)))
}

fn spin_until(counter: &AtomicU64, value: u64) {
    while counter.load(Acquire) < value {
        std::hint::spin_loop();
    }
}
