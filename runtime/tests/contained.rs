//! What `contain_overflow` promises: one routine ends, all others go on, and where that cannot be had the
//! process ends with a report that says why.

#![cfg(not(portable))]

mod support;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use openwork::snapshot::GuardMode;
use openwork::{
    Builder, JoinError, Runtime, SpawnError, Workload, hold_thread, routine_local, scope, spawn,
    time, yield_now,
};
use support::this_binary;

const TOO_DEEP: u64 = 1 << 40;

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let mut frame = [depth; 64];
    black_box(&mut frame);
    if depth == 0 {
        return 0;
    }
    recurse(depth - 1) + frame[depth as usize % 64]
}

/// A builder of routines that may overflow.
fn contained(runtime: &Runtime) -> Builder {
    // SAFETY: nothing that the routines of these tests have in their frames must be dropped, and what they
    // share is whole whenever they recurse.
    unsafe { Builder::new().on(&runtime.handle()).contain_overflow() }
}

#[track_caller]
fn overflowed<T: std::fmt::Debug>(joined: Result<T, JoinError>, bytes: u64, on_segment: bool) {
    match joined {
        Err(JoinError::Overflowed(why)) => {
            assert_eq!((why.stack_bytes, why.on_segment), (bytes, on_segment));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn others_go_on_and_the_stack_is_never_used_again() {
    for guard in [GuardMode::Auto, GuardMode::Mprotect] {
        let runtime = Runtime::builder().workers(2).guard(guard).build().unwrap();
        let rounds = Arc::new(AtomicU64::new(0));
        let counted = rounds.clone();
        let other = runtime.spawn(move || {
            for _ in 0..200 {
                counted.fetch_add(1, Relaxed);
                time::sleep(Duration::from_micros(100));
            }
        });
        let mut lost = 0;
        for log2 in 15..=20 {
            let bytes = 1 << log2;
            for before in [false, true] {
                let routine = contained(&runtime).name("deep").stack_size(bytes);
                let routine = routine.spawn(move || {
                    if before {
                        yield_now();
                        time::sleep(Duration::from_micros(10));
                    }
                    recurse(TOO_DEEP)
                });
                overflowed(routine.unwrap().join(), bytes as u64, false);
                lost += 1;
                let sum = runtime.spawn(|| recurse(20)).join().unwrap();
                assert_eq!(sum, 210);
            }
        }
        other.join().unwrap();
        assert_eq!(rounds.load(Relaxed), 200);
        let began = Instant::now();
        while runtime.snapshot().routines.live() > 0 || runtime.snapshot().stacks.in_use > lost {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{:?}",
                runtime.snapshot().routines
            );
            std::thread::yield_now();
        }
        let snapshot = runtime.snapshot();
        assert_eq!(
            (snapshot.stacks.contained, snapshot.stacks.in_use),
            (lost, lost)
        );
        assert_eq!((snapshot.panics, snapshot.routines.panicked), (lost, lost));
        runtime.shutdown(Duration::from_secs(10)).unwrap();
    }
}

/// The segment is used up, not the routine's own stack, and both are given up.
#[cfg(feature = "growth")]
#[test]
fn on_a_segment_too() {
    use openwork::with_segment;

    let runtime = Runtime::builder().workers(1).build().unwrap();
    let routine = contained(&runtime).spawn(|| {
        with_segment(1 << 20, || {
            with_segment(128 << 10, || recurse(TOO_DEEP)).unwrap();
        })
        .unwrap();
    });
    overflowed(routine.unwrap().join(), 128 << 10, true);
    let after = runtime.block_on(|| with_segment(1 << 20, || recurse(1000)).unwrap());
    assert_eq!(after, 1000 * 1001 / 2);
    assert_eq!(runtime.snapshot().stacks.contained, 1);
}

struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

routine_local!(static LOCAL: Counted = Counted(Arc::default()));

/// No destructor of a frame runs; what lies elsewhere goes as at any end: routine-locals, the place with a
/// workload, the hold on the thread.
#[test]
fn frames_are_forgotten_and_all_else_is_let_go() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let workload = Workload::new("deep");
    let in_frame = Arc::new(AtomicU64::new(0));
    let in_local = Arc::new(AtomicU64::new(0));
    let (frame, local) = (in_frame.clone(), in_local.clone());
    let routine = contained(&runtime).workload(&workload).spawn(move || {
        let _frame = Counted(frame);
        LOCAL.with(|value| {
            // The value is made, and let go of again.
            drop(value.0.clone());
        });
        let kept = Counted(local);
        std::thread_local!(static NOTHING: u64 = const { 7 });
        assert_eq!(NOTHING.with(|n| *n), 7);
        let kept = Arc::new(kept);
        hold_thread(|| {
            black_box(&kept);
            recurse(TOO_DEEP)
        })
    });
    overflowed(routine.unwrap().join(), 64 << 10, false);
    assert_eq!((in_frame.load(Relaxed), in_local.load(Relaxed)), (0, 0));
    // The only worker runs others again.
    assert!(runtime.snapshot().workers[0].held_by.is_none());
    assert_eq!(runtime.block_on(|| spawn(|| 5).join().unwrap()), 5);
    assert_eq!(workload.counters().panicked, 1);
}

#[test]
fn a_routine_local_is_dropped() {
    routine_local!(static MINE: std::cell::RefCell<Option<Counted>> = std::cell::RefCell::new(None));
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let drops = Arc::new(AtomicU64::new(0));
    let counted = drops.clone();
    let routine = contained(&runtime).spawn(move || {
        MINE.with(|mine| *mine.borrow_mut() = Some(Counted(counted)));
        recurse(TOO_DEEP)
    });
    overflowed(routine.unwrap().join(), 64 << 10, false);
    assert_eq!(drops.load(Relaxed), 1);
}

/// Whoever awaits it, joins it from a thread, or has let go of it.
#[test]
fn all_kinds_of_waiters_are_told() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let deep = || contained(&runtime).spawn(|| recurse(TOO_DEEP)).unwrap();
    let awaited = deep();
    let found = runtime.spawn_future(async move { awaited.await.is_err() });
    assert!(found.join().unwrap());
    let joined = deep();
    assert!(runtime.block_on(|| joined.join().is_err()));
    deep().detach();
    let began = Instant::now();
    while runtime.snapshot().routines.live() > 0 {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    let why = deep().join().unwrap_err();
    assert_eq!(
        why.message(),
        "the routine overflowed its stack of 65536 bytes"
    );
    runtime.shutdown(Duration::from_secs(10)).unwrap();
}

#[test]
fn what_borrows_cannot_be_contained() {
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let refused = contained(&runtime).spawn_future(async {}).unwrap_err();
    assert_eq!(refused, SpawnError::CannotContain);
    runtime.block_on(|| {
        scope(|s| {
            // SAFETY: it is never spawned.
            let builder = unsafe { Builder::new().contain_overflow() };
            let refused = s.spawn_as(builder, || ()).map(drop).unwrap_err();
            assert_eq!(refused, SpawnError::CannotContain);
        });
    });
    // After the scope it is as before.
    let routine = contained(&runtime).spawn(|| {
        scope(|s| drop(s.spawn(|| ())));
        recurse(TOO_DEEP)
    });
    overflowed(routine.unwrap().join(), 64 << 10, false);
}

/// In a process of its own, whose end or standard error is looked at.
fn child(test: &str) -> Option<(Output, String)> {
    const MARK: &str = "OPENWORK_TEST_CONTAINED";
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let mut child = this_binary();
    let child = child.args(["--exact", test, "--nocapture"]).env(MARK, "1");
    let output = child.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Some((output, stderr))
}

#[track_caller]
fn aborted_saying(child: (Output, String), why: &str) {
    const SIGABRT: i32 = 6;
    assert_eq!(child.0.status.signal(), Some(SIGABRT), "{}", child.1);
    assert!(child.1.contains(why), "{}", child.1);
}

#[test]
fn the_report_says_that_it_was_contained() {
    if let Some((output, stderr)) = child("the_report_says_that_it_was_contained") {
        assert!(output.status.success(), "{stderr}");
        let reports = stderr.lines().filter(|line| line.starts_with("openwork: "));
        let reports: Vec<_> = reports.collect();
        assert_eq!(reports.len(), 3, "{stderr}");
        for report in reports {
            assert!(report.contains(" `deep` from ") && report.contains("contained.rs:"));
            assert!(
                report.ends_with("; contained: the routine ends alone"),
                "{report}"
            );
        }
        return;
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    for _ in 0..3 {
        let deep = contained(&runtime).name("deep").spawn(|| recurse(TOO_DEEP));
        overflowed(deep.unwrap().join(), 64 << 10, false);
    }
}

#[test]
fn an_open_scope_is_not_left() {
    if let Some(child) = child("an_open_scope_is_not_left") {
        return aborted_saying(
            child,
            "; not contained while a scope of it is open; aborting",
        );
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let deep = contained(&runtime).spawn(|| {
        let lent = [1; 4];
        scope(|s| {
            s.spawn(|| lent.iter().sum::<i32>());
            recurse(TOO_DEEP)
        })
    });
    let _ = deep.unwrap().join();
}

#[test]
fn a_panic_is_not_left() {
    if let Some(child) = child("a_panic_is_not_left") {
        return aborted_saying(child, "; not contained while it panics; aborting");
    }
    struct Deep;
    impl Drop for Deep {
        fn drop(&mut self) {
            recurse(TOO_DEEP);
        }
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let deep = contained(&runtime).spawn(|| {
        let _deep = Deep;
        panic!("and then its destructor overflows");
    });
    let _ = deep.unwrap().join();
}

/// The C library runs into the guard, as a deep function of its own would.
#[test]
fn foreign_code_is_named_and_not_left() {
    if let Some(child) = child("foreign_code_is_named_and_not_left") {
        let named =
            child.1.contains("routine ") && child.1.contains(" overflowed its stack of 64 KiB");
        assert!(named, "{}", child.1);
        return aborted_saying(child, "; not contained in foreign code; aborting");
    }
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let deep = contained(&runtime).spawn(|| {
        let here = 0u8;
        // Slots are aligned to their size, and begin with the guard.
        let guard = (&raw const here).map_addr(|here| here & !0xffff).cast_mut();
        // SAFETY: none: the fault is what is tested.
        unsafe { libc::memset(black_box(guard).cast(), 1, black_box(100)) };
    });
    let _ = deep.unwrap().join();
}

/// Over and over, from many routines at once, while others run on the same workers.
#[test]
fn a_crowd_of_overflows_leaves_the_rest_alone() {
    let runtime = Runtime::builder().workers(3).build().unwrap();
    let crowd: Vec<_> = (0..60u64)
        .map(|n| {
            let builder = contained(&runtime).stack_size(32 << 10);
            let deep = builder.spawn(move || {
                (0..n % 4).for_each(|_| yield_now());
                if n % 3 == 0 { recurse(TOO_DEEP) } else { n }
            });
            (n, deep.unwrap())
        })
        .collect();
    for (n, routine) in crowd {
        match routine.join() {
            Ok(value) => assert!(value == n && n % 3 != 0),
            joined => {
                assert_eq!(n % 3, 0);
                overflowed(joined, 32 << 10, false);
            }
        }
    }
    assert_eq!(runtime.snapshot().stacks.contained, 20);
    runtime.shutdown(Duration::from_secs(10)).unwrap();
}
