//! Locks: one writer or many readers at a time, nobody starves, nobody is forgotten, and a cancel leaves
//! no poison.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use openwork::snapshot::{RoutineState, WaitReason};
use openwork::sync::{
    LockError, LockTimeoutError, Mutex, OnceCell, Owner, RwLock, RwLockWriteGuard, TryLockError,
};
use openwork::{Handle, JoinError, current, scope, spawn, spawn_future, time, yield_now};
use support::{Gate, Random, Watchdog, poll_once, run_here, runtime, until};

const LONG: Duration = Duration::from_secs(1000);

/// How many routines wait for locks.
fn locked_out(handle: &Handle) -> u64 {
    let mut waiting = 0;
    handle.routines(&mut |view| {
        waiting += u64::from(view.state == RoutineState::Blocked(WaitReason::Lock));
    });
    waiting
}

/// Waits until so many routines wait for locks.
fn until_locked_out(handle: &Handle, count: u64) {
    until("routines wait for locks", || locked_out(handle) == count);
}

/// A value that says when two use it at once.
#[derive(Default)]
struct Watched {
    readers: AtomicU64,
    writers: AtomicU64,
}

impl Watched {
    fn write(&self, pause: impl FnOnce()) {
        assert_eq!(self.writers.fetch_add(1, SeqCst), 0);
        assert_eq!(self.readers.load(SeqCst), 0);
        pause();
        assert_eq!(self.writers.fetch_sub(1, SeqCst), 1);
    }

    fn read(&self, pause: impl FnOnce()) {
        self.readers.fetch_add(1, SeqCst);
        assert_eq!(self.writers.load(SeqCst), 0);
        pause();
        self.readers.fetch_sub(1, SeqCst);
    }
}

/// Routines, futures and threads add, with pauses inside and outside the lock; some give up.
#[test]
fn no_addition_is_lost() {
    let watchdog = Watchdog::new("no_addition_is_lost");
    let mut random = Random::new("no_addition_is_lost");
    for workers in [1, 2, 4] {
        let rt = runtime(workers);
        watchdog.watch(&format!("{workers} workers"), &rt.handle());
        let lock = Arc::new(Mutex::new(0u64));
        let added = Arc::new(AtomicU64::new(0));
        let mut routines = Vec::new();
        for _ in 0..6 {
            let (lock, added) = (lock.clone(), added.clone());
            let mut random = Random::from(random.next());
            routines.push(rt.spawn(move || {
                for _ in 0..300 {
                    let guard = match random.below(3) {
                        0 => Some(lock.lock().unwrap()),
                        1 => lock.try_lock().ok(),
                        _ => lock
                            .lock_timeout(Duration::from_micros(random.below(200)))
                            .ok(),
                    };
                    if let Some(mut guard) = guard {
                        let before = *guard;
                        if random.below(4) == 0 {
                            yield_now();
                        }
                        *guard = before + 1;
                        added.fetch_add(1, Relaxed);
                    }
                    if random.below(8) == 0 {
                        yield_now();
                    }
                }
            }));
        }
        for _ in 0..3 {
            let (lock, added) = (lock.clone(), added.clone());
            let mut random = Random::from(random.next());
            routines.push(rt.spawn_future(async move {
                for _ in 0..300 {
                    if random.below(3) == 0 {
                        // Polled once, and dropped: in the queue, or with the lock.
                        let mut given_up = Box::pin(lock.lock_async());
                        drop(poll_once(&mut given_up));
                        continue;
                    }
                    let mut guard = lock.lock_async().await.unwrap();
                    let before = *guard;
                    if random.below(4) == 0 {
                        time::after(Duration::ZERO).await;
                    }
                    *guard = before + 1;
                    added.fetch_add(1, Relaxed);
                }
            }));
        }
        let threads = [(); 2].map(|()| {
            let (lock, added) = (lock.clone(), added.clone());
            thread::spawn(move || {
                for _ in 0..300 {
                    let mut guard = lock.lock().unwrap();
                    let before = *guard;
                    *guard = before + 1;
                    added.fetch_add(1, Relaxed);
                }
            })
        });
        for routine in routines {
            routine.join().unwrap();
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(*lock.lock().unwrap(), added.load(Relaxed));
        assert_eq!((lock.owner(), lock.waiters()), (None, vec![]));
    }
}

/// The same of readers and writers, with downgrades.
#[test]
fn writers_are_alone() {
    let watchdog = Watchdog::new("writers_are_alone");
    let mut random = Random::new("writers_are_alone");
    for workers in [1, 2, 4] {
        let rt = runtime(workers);
        watchdog.watch(&format!("{workers} workers"), &rt.handle());
        let lock = Arc::new(RwLock::new(Watched::default()));
        let routines: Vec<_> = (0..10)
            .map(|index| {
                let lock = lock.clone();
                let mut random = Random::from(random.next());
                let mut work = move |wait: fn()| {
                    for _ in 0..200 {
                        let pause = || {
                            if random.below(3) == 0 {
                                wait();
                            }
                        };
                        match index % 5 {
                            0 => {
                                let guard = lock.write().unwrap();
                                guard.write(pause);
                                let guard = RwLockWriteGuard::downgrade(guard);
                                guard.read(wait);
                            }
                            1 => {
                                if let Ok(guard) = lock.write_timeout(Duration::from_micros(50)) {
                                    guard.write(pause);
                                }
                            }
                            2 => {
                                if let Ok(guard) = lock.read_timeout(Duration::from_micros(50)) {
                                    guard.read(pause);
                                }
                            }
                            _ => lock.read().unwrap().read(pause),
                        }
                    }
                };
                if index == 9 {
                    rt.spawn(|| thread::spawn(move || work(thread::yield_now)))
                        .join()
                        .unwrap()
                        .join()
                        .unwrap();
                    rt.spawn(|| {})
                } else {
                    rt.spawn(move || work(yield_now))
                }
            })
            .collect();
        for routine in routines {
            routine.join().unwrap();
        }
        assert_eq!(
            (lock.readers(), lock.owner(), lock.waiters()),
            (0, None, vec![])
        );
    }
}

/// Two who take the lock again as soon as they have given it back, and pause while they hold it: a third
/// gets it all the same.
#[test]
fn a_waiter_does_not_starve() {
    let watchdog = Watchdog::new("a_waiter_does_not_starve");
    for workers in [1, 2] {
        let rt = runtime(workers);
        watchdog.watch(&format!("{workers} workers"), &rt.handle());
        rt.block_on(|| {
            let lock = Mutex::new(());
            let got = AtomicBool::new(false);
            scope(|s| {
                for _ in 0..2 {
                    s.spawn(|| {
                        while !got.load(SeqCst) {
                            let _guard = lock.lock().unwrap();
                            yield_now();
                        }
                    });
                }
                s.spawn(|| {
                    for _ in 0..20 {
                        drop(lock.lock().unwrap());
                        yield_now();
                    }
                    got.store(true, SeqCst);
                });
            });
        });
    }
}

/// Readers who overlap without end do not keep a writer out, nor writers a reader.
#[test]
fn neither_readers_nor_writers_starve() {
    let watchdog = Watchdog::new("neither_readers_nor_writers_starve");
    for workers in [1, 2] {
        for crowd_writes in [false, true] {
            let rt = runtime(workers);
            watchdog.watch(&format!("{workers}, {crowd_writes}"), &rt.handle());
            rt.block_on(|| {
                let lock = RwLock::new(());
                let got = AtomicBool::new(false);
                scope(|s| {
                    for _ in 0..3 {
                        s.spawn(|| {
                            while !got.load(SeqCst) {
                                if crowd_writes {
                                    let _guard = lock.write().unwrap();
                                    yield_now();
                                } else {
                                    let _guard = lock.read().unwrap();
                                    yield_now();
                                }
                            }
                        });
                    }
                    s.spawn(|| {
                        for _ in 0..10 {
                            if crowd_writes {
                                drop(lock.read().unwrap());
                            } else {
                                drop(lock.write().unwrap());
                            }
                            yield_now();
                        }
                        got.store(true, SeqCst);
                    });
                });
            });
        }
    }
}

/// Who has waited for long is served in the order of arrival.
#[test]
fn the_order_is_that_of_arrival() {
    let watchdog = Watchdog::new("the_order_is_that_of_arrival");
    let rt = runtime(1);
    watchdog.watch("order", &rt.handle());
    let lock = Arc::new(Mutex::new(Vec::new()));
    let guard = lock.lock().unwrap();
    let mut waiters = Vec::new();
    for i in 0..5 {
        let shared = lock.clone();
        waiters.push(rt.spawn(move || shared.lock().unwrap().push(i)));
        until_locked_out(&rt.handle(), i + 1);
    }
    let ids: Vec<_> = waiters.iter().map(|w| Owner::Routine(w.id())).collect();
    // One counts as blocked a moment before it stands in the queue.
    until("all stand in the queue", || lock.waiters().len() == 5);
    assert_eq!(lock.waiters(), ids);
    thread::sleep(Duration::from_millis(2));
    drop(guard);
    waiters.into_iter().for_each(|w| w.join().unwrap());
    assert_eq!(*lock.lock().unwrap(), [0, 1, 2, 3, 4]);
}

/// A reader that comes after a waiting writer waits for it.
#[test]
fn writers_come_first() {
    let watchdog = Watchdog::new("writers_come_first");
    let rt = runtime(2);
    watchdog.watch("writers", &rt.handle());
    let lock = Arc::new(RwLock::new(0));
    let reader = lock.read().unwrap();
    let shared = lock.clone();
    let writer = rt.spawn(move || *shared.write().unwrap() = 1);
    until("a reader would wait for the writer", || {
        matches!(lock.try_read(), Err(TryLockError::WouldBlock))
    });
    until_locked_out(&rt.handle(), 1);
    let shared = lock.clone();
    let second = rt.spawn(move || *shared.read().unwrap());
    until_locked_out(&rt.handle(), 2);
    drop(reader);
    assert_eq!(second.join().unwrap(), 1);
    writer.join().unwrap();
}

/// When the writer gives up, the readers behind it join the one who reads.
#[test]
fn readers_go_on_when_a_writer_gives_up() {
    let watchdog = Watchdog::new("readers_go_on_when_a_writer_gives_up");
    for abort in [false, true] {
        let rt = runtime(2);
        watchdog.watch("giving up", &rt.handle());
        let lock = Arc::new(RwLock::new(0));
        let reading = lock.read().unwrap();
        let shared = lock.clone();
        let writer = rt.spawn(move || {
            let limit = Duration::from_millis(if abort { 1_000_000 } else { 200 });
            shared.write_timeout(limit).map(drop).map_err(drop)
        });
        let shared = lock.clone();
        // On a slow machine it may have given up before anybody looks.
        until("the writer waits, or has", || {
            locked_out(&rt.handle()) == 1 || writer.is_finished()
        });
        let reader = rt.spawn(move || *shared.read().unwrap());
        if abort {
            until_locked_out(&rt.handle(), 2);
            writer.abort();
        }
        assert_eq!(reader.join().unwrap(), 0, "while the first one still reads");
        assert!(!matches!(writer.join(), Ok(Ok(()))));
        drop(reading);
    }
}

/// A cancel unwinds `lock`, and a holder that is cancelled gives the lock back clean.
#[test]
fn a_cancel_unwinds_and_does_not_poison() {
    let watchdog = Watchdog::new("a_cancel_unwinds_and_does_not_poison");
    for workers in [1, 2] {
        let rt = runtime(workers);
        watchdog.watch("cancel", &rt.handle());
        let lock = Arc::new(Mutex::new(0));
        let held = Gate::new();
        let (shared, gate) = (lock.clone(), held.clone());
        let holder = rt.spawn(move || {
            let _guard = shared.lock().unwrap();
            gate.open();
            time::sleep(LONG);
        });
        held.spin();
        assert_eq!(lock.owner(), Some(Owner::Routine(holder.id())));
        let shared = lock.clone();
        let waiter = rt.spawn(move || drop(shared.lock()));
        until_locked_out(&rt.handle(), 1);
        waiter.abort();
        assert!(matches!(waiter.join(), Err(JoinError::Cancelled)));
        assert_eq!(lock.waiters(), []);
        let shared = lock.clone();
        let next = rt.spawn(move || *shared.lock().unwrap() += 1);
        until_locked_out(&rt.handle(), 1);
        holder.cancel(LONG);
        next.join().unwrap();
        assert!(matches!(holder.join(), Err(JoinError::Cancelled)));
        assert!(!lock.is_poisoned());
        assert_eq!(*lock.lock().unwrap(), 1);
    }
}

/// Caught and over, a cancel does not hide a later panic.
#[test]
fn a_panic_after_a_caught_cancel_poisons() {
    let watchdog = Watchdog::new("a_panic_after_a_caught_cancel_poisons");
    let rt = runtime(1);
    watchdog.watch("poison", &rt.handle());
    let lock = Arc::new(Mutex::new(0));
    let shared = lock.clone();
    let routine = rt.spawn(move || {
        let caught = catch_unwind(|| time::sleep(LONG));
        assert!(caught.is_err());
        drop(caught);
        let _guard = shared.lock().unwrap();
        std::panic::panic_any("on purpose");
    });
    until("it sleeps", || rt.snapshot().routines.blocked == 1);
    routine.cancel(LONG);
    assert!(matches!(routine.join(), Err(JoinError::Panicked(_))));
    assert!(lock.is_poisoned());
    assert!(matches!(lock.try_lock(), Err(TryLockError::Poisoned(_))));
    assert!(matches!(lock.lock(), Err(LockError::Poisoned(_))));
    assert!(matches!(
        lock.lock_timeout(LONG),
        Err(LockTimeoutError::Poisoned(_))
    ));
    lock.clear_poison();
    assert!(lock.lock().is_ok());
}

/// Readers do not poison, writers do, as in the standard library.
#[test]
fn a_reader_does_not_poison() {
    let watchdog = Watchdog::new("a_reader_does_not_poison");
    let rt = runtime(1);
    watchdog.watch("poison", &rt.handle());
    let lock = Arc::new(RwLock::new(0));
    for write in [false, true] {
        let shared = lock.clone();
        let routine = rt.spawn(move || {
            let _read = (!write).then(|| shared.read().unwrap());
            let _write = write.then(|| shared.write().unwrap());
            std::panic::panic_any("on purpose");
        });
        assert!(routine.join().is_err());
        assert_eq!(lock.is_poisoned(), write);
    }
}

/// A call with a deadline says that the routine was asked to end, once; then calls unwind.
#[test]
fn a_call_with_a_deadline_reports_a_cancel() {
    let watchdog = Watchdog::new("a_call_with_a_deadline_reports_a_cancel");
    let rt = runtime(2);
    watchdog.watch("cancel", &rt.handle());
    let lock = Arc::new(Mutex::new(0));
    let guard = lock.lock().unwrap();
    let shared = lock.clone();
    let told = Arc::new(AtomicBool::new(false));
    let seen = told.clone();
    let waiter = rt.spawn(move || {
        let first = shared.lock_timeout(LONG);
        seen.store(matches!(first, Err(LockTimeoutError::Cancelled)), SeqCst);
        drop(first);
        let _ = shared.lock_deadline(Instant::now() + LONG);
    });
    until_locked_out(&rt.handle(), 1);
    waiter.cancel(LONG);
    assert!(matches!(waiter.join(), Err(JoinError::Cancelled)));
    assert!(told.load(SeqCst));
    drop(guard);
}

/// The lock of the caller itself is refused with a panic, not waited for.
#[test]
fn a_second_lock_by_its_owner_panics() {
    let watchdog = Watchdog::new("a_second_lock_by_its_owner_panics");
    let rt = runtime(1);
    watchdog.watch("twice", &rt.handle());
    let twice = rt.spawn(|| {
        let lock = Mutex::new(());
        let _guard = lock.lock().unwrap();
        assert_eq!(
            lock.owner(),
            Some(Owner::Routine(current().unwrap().routine))
        );
        drop(lock.lock());
    });
    let message = twice.join().unwrap_err().message();
    assert!(message.contains("would wait for ever"), "{message}");
    let lock = Mutex::new(());
    let guard = lock.lock().unwrap();
    assert!(matches!(lock.owner(), Some(Owner::Thread(_))));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(lock.lock()))).is_err());
    drop(guard);
    assert!(!lock.is_poisoned());
}

/// Two runtimes number their routines alike; one lock tells them apart.
#[test]
fn routines_of_two_runtimes_are_not_taken_for_one() {
    let watchdog = Watchdog::new("routines_of_two_runtimes_are_not_taken_for_one");
    let (one, other) = (runtime(1), runtime(1));
    watchdog.watch("two runtimes", &other.handle());
    let lock = Arc::new(Mutex::new(0));
    let (held, release) = (Gate::new(), Gate::new());
    let (shared, gates) = (lock.clone(), (held.clone(), release.clone()));
    let holder = one.spawn(move || {
        let _guard = shared.lock().unwrap();
        gates.0.open();
        gates.1.wait();
    });
    held.spin();
    let shared = lock.clone();
    let waiter = other.spawn(move || *shared.lock().unwrap() += 1);
    assert_eq!(holder.id(), waiter.id());
    until_locked_out(&other.handle(), 1);
    release.open();
    waiter.join().unwrap();
    holder.join().unwrap();
}

/// A destructor that locks while its routine panics is refused what only its thread could give back, and
/// gets what others do.
#[test]
fn a_panicking_routine_is_refused_what_its_thread_holds() {
    struct LockInDrop(Arc<Mutex<u32>>, Arc<Mutex<Vec<bool>>>);
    impl Drop for LockInDrop {
        fn drop(&mut self) {
            let refused = matches!(self.0.lock(), Err(LockError::Refused));
            self.1
                .lock()
                .unwrap_or_else(|e| e.into_inner())
                .push(refused);
        }
    }

    let watchdog = Watchdog::new("a_panicking_routine_is_refused_what_its_thread_holds");
    let rt = runtime(1);
    watchdog.watch("refused", &rt.handle());
    let said = Arc::new(Mutex::new(Vec::new()));
    let lock = Arc::new(Mutex::new(0));
    let (shared, noted) = (lock.clone(), said.clone());
    rt.block_on(move || {
        let holder = {
            let lock = shared.clone();
            spawn(move || {
                let _guard = lock.lock().unwrap();
                time::sleep(LONG);
            })
        };
        while shared.owner() != Some(Owner::Routine(holder.id())) {
            yield_now();
        }
        let panicking = spawn(move || {
            let _late = LockInDrop(shared, noted);
            std::panic::panic_any("on purpose");
        });
        assert!(matches!(panicking.join(), Err(JoinError::Panicked(_))));
        holder.abort();
    });
    // A thread holds it, and lets go while the routine waits.
    let guard = lock.lock().unwrap();
    let (shared, noted) = (lock.clone(), said.clone());
    let panicking = rt.spawn(move || {
        let _late = LockInDrop(shared, noted);
        std::panic::panic_any("on purpose");
    });
    until("it waits", || lock.waiters().len() == 1);
    drop(guard);
    assert!(panicking.join().is_err());
    assert_eq!(*said.lock().unwrap(), [true, false]);
}

/// The list of routines says at what each waits, and the walk over waits who holds it.
#[test]
fn waits_are_to_be_seen() {
    let watchdog = Watchdog::new("waits_are_to_be_seen");
    let rt = runtime(2);
    watchdog.watch("waits", &rt.handle());
    let locks = Arc::new((Mutex::new(0), RwLock::new(0), OnceCell::new()));
    let (begun, gate) = (Gate::new(), Gate::new());
    let (shared, signs) = (locks.clone(), (begun.clone(), gate.clone()));
    let holder = rt.spawn(move || {
        let _one = shared.0.lock().unwrap();
        let _two = shared.1.write().unwrap();
        shared.2.get_or_init(|| {
            signs.0.open();
            signs.1.wait();
        });
    });
    begun.spin();
    type Locks = (Mutex<i32>, RwLock<i32>, OnceCell<()>);
    let start = |wait: fn(&Locks)| {
        let shared = locks.clone();
        rt.spawn(move || wait(&shared))
    };
    let waiters = [
        start(|locks| drop(locks.0.lock())),
        start(|locks| drop(locks.1.read())),
        start(|locks| drop(locks.1.write())),
        start(|locks| *locks.2.get_or_init(|| ())),
        rt.spawn(|| time::sleep(LONG)),
    ];
    let owner = Some(Owner::Routine(holder.id()));
    let mut seen = Vec::new();
    until("four wait", || {
        seen.clear();
        rt.handle().waits(&mut |wait| seen.push(*wait));
        // Whom they wait for waits too, but at nothing that is named.
        seen.len() == 4
    });
    for wait in &seen {
        let view = rt.handle().routine(wait.routine).unwrap();
        assert_eq!(view.waits_at, Some(wait.object));
        assert_eq!(view.state, RoutineState::Blocked(wait.reason));
        assert_eq!(wait.owner, owner);
        let number = waiters.iter().position(|w| w.id() == wait.routine).unwrap();
        let expected = [
            Some(locks.0.id()),
            Some(locks.1.id()),
            Some(locks.1.id()),
            None,
        ];
        assert!(expected[number].is_none_or(|id| id == wait.object));
    }
    assert_eq!(locks.0.waiters(), [Owner::Routine(waiters[0].id())]);
    let sleeper = rt.handle().routine(waiters[4].id()).unwrap();
    assert_eq!(sleeper.waits_at, None);
    waiters[4].abort();
    gate.open();
    holder.join().unwrap();
    for waiter in waiters {
        let _ = waiter.join();
    }
    rt.handle()
        .waits(&mut |wait| panic!("nobody waits: {wait:?}"));
}

/// While routines lock and are woken, the walk over waits disturbs nobody and names only those who could
/// hold the lock.
#[test]
fn a_walk_over_waits_disturbs_nobody() {
    let watchdog = Watchdog::new("a_walk_over_waits_disturbs_nobody");
    let rt = runtime(2);
    watchdog.watch("walk", &rt.handle());
    let lock = Arc::new(Mutex::new(0u64));
    let routines: Vec<_> = (0..8)
        .map(|_| {
            let lock = lock.clone();
            rt.spawn(move || {
                for _ in 0..2000 {
                    let mut guard = lock.lock().unwrap();
                    yield_now();
                    *guard += 1;
                }
            })
        })
        .collect();
    let ids: Vec<_> = routines.iter().map(|r| Owner::Routine(r.id())).collect();
    while routines.iter().any(|routine| !routine.is_finished()) {
        rt.handle().waits(&mut |wait| {
            assert_eq!((wait.object, wait.reason), (lock.id(), WaitReason::Lock));
            assert!(wait.owner.is_none_or(|owner| ids.contains(&owner)));
        });
    }
    routines.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(*lock.lock().unwrap(), 16_000);
}

/// A future that was handed the lock, or woken to try for it, and is dropped, passes it on.
#[test]
fn a_dropped_future_passes_the_lock_on() {
    for pause in [Duration::ZERO, Duration::from_millis(2)] {
        let lock = Mutex::new(0);
        let guard = lock.lock().unwrap();
        let mut first = Box::pin(lock.lock_async());
        let mut second = Box::pin(lock.lock_async());
        assert!(poll_once(&mut first).is_pending());
        assert!(poll_once(&mut second).is_pending());
        assert_eq!(lock.waiters(), [Owner::Task, Owner::Task]);
        thread::sleep(pause);
        drop(guard);
        drop(first);
        let Poll::Ready(Ok(guard)) = poll_once(&mut second) else {
            panic!("it is the next, after {pause:?}");
        };
        drop(guard);
        assert!(lock.try_lock().is_ok());
    }
    let lock = RwLock::new(0);
    let reading = lock.read().unwrap();
    let mut writer = Box::pin(lock.write_async());
    let mut reader = Box::pin(lock.read_async());
    assert!(poll_once(&mut writer).is_pending());
    assert!(poll_once(&mut reader).is_pending());
    drop(writer);
    assert!(poll_once(&mut reader).is_ready());
    drop(reading);
    run_here(async { drop(lock.write_async().await.unwrap()) });
}

/// A guard of async code moves with its future; others wait meanwhile.
#[test]
fn an_async_guard_lives_across_an_await() {
    let watchdog = Watchdog::new("an_async_guard_lives_across_an_await");
    let rt = runtime(2);
    watchdog.watch("async", &rt.handle());
    let lock = Arc::new(Mutex::new(0));
    let total = rt.block_on(|| {
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let lock = lock.clone();
                spawn_future(async move {
                    for _ in 0..20 {
                        let mut guard = lock.lock_async().await.unwrap();
                        let before = *guard;
                        time::after(Duration::from_micros(10)).await;
                        *guard = before + 1;
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        *lock.lock().unwrap()
    });
    assert_eq!(total, 200);
}
