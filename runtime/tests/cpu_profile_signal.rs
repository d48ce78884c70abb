//! A `SIGPROF` that is not the sampler's reaches the handler that was there before it. In a process
//! of its own: the sampler's handler is installed once.
//!
//! Not in portable builds, which have no such handler.
#![cfg(not(portable))]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use openwork::Runtime;
use openwork::profile::cpu;

static SEEN: AtomicU32 = AtomicU32::new(0);

extern "C" fn theirs(_: libc::c_int) {
    SEEN.fetch_add(1, Relaxed);
}

extern "C" fn later(_: libc::c_int) {}

#[test]
fn foreign_signals_are_passed_on_and_a_foreign_takeover_is_noticed() {
    let handler = theirs as extern "C" fn(libc::c_int);
    // SAFETY: the handler does nothing but count.
    unsafe { libc::signal(libc::SIGPROF, handler as libc::sighandler_t) };
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let session = cpu::start(&runtime.handle(), 100).unwrap();
    // SAFETY: a signal for which a handler is installed.
    unsafe { libc::raise(libc::SIGPROF) };
    assert_eq!(SEEN.load(Relaxed), 1);
    let profile = session.stop();
    assert!(profile.duration < Duration::from_secs(60));
    // SAFETY: as above.
    unsafe { libc::raise(libc::SIGPROF) };
    assert_eq!(SEEN.load(Relaxed), 2);

    let handler = later as extern "C" fn(libc::c_int);
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGPROF, handler as libc::sighandler_t) };
    assert!(matches!(
        cpu::start(&runtime.handle(), 100),
        Err(cpu::StartError::SignalTaken)
    ));
}
