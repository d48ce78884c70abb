//! Strategies: whom thieves choose and how much they take, that a change under load loses nothing, and
//! that each does what its name says. By counters and events, never by time.

#![cfg(feature = "balance")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use openwork::config::{
    ConfigChange, FreshRoutine, Placement, StealAmount, Strategy, VictimOrder, Workers,
};
use openwork::snapshot::{Priority, RoutineClass, StealRecord};
use openwork::{
    Builder, Handle, Runtime, Turn, WorkerId, Workload, channel, current_worker, hold_thread,
    spawn, time, yield_now,
};
use support::{Gate, Ledger, Random, Watchdog, until};

const LONG: Duration = Duration::from_secs(100);

fn one_of<T: Copy>(all: &[T], random: &mut Random) -> T {
    all[random.below(all.len() as u64) as usize]
}

/// Places by the length of queues, now and then nowhere; steals from the last worker.
struct Scattered;

impl Strategy for Scattered {
    fn place(&self, routine: &FreshRoutine<'_>, workers: &Workers<'_>) -> Option<WorkerId> {
        let least = workers
            .iter()
            .min_by_key(|w| w.waiting + u64::from(w.runs))?;
        match routine.site.line() % 5 {
            0 => None,
            1 => Some(WorkerId::new(999)),
            _ => Some(least.id),
        }
    }

    fn victim(&self, thief: WorkerId, workers: &Workers<'_>) -> Option<WorkerId> {
        assert!(workers.get(thief).is_some());
        Some(WorkerId::new(workers.len() as u32 - 1))
    }
}

fn change(handle: &Handle, set: impl FnOnce(&mut ConfigChange)) {
    let mut change = ConfigChange::default();
    set(&mut change);
    handle.reconfigure(change).unwrap();
}

/// A routine on each worker; the one of `thief` ends when `go` opens, the others spawn so many routines as
/// `load` says and go on until all of these have run. Returns the thefts of that worker since then, and
/// what it took at once before, if that was its own matter.
fn thefts_from(rt: &Runtime, load: [usize; 3]) -> (Vec<StealRecord>, Option<u64>) {
    let handle = rt.handle();
    let all: usize = load.iter().sum();
    let (began, filled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let ran = Arc::new(AtomicUsize::new(0));
    let go = Gate::new();
    let hogs: Vec<_> = load
        .into_iter()
        .map(|count| {
            let (began, filled, ran) = (began.clone(), filled.clone(), ran.clone());
            rt.spawn(move || {
                began.fetch_add(1, SeqCst);
                until("each worker has its routine", || began.load(SeqCst) == 4);
                for _ in 0..count {
                    let ran = ran.clone();
                    spawn(move || ran.fetch_add(1, SeqCst)).detach();
                }
                filled.fetch_add(1, SeqCst);
                until("all were stolen", || ran.load(SeqCst) == all);
            })
        })
        .collect();
    let thief = rt.spawn({
        let (began, go) = (began.clone(), go.clone());
        move || {
            began.fetch_add(1, SeqCst);
            go.spin();
            current_worker().unwrap()
        }
    });
    until("all have spawned", || filled.load(SeqCst) == 3);
    let amounts = rt.snapshot().workers.into_iter().map(|w| w.steal_amount);
    let amounts: Vec<_> = amounts.collect();
    let before: Vec<u64> = (0..4)
        .map(|worker| {
            let id = WorkerId::new(worker);
            handle.steals(id, 0, &mut Vec::new()).next
        })
        .collect();
    go.open();
    let thief = thief.join().unwrap();
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
    let mut thefts = Vec::new();
    handle.steals(thief, before[thief.index()], &mut thefts);
    (thefts, amounts[thief.index()])
}

fn recording(order: VictimOrder, amount: StealAmount) -> Runtime {
    Runtime::builder()
        .workers(4)
        .record_turns(true)
        .victims(order)
        .steal(amount)
        .build()
        .unwrap()
}

/// The first theft is from the deque with the most, each time.
#[test]
fn the_most_loaded_is_robbed_first() {
    let watchdog = Watchdog::new("most loaded");
    let rt = recording(VictimOrder::MostLoaded, StealAmount::Half);
    watchdog.watch("most loaded", &rt.handle());
    for load in [[10, 60, 20], [2, 1, 30], [40, 5, 5]] {
        let most = *load.iter().max().unwrap();
        let (thefts, _) = thefts_from(&rt, load);
        // Half of it, or 32.
        assert_eq!(
            thefts[0].moved as usize,
            most.div_ceil(2).min(32),
            "{thefts:?}"
        );
    }
    rt.shutdown(LONG).unwrap();
}

/// One at a time is one at a time.
#[test]
fn a_thief_may_take_one() {
    let watchdog = Watchdog::new("one at a time");
    let rt = recording(VictimOrder::Random, StealAmount::One);
    watchdog.watch("one at a time", &rt.handle());
    let (thefts, _) = thefts_from(&rt, [30, 30, 30]);
    assert_eq!(thefts.len(), 90);
    assert!(thefts.iter().all(|theft| theft.moved == 1));
    rt.shutdown(LONG).unwrap();
}

/// An adaptive thief takes more after each theft, half of a large deque at most, and shows what it takes.
#[test]
fn an_appetite_grows_with_success_and_is_seen() {
    let watchdog = Watchdog::new("appetite");
    let rt = recording(VictimOrder::Random, StealAmount::Adaptive);
    watchdog.watch("appetite", &rt.handle());
    let (thefts, first) = thefts_from(&rt, [1000, 1000, 1000]);
    for (nth, theft) in thefts.iter().take(5).enumerate() {
        let most = first.unwrap() << nth;
        assert!(u64::from(theft.moved) <= most, "{first:?}, then {thefts:?}");
    }
    assert_eq!(thefts.iter().map(|theft| theft.moved).max(), Some(32));
    // Everything is done, so searches are in vain, and each halves the amount. Who is woken for a routine of its
    // own searches when that has blocked again; who is woken for what is anybody's may have had enough by then.
    let (tx, rx) = channel::rendezvous();
    let bound = rt.spawn(move || rx.iter().for_each(|()| ()));
    until("an idle thief has become modest", || {
        tx.send(()).unwrap();
        let now = rt.snapshot();
        now.workers.iter().any(|w| w.steal_amount == Some(1))
    });
    drop(tx);
    bound.join().unwrap();
    let now = rt.snapshot();
    assert!(
        now.workers
            .iter()
            .all(|w| (1..=4).contains(&w.search_rounds))
    );
    change(&rt.handle(), |c| c.steal = Some(StealAmount::Half));
    assert!(
        rt.snapshot()
            .workers
            .iter()
            .all(|w| w.steal_amount.is_none())
    );
    rt.shutdown(LONG).unwrap();
}

/// Whatever is chosen, and whenever it changes, each routine runs once, and counters add up.
#[test]
fn changes_under_load_lose_nothing() {
    let watchdog = Watchdog::new("changes under load");
    let mut random = Random::new("changes under load");
    for workers in [1, 2, 5] {
        let builder = Runtime::builder().workers(workers).strategy(Scattered);
        let rt = builder.build().unwrap();
        watchdog.watch("changes under load", &rt.handle());
        let handle = rt.handle();
        let ledger = Ledger::new();
        let turns = Arc::new(AtomicU64::new(0));
        let mut expected = 0;
        for _ in 0..100 {
            let placement = one_of(Placement::ALL, &mut random);
            let order = one_of(VictimOrder::ALL, &mut random);
            let amount = one_of(StealAmount::ALL, &mut random);
            let rebalance = random.below(2) == 0;
            change(&handle, |c| {
                c.placement = Some(placement);
                c.victims = Some(order);
                c.steal = Some(amount);
                c.rebalance = Some(rebalance);
                c.rebalance_ratio = Some(1.1);
                c.rebalance_period = Some(Duration::from_millis(1));
            });
            let key = random.below(4);
            let children = random.below(40);
            expected += 1 + 4 * children;
            let (token, turns) = (ledger.token(), turns.clone());
            rt.spawn(move || {
                let _token = token;
                for nth in 0..children {
                    let turns = turns.clone();
                    let builder = match nth % 4 {
                        0 => Builder::new().affinity(key),
                        1 => Builder::new().priority(Priority::High),
                        _ => Builder::new(),
                    };
                    let step = move |n: &mut u32| {
                        turns.fetch_add(1, SeqCst);
                        *n += 1;
                        if *n == 4 { Turn::Done(()) } else { Turn::Again }
                    };
                    builder.spawn_turns(0, step).unwrap().detach();
                }
                turns.fetch_add(1, SeqCst);
            })
            .detach();
        }
        until("all turns were run", || turns.load(SeqCst) == expected);
        rt.shutdown(LONG).unwrap();
        ledger.check("every closure was dropped once");
        let now = handle.snapshot();
        assert_eq!(now.routines.live(), 0);
        assert_eq!(now.strategy_panics, 0);
        for worker in &now.workers {
            assert_eq!(worker.queue_depth(), 0);
            assert!(worker.rebalances <= worker.rebalanced);
            assert_eq!(worker.stolen, worker.stolen_from.iter().sum::<u64>());
            assert!(worker.steals <= worker.stolen);
        }
    }
}

/// Who computes is seen to, in turns and in a loop that yields; who waits is seen to wait; who changes is
/// seen to have changed.
#[test]
fn a_class_follows_what_a_routine_does() {
    let watchdog = Watchdog::new("classes");
    for record in [false, true] {
        let rt = support::runtime(2);
        rt.handle().record_turns(record);
        watchdog.watch("classes", &rt.handle());
        let handle = rt.handle();
        let is = |id, class| {
            let what = format!("{id:?} is of class {class:?}");
            until(&what, || {
                handle.routine(id).and_then(|view| view.class) == Some(class)
            });
        };
        let done = Gate::new();
        let (turns_end, loop_end, waiter_end) = (done.clone(), done.clone(), done.clone());
        let turns = rt.spawn_turns((), move |()| match turns_end.is_open() {
            true => Turn::Done(()),
            false => Turn::Again,
        });
        let yields = rt.spawn(move || {
            while !loop_end.is_open() {
                yield_now();
            }
        });
        let computes = Arc::new(AtomicU64::new(0));
        let busy = computes.clone();
        let changes = rt.spawn(move || {
            while !waiter_end.is_open() {
                let began = time::now_ns();
                while busy.load(SeqCst) > 0 && time::now_ns() - began < 5_000_000 {
                    std::hint::spin_loop();
                }
                time::sleep(Duration::from_micros(50));
            }
        });
        is(turns.id(), RoutineClass::Cpu);
        is(yields.id(), RoutineClass::Cpu);
        is(changes.id(), RoutineClass::Io);
        computes.store(1, SeqCst);
        is(changes.id(), RoutineClass::Cpu);
        computes.store(0, SeqCst);
        is(changes.id(), RoutineClass::Io);
        done.open();
        rt.shutdown(LONG).unwrap();
    }
}

/// How many of `count` routines, spawned outside while each worker runs a hog, wait for each worker.
fn placed(rt: &Runtime, count: usize, builder: impl Fn(usize) -> Builder) -> Vec<u64> {
    let handle = rt.handle();
    let workers = handle.workers();
    let placement = handle.config().placement;
    change(&handle, |c| c.placement = Some(Placement::Local));
    let began = Arc::new(AtomicUsize::new(0));
    let go = Gate::new();
    let hogs: Vec<_> = (0..workers)
        .map(|_| {
            let (began, go) = (began.clone(), go.clone());
            rt.spawn(move || {
                began.fetch_add(1, SeqCst);
                go.spin();
            })
        })
        .collect();
    until("each worker has a hog", || began.load(SeqCst) == workers);
    change(&handle, |c| c.placement = Some(placement));
    let routines: Vec<_> = (0..count)
        .map(|nth| builder(nth).on(&handle).spawn(|| ()).unwrap())
        .collect();
    let waiting = handle
        .snapshot()
        .workers
        .iter()
        .map(|w| w.queue_depth())
        .collect();
    go.open();
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
    routines.into_iter().for_each(|one| one.join().unwrap());
    waiting
}

fn placing(placement: Placement, workers: usize) -> Runtime {
    let builder = Runtime::builder().workers(workers).strategy(Scattered);
    builder.placement(placement).build().unwrap()
}

/// Where routines wait while every worker is busy: evenly for those that spread, in one place for relatives,
/// in none for local ones from outside.
#[test]
fn each_placement_does_what_its_name_says() {
    let watchdog = Watchdog::new("placements");
    for (placement, expected) in [
        (Placement::Local, [0; 4]),
        (Placement::LeastLoaded, [5; 4]),
        (Placement::RoundRobin, [5; 4]),
        (Placement::ByClass, [0; 4]),
    ] {
        let rt = placing(placement, 4);
        watchdog.watch("placements", &rt.handle());
        assert_eq!(
            placed(&rt, 20, |_| Builder::new()),
            expected,
            "{placement:?}"
        );
        rt.shutdown(LONG).unwrap();
    }
    let rt = placing(Placement::Affinity, 4);
    watchdog.watch("relatives", &rt.handle());
    let families: Vec<_> = (0..8)
        .map(|n| Workload::new(&format!("family {n}")))
        .collect();
    for family in &families {
        let depths = placed(&rt, 6, |_| Builder::new().workload(family));
        let with_family: Vec<_> = depths.iter().filter(|depth| **depth > 0).collect();
        assert_eq!(with_family, [&6], "{depths:?}");
    }
    let site = placed(&rt, 6, |_| Builder::new());
    assert_eq!(
        site.iter().max(),
        Some(&6),
        "one place in the program: {site:?}"
    );
    rt.shutdown(LONG).unwrap();
}

/// What routines from one place turned out to be decides where the next one goes.
#[test]
fn by_class_learns_from_those_that_have_ended() {
    let watchdog = Watchdog::new("by class");
    let rt = placing(Placement::ByClass, 2);
    watchdog.watch("by class", &rt.handle());
    let handle = rt.handle();
    // One place in the program; what they do is decided later.
    let from_here = |yields: bool| {
        let handle = handle.clone();
        let body = move || {
            let me = openwork::current().unwrap().routine;
            let class = || handle.routine(me).and_then(|view| view.class);
            while yields && class() != Some(RoutineClass::Cpu) {
                yield_now();
            }
        };
        Builder::new().on(&rt.handle()).spawn(body).unwrap()
    };
    from_here(true).join().unwrap();
    // The hog is spawned elsewhere in the program, so where it goes is as before.
    let (busy, go) = (Gate::new(), Gate::new());
    let hogs: Vec<_> = (0..2)
        .map(|_| {
            let (began, end) = (busy.clone(), go.clone());
            rt.spawn(move || {
                began.open();
                end.spin();
            })
        })
        .collect();
    until("both workers are busy", || {
        let now = handle.snapshot();
        now.workers.iter().all(|w| w.routine.is_some()) && now.injector_depth == 0
    });
    let more: Vec<_> = (0..6).map(|_| from_here(false)).collect();
    let waiting: Vec<u64> = handle
        .snapshot()
        .workers
        .iter()
        .map(|w| w.queue_depth())
        .collect();
    assert_eq!(waiting, [3, 3], "spread, as they compute");
    go.open();
    hogs.into_iter()
        .chain(more)
        .for_each(|one| one.join().unwrap());
    rt.shutdown(LONG).unwrap();
}

/// A placed routine is open to thieves: a worker in a long turn, or one whose thread is held, keeps nobody.
#[test]
fn what_is_placed_with_a_busy_worker_is_stolen() {
    let watchdog = Watchdog::new("placed and stolen");
    let rt = placing(Placement::RoundRobin, 2);
    watchdog.watch("placed and stolen", &rt.handle());
    for held in [false, true] {
        let (busy, go) = (Gate::new(), Gate::new());
        let (began, end) = (busy.clone(), go.clone());
        let hog = rt.spawn(move || {
            if held {
                hold_thread(|| {
                    began.open();
                    end.wait();
                });
            } else {
                began.open();
                end.spin();
            }
        });
        until("a worker is busy", || busy.is_open());
        let others: Vec<_> = (0..50).map(|_| rt.spawn(yield_now)).collect();
        others.into_iter().for_each(|one| one.join().unwrap());
        go.open();
        hog.join().unwrap();
    }
    rt.shutdown(LONG).unwrap();
}

/// A key holds without rebalancing (see `tests/priorities.rs`); with it, what waits behind a hog goes to others, and is
/// counted.
#[test]
fn a_key_yields_to_imbalance() {
    let watchdog = Watchdog::new("keys that yield");
    let builder = Runtime::builder().workers(2).rebalance(true);
    let period = Duration::from_millis(1);
    let rt = builder.rebalance_period(period).build().unwrap();
    watchdog.watch("keys that yield", &rt.handle());
    let keyed = || Builder::new().on(&rt.handle()).affinity(7);
    let (busy, go) = (Gate::new(), Gate::new());
    let (began, end) = (busy.clone(), go.clone());
    let hog = keyed()
        .spawn(move || {
            began.open();
            end.spin();
            current_worker().unwrap()
        })
        .unwrap();
    until("the worker is busy", || busy.is_open());
    let (tx, rx) = channel::unbounded();
    let routines: Vec<_> = (0..40)
        .map(|_| {
            let tx = tx.clone();
            let body = move || tx.send(current_worker().unwrap()).unwrap();
            keyed().spawn(body).unwrap()
        })
        .collect();
    // The other worker looks round while it has turns to run.
    let mut elsewhere = Vec::new();
    while elsewhere.len() < 20 {
        rt.spawn(yield_now).join().unwrap();
        elsewhere.extend(rx.try_recv());
    }
    go.open();
    let home = hog.join().unwrap();
    assert!(elsewhere.iter().all(|worker| *worker != home));
    routines.into_iter().for_each(|one| one.join().unwrap());
    let now = rt.snapshot();
    let other = &now.workers[1 - home.index()];
    assert!(other.rebalances >= 1 && other.rebalanced >= 20, "{other:?}");
    assert!(other.migrations >= 20);
    assert_eq!(now.workers.iter().map(|w| w.keyed).sum::<u64>(), 41);
    rt.shutdown(LONG).unwrap();
}

/// Always panics.
struct Careless;

impl Strategy for Careless {
    fn place(&self, routine: &FreshRoutine<'_>, _: &Workers<'_>) -> Option<WorkerId> {
        panic!("no place for {}", routine.name)
    }

    fn victim(&self, _: WorkerId, _: &Workers<'_>) -> Option<WorkerId> {
        // Must not block between turns.
        time::sleep(Duration::from_millis(1));
        None
    }
}

/// A panic of the user's strategy costs the strategy its place, and nobody else anything.
#[test]
fn a_strategy_that_panics_is_not_asked_again() {
    let watchdog = Watchdog::new("careless");
    let rt = Runtime::builder()
        .workers(2)
        .strategy(Careless)
        .placement(Placement::Custom)
        .victims(VictimOrder::Custom)
        .build()
        .unwrap();
    watchdog.watch("careless", &rt.handle());
    rt.block_on(|| spawn(|| 1).join().unwrap());
    until("both faces were asked", || {
        rt.block_on(|| {
            (0..10)
                .map(|_| spawn(yield_now))
                .for_each(|one| one.join().unwrap())
        });
        rt.snapshot().strategy_panics == 2
    });
    let config = rt.handle().config();
    assert_eq!(config.placement, Placement::Local);
    assert_eq!(config.victims, VictimOrder::Random);
    change(&rt.handle(), |c| c.placement = Some(Placement::Custom));
    rt.spawn(|| ()).join().unwrap();
    assert_eq!(rt.snapshot().strategy_panics, 3, "asked again on demand");
    rt.shutdown(LONG).unwrap();
}
