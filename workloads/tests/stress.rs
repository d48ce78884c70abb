//! Stress on a real runtime, with the counting allocator that the service installs.

mod support;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openwork::Workload;
use openwork::memory::{self, CountingAllocator};
use openwork_workloads::stress::{self, Report, Request};
use openwork_workloads::{Pattern, benchmark};
use support::{Ended, join, runtime, until};

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);

const MIB: i64 = 1 << 20;

/// Bytes alive in the process are the same for all tests of this file: those that read them run one
/// after another.
static PROCESS: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(request: Request) -> Report {
    let runtime = runtime();
    let plan = stress::check(&request, None).unwrap();
    let workload = Workload::new("stress");
    let run = stress::start(&runtime.handle(), plan, &workload).unwrap();
    let watch = run.watch();
    let report = join(&runtime.handle(), run.into_join()).unwrap();
    assert_eq!(watch.progress().done, watch.progress().total);
    let counters = workload.counters();
    assert_eq!(counters.spawned, counters.ended, "conservation");
    runtime.shutdown(Duration::from_secs(10)).unwrap();
    report
}

/// Blocks are exact; beside them stand lists and handles, and what a run frees of its caller's.
#[track_caller]
fn about(found: i64, expected: i64, slack: i64) {
    assert!(
        (found - expected).abs() <= slack,
        "{found}, not within {slack} of {expected}"
    );
}

#[test]
fn short_lived_holds_nothing() {
    let _alone = alone();
    let report = run(Request {
        routines: 8,
        allocations: 25,
        ..Request::default()
    });
    assert_eq!((report.kept, report.dropped, report.hashed), (0, 200, 200));
    assert_eq!(report.written_bytes, 200 << 20);
    about(report.own_at_peak.unwrap().bytes, 0, MIB);
    about(report.own_at_end.unwrap().bytes, 0, MIB);
}

#[test]
fn long_lived_is_held_to_the_end_and_then_released() {
    let _alone = alone();
    let report = run(Request {
        routines: 4,
        allocations: 10,
        pattern: Pattern::LongLived,
        hold_ms: 1,
        ..Request::default()
    });
    assert_eq!((report.kept, report.dropped, report.hashed), (40, 0, 0));
    about(report.own_at_peak.unwrap().bytes, 40 * MIB, MIB);
    assert!(report.own_at_peak.unwrap().objects >= 40);
    about(report.own_at_end.unwrap().bytes, 0, MIB);
    assert!(report.process_live_bytes_at_peak.unwrap() >= 40 << 20);
}

#[test]
fn mixed_keeps_every_other_block() {
    let _alone = alone();
    let report = run(Request {
        routines: 3,
        allocations: 5,
        pattern: Pattern::Mixed,
        block_kb: 64,
        ..Request::default()
    });
    assert_eq!((report.kept, report.dropped, report.hashed), (9, 6, 6));
    about(report.own_at_peak.unwrap().bytes, 9 * 64 * 1024, MIB);
}

/// Breaks when a block is written in part only, or by chance more often: the digest is over every
/// byte of every dropped block, and knows nothing of the order.
#[test]
fn equal_requests_give_equal_digests() {
    let _alone = alone();
    let request = Request {
        routines: 16,
        allocations: 20,
        block_kb: 3,
        ..Request::default()
    };
    let (first, second) = (run(request), run(request));
    assert_eq!(first.digest, second.digest);
    let other = run(Request {
        block_kb: 4,
        ..request
    });
    assert_ne!(first.digest, other.digest);
}

/// Breaks when a figure is process-wide: each run must see its own bytes and none of the other's.
#[test]
fn two_runs_at_once_report_their_own_bytes() {
    let _alone = alone();
    let runtime = runtime();
    let sizes = [10u64, 30];
    let runs: Vec<_> = sizes
        .into_iter()
        .map(|allocations| {
            let request = Request {
                routines: 2,
                allocations,
                pattern: Pattern::LongLived,
                hold_ms: 300,
                ..Request::default()
            };
            let plan = stress::check(&request, None).unwrap();
            let workload = Workload::new("one of two");
            stress::start(&runtime.handle(), plan, &workload).unwrap()
        })
        .collect();
    for (run, allocations) in runs.into_iter().zip(sizes) {
        let report = join(&runtime.handle(), run.into_join()).unwrap();
        let blocks = 2 * allocations as i64;
        about(report.own_at_peak.unwrap().bytes, blocks * MIB, MIB);
        about(report.own_at_end.unwrap().bytes, 0, MIB);
    }
}

/// Breaks when a cancel waits for the end of the hold, or leaves kept blocks alive.
#[test]
fn a_cancel_ends_a_held_run_and_frees_what_it_kept() {
    let _alone = alone();
    let runtime = runtime();
    let handle = runtime.handle();
    let before = memory::live_bytes();
    let request = Request {
        routines: 4,
        allocations: 50,
        pattern: Pattern::LongLived,
        hold_ms: 60_000,
        ..Request::default()
    };
    let plan = stress::check(&request, None).unwrap();
    let workload = Workload::new("cancelled");
    let run = stress::start(&handle, plan, &workload).unwrap();
    until("all blocks are made", || run.progress().done == 200);
    assert!(memory::live_bytes() > before + (150 << 20));
    workload.cancel(&handle);
    assert_eq!(join(&handle, run.into_join()).err(), Some(Ended::Cancelled));
    until("kept blocks are freed", || {
        memory::live_bytes() < before + (8 << 20)
    });
    until("all routines have ended", || {
        handle.snapshot().routines.live() == 0
    });
    runtime.shutdown(Duration::from_secs(10)).unwrap();
}

/// Breaks when a cancelled run goes on allocating.
#[test]
fn a_cancel_stops_the_allocating() {
    let _alone = alone();
    let runtime = runtime();
    let handle = runtime.handle();
    let request = Request {
        routines: 64,
        allocations: 1000,
        ..Request::default()
    };
    let plan = stress::check(&request, None).unwrap();
    let workload = Workload::new("cancelled early");
    let run = stress::start(&handle, plan, &workload).unwrap();
    let watch = run.watch();
    until("some blocks are made", || run.progress().done > 10);
    workload.cancel(&handle);
    assert_eq!(join(&handle, run.into_join()).err(), Some(Ended::Cancelled));
    until("all routines have ended", || {
        handle.snapshot().routines.live() == 0
    });
    assert!(watch.progress().done < watch.progress().total);
    let counters = workload.counters();
    assert_eq!(counters.spawned, counters.ended);
    runtime.shutdown(Duration::from_secs(10)).unwrap();
}

/// The fault of the benchmark that this one replaces: its figures were read after the last use of
/// what it kept.
#[test]
fn the_benchmark_is_read_while_its_data_is_alive() {
    let _alone = alone();
    let runtime = runtime();
    let request = benchmark::Request {
        allocations: 2000,
        size_kb: 4,
        pattern: Pattern::LongLived,
    };
    let plan = benchmark::check(&request, None).unwrap();
    let workload = Workload::new("benchmark");
    let run = benchmark::start(&runtime.handle(), plan, &workload).unwrap();
    let report = join(&runtime.handle(), run.into_join()).unwrap();
    assert_eq!((report.kept, report.dropped), (2000, 0));
    about(report.own.unwrap().bytes, 2000 * 4096, MIB);
    about(report.own_at_end.unwrap().bytes, 0, MIB);
    assert!(report.live_after_bytes.unwrap() >= 2000 * 4096);
}
