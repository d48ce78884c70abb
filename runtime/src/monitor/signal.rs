//! The signal that freezes a thread.
//!
//! `SIGURG`, as in Go: hardly anybody uses it, its default action is none, and debuggers pass it on
//! without a stop. The handler runs on the thread's alternate stack, which tells whose thread it is;
//! it uses atomics, the clock and the futex call, and leaves `errno` as it was. Only its own signal
//! is held back meanwhile: a frozen thread still takes a profiler's, a credential change's or a
//! debugger's.
//!
//! System calls that it interrupts start again (`SA_RESTART`), but for the few that never do, among
//! them `poll`, `epoll_wait`, `nanosleep` and `futex` with a time-out: those return `EINTR`, as they
//! may at any time. The monitor sends it to threads that use a processor, so that this is rare.

use super::leash::Obeyed;
use crate::profile::interrupted::{Interrupted, registers};
use crate::signals::{Handler, InstallError};
use crate::stack::altstack;
use crate::thread_state;

static HANDLER: Handler = Handler::new(libc::SIGURG, on_signal, false);

/// Puts the handler in place; once, it stays for the rest of the process.
///
/// # Errors
/// The system refuses, or somebody installed another one over ours.
pub(crate) fn install() -> Result<(), InstallError> {
    HANDLER.install()
}

extern "C" fn on_signal(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: always valid for the calling thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    // SAFETY: the kernel passes what belongs to this signal.
    let by_us = unsafe { (*info).si_code == libc::SI_TKILL && (*info).si_pid() == libc::getpid() };
    let here = &raw const saved as usize;
    // SAFETY: the owner of the stack that this runs on: see `owner_of`.
    let leash = unsafe { altstack::owner_of(here).as_ref() };
    let obeyed = match leash {
        // SAFETY: what the kernel passed.
        Some(leash) if by_us => leash.obey(|visit| unsafe { walk(context, visit) }),
        _ => Obeyed::None,
    };
    if obeyed == Obeyed::None {
        // SAFETY: 1: ours, which are those of this handler.
        unsafe { HANDLER.pass_on(info, context) };
    }
    // SAFETY: as above. A home that travels is mounted by this thread as long as it is frozen, so that
    // the address is still that of the interrupted code.
    unsafe { *errno = saved };
}

/// Calls `visit` with where the interrupted code stands and its callers.
///
/// # Safety
/// 1. Alive: `context` is what the kernel passed to a handler that is still running.
unsafe fn walk(context: *mut libc::c_void, visit: &mut dyn FnMut(usize) -> bool) {
    // SAFETY: 1 by the caller.
    let at = unsafe { registers(context) };
    if let Some(interrupted) = thread_state::with(|thread| Interrupted::find(thread, at)) {
        interrupted.visit(visit);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, compiler_fence};
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::monitor::counters::Watch;
    use crate::monitor::leash::Leash;
    use crate::stack::altstack::AltStack;
    use crate::stack::child;
    use crate::time;

    fn wait_until(what: &str, so: impl Fn() -> bool) {
        let began = Instant::now();
        while !so() {
            assert!(began.elapsed().as_secs() < 120, "still not so: {what}");
            thread::yield_now();
        }
    }

    /// Runs `work` on a thread of its own until it has been frozen `times` times; returns what it gave.
    fn frozen<T: Send>(times: u64, work: impl FnOnce(&Leash, &AtomicBool) -> T + Send) -> T {
        install().unwrap();
        time::now_ns();
        let watch = Arc::new(Watch::new());
        let leash = Leash::new(watch.clone());
        let stop = AtomicBool::new(false);
        let done = thread::scope(|threads| {
            let worker = threads.spawn(|| {
                // SAFETY: 1: the leash outlives the scope.
                let _altstack = unsafe { AltStack::take(&raw const leash) }.unwrap();
                leash.enter();
                let done = work(&leash, &stop);
                leash.leave();
                done
            });
            wait_until("it has begun", || leash.tid.load(Relaxed) != 0);
            let counters = &watch.counters;
            let answers = || {
                let of = [&counters.stale, &counters.deferred, &counters.forced];
                of.iter().map(|count| count.load(Relaxed)).sum::<u64>()
            };
            let mut frozen = 0;
            while frozen < times {
                let before = answers();
                assert!(leash.send_signal(leash.turn.load(Relaxed), time::now_ns()));
                wait_until("the signal is answered", || answers() > before);
                if counters.forced.load(Relaxed) > frozen {
                    wait_until("it sleeps", || leash.is_frozen());
                    assert!(leash.frozen_since().is_some());
                    assert!(leash.thaw());
                    frozen += 1;
                }
            }
            stop.store(true, Relaxed);
            worker.join().unwrap()
        });
        let signalled = watch.signal_to_frozen.read();
        assert_eq!(signalled.count, times);
        wait_until("the last one is counted", || {
            watch.frozen_to_running.read().count == times
        });
        done
    }

    /// Numbers in vector registers, the allocator, a thread-local and `errno`: all as they were left.
    #[test]
    fn a_frozen_thread_goes_on_as_if_nothing_had_been() {
        thread_local!(static MINE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
        let (rounds, ours) = frozen(100, |_, stop| {
            let mut rounds = 0u64;
            // SAFETY: always valid for the calling thread.
            let errno = unsafe { libc::__errno_location() };
            // SAFETY: as above.
            unsafe { *errno = 77 };
            while !stop.load(Relaxed) {
                rounds += 1;
                let floats: [f64; 16] = std::array::from_fn(|i| (rounds + i as u64) as f64);
                let sum: f64 = std::hint::black_box(floats).iter().map(|x| x * 0.5).sum();
                assert_eq!(sum, 8.0 * rounds as f64 + 60.0);
                let block = vec![rounds as u8; 64 + (rounds % 512) as usize];
                assert!(
                    std::hint::black_box(block)
                        .iter()
                        .all(|&x| x == rounds as u8)
                );
                MINE.set(MINE.get() + 1);
            }
            // SAFETY: as above.
            assert_eq!(unsafe { *errno }, 77);
            (rounds, MINE.get())
        });
        assert_eq!(rounds, ours);
    }

    #[test]
    fn the_signal_mask_is_the_same_before_and_after() {
        fn mask() -> Vec<libc::c_int> {
            // SAFETY: all-zero is a valid set; the call fills it in.
            let set = unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut set);
                set
            };
            // SAFETY: reads the set.
            (1..64)
                .filter(|&n| unsafe { libc::sigismember(&set, n) } == 1)
                .collect()
        }
        frozen(20, |_, stop| {
            let before = mask();
            while !stop.load(Relaxed) {
                std::hint::spin_loop();
            }
            assert_eq!(mask(), before);
        });
    }

    /// What is in a section is not touched by anybody while the signals rain.
    #[test]
    fn nobody_is_frozen_in_a_section() {
        let inside = AtomicU64::new(0);
        frozen(50, |leash, stop| {
            while !stop.load(Relaxed) {
                leash.section.store(1, Relaxed);
                compiler_fence(std::sync::atomic::Ordering::SeqCst);
                for _ in 0..200 {
                    assert!(!leash.is_frozen());
                    inside.fetch_add(1, Relaxed);
                }
                compiler_fence(std::sync::atomic::Ordering::SeqCst);
                leash.section.store(0, Relaxed);
                for _ in 0..200 {
                    std::hint::spin_loop();
                }
            }
        });
        assert!(inside.load(Relaxed) > 0);
    }

    /// Threads come and go while somebody sends them signals: none goes astray, and nothing is frozen
    /// that nobody lets go.
    #[test]
    fn a_thread_may_end_while_a_signal_is_on_its_way() {
        // For each thread: one that is sent signals without end may find the next one whenever it is let go.
        const SIGNALS: u32 = 3;
        install().unwrap();
        time::now_ns();
        let watch = Arc::new(Watch::new());
        let leash = Leash::new(watch.clone());
        let (come, over) = (AtomicU32::new(0), AtomicBool::new(false));
        thread::scope(|threads| {
            threads.spawn(|| {
                let (mut seen, mut left) = (0, 0);
                while !over.load(Relaxed) {
                    let now = come.load(Relaxed);
                    if seen != now {
                        (seen, left) = (now, SIGNALS);
                    }
                    if left > 0 && leash.send_signal(leash.turn.load(Relaxed), 0) {
                        left -= 1;
                    }
                    leash.thaw();
                    thread::yield_now();
                }
            });
            for _ in 0..100 {
                threads
                    .spawn(|| {
                        come.fetch_add(1, Relaxed);
                        // SAFETY: 1: the leash outlives the scope.
                        let _altstack = unsafe { AltStack::take(&raw const leash) }.unwrap();
                        leash.enter();
                        thread::yield_now();
                        leash.leave();
                    })
                    .join()
                    .unwrap();
            }
            over.store(true, Relaxed);
        });
    }

    static THEIRS: AtomicU32 = AtomicU32::new(0);

    extern "C" fn theirs(_: libc::c_int) {
        THEIRS.fetch_add(1, Relaxed);
    }

    /// In a process of its own, as a handler stays.
    #[test]
    fn a_signal_that_is_not_ours_reaches_the_handler_before() {
        let test = "monitor::signal::tests::a_signal_that_is_not_ours_reaches_the_handler_before";
        if let Some(output) = child::run(test) {
            assert!(output.status.success(), "{output:?}");
            return;
        }
        let handler = theirs as extern "C" fn(libc::c_int);
        // SAFETY: the handler does nothing but count.
        unsafe { libc::signal(libc::SIGURG, handler as libc::sighandler_t) };
        install().unwrap();
        install().unwrap();
        // SAFETY: a signal for which a handler is installed.
        unsafe { libc::raise(libc::SIGURG) };
        assert_eq!(THEIRS.load(Relaxed), 1, "on a thread that nobody watches");
        frozen(1, |_, stop| {
            // SAFETY: as above.
            unsafe { libc::kill(libc::getpid(), libc::SIGURG) };
            while !stop.load(Relaxed) {
                std::hint::spin_loop();
            }
        });
        wait_until("the signal to the process has come", || {
            THEIRS.load(Relaxed) >= 2
        });
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGURG, handler as libc::sighandler_t) };
        assert!(matches!(install(), Err(InstallError::Replaced)));
    }

    /// Without anybody there the default action of the signal is none.
    #[test]
    fn a_signal_that_nobody_waits_for_does_nothing() {
        install().unwrap();
        // SAFETY: a signal for which a handler is installed.
        unsafe { libc::raise(libc::SIGURG) };
    }
}
