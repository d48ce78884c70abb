//! Rules 4 and 11: how routines and homes end.

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::thread;

use super::super::arch;
use super::*;
use crate::homes::Homes;
use crate::stack::child;

/// A panic that left `resume` would leave the carrier under a foreign block: the process ends instead.
#[test]
fn a_panic_that_leaves_a_mounted_home_ends_the_process() {
    let test = "homes::platform::tests::ends::a_panic_that_leaves_a_mounted_home_ends_the_process";
    if let Some(output) = child::run(test) {
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        assert!(
            told.contains("a panic left a routine while its home was mounted"),
            "{told}"
        );
        return;
    }
    let routine = Routine::new(|_| panic!("not caught by a body"));
    routine.finish(&Carrier::enter())
}

static DROPPED_ON: AtomicU32 = AtomicU32::new(0);
static SUM: AtomicUsize = AtomicUsize::new(0);

/// Its destructor needs 20 KiB of stack, allocates and frees.
struct Large;

impl Drop for Large {
    fn drop(&mut self) {
        let mut frame = std::hint::black_box([1u8; 20 << 10]);
        frame[7] = vec![3u8; 1000][999];
        SUM.store(frame.iter().map(|&byte| usize::from(byte)).sum(), Relaxed);
        DROPPED_ON.store(arch::thread_id(), Relaxed);
    }
}

thread_local!(static LARGE: RefCell<Option<Large>> = const { RefCell::new(None) });

#[test]
fn destructors_of_thread_locals_run_on_the_donor() {
    let carrier = Carrier::enter();
    let mut routine = Routine::new(|_| LARGE.set(Some(Large)));
    let donor = routine.donor.thread_id();
    assert!(routine.resume(&carrier).is_some());
    assert_eq!(DROPPED_ON.load(Relaxed), 0);
    drop(routine);
    assert_eq!(DROPPED_ON.load(Relaxed), donor);
    assert_eq!(SUM.load(Relaxed), (20 << 10) + 2);
    // Who joins a thread is told a moment before the kernel lists it no more.
    wait_until("it is gone", || !exists(donor));
}

/// Whether the block in force counts a panic. Never inlined: it has a thread-local in it.
#[inline(never)]
fn panicking() -> bool {
    thread::panicking()
}

/// Suspends in a destructor that a panic calls, and is forgotten there: the count of panics stays in the home.
#[test]
fn a_home_that_was_left_in_the_middle_of_a_panic_is_not_used_again() {
    struct Suspends<'a>(&'a Yielder<(), ()>);
    impl Drop for Suspends<'_> {
        fn drop(&mut self) {
            self.0.suspend(());
        }
    }
    super::super::prepare().unwrap();
    let carrier = Carrier::enter();
    let homes = Homes::new(2, 1).unwrap();
    let home = homes.take(0).unwrap();
    home.door.take_up(carrier.thread_id());
    let stack = DefaultStack::new(256 << 10).unwrap();
    let mut left = Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| {
        let _suspends = Suspends(yielder);
        std::panic::resume_unwind(Box::new(1));
    });
    // SAFETY: 1: entered above; 2: a switch, and a call of a function that is not inlined.
    let left_there = unsafe {
        home.run_under(&carrier, || {
            assert!(matches!(left.resume(()), CoroutineResult::Yield(())));
            panicking()
        })
    };
    assert!(left_there, "its count of panics was left there");
    assert!(!thread::panicking());
    std::mem::forget(left);
    // The scheduler looks when the routine has left the home.
    home.spoil();
    home.door.put_by(carrier.thread_id());
    let index = home.index();
    homes.give_back(home, 0);
    assert_eq!(homes.counts().spoilt.load(Relaxed), 1);
    let next = homes.take(0).unwrap();
    next.door.take_up(carrier.thread_id());
    // SAFETY: as above.
    let still_there = unsafe { next.run_under(&carrier, panicking) };
    assert!(!still_there, "place {index} has a new donor");
    next.door.put_by(carrier.thread_id());
    homes.give_back(next, 0);
}

/// Checked in release builds, too.
#[test]
fn a_home_cannot_be_mounted_twice() {
    let homes = Homes::new(1, 1).unwrap();
    let home = homes.take(0).unwrap();
    home.door.take_up(7);
    let panics = |f: &dyn Fn()| std::panic::catch_unwind(AssertUnwindSafe(f)).is_err();
    assert!(panics(&|| home.door.take_up(8)));
    assert!(!home.door.try_enter(8));
    assert!(panics(&|| home.door.leave(8, |_| ())));
}
