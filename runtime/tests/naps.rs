//! Naps of workers that were woken for nothing: what is left lying is taken all the same, and no worker
//! naps for ever.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use openwork::snapshot::WorkerState;
use openwork::{spawn, spawn_future, time};
use support::{Watchdog, runtime, until};

/// A portable build changes threads at each spawn and join.
const ROUNDS: usize = if cfg!(portable) { 2 } else { 100 };

/// What makes a worker nap: each spawn would wake it, and it would find nothing.
fn spawn_and_join_often() {
    for i in 0..5_000 {
        assert_eq!(spawn(move || i).join().unwrap(), i);
    }
}

/// A fresh routine is run by another worker while its spawner computes on, also when that one naps. Broken
/// by a nap that has no end, or by one after which nobody looks.
#[test]
fn a_spawner_that_computes_on_strands_nobody() {
    let watchdog = Watchdog::new("stranded");
    for workers in [2, 3] {
        let rt = runtime(workers);
        watchdog.watch("stranded", &rt.handle());
        let waited: Vec<Duration> = rt.block_on(|| {
            let round = |i| {
                spawn_and_join_often();
                let ran = Arc::new(AtomicBool::new(false));
                let began = Instant::now();
                let child = {
                    let ran = ran.clone();
                    if i % 2 == 0 {
                        spawn(move || ran.store(true, SeqCst))
                    } else {
                        spawn_future(async move { ran.store(true, SeqCst) })
                    }
                };
                // Keeps its worker until the child has run.
                until("the child has run", || ran.load(SeqCst));
                let waited = began.elapsed();
                child.join().unwrap();
                waited
            };
            (0..ROUNDS).map(round).collect()
        });
        let mut waited = waited;
        waited.sort();
        println!(
            "{workers} workers: a child waited {:?} in the median, {:?} at most",
            waited[ROUNDS / 2],
            waited[ROUNDS - 1]
        );
    }
}

/// Workers that napped go to sleep when there is no work. Broken by a nap that follows one on which nobody
/// relied.
#[test]
fn naps_end_when_nobody_spawns() {
    let watchdog = Watchdog::new("naps end");
    let rt = runtime(2);
    watchdog.watch("naps end", &rt.handle());
    for _ in 0..10 {
        rt.block_on(spawn_and_join_often);
        let figures = || {
            let workers = rt.snapshot().workers;
            let asleep = workers.iter().all(|w| w.state == WorkerState::Parked);
            (asleep, workers.iter().map(|w| w.parks).sum::<u64>())
        };
        // A window that no worker which naps on and on leaves quiet.
        let quiet = (0..200).any(|_| {
            let before = figures();
            time::sleep(Duration::from_millis(30));
            before.0 && figures() == before
        });
        assert!(quiet, "somebody naps all the time: {:?}", figures());
    }
}

/// A crowd that has ended leaves stacks behind that stay warm for a while. Workers that have nothing to do
/// give their memory back, all but a few, and then sleep for good.
#[test]
fn idle_workers_give_the_stacks_of_a_crowd_back() {
    const CROWD: usize = 3_000;
    const KEPT: u64 = 64;
    let watchdog = Watchdog::new("crowd");
    for workers in [1, 2] {
        let rt = runtime(workers);
        watchdog.watch("crowd", &rt.handle());
        let (opened, gate) = openwork::channel::rendezvous::<()>();
        let crowd: Vec<_> = (0..CROWD)
            .map(|_| {
                let gate = gate.clone();
                rt.spawn(move || gate.recv())
            })
            .collect();
        until("all have a stack", || {
            rt.snapshot().stacks.in_use == CROWD as u64
        });
        drop(opened);
        for one in crowd {
            assert!(one.join().unwrap().is_err());
        }
        until("the stacks are given back", || {
            let stacks = rt.snapshot().stacks;
            stacks.in_use == 0 && stacks.pooled <= KEPT * workers as u64
        });
        let parks = || -> u64 { rt.snapshot().workers.iter().map(|w| w.parks).sum() };
        until("the workers sleep for good", || {
            let before = parks();
            std::thread::sleep(Duration::from_millis(50));
            parks() == before
        });
    }
}
