//! Crowds and finalizers on a real runtime, in a program without the counting allocator.

mod support;

use std::time::{Duration, Instant};

use openwork::Workload;
use openwork_workloads::crowd::{self, Request};
use openwork_workloads::{faults, finalizers};
use support::{Ended, join, runtime, until};

#[test]
fn a_crowd_that_ends_at_once_needs_few_stacks() {
    let runtime = runtime();
    let handle = runtime.handle();
    let request = Request {
        routines: 50_000,
        sleep_ms: 0,
    };
    let plan = crowd::check(&request, None).unwrap();
    let workload = Workload::new("crowd");
    let run = crowd::start(&handle, plan, &workload).unwrap();
    let report = join(&handle, run.into_join()).unwrap();
    assert!(report.stacks_peak < 100, "{report:?}");
    let counters = workload.counters();
    assert_eq!((counters.spawned, counters.ended), (50_001, 50_001));
    runtime.shutdown(Duration::from_secs(10)).unwrap();
}

#[test]
fn sleepers_sleep_at_once_and_each_has_a_stack() {
    let runtime = runtime();
    let handle = runtime.handle();
    let request = Request {
        routines: 500,
        sleep_ms: 2_000,
    };
    let plan = crowd::check(&request, None).unwrap();
    let begun = Instant::now();
    let run = crowd::start(&handle, plan, &Workload::new("crowd")).unwrap();
    let watch = run.watch();
    let report = join(&handle, run.into_join()).unwrap();
    assert_eq!(watch.progress().done, 500);
    assert!(report.stacks_peak >= 500, "{report:?}");
    assert_eq!(report.live_peak, 500);
    assert!(report.resident_bytes_per_routine.is_some());
    // One after another would take a thousand seconds.
    assert!(begun.elapsed() < Duration::from_secs(300));
}

#[test]
fn a_sleeping_crowd_is_cancelled_at_once() {
    let runtime = runtime();
    let handle = runtime.handle();
    let request = Request {
        routines: 1_000,
        sleep_ms: 60_000,
    };
    let plan = crowd::check(&request, None).unwrap();
    let workload = Workload::new("crowd");
    let run = crowd::start(&handle, plan, &workload).unwrap();
    until("all sleep", || handle.snapshot().stacks.in_use > 1_000);
    let cancelled = Instant::now();
    workload.cancel(&handle);
    assert_eq!(join(&handle, run.into_join()).err(), Some(Ended::Cancelled));
    assert!(cancelled.elapsed() < Duration::from_secs(30));
    assert_eq!(workload.counters().ended, 1_001);
}

#[test]
fn every_object_is_finalized_and_timed() {
    let runtime = runtime();
    let plan = finalizers::check(&finalizers::Request { count: 5_000 }).unwrap();
    let run = finalizers::start(&runtime.handle(), plan, &Workload::new("finalizers")).unwrap();
    let report = join(&runtime.handle(), run.into_join()).unwrap();
    assert_eq!((report.created, report.executed), (5_000, 5_000));
    let latency = report.latency.unwrap();
    assert!(latency.min <= latency.p50 && latency.p50 <= latency.p99 && latency.p99 <= latency.max);
    assert_eq!(report.own, None, "this program does not count allocations");
}

#[test]
fn an_asked_for_panic_ends_its_routine_alone() {
    let runtime = runtime();
    let handle = runtime.handle();
    let run = faults::start(&handle, faults::Kind::Panic, &Workload::new("fault")).unwrap();
    let message = String::from("a panic was asked for");
    assert_eq!(join(&handle, run.into_join()), Err(Ended::Failed(message)));
    assert_eq!(runtime.block_on(|| 6 * 7), 42);
}
