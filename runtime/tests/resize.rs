//! Workers come and go while the runtime runs: nothing is lost with one that goes, and one that comes works.

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use openwork::config::{ConfigChange, ConfigError, Placement};
use openwork::snapshot::{Snapshot, WorkerState};
use openwork::{
    BuildError, Builder, JoinHandle, Runtime, Turn, channel, hold_thread, scope, spawn, time,
    yield_now,
};
use support::{Gate, Ledger, Watchdog, until};

const HOUR: Duration = Duration::from_secs(3600);

fn runtime(test: &str, workers: usize, max: usize) -> (Watchdog, Runtime) {
    let rt = Runtime::builder()
        .workers(workers)
        .max_workers(max)
        .build()
        .unwrap();
    let watchdog = Watchdog::new(test);
    watchdog.watch(test, &rt.handle());
    (watchdog, rt)
}

/// Sets the number, and waits until those that go have gone.
#[track_caller]
fn resize(rt: &Runtime, workers: usize) -> Snapshot {
    rt.handle().set_workers(workers).unwrap();
    assert_eq!(rt.handle().workers(), workers);
    until("the workers have left", || {
        rt.snapshot().resizing.leaving == 0
    });
    let now = rt.snapshot();
    for (index, worker) in now.workers.iter().enumerate() {
        let is_inactive = worker.state == WorkerState::Inactive;
        assert_eq!(is_inactive, index >= workers, "worker {index} of {workers}");
        if is_inactive {
            assert_eq!((worker.queue_depth(), worker.thread_id), (0, 0));
        }
    }
    now
}

/// Routines that keep a worker each, all at the same time, until `go`.
fn occupy(rt: &Runtime, workers: usize, go: &Gate) -> Vec<JoinHandle<()>> {
    let inside = Arc::new(AtomicU32::new(0));
    let routines = (0..workers)
        .map(|_| {
            let (inside, go) = (inside.clone(), go.clone());
            rt.spawn(move || {
                inside.fetch_add(1, SeqCst);
                go.spin();
            })
        })
        .collect();
    until("each worker runs one", || {
        inside.load(SeqCst) == workers as u32
    });
    routines
}

fn join_all(routines: Vec<JoinHandle<()>>) {
    for routine in routines {
        routine.join().unwrap();
    }
}

/// What was spawned has ended, and the runtime ends.
fn finish(rt: Runtime) {
    let counts = rt.snapshot().routines;
    assert_eq!(counts.live(), 0, "{counts:?}");
    assert_eq!(counts.spawned, counts.ended);
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

#[test]
fn workers_that_come_work_and_those_that_go_do_not() {
    let (_watchdog, rt) = runtime("up and down", 1, 4);
    assert_eq!(rt.snapshot().workers.len(), 1, "the others never were");
    for round in 0..3 {
        for workers in [4, 2, 1, 3] {
            resize(&rt, workers);
            let go = Gate::new();
            let busy = occupy(&rt, workers, &go);
            go.open();
            join_all(busy);
            let turns = |now: &Snapshot| -> u64 {
                let gone = now.workers.iter().skip(workers);
                gone.map(|worker| worker.turns()).sum()
            };
            let before = turns(&rt.snapshot());
            rt.block_on(|| scope(|s| (0..100).for_each(|_| drop(s.spawn(yield_now)))));
            assert_eq!(turns(&rt.snapshot()), before, "round {round}");
        }
    }
    let now = rt.snapshot();
    assert_eq!(now.workers.len(), 4);
    // The first of each round but the first finds three.
    assert_eq!((now.resizing.resizes, now.resizing.active), (12, 3));
    assert_eq!(now.config.workers, 3);
    finish(rt);
}

/// What is bound to a thread that has lost its worker runs there, when another worker comes by.
#[test]
fn bound_routines_outlive_the_worker_that_they_began_on() {
    let (_watchdog, rt) = runtime("bound routines", 4, 4);
    let go = Gate::new();
    let inside = Arc::new(AtomicU32::new(0));
    let pairs: Vec<_> = (0..4)
        .map(|_| {
            let (go, inside) = (go.clone(), inside.clone());
            rt.spawn(move || {
                // All four at once, so that each is at home on a thread of its own.
                inside.fetch_add(1, SeqCst);
                go.spin();
                let (there, ball) = channel::rendezvous::<u32>();
                let (back, answer) = channel::rendezvous::<u32>();
                let partner = spawn(move || {
                    for ball in ball.iter() {
                        back.send(ball + 1).unwrap();
                    }
                });
                for n in 0..200 {
                    there.send(n).unwrap();
                    assert_eq!(answer.recv().unwrap(), n + 1);
                }
                drop(there);
                partner.join().unwrap();
            })
        })
        .collect();
    until("each is at home somewhere", || inside.load(SeqCst) == 4);
    rt.handle().set_workers(1).unwrap();
    assert_eq!(rt.snapshot().resizing.leaving, 3);
    go.open();
    join_all(pairs);
    resize(&rt, 1);
    finish(rt);
}

/// Deadlines stay with the worker that has gone, and are served and taken back all the same.
#[test]
fn deadlines_of_workers_that_have_gone_are_served() {
    let (_watchdog, rt) = runtime("deadlines", 4, 4);
    let go = Gate::new();
    let inside = Arc::new(AtomicU32::new(0));
    let at_each = |what: fn()| -> Vec<JoinHandle<()>> {
        inside.store(0, SeqCst);
        let spinning = (0..4).map(|_| {
            let (go, inside) = (go.clone(), inside.clone());
            rt.spawn(move || {
                inside.fetch_add(1, SeqCst);
                go.spin();
                what();
            })
        });
        let routines = spinning.collect();
        until("each has a worker", || inside.load(SeqCst) == 4);
        routines
    };
    let nap = at_each(|| time::sleep(Duration::from_millis(50)));
    go.open();
    let asleep = |want: u64| {
        until("they sleep", || {
            let workers = rt.snapshot().workers;
            workers.iter().map(|w| w.timers.pending).sum::<u64>() >= want
        });
    };
    let turns: Vec<_> = (0..8)
        .map(|_| {
            rt.spawn_turns(0, |n| {
                *n += 1;
                match *n {
                    1..8 => Turn::Sleep(Duration::from_millis(5)),
                    _ => Turn::Done(()),
                }
            })
        })
        .collect();
    resize(&rt, 1);
    join_all(nap);
    join_all(turns);
    let long: Vec<_> = {
        resize(&rt, 4);
        (0..64).map(|_| rt.spawn(|| time::sleep(HOUR))).collect()
    };
    asleep(64);
    // Over one worker, as if the machine had changed several times.
    for workers in [2, 3, 1] {
        resize(&rt, workers);
    }
    for routine in &long {
        routine.abort();
    }
    for routine in long {
        assert!(routine.join().is_err());
    }
    let pending: u64 = rt.snapshot().workers.iter().map(|w| w.timers.pending).sum();
    assert_eq!(pending, 0);
    finish(rt);
}

/// What others have assigned to a worker does not stay with it when it goes.
#[test]
fn keyed_and_placed_routines_are_handed_on() {
    let (_watchdog, rt) = runtime("keyed and placed", 4, 4);
    let handle = rt.handle();
    let mut change = ConfigChange::default();
    change.placement = cfg!(feature = "balance").then_some(Placement::RoundRobin);
    handle.reconfigure(change).unwrap();
    // On until somebody has left before it had run all that it had.
    let mut rounds = 0;
    until("something was handed on", || {
        resize(&rt, 4);
        let go = Gate::new();
        let busy = occupy(&rt, 4, &go);
        let ledger = Ledger::new();
        let ran = Arc::new(AtomicU64::new(0));
        let assigned: Vec<_> = (0..400u64)
            .map(|n| {
                let (ran, token) = (ran.clone(), ledger.token());
                let routine = move || {
                    let _token = token;
                    ran.fetch_add(1, SeqCst);
                };
                match n % 2 {
                    0 => Builder::new()
                        .affinity(n)
                        .on(&handle)
                        .spawn(routine)
                        .unwrap(),
                    _ => rt.spawn(routine),
                }
            })
            .collect();
        let waiting: u64 = rt.snapshot().workers.iter().map(|w| w.queue_depth()).sum();
        // Where no placement chooses, those without a key are in the injector.
        let expected = if cfg!(feature = "balance") { 400 } else { 200 };
        assert_eq!(waiting, expected, "all workers are busy");
        handle.set_workers(1).unwrap();
        go.open();
        join_all(assigned);
        join_all(busy);
        assert_eq!(ran.load(SeqCst), 400);
        ledger.check_soon("assigned routines");
        rounds += 1;
        rounds >= 5 && resize(&rt, 1).resizing.moved > 0
    });
    let on_first = |_| {
        let worker = Builder::new().affinity(7).on(&handle);
        let worker = worker
            .spawn(|| openwork::current().unwrap().worker)
            .unwrap();
        assert_eq!(worker.join().unwrap().index(), 0);
    };
    (0..20).for_each(on_first);
    finish(rt);
}

/// A worker whose turn does not end leaves when it does, and stays if it is wanted again before that.
#[test]
fn a_long_turn_keeps_its_worker_until_it_is_over() {
    let (_watchdog, rt) = runtime("a long turn", 2, 2);
    let go = Gate::new();
    let busy = occupy(&rt, 2, &go);
    rt.handle().set_workers(1).unwrap();
    let now = rt.snapshot();
    assert_eq!((now.resizing.active, now.resizing.leaving), (1, 1));
    assert_eq!(now.workers[1].state, WorkerState::Running);
    let thread = now.workers[1].thread_id;
    rt.handle().set_workers(2).unwrap();
    let now = rt.snapshot();
    assert_eq!((now.resizing.active, now.resizing.leaving), (2, 0));
    assert_eq!(now.workers[1].thread_id, thread, "it is the same one");
    rt.handle().set_workers(1).unwrap();
    go.open();
    join_all(busy);
    resize(&rt, 1);
    finish(rt);
}

/// The worker that the caller runs on may be among those that go.
#[test]
fn a_routine_may_change_the_number() {
    let (_watchdog, rt) = runtime("from within", 4, 4);
    let handle = rt.handle();
    let changers: Vec<_> = (0..4u64)
        .map(|seed| {
            let handle = handle.clone();
            rt.spawn(move || {
                let mut random = support::Random::from(seed + 1);
                for _ in 0..50 {
                    handle.set_workers(1 + random.below(4) as usize).unwrap();
                    yield_now();
                }
            })
        })
        .collect();
    join_all(changers);
    let resizes = rt.snapshot().resizing.resizes;
    assert!(
        (1..=200).contains(&resizes),
        "those that change something: {resizes}"
    );
    resize(&rt, 2);
    finish(rt);
}

/// A routine that holds its thread keeps it when the worker goes, and goes on there.
#[test]
fn a_held_thread_gets_a_worker_again() {
    let (_watchdog, rt) = runtime("a held thread", 2, 2);
    for _ in 0..20 {
        resize(&rt, 2);
        let (go, waits) = channel::rendezvous();
        let (tx, inside) = channel::unbounded();
        let holders: Vec<_> = (0..2)
            .map(|_| {
                let (waits, tx) = (waits.clone(), tx.clone());
                rt.spawn(move || {
                    hold_thread(|| {
                        tx.send(std::thread::current().id()).unwrap();
                        waits.recv().unwrap();
                        tx.send(std::thread::current().id()).unwrap();
                    });
                })
            })
            .collect();
        let mut before =
            [inside.recv().unwrap(), inside.recv().unwrap()].map(|id| format!("{id:?}"));
        resize(&rt, 1);
        (0..2).for_each(|_| go.send(()).unwrap());
        join_all(holders);
        let mut after =
            [inside.recv().unwrap(), inside.recv().unwrap()].map(|id| format!("{id:?}"));
        before.sort();
        after.sort();
        assert_eq!(before, after, "each on its own thread");
    }
    finish(rt);
}

#[test]
fn a_number_that_is_out_of_range_is_refused_by_name() {
    let why = Runtime::builder().workers(3).max_workers(2).build();
    let why = why.unwrap_err();
    assert!(matches!(
        why,
        BuildError::MaxWorkers {
            asked: 2,
            min: 3,
            ..
        }
    ));
    assert_eq!(
        why.to_string(),
        "max_workers: 2 is out of range, from 3 to 256 are possible"
    );
    let (_watchdog, rt) = runtime("out of range", 2, 3);
    for workers in [0, 4, usize::MAX] {
        let why = rt.handle().set_workers(workers).unwrap_err();
        assert!(matches!(
            why,
            ConfigError::OutOfRange {
                field: "workers",
                ..
            }
        ));
    }
    // One thread must be left to take a worker.
    let rt = Runtime::builder().workers(1).max_workers(8).max_threads(4);
    let rt = rt.build().unwrap();
    let why = rt.handle().set_workers(4).unwrap_err();
    assert_eq!(
        why.to_string(),
        "workers: 4 is out of range, from 1 to 3 are possible"
    );
    // All or nothing.
    let mut change = ConfigChange::default();
    change.workers = Some(3);
    change.slice = Some(Duration::ZERO);
    assert_eq!(
        rt.handle().reconfigure(change).unwrap_err().field(),
        "slice"
    );
    assert_eq!(
        (rt.handle().workers(), rt.snapshot().resizing.resizes),
        (1, 0)
    );
    rt.handle().set_workers(3).unwrap();
}

/// All threads that there may be sleep in the kernel: a worker more has none, and that is said.
#[test]
fn at_the_cap_of_threads_growth_is_refused() {
    let built = Runtime::builder()
        .workers(1)
        .max_workers(3)
        .max_threads(4)
        .hand_off(true)
        // A home that travels is no reason for a thread to be away.
        .travelling_homes(0)
        .build();
    let rt = match built {
        Ok(rt) => rt,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let watchdog = Watchdog::new("at the cap");
    watchdog.watch("at the cap", &rt.handle());
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reader = Arc::new(reader);
    let sleepers: Vec<_> = (0..3)
        .map(|_| {
            let reader = reader.clone();
            rt.spawn(move || (&*reader).read_exact(&mut [0]).unwrap())
        })
        .collect();
    until("three sleep, and the fourth has the worker", || {
        let threads = rt.snapshot().threads;
        (threads.total, threads.away, threads.spare, threads.wanting) == (4, 3, 0, 0)
    });
    let why = rt.handle().set_workers(3).unwrap_err();
    assert_eq!(
        why.to_string(),
        "workers: 3 is not available: there are max_threads threads, and none of them is free"
    );
    let now = rt.snapshot();
    assert_eq!((now.config.workers, now.resizing.leaving), (1, 0));
    assert_eq!(now.workers.len(), 1);
    assert_eq!(rt.spawn(|| 5).join().unwrap(), 5, "the worker goes on");
    writer.write_all(&[0; 3]).unwrap();
    join_all(sleepers);
    until("the threads are free again", || {
        rt.handle().set_workers(3).is_ok()
    });
    let go = Gate::new();
    let busy = occupy(&rt, 3, &go);
    go.open();
    join_all(busy);
    finish(rt);
}
