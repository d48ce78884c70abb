//! A routine that overflows its stack is named before the process ends: on standard error and in the
//! file of `overflow::report_to`.
//!
//! The promise is about the end of a process, so each test runs itself again in a process of its own.
//!
//! Not in portable builds, where the system reports an overflow.
#![cfg(not(portable))]

mod support;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Output;

use openwork::snapshot::GuardMode;
use openwork::{Builder, Runtime, Turn};

const REPORT_PATH: &str = "OPENWORK_TEST_REPORT";
const SIGABRT: i32 = 6;

/// Deeper than any stack that these tests give.
const TOO_DEEP: u64 = 10_000_000;

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if depth == 0 {
        return 0;
    }
    recurse(depth - 1) + frame[depth as usize % 64]
}

/// Runs `test` again with a file to report to; `None` in that process.
fn child(test: &str) -> Option<(Output, String)> {
    if std::env::var_os(REPORT_PATH).is_some() {
        return None;
    }
    let path = std::env::temp_dir().join(format!("openwork-{}-{test}", std::process::id()));
    let output = support::this_binary()
        .args(["--exact", test, "--nocapture"])
        .env(REPORT_PATH, &path)
        .output()
        .unwrap();
    let report = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(&path);
    Some((output, report))
}

fn report_to_the_parent() {
    let path = std::env::var_os(REPORT_PATH).expect("only in the child");
    openwork::overflow::report_to(File::create(Path::new(&path)).unwrap());
}

/// The child aborted, and said the same line, with all `parts`, in both places.
#[track_caller]
fn check(child: (Output, String), parts: &[&str]) {
    let (output, report) = child;
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
    for part in parts {
        assert!(report.contains(part), "{part:?} is missing in {report:?}");
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains(&report),
        "{report:?} is missing in {stderr:?}"
    );
    assert_eq!(report.matches('\n').count(), 1, "{report:?}");
}

fn a_named_routine_overflows(test: &str, guard: GuardMode) {
    if let Some(child) = child(test) {
        check(
            child,
            &[
                "openwork: routine ",
                " `miner` from ",
                "overflow.rs:",
                " overflowed its stack of 64 KiB (fault at 0x",
            ],
        );
        return;
    }
    report_to_the_parent();
    let runtime = Runtime::builder().workers(2).guard(guard).build().unwrap();
    runtime.block_on(|| {
        let miner = Builder::new()
            .name("miner")
            .stack_size(64 << 10)
            .spawn(|| recurse(TOO_DEEP))
            .unwrap();
        miner.join().unwrap()
    });
}

#[test]
fn an_overflowing_routine_is_named_with_its_spawn_site() {
    a_named_routine_overflows(
        "an_overflowing_routine_is_named_with_its_spawn_site",
        GuardMode::Auto,
    );
}

#[test]
fn an_overflowing_routine_is_named_where_guards_are_mprotect() {
    a_named_routine_overflows(
        "an_overflowing_routine_is_named_where_guards_are_mprotect",
        GuardMode::Mprotect,
    );
}

/// After it has blocked and been resumed, and on a stack of its own size.
#[test]
fn a_resumed_routine_on_a_large_stack_is_named_too() {
    if let Some(child) = child("a_resumed_routine_on_a_large_stack_is_named_too") {
        check(child, &[" overflowed its stack of 1 MiB (fault at 0x"]);
        return;
    }
    report_to_the_parent();
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.block_on(|| {
        let routine = Builder::new()
            .stack_size(1 << 20)
            .spawn(|| {
                openwork::yield_now();
                openwork::time::sleep(std::time::Duration::from_millis(1));
                recurse(TOO_DEEP)
            })
            .unwrap();
        routine.join().unwrap()
    });
}

/// A turn runs on a pooled stack that belongs to no routine between turns.
#[test]
fn a_routine_that_overflows_within_a_turn_is_named() {
    if let Some(child) = child("a_routine_that_overflows_within_a_turn_is_named") {
        check(child, &[" `search` from ", " overflowed its stack of "]);
        return;
    }
    report_to_the_parent();
    let runtime = Runtime::builder().workers(2).build().unwrap();
    runtime.block_on(|| {
        let search = Builder::new()
            .name("search")
            .spawn_turns(0u64, |turns| {
                *turns += 1;
                match *turns {
                    10 => Turn::Done(recurse(TOO_DEEP)),
                    _ => Turn::Again,
                }
            })
            .unwrap();
        search.join().unwrap()
    });
}

/// A stack of the size asked for is not merely reserved: nearly all of it can be used.
#[test]
fn a_large_stack_holds_what_a_small_one_cannot() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    // About 600 bytes a frame in the worst build: far above 64 KiB, well below 4 MiB.
    let sum = runtime.block_on(|| {
        let deep = Builder::new()
            .stack_size(4 << 20)
            .spawn(|| recurse(2_000))
            .unwrap();
        deep.join().unwrap()
    });
    assert_eq!(sum, 2_000 * 2_001 / 2);
}
