//! A deadline costs no thread: the only test of its process, so that threads can be counted.
//!
//! Not in portable builds, where each routine is a thread.
#![cfg(not(portable))]

mod support;

use std::time::Duration;

use openwork::{Runtime, channel, time};
use support::{Watchdog, until};

const LONG: Duration = Duration::from_secs(3600);

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Thousands of bounded waits, sleeps and limits at once start no thread.
#[test]
fn waits_with_deadlines_start_no_thread() {
    const WAITS: usize = 3000;
    let watchdog = Watchdog::new("waits_with_deadlines_start_no_thread");
    // Without hand-off and homes that travel: they keep threads for reasons of their own.
    let rt = Runtime::builder()
        .workers(2)
        .hand_off(false)
        .travelling_homes(0)
        .build()
        .unwrap();
    let handle = rt.handle();
    watchdog.watch("waits", &handle);
    let before = threads();
    let (_tx, rx) = channel::bounded::<()>(1);
    let mut waits = Vec::new();
    for _ in 0..WAITS {
        let rx = rx.clone();
        waits.push(rt.spawn(move || assert!(rx.recv_timeout(LONG).is_err())));
        waits.push(rt.spawn(|| time::sleep(LONG)));
        let limited = time::timeout(LONG, std::future::pending::<()>());
        waits.push(rt.spawn_future(async { assert!(limited.await.is_err()) }));
    }
    until("all of them wait", || {
        let workers = handle.snapshot().workers;
        let pending: u64 = workers.iter().map(|worker| worker.timers.pending).sum();
        pending == 3 * WAITS as u64
    });
    assert_eq!(threads(), before);
    for wait in waits {
        wait.abort();
        assert!(wait.join().is_err());
    }
    assert_eq!(threads(), before);
}
