//! The number of workers changes at random while routines of every kind run: everything that was begun ends
//! once, also in a shutdown, and where threads are stopped, robbed of their workers and homes travel.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use openwork::config::{ConfigChange, Placement, Preemption, VictimOrder};
use openwork::snapshot::WorkerState;
use openwork::sync::Mutex;
use openwork::{
    Builder, Handle, JoinHandle, Priority, Runtime, RuntimeBuilder, Turn, blocking, channel,
    checkpoint, hold_thread, scope, spawn, spawn_future, spawn_turns, time, yield_now,
};
use support::{Gate, Ledger, Random, Token, Watchdog, until};

const MAX: u64 = 6;
const HOUR: Duration = Duration::from_secs(3600);
const US: Duration = Duration::from_micros(1);

fn tree(depth: u32, token: Token) -> u32 {
    let _token = token;
    if depth == 0 {
        return 1;
    }
    let children = [1, 2].map(|_| spawn(move || plain_tree(depth - 1)));
    children
        .into_iter()
        .map(|child| child.join().unwrap())
        .sum()
}

fn plain_tree(depth: u32) -> u32 {
    if depth == 0 {
        yield_now();
        return 1;
    }
    let children = [1, 2].map(|_| spawn(move || plain_tree(depth - 1)));
    children
        .into_iter()
        .map(|child| child.join().unwrap())
        .sum()
}

/// Some routine of some kind, which holds `token` and ends.
fn some_routine(handle: &Handle, random: &mut Random, token: Token, slow: bool) -> JoinHandle<()> {
    let some_us = |random: &mut Random| US * random.below(2_000) as u32;
    match random.below(12) {
        0 => handle.spawn(move || assert_eq!(tree(4, token), 16)),
        1 => {
            let nap = some_us(random);
            handle.spawn_turns((0, token), move |(turns, _)| {
                *turns += 1;
                match *turns {
                    10 => Turn::Sleep(nap),
                    50 => Turn::Done(()),
                    _ => Turn::Again,
                }
            })
        }
        2 => {
            let (nap, key) = (some_us(random), random.below(20));
            let keyed = Builder::new().on(handle).affinity(key);
            let routine = move || {
                let _token = token;
                time::sleep(nap);
            };
            keyed.spawn(routine).unwrap()
        }
        3 => handle.spawn(move || {
            let _token = token;
            let (tx, rx) = channel::bounded(2);
            let sum = spawn(move || rx.iter().sum::<u32>());
            let sender = |n| {
                let tx = tx.clone();
                spawn(move || tx.send(n).unwrap())
            };
            let senders: Vec<_> = (0..20).map(sender).collect();
            drop(tx);
            senders.into_iter().for_each(|one| one.join().unwrap());
            assert_eq!(sum.join().unwrap(), 190);
        }),
        4 => handle.spawn(move || {
            let _token = token;
            let sum = Mutex::new(0);
            scope(|s| {
                for _ in 0..8 {
                    s.spawn(|| {
                        let mut guard = sum.lock().unwrap();
                        yield_now();
                        *guard += 1;
                    });
                }
            });
            assert_eq!(*sum.lock().unwrap(), 8);
        }),
        5 => {
            let nap = some_us(random);
            handle.spawn_future(async move {
                let _token = token;
                let other = spawn_future(async move { time::sleep(nap) });
                other.await.unwrap();
            })
        }
        6 => {
            let sleeper = handle.spawn(move || {
                let _token = token;
                time::sleep(HOUR);
            });
            let nap = some_us(random);
            handle.spawn(move || {
                time::sleep(nap);
                sleeper.abort();
                assert!(sleeper.join().is_err());
            })
        }
        7 => {
            let nap = some_us(random);
            handle.spawn(move || {
                let _token = token;
                hold_thread(|| time::sleep(nap));
            })
        }
        8 => {
            let levels = [Priority::Low, Priority::High];
            let level = levels[random.below(2) as usize];
            let routine = move || {
                let _token = token;
                (0..20).for_each(|_| yield_now());
            };
            Builder::new()
                .on(handle)
                .priority(level)
                .spawn(routine)
                .unwrap()
        }
        9 => handle.spawn(move || {
            let _token = token;
            assert_eq!(blocking(|| 5), 5);
            if slow {
                // In the kernel, without wrapping it.
                thread::sleep(Duration::from_millis(2));
            }
        }),
        10 => handle.spawn(move || {
            let _token = token;
            // Never calls us: forced preemption stops it, and it goes on elsewhere or here.
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(3) {
                std::hint::spin_loop();
            }
        }),
        _ => handle.spawn(move || {
            let _token = token;
            let turns = spawn_turns(0, |n| {
                *n += 1;
                if *n < 20 { Turn::Again } else { Turn::Done(*n) }
            });
            for n in 0..2_000u32 {
                std::hint::black_box(n);
                checkpoint();
            }
            assert_eq!(turns.join().unwrap(), 20);
        }),
    }
}

/// Changes the number until told to stop.
fn resizer(handle: Handle, seed: u64, stop: Arc<AtomicBool>) -> impl FnOnce() + Send {
    move || {
        let mut random = Random::from(seed);
        while !stop.load(SeqCst) {
            let workers = 1 + random.below(MAX) as usize;
            // Refused where no thread is free, and after the end.
            let _ = handle.set_workers(workers);
            for _ in 0..random.below(20) {
                thread::yield_now();
            }
        }
    }
}

fn storm(test: &str, rounds: u64, build: impl Fn(RuntimeBuilder) -> RuntimeBuilder) {
    let mut random = Random::new(test);
    let watchdog = Watchdog::new(test);
    let builder = Runtime::builder().workers(2).max_workers(MAX as usize);
    let rt = match build(builder).build() {
        Ok(rt) => rt,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    watchdog.watch(test, &rt.handle());
    let handle = rt.handle();
    let slow = handle.config().hand_off;
    let ledger = Ledger::new();
    let stop = Arc::new(AtomicBool::new(false));
    let outside = thread::spawn(resizer(handle.clone(), random.next(), stop.clone()));
    let inside = {
        let (handle, stop, seed) = (handle.clone(), stop.clone(), random.next());
        // Between naps, so that it does not fill a worker.
        rt.spawn(move || {
            let mut random = Random::from(seed);
            while !stop.load(SeqCst) {
                let _ = handle.set_workers(1 + random.below(MAX) as usize);
                time::sleep(US * 300);
            }
        })
    };
    let placements = [
        Placement::Local,
        Placement::RoundRobin,
        Placement::LeastLoaded,
    ];
    let orders = [
        VictimOrder::Random,
        VictimOrder::MostLoaded,
        VictimOrder::Nearest,
    ];
    for _ in 0..rounds {
        let mut change = ConfigChange::default();
        if cfg!(feature = "balance") {
            change.placement = Some(placements[random.below(3) as usize]);
            change.rebalance = Some(random.below(2) == 0);
        }
        change.victims = Some(orders[random.below(3) as usize]);
        change.rebalance_period = Some(Duration::from_millis(1));
        handle.reconfigure(change).unwrap();
        let routines: Vec<_> = (0..60)
            .map(|_| some_routine(&handle, &mut random, ledger.token(), slow))
            .collect();
        for routine in routines {
            routine.join().unwrap();
        }
    }
    stop.store(true, SeqCst);
    outside.join().unwrap();
    inside.join().unwrap();
    ledger.check_soon(test);
    // One is left, and has whatever there was.
    handle.set_workers(1).unwrap();
    until("all others have left", || {
        let now = rt.snapshot();
        let others = &now.workers[1..];
        others.iter().all(|w| w.state == WorkerState::Inactive)
    });
    let now = rt.snapshot();
    println!("{test}: {:?} {:?}", now.resizing, now.threads);
    assert!(now.resizing.resizes > 0);
    for worker in &now.workers[1..] {
        assert_eq!((worker.queue_depth(), worker.timers.pending), (0, 0));
    }
    until("routines are gone", || rt.snapshot().routines.live() == 0);
    let counts = rt.snapshot().routines;
    assert_eq!(counts.spawned, counts.ended, "{counts:?}");
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

#[test]
fn with_nobody_watching() {
    storm("with nobody watching", 20, |builder| {
        builder.hand_off(false).travelling_homes(0)
    });
}

#[test]
fn with_hand_off_and_forced_preemption() {
    storm("with hand-off and forced preemption", 20, |builder| {
        builder
            .hand_off(true)
            .preemption(Preemption::Forced)
            .slice(Duration::from_millis(1))
    });
}

#[test]
fn with_travelling_homes() {
    storm("with travelling homes", 20, |builder| {
        builder.travelling_homes(256)
    });
}

#[test]
fn with_travelling_homes_and_forced_preemption() {
    storm("with travelling homes, forced", 20, |builder| {
        builder
            .travelling_homes(16)
            .hand_off(true)
            .preemption(Preemption::Forced)
            .slice(Duration::from_millis(1))
    });
}

/// A shutdown in the middle of it ends everything, and leaves no thread behind that nobody waits for: whoever
/// asks afterwards is refused.
#[test]
fn a_shutdown_comes_between() {
    let test = "a shutdown comes between";
    let watchdog = Watchdog::new(test);
    let mut random = Random::new(test);
    for round in 0..15 {
        let rt = Runtime::builder()
            .workers(2)
            .max_workers(MAX as usize)
            .build()
            .unwrap();
        watchdog.watch(test, &rt.handle());
        let handle = rt.handle();
        let ledger = Ledger::new();
        let stop = Arc::new(AtomicBool::new(false));
        let outside = thread::spawn(resizer(handle.clone(), random.next(), stop.clone()));
        let go = Gate::new();
        for n in 0..50 {
            let (token, go) = (ledger.token(), go.clone());
            let detached = match n % 3 {
                0 => rt.spawn(move || {
                    let _token = token;
                    go.wait();
                }),
                1 => rt.spawn(move || {
                    let _token = token;
                    time::sleep(HOUR);
                }),
                _ => rt.spawn_turns(token, |_| Turn::<()>::Sleep(US * 100)),
            };
            detached.detach();
        }
        if round % 2 == 0 {
            go.open();
        }
        rt.shutdown(US * random.below(3_000) as u32).unwrap();
        ledger.check(test);
        let why = handle.set_workers(if handle.workers() == 1 { 2 } else { 1 });
        assert_eq!(
            why.unwrap_err()
                .to_string()
                .split(':')
                .next_back()
                .unwrap()
                .trim(),
            "the runtime has been shut down"
        );
        stop.store(true, SeqCst);
        outside.join().unwrap();
    }
}
