//! What those who wait pay for those who do not let go: figures of hand-off and forced preemption.
//!
//! ```sh
//! cargo run --release -p openwork --example stuck            # all of it, about a minute
//! cargo run --release -p openwork --example stuck -- loops   # loops | sleepers | price | idle
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use openwork::config::{ConfigChange, Preemption};
use openwork::{Runtime, Turn, spawn, time};
use rustix::time::{ClockId, clock_gettime};

const WORKERS: usize = 2;
const LOOPS: usize = 16;
const TICKS: usize = 300;
const TICK: Duration = Duration::from_millis(10);

fn main() {
    let wanted = std::env::args().nth(1);
    let is_wanted = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    if is_wanted("loops") {
        for (preemption, slice_ms) in [(Preemption::Forced, 10), (Preemption::Forced, 1)] {
            loops(preemption, Duration::from_millis(slice_ms));
        }
    }
    if is_wanted("sleepers") {
        sleepers();
    }
    if is_wanted("price") {
        price();
    }
    if is_wanted("idle") {
        idle();
    }
}

fn runtime(preemption: Preemption, slice: Duration) -> Runtime {
    let builder = Runtime::builder().workers(WORKERS);
    builder.preemption(preemption).slice(slice).build().unwrap()
}

/// A turn routine that sleeps 10 ms beside 16 loops that never call the runtime: by how much is it late?
fn loops(preemption: Preemption, slice: Duration) {
    let runtime = runtime(preemption, slice);
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..LOOPS)
        .map(|_| {
            let stop = stop.clone();
            runtime.spawn(move || {
                let mut x = 1u64;
                while !stop.load(Relaxed) {
                    x = black_box(x.wrapping_mul(3));
                }
            })
        })
        .collect();
    let late: Vec<u64> = Vec::with_capacity(TICKS);
    let ticker = runtime.spawn_turns((late, 0u64), |(late, due)| {
        let now = time::now_ns();
        if *due != 0 {
            late.push(now.saturating_sub(*due));
        }
        if late.len() == TICKS {
            return Turn::Done(std::mem::take(late));
        }
        *due = now + TICK.as_nanos() as u64;
        Turn::Sleep(TICK)
    });
    let late = ticker.join().unwrap();
    stop.store(true, Relaxed);
    for hog in hogs {
        hog.join().unwrap();
    }
    let monitor = runtime.handle().snapshot().monitor;
    println!(
        "{LOOPS} loops, {WORKERS} workers, {} with a slice of {slice:?}: a sleeper of {TICK:?} is late by",
        preemption.name()
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

/// 16 routines in `std::thread::sleep(100 ms)`, which the runtime does not know of.
fn sleepers() {
    let runtime = runtime(Preemption::Cooperative, Duration::from_millis(10));
    let mut took = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        runtime.block_on(|| {
            let sleepers: Vec<_> = (0..16)
                .map(|_| spawn(|| thread::sleep(Duration::from_millis(100))))
                .collect();
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
        took.push(began.elapsed().as_nanos() as u64);
    }
    let retaken = runtime.handle().snapshot().monitor.retaken;
    println!(
        "16 x std::thread::sleep(100 ms) on {WORKERS} workers, 10 times: {}",
        quantiles(took)
    );
    println!("  {retaken} workers handed on");
}

/// What forced preemption costs those who compute: one runtime, in which it is switched on and off in short
/// spans, so that whatever else moves the machine's speed moves both.
fn price() {
    let runtime = runtime(Preemption::Off, Duration::from_millis(10));
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
    let runtime = runtime(Preemption::Forced, Duration::from_millis(10));
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
