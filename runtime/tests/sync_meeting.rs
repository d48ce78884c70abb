//! Conditions, permits, meetings and initialisations: nobody waits for ever, nobody is counted twice, and
//! who leaves early takes nothing along.

mod support;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use openwork::snapshot::{RoutineState, WaitReason};
use openwork::sync::{
    AcquireError, AcquireTimeoutError, Barrier, Condvar, CondvarTimeoutError, Latch, Lazy,
    LockError, Mutex, Notify, Once, OnceCell, Semaphore, TryAcquireError, WaitGroup,
    WaitTimeoutError,
};
use openwork::{Handle, JoinError, JoinHandle, scope, spawn, time, yield_now};
use support::{Gate, Random, Watchdog, poll_once, runtime, until};

const LONG: Duration = Duration::from_secs(1000);
const SHORT: Duration = Duration::from_millis(2);

/// Calls the function where it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Waits until so many routines wait for this reason.
fn until_blocked(handle: &Handle, reason: WaitReason, count: u64) {
    until(reason.name(), || {
        let mut waiting = 0;
        handle.routines(&mut |view| {
            waiting += u64::from(view.state == RoutineState::Blocked(reason));
        });
        waiting == count
    });
}

/// A queue of three places between many that fill and many that drain it: every value arrives once, with
/// timeouts and notices to one and to all.
#[test]
fn a_condvar_loses_no_notice() {
    let watchdog = Watchdog::new("a_condvar_loses_no_notice");
    let mut random = Random::new("a_condvar_loses_no_notice");
    const VALUES: u64 = 400;
    for workers in [1, 2, 4] {
        let rt = runtime(workers);
        watchdog.watch(&format!("{workers} workers"), &rt.handle());
        let queue = Arc::new((
            Mutex::new(VecDeque::new()),
            Condvar::new(),
            Condvar::new(),
            AtomicU64::new(0),
        ));
        let mut all = Vec::new();
        for maker in 0..3 {
            let queue = queue.clone();
            let mut random = Random::from(random.next());
            all.push(rt.spawn(move || {
                for i in 0..VALUES {
                    let guard = queue.0.lock().unwrap();
                    let mut guard = queue.1.wait_while(guard, |queue| queue.len() >= 3).unwrap();
                    guard.push_back(maker * VALUES + i);
                    drop(guard);
                    queue.2.notify_one();
                    if random.below(8) == 0 {
                        yield_now();
                    }
                }
            }));
        }
        for taker in 0..3 {
            let queue = queue.clone();
            let mut random = Random::from(random.next());
            all.push(rt.spawn(move || {
                for _ in 0..VALUES {
                    let mut guard = queue.0.lock().unwrap();
                    while guard.is_empty() {
                        guard = if random.below(2) == 0 {
                            queue.2.wait(guard).unwrap()
                        } else {
                            let limit = Duration::from_micros(random.below(100));
                            queue.2.wait_timeout(guard, limit).unwrap().0
                        };
                    }
                    let value = guard.pop_front().unwrap();
                    queue.3.fetch_add(value, Relaxed);
                    drop(guard);
                    if taker == 0 {
                        queue.1.notify_all();
                    } else {
                        queue.1.notify_one();
                    }
                }
            }));
        }
        all.into_iter().for_each(|one| one.join().unwrap());
        let n = 3 * VALUES;
        assert_eq!(queue.3.load(SeqCst), n * (n - 1) / 2);
        assert!(queue.0.lock().unwrap().is_empty());
    }
}

/// A notice to one wakes one, a notice to all wakes all; a thread is one of them.
#[test]
fn a_notice_wakes_as_many_as_it_says() {
    let watchdog = Watchdog::new("a_notice_wakes_as_many_as_it_says");
    let rt = runtime(2);
    watchdog.watch("notices", &rt.handle());
    let shared = Arc::new((Mutex::new(0u32), Condvar::new(), AtomicU64::new(0)));
    let wait = |shared: Arc<(Mutex<u32>, Condvar, AtomicU64)>| {
        move || {
            let mut guard = shared.0.lock().unwrap();
            shared.2.fetch_add(1, SeqCst);
            guard = shared.1.wait(guard).unwrap();
            *guard += 1;
        }
    };
    let routines: Vec<_> = (0..5).map(|_| rt.spawn(wait(shared.clone()))).collect();
    let thread = thread::spawn(wait(shared.clone()));
    until("all have come", || shared.2.load(SeqCst) == 6);
    // Who has counted has the lock until it is in the queue.
    drop(shared.0.lock().unwrap());
    until_blocked(&rt.handle(), WaitReason::Condition, 5);
    for woken in 1..=3 {
        shared.1.notify_one();
        until("one has woken", || *shared.0.lock().unwrap() == woken);
    }
    for _ in 0..100 {
        thread::yield_now();
        assert_eq!(*shared.0.lock().unwrap(), 3);
    }
    shared.1.notify_all();
    routines.into_iter().for_each(|one| one.join().unwrap());
    thread.join().unwrap();
    assert_eq!(*shared.0.lock().unwrap(), 6);
}

/// One that was notified and is cancelled before it has the lock again hands the notice on.
#[test]
fn a_cancelled_waiter_hands_its_notice_on() {
    let watchdog = Watchdog::new("a_cancelled_waiter_hands_its_notice_on");
    for timed in [false, true] {
        let rt = runtime(2);
        watchdog.watch("cancel", &rt.handle());
        let shared = Arc::new((Mutex::new(0u32), Condvar::new()));
        let routine = |index: u64| {
            let pair = shared.clone();
            let routine = rt.spawn(move || {
                let guard = pair.0.lock().unwrap();
                if timed {
                    match pair.1.wait_timeout(guard, LONG) {
                        Ok((mut guard, result)) => {
                            assert!(!result.timed_out());
                            *guard += 1;
                        }
                        Err(error) => assert!(matches!(error, CondvarTimeoutError::Cancelled)),
                    }
                } else {
                    *pair.1.wait(guard).unwrap() += 1;
                }
            });
            until_blocked(&rt.handle(), WaitReason::Condition, index + 1);
            routine
        };
        let (first, second) = (routine(0), routine(1));
        let guard = shared.0.lock().unwrap();
        shared.1.notify_one();
        until_blocked(&rt.handle(), WaitReason::Lock, 1);
        first.cancel(LONG);
        let first = first.join();
        assert!(matches!(first, Err(JoinError::Cancelled)) || timed && first.is_ok());
        drop(guard);
        second.join().unwrap();
        assert_eq!(*shared.0.lock().unwrap(), 1);
    }
}

/// A cancel ends a wait, the lock is not held by it and not poisoned.
#[test]
fn a_cancel_ends_a_wait_for_a_condition() {
    let watchdog = Watchdog::new("a_cancel_ends_a_wait_for_a_condition");
    let rt = runtime(1);
    watchdog.watch("cancel", &rt.handle());
    let shared = Arc::new((Mutex::new(0u32), Condvar::new()));
    let pair = shared.clone();
    let routine = rt.spawn(move || {
        let guard = pair.0.lock().unwrap();
        drop(pair.1.wait(guard));
    });
    until_blocked(&rt.handle(), WaitReason::Condition, 1);
    routine.cancel(LONG);
    assert!(matches!(routine.join(), Err(JoinError::Cancelled)));
    assert!(!shared.0.is_poisoned());
    assert!(shared.0.try_lock().is_ok());
}

/// Permits are neither lost nor made, whoever takes, gives up, is cancelled or panics.
#[test]
fn permits_are_conserved() {
    let watchdog = Watchdog::new("permits_are_conserved");
    let mut random = Random::new("permits_are_conserved");
    const PERMITS: usize = 5;
    for workers in [1, 2, 4] {
        let rt = runtime(workers);
        watchdog.watch(&format!("{workers} workers"), &rt.handle());
        let shared = Arc::new((Semaphore::new(PERMITS), AtomicUsize::new(0)));
        let mut routines = Vec::new();
        for index in 0..12 {
            let shared = shared.clone();
            let mut random = Random::from(random.next());
            let body = move || {
                let (semaphore, out) = &*shared;
                for _ in 0..100 {
                    let count = 1 + random.below(PERMITS as u64) as usize;
                    let permit = match random.below(3) {
                        0 => semaphore.acquire_many(count).ok(),
                        1 => semaphore.try_acquire_many(count).ok(),
                        _ => {
                            let limit = Duration::from_micros(random.below(100));
                            semaphore.acquire_many_timeout(count, limit).ok()
                        }
                    };
                    let Some(mut permit) = permit else { continue };
                    assert!(out.fetch_add(count, SeqCst) + count <= PERMITS);
                    // Given back before the permits, also by a routine that is aborted.
                    let counted = OnDrop(|| {
                        out.fetch_sub(count, SeqCst);
                    });
                    let part = permit.split(random.below(2) as usize);
                    if random.below(3) == 0 {
                        yield_now();
                    }
                    drop(counted);
                    if index == 0 && random.below(50) == 0 {
                        std::panic::panic_any("on purpose");
                    }
                    drop(part);
                }
            };
            routines.push(rt.spawn(body));
        }
        for _ in 0..3 {
            let shared = shared.clone();
            let mut random = Random::from(random.next());
            routines.push(rt.spawn_future(async move {
                for _ in 0..100 {
                    let count = 1 + random.below(3) as usize;
                    let mut future = Box::pin(shared.0.acquire_many_async(count));
                    if random.below(2) == 0 {
                        drop(poll_once(&mut future));
                        time::after(Duration::ZERO).await;
                        continue;
                    }
                    drop(future.await.unwrap());
                }
            }));
        }
        let mut cancelled = 0;
        for (index, routine) in routines.into_iter().enumerate() {
            if index % 5 == 4 {
                routine.abort();
            }
            cancelled += usize::from(routine.join().is_err());
        }
        assert!(cancelled <= 4);
        assert_eq!(shared.0.available(), PERMITS);
    }
}

/// A wish for many is served before later wishes for few, and when it is given up those go on.
#[test]
fn permits_go_in_order() {
    let watchdog = Watchdog::new("permits_go_in_order");
    let rt = runtime(2);
    watchdog.watch("order", &rt.handle());
    let semaphore = Arc::new(Semaphore::new(2));
    let one = semaphore.acquire().unwrap();
    let shared = semaphore.clone();
    let many = rt.spawn(move || drop(shared.acquire_many(2)));
    // It counts as blocked a moment before it stands in the queue.
    until("it stands in the queue", || {
        matches!(semaphore.try_acquire(), Err(TryAcquireError::NoPermits))
    });
    until_blocked(&rt.handle(), WaitReason::Semaphore, 1);
    assert_eq!(semaphore.available(), 1);
    let shared = semaphore.clone();
    let few = rt.spawn(move || drop(shared.acquire().unwrap()));
    until_blocked(&rt.handle(), WaitReason::Semaphore, 2);
    many.abort();
    assert!(matches!(many.join(), Err(JoinError::Cancelled)));
    few.join().unwrap();
    drop(one);
    assert_eq!(semaphore.available(), 2);
}

/// Closing tells those who wait and those who come; permits come back all the same.
#[test]
fn a_closed_semaphore_says_so() {
    let watchdog = Watchdog::new("a_closed_semaphore_says_so");
    let rt = runtime(2);
    watchdog.watch("close", &rt.handle());
    let semaphore = Arc::new(Semaphore::new(1));
    let held = semaphore.acquire_owned(1).unwrap();
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let shared = semaphore.clone();
            rt.spawn(move || shared.acquire().map(drop))
        })
        .collect();
    until_blocked(&rt.handle(), WaitReason::Semaphore, 20);
    semaphore.close();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), Err(AcquireError::Closed));
    }
    assert_eq!(
        semaphore.try_acquire().unwrap_err(),
        TryAcquireError::Closed
    );
    let late = semaphore.acquire_timeout(SHORT).map(drop);
    assert_eq!(late, Err(AcquireTimeoutError::Closed));
    drop(held);
    assert_eq!(semaphore.available(), 1);
}

/// Each meeting has all of them and one leader, on few workers and many, while others come and go.
#[test]
fn a_barrier_meets_again_and_again() {
    let watchdog = Watchdog::new("a_barrier_meets_again_and_again");
    for workers in [1, 2, 4] {
        let rt = runtime(workers);
        watchdog.watch(&format!("{workers} workers"), &rt.handle());
        let led = rt.block_on(|| {
            let (barrier, leaders, round) =
                (Barrier::new(20), AtomicU64::new(0), AtomicU64::new(0));
            scope(|s| {
                for _ in 0..20 {
                    s.spawn(|| {
                        for i in 0..50 {
                            assert_eq!(round.load(SeqCst), i);
                            if barrier.wait().is_leader() {
                                leaders.fetch_add(1, SeqCst);
                                round.fetch_add(1, SeqCst);
                            }
                            barrier.wait();
                        }
                    });
                }
            });
            leaders.into_inner()
        });
        assert_eq!(led, 50);
    }
}

/// Who leaves a barrier has not come.
#[test]
fn who_leaves_a_barrier_has_not_come() {
    let watchdog = Watchdog::new("who_leaves_a_barrier_has_not_come");
    let rt = runtime(2);
    watchdog.watch("barrier", &rt.handle());
    let barrier = Arc::new(Barrier::new(2));
    let shared = barrier.clone();
    let cancelled = rt.spawn(move || shared.wait());
    until_blocked(&rt.handle(), WaitReason::Barrier, 1);
    cancelled.cancel(LONG);
    assert!(matches!(cancelled.join(), Err(JoinError::Cancelled)));
    assert_eq!(barrier.wait_timeout(SHORT), Err(WaitTimeoutError::Timeout));
    let mut future = Box::pin(barrier.wait_async());
    assert!(poll_once(&mut future).is_pending());
    drop(future);
    let shared = barrier.clone();
    let waits = rt.spawn(move || shared.wait().is_leader());
    until_blocked(&rt.handle(), WaitReason::Barrier, 1);
    assert!(barrier.wait().is_leader());
    assert!(!waits.join().unwrap());
}

/// A group can be waited for by many, again and again, and its members end with their routines.
#[test]
fn a_group_waits_for_its_members() {
    let watchdog = Watchdog::new("a_group_waits_for_its_members");
    for workers in [1, 2] {
        let rt = runtime(workers);
        watchdog.watch(&format!("{workers} workers"), &rt.handle());
        let group = WaitGroup::new();
        let done = Arc::new(AtomicU64::new(0));
        for round in 1..=20 {
            let routines: Vec<_> = (0..10)
                .map(|i| {
                    let (member, done) = (group.member(), done.clone());
                    rt.spawn(move || {
                        let _member = member;
                        yield_now();
                        done.fetch_add(1, SeqCst);
                        if i == 3 {
                            std::panic::panic_any("on purpose");
                        }
                        if i == 4 {
                            time::sleep(LONG);
                        }
                    })
                })
                .collect();
            let waiters: Vec<_> = (0..20)
                .map(|_| {
                    let (group, done) = (group.clone(), done.clone());
                    rt.spawn(move || {
                        group.wait();
                        done.load(SeqCst)
                    })
                })
                .collect();
            until("all have done it", || done.load(SeqCst) == round * 10);
            routines[4].abort();
            group.wait();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), round * 10);
            }
            assert_eq!(group.count(), 0);
        }
        assert!(catch_unwind(AssertUnwindSafe(|| group.done())).is_err());
        group.add(1);
        assert_eq!(group.wait_timeout(SHORT), Err(WaitTimeoutError::Timeout));
        group.done();
        assert_eq!(group.wait_deadline(Instant::now()), Ok(()));
    }
}

/// A latch opens once for all, also for those who come late.
#[test]
fn a_latch_stays_open() {
    let watchdog = Watchdog::new("a_latch_stays_open");
    let rt = runtime(2);
    watchdog.watch("latch", &rt.handle());
    let latch = Arc::new(Latch::new(2));
    let waiters: Vec<_> = (0..40)
        .map(|_| {
            let latch = latch.clone();
            rt.spawn(move || latch.wait())
        })
        .collect();
    until_blocked(&rt.handle(), WaitReason::Barrier, 40);
    latch.count_down();
    assert_eq!(latch.wait_timeout(SHORT), Err(WaitTimeoutError::Timeout));
    latch.count_down();
    waiters
        .into_iter()
        .for_each(|waiter| waiter.join().unwrap());
    latch.count_down();
    latch.wait();
    assert_eq!(latch.count(), 0);
}

/// A notice is kept for one, wakes one, and is handed on by a future that was dropped.
#[test]
fn a_notice_is_kept_for_one() {
    let watchdog = Watchdog::new("a_notice_is_kept_for_one");
    let rt = runtime(2);
    watchdog.watch("notify", &rt.handle());
    let notify = Arc::new(Notify::new());
    notify.notify_one();
    notify.notify_one();
    notify.wait();
    assert_eq!(notify.wait_timeout(SHORT), Err(WaitTimeoutError::Timeout));
    let mut first = Box::pin(notify.wait_async());
    let mut second = Box::pin(notify.wait_async());
    assert!(poll_once(&mut first).is_pending());
    assert!(poll_once(&mut second).is_pending());
    notify.notify_one();
    drop(first);
    assert!(poll_once(&mut second).is_ready());
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let notify = notify.clone();
            rt.spawn(move || notify.wait())
        })
        .collect();
    until_blocked(&rt.handle(), WaitReason::Condition, 20);
    // Again, for those who did not stand in the queue yet: they count as blocked a moment before.
    until("all were woken", || {
        notify.notify_waiters();
        waiters.iter().all(JoinHandle::is_finished)
    });
    waiters
        .into_iter()
        .for_each(|waiter| waiter.join().unwrap());
    assert_eq!(notify.wait_timeout(SHORT), Err(WaitTimeoutError::Timeout));
}

/// One runs, others wait for it, and all see what it wrote.
#[test]
fn an_initialisation_runs_once() {
    let watchdog = Watchdog::new("an_initialisation_runs_once");
    for workers in [1, 2, 4] {
        let rt = runtime(workers);
        watchdog.watch(&format!("{workers} workers"), &rt.handle());
        let cell = Arc::new((OnceCell::new(), AtomicU64::new(0)));
        let routines: Vec<_> = (0..20)
            .map(|_| {
                let cell = cell.clone();
                rt.spawn(move || {
                    *cell.0.get_or_init(|| {
                        time::sleep(SHORT);
                        cell.1.fetch_add(1, SeqCst)
                    })
                })
            })
            .collect();
        for routine in routines {
            assert_eq!(routine.join().unwrap(), 0);
        }
        assert_eq!(cell.1.load(SeqCst), 1);
    }
}

/// A cancel of the one that runs lets another one run; a panic poisons a `Once` and leaves a cell empty.
#[test]
fn a_cancelled_initialisation_is_run_by_another() {
    let watchdog = Watchdog::new("a_cancelled_initialisation_is_run_by_another");
    let rt = runtime(2);
    watchdog.watch("once", &rt.handle());
    let once = Arc::new((Once::new(), AtomicBool::new(true), Gate::new()));
    let start = || {
        let once = once.clone();
        rt.spawn(move || {
            once.0.call_once(|| {
                if once.1.swap(false, SeqCst) {
                    once.2.open();
                    time::sleep(LONG);
                }
            });
        })
    };
    let runs = start();
    once.2.spin();
    let waits: Vec<_> = (0..20).map(|_| start()).collect();
    until_blocked(&rt.handle(), WaitReason::Once, 20);
    runs.cancel(LONG);
    assert!(matches!(runs.join(), Err(JoinError::Cancelled)));
    waits.into_iter().for_each(|one| one.join().unwrap());
    assert!(once.0.is_completed());

    let poisoned = Arc::new(Once::new());
    let shared = poisoned.clone();
    let panics = rt.spawn(move || shared.call_once(|| std::panic::panic_any("on purpose")));
    assert!(panics.join().is_err());
    let shared = poisoned.clone();
    let message = rt
        .spawn(move || shared.call_once(|| ()))
        .join()
        .unwrap_err()
        .message();
    assert!(message.contains("has panicked before"), "{message}");
    poisoned.call_once_force(|stage| assert!(stage.is_poisoned()));
    poisoned.call_once(|| unreachable!("it is completed"));

    let cell = OnceCell::new();
    let panics = AssertUnwindSafe(|| *cell.get_or_init(|| std::panic::panic_any("no")));
    assert!(catch_unwind(panics).is_err());
    assert_eq!(*cell.get_or_init(|| 3), 3);
}

/// Who comes back to the initialisation that it runs is told so.
#[test]
fn an_initialisation_that_comes_back_panics() {
    let watchdog = Watchdog::new("an_initialisation_that_comes_back_panics");
    let rt = runtime(1);
    watchdog.watch("once", &rt.handle());
    let message = rt
        .spawn(|| {
            static LOOP: Lazy<u32> = Lazy::new(|| *LOOP);
            *LOOP
        })
        .join()
        .unwrap_err()
        .message();
    assert!(message.contains("came back to itself"), "{message}");
}

/// In a destructor that a panic called, a wait that could last for ever is refused.
#[test]
fn a_panicking_routine_is_refused() {
    let watchdog = Watchdog::new("a_panicking_routine_is_refused");
    let rt = runtime(1);
    watchdog.watch("refused", &rt.handle());
    let said = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = said.clone();
    let routine = rt.spawn(move || {
        let none = Semaphore::new(0);
        let (lock, never) = (Mutex::new(()), Condvar::new());
        let latch = Latch::new(1);
        let _late = OnDrop(|| {
            let acquired = none.acquire().map(drop) == Err(AcquireError::Refused);
            let waited = matches!(never.wait(lock.lock().unwrap()), Err(LockError::Refused));
            let free = lock.try_lock().is_ok();
            let late = latch.wait_timeout(SHORT) == Err(WaitTimeoutError::Timeout);
            let panics = catch_unwind(AssertUnwindSafe(|| latch.wait())).is_err();
            noted
                .lock()
                .unwrap()
                .extend([acquired, waited, free, late, panics]);
        });
        std::panic::panic_any("on purpose");
    });
    assert!(matches!(routine.join(), Err(JoinError::Panicked(_))));
    assert_eq!(*said.lock().unwrap(), [true; 5]);
}

/// A call with a deadline says that its routine was asked to end.
#[test]
fn calls_with_a_deadline_report_a_cancel() {
    let watchdog = Watchdog::new("calls_with_a_deadline_report_a_cancel");
    let rt = runtime(2);
    watchdog.watch("cancel", &rt.handle());
    type Call = fn() -> bool;
    let calls: [(WaitReason, Call); 6] = [
        (WaitReason::Semaphore, || {
            let none = Semaphore::new(0);
            let told = none.acquire_timeout(LONG).map(drop);
            told == Err(AcquireTimeoutError::Cancelled) && none.available() == 0
        }),
        (WaitReason::Semaphore, || {
            Semaphore::new(0).acquire().map(drop) == Err(AcquireError::Cancelled)
        }),
        (WaitReason::Barrier, || {
            Latch::new(1).wait_timeout(LONG) == Err(WaitTimeoutError::Cancelled)
        }),
        (WaitReason::Barrier, || {
            Barrier::new(2).wait_timeout(LONG) == Err(WaitTimeoutError::Cancelled)
        }),
        (WaitReason::Condition, || {
            Notify::new().wait_timeout(LONG) == Err(WaitTimeoutError::Cancelled)
        }),
        (WaitReason::Condition, || {
            let lock = Mutex::new(());
            let told = Condvar::new().wait_timeout(lock.lock().unwrap(), LONG);
            matches!(told, Err(CondvarTimeoutError::Cancelled)) && lock.try_lock().is_ok()
        }),
    ];
    for (reason, call) in calls {
        let routine = rt.spawn(call);
        until_blocked(&rt.handle(), reason, 1);
        routine.cancel(LONG);
        assert!(routine.join().unwrap(), "{reason:?}");
    }
}

/// Spawned inside, so that the type of a permit that changes routines is checked.
#[test]
fn permits_change_routines() {
    let rt = runtime(2);
    rt.block_on(|| {
        let semaphore = Semaphore::new(1);
        scope(|s| {
            let permit = semaphore.acquire().unwrap();
            s.spawn(move || drop(permit));
            semaphore.acquire().unwrap().forget();
        });
        assert_eq!(semaphore.available(), 0);
        let owned = Arc::new(semaphore);
        owned.add_permits(1);
        let permit = owned.try_acquire_owned(1).unwrap();
        spawn(move || drop(permit)).join().unwrap();
        assert_eq!(owned.available(), 1);
    });
}
