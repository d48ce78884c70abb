//! A runtime for a test, and a watchdog that turns a hang into a failure.
#![allow(dead_code, unreachable_pub, missing_docs)] // Each test file uses its part.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use openwork::{Handle, JoinError, JoinHandle, Runtime};
use openwork_workloads::RunError;

const PATIENCE: Duration = Duration::from_secs(120);

pub fn runtime() -> Runtime {
    Runtime::builder().workers(2).build().expect("a runtime")
}

/// How a run that gave no report ended.
#[derive(Debug, PartialEq)]
pub enum Ended {
    Cancelled,
    Failed(String),
}

/// Joins on a thread of its own, so that a run which never ends fails with a count of what is left.
#[track_caller]
pub fn join<T: Send + 'static>(
    handle: &Handle,
    root: JoinHandle<Result<T, RunError>>,
) -> Result<T, Ended> {
    let (ended, wait) = mpsc::channel();
    thread::spawn(move || ended.send(root.join()));
    match wait.recv_timeout(PATIENCE) {
        Ok(Ok(Ok(report))) => Ok(report),
        Ok(Err(JoinError::Cancelled) | Ok(Err(RunError::Cancelled))) => Err(Ended::Cancelled),
        Ok(Err(error)) => Err(Ended::Failed(error.message())),
        Ok(Ok(Err(error))) => Err(Ended::Failed(error.to_string())),
        Err(_) => panic!("not ended in time: {:?}", handle.snapshot().routines),
    }
}

/// Waits until `true`; there is no event to wait for where this is used.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        thread::yield_now();
    }
}
