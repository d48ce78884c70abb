//! Tries to break the runtime: panics in every place, handles in the wrong order, shutdowns at the
//! wrong moment, more of everything. Each test names the mistake that it would find.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::thread;
use std::time::Duration;

use openwork::Turn;
use openwork::snapshot::RoutineState;
use openwork::{
    Builder, Handle, JoinError, Runtime, Workload, checkpoint, scope, spawn, spawn_future,
    spawn_turns, time, yield_now,
};
use support::{
    Gate, Ledger, Random, Token, Watchdog, drop_quietly, poll_once, run_here, runtime, until,
};

const LONG: Duration = Duration::from_secs(100);
const FOR_EVER: Duration = Duration::from_secs(360_000);

fn is_blocked(handle: &Handle, id: openwork::RoutineId) -> bool {
    handle
        .routine(id)
        .is_some_and(|view| matches!(view.state, RoutineState::Blocked(_)))
}

// ---- panics ----

/// A payload whose destructor panics with a payload whose destructor panics, and so on. A worker
/// that drops one outside a catch ends the process.
#[test]
fn a_payload_that_panics_when_it_is_dropped_ends_one_routine() {
    struct Nested(u32);
    impl Drop for Nested {
        fn drop(&mut self) {
            if self.0 > 0 && !thread::panicking() {
                panic_any(Nested(self.0 - 1));
            }
        }
    }
    let watchdog = Watchdog::new("nested payloads");
    for workers in [1, 2] {
        let rt = runtime(workers);
        watchdog.watch("nested payloads", &rt.handle());
        for depth in 0..4 {
            // Detached: the runtime drops the payload.
            rt.spawn(move || panic_any(Nested(depth)));
            rt.spawn(move || Nested(depth));
            rt.spawn_future(async move { panic_any(Nested(depth)) });
            let handle = rt.spawn(move || panic_any(Nested(depth)));
            until("it has ended", || handle.is_finished());
            drop(handle);
            // Both the future's destructor and its poll panic.
            let bad = Nested(depth);
            rt.spawn_future(async move {
                let _bad = bad;
                panic_any(Nested(depth))
            });
        }
        rt.shutdown(LONG).unwrap();
    }
}

/// A waker that panics in each of its functions in turn: the handle stays whole, the routine's
/// worker goes on.
#[test]
fn a_waker_that_panics_harms_nobody() {
    const WAKE: usize = 1;
    const CLONE: usize = 2;
    const DROP: usize = 3;

    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, dropped);
    static DROPS: AtomicU32 = AtomicU32::new(0);
    static CLONES: AtomicU32 = AtomicU32::new(0);

    fn panic_if(data: *const (), what: usize) {
        if data.addr() == what && !thread::panicking() {
            panic!("a waker's panic, on purpose");
        }
    }
    unsafe fn clone(data: *const ()) -> RawWaker {
        panic_if(data, CLONE);
        CLONES.fetch_add(1, SeqCst);
        RawWaker::new(data, &VTABLE)
    }
    unsafe fn wake(data: *const ()) {
        DROPS.fetch_add(1, SeqCst);
        panic_if(data, WAKE);
    }
    unsafe fn dropped(data: *const ()) {
        DROPS.fetch_add(1, SeqCst);
        panic_if(data, DROP);
    }
    fn poll(handle: &mut openwork::JoinHandle<Token>, what: usize) {
        let data = std::ptr::without_provenance(what);
        // SAFETY: the functions touch nothing behind the pointer; the waker is not dropped.
        let waker =
            std::mem::ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) });
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _ = std::pin::Pin::new(handle).poll(&mut std::task::Context::from_waker(&waker));
        }));
    }

    let watchdog = Watchdog::new("bad wakers");
    let ledger = Ledger::new();
    let rt = runtime(2);
    watchdog.watch("bad wakers", &rt.handle());
    for first in [WAKE, CLONE, DROP] {
        for second in [0, WAKE, CLONE, DROP] {
            for join in [false, true] {
                let (gate, token) = (Gate::new(), ledger.token());
                let at = gate.clone();
                let mut handle = rt.spawn(move || {
                    at.wait();
                    token
                });
                poll(&mut handle, first);
                if second != 0 {
                    poll(&mut handle, second);
                }
                if join {
                    gate.open();
                    match catch_unwind(AssertUnwindSafe(|| handle.join())) {
                        Ok(result) => drop(result.unwrap()),
                        Err(_) => assert!(first == DROP || second == DROP),
                    }
                } else {
                    drop_quietly(handle);
                    gate.open();
                }
            }
        }
    }
    rt.shutdown(LONG).unwrap();
    assert_eq!(
        CLONES.load(SeqCst),
        DROPS.load(SeqCst),
        "wakers are not leaked or doubled"
    );
    ledger.check("bad wakers");
}

/// Panics in a scope: of the closure, of children, of both; the scope waits all the same.
#[test]
fn a_scope_waits_for_all_whoever_panics() {
    let watchdog = Watchdog::new("scope panics");
    let rt = runtime(2);
    watchdog.watch("scope panics", &rt.handle());
    for (closure, child, joined) in (0..8).map(|n| (n & 1 > 0, n & 2 > 0, n & 4 > 0)) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            rt.block_on(|| {
                let alive = AtomicU32::new(0);
                let result = catch_unwind(AssertUnwindSafe(|| {
                    scope(|s| {
                        for n in 0..10 {
                            let alive = &alive;
                            alive.fetch_add(1, SeqCst);
                            let handle = s.spawn(move || {
                                struct Leaves<'a>(&'a AtomicU32);
                                impl Drop for Leaves<'_> {
                                    fn drop(&mut self) {
                                        self.0.fetch_sub(1, SeqCst);
                                    }
                                }
                                let _leaves = Leaves(alive);
                                yield_now();
                                if child && n % 3 == 0 {
                                    panic!("a child's panic, on purpose");
                                }
                            });
                            if joined {
                                assert_eq!(handle.join().is_err(), child && n % 3 == 0);
                            }
                        }
                        if closure {
                            panic!("the closure's panic, on purpose");
                        }
                    });
                }));
                assert_eq!(alive.load(SeqCst), 0, "the scope has left children behind");
                if let Err(payload) = result {
                    resume_unwind(payload);
                }
            })
        }));
        assert_eq!(result.is_err(), closure || (child && !joined));
    }
    rt.shutdown(LONG).unwrap();
}

/// What would lend a frame while the thread cannot run anybody else is refused before it lends.
/// Broken by a check that comes at the wait: the frame is left while routines use it.
#[test]
fn loans_in_a_panicking_destructor_are_refused_on_one_worker() {
    struct Lends(Arc<AtomicU32>, Arc<Runtime>);
    impl Drop for Lends {
        fn drop(&mut self) {
            let mut frame = [1u8; 64];
            let lent = &mut frame;
            let by_scope = catch_unwind(AssertUnwindSafe(|| {
                scope(|s| {
                    s.spawn(|| lent.fill(2));
                });
            }));
            let by_block_on = catch_unwind(AssertUnwindSafe(|| self.1.block_on(|| frame.fill(3))));
            let joined = spawn(|| 1).join();
            self.0.fetch_add(
                u32::from(by_scope.is_err())
                    + u32::from(by_block_on.is_err())
                    + u32::from(matches!(joined, Err(JoinError::Refused))),
                SeqCst,
            );
        }
    }
    let watchdog = Watchdog::new("loans while panicking");
    for (workers, refusals) in [(1, 3), (3, 0)] {
        let rt = Arc::new(runtime(workers));
        watchdog.watch("loans while panicking", &rt.handle());
        let refused = Arc::new(AtomicU32::new(0));
        let lends = Lends(refused.clone(), rt.clone());
        let result = rt
            .spawn(move || {
                let _lends = lends;
                panic!("on purpose");
            })
            .join();
        assert!(result.is_err_and(|why| why.message() == "on purpose"));
        assert_eq!(refused.load(SeqCst), refusals, "{workers} workers");
    }
}

// ---- handles ----

/// A handle may outlive its runtime's last handle, also one that was made by a spawn after the end.
/// Broken by slabs that go with the runtime's handle.
#[test]
fn a_spawn_after_the_end_is_cancelled_at_once() {
    let _watchdog = Watchdog::new("late spawns");
    let ledger = Ledger::new();
    let rt = runtime(2);
    // Its block comes back, so that nothing but the handle keeps the runtime's memory.
    assert_eq!(rt.spawn(|| 1).join().unwrap(), 1);
    let runtime = rt.handle();
    rt.shutdown(LONG).unwrap();
    let mut late = Vec::new();
    // More than a chunk of blocks.
    for _ in 0..2_000 {
        let token = ledger.token();
        let handle = runtime.spawn(move || token);
        assert!(handle.is_finished());
        late.push(handle);
    }
    let token = ledger.token();
    let future = runtime.spawn_future(async move { drop(token) });
    let bad = ledger.bad_token();
    let panics = runtime.spawn(move || drop(bad));
    ledger.check("closures of late spawns are dropped by whoever spawns");
    let counts = runtime.snapshot().routines;
    assert_eq!(
        (counts.spawned, counts.ended, counts.live()),
        (2_003, 2_003, 0)
    );
    assert_eq!((counts.cancelled, counts.panicked), (2_001, 1));
    drop(runtime);
    for handle in late {
        assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
    }
    assert!(matches!(run_here(future), Err(JoinError::Cancelled)));
    assert!(panics.join().is_err_and(|why| why.is_panic()));
}

/// A poll leaves a waker behind; a join after it must take that one back first, while the routine
/// may be taking it. Broken by a join that writes over it.
#[test]
fn a_join_after_a_poll_takes_the_waker_back() {
    let watchdog = Watchdog::new("poll, then join");
    let rt = runtime(2);
    watchdog.watch("poll, then join", &rt.handle());
    for round in 0..2_000u64 {
        let mut handle = rt.spawn(move || {
            if round % 2 == 0 {
                yield_now();
            }
            round
        });
        for _ in 0..round % 4 {
            if let std::task::Poll::Ready(value) = poll_once(&mut handle) {
                assert_eq!(value.unwrap(), round);
                break;
            }
        }
        match handle.join() {
            Ok(value) => assert_eq!(value, round),
            // The poll has taken it.
            Err(JoinError::Cancelled) => {}
            Err(why) => panic!("{why}"),
        }
        let inside = rt.spawn(move || {
            let mut child = spawn(move || round);
            let _ = poll_once(&mut child);
            child.join().is_ok_and(|value| value == round)
        });
        let _ = inside.join().unwrap();
    }
    rt.shutdown(LONG).unwrap();
}

/// Handles joined by threads, routines and other executors at once, on two runtimes side by side.
#[test]
fn handles_cross_runtimes_and_executors() {
    let watchdog = Watchdog::new("crossing");
    let (left, right) = (runtime(2), runtime(1));
    watchdog.watch("crossing", &left.handle());
    let (a, b) = (left.handle(), right.handle());
    let roots: Vec<_> = (0..50u64)
        .map(|n| {
            let (a, b) = (a.clone(), b.clone());
            left.spawn(move || {
                let there = b.spawn(move || {
                    let back = a.spawn_future(async move {
                        time::after(Duration::from_micros(n)).await;
                        n
                    });
                    back.join().unwrap() + 1
                });
                there.join().unwrap() + 1
            })
        })
        .collect();
    for (n, root) in roots.into_iter().enumerate() {
        let n = n as u64;
        let value = match n % 3 {
            0 => root.join().unwrap(),
            1 => run_here(root).unwrap(),
            _ => right.block_on(|| root.join().unwrap()),
        };
        assert_eq!(value, n + 2);
    }
    left.shutdown(LONG).unwrap();
    right.shutdown(LONG).unwrap();
}

/// A runtime made, used and dropped inside a routine of another one, which may be cancelled
/// meanwhile; and one that is dropped by its own routine.
#[test]
fn runtimes_nest() {
    let watchdog = Watchdog::new("nesting");
    let outer = runtime(2);
    watchdog.watch("nesting", &outer.handle());
    let sum: u64 = outer.block_on(|| {
        let parts: Vec<_> = (0..6u64)
            .map(|n| {
                spawn(move || {
                    let inner = runtime(1);
                    let local = [n, 1];
                    inner.block_on(|| spawn(move || n).join().unwrap() + local[1])
                })
            })
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    assert_eq!(sum, 15 + 6);

    // A cancel of the caller is passed on to what it has lent its frame to.
    let ledger = Ledger::new();
    let (lent, at) = (ledger.token(), Gate::new());
    let begun = at.clone();
    let caller = outer.spawn(move || {
        let inner = runtime(1);
        let borrowed = &lent;
        inner.block_on(|| {
            at.open();
            time::sleep(FOR_EVER);
            let _ = borrowed;
        });
    });
    begun.spin();
    caller.abort();
    assert!(matches!(caller.join(), Err(JoinError::Cancelled)));
    ledger.check("the lender is unwound after the borrower");

    let own = Arc::new(runtime(2));
    let weak = Arc::downgrade(&own);
    let token = ledger.token();
    let (at, go) = (Gate::new(), Gate::new());
    let (begun, open) = (at.clone(), go.clone());
    let last = own.clone();
    let routine = own.spawn(move || {
        at.open();
        go.wait();
        drop(last);
        token
    });
    begun.spin();
    drop(own);
    open.open();
    // It ends or is cancelled by the end that it has begun; either way it ends.
    drop(routine.join());
    until("the runtime is gone", || weak.strong_count() == 0);
    ledger.check_soon("a routine that drops its own runtime");
    outer.shutdown(LONG).unwrap();
}

// ---- cancels ----

/// A cancel's grace runs out while the routine's worker sleeps. Broken by an abort that goes to a
/// place at which a worker that is about to sleep does not look: the routine is runnable, so no
/// later wake is for it, and nobody runs it.
#[test]
fn an_abort_by_a_timer_wakes_an_idle_worker() {
    let watchdog = Watchdog::new("grace");
    let rt = runtime(2);
    let runtime = rt.handle();
    watchdog.watch("grace", &runtime);
    for _ in 0..40 {
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let owner = rt.spawn(move || {
            scope(|s| {
                let begun = Gate::new();
                let at = begun.clone();
                // Goes to the other worker, because this one is held until it has begun.
                s.spawn(move || {
                    at.open();
                    while !stop.load(SeqCst) {
                        let _ = catch_unwind(yield_now);
                    }
                });
                begun.spin();
            });
        });
        let id = owner.id();
        until("it waits for its child", || is_blocked(&runtime, id));
        let turns = || runtime.routine(id).map_or(0, |view| view.turns);
        let before = turns();
        let grace = Duration::from_millis(2);
        owner.cancel(grace);
        until("it has passed the cancel on", || turns() > before);
        // The abort's moment must pass, and there is nothing to be seen of it.
        thread::sleep(3 * grace);
        over.store(true, SeqCst);
        assert!(matches!(owner.join(), Err(JoinError::Cancelled)));
    }
    rt.shutdown(LONG).unwrap();
}

/// Aborts that race every step of a life: before the first turn, at each block, at the end.
#[test]
fn an_abort_at_any_moment_ends_the_routine_once() {
    let watchdog = Watchdog::new("aborts");
    let mut random = Random::new("aborts");
    for workers in [1, 2, 8] {
        let rt = runtime(workers);
        watchdog.watch("aborts", &rt.handle());
        let ledger = Ledger::new();
        let handles: Vec<_> = (0..3_000)
            .map(|_| {
                let (token, kind, steps) = (ledger.token(), random.below(4), random.below(4));
                match kind {
                    0 => rt.spawn(move || {
                        for _ in 0..steps {
                            yield_now();
                        }
                        token
                    }),
                    1 => rt.spawn(move || {
                        for n in 0..steps {
                            time::sleep(Duration::from_micros(n * 20));
                        }
                        token
                    }),
                    2 => rt.spawn_future(async move {
                        for n in 0..steps {
                            time::after(Duration::from_micros(n * 20)).await;
                        }
                        token
                    }),
                    _ => rt.spawn_turns((Some(token), steps), |(token, steps)| {
                        if *steps == 0 {
                            return Turn::Done(token.take().unwrap());
                        }
                        *steps -= 1;
                        Turn::Again
                    }),
                }
            })
            .collect();
        for handle in &handles {
            match random.below(3) {
                0 => handle.abort(),
                1 => handle.cancel(Duration::from_micros(random.below(50))),
                _ => {}
            }
        }
        for handle in handles {
            match handle.join() {
                Ok(_) | Err(JoinError::Cancelled) => {}
                Err(why) => panic!("{why}"),
            }
        }
        ledger.check("aborted routines");
        rt.shutdown(LONG).unwrap();
    }
}

/// A workload is cancelled while its routines spawn: none escapes. Broken by a walk that misses a
/// routine whose spawner misses the flag.
#[test]
fn a_cancelled_workload_leaves_nobody() {
    let watchdog = Watchdog::new("workload");
    let rt = runtime(2);
    watchdog.watch("workload", &rt.handle());
    for _ in 0..100 {
        let workload = Workload::new("brood");
        let begun = Gate::new();
        for _ in 0..2 {
            let begun = begun.clone();
            Builder::new()
                .on(&rt.handle())
                .workload(&workload)
                .spawn(move || {
                    loop {
                        // Only a cancel ends these.
                        spawn(|| time::sleep(FOR_EVER)).detach();
                        begun.open();
                        checkpoint();
                    }
                })
                .unwrap()
                .detach();
        }
        begun.spin();
        workload.cancel(&rt.handle());
        until("all have ended", || {
            let counters = workload.counters();
            counters.spawned == counters.ended
        });
    }
    rt.shutdown(LONG).unwrap();
}

/// A scope's owner is cancelled while children spawn children. Broken by a child that is born after
/// the walk and before the count is zero: the owner would wait for ever.
#[test]
fn a_cancelled_scope_takes_late_children_with_it() {
    let watchdog = Watchdog::new("scope cancel");
    let rt = runtime(2);
    watchdog.watch("scope cancel", &rt.handle());
    for _ in 0..(if cfg!(portable) { 2 } else { 100 }) {
        let ledger = Ledger::new();
        let (borrowed, begun) = (ledger.token(), Gate::new());
        let at = begun.clone();
        let owner = rt.spawn(move || {
            let borrowed = &borrowed;
            let at = &at;
            scope(|s| {
                for _ in 0..2 {
                    s.spawn(move || {
                        loop {
                            s.spawn(move || {
                                let _borrowed = borrowed;
                                time::sleep(FOR_EVER);
                            });
                            at.open();
                            checkpoint();
                        }
                    });
                }
            });
        });
        begun.spin();
        owner.abort();
        assert!(matches!(owner.join(), Err(JoinError::Cancelled)));
        ledger.check("what the children borrowed");
    }
    rt.shutdown(LONG).unwrap();
}

/// A scope's `spawn` may be called from a thread that is no worker. Broken by a count that is raised
/// for a spawn that then fails.
#[test]
fn a_scope_takes_children_from_foreign_threads() {
    let watchdog = Watchdog::new("scope from threads");
    let rt = runtime(1);
    watchdog.watch("scope from threads", &rt.handle());
    let count = rt.block_on(|| {
        let count = AtomicU32::new(0);
        scope(|s| {
            let count = &count;
            thread::scope(|threads| {
                for _ in 0..4 {
                    threads.spawn(|| {
                        for _ in 0..50 {
                            s.spawn(|| count.fetch_add(1, SeqCst));
                        }
                    });
                }
            });
        });
        count.load(SeqCst)
    });
    assert_eq!(count, 200);
    rt.shutdown(LONG).unwrap();
}

// ---- wake-ups ----

/// A future's waker fires while its poll blocks the stack. Broken by a block that takes the notice:
/// nobody polls again.
#[test]
fn a_wake_during_a_poll_that_blocks_is_kept() {
    let watchdog = Watchdog::new("wake in a blocked poll");
    let rt = runtime(2);
    watchdog.watch("wake in a blocked poll", &rt.handle());
    for round in 0..300u64 {
        let (gate, polled) = (Gate::new(), Gate::new());
        let (inner, at) = (gate.clone(), polled.clone());
        let mut future = gate.future();
        let handle = rt.spawn_future(std::future::poll_fn(move |cx| {
            let poll = std::pin::Pin::new(&mut future).poll(cx);
            if poll.is_pending() {
                at.open();
                // A stackful call inside a poll: the waker fires meanwhile.
                let opened = inner.clone();
                spawn(move || opened.wait()).join().unwrap();
                for _ in 0..round % 3 {
                    yield_now();
                }
            }
            poll
        }));
        polled.spin();
        gate.open();
        handle.join().unwrap();
    }
    rt.shutdown(LONG).unwrap();
}

/// Two routines that only end together need two workers. Broken by any lost wake-up of a worker:
/// a submission that relies on a searcher that gives up, or loot that nobody is told of.
#[test]
fn work_that_needs_all_workers_gets_them() {
    let watchdog = Watchdog::new("conservation of work");
    for workers in [2u32, 3] {
        let rt = runtime(workers as usize);
        watchdog.watch("conservation of work", &rt.handle());
        for round in 0..3_000 {
            let here = Arc::new(AtomicU32::new(0));
            let meet = {
                let here = here.clone();
                move || {
                    here.fetch_add(1, SeqCst);
                    // Holds its worker until all have come.
                    until("all workers have come", || here.load(SeqCst) >= workers);
                }
            };
            let handles: Vec<_> = if round % 2 == 0 {
                (0..workers).map(|_| rt.spawn(meet.clone())).collect()
            } else {
                rt.block_on(|| (0..workers).map(|_| spawn(meet.clone())).collect())
            };
            for handle in handles {
                handle.join().unwrap();
            }
        }
        rt.shutdown(LONG).unwrap();
    }
}

// ---- shutdown ----

/// The drain waits for a result's destructor, also when it blocks. Broken by counting a routine as
/// ended when its body has: its worker leaves while the destructor sleeps.
#[test]
fn the_drain_waits_for_destructors() {
    struct Slow(Arc<AtomicU32>);
    impl Drop for Slow {
        fn drop(&mut self) {
            time::sleep(Duration::from_millis(2));
            yield_now();
            spawn(yield_now).join().unwrap();
            self.0.fetch_add(1, SeqCst);
        }
    }
    let watchdog = Watchdog::new("slow destructors");
    for workers in [1, 2] {
        let through = Arc::new(AtomicU32::new(0));
        let rt = runtime(workers);
        watchdog.watch("slow destructors", &rt.handle());
        let gate = Gate::new();
        for _ in 0..50 {
            let (slow, go) = (Slow(through.clone()), gate.clone());
            let handle = rt.spawn(move || {
                go.wait();
                slow
            });
            handle.detach();
            let (slow, go) = (Slow(through.clone()), gate.clone());
            let handle = rt.spawn_future(async move {
                go.future().await;
                slow
            });
            handle.detach();
        }
        // Detached before they end, so that their results are theirs to drop.
        gate.open();
        rt.shutdown(LONG).unwrap();
        assert_eq!(through.load(SeqCst), 100, "destructors came to their end");
    }
}

/// Threads spawn while the runtime shuts down: each join returns, each closure is dropped. Broken by
/// a spawn that passes the check and pushes after the workers have gone.
#[test]
fn spawns_race_the_shutdown() {
    let watchdog = Watchdog::new("spawns against shutdown");
    let mut random = Random::new("spawns against shutdown");
    for _ in 0..150 {
        let ledger = Ledger::new();
        let rt = runtime(1 + random.below(2) as usize);
        let runtime = rt.handle();
        watchdog.watch("spawns against shutdown", &runtime);
        let began = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (runtime, ledger, began) = (runtime.clone(), ledger.clone(), began.clone());
                thread::spawn(move || {
                    let mut refused = 0;
                    let mut last = None;
                    while refused < 20 {
                        let token = ledger.token();
                        let handle = runtime.spawn(move || {
                            yield_now();
                            token
                        });
                        began.fetch_add(1, SeqCst);
                        match handle.join() {
                            Ok(token) => last = Some(token),
                            Err(JoinError::Cancelled) => refused += 1,
                            Err(why) => panic!("{why}"),
                        }
                    }
                    drop(last);
                })
            })
            .collect();
        let wait_for = random.below(60) as u32;
        until("some are spawned", || began.load(SeqCst) >= wait_for);
        let time = if random.below(2) == 0 {
            Duration::ZERO
        } else {
            LONG
        };
        rt.shutdown(time).unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        let counts = runtime.snapshot().routines;
        assert_eq!(counts.spawned, counts.ended);
        ledger.check("spawned against shutdown");
    }
}

/// What cannot be ended is told, and its memory lives on.
#[test]
fn what_swallows_its_cancel_is_returned() {
    let _watchdog = Watchdog::new("remaining");
    let rt = runtime(2);
    let runtime = rt.handle();
    let over = Arc::new(AtomicBool::new(false));
    let (stop, begun) = (over.clone(), Gate::new());
    let at = begun.clone();
    let stubborn = rt.spawn(move || {
        at.open();
        while !stop.load(SeqCst) {
            let _ = catch_unwind(yield_now);
        }
        7
    });
    let id = stubborn.id();
    begun.spin();
    let remaining = rt.shutdown(Duration::ZERO).unwrap_err();
    assert_eq!(remaining.routines.len(), 1);
    assert_eq!(remaining.routines[0].id, id);
    // Some may have been started to be spare.
    assert!(remaining.threads >= 2, "{remaining:?}");
    over.store(true, SeqCst);
    assert_eq!(stubborn.join().unwrap(), 7);
    until("it is gone", || runtime.routine(id).is_none());
}

/// Deadlines of every kind are pending when the runtime ends; some fall due meanwhile. Foreign
/// wakers among them are dropped once.
#[test]
fn a_shutdown_with_pending_deadlines_leaves_nothing() {
    let watchdog = Watchdog::new("deadlines");
    let mut random = Random::new("deadlines");
    for _ in 0..60 {
        let ledger = Ledger::new();
        let rt = runtime(2);
        watchdog.watch("deadlines", &rt.handle());
        for _ in 0..40 {
            let after = Duration::from_micros(random.below(3_000));
            let (a, b) = (ledger.token(), ledger.token());
            rt.spawn_future(async move {
                let _a = a;
                time::after(after).await;
            })
            .detach();
            rt.spawn(move || {
                let _b = b;
                // A foreign executor inside a routine: its waker is the thread's.
                let mut sleep = time::after(after);
                let _ = poll_once(&mut sleep);
                let held = spawn(move || time::sleep(after));
                held.cancel(after);
            })
            .detach();
        }
        let time = Duration::from_micros(random.below(2_000));
        rt.shutdown(time).unwrap();
        ledger.check("deadlines at the end");
    }
}

/// Unwinding many takes longer than unwinding one may take. Broken by one grace for all of them.
#[test]
fn a_shutdown_waits_while_routines_end() {
    let watchdog = Watchdog::new("many cancels");
    let ledger = Ledger::new();
    let rt = runtime(2);
    let runtime = rt.handle();
    watchdog.watch("many cancels", &runtime);
    // All block at once, for which a portable build needs a thread each.
    let count = if cfg!(portable) { 4_000 } else { 50_000 };
    for n in 0..count {
        let token = ledger.token();
        rt.spawn(move || {
            let _token = token;
            if n % 2 == 0 {
                time::sleep(FOR_EVER);
            } else {
                spawn_future(std::future::pending::<()>()).join().unwrap();
            }
        })
        .detach();
    }
    until("half of them sleep", || {
        runtime.snapshot().routines.blocked > count / 2
    });
    rt.shutdown(Duration::ZERO).unwrap();
    ledger.check("cancelled at the end");
}

// ---- size ----

#[test]
fn a_hundred_thousand_routines_at_once() {
    let watchdog = Watchdog::new("100,000");
    for workers in [1, 2, 8] {
        let rt = runtime(workers);
        let runtime = rt.handle();
        watchdog.watch("100,000", &runtime);
        let sum = Arc::new(AtomicU64::new(0));
        let (gate, ended) = (Gate::new(), sum.clone());
        let count = 100_000u64;
        let at = gate.clone();
        let root = rt.spawn(move || {
            let handles: Vec<_> = (0..count)
                .map(|n| {
                    let (sum, gate) = (ended.clone(), at.clone());
                    match n % 10 {
                        0 => spawn(move || {
                            yield_now();
                            sum.fetch_add(n, SeqCst);
                        }),
                        1 => spawn_future(async move {
                            gate.future().await;
                            sum.fetch_add(n, SeqCst);
                        }),
                        2 => spawn_turns((0, sum), move |(turn, sum)| {
                            *turn += 1;
                            if *turn < 3 {
                                return Turn::Again;
                            }
                            sum.fetch_add(n, SeqCst);
                            Turn::Done(())
                        }),
                        _ => spawn(move || {
                            sum.fetch_add(n, SeqCst);
                        }),
                    }
                })
                .collect();
            at.open();
            for handle in handles {
                handle.join().unwrap();
            }
        });
        root.join().unwrap();
        assert_eq!(sum.load(SeqCst), count * (count - 1) / 2);
        let counts = runtime.snapshot().routines;
        assert_eq!((counts.spawned, counts.live()), (count + 1, 0));
        rt.shutdown(LONG).unwrap();
    }
}
