//! Forced preemption: a routine that computes on and never calls the runtime is stopped, others go on, and it
//! goes on later as if nothing had been. Slices of a millisecond, so that much of it happens.
//!
//! Not in portable builds, where no thread is stopped: `elsewhere.rs` has their answer.
#![cfg(all(not(portable), feature = "preemption"))]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openwork::config::{ConfigChange, Preemption};
use openwork::snapshot::RoutineState;
use openwork::{JoinHandle, Runtime, Turn, channel, profile, scope, spawn, sync, time};
use support::{Random, Watchdog, blocked_signals, quiet_panics, until};

const SLICE: Duration = Duration::from_millis(1);

fn runtime(workers: usize) -> Runtime {
    Runtime::builder()
        .workers(workers)
        .preemption(Preemption::Forced)
        .slice(SLICE)
        .build()
        .unwrap()
}

/// Routines that compute until `stop`, and never call the runtime.
fn loops(rt: &Runtime, count: usize, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let looping = |_| {
        let stop = stop.clone();
        rt.spawn(move || {
            while !stop.load(Relaxed) {
                std::hint::spin_loop();
            }
        })
    };
    (0..count).map(looping).collect()
}

/// Runs `work` in `count` routines on two workers, over and over, until threads were frozen `freezes` times and each
/// has done it once.
fn under_freezes(what: &str, count: u64, freezes: u64, work: impl Fn(u64) + Send + Sync + 'static) {
    let watchdog = Watchdog::new(what);
    let rt = runtime(2);
    watchdog.watch(what, &rt.handle());
    let stop = Arc::new(AtomicBool::new(false));
    let work = Arc::new(work);
    let had_turns = Arc::new(AtomicU64::new(0));
    let hogs: Vec<_> = (0..count)
        .map(|number| {
            let (stop, work, had_turns) = (stop.clone(), work.clone(), had_turns.clone());
            rt.spawn(move || {
                let mut rounds = 0u64;
                while !stop.load(Relaxed) {
                    work(number);
                    rounds += 1;
                    had_turns.fetch_add(u64::from(rounds == 1), Relaxed);
                }
            })
        })
        .collect();
    until("enough freezes", || rt.snapshot().monitor.forced >= freezes);
    until("every one had its turn", || {
        had_turns.load(Relaxed) == count
    });
    stop.store(true, Relaxed);
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
    let monitor = rt.snapshot().monitor;
    assert_eq!(monitor.signal_to_frozen.count, monitor.forced);
    let counts = rt.snapshot().routines;
    assert_eq!(
        (counts.live(), counts.spawned),
        (0, counts.ended),
        "{counts:?}"
    );
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// Without preemption this never ends.
#[test]
fn a_loop_lets_others_run() {
    for workers in [1, 2] {
        let watchdog = Watchdog::new("a loop");
        let rt = runtime(workers);
        watchdog.watch("a loop", &rt.handle());
        let stop = Arc::new(AtomicBool::new(false));
        let loops = loops(&rt, 4, &stop);
        // In turns, so that no loop's thread keeps it.
        let ticks = rt.spawn_turns(0, |n| {
            *n += 1;
            if *n == 20 {
                Turn::Done(*n)
            } else {
                Turn::Sleep(SLICE)
            }
        });
        assert_eq!(ticks.join().unwrap(), 20);
        stop.store(true, Relaxed);
        loops.into_iter().for_each(|one| one.join().unwrap());
        assert!(rt.snapshot().monitor.forced > 0);
        rt.shutdown(Duration::from_secs(60)).unwrap();
    }
}

#[test]
fn numbers_in_vector_registers() {
    under_freezes("floats", 6, 200, |number| {
        let seed = black_box(number as f64 + 1.0);
        let mut lanes: [f64; 8] = std::array::from_fn(|i| seed + i as f64);
        for _ in 0..20_000 {
            for lane in &mut lanes {
                *lane = (*lane * 1.000_000_1 + 0.5).sqrt() + 1.0;
            }
        }
        let mut again: [f64; 8] = std::array::from_fn(|i| seed + i as f64);
        for lane in &mut again {
            for _ in 0..20_000 {
                *lane = (*lane * 1.000_000_1 + 0.5).sqrt() + 1.0;
            }
        }
        assert_eq!(lanes.map(f64::to_bits), again.map(f64::to_bits));
    });
}

#[test]
fn the_allocator() {
    under_freezes("allocator", 8, 200, |number| {
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for n in 0..500u64 {
            kept.push(vec![number as u8; 1 + (n * 37 % 3000) as usize]);
            if kept.len() > 60 {
                let gone = kept.swap_remove((n * 7 % 60) as usize);
                assert!(gone.iter().all(|&byte| byte == number as u8));
            }
        }
    });
}

#[test]
fn thread_locals_and_maps() {
    thread_local! {
        static DEPTH: Cell<u64> = const { Cell::new(0) };
        static SEEN: RefCell<HashMap<u64, u64>> = RefCell::new(HashMap::new());
    }
    under_freezes("thread-locals", 6, 200, |number| {
        let before = DEPTH.get();
        DEPTH.set(before + 1);
        SEEN.with_borrow_mut(|seen| {
            for n in 0..2000 {
                *seen.entry(n).or_default() += 1;
            }
            assert!(seen.values().all(|&count| count == seen[&0]), "{number}");
        });
        assert_eq!(DEPTH.replace(before), before + 1);
    });
}

/// Whoever is stopped with standard output's lock keeps it; others wait in the kernel for it, and their
/// workers go on.
#[test]
fn printing() {
    let sink = Arc::new(Mutex::new(std::io::BufWriter::new(Vec::<u8>::new())));
    under_freezes("printing", 6, 100, move |number| {
        use std::io::Write;
        eprint!("");
        let mut sink = sink.lock().unwrap();
        for n in 0..200 {
            writeln!(sink, "routine {number} line {n}").unwrap();
        }
        sink.flush().unwrap();
        let whole = sink
            .get_ref()
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        assert!(whole.clone().all(|line| line.starts_with(b"routine ")));
        assert_eq!(whole.count(), 200);
        sink.get_mut().clear();
    });
}

#[test]
fn no_message_is_lost() {
    let watchdog = Watchdog::new("messages");
    let mut random = Random::new("messages");
    let rt = runtime(2);
    watchdog.watch("messages", &rt.handle());
    // Once with each capacity, and on until the monitor has asked somebody to give way: how long a turn lasts is
    // chance, and so is whether one outlasts its slice.
    for capacity in [1, 16].into_iter().cycle() {
        let spins = 1000 + random.below(20_000);
        let sum = rt.block_on(move || {
            let (tx, rx) = channel::bounded(capacity);
            let counted = Arc::new(sync::Mutex::new(0u64));
            let total = Arc::new(AtomicU64::new(0));
            scope(|s| {
                for producer in 0..4u64 {
                    let tx = tx.clone();
                    s.spawn(move || {
                        for n in 0..500 {
                            for _ in 0..spins {
                                std::hint::spin_loop();
                            }
                            tx.send(producer * 1000 + n).unwrap();
                        }
                    });
                }
                drop(tx);
                for _ in 0..3 {
                    let (rx, counted, total) = (rx.clone(), counted.clone(), total.clone());
                    s.spawn(move || {
                        for message in rx.iter() {
                            *counted.lock().unwrap() += 1;
                            total.fetch_add(message, Relaxed);
                        }
                    });
                }
            });
            let counted = *counted.lock().unwrap();
            (counted, total.load(Relaxed))
        });
        let expected: u64 = (0..4)
            .map(|p| (0..500).map(|n| p * 1000 + n).sum::<u64>())
            .sum();
        assert_eq!(sum, (2000, expected));
        if capacity == 16 && rt.snapshot().monitor.requested > 0 {
            break;
        }
    }
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// Mask and `errno` of a thread are what they were, whatever was done to it.
#[test]
fn mask_and_errno_stay() {
    let mask = blocked_signals();
    under_freezes("mask", 4, 50, move |number| {
        // SAFETY: always valid for the calling thread.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        unsafe { *errno = 40 + number as i32 };
        for _ in 0..500_000 {
            std::hint::spin_loop();
        }
        // SAFETY: as above; nothing in between was a call into the runtime.
        assert_eq!(unsafe { *errno }, 40 + number as i32);
        assert_eq!(blocked_signals(), mask);
    });
}

/// Children are started, by `posix_spawn` and by `fork`, while threads are frozen.
#[test]
fn children_are_started() {
    use std::os::unix::process::CommandExt;
    let watchdog = Watchdog::new("children");
    let rt = runtime(2);
    watchdog.watch("children", &rt.handle());
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            rt.spawn(move || {
                while !stop.load(Relaxed) {
                    black_box(vec![1u8; 100]);
                }
            })
        })
        .collect();
    // Each begins, blocks its thread and ends: none is ever a hostage of a loop.
    let starters: Vec<_> = (0..20)
        .map(|n| {
            rt.spawn(move || {
                let mut command = Command::new("sh");
                command.args(["-c", "exit 7"]).stdin(Stdio::null());
                if n % 2 == 0 {
                    // SAFETY: does nothing; it makes the standard library fork.
                    unsafe { command.pre_exec(|| Ok(())) };
                }
                assert_eq!(command.status().unwrap().code(), Some(7));
            })
        })
        .collect();
    starters.into_iter().for_each(|one| one.join().unwrap());
    stop.store(true, Relaxed);
    hogs.into_iter().for_each(|one| one.join().unwrap());
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// A panic unwinds through frames whose thread was frozen in the midst of it.
#[test]
fn panics() {
    quiet_panics();
    under_freezes("panics", 6, 100, |number| {
        let deep = std::panic::catch_unwind(|| deep(number, 40)).unwrap_err();
        assert_eq!(deep.downcast_ref::<u64>(), Some(&number));
    });

    #[inline(never)]
    fn deep(number: u64, depth: u32) -> u64 {
        let kept = vec![number; 8];
        if depth == 0 {
            std::panic::panic_any(number);
        }
        deep(number, depth - 1) + black_box(kept)[0]
    }
}

/// Preemption is switched while everything runs.
#[test]
fn it_can_be_switched_off_and_on() {
    under_freezes_with("switch", |rt| {
        let forced = || rt.snapshot().monitor.forced;
        for round in 0..10 {
            let mut change = ConfigChange::default();
            change.preemption = Some([Preemption::Off, Preemption::Cooperative][round % 2]);
            rt.handle().reconfigure(change).unwrap();
            let mut change = ConfigChange::default();
            change.preemption = Some(Preemption::Forced);
            change.slice = Some(SLICE * (1 + round as u32 % 3));
            rt.handle().reconfigure(change).unwrap();
            let before = forced();
            until("it is on again", || forced() > before);
        }
    });
}

/// Each freeze serves deadlines first: a sleeper that is due does not wait until a loop that wants the worker has
/// had it for a slice. Its deadline is far shorter than a slice, so that it is due at the next freeze.
#[test]
fn a_deadline_goes_before_a_loop_that_wants_the_worker() {
    const TICKS: u64 = 100;
    let watchdog = Watchdog::new("deadline");
    let rt = Runtime::builder()
        .workers(1)
        .preemption(Preemption::Forced)
        .slice(2 * SLICE)
        .build()
        .unwrap();
    watchdog.watch("deadline", &rt.handle());
    let stop = Arc::new(AtomicBool::new(false));
    let loops = loops(&rt, 4, &stop);
    let forced = || rt.snapshot().monitor.forced;
    until("some are frozen", || forced() > 5);
    let before = forced();
    let ticker = rt.spawn_turns(0, |ticks| {
        *ticks += 1;
        match *ticks {
            TICKS => Turn::Done(()),
            _ => Turn::Sleep(SLICE / 10),
        }
    });
    ticker.join().unwrap();
    let freezes = forced() - before;
    assert!(freezes < TICKS * 3 / 2, "{freezes} freezes, {TICKS} ticks");
    stop.store(true, Relaxed);
    loops.into_iter().for_each(|one| one.join().unwrap());
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// A dump of stacks tells of frozen code where it stands, down to its first function.
#[test]
fn a_dump_shows_where_frozen_code_stands() {
    #[inline(never)]
    fn spins(stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            std::hint::spin_loop();
        }
    }
    let watchdog = Watchdog::new("dump");
    let rt = runtime(1);
    watchdog.watch("dump", &rt.handle());
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            rt.spawn(move || spins(&stop))
        })
        .collect();
    let handle = rt.handle();
    let mut frozen = None;
    until("a frozen one is seen", || {
        let seen = profile::stacks(&handle)
            .into_iter()
            .filter(|seen| seen.view.state == RoutineState::Running);
        frozen = seen.filter_map(|seen| seen.frames.ok()).next();
        frozen.is_some()
    });
    let frames = frozen.unwrap();
    let start = spins as fn(&AtomicBool) as usize;
    // In a debug build `load` and `spin_loop` are functions.
    let spinning = frames
        .iter()
        .take(6)
        .any(|at| (start..start + 512).contains(at));
    assert!(spinning, "{start:#x} is not in {frames:#x?}");
    assert!(frames.len() > 3, "and its callers: {frames:#x?}");
    stop.store(true, Relaxed);
    hogs.into_iter().for_each(|one| one.join().unwrap());
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// Loops with a checkpoint give way there, before they are forced.
#[test]
fn who_asks_is_not_forced() {
    let watchdog = Watchdog::new("checkpoint");
    let rt = runtime(1);
    watchdog.watch("checkpoint", &rt.handle());
    let stop = Arc::new(AtomicBool::new(false));
    let polite: Vec<_> = (0..3)
        .map(|_| {
            let stop = stop.clone();
            rt.spawn(move || {
                while !stop.load(Relaxed) {
                    openwork::checkpoint();
                }
            })
        })
        .collect();
    until("each has given way", || {
        rt.snapshot().workers[0].yields > 50
    });
    stop.store(true, Relaxed);
    polite.into_iter().for_each(|one| one.join().unwrap());
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// Cancelled and frozen at once, over and over.
#[test]
fn cancels() {
    let watchdog = Watchdog::new("cancels");
    let rt = runtime(2);
    watchdog.watch("cancels", &rt.handle());
    rt.block_on(|| {
        for _ in 0..30 {
            let loops: Vec<_> = (0..4)
                .map(|_| {
                    spawn(|| {
                        loop {
                            for _ in 0..300_000 {
                                std::hint::spin_loop();
                            }
                            time::sleep(Duration::from_micros(10));
                        }
                    })
                })
                .collect::<Vec<openwork::JoinHandle<()>>>();
            time::sleep(Duration::from_millis(3));
            for one in &loops {
                one.abort();
            }
            for one in loops {
                assert!(one.join().is_err());
            }
        }
    });
    rt.shutdown(Duration::from_secs(60)).unwrap();
}

/// A debugger stops all threads, looks, and lets them go.
#[test]
fn a_debugger_comes_and_goes() {
    if Command::new("gdb").arg("--version").output().is_err() {
        println!("skipped: there is no gdb here");
        return;
    }
    under_freezes_with("gdb", |rt| {
        let before = rt.snapshot().monitor.forced;
        let output = Command::new("gdb")
            .args(["-batch", "-nx", "-p", &std::process::id().to_string()])
            .args(["-ex", "thread apply all bt 3", "-ex", "detach"])
            .output()
            .unwrap();
        if !output.status.success() {
            println!("skipped: gdb may not attach here: {}", output.status);
            return;
        }
        until("they are frozen on", || {
            rt.snapshot().monitor.forced > before + 10
        });
    });
}

fn under_freezes_with(what: &str, during: impl FnOnce(&Runtime)) {
    let watchdog = Watchdog::new(what);
    let rt = runtime(2);
    watchdog.watch(what, &rt.handle());
    let stop = Arc::new(AtomicBool::new(false));
    let hogs = loops(&rt, 6, &stop);
    until("some are frozen", || rt.snapshot().monitor.forced > 5);
    during(&rt);
    stop.store(true, Relaxed);
    hogs.into_iter().for_each(|one| one.join().unwrap());
    rt.shutdown(Duration::from_secs(60)).unwrap();
}
