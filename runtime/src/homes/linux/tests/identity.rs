//! What belongs to a thread goes with its routine from carrier to carrier.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

thread_local! {
    static CELL: Cell<u64> = const { Cell::new(0) };
    static LIST: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The address of a thread-local stays right: the optimiser may have kept it.
#[test]
fn a_thread_local_kept_over_a_move_is_still_the_routines() {
    let mut routine = Routine::new(|yielder| {
        CELL.with(|cell| {
            (0..1000).for_each(|_| cell.set(cell.get() + 1));
            yielder.suspend(());
            (0..1001).for_each(|_| cell.set(cell.get() + 1));
        });
        CELL.get()
    });
    assert!(routine.resume(&Carrier::enter()).is_none());
    let (end, others) = thread::spawn(move || {
        let end = routine.resume(&Carrier::enter());
        (end, CELL.get())
    })
    .join()
    .unwrap();
    assert_eq!((end, others, CELL.get()), (Some(2001), 0, 0));
}

/// What homes are for: two that interleave do not nest, and need not.
#[test]
fn scopes_of_a_thread_that_interleave_do_not_meet() {
    fn scoped(value: u64, f: impl FnOnce()) -> bool {
        let before = CELL.replace(value);
        f();
        CELL.replace(before) == value
    }
    let make = |value| Routine::new(move |yielder| scoped(value, || yielder.suspend(())));
    let carrier = Carrier::enter();
    let (mut first, mut second) = (make(1), make(2));
    assert!(first.resume(&carrier).is_none());
    assert!(second.resume(&carrier).is_none());
    assert_eq!(first.resume(&carrier), Some(true));
    assert_eq!(second.resume(&carrier), Some(true));
}

/// Many routines, three carriers, everything thread-bound held over suspensions: blocks of the allocator, a
/// borrow, a guard of a lock that others try, panics that are caught, `thread::current()`.
#[test]
fn everything_that_is_bound_to_a_thread_survives_moves() {
    const ROUTINES: u64 = 24;
    const ROUNDS: u64 = 400;
    static SHARED: Mutex<u64> = Mutex::new(0);
    let moves = Arc::new(AtomicU64::new(0));
    let queue: Mutex<VecDeque<Routine<()>>> = Mutex::default();
    for number in 0..ROUTINES {
        let moves = moves.clone();
        queue
            .lock()
            .unwrap()
            .push_back(Routine::new(move |yielder| {
                let me = thread::current().id();
                let mut carrier = super::super::arch::thread_id();
                let mut blocks: Vec<Vec<u8>> = Vec::new();
                let mut random = number;
                for round in 0..ROUNDS {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    blocks.push(vec![number as u8; (random >> 52) as usize + 1]);
                    if blocks.len() > 20 {
                        let block = blocks.swap_remove((random >> 33) as usize % blocks.len());
                        assert!(block.iter().all(|&byte| byte == number as u8));
                    }
                    LIST.with_borrow_mut(|list| {
                        list.push(round);
                        yielder.suspend(());
                        assert_eq!(list.last(), Some(&round));
                    });
                    let guard = SHARED.try_lock();
                    yielder.suspend(());
                    if let Ok(mut sum) = guard {
                        *sum += 1;
                    }
                    assert_eq!(thread::current().id(), me);
                    if round % 40 == 0 {
                        let caught =
                            std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(7)));
                        assert!(caught.is_err() && !thread::panicking());
                    }
                    let now = super::super::arch::thread_id();
                    if now != std::mem::replace(&mut carrier, now) {
                        moves.fetch_add(1, Relaxed);
                    }
                }
            }));
    }
    thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                let carrier = Carrier::enter();
                loop {
                    let Some(mut routine) = queue.lock().unwrap().pop_front() else {
                        break;
                    };
                    if routine.resume(&carrier).is_none() {
                        queue.lock().unwrap().push_back(routine);
                    }
                }
            });
        }
    });
    assert!(
        *SHARED.lock().unwrap() > 0,
        "somebody had the lock over a suspension"
    );
    assert!(moves.load(Relaxed) > 0, "somebody moved");
}

/// The kernel tells who calls by the thread: these must not come from the home's block.
#[test]
fn what_asks_the_kernel_is_answered_for_the_carrier() {
    let carrier = Carrier::enter();
    let here = carrier.thread_id();
    let ids = Routine::new(|_| {
        // SAFETY: no arguments, no failure.
        (unsafe { libc::gettid() } as u32, unsafe { libc::getpid() })
    })
    .finish(&carrier);
    assert_eq!(ids, (here, std::process::id() as i32));
}

/// A routine starts threads, waits for them, and starts programs.
#[test]
fn threads_and_programs_can_be_started_under_a_home() {
    let mut routine = Routine::new(|yielder| {
        let thread = thread::spawn(|| CELL.replace(9));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        yielder.suspend(());
        (thread.join().unwrap(), child.wait().unwrap().success())
    });
    assert!(routine.resume(&Carrier::enter()).is_none());
    let end = thread::spawn(move || routine.resume(&Carrier::enter()));
    assert_eq!(end.join().unwrap(), Some((0, true)));
}
