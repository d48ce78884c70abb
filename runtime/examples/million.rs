//! A million routines at once, then a hundred thousand asleep at once.
//!
//! `cargo run --release -p openwork --example million [ROUTINES] [SLEEPERS]`
//!
//! The first part shows that a routine which has not begun has no stack: all wait in queues, and
//! take a stack one after the other. The second shows what a paused routine costs in physical
//! memory, and ends with status 1 when that is 6 KiB or more.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use openwork::{Builder, Runtime, Workload, scope, spawn, time};

/// What a sleeping routine may take in physical memory.
const LIMIT_BYTES: u64 = 6 << 10;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut count = |default| match arguments.next() {
        None => default,
        Some(text) => text.parse().expect("a number of routines"),
    };
    let routines: u64 = count(1_000_000);
    let sleepers: u64 = count(100_000);

    let workers = available_parallelism().map_or(1, |n| n.get());
    let runtime = Runtime::builder()
        .workers(workers)
        .build()
        .expect("a runtime");
    println!("{workers} workers");
    burst(&runtime, routines);
    let each = asleep(&runtime, sleepers);
    runtime
        .shutdown(Duration::from_secs(10))
        .expect("nothing is left running");
    match each {
        Some(bytes) if bytes >= LIMIT_BYTES => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Spawns `routines` from one routine without a pause, and waits for all of them.
fn burst(runtime: &Runtime, routines: u64) {
    let ended = Arc::new(AtomicU64::new(0));
    let seen = ended.clone();
    let begun = Instant::now();
    let (spawned, waiting) = runtime.block_on(move || {
        let mut spawned = Duration::ZERO;
        let mut waiting = 0;
        scope(|s| {
            for _ in 0..routines {
                let ended = &seen;
                s.spawn(move || ended.fetch_add(1, Relaxed));
            }
            spawned = begun.elapsed();
            waiting = routines - seen.load(Relaxed);
        });
        (spawned, waiting)
    });
    let all = begun.elapsed();
    assert_eq!(ended.load(Relaxed), routines);
    let stacks = runtime.handle().snapshot().stacks;
    println!(
        "{routines} routines: spawned in {spawned:.2?} ({waiting} of them still waiting), all ended after \
         {all:.2?}; {} stacks were made",
        stacks.in_use + stacks.pooled
    );
}

/// Puts `sleepers` routines to sleep and says how much memory each one took; `None` when it cannot
/// be read.
fn asleep(runtime: &Runtime, sleepers: u64) -> Option<u64> {
    let before = resident_bytes();
    let crowd = Workload::new("sleepers");
    let (all_here, last) = mpsc::sync_channel(1);
    let root = Builder::new()
        .workload(&crowd)
        .on(&runtime.handle())
        .spawn(move || {
            let arrived = Arc::new(AtomicU64::new(0));
            for _ in 0..sleepers {
                let arrived = arrived.clone();
                let all_here = all_here.clone();
                spawn(move || {
                    if arrived.fetch_add(1, Relaxed) + 1 == sleepers {
                        all_here.send(()).expect("main waits");
                    }
                    time::sleep(Duration::from_secs(3600));
                })
                .detach();
            }
        })
        .expect("the runtime takes routines");
    root.join().expect("the root ends");
    last.recv().expect("the last one arrives");
    let grown = resident_bytes()?.checked_sub(before?)?;
    let each = grown / sleepers;
    println!("{sleepers} routines asleep: {each} bytes resident each");

    let begun = Instant::now();
    crowd.cancel(&runtime.handle());
    let handle = runtime.handle();
    while handle.snapshot().routines.live() > 0 {
        std::thread::yield_now();
    }
    println!("all cancelled and unwound after {:.2?}", begun.elapsed());
    Some(each)
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
