//! A memory barrier on all running threads of the process, asked for by one of them.
//!
//! It is the dear half of an asymmetric Dekker: a routine's thread raises its section and reads whether its
//! worker was taken with plain loads and stores, millions of times a second; the monitor, a few
//! hundred times a second, marks the worker as taken, calls [`on_all_threads`], and reads the section.
//! The kernel promises that each running thread of the process passes a full barrier between the
//! call's begin and end, and one that does not run passed it when it was switched out. So either the
//! thread's store of the section is visible here, or its later read sees the mark.

use std::io;
use std::sync::OnceLock;

const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

/// Announces the use of [`on_all_threads`], once in the process. It must have succeeded before the
/// first call.
///
/// # Errors
/// The kernel's error number: before Linux 4.14 it does not know the call, and a sandbox may refuse it.
pub(crate) fn register() -> Result<(), i32> {
    static REGISTERED: OnceLock<Result<(), i32>> = OnceLock::new();
    *REGISTERED.get_or_init(|| call(REGISTER_PRIVATE_EXPEDITED))
}

/// See the module's text. [`register`] has succeeded.
pub(crate) fn on_all_threads() {
    let done = call(PRIVATE_EXPEDITED);
    // Documented to fail for want of registration alone.
    debug_assert_eq!(done, Ok(()));
}

fn call(command: libc::c_int) -> Result<(), i32> {
    // SAFETY: the call takes numbers alone.
    match unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, compiler_fence};

    use super::*;

    /// The pattern itself, as far as hardware shows it: of a writer with plain stores and a taker
    /// with the barrier, one sees the other. Fails within a moment on x86-64 if the call is left out
    /// (a store waits in the writer's buffer while its load goes ahead).
    #[test]
    fn one_of_the_two_sees_the_other() {
        register().unwrap();
        // A line each, or the line's way between the processors would order them.
        #[repr(align(128))]
        #[derive(Default)]
        struct Line(AtomicU32);
        let (section, mark, round) = (Line::default(), Line::default(), Line::default());
        let (entered, done) = (Line::default(), AtomicBool::new(false));
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut seen = 0;
                while !done.load(Relaxed) {
                    let now = round.0.load(Relaxed);
                    if now == seen {
                        std::thread::yield_now();
                        continue;
                    }
                    seen = now;
                    section.0.store(seen, Relaxed);
                    compiler_fence(std::sync::atomic::Ordering::SeqCst);
                    // 1: saw no mark, and went in.
                    let inside = u32::from(mark.0.load(Relaxed) != seen);
                    entered.0.store(seen << 1 | inside, Relaxed);
                }
            });
            for n in 1..=3_000 {
                round.0.store(n, Relaxed);
                mark.0.store(n, Relaxed);
                on_all_threads();
                let saw_section = section.0.load(Relaxed) == n;
                let inside = loop {
                    let answer = entered.0.load(Relaxed);
                    if answer >> 1 == n {
                        break answer & 1 == 1;
                    }
                    std::thread::yield_now();
                };
                assert!(saw_section || !inside, "round {n}: both went ahead");
            }
            done.store(true, Relaxed);
        });
    }
}
