//! Our own form of the benches in which routines wait: for a gate, a deadline, a request.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use openwork::net::{TcpListener, TcpStream};
use openwork::{channel, hold_thread, spawn, time, yield_now};

use super::Setup;
use super::ours::{got, runtime, with_countdown};
use super::sleepers::{self, Sleepers};
use crate::echo;
use crate::host::Memory;
use crate::measure::{Figure, Stopwatch, percentiles};

/// Between two looks at whether all have come.
const LOOK: Duration = Duration::from_millis(1);

/// First `size` routines that all stay, each on a stack never used before; then as many one after the
/// other.
pub(super) fn create(size: u64) -> Vec<Figure> {
    let (gate, closed) = channel::rendezvous::<()>();
    let (here, arrived) = channel::bounded(1);
    let mut all = Vec::with_capacity(size as usize);
    let cold: Vec<u64> = (0..size)
        .map(|_| {
            let (here, closed) = (here.clone(), closed.clone());
            let began = Instant::now();
            all.push(spawn(move || {
                got(here.send(()));
                closed.recv().expect_err("the gate sends nothing");
            }));
            got(arrived.recv());
            began.elapsed().as_nanos() as u64
        })
        .collect();
    drop(gate);
    for one in all {
        got(one.join());
    }
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
    with_countdown(|countdown, all_ended| {
        let (gate, closed) = channel::rendezvous::<()>();
        countdown.expect(size);
        let before = Memory::read();
        let watch = Stopwatch::start();
        for _ in 0..size {
            let closed = closed.clone();
            spawn(move || {
                ARRIVED.fetch_add(1, Relaxed);
                closed.recv().expect_err("the gate sends nothing");
                countdown.one();
            })
            .detach();
        }
        while ARRIVED.load(Relaxed) < size {
            time::sleep(LOOK);
        }
        let spawning = watch.read().0;
        let held = Memory::read().since(&before);
        let releasing = Stopwatch::start();
        drop(gate);
        got(all_ended.recv());
        held.figures(size, spawning + releasing.read().0)
    })
}

/// The spawner holds its thread, and there is no other worker: none of the routines begins.
pub(super) fn unstarted(size: u64) -> Vec<Figure> {
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    hold_thread(|| {
        let before = Memory::read();
        let watch = Stopwatch::start();
        for i in 0..size {
            spawn(move || BEGUN.fetch_add(i, Relaxed)).detach();
        }
        let spawning = watch.read().0;
        assert_eq!(BEGUN.load(Relaxed), 0, "a routine began");
        Memory::read().since(&before).figures(size, spawning)
    })
}

pub(super) fn timers(size: u64) -> Vec<Figure> {
    let sleepers = Sleepers::new(size);
    let all: Vec<_> = (0..size)
        .map(|index| {
            let sleepers = sleepers.clone();
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
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..sleepers::HOGS)
        .map(|_| {
            let stop = stop.clone();
            spawn(move || {
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
        got(hog.join());
    }
    figures
}

/// Serves until it is told to end.
pub(super) fn echo(setup: &Setup) -> Vec<Figure> {
    let runtime = runtime(setup);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
    let address = listener.local_addr();
    runtime
        .spawn(move || {
            // Until the runtime ends.
            for stream in listener.incoming().map_while(Result::ok) {
                spawn(move || answer(stream)).detach();
            }
        })
        .detach();
    echo::serve(address)
}

fn answer(mut stream: TcpStream) {
    let mut bytes = [0; 256];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}
