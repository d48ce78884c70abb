//! What the CPU sampler promises: it names what runs and on whose behalf, survives any number of
//! stack switches, and accounts for every signal.
//!
//! Not in portable builds, which do not sample: `elsewhere.rs` has their answer.
#![cfg(not(portable))]

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openwork::profile::cpu::{self, Profile, StartError};
use openwork::{Builder, Runtime, Workload};

/// There is one session at a time in the process.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Runtime {
    Runtime::builder().workers(2).build().unwrap()
}

fn mentions(frames: &[usize], name: &str) -> bool {
    frames.iter().any(|&frame| {
        let mut found = false;
        backtrace::resolve(frame as *mut _, |symbol| {
            found |= symbol
                .name()
                .is_some_and(|known| known.to_string().contains(name));
        });
        found
    })
}

#[track_caller]
fn check_sums(profile: &Profile) {
    assert_eq!(
        profile.taken,
        profile.samples.len() as u64 + profile.skipped_in_switch + profile.lost
    );
}

/// CPU time of the calling thread, or of the process. Tests measure by it what they wait for,
/// because a busy machine gives them less of it, and fewer samples with it.
fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes into a value on this frame.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Computes for so much CPU time. Asks for the time rarely: in the C library this function is not seen
/// as the caller.
#[inline(never)]
fn marked_computation(length: Duration) {
    let thread = libc::CLOCK_THREAD_CPUTIME_ID;
    let end = cpu_time(thread) + length;
    let mut sum = 1_u64;
    while cpu_time(thread) < end {
        for i in 0..200_000 {
            sum = black_box(sum.wrapping_mul(31) ^ i);
        }
    }
}

/// The profile of a routine that computes is mostly that computation, labelled, and ends at the
/// routine's root.
#[test]
fn a_busy_routine_is_named() {
    let _alone = alone();
    let runtime = runtime();
    let session = cpu::start(&runtime.handle(), 250).unwrap();
    let routine = Builder::new()
        .name("burner")
        .workload(&Workload::new("burning for a test with a long name"))
        .on(&runtime.handle())
        .spawn(|| marked_computation(Duration::from_millis(500)))
        .unwrap();
    let id = routine.id();
    routine.join().unwrap();
    let profile = session.stop();
    check_sums(&profile);
    let mine: Vec<_> = profile
        .samples
        .iter()
        .filter(|sample| sample.routine == Some(id))
        .collect();
    let named = mine
        .iter()
        .filter(|sample| mentions(&sample.frames, "marked_computation"))
        .count();
    // A kernel that ticks 100 times a second gives 50, fewer where the processor is shared: 8 were seen.
    assert!(mine.len() >= 2, "{} samples", mine.len());
    assert!(
        named * 10 + 10 >= mine.len() * 9,
        "{named} of {}",
        mine.len()
    );
    for sample in mine {
        assert_eq!(sample.name.as_deref(), Some("burner"));
        assert_eq!(
            sample.workload.as_deref(),
            Some("burning for a test with a long n")
        );
        assert!(sample.cpu_ns >= 4_000_000);
        assert!(!mentions(&sample.frames, "WorkerCore"), "past the root");
    }
    let sampled: u64 = profile.samples.iter().map(|sample| sample.cpu_ns).sum();
    assert!(sampled as u128 <= profile.cpu.as_nanos() + 2 * 4_000_000);
    assert!(profile.achieved_hz.unwrap() <= 275.0);
}

#[inline(never)]
fn recurse(depth: usize, go: &AtomicBool) -> usize {
    if depth > 0 {
        return black_box(recurse(depth - 1, go) + 1);
    }
    for _ in 0..100 {
        openwork::yield_now();
        if !go.load(Relaxed) {
            break;
        }
    }
    depth
}

/// Deep and shallow routines that switch all the time, at the highest rate: in this setting handlers
/// that unwind inside a switch, or on the routine's stack, crash within seconds.
#[test]
fn switching_routines_survive_being_sampled() {
    let _alone = alone();
    let runtime = runtime();
    let go = Arc::new(AtomicBool::new(true));
    let mut session = cpu::start(&runtime.handle(), 1000).unwrap();
    let routines: Vec<_> = (0..8)
        .map(|i| {
            let go = go.clone();
            runtime.spawn(move || {
                while go.load(Relaxed) {
                    recurse(if i % 2 == 0 { 3 } else { 150 }, &go);
                }
            })
        })
        .collect();
    let process = libc::CLOCK_PROCESS_CPUTIME_ID;
    let end = cpu_time(process) + Duration::from_secs(4);
    while cpu_time(process) < end {
        std::thread::park_timeout(Duration::from_millis(50));
        session.drain();
    }
    let turns: u64 = runtime.snapshot().workers.iter().map(|w| w.turns()).sum();
    let profile = session.stop();
    go.store(false, Relaxed);
    for routine in routines {
        routine.join().unwrap();
    }
    check_sums(&profile);
    assert!(turns > 100_000, "{turns} turns");
    assert!(profile.samples.len() > 100, "{}", profile.samples.len());
    assert!(profile.skipped_in_switch * 2 < profile.taken, "{profile:?}");
    let deep = |sample: &&cpu::Sample| sample.frames.len() == 128;
    assert!(profile.samples.iter().filter(deep).count() > 10);
}

#[test]
fn one_session_at_a_time() {
    let _alone = alone();
    let runtime = runtime();
    let handle = runtime.handle();
    for hz in [0, 1001, u32::MAX] {
        assert!(matches!(cpu::start(&handle, hz), Err(StartError::Rate { hz: h }) if h == hz));
    }
    let first = cpu::start(&handle, 100).unwrap();
    assert!(matches!(
        cpu::start(&handle, 100),
        Err(StartError::AlreadyRunning)
    ));
    drop(first);
    let second = cpu::start(&handle, 1).unwrap().stop();
    assert_eq!(second.asked_hz, 1);
    assert_eq!(second.achieved_hz, None, "idle workers have no rate");
    check_sums(&second);
}

/// The threads that are sampled end before the session does.
#[test]
fn a_session_outlives_its_runtime() {
    let _alone = alone();
    let runtime = runtime();
    let session = cpu::start(&runtime.handle(), 250).unwrap();
    runtime
        .spawn(|| marked_computation(Duration::from_millis(100)))
        .join()
        .unwrap();
    runtime.shutdown(Duration::from_secs(100)).unwrap();
    let profile = session.stop();
    check_sums(&profile);
    assert!(profile.taken > 0);
}

/// A thread that is started after the session was begun, and is given a worker, is sampled, and its samples name
/// the worker.
#[test]
fn threads_that_come_later_are_sampled() {
    let _alone = alone();
    let runtime = Runtime::builder()
        .workers(1)
        .hand_off(true)
        .build()
        .unwrap();
    if !runtime.handle().config().hand_off {
        eprintln!("skipped: no hand-off here");
        return;
    }
    let mut session = cpu::start(&runtime.handle(), 250).unwrap();
    // The only worker leaves threads that sleep in the kernel, more than there are now.
    let asleep = runtime.snapshot().threads.total + 2;
    let (reader, mut writer) = std::io::pipe().unwrap();
    let sleepers: Vec<_> = (0..asleep)
        .map(|_| {
            let mut reader = reader.try_clone().unwrap();
            runtime.spawn(move || reader.read_exact(&mut [0]).unwrap())
        })
        .collect();
    let patience = Instant::now() + Duration::from_secs(120);
    while runtime.snapshot().threads.away < asleep {
        assert!(
            Instant::now() < patience,
            "{:?}",
            runtime.snapshot().threads
        );
        std::thread::yield_now();
    }
    let burns = runtime.spawn(|| marked_computation(Duration::from_millis(500)));
    let id = burns.id();
    while !burns.is_finished() {
        session.drain();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    burns.join().unwrap();
    writer.write_all(&vec![1; asleep as usize]).unwrap();
    sleepers.into_iter().for_each(|one| one.join().unwrap());
    let profile = session.stop();
    check_sums(&profile);
    assert_eq!(profile.unwatched, 0);
    let of_it = profile.samples.iter().filter(|s| s.routine == Some(id));
    let workers: Vec<_> = of_it.map(|sample| sample.worker).collect();
    assert!(workers.len() >= 2, "{} samples", workers.len());
    assert!(workers.iter().all(|worker| worker.is_some()), "{workers:?}");
    let sampled: u64 = profile.samples.iter().map(|sample| sample.cpu_ns).sum();
    let room = (asleep as u128 + 2) * 4_000_000;
    assert!(sampled as u128 <= profile.cpu.as_nanos() + room);
}

/// Sessions begun and dropped while signals are in flight, by a routine that is sampled itself.
#[test]
fn sessions_come_and_go_under_load() {
    let _alone = alone();
    let runtime = runtime();
    let go = Arc::new(AtomicBool::new(true));
    let busy = {
        let go = go.clone();
        runtime.spawn(move || {
            while go.load(Relaxed) {
                recurse(20, &go);
            }
        })
    };
    let handle = runtime.handle();
    runtime
        .spawn(move || {
            for _ in 0..200 {
                let session = cpu::start(&handle, 1000).unwrap();
                marked_computation(Duration::from_millis(3));
                check_sums(&session.stop());
            }
        })
        .join()
        .unwrap();
    go.store(false, Relaxed);
    busy.join().unwrap();
}
