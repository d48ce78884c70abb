//! A routine that blocks its thread in the kernel, in whatever call, loses its worker to another thread, and
//! gets one back when it goes on. Fresh work, so: what is bound to the sleeping thread is in
//! `hostages.rs`.
//!
//! Not in portable builds, where nobody takes a worker from a thread: `elsewhere.rs` has their answer.
#![cfg(not(portable))]

mod support;

use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use openwork::snapshot::RoutineState;
use openwork::{Runtime, channel, scope, spawn, time, yield_now};
use support::{Random, Watchdog, until};

fn runtime(workers: usize) -> Runtime {
    Runtime::builder()
        .workers(workers)
        .hand_off(true)
        .build()
        .unwrap()
}

/// On one worker: `blocks` sleeps in the kernel until `releases`, which has not begun yet, has run.
fn goes_on(
    what: &str,
    call: &[&str],
    blocks: impl FnOnce() + Send + 'static,
    releases: impl FnOnce() + Send + 'static,
) {
    let watchdog = Watchdog::new(what);
    let rt = runtime(1);
    watchdog.watch(what, &rt.handle());
    let sleeper = rt.spawn(move || {
        let before = thread::current().id();
        blocks();
        assert_eq!(
            thread::current().id(),
            before,
            "a started routine keeps its thread"
        );
        yield_now();
        assert_eq!(thread::current().id(), before);
    });
    let handle = rt.handle();
    let mut seen = None;
    until(what, || {
        handle.routines(&mut |view| {
            if view.state == RoutineState::Running
                && let Some(sleep) = view.in_kernel
            {
                seen = sleep.call.and_then(|call| call.name());
            }
        });
        // On a loaded machine it may be seen in a page fault or another call first.
        seen.is_some_and(|seen| call.contains(&seen))
    });
    rt.spawn(releases).join().unwrap();
    sleeper.join().unwrap();
    let monitor = rt.snapshot().monitor;
    assert!(monitor.retaken >= 1, "{monitor:?}");
    assert_eq!(monitor.blocked_to_noticed.count, monitor.retaken);
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

const FUTEX: &[&str] = &["futex"];

#[test]
fn a_pipe() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    goes_on(
        "a pipe",
        &["read"],
        move || reader.read_exact(&mut [0]).unwrap(),
        move || writer.write_all(&[1]).unwrap(),
    );
}

#[test]
fn a_lock_of_the_standard_library() {
    let lock = Arc::new(Mutex::new(false));
    let changed = Arc::new(Condvar::new());
    let theirs = (lock.clone(), changed.clone());
    goes_on(
        "a condition variable",
        FUTEX,
        move || {
            drop(
                changed
                    .wait_while(lock.lock().unwrap(), |set| !*set)
                    .unwrap(),
            )
        },
        move || {
            *theirs.0.lock().unwrap() = true;
            theirs.1.notify_all();
        },
    );
}

#[test]
fn a_channel_of_the_standard_library() {
    let (tx, rx) = mpsc::channel();
    goes_on(
        "mpsc",
        FUTEX,
        move || assert_eq!(rx.recv(), Ok(7)),
        move || tx.send(7).unwrap(),
    );
}

#[test]
fn a_barrier_of_the_standard_library() {
    let barrier = Arc::new(Barrier::new(2));
    let theirs = barrier.clone();
    goes_on(
        "a barrier",
        FUTEX,
        move || {
            barrier.wait();
        },
        move || {
            theirs.wait();
        },
    );
}

#[test]
fn a_thread_that_is_joined() {
    let (tx, rx) = mpsc::channel::<()>();
    goes_on(
        "join of a thread",
        FUTEX,
        move || thread::spawn(move || rx.recv().unwrap()).join().unwrap(),
        move || tx.send(()).unwrap(),
    );
}

#[test]
fn a_child_that_is_waited_for() {
    let mut child = Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    goes_on(
        "wait for a child",
        &["wait4", "waitid"],
        move || assert!(child.wait().unwrap().success()),
        move || drop(stdin),
    );
}

/// 16 sleepers on two workers would take eight times as long one after the other. No time is asserted: what
/// is, is that more sleep at once than there are workers.
#[test]
fn more_sleep_at_once_than_there_are_workers() {
    let watchdog = Watchdog::new("sleepers");
    let rt = runtime(2);
    watchdog.watch("sleepers", &rt.handle());
    let inside = Arc::new(AtomicU64::new(0));
    let barrier = Arc::new(Barrier::new(16));
    rt.block_on(|| {
        let sleepers: Vec<_> = (0..16)
            .map(|_| {
                let (inside, barrier) = (inside.clone(), barrier.clone());
                spawn(move || {
                    barrier.wait();
                    inside.fetch_add(1, Relaxed);
                })
            })
            .collect();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
    });
    assert_eq!(inside.load(Relaxed), 16);
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// Routines that sleep in the kernel, wait for each other in ours, and end: nothing is lost and all add up.
#[test]
fn sleepers_and_waiters_mixed() {
    let watchdog = Watchdog::new("mixed");
    let mut random = Random::new("mixed");
    for workers in [1, 2, 3] {
        let rt = runtime(workers);
        watchdog.watch("mixed", &rt.handle());
        let seeds: Vec<u64> = (0..40).map(|_| random.next()).collect();
        let sum = rt.block_on(move || {
            let (tx, rx) = channel::bounded(4);
            scope(|s| {
                for seed in seeds {
                    let tx = tx.clone();
                    s.spawn(move || {
                        let mut random = Random::from(seed);
                        for _ in 0..10 {
                            match random.below(5) {
                                0 => thread::sleep(Duration::from_micros(random.below(3000))),
                                1 => time::sleep(Duration::from_micros(random.below(2000))),
                                2 => yield_now(),
                                _ => {}
                            }
                            tx.send(1u64).unwrap();
                        }
                    });
                }
                drop(tx);
                rx.iter().sum::<u64>()
            })
        });
        assert_eq!(sum, 400);
        let counts = rt.snapshot().routines;
        assert_eq!(counts.live(), 0, "{counts:?}");
        rt.shutdown(Duration::from_secs(60)).unwrap();
    }
}

/// A runtime ends while threads without a worker sleep on.
#[test]
fn the_end_waits_for_those_who_come_back() {
    let watchdog = Watchdog::new("end");
    for _ in 0..20 {
        let rt = runtime(2);
        watchdog.watch("end", &rt.handle());
        let sleepers: Vec<_> = (0..8)
            .map(|_| rt.spawn(|| thread::sleep(Duration::from_millis(5))))
            .collect();
        drop(sleepers);
        rt.shutdown(Duration::from_secs(60)).unwrap();
    }
}
