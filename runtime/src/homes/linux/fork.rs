//! `fork`: a child has one thread, and no carrier may go on in it.
//!
//! The C library of a child counts the stacks of all other threads as free, the one that the carrier runs
//! on among them if a home was mounted when `fork` was called: the next thread is given the carrier's own
//! stack. So a child in which a carrier is about to go on ends with a sentence. `exec` and `posix_spawn` are
//! not touched by any of this.

use std::sync::Once;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// This process is a child of one that had homes.
static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// Has children of this process know that they are.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler stores to an atomic and does nothing else. Where there is no memory for
        // it, children are as unprotected as before.
        unsafe { libc::pthread_atfork(None, None, Some(mark)) };
    });
}

unsafe extern "C" fn mark() {
    IN_CHILD.store(true, Relaxed);
}

/// Ends the process if it is a child.
#[inline]
pub(crate) fn check() {
    if IN_CHILD.load(Relaxed) {
        refuse();
    }
}

#[cold]
fn refuse() -> ! {
    const SENTENCE: &[u8] =
        b"openwork: this process was forked from one with travelling homes; its \
        routines cannot go on here, only exec or _exit can follow a fork; aborting\n";
    // SAFETY: writes constant bytes.
    unsafe {
        libc::write(
            libc::STDERR_FILENO,
            SENTENCE.as_ptr().cast(),
            SENTENCE.len(),
        )
    };
    std::process::abort();
}
