//! `hold_thread`: no other routine runs on the thread between a region's first line and its last, whatever
//! it waits for, and everybody goes on afterwards.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use openwork::deterministic::{Config, FailureKind};
use openwork::snapshot::HomeVersion;
use openwork::{
    Builder, CancelToken, JoinError, Runtime, channel, checkpoint, current, hold_thread, scope,
    select, spawn, spawn_future, time, yield_now,
};
use support::{Gate, Random, Watchdog, runtime, until};

const FOR_EVER: Duration = Duration::from_secs(3600);
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(1);

thread_local! {
    /// Counts who ran here: a region that is interrupted sees it change.
    static RUNS: Cell<u64> = const { Cell::new(0) };
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn watched(test: &str, workers: usize) -> (Watchdog, Runtime) {
    let watchdog = Watchdog::new(test);
    let rt = runtime(workers);
    watchdog.watch(test, &rt.handle());
    (watchdog, rt)
}

/// A sibling that runs as often as it can, until the flag is set.
fn sibling(stop: &Arc<AtomicBool>) -> openwork::JoinHandle<u64> {
    let stop = stop.clone();
    spawn(move || {
        let mut turns = 0;
        while !stop.load(SeqCst) {
            turns += 1;
            RUNS.set(RUNS.get() + 1);
            match turns % 3 {
                0 => time::sleep(Duration::from_micros(50)),
                _ => yield_now(),
            }
        }
        turns
    })
}

/// A region that must not be interrupted.
fn alone<R>(f: impl FnOnce() -> R) -> R {
    hold_thread(|| {
        let (before, thread) = (RUNS.get(), thread::current().id());
        let result = f();
        assert_eq!(RUNS.get(), before, "another routine ran here");
        assert_eq!(thread::current().id(), thread);
        result
    })
}

/// Everything that can be waited for, while siblings want the thread and plain threads have what is
/// waited for.
#[test]
fn nobody_runs_here_whatever_is_waited_for() {
    for workers in [1, 2] {
        let (_watchdog, rt) = watched("waits", workers);
        let handle = rt.handle();
        let (to_thread, jobs) = channel::unbounded::<Box<dyn FnOnce() + Send>>();
        let helper = thread::spawn(move || jobs.iter().for_each(|job| job()));
        let elsewhere = runtime(1);
        let other = elsewhere.handle();
        rt.block_on(move || {
            let stop = Arc::new(AtomicBool::new(false));
            let siblings: Vec<_> = (0..4).map(|_| sibling(&stop)).collect();
            yield_now();
            let ask = |job: Box<dyn FnOnce() + Send>| to_thread.send(job).unwrap();
            for round in 0..30u32 {
                // The siblings' turn.
                time::sleep(SHORT);
                alone(|| time::sleep(SHORT));
                alone(yield_now);
                alone(checkpoint);
                let (tx, rx) = channel::rendezvous();
                ask(Box::new(move || tx.send(round).unwrap()));
                assert_eq!(alone(|| rx.recv()), Ok(round));
                let (_tx, rx) = channel::rendezvous::<u32>();
                assert!(alone(|| rx.recv_timeout(SHORT)).is_err());
                let (tx, rx) = channel::rendezvous();
                ask(Box::new(move || tx.send(round).unwrap()));
                alone(|| {
                    select! {
                        got = rx.recv() => assert_eq!(got, Ok(round)),
                        after(FOR_EVER) => panic!("nobody came"),
                    }
                });
                let token = CancelToken::new();
                let cancels = token.clone();
                ask(Box::new(move || cancels.cancel()));
                alone(|| token.wait()).unwrap();
                let answer = other.spawn(move || {
                    time::sleep(SHORT);
                    round
                });
                assert_eq!(alone(|| answer.join()).unwrap(), round);
                // A region in a region is part of it.
                alone(|| {
                    alone(|| time::sleep(SHORT));
                    time::sleep(SHORT);
                });
            }
            stop.store(true, SeqCst);
            for sibling in siblings {
                assert!(sibling.join().unwrap() > 0);
            }
            drop(to_thread);
        });
        helper.join().unwrap();
        assert!(
            handle
                .snapshot()
                .workers
                .iter()
                .all(|w| w.held_by.is_none())
        );
        elsewhere.shutdown(LONG).unwrap();
        rt.shutdown(LONG).unwrap();
    }
}

/// What DESIGN calls interleaved `scoped-tls` scopes, in safe code: whoever enters last must leave first.
/// They break without `hold_thread` where routines share a thread, and do not with it. The first one leaves when
/// the second has entered, which cannot be while a thread is held: then it waits for a while.
#[test]
fn interleaved_scopes_nest_when_they_hold_the_thread() {
    fn nested(number: u64, inside: impl FnOnce()) -> bool {
        ENTERED.with_borrow_mut(|entered| entered.push(number));
        inside();
        ENTERED.with_borrow_mut(Vec::pop) == Some(number)
    }
    let (_watchdog, rt) = watched("nesting", 1);
    let rt_travels = rt.snapshot().homes.version == HomeVersion::Travelling;
    rt.block_on(|| {
        for hold in [false, true] {
            let (entered, left) = (Gate::new(), Gate::new());
            let first = {
                let (entered, left) = (entered.clone(), left.clone());
                spawn(move || {
                    let scope = || match hold {
                        true => nested(1, || time::sleep(10 * SHORT)),
                        false => nested(1, || entered.wait()),
                    };
                    let in_order = if hold { hold_thread(scope) } else { scope() };
                    left.open();
                    in_order
                })
            };
            let second = spawn(move || {
                let scope = || {
                    nested(2, || {
                        entered.open();
                        if !hold {
                            left.wait();
                        }
                    })
                };
                if hold { hold_thread(scope) } else { scope() }
            });
            let in_order = [first, second].map(|routine| routine.join().unwrap());
            // In portable builds, and with homes that travel, each routine has a thread-local of its own.
            let own = rt_travels || cfg!(portable);
            let expected = hold || own;
            assert_eq!(in_order, [expected; 2]);
            ENTERED.take();
        }
    });
    rt.shutdown(LONG).unwrap();
}

/// What is fresh is for the other workers meanwhile, and what is bound here waits, but is not lost.
#[test]
fn others_go_on_and_siblings_after_it() {
    let (_watchdog, rt) = watched("others", 2);
    for _ in 0..30 {
        rt.block_on(|| {
            let home = thread::current().id();
            let (bound, bound_here) = (Gate::new(), Gate::new());
            let at = bound_here.clone();
            let stays = bound.clone();
            let sibling = spawn(move || {
                let here = thread::current().id();
                at.open();
                stays.wait();
                here == thread::current().id()
            });
            bound_here.wait();
            let fresh = hold_thread(|| {
                bound.open();
                let children: Vec<_> = (0..50)
                    .map(|n| spawn(move || (n, thread::current().id())))
                    .collect();
                let of_future = spawn_future(async { thread::current().id() });
                let mut ids = Vec::new();
                for (n, child) in children.into_iter().enumerate() {
                    let (number, id) = child.join().unwrap();
                    assert_eq!(n, number);
                    ids.push(id);
                }
                ids.push(of_future.join().unwrap());
                ids
            });
            assert!(fresh.iter().all(|id| *id != home));
            assert!(sibling.join().unwrap());
        });
    }
    rt.shutdown(LONG).unwrap();
}

#[test]
fn a_wait_that_only_this_thread_could_end_is_refused() {
    let (_watchdog, rt) = watched("refused", 1);
    rt.block_on(|| {
        let (begun, go, done) = (Gate::new(), Gate::new(), Gate::new());
        let (at, wait, end) = (begun.clone(), go.clone(), done.clone());
        let sibling = spawn(move || {
            at.open();
            wait.wait();
            end.open();
        });
        begun.wait();
        hold_thread(|| {
            go.open();
            let fresh = spawn(|| ());
            assert!(matches!(fresh.join(), Err(JoinError::Refused)));
            assert!(matches!(sibling.join(), Err(JoinError::Refused)));
            assert!(!done.is_open());
            let lends = catch_unwind(AssertUnwindSafe(|| scope(|s| drop(s.spawn(|| ())))));
            assert!(lends.is_err());
        });
        done.wait();
    });
    rt.shutdown(LONG).unwrap();
}

/// A region ends by a panic, a cancel of any kind, or a shutdown; the thread is free then.
#[test]
fn a_region_may_end_in_any_way() {
    let (watchdog, rt) = watched("ends", 1);
    rt.block_on(|| {
        let panics = spawn(|| hold_thread(|| panic!("on purpose")));
        assert!(panics.join().unwrap_err().is_panic());
        assert_eq!(spawn(|| 1).join().unwrap(), 1);
    });
    for how in 0..3 {
        let begun = Gate::new();
        let (at, token) = (begun.clone(), CancelToken::new());
        let bound = Builder::new().on(&rt.handle()).cancel_with(&token);
        let holds = bound.spawn(move || {
            hold_thread(|| {
                at.open();
                time::sleep(FOR_EVER);
            });
        });
        let holds = holds.unwrap();
        begun.spin();
        let id = holds.id();
        until("it is seen to hold the thread", || {
            rt.snapshot().workers[0].held_by == Some(id)
        });
        let waits = rt.spawn(|| current().is_some());
        match how {
            0 => holds.abort(),
            1 => holds.cancel(SHORT),
            _ => token.cancel(),
        }
        assert!(matches!(holds.join(), Err(JoinError::Cancelled)));
        assert!(waits.join().unwrap());
        assert_eq!(rt.snapshot().workers[0].held_by, None);
    }
    let begun = Gate::new();
    let at = begun.clone();
    rt.spawn(move || {
        hold_thread(|| {
            at.open();
            time::sleep(FOR_EVER);
        });
    });
    begun.spin();
    rt.shutdown(Duration::ZERO).unwrap();
    drop(watchdog);
}

/// Random routines with regions and without, on two workers: counts add up, and no region is interrupted.
#[test]
fn random_regions_are_never_interrupted() {
    let (_watchdog, rt) = watched("random regions", 2);
    let mut random = Random::new("random regions");
    let done = Arc::new(AtomicU32::new(0));
    let routines: Vec<_> = (0..60)
        .map(|_| {
            let (seed, done) = (random.next(), done.clone());
            rt.spawn(move || {
                let mut random = Random::from(seed);
                for _ in 0..20 {
                    let wait = move |kind: u64| match kind {
                        0 => yield_now(),
                        1 => time::sleep(Duration::from_micros(100)),
                        2 => drop(channel::after(Duration::from_micros(50)).recv()),
                        _ => checkpoint(),
                    };
                    let kinds = [random.below(4), random.below(4)];
                    if random.below(2) == 0 {
                        alone(|| kinds.into_iter().for_each(wait));
                    } else {
                        RUNS.set(RUNS.get() + 1);
                        kinds.into_iter().for_each(wait);
                        RUNS.set(RUNS.get() + 1);
                    }
                }
                done.fetch_add(1, SeqCst);
            })
        })
        .collect();
    for routine in routines {
        routine.join().unwrap();
    }
    assert_eq!(done.load(SeqCst), 60);
    rt.shutdown(LONG).unwrap();
}

/// On a virtual clock: what a region waits for comes by a deadline, or it is a deadlock, which is reported
/// although others could run.
#[test]
fn a_deterministic_run_knows_held_threads() {
    let config = Config::new();
    for seed in 0..50 {
        let run = config.run(seed, || {
            let stop = Arc::new(AtomicBool::new(false));
            let siblings = [sibling(&stop), sibling(&stop)];
            for _ in 0..3 {
                alone(|| time::sleep(SHORT));
                alone(yield_now);
                time::sleep(SHORT);
            }
            stop.store(true, SeqCst);
            for sibling in siblings {
                sibling.join().unwrap();
            }
        });
        run.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let failure = config.run(1, || {
        let (tx, rx) = channel::rendezvous();
        spawn(move || tx.send(1));
        hold_thread(|| rx.recv())
    });
    let Err(failure) = failure else {
        panic!("only this thread could run the sender")
    };
    assert!(
        matches!(failure.kind, FailureKind::Deadlock(_)),
        "{failure}"
    );
}
