//! Cancel tokens: whom a cancel reaches, from where it may come, and that nothing is left behind.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use openwork::{
    Builder, CancelCause, CancelToken, JoinError, JoinHandle, Runtime, Turn, WaitError, channel,
    checkpoint, is_cancelled, scope, select, spawn, spawn_future, time, yield_now,
};
use support::{Gate, Ledger, Random, Watchdog, run_here, runtime, until};

const FOR_EVER: Duration = Duration::from_secs(3600);
const LONG: Duration = Duration::from_secs(60);

fn watched(test: &str, workers: usize) -> (Watchdog, Runtime) {
    let watchdog = Watchdog::new(test);
    let rt = runtime(workers);
    watchdog.watch(test, &rt.handle());
    (watchdog, rt)
}

fn bound(token: &CancelToken) -> Builder {
    Builder::new().cancel_with(token)
}

fn cancelled<T>(handle: JoinHandle<T>) -> bool {
    matches!(handle.join(), Err(JoinError::Cancelled))
}

/// One routine in each state that a routine can be in.
#[test]
fn a_cancel_ends_routines_wherever_they_are() {
    let (_watchdog, rt) = watched("states", 2);
    for _ in 0..50 {
        let ledger = Ledger::new();
        let token = CancelToken::new();
        let (here, other) = (token.clone(), ledger.clone());
        rt.block_on(move || {
            let (token, ledger) = (here, other);
            let held = ledger.token();
            let sleeps = bound(&token).spawn(move || {
                let _held = held;
                time::sleep(FOR_EVER);
            });
            let held = ledger.token();
            let (tx, rx) = channel::rendezvous::<u32>();
            let receives = bound(&token).spawn(move || {
                let _held = held;
                // Told once; then calls unwind.
                assert!(rx.recv().is_err());
                time::sleep(FOR_EVER);
            });
            let held = ledger.token();
            let inner = spawn(|| time::sleep(FOR_EVER));
            let inner_id = inner.id();
            let joins = bound(&token).spawn(move || {
                let _held = held;
                let _ = inner.join();
            });
            let held = ledger.token();
            let computes = bound(&token).spawn(move || {
                let _held = held;
                loop {
                    checkpoint();
                }
            });
            let held = ledger.token();
            let loops = bound(&token).spawn_turns(held, |_| Turn::<()>::Again);
            let held = ledger.token();
            let polls = bound(&token).spawn_future(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
            let held = ledger.token();
            let owns = bound(&token).spawn(move || {
                scope(|s| {
                    s.spawn(|| {
                        let _held = held;
                        time::sleep(FOR_EVER);
                    });
                });
            });
            for _ in 0..3 {
                yield_now();
            }
            let held = ledger.token();
            let fresh = bound(&token).spawn(move || drop(held));
            token.cancel();
            assert!(cancelled(sleeps.unwrap()));
            assert!(cancelled(receives.unwrap()));
            assert!(cancelled(joins.unwrap()));
            assert!(cancelled(computes.unwrap()));
            assert!(cancelled(loops.unwrap()));
            assert!(cancelled(polls.unwrap()));
            assert!(cancelled(owns.unwrap()));
            // It may have been faster.
            let _ = fresh.unwrap().join();
            let held = ledger.token();
            assert!(cancelled(bound(&token).spawn(move || drop(held)).unwrap()));
            drop(tx);
            // What a bound routine waited for was not its own.
            let current = openwork::current().unwrap();
            assert!(current.routine != inner_id);
        });
        ledger.check("what they held");
    }
    // The routines that were joined by a cancelled one sleep on, bound to nothing.
    rt.handle().routines(&mut |view| {
        rt.handle().abort(view.id);
    });
    rt.shutdown(LONG).unwrap();
}

#[test]
fn spawns_of_a_bound_routine_are_bound() {
    let (_watchdog, rt) = watched("inheritance", 2);
    rt.block_on(|| {
        let token = CancelToken::new();
        let alive = Arc::new(AtomicU32::new(0));
        let (free, ids) = (Gate::new(), channel::unbounded());
        let (at, counted, tx) = (free.clone(), alive.clone(), ids.0);
        let root = bound(&token).spawn(move || {
            assert!(CancelToken::current().is_some());
            let sleeper = |counted: &Arc<AtomicU32>| {
                let counted = counted.clone();
                move || {
                    counted.fetch_add(1, SeqCst);
                    time::sleep(FOR_EVER);
                }
            };
            let child = spawn(sleeper(&counted));
            let inner = sleeper(&counted);
            let grandchild = spawn(move || spawn(inner)).join().unwrap();
            let inner = sleeper(&counted);
            let (of_future,) = spawn_future(async move { (spawn(inner),) }).join().unwrap();
            let mut of_scope = None;
            let inner = sleeper(&counted);
            scope(|s| {
                // It is bound to what the owner is bound to, and not to the scope, which it outlives.
                of_scope = Some(s.spawn(move || spawn(inner)).join().unwrap());
                s.cancel();
            });
            let loner = Builder::new().without_token().spawn(move || at.wait());
            let all = [child, grandchild, of_future, of_scope.unwrap()];
            tx.send((all, loner.unwrap())).unwrap();
        });
        root.unwrap().join().unwrap();
        let (all, loner) = ids.1.recv().unwrap();
        while alive.load(SeqCst) < 4 {
            yield_now();
        }
        assert!(all.iter().all(|handle| !handle.is_finished()));
        token.cancel();
        for handle in all {
            assert!(cancelled(handle));
        }
        assert!(!loner.is_finished());
        free.open();
        loner.join().unwrap();
    });
    rt.shutdown(LONG).unwrap();
}

#[test]
fn a_cancel_goes_down_the_tree_and_not_up() {
    let root = CancelToken::new();
    let (left, right) = (root.child(), root.child());
    let (under_left, under_right) = (left.child(), right.child());
    left.cancel_because("left");
    assert!(under_left.is_cancelled() && !right.is_cancelled() && !root.is_cancelled());
    root.cancel();
    assert!(under_right.is_cancelled());
    // The first reason counts, and a child born late has its parent's.
    assert_eq!(under_left.cause().unwrap().to_string(), "left");
    assert_eq!(left.child().cause().unwrap().to_string(), "left");
    assert!(matches!(under_right.cause(), Some(CancelCause::Requested)));
}

/// A line of nodes as long as this would take a deep stack, were its cancel or its end recursive.
#[test]
fn a_long_line_of_tokens_needs_no_deep_stack() {
    let (_watchdog, rt) = watched("long line", 1);
    rt.block_on(|| {
        for cancel in [true, false] {
            let root = CancelToken::new();
            let mut last = root.clone();
            for _ in 0..100_000 {
                last = last.child();
            }
            if cancel {
                root.cancel();
            }
            assert_eq!(last.is_cancelled(), cancel);
            drop(root);
            drop(last);
        }
    });
    rt.shutdown(LONG).unwrap();
}

#[test]
fn everybody_can_wait_for_a_token() {
    let (_watchdog, rt) = watched("waits", 2);
    for _ in 0..100 {
        let token = CancelToken::new();
        let (never_tx, never) = channel::rendezvous::<u32>();
        let waiting = Arc::new(AtomicU32::new(0));
        let wait = |token: &CancelToken| (token.clone(), waiting.clone());
        let (stop, at) = wait(&token);
        let routine = rt.spawn(move || {
            at.fetch_add(1, SeqCst);
            stop.wait().unwrap()
        });
        let (stop, at) = wait(&token);
        let timed = rt.spawn(move || {
            at.fetch_add(1, SeqCst);
            stop.wait_timeout(FOR_EVER).unwrap()
        });
        let (stop, at) = wait(&token);
        let future = rt.spawn_future(async move {
            at.fetch_add(1, SeqCst);
            stop.cancelled().await
        });
        let (stop, at) = wait(&token);
        let selects = rt.spawn(move || {
            at.fetch_add(1, SeqCst);
            select! {
                number = never.recv() => panic!("{number:?}"),
                why = stop.cancelled() => why.unwrap(),
            }
        });
        let (stop, at) = wait(&token);
        let plain = thread::spawn(move || {
            at.fetch_add(1, SeqCst);
            stop.wait().unwrap()
        });
        let (stop, at) = wait(&token);
        let foreign = thread::spawn(move || {
            at.fetch_add(1, SeqCst);
            run_here(stop.cancelled())
        });
        until("all are about to wait", || waiting.load(SeqCst) == 6);
        token.cancel_because("now");
        for why in [
            routine.join().unwrap(),
            timed.join().unwrap(),
            future.join().unwrap(),
            selects.join().unwrap(),
            plain.join().unwrap(),
            foreign.join().unwrap(),
            token.wait().unwrap(),
        ] {
            assert_eq!(why.to_string(), "now");
        }
        drop(never_tx);
    }
    let fresh = CancelToken::new();
    assert_eq!(
        fresh.wait_timeout(Duration::ZERO).unwrap_err(),
        WaitError::Timeout
    );
    rt.shutdown(LONG).unwrap();
}

/// A cancel may come from wherever code runs: the bound routine itself, a destructor of a panic, a
/// waker, a plain thread, a poll.
#[test]
fn a_cancel_may_come_from_anywhere() {
    struct Cancels(CancelToken);
    impl Drop for Cancels {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    impl std::task::Wake for Cancels {
        fn wake(self: Arc<Self>) {
            self.0.cancel();
        }
    }
    let (_watchdog, rt) = watched("from anywhere", 1);
    rt.block_on(|| {
        let own = CancelToken::new();
        let mine = own.clone();
        let by_itself = bound(&own).spawn(move || {
            mine.cancel();
            assert!(is_cancelled());
            yield_now();
            unreachable!("it unwinds");
        });
        assert!(cancelled(by_itself.unwrap()));

        let token = CancelToken::new();
        let sleeper = bound(&token).spawn(|| time::sleep(FOR_EVER)).unwrap();
        let cancels = Cancels(token.clone());
        let panics = bound(&token).spawn(move || {
            let _cancels = cancels;
            panic!("on purpose");
        });
        assert!(panics.unwrap().join().unwrap_err().is_panic());
        assert!(cancelled(sleeper));

        // The waker of one token's wait cancels another, in the midst of the first one's cancel.
        let (first, second) = (CancelToken::new(), CancelToken::new());
        let sleeper = bound(&second).spawn(|| time::sleep(FOR_EVER)).unwrap();
        let waker = std::task::Waker::from(Arc::new(Cancels(second.clone())));
        {
            let mut waits = std::pin::pin!(first.cancelled());
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            first.cancel();
        }
        assert!(cancelled(sleeper));

        let token = CancelToken::new();
        let sleeper = bound(&token).spawn(|| time::sleep(FOR_EVER)).unwrap();
        let other = token.clone();
        thread::spawn(move || other.cancel()).join().unwrap();
        assert!(cancelled(sleeper));
    });
    rt.shutdown(LONG).unwrap();
}

/// The reason goes with the last who has the token, and its destructor may do what it likes.
#[test]
fn a_reason_may_panic_when_it_is_dropped() {
    #[derive(Debug)]
    struct Bad(Arc<AtomicBool>);
    impl std::fmt::Display for Bad {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bad")
        }
    }
    impl std::error::Error for Bad {}
    impl Drop for Bad {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
            panic!("a destructor's panic, on purpose");
        }
    }
    let (_watchdog, rt) = watched("bad reason", 1);
    rt.block_on(|| {
        let dropped = Arc::new(AtomicBool::new(false));
        let token = CancelToken::new();
        let sleeper = bound(&token).spawn(|| time::sleep(FOR_EVER)).unwrap();
        token.cancel_because(Bad(dropped.clone()));
        drop(token);
        assert!(cancelled(sleeper));
        assert!(dropped.load(SeqCst));
    });
    rt.shutdown(LONG).unwrap();
}

/// Routines are born while the cancel runs, on both workers and from outside: none is forgotten.
#[test]
fn who_is_born_during_a_cancel_is_reached() {
    let (_watchdog, rt) = watched("births", 2);
    for _ in 0..100 {
        let token = CancelToken::new();
        let begun = Gate::new();
        let (here, at) = (token.clone(), begun.clone());
        let breeder = rt.spawn(move || {
            let mut children = Vec::new();
            while !here.is_cancelled() {
                children.push(bound(&here).spawn(|| time::sleep(FOR_EVER)).unwrap());
                at.open();
                if children.len() % 16 == 0 {
                    yield_now();
                }
            }
            children.push(bound(&here).spawn(|| time::sleep(FOR_EVER)).unwrap());
            children.into_iter().all(cancelled)
        });
        begun.spin();
        let outside: Vec<_> = (0..20)
            .map(|_| {
                let sleeper = bound(&token).on(&rt.handle());
                sleeper.spawn(|| time::sleep(FOR_EVER)).unwrap()
            })
            .collect();
        token.cancel();
        assert!(breeder.join().unwrap());
        assert!(outside.into_iter().all(cancelled));
    }
    rt.shutdown(LONG).unwrap();
}

/// A random tree, routines bound all over it, random cancels from several threads: who is below a
/// cancelled token ends cancelled, everybody else at the gate, and every value is dropped once.
#[test]
fn random_trees_lose_nobody() {
    let (watchdog, rt) = watched("random trees", 2);
    let mut random = Random::new("random trees");
    for round in 0..60 {
        watchdog.watch(&format!("random trees, round {round}"), &rt.handle());
        let (gate, ledger) = (Gate::new(), Ledger::new());
        let mut tokens = vec![CancelToken::new()];
        let mut parents = vec![usize::MAX];
        let mut routines = Vec::new();
        for _ in 0..200 {
            let at = random.below(tokens.len() as u64) as usize;
            match random.below(4) {
                0 => {
                    tokens.push(tokens[at].child());
                    parents.push(at);
                }
                1 => drop(tokens[at].child()),
                _ => {
                    let (gate, held) = (gate.clone(), ledger.token());
                    let waits = bound(&tokens[at])
                        .on(&rt.handle())
                        .spawn_future(async move {
                            let _held = held;
                            gate.future().await;
                        });
                    routines.push((at, waits.unwrap()));
                }
            }
        }
        let victims: Vec<usize> = (0..random.below(4))
            .map(|_| random.below(tokens.len() as u64) as usize)
            .collect();
        thread::scope(|s| {
            for &victim in &victims {
                let token = &tokens[victim];
                s.spawn(move || token.cancel());
            }
        });
        let is_below = |mut at: usize| {
            loop {
                if victims.contains(&at) {
                    return true;
                }
                if at == 0 {
                    return false;
                }
                at = parents[at];
            }
        };
        let (below, others): (Vec<_>, Vec<_>) =
            routines.into_iter().partition(|(at, _)| is_below(*at));
        for (at, routine) in below {
            assert!(cancelled(routine) && tokens[at].is_cancelled());
        }
        gate.open();
        for (at, routine) in others {
            routine.join().unwrap();
            assert!(!tokens[at].is_cancelled());
        }
        ledger.check("what the routines held");
    }
    rt.shutdown(LONG).unwrap();
}

/// The runtime of a bound routine ends before its token does.
#[test]
fn a_token_outlives_a_runtime() {
    let token = CancelToken::new();
    let (_watchdog, rt) = watched("outlives", 2);
    let handle = rt.handle();
    let sleeper = bound(&token)
        .on(&handle)
        .spawn(|| time::sleep(FOR_EVER))
        .unwrap();
    drop(rt);
    assert!(cancelled(sleeper));
    token.cancel();
    let late = bound(&token).on(&handle).spawn(|| ()).unwrap();
    assert!(cancelled(late));
}

/// A deadline reaches whoever is bound, blocks or computes, on one worker and on plain threads.
#[test]
fn a_deadline_cancels() {
    const SOON: Duration = Duration::from_millis(5);
    let (_watchdog, rt) = watched("deadlines", 1);
    let token = CancelToken::new();
    rt.block_on(|| {
        let below = token.child_with_timeout(SOON);
        let under = below.child();
        let sleeps = bound(&under).spawn(|| time::sleep(FOR_EVER)).unwrap();
        let polls = bound(&below)
            .spawn_future(std::future::pending::<()>())
            .unwrap();
        // Keeps the only worker, which would serve the deadline.
        while !under.is_cancelled() {
            std::hint::spin_loop();
        }
        assert!(matches!(under.cause(), Some(CancelCause::Deadline)));
        assert!(cancelled(sleeps) && cancelled(polls));
        assert!(!token.is_cancelled());
    });
    let plain = token.child_with_timeout(SOON);
    assert!(matches!(plain.wait(), Ok(CancelCause::Deadline)));
    let early = token.child_with_timeout(FOR_EVER);
    token.cancel();
    assert!(matches!(early.wait(), Ok(CancelCause::Requested)));
    rt.shutdown(LONG).unwrap();
}

/// The runtime whose worker keeps the deadline ends before it: somebody else keeps it.
#[test]
fn a_deadline_outlives_a_runtime() {
    let (_watchdog, rt) = watched("deadline outlives", 1);
    let token = rt.block_on(|| CancelToken::with_timeout(Duration::from_millis(50)));
    let other = runtime(1);
    let sleeper = bound(&token)
        .on(&other.handle())
        .spawn(|| time::sleep(FOR_EVER));
    rt.shutdown(LONG).unwrap();
    assert!(cancelled(sleeper.unwrap()));
    other.shutdown(LONG).unwrap();
}

/// Tokens that end before their deadline leave nothing with the clock.
#[test]
fn deadlines_are_taken_back() {
    let (_watchdog, rt) = watched("taken back", 1);
    let token = CancelToken::new();
    rt.block_on(|| {
        for n in 0..10_000 {
            let request = token.child_with_timeout(FOR_EVER);
            if n % 2 == 0 {
                request.cancel();
            }
        }
    });
    let timers = rt.snapshot().workers[0].timers;
    assert_eq!(timers.pending, 0, "{timers:?}");
    rt.shutdown(LONG).unwrap();
}
