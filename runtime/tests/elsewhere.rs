//! What portable builds say that they cannot do, and what they do better: each routine has an OS thread.
#![cfg(portable)]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use openwork::config::{ConfigChange, ConfigError, Preemption};
use openwork::profile::cpu::{self, StartError};
use openwork::profile::{NoStack, stacks};
use openwork::snapshot::{GuardMode, IoBackend, IoReason};
use openwork::{BuildError, Runtime, spawn, time, yield_now};
use support::{Watchdog, runtime, until, until_blocked};

const LONG: Duration = Duration::from_secs(100);

thread_local!(static HERE: Cell<Option<u64>> = const { Cell::new(None) });

/// Thread-locals go with the routine, whoever else runs meanwhile on the same worker.
#[test]
fn thread_identity_is_the_routines_own() {
    let watchdog = Watchdog::new("identity");
    let rt = runtime(1);
    watchdog.watch("identity", &rt.handle());
    let same: Vec<bool> = rt.block_on(|| {
        let routines: Vec<_> = (0..50)
            .map(|number| {
                spawn(move || {
                    HERE.set(Some(number));
                    let held = Rc::new(number);
                    let thread = thread::current().id();
                    (0..20).all(|_| {
                        yield_now();
                        HERE.get() == Some(*held) && thread::current().id() == thread
                    })
                })
            })
            .collect();
        routines.into_iter().map(|r| r.join().unwrap()).collect()
    });
    assert_eq!(same, [true; 50]);
    rt.shutdown(LONG).unwrap();
}

#[test]
fn what_cannot_be_had_is_refused_with_the_reason() {
    let watchdog = Watchdog::new("refused");
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("refused", &handle);
    assert!(matches!(
        cpu::start(&handle, 100),
        Err(StartError::Unsupported)
    ));
    for mode in [GuardMode::Light, GuardMode::Mprotect] {
        let why = Runtime::builder()
            .workers(1)
            .guard(mode)
            .build()
            .unwrap_err();
        assert!(matches!(why, BuildError::Stacks(_)));
        assert!(why.to_string().contains(mode.name()), "{why}");
    }
    assert_eq!(rt.snapshot().stacks.mode, GuardMode::System);
    let refused = |set: &dyn Fn(&mut ConfigChange), asked: &str| {
        let mut change = ConfigChange::default();
        set(&mut change);
        let why = handle.reconfigure(change).unwrap_err();
        assert!(matches!(why, ConfigError::NotAvailable { .. }));
        assert!(why.to_string().contains(asked), "{why}");
    };
    refused(&|c| c.preemption = Some(Preemption::Forced), "forced");
    refused(&|c| c.hand_off = Some(true), "hand_off");

    let sleeper = rt.spawn(|| time::sleep(LONG));
    until_blocked(&handle, sleeper.id());
    let dump = stacks(&handle);
    assert_eq!(dump.len(), 1);
    assert_eq!(dump[0].frames, Err(NoStack::Elsewhere));
    assert_eq!(handle.sample_residency(10), None);
    sleeper.abort();
    assert!(sleeper.join().is_err());
}

/// One back end is all there is, and it says so.
#[test]
fn sockets_are_watched_by_what_the_system_has() {
    for (asked, reason) in [
        (IoBackend::Auto, IoReason::OnlyOne),
        (IoBackend::Uring, IoReason::OnlyOne),
        (IoBackend::Portable, IoReason::Asked),
    ] {
        let rt = Runtime::builder()
            .workers(1)
            .io_backend(asked)
            .build()
            .unwrap();
        rt.block_on(|| {
            let socket = openwork::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            socket.recv(&mut [0]).unwrap_err();
        });
        let io = rt.snapshot().io.unwrap();
        assert_eq!((io.backend, io.reason), (IoBackend::Portable, reason));
    }
}

/// More routines block at once than may have threads: the rest wait, and all end.
#[test]
fn beyond_the_limit_routines_wait_for_a_thread() {
    let watchdog = Watchdog::new("threads");
    let rt = Runtime::builder()
        .workers(2)
        .max_stacks(50)
        .build()
        .unwrap();
    watchdog.watch("threads", &rt.handle());
    let sleepers: Vec<_> = (0..500)
        .map(|n| {
            rt.spawn(move || {
                time::sleep(Duration::from_millis(1));
                n
            })
        })
        .collect();
    for (n, sleeper) in sleepers.into_iter().enumerate() {
        assert_eq!(sleeper.join().unwrap(), n);
    }
    assert_eq!(rt.snapshot().stacks.limit, Some(50));
    until("all are given back", || rt.snapshot().stacks.in_use == 0);
    rt.shutdown(LONG).unwrap();
}

/// The threads are the process's: a runtime that finds none waits for those of another one.
#[test]
fn a_runtime_waits_for_the_threads_of_another() {
    const ALL: u64 = 8_192;
    let watchdog = Watchdog::new("all threads");
    let (greedy, late) = (runtime(2), runtime(1));
    watchdog.watch("all threads", &greedy.handle());
    for _ in 0..2 * ALL {
        greedy.spawn(|| time::sleep(LONG)).detach();
    }
    until("no thread is left", || {
        let figures = greedy.snapshot();
        // Others of this process have some.
        figures.stacks.waiting > 0 && figures.routines.blocked > ALL / 2
    });
    let waits = late.spawn(|| 7);
    watchdog.watch("a thread of another runtime", &late.handle());
    // It asks every 10 ms. Nobody counts how often, and nothing fails if it was less often.
    thread::sleep(Duration::from_millis(200));
    greedy.shutdown(Duration::ZERO).unwrap();
    assert_eq!(waits.join().unwrap(), 7);
}
