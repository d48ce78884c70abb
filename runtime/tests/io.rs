//! Pipes and the standard streams.

mod support;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openwork::io::{PipeReader, PipeWriter, pipe, stderr, stdin, stdout};
use openwork::snapshot::{RoutineState, WaitReason};
use openwork::{Cancelled, Runtime, spawn, spawn_future};
use support::{Watchdog, runtime, until};

const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(2);

/// A pipe that is full or empty holds the worker.
#[test]
fn pipes_carry_bytes_between_routines() {
    let watchdog = Watchdog::new("pipes");
    for workers in [1, 2] {
        let rt = runtime(workers);
        watchdog.watch("pipes", &rt.handle());
        let sums = rt.block_on(|| {
            let (mut reader, mut writer) = pipe().unwrap();
            let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
            let sent: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
            // Far more than a pipe holds.
            let writing = spawn(move || writer.write_all(&bytes));
            let mut got = Vec::new();
            assert_eq!(
                openwork::io::copy(&mut reader, &mut got).unwrap(),
                1_000_000
            );
            writing.join().unwrap().unwrap();
            (sent, got.iter().map(|byte| u64::from(*byte)).sum::<u64>())
        });
        assert_eq!(sums.0, sums.1);
        assert_eq!(rt.snapshot().blocking.submitted, 0, "no thread of the pool");
        rt.shutdown(LONG).unwrap();
    }
}

#[test]
fn a_pipe_ends_for_both_sides() {
    let _watchdog = Watchdog::new("pipe ends");
    let rt = runtime(1);
    rt.block_on(|| {
        let (mut reader, writer) = pipe().unwrap();
        let other = writer.try_clone().unwrap();
        (&other).write_all(b"last").unwrap();
        drop((writer, other));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "last");
        let (reader, mut writer) = pipe().unwrap();
        drop(reader);
        let broken = writer.write(b"x").unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    });
    rt.shutdown(LONG).unwrap();
}

#[test]
fn waits_end_in_time_and_by_cancels() {
    let watchdog = Watchdog::new("pipe limits");
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("pipe limits", &handle);
    let (mut reader, mut writer) = pipe().unwrap();
    reader.set_read_timeout(Some(SHORT)).unwrap();
    writer.set_write_deadline(Some(Instant::now() + SHORT));
    assert!(reader.set_read_timeout(Some(Duration::ZERO)).is_err());
    // On a thread, and in a routine.
    let late = reader.read(&mut [0]).unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    let (late, full) = rt.block_on(|| {
        let full = writer.write_all(&vec![0; 1 << 20]).unwrap_err();
        let mut drained = vec![0; 1 << 20];
        while reader.read(&mut drained).is_ok() {}
        (reader.read(&mut [0]).unwrap_err(), full)
    });
    assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    assert_eq!(full.kind(), io::ErrorKind::TimedOut);

    reader.set_read_timeout(None).unwrap();
    let waiter = rt.spawn(move || reader.read(&mut [0]));
    until("it waits", || {
        let state = handle.routine(waiter.id()).map(|view| view.state);
        state == Some(RoutineState::Blocked(WaitReason::Io))
    });
    waiter.cancel(LONG);
    let told = waiter.join().unwrap().unwrap_err();
    assert!(told.get_ref().unwrap().is::<Cancelled>());
    rt.shutdown(LONG).unwrap();
}

#[test]
fn futures_poll_pipes() {
    let _watchdog = Watchdog::new("polled pipes");
    let rt = runtime(2);
    let (reader, writer) = pipe().unwrap();
    let sum = rt.block_on(|| {
        let reading = spawn_future(async move {
            let (mut sum, mut buf) = (0, [0; 16]);
            loop {
                match std::future::poll_fn(|cx| reader.poll_read(cx, &mut buf))
                    .await
                    .unwrap()
                {
                    0 => return sum,
                    n => sum += buf[..n].iter().map(|b| u32::from(*b)).sum::<u32>(),
                }
            }
        });
        let writing = spawn_future(async move {
            for n in 0..200_u8 {
                std::future::poll_fn(|cx| writer.poll_write(cx, &[n]))
                    .await
                    .unwrap();
            }
        });
        writing.join().unwrap();
        reading.join().unwrap()
    });
    assert_eq!(sum, 199 * 200 / 2);
    rt.shutdown(LONG).unwrap();
}

/// A child gets a pipe that does not block.
#[test]
fn a_pipe_is_handed_to_a_child() {
    let _watchdog = Watchdog::new("handed on");
    let rt = runtime(1);
    rt.block_on(|| {
        let (reader, mut writer) = pipe().unwrap();
        let mut child = Command::new("cat")
            .stdin(reader)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut back =
            PipeReader::try_from(std::os::fd::OwnedFd::from(child.stdout.take().unwrap()));
        // It waits for us, and must not be told to come again.
        openwork::time::sleep(SHORT);
        writer.write_all(b"and back").unwrap();
        drop(writer);
        let mut text = String::new();
        back.as_mut().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "and back");
        assert!(child.wait().unwrap().success());
    });
    let (reader, writer) = pipe().unwrap();
    let (mut reader, mut writer) = (reader.into_std().unwrap(), writer.into_std().unwrap());
    writer.write_all(b"x").unwrap();
    reader.read_exact(&mut [0]).unwrap();
    drop((PipeReader::from_std(reader), PipeWriter::from_std(writer)));
    rt.shutdown(LONG).unwrap();
}

/// What [`the_standard_streams`] starts: this test in a process whose streams are pipes.
const CHILD: &str = "OPENWORK_TEST_STDIN";

#[test]
fn child_of_the_standard_streams() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let rt = Runtime::builder().workers(1).build().unwrap();
    rt.block_on(|| {
        let mut line = String::new();
        stdin().read_line(&mut line).unwrap();
        assert_eq!(line, "one\n");
        stdout().write_all(b"told: got one\n").unwrap();
        stdout().flush().unwrap();
        // Nothing comes: neither a time-out nor a cancel may lose what comes later.
        let late = stdin().read_timeout(&mut [0; 8], SHORT).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let waiter = spawn(|| stdin().read_line(&mut String::new()));
        openwork::yield_now();
        waiter.cancel(LONG);
        // Cancelled before it began, or in its wait.
        if let Ok(told) = waiter.join() {
            assert!(told.unwrap_err().get_ref().unwrap().is::<Cancelled>());
        }
        stderr().write_all(b"told: gave up twice\n").unwrap();
        // Two readers share what comes next: each line goes to one of them, whole.
        let readers: Vec<_> = (0..2)
            .map(|_| spawn(|| stdin().lines().map(Result::unwrap).collect::<Vec<_>>()))
            .collect();
        let mut lines: Vec<_> = readers
            .into_iter()
            .flat_map(|r| r.join().unwrap())
            .collect();
        lines.sort();
        assert_eq!(lines, ["four, without an end", "three", "two"]);
        assert_eq!(stdin().read(&mut [0; 8]).unwrap(), 0, "still at the end");
        stdout().write_all(b"told: the end\n").unwrap();
        stdout().flush().unwrap();
    });
    rt.shutdown(LONG).unwrap();
}

#[test]
fn the_standard_streams() {
    let _watchdog = Watchdog::new("standard streams");
    let mut child = support::this_binary()
        .args(["--exact", "child_of_the_standard_streams", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut give = child.stdin.take().unwrap();
    let said = |stream: &mut dyn BufRead| {
        loop {
            let mut line = String::new();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0, "it says no more");
            if let Some((_, told)) = line.split_once("told: ") {
                return told.trim().to_owned();
            }
        }
    };
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut err = BufReader::new(child.stderr.take().unwrap());
    give.write_all(b"one\n").unwrap();
    assert_eq!(said(&mut out), "got one");
    assert_eq!(said(&mut err), "gave up twice");
    give.write_all(b"two\nthree\nfour, with").unwrap();
    give.write_all(b"out an end").unwrap();
    drop(give);
    assert_eq!(said(&mut out), "the end");
    assert!(child.wait().unwrap().success());
}
