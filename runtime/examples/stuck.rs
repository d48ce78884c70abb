//! What those who wait pay for those who do not let go: figures of hand-off and forced preemption.
//!
//! ```sh
//! cargo run --release -p openwork --example stuck            # all of it, about two minutes
//! cargo run --release -p openwork --example stuck -- loops   # loops | sleepers | price | idle
//! ```
//!
//! `loops` and `sleepers` run once with homes that are threads, where work is free to move that has not started or
//! is between two turns, and once with homes that travel, where started routines are as free.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use openwork::config::{ConfigChange, Preemption};
use openwork::snapshot::HomeVersion;
use openwork::{Runtime, Turn, spawn, time, yield_now};
use rustix::time::{ClockId, clock_gettime};

const WORKERS: usize = 2;
const LOOPS: usize = 16;
const TICKS: usize = 300;
const TICK: Duration = Duration::from_millis(10);

fn main() {
    let wanted = std::env::args().nth(1);
    let is_wanted = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    if is_wanted("loops") {
        for travelling in [false, true] {
            for slice_ms in [10, 1] {
                loops(Duration::from_millis(slice_ms), travelling);
            }
        }
    }
    if is_wanted("sleepers") {
        sleepers(false);
        sleepers(true);
    }
    if is_wanted("price") {
        price();
    }
    if is_wanted("idle") {
        idle();
    }
}

fn runtime(preemption: Preemption, slice: Duration, travelling: bool) -> Runtime {
    let mut builder = Runtime::builder()
        .workers(WORKERS)
        .preemption(preemption)
        .slice(slice);
    if travelling {
        builder = builder.travelling_homes(64);
    }
    let runtime = builder.build().unwrap();
    let homes = runtime.snapshot().homes;
    if travelling && homes.version != HomeVersion::Travelling {
        println!("no homes that travel here: {}", homes.reason);
    }
    runtime
}

/// Of a routine.
fn homes(travelling: bool) -> &'static str {
    if travelling {
        "homes that travel, and who has begun before"
    } else {
        "homes that are threads, and who is fresh or between two turns"
    }
}

/// What sleeps 10 ms beside 16 loops that never call the runtime: by how much is it late?
fn loops(slice: Duration, travelling: bool) {
    let runtime = runtime(Preemption::Forced, slice, travelling);
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(AtomicU64::new(0));
    // Begins first, and so beside loops that begin on its thread while it sleeps.
    let started = travelling.then(|| {
        let begun = begun.clone();
        runtime.spawn(move || {
            while begun.load(Relaxed) < LOOPS as u64 {
                time::sleep(TICK);
            }
            let mut late = Vec::with_capacity(TICKS);
            while late.len() < TICKS {
                let due = time::now_ns() + TICK.as_nanos() as u64;
                time::sleep(TICK);
                late.push(time::now_ns().saturating_sub(due));
            }
            late
        })
    });
    let hogs: Vec<_> = (0..LOOPS)
        .map(|_| {
            let (stop, begun) = (stop.clone(), begun.clone());
            runtime.spawn(move || {
                begun.fetch_add(1, Relaxed);
                let mut x = 1u64;
                while !stop.load(Relaxed) {
                    x = black_box(x.wrapping_mul(3));
                }
            })
        })
        .collect();
    let ticker = started.unwrap_or_else(|| runtime.spawn_turns((Vec::new(), 0u64), tick));
    let late = ticker.join().unwrap();
    stop.store(true, Relaxed);
    for hog in hogs {
        hog.join().unwrap();
    }
    let monitor = runtime.handle().snapshot().monitor;
    println!(
        "{LOOPS} loops, {WORKERS} workers, forced after {slice:?}, {}: a sleeper of {TICK:?} is late by",
        homes(travelling)
    );
    println!("  {}", quantiles(late));
    println!(
        "  requested {}, honoured {}, deferred {}, forced {}, stale {}, at cap {}, released {}, timers rescued {}",
        monitor.requested,
        monitor.honoured,
        monitor.deferred,
        monitor.forced,
        monitor.stale,
        monitor.at_cap,
        monitor.released,
        monitor.timers_rescued,
    );
    println!(
        "  signal to frozen p50 {:?} us, frozen to running p50 {:?} us",
        monitor.signal_to_frozen.quantile(0.5).map(|ns| ns / 1000),
        monitor.frozen_to_running.quantile(0.5).map(|ns| ns / 1000),
    );
}

/// A turn of one that notes by how much it was late, and when it is due next.
fn tick((late, due): &mut (Vec<u64>, u64)) -> Turn<Vec<u64>> {
    let now = time::now_ns();
    if *due != 0 {
        late.push(now.saturating_sub(*due));
    }
    if late.len() == TICKS {
        return Turn::Done(std::mem::take(late));
    }
    *due = now + TICK.as_nanos() as u64;
    Turn::Sleep(TICK)
}

fn quantiles(mut ns: Vec<u64>) -> String {
    ns.sort_unstable();
    let at = |of: f64| ns[((ns.len() - 1) as f64 * of) as usize] as f64 / 1e6;
    format!(
        "p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, at most {:.2} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    )
}

/// 16 routines in `std::thread::sleep(100 ms)`, which the runtime does not know of. Where homes travel each has
/// yielded once before.
fn sleepers(travelling: bool) {
    let slice = Duration::from_millis(10);
    let runtime = runtime(Preemption::Cooperative, slice, travelling);
    let mut took = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        runtime.block_on(|| {
            let sleepers: Vec<_> = (0..16)
                .map(|_| {
                    spawn(move || {
                        if travelling {
                            yield_now();
                        }
                        thread::sleep(Duration::from_millis(100));
                    })
                })
                .collect();
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
        took.push(began.elapsed().as_nanos() as u64);
    }
    let retaken = runtime.handle().snapshot().monitor.retaken;
    println!(
        "16 x std::thread::sleep(100 ms) on {WORKERS} workers, 10 times, {}: {}",
        homes(travelling),
        quantiles(took)
    );
    println!("  {retaken} workers handed on");
}

/// What forced preemption costs those who compute: one runtime, in which it is switched on and off in short
/// spans, so that whatever else moves the machine's speed moves both.
fn price() {
    let runtime = runtime(Preemption::Off, Duration::from_millis(10), false);
    let stop = Arc::new(AtomicBool::new(false));
    let units: Arc<[AtomicU64; LOOPS]> = Arc::default();
    let hogs: Vec<_> = (0..LOOPS)
        .map(|number| {
            let (stop, units) = (stop.clone(), units.clone());
            runtime.spawn(move || {
                let mut x = 1u64;
                while !stop.load(Relaxed) {
                    for _ in 0..1000 {
                        x = black_box(x.wrapping_mul(3));
                    }
                    let done = units[number].load(Relaxed);
                    units[number].store(done + 1, Relaxed);
                }
            })
        })
        .collect();
    let span = |preemption| {
        let mut change = ConfigChange::default();
        change.preemption = Some(preemption);
        runtime.handle().reconfigure(change).unwrap();
        let done = || units.iter().map(|units| units.load(Relaxed)).sum::<u64>();
        let (cpu, before) = (cpu_time(), done());
        thread::sleep(Duration::from_millis(25));
        (done() - before) as f64 / (cpu_time() - cpu).as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..600)
        .map(|round| {
            // Whoever goes first in one round goes last in the next one.
            if round % 2 == 0 {
                let off = span(Preemption::Off);
                span(Preemption::Forced) / off
            } else {
                let on = span(Preemption::Forced);
                on / span(Preemption::Off)
            }
        })
        .collect();
    stop.store(true, Relaxed);
    for hog in hogs {
        hog.join().unwrap();
    }
    ratios.sort_by(f64::total_cmp);
    let at = |of: usize| 100.0 * ratios[ratios.len() * of / 4];
    // Of a median, as if the ratios were normal.
    let error = 1.2533 * (at(3) - at(1)) / 1.349 / (ratios.len() as f64).sqrt();
    println!(
        "{LOOPS} computing loops, forced against off: {:.2} % of the work per CPU second at the median of {} pairs (standard error {error:.2})",
        at(2),
        ratios.len()
    );
}

/// A runtime that has nothing to do.
fn idle() {
    let runtime = runtime(Preemption::Forced, Duration::from_millis(10), false);
    runtime.block_on(|| time::sleep(Duration::from_millis(200)));
    let (cpu, began) = (cpu_time(), Instant::now());
    thread::sleep(Duration::from_secs(3));
    let used = (cpu_time() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    println!(
        "idle: {:.3} % of a processor, the monitor is {}",
        100.0 * used,
        runtime.handle().snapshot().monitor.state.name()
    );
}

/// Processor time of the process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
