//! Priorities and affinity keys: who goes first, that nobody starves, where routines start, and that none
//! is lost on the way. By the order of events, never by time.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openwork::snapshot::Priority::{High, Low, Normal};
use openwork::snapshot::{Priority, RoutineState};
use openwork::{Builder, Handle, Turn, WorkerId, channel, current_worker, spawn, time, yield_now};
use support::{Gate, Ledger, Random, Watchdog, runtime, until};

const LONG: Duration = Duration::from_secs(100);
const LEVELS: [Priority; 3] = [High, Normal, Low];

fn at(priority: Priority) -> Builder {
    Builder::new().priority(priority)
}

type Log = Arc<Mutex<Vec<Priority>>>;

/// What waits is started by level, in the order of spawns within one: closures and futures, from inside
/// and from outside.
#[test]
fn levels_go_in_their_order() {
    let watchdog = Watchdog::new("order of levels");
    let rt = runtime(1);
    watchdog.watch("order of levels", &rt.handle());
    let log = Arc::new(Mutex::new(Vec::new()));
    let (go, busy_now) = (Gate::new(), Gate::new());
    let (held, began, seen) = (go.clone(), busy_now.clone(), log.clone());
    // The only worker is kept busy until everything has been queued.
    let busy = rt.spawn(move || {
        began.open();
        let note = |priority: Priority, from: &'static str| {
            let log = seen.clone();
            move || log.lock().unwrap().push((priority, from))
        };
        for priority in [Low, Normal, High] {
            at(priority).spawn(note(priority, "inside")).unwrap();
            let future = note(priority, "future");
            at(priority).spawn_future(async move { future() }).unwrap();
        }
        held.spin();
    });
    until("the worker is busy", || busy_now.is_open());
    for priority in [Low, High] {
        let log = log.clone();
        let note = move || log.lock().unwrap().push((priority, "outside"));
        at(priority).on(&rt.handle()).spawn(note).unwrap();
    }
    until("all are queued", || {
        let now = rt.handle().snapshot();
        now.workers[0].queue_depth() + now.injector_depth == 8
    });
    // Longer than the time after which the worker looks round, which must not change the order.
    until("the turn is long", || {
        let now = rt.handle().snapshot();
        let began = now.workers[0].turn_started_ns;
        began.is_some_and(|began| now.at_ns - began > 20_000_000)
    });
    go.open();
    busy.join().unwrap();
    rt.shutdown(LONG).unwrap();
    let log = log.lock().unwrap();
    let levels: Vec<_> = log.iter().map(|(priority, _)| *priority).collect();
    assert_eq!(levels, [High, High, High, Normal, Normal, Low, Low, Low]);
    let normal: Vec<_> = log.iter().filter(|(p, _)| *p == Normal).collect();
    assert_eq!(normal, [&(Normal, "inside"), &(Normal, "future")]);
}

/// Routines of each level that yield until the low ones have had enough turns: high ones come first, but
/// between two turns of the others there are 15 high ones at most, and in 64 turns there is a low one.
/// Both bound routines and futures, which wait in different places.
#[test]
fn no_level_starves() {
    const ENOUGH: u64 = 50;
    let watchdog = Watchdog::new("starving");
    for futures in [false, true] {
        let rt = runtime(1);
        watchdog.watch("starving", &rt.handle());
        let log: Log = Arc::default();
        let low_turns = Arc::new(AtomicU64::new(0));
        let routines: Vec<_> = LEVELS
            .into_iter()
            .flat_map(|priority| [priority; 3])
            .map(|priority| {
                let (log, low_turns) = (log.clone(), low_turns.clone());
                let turn = move || {
                    log.lock().unwrap().push(priority);
                    if priority == Low {
                        low_turns.fetch_add(1, SeqCst);
                    }
                    low_turns.load(SeqCst) >= ENOUGH
                };
                let builder = at(priority).on(&rt.handle());
                if futures {
                    let step = move |(): &mut ()| if turn() { Turn::Done(()) } else { Turn::Again };
                    builder.spawn_turns((), step).unwrap()
                } else {
                    let body = move || {
                        while !turn() {
                            yield_now();
                        }
                    };
                    builder.spawn(body).unwrap()
                }
            })
            .collect();
        routines.into_iter().for_each(|one| one.join().unwrap());
        let log = log.lock().unwrap();
        // From where all nine are there to where the first one ends.
        let first_low = log.iter().position(|p| *p == Low).unwrap();
        let end = log.len() - 9;
        let contested = &log[first_low..end];
        let count = |priority| contested.iter().filter(|p| **p == priority).count();
        assert!(count(High) > 10 * count(Normal), "high ones go first");
        assert!(count(Normal) > count(Low), "normal ones before low ones");
        let longest_without = |wanted: fn(Priority) -> bool| {
            let gaps = contested.split(|p| wanted(*p)).map(<[_]>::len);
            gaps.max().unwrap()
        };
        let high_in_row = longest_without(|p| p != High);
        assert!(high_in_row <= 15, "{high_in_row} high turns in a row");
        let without_low = longest_without(|p| p == Low);
        assert!(without_low < 64, "{without_low} turns without a low one");
        rt.shutdown(LONG).unwrap();
    }
}

/// A low routine alone has all turns, also after high ones were there.
#[test]
fn a_level_alone_needs_no_others() {
    let watchdog = Watchdog::new("a level alone");
    let rt = runtime(1);
    watchdog.watch("a level alone", &rt.handle());
    for priority in LEVELS {
        let alone = || (0..1000).for_each(|_| yield_now());
        at(priority)
            .on(&rt.handle())
            .spawn(alone)
            .unwrap()
            .join()
            .unwrap();
    }
    rt.shutdown(LONG).unwrap();
}

/// Routines of all levels and both kinds that spawn, yield, sleep, hand values over and wait for each
/// other, on several workers, some with keys: each ends once, and the figures say so.
#[test]
fn all_levels_are_conserved() {
    let watchdog = Watchdog::new("conservation of levels");
    for workers in [1, 2, 4] {
        let mut random = Random::new("conservation of levels");
        let rt = runtime(workers);
        watchdog.watch("conservation of levels", &rt.handle());
        let ledger = Ledger::new();
        let ends = Arc::new(AtomicU64::new(0));
        let mut spawned = 0;
        let mut keyed = 0;
        let (tx, rx) = channel::bounded(4);
        let receiver = rt.spawn(move || rx.iter().count() as u64);
        for _ in 0..400 {
            let mut builder = at(LEVELS[random.below(3) as usize]).on(&rt.handle());
            if random.below(3) == 0 {
                builder = builder.affinity(random.below(5));
                keyed += 1;
            }
            spawned += 2;
            let (token, ends, tx) = (ledger.token(), ends.clone(), tx.clone());
            let child = LEVELS[random.below(3) as usize];
            let how = random.below(3);
            let body = move || {
                let _token = token;
                let end = ends.clone();
                let child = at(child).spawn(move || end.fetch_add(1, SeqCst)).unwrap();
                match how {
                    0 => yield_now(),
                    1 => time::sleep(Duration::from_micros(50)),
                    _ => drop(child.join().unwrap()),
                }
                tx.send(()).unwrap();
                ends.fetch_add(1, SeqCst);
            };
            if random.below(2) == 0 {
                builder.spawn(body).unwrap();
            } else {
                builder.spawn_future(async move { body() }).unwrap();
            }
        }
        drop(tx);
        assert_eq!(receiver.join().unwrap(), spawned / 2);
        until("all have ended", || ends.load(SeqCst) == spawned);
        ledger.check_soon("every closure was dropped once");
        until("at rest", || {
            rt.handle().snapshot().routines.ended == spawned + 1
        });
        let now = rt.handle().snapshot();
        assert_eq!(now.workers.iter().map(|w| w.keyed).sum::<u64>(), keyed);
        let waiting: u64 = now.workers.iter().map(|w| w.queue_depth()).sum();
        assert_eq!(waiting + now.injector_depth, 0);
        rt.shutdown(LONG).unwrap();
    }
}

/// The priority is seen, kept over waits, and not inherited.
#[test]
fn a_view_tells_the_priority() {
    let watchdog = Watchdog::new("views");
    let rt = runtime(2);
    watchdog.watch("views", &rt.handle());
    let seen = |handle: &Handle, id| handle.routine(id).map(|view| view.priority);
    for priority in LEVELS {
        let gate = Gate::new();
        let held = gate.clone();
        let (tx, rx) = channel::bounded(1);
        let parent = at(priority)
            .on(&rt.handle())
            .spawn(move || {
                let child = spawn(|| time::sleep(Duration::from_secs(3600)));
                tx.send(child.id()).unwrap();
                held.wait();
                child.abort();
            })
            .unwrap();
        let child = rx.recv().unwrap();
        let handle = rt.handle();
        until("the parent waits", || {
            let view = handle.routine(parent.id());
            view.is_some_and(|view| matches!(view.state, RoutineState::Blocked(_)))
        });
        assert_eq!(seen(&handle, parent.id()), Some(priority));
        assert_eq!(seen(&handle, child), Some(Normal));
        gate.open();
        parent.join().unwrap();
    }
    rt.shutdown(LONG).unwrap();
}

/// Equal keys, equal worker: from outside, from every worker, closures and futures, while thieves look
/// for work.
#[test]
fn routines_with_one_key_start_on_one_worker() {
    let watchdog = Watchdog::new("keys");
    let rt = runtime(4);
    watchdog.watch("keys", &rt.handle());
    let started: Arc<Mutex<HashMap<u64, Vec<WorkerId>>>> = Arc::default();
    let all = rt.block_on({
        let started = started.clone();
        move || {
            let spawners: Vec<_> = (0..8)
                .map(|_| {
                    let started = started.clone();
                    spawn(move || {
                        let routines: Vec<_> = (0..200u64)
                            .map(|i| {
                                let (key, started) = (i % 16, started.clone());
                                let note = move || {
                                    let here = current_worker().unwrap();
                                    started.lock().unwrap().entry(key).or_default().push(here);
                                };
                                let builder = Builder::new().affinity(key);
                                match i % 2 {
                                    0 => builder.spawn(note).unwrap(),
                                    _ => builder.spawn_future(async move { note() }).unwrap(),
                                }
                            })
                            .collect();
                        yield_now();
                        routines.into_iter().for_each(|one| one.join().unwrap());
                    })
                })
                .collect();
            spawners.into_iter().for_each(|one| one.join().unwrap());
            8 * 200
        }
    });
    let started = started.lock().unwrap();
    assert_eq!(started.len(), 16);
    assert_eq!(started.values().map(Vec::len).sum::<usize>(), all);
    for (key, workers) in started.iter() {
        let same = workers.iter().all(|worker| *worker == workers[0]);
        assert!(same, "key {key} started on {workers:?}");
    }
    let homes: std::collections::HashSet<_> = started.values().map(|w| w[0]).collect();
    assert!(homes.len() > 1, "sixteen keys and one worker");
    let now = rt.handle().snapshot();
    assert_eq!(now.workers.iter().map(|w| w.keyed).sum::<u64>(), all as u64);
    rt.shutdown(LONG).unwrap();
}

/// A worker in a long turn keeps its keyed routines, though others have nothing to do; they start when it
/// is free.
#[test]
fn a_keyed_routine_waits_for_its_worker() {
    let watchdog = Watchdog::new("a busy worker");
    let rt = runtime(2);
    watchdog.watch("a busy worker", &rt.handle());
    let keyed = || Builder::new().on(&rt.handle()).affinity(7);
    let (busy, gate) = (Gate::new(), Gate::new());
    let (began, held) = (busy.clone(), gate.clone());
    let hog = keyed()
        .spawn(move || {
            began.open();
            held.spin();
            current_worker()
        })
        .unwrap();
    until("the worker is busy", || busy.is_open());
    let early = Arc::new(AtomicBool::new(false));
    let started = early.clone();
    let waits = keyed()
        .spawn(move || {
            started.store(true, SeqCst);
            current_worker()
        })
        .unwrap();
    // The other worker serves all others meanwhile.
    for _ in 0..100 {
        rt.spawn(yield_now).join().unwrap();
    }
    assert!(!early.load(SeqCst), "it started elsewhere");
    gate.open();
    assert_eq!(hog.join().unwrap(), waits.join().unwrap());
    rt.shutdown(LONG).unwrap();
}

/// What waits behind a busy worker when the runtime ends is ended as well, and dropped once.
#[test]
fn keyed_and_levelled_routines_end_with_the_runtime() {
    let watchdog = Watchdog::new("the end");
    let rt = runtime(2);
    watchdog.watch("the end", &rt.handle());
    let ledger = Ledger::new();
    for i in 0..60 {
        let token = ledger.token();
        let builder = at(LEVELS[i % 3]).on(&rt.handle());
        let builder = match i % 2 {
            0 => builder.affinity(i as u64 % 4),
            _ => builder,
        };
        let body = move || {
            let _token = token;
            time::sleep(Duration::from_secs(360_000));
        };
        builder.spawn(body).unwrap();
    }
    rt.shutdown(Duration::ZERO).unwrap();
    ledger.check("every closure was dropped once");
}
