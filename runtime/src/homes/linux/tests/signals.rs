//! Rules 1, 2 and 5: signals and donors, signals and the switch.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize};
use std::{ptr, thread};

use super::super::arch;
use super::super::carrier;
use super::*;
use crate::stack::child;

/// Signals sent in each test.
const SIGNALS: u32 = 2000;

fn errno() -> i32 {
    // SAFETY: the running block's `errno`.
    unsafe { *libc::__errno_location() }
}

fn set_errno(value: i32) {
    // SAFETY: the running block's `errno`.
    unsafe { *libc::__errno_location() = value };
}

fn handle(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: zeros are an action with an empty mask; the handler is a function that uses atomics and
    // system calls alone.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

fn send(thread_id: u32, signal: i32) {
    // SAFETY: a signal of this test to a thread of this process.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread_id, signal) };
}

#[test]
fn a_donor_blocks_every_signal_but_one() {
    let routine = Routine::new(|_| ());
    let blocked = u64::from_str_radix(&status(routine.donor.thread_id(), "SigBlk:"), 16).unwrap();
    let open = !blocked;
    let expected = [libc::SIGKILL, libc::SIGSTOP, arch::SIGSETXID];
    assert_eq!(
        open,
        expected
            .iter()
            .fold(0, |set, signal| set | 1 << (signal - 1))
    );
}

#[test]
fn the_creator_of_a_donor_keeps_its_own_mask() {
    let before = arch::signal_mask();
    drop(Routine::new(|_| ()));
    assert_eq!(arch::signal_mask(), before);
}

/// A handler that ran on the donor would write the `errno` of the routine that runs elsewhere, even if it
/// saves and restores it.
#[test]
fn a_signal_to_the_process_is_never_handled_by_a_donor() {
    static RAN_ON: AtomicU32 = AtomicU32::new(0);
    static TIMES: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_: i32) {
        let saved = errno();
        set_errno(libc::EDOM);
        RAN_ON.store(arch::thread_id(), Relaxed);
        TIMES.fetch_add(1, Relaxed);
        set_errno(saved);
    }
    if child::passes(
        "homes::platform::tests::signals::a_signal_to_the_process_is_never_handled_by_a_donor",
    ) {
        return;
    }
    // Every thread but the donors blocks it, the harness' own included: the kernel would choose a donor
    // if one were open.
    begin_again_with_blocked(libc::SIGUSR1);
    end_if_it_hangs();
    handle(libc::SIGUSR1, handler);
    let routine = Routine::new(|yielder| {
        set_errno(libc::ERANGE);
        for _ in 0..SIGNALS {
            // SAFETY: a signal of this test to this process.
            unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
            assert_eq!(errno(), libc::ERANGE);
            yielder.suspend(());
            assert_eq!(errno(), libc::ERANGE);
        }
    });
    let donor = routine.donor.thread_id();
    routine.finish(&Carrier::enter());
    assert_eq!(
        TIMES.load(Relaxed),
        0,
        "it is pending for the whole process"
    );
    arch::set_signal_mask(0);
    wait_until("the handler has run", || TIMES.load(Relaxed) > 0);
    assert_ne!(RAN_ON.load(Relaxed), donor);
}

/// Starts this program once more with `signal` blocked in its first thread, and so in all that begin later.
/// Goes on in that one.
fn begin_again_with_blocked(signal: i32) {
    const MARK: &str = "OPENWORK_TEST_BLOCKED";
    if std::env::var_os(MARK).is_some() {
        return;
    }
    // SAFETY: this process has no other thread that reads its environment now.
    unsafe { std::env::set_var(MARK, "1") };
    let arguments: Vec<_> = std::env::args()
        .map(|argument| std::ffi::CString::new(argument).unwrap())
        .collect();
    let mut pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(ptr::null());
    arch::set_signal_mask(1 << (signal - 1));
    // SAFETY: strings with an end, and a list with an end.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
    panic!("the program could not be started once more");
}

/// A sleep that a signal ends writes `errno`, in a block that is another's.
#[test]
fn a_donor_that_is_sent_signals_leaves_errno_alone() {
    let routine = Routine::new(|yielder| {
        set_errno(libc::ERANGE);
        for _ in 0..SIGNALS {
            yielder.suspend(());
            assert_eq!(errno(), libc::ERANGE);
        }
    });
    let donor = routine.donor.thread_id();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Relaxed) {
                // Ignored by default, and so not even queued if it were not blocked.
                send(donor, libc::SIGURG);
            }
        });
        routine.finish(&Carrier::enter());
        done.store(true, Relaxed);
    });
}

/// `pthread_cancel` of a home by somebody who has its `pthread_self()`: the donor must not go, because the
/// routine goes on in its block.
#[test]
fn a_donor_does_not_end_when_its_home_is_cancelled() {
    const ASYNCHRONOUS: i32 = 1;
    unsafe extern "C" {
        fn pthread_setcanceltype(new: i32, old: *mut i32) -> i32;
    }
    static HOME: AtomicUsize = AtomicUsize::new(0);
    if child::passes(
        "homes::platform::tests::signals::a_donor_does_not_end_when_its_home_is_cancelled",
    ) {
        return;
    }
    end_if_it_hangs();
    let carrier = Carrier::enter();
    let mut routine = Routine::new(|yielder| {
        // As a cancellation point does: the canceller then sends a signal, which ends the thread it finds.
        // SAFETY: no memory is involved.
        unsafe { pthread_setcanceltype(ASYNCHRONOUS, ptr::null_mut()) };
        // SAFETY: no arguments, no failure.
        HOME.store(unsafe { libc::pthread_self() } as usize, Relaxed);
        yielder.suspend(());
        (0..100_000).map(|_| vec![1u8; 100].len()).sum::<usize>()
    });
    assert!(routine.resume(&carrier).is_none());
    // SAFETY: the donor is alive.
    unsafe { libc::pthread_cancel(HOME.load(Relaxed) as libc::pthread_t) };
    let donor = routine.donor.thread_id();
    let pending = u64::from_str_radix(&status(donor, "SigPnd:"), 16).unwrap();
    assert_eq!(pending, 1 << 31, "the signal waits on the donor");
    for _ in 0..1000 {
        thread::yield_now();
    }
    assert!(exists(donor), "the donor sleeps on");
    assert_eq!(routine.resume(&carrier), Some(10_000_000));
    // It would end now as a cancelled thread: its owner's business, not this test's.
    std::mem::forget(routine);
}

/// Signals between the change of the block and the change of the stack. A handler knows its carrier by the
/// kernel's number; the block in force is the carrier's own or the home's, and either can be used.
#[test]
fn signals_in_the_middle_of_a_switch_find_whole_blocks() {
    static OWN: AtomicUsize = AtomicUsize::new(0);
    static HOME: AtomicUsize = AtomicUsize::new(0);
    static UNDER_HOME: AtomicU64 = AtomicU64::new(0);
    static SWITCHED: AtomicU64 = AtomicU64::new(0);
    static HANDLED: AtomicU64 = AtomicU64::new(0);
    static WRONG: AtomicI32 = AtomicI32::new(0);
    extern "C" fn handler(_: i32) {
        let base = arch::base();
        let own = carrier::own_base();
        let known = base == OWN.load(Relaxed) || base == HOME.load(Relaxed);
        if !known || own != Some(OWN.load(Relaxed)) {
            WRONG.fetch_add(1, Relaxed);
        }
        // A thread-local of either block, left as it was.
        let before = errno();
        set_errno(before + 1);
        set_errno(errno() - 1);
        UNDER_HOME.fetch_add(u64::from(base == HOME.load(Relaxed)), Relaxed);
        HANDLED.fetch_add(1, Relaxed);
    }
    if child::passes(
        "homes::platform::tests::signals::signals_in_the_middle_of_a_switch_find_whole_blocks",
    ) {
        return;
    }
    end_if_it_hangs();
    handle(libc::SIGUSR2, handler);
    let carrier = Carrier::enter();
    let me = carrier.thread_id();
    let mut routine = Routine::new(|yielder| {
        set_errno(libc::ERANGE);
        loop {
            yielder.suspend(());
            assert_eq!(errno(), libc::ERANGE);
        }
    });
    OWN.store(arch::base(), SeqCst);
    HOME.store(routine.donor.base(), SeqCst);
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            let mut seen = 0;
            while !done.load(Relaxed) {
                // With a signal always on its way it would get nowhere.
                let now = SWITCHED.load(Relaxed);
                if now != std::mem::replace(&mut seen, now) {
                    send(me, libc::SIGUSR2);
                }
            }
        });
        set_errno(libc::EDOM);
        let mut switches = 0u64;
        while switches < 300_000 || UNDER_HOME.load(Relaxed) < 1000 {
            assert!(routine.resume(&carrier).is_none());
            assert_eq!(errno(), libc::EDOM);
            switches += 1;
            SWITCHED.store(switches, Relaxed);
        }
        done.store(true, Relaxed);
    });
    assert!(HANDLED.load(Relaxed) > 0);
    assert_eq!(WRONG.load(Relaxed), 0);
    // Its loop has no end.
    std::mem::forget(routine);
}
