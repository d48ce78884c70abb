//! What a routine is promised, from spawn to join.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use openwork::{JoinError, Runtime, Turn, Workload, scope, spawn, spawn_future, spawn_turns, time};
#[cfg(not(portable))]
use support::until_blocked;

const LONG: Duration = Duration::from_secs(100);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().unwrap()
}

#[test]
fn a_value_comes_back() {
    let rt = runtime(2);
    assert_eq!(rt.block_on(|| spawn(|| 6 * 7).join().unwrap()), 42);
    assert_eq!(rt.spawn(|| [7u64; 40]).join().unwrap(), [7u64; 40]);
    assert_eq!(rt.spawn_future(async { 1 }).join().unwrap(), 1);
}

#[test]
fn a_panic_ends_one_routine() {
    let rt = runtime(1);
    let bad = rt.spawn(|| -> u32 { panic!("on purpose") });
    match bad.join() {
        Err(JoinError::Panicked(payload)) => {
            assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "on purpose");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(rt.spawn(|| 1).join().unwrap(), 1);
    let counts = rt.snapshot().routines;
    assert_eq!((counts.spawned, counts.ended, counts.panicked), (2, 2, 1));
}

/// Whatever was looked at first the last time: the number of turns before differs. Once in some tries: when more
/// than a millisecond passes meanwhile, the worker looks elsewhere first.
#[test]
fn whoever_yields_lets_a_fresh_one_begin() {
    let lets = |turns_before| {
        let begun = runtime(1).block_on(|| {
            let begun = AtomicU64::new(0);
            for _ in 0..turns_before {
                openwork::yield_now();
            }
            scope(|s| {
                s.spawn(|| begun.fetch_add(1, Relaxed));
                openwork::yield_now();
                begun.load(Relaxed)
            })
        });
        begun == 1
    };
    for turns_before in 0..4 {
        let once = (0..20).any(|_| lets(turns_before));
        assert!(once, "after {turns_before} turns");
    }
}

#[test]
fn ten_thousand_routines_yield_and_sleep() {
    let rt = runtime(2);
    let sum = rt.block_on(|| {
        let handles: Vec<_> = (0..10_000u64)
            .map(|i| {
                spawn(move || {
                    if i % 3 == 0 {
                        time::sleep(Duration::from_micros(i % 97));
                    }
                    openwork::yield_now();
                    i
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum, 10_000 * 9_999 / 2);
    let snapshot = rt.snapshot();
    assert_eq!(snapshot.routines.spawned, 10_001);
    assert_eq!(snapshot.routines.live(), 0);
    rt.shutdown(LONG).unwrap();
}

#[test]
fn turn_loops_sleep_wait_and_end() {
    let rt = runtime(2);
    let out = rt.block_on(|| {
        let all: Vec<_> = (0..64u64)
            .map(|i| {
                spawn_turns(0u64, move |n| {
                    *n += 1;
                    match *n {
                        1..=50 => Turn::Again,
                        51 => Turn::Sleep(Duration::from_micros(50)),
                        52 => Turn::Wait(Box::pin(time::after(Duration::from_micros(10)))),
                        _ => Turn::Done(i),
                    }
                })
            })
            .collect();
        all.into_iter().map(|h| h.join().unwrap()).sum::<u64>()
    });
    assert_eq!(out, 64 * 63 / 2);
}

#[test]
fn futures_join_routines() {
    let rt = runtime(2);
    let n = rt.block_on(|| {
        spawn_future(async {
            let a = spawn(|| 1);
            let b = spawn(|| 2);
            a.await.unwrap() + b.await.unwrap()
        })
        .join()
        .unwrap()
    });
    assert_eq!(n, 3);
}

#[test]
fn a_scope_borrows_and_waits() {
    let rt = runtime(2);
    let hits = AtomicU64::new(0);
    rt.block_on(|| {
        scope(|s| {
            for _ in 0..100 {
                s.spawn(|| {
                    openwork::yield_now();
                    hits.fetch_add(1, Relaxed);
                });
            }
        });
        assert_eq!(hits.load(Relaxed), 100);
    });
}

#[test]
fn an_abort_unwinds_a_sleeper() {
    struct Tell(Arc<AtomicU64>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let rt = runtime(2);
    let dropped = Arc::new(AtomicU64::new(0));
    let tell = Tell(dropped.clone());
    let sleeper = rt.spawn(move || {
        let _tell = tell;
        time::sleep(Duration::from_secs(3600));
    });
    sleeper.abort();
    assert!(matches!(sleeper.join(), Err(JoinError::Cancelled)));
    assert_eq!(dropped.load(Relaxed), 1);
}

#[test]
fn a_workload_counts_and_cancels() {
    let rt = runtime(2);
    let workload = Workload::new("test");
    let root = openwork::Builder::new()
        .on(&rt.handle())
        .workload(&workload)
        .spawn(|| {
            for _ in 0..10 {
                spawn(|| time::sleep(Duration::from_secs(3600)));
            }
            time::sleep(Duration::from_secs(3600));
        })
        .unwrap();
    workload.cancel(&rt.handle());
    assert!(root.join().is_err());
    rt.shutdown(LONG).unwrap();
    let c = workload.counters();
    assert_eq!(c.spawned, c.ended);
}

#[test]
fn shutdown_cancels_what_does_not_end() {
    let rt = runtime(2);
    for _ in 0..50 {
        rt.spawn(|| time::sleep(Duration::from_secs(3600)));
    }
    rt.shutdown(Duration::ZERO).unwrap();
}

/// Pages that a parked routine no longer uses go back; what it still needs stays. Not in portable builds, which
/// do not look at stacks.
#[cfg(not(portable))]
#[test]
fn a_parked_stack_is_trimmed_once() {
    #[inline(never)]
    fn deep(levels: u32) -> u64 {
        let filler = std::hint::black_box([u64::from(levels); 64]);
        if levels == 0 {
            return filler[0];
        }
        deep(levels - 1) + filler[63]
    }
    let rt = runtime(1);
    let handle = rt.handle();
    let sleeper = rt.spawn(|| {
        let before = deep(20);
        time::sleep(Duration::from_secs(3600));
        before
    });
    until_blocked(&handle, sleeper.id());
    let before = handle.sample_residency(10).unwrap();
    assert_eq!((before.routines, before.sampled), (1, 1));
    assert_eq!(handle.trim_parked_stacks(Duration::ZERO, 10), 1);
    assert_eq!(
        handle.trim_parked_stacks(Duration::ZERO, 10),
        0,
        "once in a wait"
    );
    let after = handle.sample_residency(10).unwrap();
    assert!(
        after.resident_bytes < before.resident_bytes,
        "{before:?} {after:?}"
    );
    sleeper.abort();
    assert!(sleeper.join().is_err());
}
