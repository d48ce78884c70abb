//! Rules 1 and 7: `setuid` and its kin reach all threads, whoever has a home mounted.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use super::super::setxid::broadcasts;
use super::*;
use crate::stack::child;

/// Sets no id, which anybody may do; the C library asks all threads to do the same.
fn broadcast() {
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::setresuid(!0, !0, !0) }, 0);
}

#[test]
fn credentials_change_while_homes_are_idle_and_errno_stays() {
    if child::passes(
        "homes::platform::tests::setxid::credentials_change_while_homes_are_idle_and_errno_stays",
    ) {
        return;
    }
    end_if_it_hangs();
    let carrier = Carrier::enter();
    let mut routines: Vec<_> = (0..16)
        .map(|_| {
            Routine::new(|yielder| {
                // SAFETY: the running block's `errno`.
                unsafe { *libc::__errno_location() = libc::ERANGE };
                yielder.suspend(());
                // SAFETY: as above.
                unsafe { *libc::__errno_location() }
            })
        })
        .collect();
    for routine in &mut routines {
        assert!(routine.resume(&carrier).is_none());
    }
    broadcast();
    for routine in &mut routines {
        // A sleep that the signal ends would have told the donor so, in its block.
        assert_eq!(routine.resume(&carrier), Some(libc::ERANGE));
    }
}

#[test]
fn credentials_change_while_a_home_is_mounted() {
    if child::passes("homes::platform::tests::setxid::credentials_change_while_a_home_is_mounted") {
        return;
    }
    end_if_it_hangs();
    static RUNS: AtomicBool = AtomicBool::new(false);
    static DONE: AtomicBool = AtomicBool::new(false);
    let routine = Routine::new(|_| {
        RUNS.store(true, Relaxed);
        while !DONE.load(Relaxed) {
            std::hint::spin_loop();
        }
    });
    thread::scope(|threads| {
        threads.spawn(move || routine.finish(&Carrier::enter()));
        wait_until("it runs", || RUNS.load(Relaxed));
        let before = broadcasts();
        broadcast();
        assert!(
            broadcasts() > before,
            "the carrier of a mounted home can tell"
        );
        DONE.store(true, Relaxed);
    });
}

#[test]
fn a_routine_changes_credentials() {
    if child::passes("homes::platform::tests::setxid::a_routine_changes_credentials") {
        return;
    }
    end_if_it_hangs();
    let carrier = Carrier::enter();
    let other = Routine::new(|_| ());
    let before = broadcasts();
    Routine::new(|_| broadcast()).finish(&carrier);
    assert!(broadcasts() > before);
    other.finish(&carrier);
}

/// What is left over: the donor of the calling home keeps the old ids, which is why such a home ends.
#[test]
fn the_donor_of_a_routine_that_changed_credentials_has_the_old_ones() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only root can change to another user");
        return;
    }
    if child::passes(
        "homes::platform::tests::setxid::the_donor_of_a_routine_that_changed_credentials_has_the_old_ones",
    ) {
        return;
    }
    end_if_it_hangs();
    const NOBODY: u32 = 65534;
    let carrier = Carrier::enter();
    let idle = Routine::new(|_| ());
    let mut caller = Routine::new(|yielder| {
        // SAFETY: no memory is involved.
        let failed = unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) };
        yielder.suspend(());
        failed
    });
    assert!(caller.resume(&carrier).is_none());
    let user = |thread_id: u32| {
        status(thread_id, "Uid:")
            .split('\t')
            .next()
            .unwrap()
            .to_owned()
    };
    let nobody = NOBODY.to_string();
    assert_eq!(user(carrier.thread_id()), nobody);
    assert_eq!(user(std::process::id()), nobody);
    assert_eq!(user(idle.donor.thread_id()), nobody);
    assert_eq!(user(caller.donor.thread_id()), "0");
    assert_eq!(caller.resume(&carrier), Some(0));
    let donor = caller.donor.thread_id();
    drop(caller);
    wait_until("it went with its home", || !exists(donor));
}
