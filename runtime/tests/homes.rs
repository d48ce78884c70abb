//! Travelling homes: what started routines have to themselves, that they move, and that nothing is lost
//! where there are too few. Where the system has no such homes, each test says so and passes.

mod support;

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openwork::snapshot::TravellingFigures;
use openwork::{
    BuildError, DEFAULT_HOMES, JoinError, Runtime, channel, current, current_worker, hold_thread,
    spawn, time, yield_now,
};
use support::{this_binary, travelling, until};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);

fn figures(rt: &Runtime) -> TravellingFigures {
    rt.snapshot().homes.travelling.unwrap()
}

scoped_tls::scoped_thread_local!(static SCOPED: String);

/// Version 1 ends here in a segmentation fault, without any `unsafe` in this program.
#[test]
fn scopes_of_a_thread_local_interleave() {
    let Some((_watchdog, rt)) = travelling("interleave", 1, 16) else {
        return;
    };
    rt.block_on(|| {
        let routines = [1u64, 2].map(|number| {
            spawn(move || {
                let value = format!("{number}-{}", "x".repeat(40));
                SCOPED.set(&value, || {
                    // The first to come is the first to go.
                    time::sleep(SHORT * 5 * number as u32);
                    SCOPED.with(|seen| assert_eq!(seen, &value));
                });
                assert!(!SCOPED.is_set());
            })
        });
        routines
            .into_iter()
            .for_each(|routine| routine.join().unwrap());
        spawn(|| assert!(!SCOPED.is_set())).join().unwrap();
    });
}

/// Version 1 cannot end if both routines are bound to one thread: the second blocks it, and the first, which
/// has the lock, can run nowhere else.
#[test]
fn a_lock_of_the_standard_library_held_over_a_wait_is_given_back() {
    let Some((_watchdog, rt)) = travelling("std_lock", 2, 16) else {
        return;
    };
    for _ in 0..50 {
        let lock = Arc::new(Mutex::new(0));
        rt.block_on(|| {
            let (locked, is_locked) = channel::bounded(1);
            let first = spawn({
                let lock = lock.clone();
                move || {
                    let mut sum = lock.lock().unwrap();
                    locked.send(()).unwrap();
                    for _ in 0..20 {
                        yield_now();
                    }
                    *sum += 1;
                }
            });
            is_locked.recv().unwrap();
            let lock = lock.clone();
            let second = spawn(move || *lock.lock().unwrap() += 1);
            first.join().unwrap();
            second.join().unwrap();
        });
        assert_eq!(*lock.lock().unwrap(), 2);
    }
}

/// Routines that have begun on a worker which is then taken by a loop without end go on elsewhere.
#[test]
fn nobody_is_kept_by_a_routine_that_does_not_give_way() {
    const ROUTINES: usize = 32;
    let Some((_watchdog, rt)) = travelling("hog", 2, 64) else {
        return;
    };
    rt.block_on(|| {
        let done = Arc::new(AtomicU32::new(0));
        let (begun, has_begun) = channel::bounded(ROUTINES);
        let (go, wait) = channel::bounded::<()>(ROUTINES);
        let routines: Vec<_> = (0..ROUTINES)
            .map(|_| {
                let (begun, wait, done) = (begun.clone(), wait.clone(), done.clone());
                spawn(move || {
                    begun.send(()).unwrap();
                    wait.recv().unwrap();
                    done.fetch_add(1, SeqCst);
                })
            })
            .collect();
        for _ in 0..ROUTINES {
            has_begun.recv().unwrap();
        }
        // They are bound to their homes. Now one worker runs a loop until they have all ended.
        let hog = spawn({
            let done = done.clone();
            move || {
                while done.load(SeqCst) < ROUTINES as u32 {
                    std::hint::spin_loop();
                }
            }
        });
        (0..ROUTINES).for_each(|_| go.send(()).unwrap());
        hog.join().unwrap();
        routines
            .into_iter()
            .for_each(|routine| routine.join().unwrap());
    });
}

/// The headline: ten thousand at once, over 1,024 homes.
#[test]
fn ten_thousand_routines_live_in_1024_homes() {
    const ROUTINES: u64 = 10_000;
    let Some((_watchdog, rt)) = travelling("many", 2, DEFAULT_HOMES) else {
        return;
    };
    let sum = Arc::new(AtomicU64::new(0));
    let before = rt.snapshot().routines;
    let (go, wait) = channel::bounded::<u64>(ROUTINES as usize);
    let handles: Vec<_> = (0..ROUTINES)
        .map(|_| {
            let (wait, sum) = (wait.clone(), sum.clone());
            rt.spawn(move || {
                yield_now();
                let number = wait.recv().unwrap();
                yield_now();
                sum.fetch_add(number, SeqCst);
            })
        })
        .collect();
    until("all wait", || rt.snapshot().routines.blocked >= ROUTINES);
    let now = figures(&rt);
    assert!(
        now.homes <= now.limit && now.limit <= DEFAULT_HOMES as u64,
        "{now:?}"
    );
    // All but those that have one to themselves, of which there are fewer than homes.
    assert!(now.sharing >= ROUTINES - now.homes, "{now:?}");
    (0..ROUTINES).for_each(|number| go.send(number).unwrap());
    handles
        .into_iter()
        .for_each(|handle| handle.join().unwrap());
    assert_eq!(sum.load(SeqCst), ROUTINES * (ROUTINES - 1) / 2);
    let after = rt.snapshot().routines;
    assert_eq!(after.spawned - before.spawned, ROUTINES);
    // The last ones may not have left their homes yet.
    until("nobody shares a home", || figures(&rt).sharing == 0);
}

/// As many homes as workers: everybody shares, and all that is waited for comes.
#[test]
fn two_homes_are_enough_for_everybody() {
    let Some((_watchdog, rt)) = travelling("two_homes", 2, 2) else {
        return;
    };
    rt.block_on(|| {
        let lock = Arc::new(openwork::sync::Mutex::new(0u64));
        let routines: Vec<_> = (0..100u64)
            .map(|number| {
                let lock = lock.clone();
                spawn(move || {
                    for round in 0..50 {
                        *lock.lock().unwrap() += 1;
                        if (number + round).is_multiple_of(7) {
                            time::sleep(Duration::from_micros(50));
                        } else {
                            yield_now();
                        }
                    }
                })
            })
            .collect();
        routines
            .into_iter()
            .for_each(|routine| routine.join().unwrap());
        assert_eq!(*lock.lock().unwrap(), 5000);
    });
    let figures = figures(&rt);
    assert!(figures.homes <= 2 && figures.sharing <= 2, "{figures:?}");
    assert!(figures.shared > 0);
}

thread_local! {
    static MINE: Cell<u64> = const { Cell::new(0) };
    static COUNTED: RefCell<Option<Counted>> = const { RefCell::new(None) };
}

/// A cancel unwinds under the routine's own home, wherever it runs.
#[test]
fn destructors_of_a_cancelled_routine_see_its_thread_locals() {
    struct Checks(u64, Arc<AtomicU32>);
    impl Drop for Checks {
        fn drop(&mut self) {
            self.1.fetch_add(u32::from(MINE.get() == self.0), SeqCst);
        }
    }
    let Some((_watchdog, rt)) = travelling("cancel", 2, 64) else {
        return;
    };
    let right = Arc::new(AtomicU32::new(0));
    rt.block_on(|| {
        let (begun, has_begun) = channel::bounded(40);
        let routines: Vec<_> = (1..=40)
            .map(|number| {
                let (right, begun) = (right.clone(), begun.clone());
                spawn(move || {
                    MINE.set(number);
                    let _checks = Checks(number, right);
                    begun.send(()).unwrap();
                    time::sleep(LONG);
                })
            })
            .collect();
        (0..40).for_each(|_| has_begun.recv().unwrap());
        for routine in routines {
            routine.abort();
            assert!(matches!(routine.join(), Err(JoinError::Cancelled)));
        }
    });
    // One that was cancelled before its first turn has nothing to check.
    let begun = rt.snapshot().homes.travelling.unwrap().made.min(40) as u32;
    assert!(
        right.load(SeqCst) > 0 && right.load(SeqCst) <= 40,
        "{begun} homes"
    );
    rt.shutdown(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_panic_is_caught_under_its_home_and_counted_nowhere_else() {
    support::quiet_panics();
    let Some((_watchdog, rt)) = travelling("panics", 2, 16) else {
        return;
    };
    rt.block_on(|| {
        for round in 0..200 {
            let panics = spawn(move || {
                if round % 2 == 0 {
                    yield_now();
                }
                std::panic::resume_unwind(Box::new(round));
            });
            assert!(matches!(panics.join(), Err(JoinError::Panicked(_))));
            assert!(!std::thread::panicking());
            spawn(|| assert!(!std::thread::panicking())).join().unwrap();
        }
    });
    assert_eq!(figures(&rt).spoilt, 0);
}

struct Counted;
static MADE: AtomicU32 = AtomicU32::new(0);
static DROPPED: AtomicU32 = AtomicU32::new(0);

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, SeqCst);
    }
}

#[test]
fn thread_locals_are_dropped_when_the_runtime_has_ended() {
    let Some((_watchdog, rt)) = travelling("destructors", 2, 64) else {
        return;
    };
    rt.block_on(|| {
        let routines: Vec<_> = (0..40)
            .map(|_| {
                spawn(|| {
                    COUNTED.with_borrow_mut(|counted| {
                        counted.get_or_insert_with(|| {
                            MADE.fetch_add(1, SeqCst);
                            Counted
                        });
                    });
                    time::sleep(SHORT * 5);
                })
            })
            .collect();
        routines
            .into_iter()
            .for_each(|routine| routine.join().unwrap());
    });
    assert!(DROPPED.load(SeqCst) < MADE.load(SeqCst));
    rt.shutdown(Duration::from_secs(10)).unwrap();
    assert_eq!(DROPPED.load(SeqCst), MADE.load(SeqCst));
}

/// What is bound to the kernel's thread is kept by holding it; siblings of a shared home wait meanwhile.
#[test]
fn a_held_thread_is_kept_and_its_home_with_it() {
    for (workers, homes) in [(1, 1), (2, 2), (2, 64)] {
        let Some((_watchdog, rt)) = travelling("hold", workers, homes) else {
            return;
        };
        rt.block_on(|| {
            let stop = Arc::new(AtomicBool::new(false));
            let siblings: Vec<_> = (0..4)
                .map(|_| {
                    let stop = stop.clone();
                    spawn(move || {
                        while !stop.load(SeqCst) {
                            MINE.set(MINE.get() + 1);
                            yield_now();
                        }
                    })
                })
                .collect();
            let holders: Vec<_> = (0..4)
                .map(|_| {
                    spawn(|| {
                        for _ in 0..5 {
                            yield_now();
                            hold_thread(|| {
                                let (thread, seen) = (thread_id(), MINE.get());
                                time::sleep(SHORT);
                                yield_now();
                                assert_eq!((thread_id(), MINE.get()), (thread, seen));
                            });
                        }
                    })
                })
                .collect();
            holders
                .into_iter()
                .for_each(|holder| holder.join().unwrap());
            stop.store(true, SeqCst);
            siblings
                .into_iter()
                .for_each(|sibling| sibling.join().unwrap());
        });
    }
}

fn thread_id() -> i32 {
    // SAFETY: no arguments, no failure.
    unsafe { libc::gettid() }
}

/// Runs this test alone, in a process of its own. `None` in that process.
fn in_child(test: &str) -> Option<std::process::Output> {
    const MARK: &str = "OPENWORK_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let child = this_binary()
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .output();
    Some(child.unwrap())
}

#[test]
fn a_child_of_fork_says_what_is_wrong_and_ends() {
    if let Some(output) = in_child("a_child_of_fork_says_what_is_wrong_and_ends") {
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{output:?}");
        assert!(
            told.contains("skipped") || told.contains("openwork: this process was forked"),
            "{told}"
        );
        return;
    }
    let Some((_watchdog, rt)) = travelling("fork", 1, 16) else {
        return;
    };
    let ended_by = rt.block_on(|| {
        // SAFETY: the child waits for a routine, which ends it.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // Long enough that it has not passed before the routine has stopped, however slow a child begins.
            time::sleep(Duration::from_secs(60));
            // SAFETY: not reached.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: writes to `status`.
        unsafe { libc::waitpid(child, &mut status, 0) };
        libc::WTERMSIG(status)
    });
    assert_eq!(ended_by, libc::SIGABRT);
}

#[test]
fn credentials_are_changed_by_a_routine_whose_home_then_ends() {
    if let Some(output) = in_child("credentials_are_changed_by_a_routine_whose_home_then_ends") {
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let Some((_watchdog, rt)) = travelling("credentials", 2, 16) else {
        return;
    };
    rt.block_on(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let spins = spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(SeqCst) {
                    std::hint::spin_loop();
                }
            }
        });
        let changes = spawn(|| {
            yield_now();
            // SAFETY: no memory is involved; nothing is changed.
            unsafe { libc::setresuid(!0, !0, !0) }
        });
        assert_eq!(changes.join().unwrap(), 0);
        stop.store(true, SeqCst);
        spins.join().unwrap();
    });
    until("their homes have ended", || figures(&rt).spoilt >= 2);
    assert_eq!(rt.block_on(|| spawn(|| 1).join().unwrap()), 1);
}

/// Which version is on is said, with a reason.
#[test]
fn the_version_and_its_reason_are_told() {
    let told = |workers, homes| {
        let rt = Runtime::builder().workers(workers);
        let rt = rt.travelling_homes(homes).build().unwrap();
        let homes = rt.snapshot().homes;
        (
            homes.version.name(),
            homes.reason,
            homes.travelling.map(|figures| figures.limit),
        )
    };
    let (version, reason, limit) = told(1, 0);
    assert_eq!((version, limit), ("threads", None));
    assert_eq!(reason, "travelling homes were not asked for");
    let (version, reason, limit) = told(1, 40);
    match version {
        "travelling" => assert_eq!(limit, Some(40)),
        _ => assert!(!reason.is_empty()),
    }
    if version == "travelling" {
        let (version, reason, _) = told(3, 2);
        assert_eq!(version, "threads");
        assert_eq!(
            reason,
            "travelling_homes leaves room for 2 of them, and 3 are needed at least"
        );
    }
    let refused = Runtime::builder().travelling_homes(70_000).build();
    assert!(matches!(
        refused,
        Err(BuildError::TravellingHomes {
            asked: 70_000,
            max: 65_536
        })
    ));
}

/// A routine can ask who it is wherever it wakes.
#[test]
fn routines_move_and_know_where_they_are() {
    let Some((_watchdog, rt)) = travelling("moves", 2, 64) else {
        return;
    };
    let moves = Arc::new(AtomicU64::new(0));
    rt.block_on(|| {
        let routines: Vec<_> = (0..40)
            .map(|_| {
                let moves = moves.clone();
                spawn(move || {
                    let me = current().unwrap().routine;
                    let thread = std::thread::current().id();
                    let mut last = current_worker();
                    let mut round = 0u32;
                    // Until somebody has moved, which is up to the other worker.
                    while round < 200 || moves.load(SeqCst) == 0 {
                        round += 1;
                        if round.is_multiple_of(10) {
                            time::sleep(Duration::from_micros(20));
                        } else {
                            yield_now();
                        }
                        assert_eq!(current().unwrap().routine, me);
                        assert_eq!(current_worker(), current().map(|now| now.worker));
                        assert_eq!(std::thread::current().id(), thread);
                        let now = current_worker();
                        moves.fetch_add(u64::from(now != last), SeqCst);
                        last = now;
                    }
                })
            })
            .collect();
        routines
            .into_iter()
            .for_each(|routine| routine.join().unwrap());
    });
    let figures = figures(&rt);
    assert!(figures.mounts >= 40, "{figures:?}");
}
