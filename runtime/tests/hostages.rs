//! What is bound to a thread that is stopped or asleep waits for it, and is said to: routines that are ready and
//! cannot run are hostages, and a sleep that only one of them could end is reported.
//!
//! Not in portable builds, where nothing is bound to a thread that others are: `elsewhere.rs` has their answer.
#![cfg(not(portable))]

mod support;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use openwork::config::Preemption;
use openwork::snapshot::{HostageDeadlock, RoutineState, WaitReason};
use openwork::{Builder, RoutineId, Runtime, yield_now};
use support::{Watchdog, until};

fn runtime(preemption: Preemption) -> Runtime {
    Runtime::builder()
        .workers(1)
        // With homes that travel there are no hostages.
        .travelling_homes(0)
        .hand_off(true)
        .preemption(preemption)
        .slice(Duration::from_millis(1))
        .build()
        .unwrap()
}

/// A routine that has started, and yields for ever until it is told to stop: bound to the only worker's thread.
struct Bound {
    stop: Arc<AtomicBool>,
    routine: openwork::JoinHandle<()>,
}

fn bound(rt: &Runtime) -> Bound {
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let (begun_tx, begun_rx) = mpsc::channel();
    let routine = rt.spawn(move || {
        begun_tx.send(()).unwrap();
        while !theirs.load(SeqCst) {
            yield_now();
        }
    });
    begun_rx.recv().unwrap();
    Bound { stop, routine }
}

/// Waits until the routine is seen to wait for its thread, with whom that is busy.
fn busy_with(rt: &Runtime, hostage: RoutineId) -> RoutineId {
    let handle = rt.handle();
    let mut by = None;
    until("it is a hostage", || {
        handle.routines(&mut |view| {
            if view.id == hostage && view.state == RoutineState::Blocked(WaitReason::ThreadBusy) {
                by = view.busy_with;
            }
        });
        by.is_some()
    });
    by.unwrap()
}

/// As long as somebody else needs the worker, the hog's thread stands; what is bound to it waits.
#[cfg(feature = "preemption")]
#[test]
fn of_a_loop() {
    let watchdog = Watchdog::new("of a loop");
    let rt = runtime(Preemption::Forced);
    watchdog.watch("of a loop", &rt.handle());
    let bound = bound(&rt);
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let hog = rt.spawn(move || {
        while !theirs.load(SeqCst) {
            std::hint::spin_loop();
        }
    });
    let other = stop.clone();
    let second = rt.spawn(move || {
        while !other.load(SeqCst) {
            std::hint::spin_loop();
        }
    });
    let by = busy_with(&rt, bound.routine.id());
    assert!(by == hog.id() || by == second.id());
    until("it is counted", || {
        let snapshot = rt.snapshot();
        snapshot.monitor.hostage_episodes > 0 && snapshot.monitor.forced > 0
    });
    stop.store(true, SeqCst);
    hog.join().unwrap();
    second.join().unwrap();
    bound.stop.store(true, SeqCst);
    bound.routine.join().unwrap();
    assert_eq!(rt.snapshot().monitor.hostage_deadlocks, 0);
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

#[test]
fn of_a_system_call() {
    let watchdog = Watchdog::new("of a call");
    let rt = runtime(Preemption::Cooperative);
    watchdog.watch("of a call", &rt.handle());
    let bound = bound(&rt);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let sleeper = rt.spawn(move || reader.read_exact(&mut [0]).unwrap());
    assert_eq!(busy_with(&rt, bound.routine.id()), sleeper.id());
    until("it is counted", || rt.snapshot().monitor.hostages == 1);
    let snapshot = rt.snapshot();
    assert!(snapshot.monitor.hostages_since_ns.is_some());
    let counts = snapshot.routines;
    assert_eq!(
        counts.blocked_by[WaitReason::ThreadBusy as usize],
        1,
        "{counts:?}"
    );
    // A fresh one is none: another thread runs it.
    rt.spawn(|| ()).join().unwrap();
    writer.write_all(&[1]).unwrap();
    sleeper.join().unwrap();
    bound.stop.store(true, SeqCst);
    bound.routine.join().unwrap();
    until("none is left", || rt.snapshot().monitor.hostages == 0);
    assert_eq!(rt.snapshot().monitor.hostage_deadlocks, 0);
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// Two routines of one thread, of which the second can never go on. Nothing helps them, so the runtime is
/// left as it is.
fn reported(
    what: &str,
    first: impl FnOnce(&dyn Fn()) + Send + 'static,
    second: impl FnOnce() + Send + 'static,
) -> HostageDeadlock {
    let watchdog = Watchdog::new(what);
    let rt = runtime(Preemption::Cooperative);
    watchdog.watch(what, &rt.handle());
    let (begun_tx, begun_rx) = mpsc::channel();
    let forever = Arc::new(AtomicBool::new(true));
    // It holds what it holds, and is always ready to run on.
    let holder = rt.spawn(move || {
        first(&move || {
            begun_tx.send(()).unwrap();
            while forever.load(SeqCst) {
                yield_now();
            }
        });
    });
    begun_rx.recv().unwrap();
    let sleeper = Builder::new()
        .name("victim")
        .on(&rt.handle())
        .spawn(second)
        .unwrap();
    let handle = rt.handle();
    let mut found = Vec::new();
    until("it is reported", || {
        handle.hostage_deadlocks(0, &mut found);
        !found.is_empty()
    });
    let report = found.remove(0);
    assert_eq!(report.routine, sleeper.id());
    assert_eq!(report.name.as_deref(), Some("victim"));
    assert!(report.site.file().ends_with("hostages.rs"), "{report:?}");
    assert_eq!(report.call.name(), Some("futex"));
    assert_eq!(report.hostages, 1);
    assert!(
        report.at_ns - report.since_ns >= 1_000_000_000,
        "{report:?}"
    );
    assert_eq!(rt.snapshot().monitor.hostage_deadlocks, 1);
    // Others still run, and it is reported once.
    for _ in 0..10 {
        rt.spawn(|| ()).join().unwrap();
    }
    assert_eq!(rt.snapshot().monitor.hostage_deadlocks, 1);
    drop((holder, sleeper));
    std::mem::forget(rt);
    report
}

#[test]
fn a_lock_held_over_a_pause_is_reported_with_its_address() {
    let lock = Arc::new(Mutex::new(0u64));
    let range = Arc::as_ptr(&lock) as u64..Arc::as_ptr(&lock) as u64 + 64;
    let theirs = lock.clone();
    let report = reported(
        "mutex",
        move |pause| {
            let _guard = lock.lock().unwrap();
            pause();
        },
        move || *theirs.lock().unwrap() += 1,
    );
    assert!(range.contains(&report.futex_address), "{report:?}");
}

#[test]
fn a_channel_whose_sender_is_a_hostage_is_reported() {
    let (tx, rx) = mpsc::channel::<u32>();
    reported(
        "mpsc",
        move |pause| {
            pause();
            tx.send(1).unwrap();
        },
        move || rx.recv().map_or((), drop),
    );
}

#[test]
fn a_condition_that_a_hostage_would_make_true_is_reported() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let theirs = shared.clone();
    reported(
        "condition",
        move |pause| {
            pause();
            *shared.0.lock().unwrap() = true;
            shared.1.notify_all();
        },
        move || {
            let guard = theirs.0.lock().unwrap();
            drop(theirs.1.wait_while(guard, |set| !*set).unwrap());
        },
    );
}
