//! A bound on stacks bounds memory, not work: routines that find no stack wait for one, and each
//! stack that comes back starts one of them.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use openwork::snapshot::GuardMode;
use openwork::{Builder, Runtime, channel, time, yield_now};
use support::until;

const ROUTINES: u64 = 2_000;

/// Runs far more routines than there are stacks; the first ones wait until all stacks are in use, and each blocks.
/// A wake-up lost between "no stack" and "one came back" would hang this.
fn all_end_on_few_stacks(guard: GuardMode, workers: usize, max_stacks: usize) {
    let runtime = Runtime::builder()
        .workers(workers)
        .guard(guard)
        .max_stacks(max_stacks)
        .build()
        .unwrap();
    let most = Arc::new(AtomicU64::new(0));
    let now = Arc::new(AtomicU64::new(0));
    let (closed, gate) = channel::rendezvous::<()>();
    let handles: Vec<_> = (0..ROUTINES)
        .map(|n| {
            let (most, now, gate) = (Arc::clone(&most), Arc::clone(&now), gate.clone());
            // Two sizes: the bound is over both.
            let bytes = if n % 3 == 0 { 256 << 10 } else { 64 << 10 };
            Builder::new()
                .on(&runtime.handle())
                .stack_size(bytes)
                .spawn(move || {
                    most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                    assert!(gate.recv().is_err());
                    if n % 2 == 0 {
                        yield_now();
                    } else {
                        time::sleep(Duration::from_micros(50));
                    }
                    now.fetch_sub(1, Relaxed);
                    n
                })
                .unwrap()
        })
        .collect();
    until("all stacks are in use", || {
        most.load(Relaxed) >= max_stacks as u64
    });
    drop(closed);
    let sum: u64 = handles.into_iter().map(|h| h.join().unwrap()).sum();
    assert_eq!(sum, ROUTINES * (ROUTINES - 1) / 2);
    assert_eq!(
        most.load(Relaxed),
        max_stacks as u64,
        "no more stacks were in use"
    );

    let snapshot = runtime.snapshot();
    assert_eq!(snapshot.stacks.limit, Some(max_stacks as u64));
    assert_eq!(snapshot.stacks.waiting, 0);
    if guard == GuardMode::Mprotect {
        assert_eq!(snapshot.stacks.mode, GuardMode::Mprotect);
    }
    runtime.shutdown(Duration::from_secs(10)).unwrap();
}

#[test]
fn two_thousand_routines_end_on_eight_stacks() {
    all_end_on_few_stacks(GuardMode::Auto, 2, 8);
}

/// Not in portable builds, whose stacks the system guards.
#[cfg(not(portable))]
#[test]
fn two_thousand_routines_end_on_eight_stacks_with_mprotect_guards() {
    all_end_on_few_stacks(GuardMode::Mprotect, 2, 8);
}

/// The hardest case for the hand-over: every end of a routine is the start of one.
#[test]
fn two_thousand_routines_end_on_one_stack() {
    all_end_on_few_stacks(GuardMode::Auto, 4, 1);
}

/// Not in portable builds, as above.
#[cfg(not(portable))]
#[test]
fn two_runtimes_with_different_guards_live_side_by_side() {
    let light = Runtime::builder().workers(1).build().unwrap();
    let mprotect = Runtime::builder()
        .workers(1)
        .guard(GuardMode::Mprotect)
        .build()
        .unwrap();
    let limit = mprotect.snapshot().stacks.limit;
    assert!(limit.is_some_and(|limit| limit > 0), "{limit:?}");
    assert_eq!(light.spawn(|| 1).join().unwrap(), 1);
    drop(light);
    assert_eq!(mprotect.spawn(|| 2).join().unwrap(), 2);
}
