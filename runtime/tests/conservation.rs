//! Nothing is lost and nothing is counted twice: at rest, what was spawned has ended, and every sum
//! that is published in two places is the same in both; on the way, no snapshot shows more ends than
//! births.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use openwork::snapshot::{HandOff, RoutineState, Snapshot, WaitReason};
use openwork::{
    Builder, Handle, JoinHandle, Turn, Workload, profile, scope, spawn, spawn_future, spawn_turns,
    time, yield_now,
};
use support::{Gate, Ledger, Random, Watchdog, run_here, runtime, until};

/// Routines spawned from outside.
const ROOTS: u64 = if cfg!(portable) { 10 } else { 100 };
const LONG: Duration = Duration::from_secs(100);

/// What a snapshot promises at any moment.
fn check_snapshot(now: &Snapshot, before: Option<&Snapshot>) {
    let r = &now.routines;
    assert_eq!(
        r.new + r.runnable + r.running + r.blocked + r.ended,
        r.spawned,
        "{r:?}"
    );
    for worker in &now.workers {
        assert_eq!(worker.stolen, worker.stolen_from.iter().sum::<u64>());
        assert_eq!(worker.stolen_from[worker.id.get() as usize], 0);
    }
    if let Some(before) = before {
        assert!(r.spawned >= before.routines.spawned, "births are unmade");
        assert!(r.ended >= before.routines.ended, "ends are unmade");
    }
}

/// A tree of routines of all kinds that yield, sleep, wait, lend, abort and panic.
fn grow(seed: u64, depth: u32, ledger: &Arc<Ledger>, spawned: &Arc<AtomicU64>) -> u64 {
    let mut random = Random::from(seed);
    let mut sum = 1;
    let mut handles: Vec<JoinHandle<u64>> = Vec::new();
    for _ in 0..random.below(8) {
        if depth == 0 {
            break;
        }
        let (seed, token) = (random.next(), ledger.token());
        let (ledger, spawned) = (ledger.clone(), spawned.clone());
        let kind = random.below(7);
        spawned.fetch_add(if kind == 3 { 2 } else { 1 }, SeqCst);
        match kind {
            0 => handles.push(spawn(move || {
                let _token = token;
                grow(seed, depth - 1, &ledger, &spawned)
            })),
            1 => handles.push(spawn_future(async move {
                let _token = token;
                time::after(Duration::from_micros(seed % 40)).await;
                grow(seed, depth - 1, &ledger, &spawned)
            })),
            2 => handles.push(spawn_turns((seed % 5, token), move |(left, _)| {
                if *left == 0 {
                    return Turn::Done(grow(seed, depth - 1, &ledger, &spawned));
                }
                *left -= 1;
                match seed % 3 {
                    0 => Turn::Again,
                    1 => Turn::Sleep(Duration::from_micros(*left)),
                    _ => Turn::Wait(Box::pin(time::after(Duration::from_micros(*left)))),
                }
            })),
            // One waits for the other, at a gate that this one opens.
            3 => {
                let gate = Gate::new();
                let future = gate.future();
                handles.push(spawn_future(async move {
                    future.await;
                    1
                }));
                handles.push(spawn(move || {
                    let _token = token;
                    yield_now();
                    gate.open();
                    1
                }));
            }
            4 => {
                let doomed = spawn(move || {
                    let _token = token;
                    time::sleep(Duration::from_secs(3600));
                });
                if seed % 2 == 0 {
                    yield_now();
                }
                doomed.abort();
                if seed % 3 == 0 {
                    assert!(doomed.join().is_err());
                }
            }
            5 => spawn(move || {
                let _token = token;
                panic!("on purpose");
            })
            .detach(),
            _ => {
                let lent = [token];
                sum += scope(|s| {
                    let child = s.spawn(|| {
                        yield_now();
                        lent.len() as u64
                    });
                    child.join().unwrap()
                });
            }
        }
        if seed % 4 == 0 {
            yield_now();
        }
    }
    for handle in handles {
        sum += handle.join().unwrap();
    }
    sum
}

fn churn(workers: usize, random: &mut Random, watchdog: &Watchdog) {
    let rt = runtime(workers);
    let handle = rt.handle();
    // Before the first turn: the rings are compared with the counters.
    handle.record_turns(true);
    watchdog.watch("churn", &handle);
    let ledger = Ledger::new();
    let workload = Workload::new("churn");
    let spawned = Arc::new(AtomicU64::new(0));

    let over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (handle, over) = (handle.clone(), over.clone());
        thread::spawn(move || watch(&handle, &over))
    };
    let roots: Vec<_> = (0..ROOTS)
        .map(|_| {
            let (seed, ledger, spawned) = (random.next(), ledger.clone(), spawned.clone());
            spawned.fetch_add(1, SeqCst);
            Builder::new()
                .on(&handle)
                .workload(&workload)
                .spawn(move || grow(seed, 7, &ledger, &spawned))
                .unwrap()
        })
        .collect();
    for (n, root) in roots.into_iter().enumerate() {
        let sum = match n % 2 {
            0 => root.join().unwrap(),
            _ => run_here(root).unwrap(),
        };
        assert!(sum > 0);
    }
    // Detached ones may still be under way.
    until("all have ended", || handle.snapshot().routines.live() == 0);
    over.store(true, SeqCst);
    watcher.join().unwrap();
    until("the walk finds nobody", || {
        let mut seen = 0;
        handle.routines(&mut |_| seen += 1);
        seen == 0
    });
    ledger.check("at rest");

    let now = handle.snapshot();
    check_snapshot(&now, None);
    let r = &now.routines;
    assert_eq!(r.spawned, spawned.load(SeqCst), "births");
    assert_eq!((r.live(), r.ended), (0, r.spawned), "ends");
    assert_eq!(r.blocked_by, [0; WaitReason::COUNT]);
    let counters = workload.counters();
    assert_eq!((counters.spawned, counters.ended), (r.spawned, r.ended));
    assert_eq!(
        (counters.panicked, counters.cancelled),
        (r.panicked, r.cancelled)
    );
    let sum = |of: fn(&openwork::snapshot::WorkerSnapshot) -> u64| -> u64 {
        now.workers.iter().map(of).sum()
    };
    // What a thread does that has lost its worker counts as done outside.
    let (spawned_inside, ended_inside) = (sum(|w| w.spawned) + ROOTS, sum(|w| w.ended));
    if now.threads.handed_off_by[HandOff::Blocked as usize] == 0 && now.monitor.released == 0 {
        assert_eq!(spawned_inside, r.spawned, "the roots came from outside");
        assert_eq!(ended_inside, r.ended);
    }
    assert!(spawned_inside <= r.spawned && ended_inside <= r.ended);
    assert_eq!(sum(|w| w.turns()), counters.turns, "turns by source");
    assert_eq!(sum(|w| w.yields), counters.yields);
    assert_eq!(sum(|w| w.stolen), counters.stolen);
    assert!(sum(|w| w.steals) <= sum(|w| w.stolen));
    assert!(sum(|w| w.turns()) >= r.spawned, "each had a turn");
    assert_eq!(sum(|w| w.queue_depth()) + now.injector_depth, 0);
    assert_eq!((now.stacks.in_use, now.stacks.waiting), (0, 0));
    if workers == 1 {
        assert_eq!(sum(|w| w.stolen), 0);
    }
    // The rings tell the same, where nothing was lost.
    for worker in &now.workers {
        let mut turns = Vec::new();
        if handle.turns(worker.id, 0, &mut turns).lost == 0 {
            assert_eq!(turns.len() as u64, worker.turns());
            let total: u64 = turns.iter().map(|turn| turn.length_ns).sum();
            assert_eq!(total, worker.busy_ns);
        }
        let mut steals = Vec::new();
        if handle.steals(worker.id, 0, &mut steals).lost == 0 {
            assert_eq!(steals.len() as u64, worker.steals);
            let moved: u64 = steals.iter().map(|steal| u64::from(steal.moved)).sum();
            assert_eq!(moved, worker.stolen);
        }
    }
    rt.shutdown(LONG).unwrap();
}

/// Looks at everything from outside while it moves: figures, walks, stacks, pages.
fn watch(handle: &Handle, over: &AtomicBool) {
    let mut before: Option<Snapshot> = None;
    while !over.load(SeqCst) {
        let now = handle.snapshot();
        check_snapshot(&now, before.as_ref());
        before = Some(now);
        handle.routines(&mut |view| assert_ne!(view.state, RoutineState::Ended));
        for stack in profile::stacks(handle) {
            if let Ok(frames) = stack.frames {
                assert!(!frames.is_empty(), "{:?}", stack.view);
            }
        }
        let _ = handle.sample_residency(100);
        handle.trim_parked_stacks(Duration::ZERO, 100);
        thread::yield_now();
    }
}

#[test]
fn everything_is_conserved() {
    let watchdog = Watchdog::new("conservation");
    let mut random = Random::new("conservation");
    for workers in [1, 2, 8] {
        for _ in 0..3 {
            churn(workers, &mut random, &watchdog);
        }
    }
}

/// Two runtimes side by side know nothing of each other.
#[test]
fn everything_is_conserved_on_two_runtimes_side_by_side() {
    let threads: Vec<_> = (0..2)
        .map(|n| {
            thread::spawn(move || {
                let watchdog = Watchdog::new("conservation, side by side");
                let mut random = Random::new("conservation, side by side");
                for _ in 0..n {
                    random.next();
                }
                for _ in 0..3 {
                    churn(2, &mut random, &watchdog);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
