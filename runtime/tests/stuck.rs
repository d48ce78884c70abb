//! Nothing gets stuck: what a frozen thread holds, no thread left to go on, `/proc` not to be read, a turn without a
//! worker. Each waits for what is to happen, and for ever without the rule that it is about.
//!
//! Not in portable builds, where nobody takes a worker.
#![cfg(all(not(portable), feature = "preemption"))]

mod support;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use openwork::config::Preemption;
use openwork::snapshot::{Probe, RoutineState};
use openwork::{JoinHandle, Runtime, RuntimeBuilder, checkpoint};
use support::{Watchdog, this_binary, until};

const SLICE: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

fn forced(workers: usize) -> RuntimeBuilder {
    Runtime::builder()
        .workers(workers)
        .preemption(Preemption::Forced)
        .slice(SLICE)
}

/// A routine that computes, without a call, until `stop`.
fn spin(rt: &Runtime, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let stop = stop.clone();
    rt.spawn(move || spin_until(&stop))
}

fn spin_until(so: &AtomicBool) {
    while !so.load(SeqCst) {
        std::hint::spin_loop();
    }
}

fn flag() -> Arc<AtomicBool> {
    Arc::default()
}

/// The one worker sleeps, with a routine, on the lock that a frozen thread holds: where workers stay with those
/// who sleep, only the rule of progress helps.
#[test]
fn a_frozen_thread_lets_go_of_what_the_only_worker_waits_for() {
    let watchdog = Watchdog::new("frozen with a lock");
    let rt = forced(1).hand_off(false).build().unwrap();
    watchdog.watch("frozen with a lock", &rt.handle());
    // Again, where the waiter was frozen before it came to the lock: then the holder had its turn.
    until("the holder was let go", || {
        let (lock, holds, waits) = (Arc::new(Mutex::new(0)), flag(), flag());
        let holder = {
            let (lock, holds, waits) = (lock.clone(), holds.clone(), waits.clone());
            let handle = rt.handle();
            rt.spawn(move || {
                let mut value = lock.lock().unwrap();
                holds.store(true, SeqCst);
                spin_until(&waits);
                // Without a worker, and not to wait for one here: the one there is waits for us.
                if handle.snapshot().monitor.released >= 1 {
                    checkpoint();
                }
                *value += 1;
            })
        };
        until("it holds the lock", || holds.load(SeqCst));
        let waiter = rt.spawn(move || {
            waits.store(true, SeqCst);
            *lock.lock().unwrap()
        });
        assert_eq!(waiter.join().unwrap(), 1);
        holder.join().unwrap();
        let monitor = rt.snapshot().monitor;
        assert!(monitor.forced >= 1, "{monitor:?}");
        assert_eq!(monitor.retaken, 0, "{monitor:?}");
        monitor.released >= 1
    });
    rt.shutdown(LONG).unwrap();
}

/// As many threads as there may be: who computes on is not stopped when nobody could go on, it shows, and all end.
#[test]
fn loops_at_the_limit_of_threads_end() {
    for (workers, limit) in [(2, 2), (1, 2), (2, 3)] {
        let watchdog = Watchdog::new("loops at the limit");
        let rt = forced(workers).max_threads(limit).build().unwrap();
        watchdog.watch("loops at the limit", &rt.handle());
        let stop = flag();
        let loops: Vec<_> = (0..5).map(|_| spin(&rt, &stop)).collect();
        until("it shows", || {
            let now = rt.snapshot();
            let counted = match workers == limit {
                true => now.monitor.at_cap >= 1,
                false => now.monitor.forced >= 3,
            };
            assert!(now.threads.total <= limit as u64);
            counted && now.threads.at_limit
        });
        stop.store(true, SeqCst);
        loops.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(rt.spawn(|| 7).join().unwrap(), 7);
        let threads = rt.snapshot().threads;
        assert!(threads.peak <= limit as u64, "{threads:?}");
        rt.shutdown(LONG).unwrap();
    }
}

/// The same for routines that sleep in the kernel: they keep their workers.
#[test]
fn sleepers_at_the_limit_of_threads_end() {
    let watchdog = Watchdog::new("sleepers at the limit");
    let rt = Runtime::builder()
        .workers(2)
        .max_threads(2)
        .build()
        .unwrap();
    watchdog.watch("sleepers at the limit", &rt.handle());
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reader = Arc::new(reader);
    let asleep = Arc::new(AtomicU64::new(0));
    let sleepers: Vec<_> = (0..6)
        .map(|_| {
            let (reader, asleep) = (reader.clone(), asleep.clone());
            rt.spawn(move || {
                asleep.fetch_add(1, SeqCst);
                (&*reader).read_exact(&mut [0]).unwrap();
            })
        })
        .collect();
    until("both workers sleep", || asleep.load(SeqCst) == 2);
    let looks = rt.snapshot().monitor.looks;
    until("the monitor has looked", || {
        rt.snapshot().monitor.looks > looks + 20
    });
    let now = rt.snapshot();
    assert_eq!((asleep.load(SeqCst), now.monitor.retaken), (2, 0));
    assert!(now.threads.at_limit, "{:?}", now.threads);
    writer.write_all(&[0; 6]).unwrap();
    sleepers.into_iter().for_each(|one| one.join().unwrap());
    rt.shutdown(LONG).unwrap();
}

/// A clock that stands still tells of a sleeper where `/proc` does not: here because no file can be opened.
#[test]
fn a_sleeper_is_noticed_without_proc() {
    const ALONE: &str = "OPENWORK_TEST_WITHOUT_PROC";
    if std::env::var_os(ALONE).is_none() {
        let output = this_binary()
            .args(["--exact", "a_sleeper_is_noticed_without_proc"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let watchdog = Watchdog::new("without /proc");
    let none = libc::rlimit {
        rlim_cur: 3,
        rlim_max: 3,
    };
    // SAFETY: reads the limit given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) }, 0);
    assert!(std::fs::File::open("/proc/self/stat").is_err());
    let rt = Runtime::builder().workers(1).build().unwrap();
    watchdog.watch("without /proc", &rt.handle());
    assert_eq!(rt.snapshot().monitor.probe, Probe::Clock);
    let (tx, rx) = mpsc::channel();
    let sleeper = rt.spawn(move || rx.recv().unwrap());
    until("it is seen asleep, in which call is not", || {
        let mut seen = false;
        rt.handle().routines(&mut |view| {
            if let Some(sleep) = view.in_kernel {
                assert_eq!((view.state, sleep.call), (RoutineState::Running, None));
                seen = true;
            }
        });
        seen
    });
    rt.spawn(move || tx.send(7).unwrap()).join().unwrap();
    assert_eq!(sleeper.join().unwrap(), 7);
    let monitor = rt.snapshot().monitor;
    assert!(monitor.retaken >= 1, "{monitor:?}");
    rt.shutdown(LONG).unwrap();
}

/// A routine whose worker went to another one while it slept waits for a worker where it can.
#[test]
fn a_turn_without_a_worker_waits_at_a_checkpoint() {
    let watchdog = Watchdog::new("checkpoint");
    let rt = Runtime::builder()
        .workers(1)
        .preemption(Preemption::Off)
        .build()
        .unwrap();
    watchdog.watch("checkpoint", &rt.handle());
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let (began, is_past, stop) = (flag(), flag(), flag());
    let sleeper = {
        let is_past = is_past.clone();
        rt.spawn(move || {
            reader.read_exact(&mut [0]).unwrap();
            checkpoint();
            is_past.store(true, SeqCst);
        })
    };
    let other = {
        let (began, stop) = (began.clone(), stop.clone());
        rt.spawn(move || {
            began.store(true, SeqCst);
            spin_until(&stop);
        })
    };
    until("the other one has the worker", || began.load(SeqCst));
    writer.write_all(&[0]).unwrap();
    until("it waits", || rt.snapshot().threads.wanting == 1);
    thread::yield_now();
    assert!(!is_past.load(SeqCst));
    stop.store(true, SeqCst);
    sleeper.join().unwrap();
    other.join().unwrap();
    rt.shutdown(LONG).unwrap();
}
