//! Workers leave threads that sleep in the kernel: everything goes on meanwhile, and what was bound to such a
//! thread goes on afterwards.
//!
//! Not in portable builds, where nobody takes a worker from a thread: `elsewhere.rs` has their answer.
#![cfg(not(portable))]

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use openwork::config::ConfigChange;
use openwork::snapshot::HandOff;
use openwork::sync::Mutex;
use openwork::{
    JoinError, Runtime, Turn, channel, hold_thread, scope, spawn, spawn_turns, time, yield_now,
};
use support::{quiet_panics, until};

fn runtime(workers: usize) -> Runtime {
    let rt = Runtime::builder()
        .workers(workers)
        .hand_off(true)
        .build()
        .unwrap();
    assert!(rt.handle().config().hand_off);
    rt
}

fn taken(rt: &Runtime) -> u64 {
    rt.snapshot().threads.handed_off_by[HandOff::Blocked as usize]
}

/// Waits until the only worker has left a thread that sleeps: nothing else lets a fresh routine run.
fn others_go_on(rt: &Runtime) {
    rt.spawn(|| ()).join().unwrap();
    assert!(taken(rt) > 0);
}

/// Everything that was spawned has ended, and no thread is lost.
fn finish(rt: Runtime) {
    let routines = rt.snapshot().routines;
    assert_eq!(routines.live(), routines.spawned - routines.ended);
    until("whoever came back last has arrived", || {
        let threads = rt.snapshot().threads;
        threads.wanting == 0 && threads.away == 0
    });
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// A call that sleeps in the kernel until `release` is called.
struct Gate {
    reader: std::io::PipeReader,
    writer: std::io::PipeWriter,
}

impl Gate {
    fn new() -> Arc<Gate> {
        let (reader, writer) = std::io::pipe().unwrap();
        Arc::new(Gate { reader, writer })
    }

    fn pass(&self) {
        (&self.reader).read_exact(&mut [0]).unwrap();
    }

    fn release(&self, count: usize) {
        (&self.writer).write_all(&vec![0; count]).unwrap();
    }
}

/// The goal of the whole: without hand-off it would take eight times a nap on two workers.
#[test]
fn sleepers_in_the_kernel_do_not_add_up() {
    const NAP: Duration = Duration::from_millis(100);
    let rt = runtime(2);
    let began = Instant::now();
    let sleepers: Vec<_> = (0..16).map(|_| rt.spawn(|| thread::sleep(NAP))).collect();
    sleepers.into_iter().for_each(|one| one.join().unwrap());
    println!("16 routines: {:?}", began.elapsed());
    assert!(taken(&rt) > 0, "{:?}", rt.snapshot().threads);
    let began = Instant::now();
    let sleepers: Vec<_> = (0..16)
        .map(|_| {
            rt.spawn_turns((), |()| {
                thread::sleep(NAP);
                Turn::Done(())
            })
        })
        .collect();
    sleepers.into_iter().for_each(|one| one.join().unwrap());
    println!("16 turn loops: {:?}", began.elapsed());
    println!("{:?}", rt.snapshot().threads);
    finish(rt);
}

/// The one worker goes on with others, who end the wait.
#[test]
fn one_worker_is_enough_for_a_wait_that_another_routine_ends() {
    let rt = runtime(1);
    for _ in 0..5 {
        let gate = Gate::new();
        let waits = {
            let gate = gate.clone();
            rt.spawn(move || gate.pass())
        };
        rt.spawn(move || gate.release(1)).join().unwrap();
        waits.join().unwrap();
    }
    assert!(taken(&rt) > 0);
    finish(rt);
}

/// Routines that have started on a thread cannot run while that sleeps, and run when it comes back.
#[test]
fn hostages_run_when_their_thread_comes_back() {
    // With homes that travel there are none.
    let rt = Runtime::builder()
        .workers(1)
        .travelling_homes(0)
        .build()
        .unwrap();
    let gate = Gate::new();
    let (started_tx, started) = channel::unbounded();
    let go = Arc::new(AtomicBool::new(false));
    let hostages: Vec<_> = (0..8)
        .map(|_| {
            let (started, go) = (started_tx.clone(), go.clone());
            rt.spawn(move || {
                started.send(()).unwrap();
                while !go.load(SeqCst) {
                    yield_now();
                }
            })
        })
        .collect();
    (0..8).for_each(|_| started.recv().unwrap());
    let blocks = {
        let gate = gate.clone();
        rt.spawn(move || gate.pass())
    };
    others_go_on(&rt);
    go.store(true, SeqCst);
    // A fresh one runs on another thread.
    assert_eq!(rt.spawn(|| 7).join().unwrap(), 7);
    assert!(hostages.iter().all(|one| !one.is_finished()));
    gate.release(1);
    blocks.join().unwrap();
    hostages.into_iter().for_each(|one| one.join().unwrap());
    finish(rt);
}

/// A thread that comes back without a worker uses everything that routines use.
#[test]
fn a_routine_without_a_worker_can_do_all_that_others_can() {
    let rt = runtime(1);
    let hog_is_on = Arc::new(AtomicBool::new(true));
    let gate = Gate::new();
    let lock = Arc::new(Mutex::new(0));
    let (tx, rx) = channel::bounded(1);
    let worker = {
        let (gate, lock, hog_is_on) = (gate.clone(), lock.clone(), hog_is_on.clone());
        rt.spawn(move || {
            let guard = lock.lock().unwrap();
            gate.pass();
            // The hog has the worker now, and gives nothing back until this has happened:
            let child = spawn(|| 5);
            assert!(openwork::current().is_some());
            drop(guard);
            tx.try_send(1).unwrap();
            let mut local = Arc::new(3);
            *Arc::get_mut(&mut local).unwrap() += 1;
            hog_is_on.store(false, SeqCst);
            // From here on it needs a worker.
            yield_now();
            time::sleep(Duration::from_millis(1));
            scope(|s| {
                s.spawn(|| assert_eq!(*local, 4));
            });
            tx.send(2).unwrap();
            child.join().unwrap()
        })
    };
    others_go_on(&rt);
    let hog = {
        let (gate, hog_is_on) = (gate.clone(), hog_is_on.clone());
        rt.spawn(move || {
            gate.release(1);
            while hog_is_on.load(SeqCst) {
                std::hint::spin_loop();
            }
        })
    };
    assert_eq!(rx.recv().unwrap(), 1);
    assert_eq!(rx.recv().unwrap(), 2);
    assert_eq!(worker.join().unwrap(), 5);
    hog.join().unwrap();
    assert_eq!(*lock.lock().unwrap(), 0);
    finish(rt);
}

/// A lock that is held by one who sleeps in the kernel is waited for by routines, not by workers.
#[test]
fn a_lock_is_waited_for_while_its_holder_sleeps_in_the_kernel() {
    let rt = runtime(2);
    let lock = Arc::new(Mutex::new(0u64));
    let all: Vec<_> = (0..64)
        .map(|n| {
            let lock = lock.clone();
            rt.spawn(move || {
                let mut guard = lock.lock().unwrap();
                if n % 8 == 0 {
                    thread::sleep(Duration::from_millis(3));
                }
                *guard += 1;
            })
        })
        .collect();
    all.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(*lock.lock().unwrap(), 64);
    finish(rt);
}

/// Who holds the thread keeps it over a sleep in the kernel, and others go on elsewhere.
#[test]
fn a_held_thread_sleeps_in_the_kernel() {
    let rt = runtime(1);
    let gate = Gate::new();
    let holds = {
        let gate = gate.clone();
        rt.spawn(move || {
            let before = thread::current().id();
            hold_thread(|| {
                gate.pass();
                time::sleep(Duration::from_millis(2));
                gate.pass();
            });
            assert_eq!(thread::current().id(), before);
        })
    };
    for _ in 0..2 {
        let gate = gate.clone();
        rt.spawn(move || gate.release(1)).join().unwrap();
    }
    holds.join().unwrap();
    finish(rt);
}

/// A cancel and an abort reach a routine when it is back.
#[test]
fn a_cancel_is_raised_after_the_sleep() {
    let rt = runtime(1);
    let gate = Gate::new();
    let waits = {
        let gate = gate.clone();
        rt.spawn(move || {
            gate.pass();
            yield_now();
            unreachable!("it was aborted");
        })
    };
    others_go_on(&rt);
    waits.abort();
    gate.release(1);
    assert!(matches!(waits.join(), Err(JoinError::Cancelled)));
    finish(rt);
}

/// The end of a runtime waits for those that sleep, and ends every thread that was started.
#[test]
fn a_runtime_ends_while_threads_sleep_in_the_kernel() {
    for _ in 0..5 {
        let rt = runtime(2);
        let done = Arc::new(AtomicU64::new(0));
        for _ in 0..12 {
            let done = done.clone();
            rt.spawn(move || {
                thread::sleep(Duration::from_millis(20));
                done.fetch_add(1, SeqCst);
            })
            .detach();
        }
        rt.shutdown(Duration::from_secs(60)).unwrap();
        assert_eq!(done.load(SeqCst), 12);
    }
}

/// A panic after the sleep, on a thread without worker, ends one routine.
#[test]
fn a_panic_without_a_worker_ends_one_routine() {
    quiet_panics();
    let rt = runtime(1);
    let gate = Gate::new();
    let panics = {
        let gate = gate.clone();
        rt.spawn(move || {
            gate.pass();
            panic!("after the sleep");
        })
    };
    rt.spawn(move || gate.release(1)).join().unwrap();
    assert!(matches!(panics.join(), Err(JoinError::Panicked(_))));
    assert_eq!(rt.spawn(|| 1).join().unwrap(), 1);
    finish(rt);
}

/// With no thread left, workers stay with those who sleep: late, but nobody is lost.
#[test]
fn at_the_limit_of_threads_all_still_end() {
    let rt = Runtime::builder()
        .workers(2)
        .max_threads(3)
        .build()
        .unwrap();
    let all: Vec<_> = (0..60)
        .map(|n| {
            rt.spawn(move || {
                thread::sleep(Duration::from_millis(n % 4));
                yield_now();
                thread::sleep(Duration::from_millis(1));
            })
        })
        .collect();
    all.into_iter().for_each(|one| one.join().unwrap());
    let threads = rt.snapshot().threads;
    assert!(threads.peak <= 3 && threads.limit == 3, "{threads:?}");
    finish(rt);
}

/// The limit can be lowered, and raised up to what there was at the start.
#[test]
fn the_limit_of_threads_can_be_changed() {
    let rt = Runtime::builder()
        .workers(2)
        .max_threads(8)
        .build()
        .unwrap();
    let change = |max| {
        let mut change = ConfigChange::default();
        change.max_threads = Some(max);
        rt.handle().reconfigure(change)
    };
    assert_eq!(change(3).unwrap().new.max_threads, 3);
    assert_eq!(rt.snapshot().threads.limit, 3);
    for out in [2, 9] {
        let why = change(out).unwrap_err().to_string();
        assert_eq!(
            why,
            format!("max_threads: {out} is out of range, from 3 to 8 are possible")
        );
    }
    assert_eq!(change(8).unwrap().new.max_threads, 8);
    finish(rt);
}

/// Threads that nobody needs go after ten seconds, and others come when they are needed again.
#[test]
fn threads_without_work_retire() {
    let rt = runtime(1);
    let sleep = || {
        let all: Vec<_> = (0..6)
            .map(|_| rt.spawn(|| thread::sleep(Duration::from_millis(20))))
            .collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    };
    // Again, should the monitor have had no processor all the while.
    until("others are started", || {
        sleep();
        rt.snapshot().threads.total > 1
    });
    until("they have gone", || {
        thread::sleep(Duration::from_millis(50));
        let threads = rt.snapshot().threads;
        threads.total == 1 && threads.retired > 0
    });
    let threads = rt.snapshot().threads;
    assert_eq!(threads.spare, 0, "{threads:?}");
    until("others are started again", || {
        sleep();
        rt.snapshot().threads.started > threads.started
    });
    finish(rt);
}

/// Many routines of all kinds, of which hundreds sleep in the kernel.
#[test]
fn thousands_go_on_while_hundreds_sleep() {
    for workers in [1, 2, 8] {
        let rt = runtime(workers);
        let done = rt.block_on(|| {
            let (tx, rx) = channel::bounded(16);
            let mut children = Vec::new();
            for n in 0..3_000u64 {
                let out = tx.clone();
                children.push(spawn(move || {
                    if n % 20 == 0 {
                        thread::sleep(Duration::from_millis(2));
                    }
                    yield_now();
                    out.send(n).unwrap();
                }));
                if n % 10 == 0 {
                    let tx = tx.clone();
                    children.push(spawn(move || {
                        let mut left = 3;
                        spawn_turns((), move |()| {
                            thread::sleep(Duration::from_micros(300));
                            left -= 1;
                            if left > 0 {
                                Turn::Again
                            } else {
                                Turn::Done(())
                            }
                        })
                        .join()
                        .unwrap();
                        tx.send(0).unwrap();
                    }));
                }
            }
            drop(tx);
            let mut sum = 0;
            while let Ok(n) = rx.recv() {
                sum += n;
            }
            children.into_iter().for_each(|one| one.join().unwrap());
            sum
        });
        assert_eq!(done, (0..3_000).sum::<u64>());
        let snapshot = rt.snapshot();
        assert!(snapshot.threads.total <= snapshot.threads.limit);
        assert_eq!(snapshot.routines.spawned, 1 + 3_000 + 2 * 300);
        finish(rt);
    }
}
