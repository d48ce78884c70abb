//! Child processes.

mod support;

use std::io::{self, BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use openwork::process::{Child, Command};
use openwork::snapshot::{RoutineState, WaitReason};
use openwork::{Cancelled, spawn, yield_now};
use support::{Watchdog, runtime, until};

const LONG: Duration = Duration::from_secs(100);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn is_running(pid: u32) -> bool {
    // A zombie has a folder as well, but no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The worker waits with the child.
#[test]
fn a_child_is_waited_for_without_a_worker() {
    let watchdog = Watchdog::new("wait");
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("wait", &handle);
    let (status, turns) = rt.block_on(|| {
        let mut child = shell("read line; exit 7")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let waiter = spawn(move || child.wait());
        let mut turns = 0;
        while !waiter.is_finished() {
            yield_now();
            turns += 1;
            if turns == 100 {
                (&stdin).write_all(b"line\n").unwrap();
            }
        }
        (waiter.join().unwrap().unwrap(), turns)
    });
    assert_eq!(status.code(), Some(7));
    assert!(turns >= 100);
    rt.shutdown(LONG).unwrap();
}

#[test]
fn a_child_talks_through_pipes() {
    let _watchdog = Watchdog::new("talk");
    let rt = runtime(1);
    rt.block_on(|| {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        let mut from = BufReader::new(child.stdout.take().unwrap());
        for n in 0..100 {
            writeln!(to, "line {n}").unwrap();
            let mut line = String::new();
            from.read_line(&mut line).unwrap();
            assert_eq!(line, format!("line {n}\n"));
        }
        drop(to);
        assert!(child.wait().unwrap().success());
        assert!(child.try_wait().unwrap().is_some(), "it stays known");
    });
    rt.shutdown(LONG).unwrap();
}

/// The child waits for one pipe to be read while we read the other.
#[test]
fn both_outputs_are_read() {
    let _watchdog = Watchdog::new("outputs");
    let rt = runtime(1);
    let run = || {
        let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; \
                      head -c 300000 /dev/zero >&2; exit 3";
        shell(script).output().unwrap()
    };
    // In a routine and on a thread.
    for output in [rt.block_on(run), run()] {
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (300_000, 600_000)
        );
    }
    let output = rt.block_on(|| {
        let mut command = shell("echo $NAME; pwd; cat");
        command.env_clear().env("NAME", "set").current_dir("/");
        let first = command.output().unwrap();
        assert_eq!(command.output().unwrap().stdout, first.stdout, "used again");
        first
    });
    assert_eq!(output.stdout, b"set\n/\n");
    let missing = rt.block_on(|| Command::new("/nothing/here").spawn().unwrap_err());
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    rt.shutdown(LONG).unwrap();
}

fn check_limits(mut child: Child) {
    let soon = Duration::from_millis(2);
    assert!(child.try_wait().unwrap().is_none());
    assert!(child.wait_timeout(soon).unwrap().is_none());
    assert!(
        child
            .wait_deadline(Instant::now() + soon)
            .unwrap()
            .is_none()
    );
    // Between two programs a process has no command line.
    until("it runs", || is_running(child.id()));
    child.kill().unwrap();
    assert!(!child.wait_timeout(LONG).unwrap().unwrap().success());
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_wait_ends_in_time() {
    let _watchdog = Watchdog::new("limits");
    let rt = runtime(1);
    rt.block_on(|| check_limits(Command::new("sleep").arg("1000").spawn().unwrap()));
    check_limits(Command::new("sleep").arg("1000").spawn().unwrap());
    rt.shutdown(LONG).unwrap();
}

/// A cancel leaves a child behind that nobody knows, or ends one that somebody holds.
#[test]
fn a_cancel_ends_the_wait_and_orphans_nobody() {
    let watchdog = Watchdog::new("cancel");
    let rt = runtime(2);
    let handle = rt.handle();
    watchdog.watch("cancel", &handle);
    let (tell, told) = std::sync::mpsc::channel();
    let waiter = rt.spawn(move || {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let cancelled = child.wait().unwrap_err();
        tell.send(child).unwrap();
        cancelled
    });
    let waits = |id| {
        let state = handle.routine(id).map(|view| view.state);
        state == Some(RoutineState::Blocked(WaitReason::Io))
    };
    until("it waits", || waits(waiter.id()));
    waiter.cancel(LONG);
    let cancelled = waiter.join().unwrap();
    assert!(cancelled.get_ref().unwrap().is::<Cancelled>());
    let mut child = told.recv().unwrap();
    // One that was killed never has a command line again.
    until("it runs", || is_running(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();

    for with_output in [false, true] {
        let folder = std::env::temp_dir().join(format!("openwork-orphan-{}", std::process::id()));
        let at = folder.clone();
        let waiter = rt.spawn(move || {
            let mut command = shell(&format!("echo $$ > {}; exec sleep 1000", at.display()));
            match with_output {
                true => command.output().map(|output| output.status),
                false => command.status(),
            }
        });
        let mut pid = None;
        until("it has said its number", || {
            let text = std::fs::read_to_string(&folder).unwrap_or_default();
            pid = text.trim().parse().ok();
            pid.is_some()
        });
        let pid: u32 = pid.unwrap();
        until("it runs", || is_running(pid));
        if with_output {
            // Asked, and not told: then it is an error first.
            waiter.cancel(LONG);
            let told = waiter.join().unwrap().unwrap_err();
            assert!(told.get_ref().unwrap().is::<Cancelled>());
        } else {
            waiter.abort();
            assert!(waiter.join().is_err());
        }
        until("the child is gone", || {
            !std::fs::exists(format!("/proc/{pid}")).unwrap()
        });
        std::fs::remove_file(&folder).unwrap();
    }
    rt.shutdown(LONG).unwrap();
}

/// Waits for many children at once take a thread each, or lose an end.
#[test]
fn many_children_at_once() {
    let watchdog = Watchdog::new("many");
    let rt = runtime(2);
    watchdog.watch("many", &rt.handle());
    let children: Vec<_> = (0..40)
        .map(|n| rt.spawn(move || shell(&format!("exit {n}")).status().unwrap().code()))
        .collect();
    for (n, child) in children.into_iter().enumerate() {
        assert_eq!(child.join().unwrap(), Some(n as i32));
    }
    rt.shutdown(LONG).unwrap();
}
