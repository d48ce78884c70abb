//! Routine-locals: one value a routine, which goes where the routine goes and ends where it ends.

mod support;

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use openwork::{
    CancelToken, JoinError, LocalError, Runtime, Turn, channel, current, is_cancelled,
    routine_local, scope, spawn, spawn_future, spawn_turns, time, yield_now,
};
use support::{Gate, Ledger, Token, Watchdog, runtime, until};

const FOR_EVER: Duration = Duration::from_secs(3600);
const LONG: Duration = Duration::from_secs(60);

type Held = RefCell<Option<Token>>;

routine_local! {
    static NUMBER: Cell<u64> = Cell::new(7);
    /// Two in one declaration, with a public one.
    pub static HELD: Held = RefCell::new(None);
    static LOG: RefCell<Vec<Box<dyn FnOnce() + Send>>> = RefCell::default()
}

/// Runs what it is given when it is dropped.
struct AtEnd(Option<Box<dyn FnOnce() + Send>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

routine_local! {
    static FIRST: RefCell<AtEnd> = RefCell::new(AtEnd(None));
    static SECOND: RefCell<AtEnd> = RefCell::new(AtEnd(None));
}

fn at_end(f: impl FnOnce() + Send + 'static) -> AtEnd {
    AtEnd(Some(Box::new(f)))
}

fn watched(test: &str, workers: usize) -> (Watchdog, Runtime) {
    let watchdog = Watchdog::new(test);
    let rt = runtime(workers);
    watchdog.watch(test, &rt.handle());
    (watchdog, rt)
}

/// On one worker they share a thread, and a block is used again and again.
#[test]
fn each_routine_has_its_own() {
    let (_watchdog, rt) = watched("own", 1);
    rt.block_on(|| {
        for _ in 0..3 {
            let routines: Vec<_> = (0..300)
                .map(|n| {
                    spawn(move || {
                        assert_eq!(NUMBER.get(), 7, "a block's last routine has left its value");
                        NUMBER.set(n);
                        yield_now();
                        assert_eq!(NUMBER.replace(n + 1), n);
                        spawn(|| assert_eq!(NUMBER.get(), 7)).join().unwrap();
                        scope(|s| s.spawn(|| assert_eq!(NUMBER.get(), 7)).join().unwrap());
                        NUMBER.take() == n + 1 && NUMBER.get() == 0
                    })
                })
                .collect();
            assert!(routines.into_iter().all(|routine| routine.join().unwrap()));
        }
    });
    rt.shutdown(LONG).unwrap();
}

/// The value of a turn loop and of a future goes with it from worker to worker.
#[test]
fn a_value_moves_with_its_routine() {
    let (_watchdog, rt) = watched("moves", 2);
    let ledger = Ledger::new();
    let mut moved = false;
    // How often they are stolen is chance: on until it has happened.
    until("a turn routine was stolen", || {
        let handles: Vec<_> = (0..4)
            .map(|_| {
                let held = ledger.token();
                rt.spawn_turns((0, Some(held), Vec::new()), |(turns, held, workers)| {
                    if let Some(held) = held.take() {
                        HELD.set(Some(held));
                        NUMBER.set(0);
                    }
                    assert!(HELD.with_borrow(Option::is_some));
                    assert_eq!(NUMBER.replace(*turns + 1), *turns);
                    *turns += 1;
                    let worker = current().unwrap().worker;
                    if workers.last() != Some(&worker) {
                        workers.push(worker);
                    }
                    let spun = (0..2000u32).fold(0, |sum, n| std::hint::black_box(sum ^ n));
                    std::hint::black_box(spun);
                    if *turns == 500 {
                        Turn::Done(workers.len())
                    } else {
                        Turn::Again
                    }
                })
            })
            .collect();
        for handle in handles {
            moved |= handle.join().unwrap() > 1;
        }
        moved
    });
    ledger.check("what the turn loops held");
    let held = ledger.token();
    let future = rt.spawn_future(async move {
        HELD.set(Some(held));
        for _ in 0..100 {
            spawn_future(async { assert!(HELD.with_borrow(Option::is_none)) })
                .await
                .unwrap();
            assert!(HELD.with_borrow(Option::is_some));
        }
    });
    future.join().unwrap();
    ledger.check("what the future held");
    rt.shutdown(LONG).unwrap();
}

/// However a routine ends, its values are dropped, before it can be joined.
#[test]
fn values_end_with_their_routine() {
    let (_watchdog, rt) = watched("ends", 2);
    for _ in 0..50 {
        let ledger = Ledger::new();
        let here = ledger.clone();
        rt.block_on(move || {
            let ledger = here;
            let check = |what: &str| ledger.check(what);
            let held = ledger.token();
            spawn(move || HELD.set(Some(held))).join().unwrap();
            check("returned");
            let held = ledger.token();
            let panics = spawn(move || {
                HELD.set(Some(held));
                panic!("on purpose");
            });
            assert!(panics.join().unwrap_err().is_panic());
            check("panicked");
            for how in 0..3 {
                let (held, begun) = (ledger.token(), Gate::new());
                let (at, token) = (begun.clone(), CancelToken::new());
                let bound = openwork::Builder::new().cancel_with(&token);
                let sleeps = bound.spawn(move || {
                    HELD.set(Some(held));
                    at.open();
                    let _ = time::try_sleep(FOR_EVER);
                    time::sleep(FOR_EVER);
                });
                let sleeps = sleeps.unwrap();
                begun.wait();
                match how {
                    0 => sleeps.abort(),
                    1 => sleeps.cancel(FOR_EVER),
                    _ => token.cancel(),
                }
                assert!(matches!(sleeps.join(), Err(JoinError::Cancelled)));
                check("cancelled");
            }
            let (held, begun) = (ledger.token(), Gate::new());
            let at = begun.clone();
            let polls = spawn_future(async move {
                HELD.set(Some(held));
                at.open();
                std::future::pending::<()>().await;
            });
            begun.wait();
            polls.abort();
            assert!(polls.join().is_err());
            check("a future, cancelled");
            let held = ledger.token();
            let turns = spawn_turns(Some(held), |held| {
                HELD.set(held.take());
                Turn::<()>::Again
            });
            turns.abort();
            assert!(turns.join().is_err());
            check("a turn loop, cancelled");
        });
    }
    let ledger = Ledger::new();
    let (held, begun) = (ledger.token(), Gate::new());
    let at = begun.clone();
    rt.spawn(move || {
        HELD.set(Some(held));
        at.open();
        time::sleep(FOR_EVER);
    });
    begun.spin();
    rt.shutdown(Duration::ZERO).unwrap();
    ledger.check("at the shutdown");
}

/// Destructors run on the routine's own stack: they know who they are, block, send, and use other
/// values; a cancel does not disturb them.
#[test]
fn a_destructor_is_in_its_routine() {
    let (_watchdog, rt) = watched("destructors", 1);
    rt.block_on(|| {
        for cancel in [false, true] {
            let (tx, rx) = channel::rendezvous();
            let begun = Gate::new();
            let at = begun.clone();
            let routine = spawn(move || {
                let me = current().unwrap().routine;
                NUMBER.set(8);
                FIRST.set(at_end(move || {
                    assert_eq!(current().unwrap().routine, me);
                    assert!(!is_cancelled());
                    time::sleep(Duration::from_millis(1));
                    tx.send(NUMBER.get()).unwrap();
                }));
                at.open();
                if cancel {
                    time::sleep(FOR_EVER);
                }
            });
            begun.wait();
            if cancel {
                routine.abort();
            }
            // Made before, so it is there until later.
            assert_eq!(rx.recv(), Ok(8));
            match routine.join() {
                Ok(()) => assert!(!cancel),
                Err(why) => assert!(cancel && matches!(why, JoinError::Cancelled)),
            }
        }
    });
    rt.shutdown(LONG).unwrap();
}

#[test]
fn values_are_dropped_in_reverse() {
    let (_watchdog, rt) = watched("order", 1);
    rt.block_on(|| {
        let (tx, rx) = channel::unbounded();
        let said = move |what: &'static str| {
            let tx = tx.clone();
            at_end(move || tx.send(what).unwrap())
        };
        let routine = spawn(move || {
            FIRST.set(said("first"));
            let (second, late) = (said("second"), said("late"));
            SECOND.set(at_end(move || {
                // Made during the end: dropped as well, and before what was made before.
                LOG.with_borrow_mut(|log| {
                    let late = late;
                    log.push(Box::new(move || drop(late)));
                });
                assert_eq!(SECOND.try_with(|_| ()), Err(LocalError::Dropped));
                drop(second);
            }));
        });
        routine.join().unwrap();
        assert_eq!(rx.iter().collect::<Vec<_>>(), ["second", "late", "first"]);
    });
    rt.shutdown(LONG).unwrap();
}

/// A destructor's panic is the routine's, unless that has one of its own; the other values are dropped
/// all the same.
#[test]
fn a_destructor_may_panic() {
    let (_watchdog, rt) = watched("panics", 1);
    rt.block_on(|| {
        for own in [false, true] {
            let ledger = Ledger::new();
            let (held, value) = (ledger.token(), ledger.token());
            let routine = spawn(move || {
                HELD.set(Some(held));
                FIRST.set(at_end(|| panic!("the first destructor")));
                SECOND.set(at_end(|| panic!("the second destructor")));
                assert!(!own, "own panic");
                value
            });
            let why = routine.join().err().unwrap();
            let expected = if own {
                "own panic"
            } else {
                "the second destructor"
            };
            assert_eq!(why.message(), expected);
            ledger.check("what the routine held and returned");
        }
    });
    assert_eq!(rt.snapshot().routines.panicked, 2);
    rt.shutdown(LONG).unwrap();
}

/// An initialiser runs once, may block, may panic, and may ask for its own value.
#[test]
fn initialisers_run_in_the_routine() {
    static MADE: AtomicU32 = AtomicU32::new(0);
    static PANIC: AtomicBool = AtomicBool::new(true);
    routine_local! {
        static SLOW: u64 = {
            MADE.fetch_add(1, SeqCst);
            time::sleep(Duration::from_millis(1));
            current().unwrap().routine.get()
        };
        static FAILS: u64 = {
            assert!(!PANIC.load(SeqCst), "on purpose");
            1
        };
        static INNER: Cell<u64> = {
            if NUMBER.replace(8) == 7 {
                INNER.set(40);
            }
            Cell::new(2)
        };
    }
    let (_watchdog, rt) = watched("initialisers", 1);
    rt.block_on(|| {
        let routines: Vec<_> = (0..10)
            .map(|_| spawn(|| SLOW.with(|id| *id) == SLOW.with(|id| *id)))
            .collect();
        assert!(routines.into_iter().all(|routine| routine.join().unwrap()));
        assert_eq!(MADE.load(SeqCst), 10);
        spawn(|| {
            assert!(std::panic::catch_unwind(|| FAILS.with(|n| *n)).is_err());
            PANIC.store(false, SeqCst);
            assert_eq!(FAILS.with(|n| *n), 1);
            assert_eq!(INNER.get(), 40, "the value that was there first stays");
        })
        .join()
        .unwrap();
    });
    rt.shutdown(LONG).unwrap();
}

/// On plain threads each thread has its own; it is dropped with the thread.
#[test]
fn a_plain_thread_has_its_own() {
    let ledger = Ledger::new();
    let held = ledger.token();
    NUMBER.set(1);
    thread::spawn(move || {
        assert_eq!(NUMBER.get(), 7);
        HELD.set(Some(held));
    })
    .join()
    .unwrap();
    assert_eq!(NUMBER.get(), 1);
    ledger.check("the thread's value");
    let (_watchdog, rt) = watched("threads", 1);
    rt.block_on(|| assert_eq!(NUMBER.get(), 7));
    rt.shutdown(LONG).unwrap();
}
