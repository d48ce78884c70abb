//! Rule 8: restartable sequences.

use std::mem;

use super::super::rseq;
use super::*;

fn pin(thread_id: u32, processor: usize) {
    // SAFETY: zeros are an empty set; the calls read and write it within its size.
    unsafe {
        let mut set = mem::zeroed::<libc::cpu_set_t>();
        libc::CPU_SET(processor, &mut set);
        let size = size_of::<libc::cpu_set_t>();
        assert_eq!(libc::sched_setaffinity(thread_id as i32, size, &set), 0);
    }
}

fn allowed() -> Vec<usize> {
    // SAFETY: as above.
    unsafe {
        let mut set = mem::zeroed::<libc::cpu_set_t>();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        (0..libc::CPU_SETSIZE as usize)
            .filter(|&processor| libc::CPU_ISSET(processor, &set))
            .collect()
    }
}

#[test]
fn a_home_knows_no_processor() {
    let carrier = Carrier::enter();
    let processor = Routine::new(|_| rseq::cpu_id()).finish(&carrier);
    assert!(processor.is_none_or(|id| id < 0), "{processor:?}");
}

/// The answer is the carrier's, not that of the processor on which the donor fell asleep.
#[test]
fn the_processor_that_runs_a_routine_is_told_right() {
    let processors = allowed();
    let [first, .., last] = processors[..] else {
        eprintln!("skipped: there is one processor");
        return;
    };
    std::thread::spawn(move || {
        let carrier = Carrier::enter();
        let mut routine = Routine::new(|yielder| {
            loop {
                // SAFETY: no arguments.
                SEEN.set(unsafe { libc::sched_getcpu() });
                TOLD.store(SEEN.get(), std::sync::atomic::Ordering::Relaxed);
                yielder.suspend(());
            }
        });
        for (donor, here) in [(first, last), (last, first)].repeat(50) {
            pin(routine.donor.thread_id(), donor);
            pin(0, here);
            let end: Option<()> = routine.resume(&carrier);
            assert!(end.is_none());
            let told = TOLD.load(std::sync::atomic::Ordering::Relaxed);
            assert_eq!(told, here as i32);
        }
        mem::forget(routine);
    })
    .join()
    .unwrap();
}

static TOLD: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);
thread_local!(static SEEN: std::cell::Cell<i32> = const { std::cell::Cell::new(-1) });
