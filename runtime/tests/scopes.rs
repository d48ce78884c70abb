//! Scopes that fail: the first failure cancels the rest, all are reported, and every routine of a scope
//! has ended when the scope returns, whoever panicked, was cancelled or aborted.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use openwork::{
    Builder, CancelToken, Failure, FailureKind, Handle, JoinError, RoutineId, Runtime, ScopeError,
    TryJoinError, channel, checkpoint, current, hold_thread, is_cancelled, scope, spawn, time,
    try_scope, yield_now,
};
use support::{Gate, Ledger, Random, Watchdog, runtime, until};

const FOR_EVER: Duration = Duration::from_secs(3600);
const LONG: Duration = Duration::from_secs(60);

fn watched(test: &str, workers: usize) -> (Watchdog, Runtime) {
    let watchdog = Watchdog::new(test);
    let rt = runtime(workers);
    watchdog.watch(test, &rt.handle());
    (watchdog, rt)
}

fn text<E: std::fmt::Display>(failure: &Failure<E>) -> String {
    match failure.kind() {
        FailureKind::Error(error) => error.to_string(),
        FailureKind::Panicked(panic) => format!("panic: {}", panic.message()),
        _ => unreachable!(),
    }
}

#[test]
fn the_first_failure_cancels_the_rest() {
    let (_watchdog, rt) = watched("first failure", 2);
    for by_panic in [false, true] {
        let ledger = Ledger::new();
        let result = rt.block_on(|| {
            let begun = Gate::new();
            try_scope::<_, (), &str>(|s| {
                for _ in 0..10 {
                    let (held, at) = (ledger.token(), begun.clone());
                    s.spawn(move || {
                        let _held = held;
                        at.wait();
                        time::sleep(FOR_EVER);
                        Ok(())
                    });
                }
                let at = begun.clone();
                s.spawn_as(Builder::new().name("bad"), move || {
                    at.open();
                    yield_now();
                    assert!(!by_panic, "on purpose");
                    Err::<(), _>("error")
                })
                .unwrap();
                Ok(())
            })
        });
        let Err(ScopeError::Failed(failures)) = result else {
            panic!("{result:?}")
        };
        assert_eq!(failures.len(), 1);
        assert_eq!(failures.first().name(), Some("bad"));
        let expected = if by_panic {
            "panic: on purpose"
        } else {
            "error"
        };
        assert_eq!(text(failures.first()), expected);
        ledger.check("what the siblings held");
    }
    // A panic is one for the runtime's counters and log as well.
    assert_eq!(rt.snapshot().routines.panicked, 1);
    let mut panics = Vec::new();
    rt.handle().panics(0, &mut panics);
    assert_eq!(panics.len(), 1);
    assert_eq!(panics[0].message, "on purpose");
    rt.shutdown(LONG).unwrap();
}

/// Each routine fails when the one before it has ended: the report has that order, with numbers and
/// names. They spin, because a call that waits would tell them of the first one's cancel; so each needs
/// a worker, and the one that spawns them a thread that none of them spins on: asked to give way, as on a slow machine,
/// it would wait behind one that waits for it.
#[test]
fn all_failures_are_reported_in_order() {
    const ROUTINES: u32 = 5;
    let (_watchdog, rt) = watched("order", ROUTINES as usize + 1);
    let (begun, turn) = (&AtomicU32::new(0), &AtomicU32::new(0));
    let (tx, ids) = channel::unbounded();
    let (result, ids) = thread::scope(|threads| {
        let handle = rt.handle();
        let conductor = threads.spawn(move || {
            let ids: Vec<RoutineId> = ids.into_iter().collect();
            until("all have begun", || begun.load(SeqCst) == ROUTINES);
            for (n, id) in ids.iter().enumerate() {
                turn.store(n as u32 + 1, SeqCst);
                until("it has ended", || handle.routine(*id).is_none());
            }
            ids
        });
        let result = rt.block_on(|| {
            try_scope::<_, (), String>(|s| {
                hold_thread(|| {
                    for n in 0..ROUTINES {
                        let routine = Builder::new().name(&format!("nr-{n}"));
                        let routine = s.spawn_as(routine, move || {
                            begun.fetch_add(1, SeqCst);
                            until("it is my turn", || turn.load(SeqCst) > n);
                            assert!(n % 2 == 0, "panic {n}");
                            Err::<(), _>(format!("error {n}"))
                        });
                        tx.send(routine.unwrap().id()).unwrap();
                    }
                });
                drop(tx);
                Ok(())
            })
        });
        (result, conductor.join().unwrap())
    });
    let Err(ScopeError::Failed(failures)) = result else {
        panic!("{result:?}")
    };
    assert!(failures.iter().map(Failure::routine).eq(ids));
    let said: Vec<_> = failures.iter().map(text).collect();
    let expected = [
        "error 0",
        "panic: panic 1",
        "error 2",
        "panic: panic 3",
        "error 4",
    ];
    assert_eq!(said, expected);
    assert_eq!(failures.iter().last().unwrap().name(), Some("nr-4"));
    assert!(failures.iter().all(|failure| !failure.after_cancel()));
    let said = failures.to_string();
    assert!(said.ends_with(" `nr-0`: error 0; and 4 more"), "{said}");
    rt.shutdown(LONG).unwrap();
}

/// A `?` on what the cancel made of a call is no failure of its own.
#[test]
fn what_a_cancel_breaks_has_not_failed() {
    let (_watchdog, rt) = watched("after cancel", 2);
    rt.block_on(|| {
        let result = try_scope::<_, (), String>(|s| {
            let begun = Gate::new();
            let at = begun.clone();
            s.spawn(move || {
                at.open();
                time::try_sleep(FOR_EVER).map_err(|e| format!("sleep: {e}"))
            });
            let (_tx, rx) = channel::rendezvous::<u32>();
            s.spawn(move || {
                rx.recv().unwrap();
                Ok(())
            });
            begun.wait();
            s.spawn(|| Err::<(), _>("the cause".to_owned()));
            // The receiver must be told by the cancel, and not by the end of its sender.
            s.token().wait().unwrap();
            while s.token().cause().is_none() {
                yield_now();
            }
            std::mem::forget(_tx);
            Ok(())
        });
        let Err(ScopeError::Failed(failures)) = result else {
            panic!("{result:?}")
        };
        assert_eq!(text(failures.first()), "the cause");
        for failure in &failures {
            assert_eq!(failure.after_cancel(), text(failure) != "the cause");
        }

        // Cancelled on purpose, the scope has its value.
        let result = try_scope::<_, _, String>(|s| {
            let begun = Gate::new();
            let at = begun.clone();
            let sleeps = s.spawn(move || {
                at.open();
                time::try_sleep(FOR_EVER).map_err(|e| e.to_string())
            });
            begun.wait();
            s.cancel();
            assert!(matches!(
                sleeps.join(),
                Err(TryJoinError::Failed | TryJoinError::Cancelled)
            ));
            Ok("value")
        });
        assert_eq!(result.unwrap(), "value");
    });
    rt.shutdown(LONG).unwrap();
}

#[test]
fn a_closure_that_fails_cancels_its_routines() {
    let (_watchdog, rt) = watched("closure", 2);
    rt.block_on(|| {
        let me = current().unwrap().routine;
        let result = try_scope(|s| {
            s.spawn(|| {
                time::sleep(FOR_EVER);
                Ok(())
            });
            Err::<(), _>("own")
        });
        let Err(ScopeError::Failed(failures)) = result else {
            panic!("{result:?}")
        };
        assert_eq!(failures.first().routine(), me);
        assert_eq!(failures.into_first().error(), Some(&"own"));

        let alive = AtomicU32::new(0);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            try_scope::<_, (), ()>(|s| {
                s.spawn(|| {
                    alive.fetch_add(1, SeqCst);
                    let _end = OnDrop(|| {
                        alive.fetch_sub(1, SeqCst);
                    });
                    time::sleep(FOR_EVER);
                    Ok(())
                });
                while alive.load(SeqCst) == 0 {
                    yield_now();
                }
                panic!("own panic");
            })
        }));
        let payload = caught.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"own panic"));
        assert_eq!(alive.load(SeqCst), 0);
        assert!(!is_cancelled(), "the scope's cancel is not its owner's");
    });
    rt.shutdown(LONG).unwrap();
}

struct OnDrop<F: FnMut()>(F);
impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The owner is asked or told to end, or its token is cancelled, at any moment.
#[test]
fn a_cancel_of_the_owner_ends_the_scope() {
    let (_watchdog, rt) = watched("owner", 2);
    for how in 0..90 {
        let ledger = Ledger::new();
        let (begun, token) = (Gate::new(), CancelToken::new());
        let (at, held) = (begun.clone(), [ledger.token(), ledger.token()]);
        let bound = Builder::new().on(&rt.handle()).cancel_with(&token);
        let owner = bound.spawn(move || {
            let [inner, outer] = held;
            let _outer = outer;
            let result = try_scope::<_, (), ()>(|s| {
                s.spawn(|| {
                    let _inner = inner;
                    try_scope::<_, _, ()>(|s| {
                        s.spawn(|| {
                            at.open();
                            time::sleep(FOR_EVER);
                            Ok(())
                        });
                        Ok(())
                    })
                    .map_err(drop)
                });
                Ok(())
            });
            matches!(result, Err(ScopeError::Cancelled))
        });
        let owner = owner.unwrap();
        if how % 2 == 0 {
            begun.spin();
        }
        match how % 3 {
            0 => owner.abort(),
            1 => owner.cancel(FOR_EVER),
            _ => token.cancel(),
        }
        match owner.join() {
            Ok(told) => assert!(told && how % 3 != 0),
            Err(JoinError::Cancelled) => {}
            Err(why) => panic!("{why}"),
        }
        ledger.check("what the scope's routines held");
    }
    rt.shutdown(LONG).unwrap();
}

/// A limit holds, also when routines panic, fail and are cancelled before they begin; and nobody waits
/// for a place for ever.
#[test]
fn a_limit_is_given_back_by_everybody() {
    let (_watchdog, rt) = watched("limit", 2);
    for limit in [1, 2, 7] {
        rt.block_on(|| {
            let (running, most) = (AtomicU32::new(0), AtomicU32::new(0));
            let work = |n: u32| {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                let _end = OnDrop(|| {
                    running.fetch_sub(1, SeqCst);
                });
                for _ in 0..n % 5 {
                    yield_now();
                }
                if n == 80 { Err(n) } else { Ok(()) }
            };
            let work = &work;
            let result = try_scope(|s| {
                s.limit(limit);
                for n in 0..200 {
                    let routine = s.spawn(move || work(n));
                    if n % 11 == 0 {
                        routine.abort();
                    }
                }
                Ok(())
            });
            assert_eq!(
                result.unwrap_err().failures().unwrap().first().error(),
                Some(&80)
            );
            let most = most.load(SeqCst);
            assert!(most <= limit as u32 && running.load(SeqCst) == 0, "{most}");
        });
    }
    // An owner that waits for a place is cancelled.
    let owner = rt.spawn(|| {
        try_scope::<_, _, ()>(|s| {
            s.limit(1);
            for _ in 0..2 {
                s.spawn(|| {
                    time::sleep(FOR_EVER);
                    Ok(())
                });
            }
            Ok(())
        })
    });
    owner.abort();
    assert!(matches!(owner.join(), Err(JoinError::Cancelled)));
    rt.shutdown(LONG).unwrap();
}

/// Scopes in scopes whose routines do anything; owners are aborted from outside. Whatever happens, a
/// scope's frame sees none of its routines alive when the scope is over.
#[test]
fn random_scopes_leave_nobody_behind() {
    let (watchdog, rt) = watched("random scopes", 2);
    let mut random = Random::new("random scopes");
    for round in 0..150 {
        watchdog.watch(&format!("random scopes, round {round}"), &rt.handle());
        let ledger = Ledger::new();
        let alive = Arc::new(AtomicI64::new(0));
        let roots: Vec<_> = (0..4)
            .map(|_| {
                let (seed, ledger, alive) = (random.next(), ledger.clone(), alive.clone());
                rt.spawn(move || nest(&mut Random::from(seed), 3, &ledger, &alive))
            })
            .collect();
        for root in &roots {
            match random.below(4) {
                0 => root.abort(),
                1 => root.cancel(Duration::from_millis(1)),
                _ => {}
            }
        }
        if random.below(3) == 0 {
            abort_some(&mut random, &rt.handle());
        }
        for root in roots {
            // Whatever is asleep is ended.
            while !root.is_finished() {
                abort_some(&mut random, &rt.handle());
            }
            let _ = root.join();
        }
        assert_eq!(alive.load(SeqCst), 0);
        ledger.check("what the routines held");
    }
    rt.shutdown(LONG).unwrap();
}

fn abort_some(random: &mut Random, handle: &Handle) {
    handle.routines(&mut |view| {
        if random.below(3) == 0 {
            handle.abort(view.id);
        }
    });
    std::thread::yield_now();
}

fn nest(random: &mut Random, depth: u32, ledger: &Arc<Ledger>, alive: &Arc<AtomicI64>) {
    alive.fetch_add(1, SeqCst);
    let here = AtomicI64::new(0);
    // Runs when the scope is over, however it ended.
    let _check = OnDrop(|| {
        assert_eq!(here.load(SeqCst), 0, "a routine outlives its scope");
        alive.fetch_sub(1, SeqCst);
    });
    let here = &here;
    let seeds: Vec<u64> = (0..1 + random.below(5)).map(|_| random.next()).collect();
    let closure = random.below(8);
    let fallible = random.below(2) == 0;
    let child = move |seed: u64| {
        here.fetch_add(1, SeqCst);
        let _end = OnDrop(|| {
            here.fetch_sub(1, SeqCst);
        });
        let mut random = Random::from(seed);
        let _held = ledger.token();
        match random.below(9) {
            0 => panic!("on purpose"),
            1 => return Err("on purpose"),
            2 => time::sleep(FOR_EVER),
            3 => drop(time::try_sleep(FOR_EVER)),
            4 => checkpoint(),
            5 => drop(spawn(|| ()).join()),
            _ if depth > 0 => nest(&mut random, depth - 1, ledger, alive),
            _ => yield_now(),
        }
        Ok(())
    };
    if fallible {
        let _ = try_scope(|s| {
            if closure == 1 {
                s.limit(2);
            }
            for seed in seeds {
                let routine = s.spawn(move || child(seed));
                match seed % 13 {
                    0 => routine.abort(),
                    1 => drop(routine.join()),
                    _ => {}
                }
            }
            match closure {
                0 => panic!("on purpose"),
                2 => Err("on purpose"),
                3 => {
                    s.cancel();
                    Ok(())
                }
                _ => Ok(()),
            }
        });
    } else {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scope(|s| {
                for seed in seeds {
                    let routine = s.spawn(move || child(seed));
                    match seed % 13 {
                        0 => routine.abort(),
                        1 => drop(routine.join()),
                        _ => {}
                    }
                }
                match closure {
                    0 => panic!("on purpose"),
                    3 => s.cancel(),
                    _ => {}
                }
            });
        }));
    }
}

/// Errors with a lifetime in their type beside data that is borrowed; routines that spawn into the scope.
#[test]
fn boxed_errors_and_borrowed_data_go_together() {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    fn sum(texts: &[String]) -> Result<u32, ScopeError<Boxed>> {
        try_scope(|s| {
            let mut parts = Vec::new();
            for text in texts {
                let inner = s.clone();
                parts.push(s.spawn(move || {
                    let nested = inner.spawn(|| Ok(text.trim().parse::<u32>()?));
                    Ok(nested.join().unwrap_or(0))
                }));
            }
            Ok(parts.into_iter().map(|part| part.join().unwrap_or(0)).sum())
        })
    }
    let (_watchdog, rt) = watched("boxed errors", 2);
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    rt.block_on(|| {
        assert_eq!(sum(&texts(&["1", " 2", "3 "])).unwrap(), 6);
        let why = sum(&texts(&["1", "two"])).unwrap_err();
        let first = why.failures().unwrap().first();
        assert!(first.error().unwrap().is::<std::num::ParseIntError>());
        // Which may be returned as such an error itself.
        let boxed: Boxed = why.to_string().into();
        assert!(boxed.to_string().contains("invalid digit"));
    });
    rt.shutdown(LONG).unwrap();
}
