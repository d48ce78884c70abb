//! How long does a workload hold a worker? Each runs with the sizes that make its turns longest, and
//! the longest and the 99th of a hundred of its turns are printed, from the runtime's own ring.
//!
//! It says nothing about throughput, and on a busy machine a turn includes the time for which the
//! system ran something else: look at the least of several runs.
//!
//! `cargo bench -p openwork-workloads --bench turns`

use std::time::Duration;

use openwork::{Runtime, WorkerId, Workload};
use openwork_workloads::{Pattern, benchmark, crowd, finalizers, stress};

/// What no turn should reach.
const GOAL: Duration = Duration::from_millis(10);
const WORKERS: usize = 2;

fn main() {
    println!("{WORKERS} workers; goal: no turn of {GOAL:?}");
    let stress = |routines, allocations, pattern, block_kb| {
        let request = stress::Request {
            routines,
            allocations,
            pattern,
            block_kb,
            hold_ms: 0,
            yield_every: stress::YIELD_EVERY.default,
        };
        stress::check(&request, None).expect("within limits")
    };
    let small = stress(100, 1000, Pattern::ShortLived, 1);
    measure("stress, 1 KiB, dropped", |rt, w| {
        stress::start(&rt.handle(), small, w)
            .unwrap()
            .into_join()
            .join()
            .unwrap()
            .unwrap();
    });
    let usual = stress(16, 50, Pattern::Mixed, 1024);
    measure("stress, 1 MiB, every other kept", |rt, w| {
        stress::start(&rt.handle(), usual, w)
            .unwrap()
            .into_join()
            .join()
            .unwrap()
            .unwrap();
    });
    let large = stress(4, 4, Pattern::ShortLived, 65_536);
    measure("stress, 64 MiB, dropped", |rt, w| {
        stress::start(&rt.handle(), large, w)
            .unwrap()
            .into_join()
            .join()
            .unwrap()
            .unwrap();
    });
    let kept = stress(8, 200, Pattern::LongLived, 1024);
    measure("stress, 1.6 GiB kept and released", |rt, w| {
        stress::start(&rt.handle(), kept, w)
            .unwrap()
            .into_join()
            .join()
            .unwrap()
            .unwrap();
    });
    let many = stress(100_000, 1, Pattern::ShortLived, 1);
    measure("stress, 100,000 routines", |rt, w| {
        stress::start(&rt.handle(), many, w)
            .unwrap()
            .into_join()
            .join()
            .unwrap()
            .unwrap();
    });
    let request = benchmark::Request {
        allocations: 1_000_000,
        size_kb: 1,
        pattern: Pattern::LongLived,
    };
    let blocks = benchmark::check(&request, None).expect("within limits");
    measure("benchmark, 1 M blocks kept and released", |rt, w| {
        benchmark::start(&rt.handle(), blocks, w)
            .unwrap()
            .into_join()
            .join()
            .unwrap()
            .unwrap();
    });
    let objects =
        finalizers::check(&finalizers::Request { count: 1_000_000 }).expect("within limits");
    measure("finalizers, 1 M objects", |rt, w| {
        finalizers::start(&rt.handle(), objects, w)
            .unwrap()
            .into_join()
            .join()
            .unwrap()
            .unwrap();
    });
    let request = crowd::Request {
        routines: 100_000,
        sleep_ms: 500,
    };
    let sleepers = crowd::check(&request, None).expect("within limits");
    measure("crowd, 100,000 asleep", |rt, w| {
        crowd::start(&rt.handle(), sleepers, w)
            .unwrap()
            .into_join()
            .join()
            .unwrap()
            .unwrap();
    });
}

fn measure(name: &str, run: impl FnOnce(&Runtime, &Workload)) {
    let runtime = Runtime::builder()
        .workers(WORKERS)
        .record_turns(true)
        .build()
        .expect("a runtime");
    run(&runtime, &Workload::new(name));
    let mut lengths = Vec::new();
    let mut lost = 0;
    for worker in 0..WORKERS as u32 {
        let mut turns = Vec::new();
        let read = runtime.handle().turns(WorkerId::new(worker), 0, &mut turns);
        lost += read.lost;
        lengths.extend(turns.iter().map(|turn| turn.length_ns));
    }
    lengths.sort_unstable();
    let at = |share: f64| {
        let index = (lengths.len() as f64 * share) as usize;
        Duration::from_nanos(lengths[index.min(lengths.len() - 1)])
    };
    let longest = at(1.0);
    let verdict = if longest < GOAL {
        ""
    } else {
        "  <-- over the goal"
    };
    println!(
        "{name:42} {:>8} turns ({lost} earlier ones lost)  p99 {:>9.1?}  longest {longest:>9.1?}{verdict}",
        lengths.len(),
        at(0.99),
    );
    runtime
        .shutdown(Duration::from_secs(30))
        .expect("nothing remains");
}
