//! Strategies: whom thieves choose and how much they take, that a change under load loses nothing, and
//! that each does what its name says. By counters and events, never by time.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use openwork::config::{ConfigChange, StealAmount, VictimOrder};
use openwork::snapshot::{RoutineClass, StealRecord};
use openwork::{Handle, Runtime, Turn, current_worker, spawn, spawn_turns, time, yield_now};
use support::{Gate, Ledger, Random, Watchdog, until};

const LONG: Duration = Duration::from_secs(100);

const ORDERS: [VictimOrder; 3] = [
    VictimOrder::Random,
    VictimOrder::MostLoaded,
    VictimOrder::Nearest,
];
const AMOUNTS: [StealAmount; 3] = [StealAmount::Half, StealAmount::One, StealAmount::Adaptive];

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
            let id = openwork::WorkerId::new(worker);
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
    // Everything is done, so searches are in vain, and each halves the amount.
    until("an idle thief has become modest", || {
        rt.spawn(yield_now).join().unwrap();
        let now = rt.snapshot();
        now.workers.iter().any(|w| w.steal_amount == Some(1))
    });
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
        let rt = support::runtime(workers);
        watchdog.watch("changes under load", &rt.handle());
        let handle = rt.handle();
        let ledger = Ledger::new();
        let turns = Arc::new(AtomicU64::new(0));
        let mut expected = 0;
        for _ in 0..60 {
            let order = ORDERS[random.below(3) as usize];
            let amount = AMOUNTS[random.below(3) as usize];
            change(&handle, |c| {
                c.victims = Some(order);
                c.steal = Some(amount);
            });
            let children = random.below(40);
            expected += 1 + 4 * children;
            let (token, turns) = (ledger.token(), turns.clone());
            rt.spawn(move || {
                let _token = token;
                for _ in 0..children {
                    let turns = turns.clone();
                    spawn_turns(0, move |n| {
                        turns.fetch_add(1, SeqCst);
                        *n += 1;
                        if *n == 4 { Turn::Done(()) } else { Turn::Again }
                    })
                    .detach();
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
        for worker in &now.workers {
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
