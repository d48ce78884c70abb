//! The system refuses memory for a stack: the routine waits as long as something may change that,
//! and fails with a report when nothing can. In a binary of its own, because the limit on address
//! space is the process's.
//!
//! Not in portable builds, where a stack is a thread, and threads are not refused for want of a few MiB.
#![cfg(not(portable))]

mod support;

use std::time::Duration;

use openwork::{Builder, Handle, JoinError, Runtime};
use support::{Gate, Ledger, Watchdog, until};

const LONG: Duration = Duration::from_secs(100);

/// Sets the soft limit on address space to what is mapped now and `more` bytes, or lifts it.
fn limit_address_space(more: Option<u64>) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: fills in a local of the right type.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    assert_eq!(got, 0);
    limit.rlim_cur = match more {
        None => limit.rlim_max,
        Some(more) => {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
            pages * 4096 + more
        }
    };
    // SAFETY: reads a local of the right type.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    assert_eq!(set, 0);
}

/// Bytes: room for what the test itself needs, but not for the 4 MiB of the smallest segment of stacks.
const LITTLE: u64 = 3 << 20;

fn waiting(runtime: &Handle) -> u64 {
    runtime.snapshot().stacks.waiting
}

/// Broken by a routine that waits for an event of the runtime where only the system can help.
#[test]
fn a_refused_routine_waits_for_the_system_and_fails_when_nothing_can_help() {
    let watchdog = Watchdog::new("refused stacks");
    for workers in [1, 2] {
        let ledger = Ledger::new();
        // No spare threads: one that starts or ends moves the room that the limit leaves.
        let rt = Runtime::builder()
            .workers(workers)
            .hand_off(false)
            .build()
            .unwrap();
        let runtime = rt.handle();
        watchdog.watch("refused stacks", &runtime);

        // Nothing is in use, and the system refuses: the routine fails, and says why.
        limit_address_space(Some(LITTLE));
        let token = ledger.token();
        let failed = rt.spawn(move || drop(token)).join();
        let token = ledger.token();
        let future = rt.spawn_future(async move { drop(token) }).join();
        limit_address_space(None);
        for result in [failed, future] {
            match result {
                Err(why @ JoinError::Panicked(_)) => {
                    assert!(why.message().contains("no memory for a stack"), "{why}");
                }
                other => panic!("{other:?}"),
            }
        }
        ledger.check("captures of routines without a stack");
        assert_eq!(rt.spawn(|| 7).join().unwrap(), 7, "the runtime goes on");

        // A stack is in use, so it is worth while to wait: many routines of another size do, until
        // the system has memory again.
        let (gate, at) = (Gate::new(), Gate::new());
        let (go, begun) = (gate.clone(), at.clone());
        let holder = rt.spawn(move || {
            begun.open();
            go.wait();
        });
        at.spin();
        limit_address_space(Some(LITTLE));
        let refused: Vec<_> = (0..100)
            .map(|n| {
                Builder::new()
                    .on(&runtime)
                    .stack_size(512 << 10)
                    .spawn(move || n)
                    .unwrap()
            })
            .collect();
        until("they wait for a stack", || waiting(&runtime) == 100);
        let doomed = &refused[99];
        doomed.abort();
        // The others go on meanwhile.
        assert_eq!(rt.spawn(|| 8).join().unwrap(), 8);
        limit_address_space(None);
        for (n, handle) in refused.into_iter().enumerate() {
            match handle.join() {
                Ok(value) => assert_eq!(value, n),
                Err(why) => assert!(n == 99 && matches!(why, JoinError::Cancelled), "{n}: {why}"),
            }
        }
        assert_eq!(waiting(&runtime), 0);
        gate.open();
        holder.join().unwrap();
        let counts = runtime.snapshot().routines;
        assert_eq!((counts.live(), counts.new), (0, 0), "{counts:?}");
        rt.shutdown(LONG).unwrap();
    }
}
