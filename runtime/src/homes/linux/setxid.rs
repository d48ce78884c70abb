//! `setuid` and its kin: a shim in front of the C library's handler.
//!
//! The kernel keeps credentials for each thread; the C library makes them the process's by sending signal 33
//! to all its threads, whose handler makes the same system call and then clears a bit in *its thread's block*.
//! On a carrier that has a home mounted that is the wrong block: the sender waits for the bit, sends again, and
//! so on for as long as the home stays mounted. So the shim puts the carrier's own block in force for the time
//! of the handler.
//!
//! A thread that calls `setuid` makes the system call itself and skips the thread whose block it is on. Of a
//! routine that is its home's donor, which keeps the old credentials. The shim cannot know who called, so it
//! counts, and a home that was mounted meanwhile is ended with its routine and not used again
//! ([`broadcasts`]).

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};

use super::arch::{self, Action, SIGSETXID};
use super::carrier;

/// The C library's handler; 0 until the shim is there.
static BEHIND: AtomicUsize = AtomicUsize::new(0);

static BROADCASTS: AtomicU64 = AtomicU64::new(0);

type Handler = unsafe extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// How often credentials were changed, at least; a number that rises.
#[inline]
pub(crate) fn broadcasts() -> u64 {
    BROADCASTS.load(Relaxed)
}

/// Puts the shim before the C library's handler, which is there from the process's first thread on.
///
/// # Errors
/// There is no handler to be found.
pub(super) fn install() -> Result<(), &'static str> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: asks only.
    let found = unsafe { arch::signal_action(SIGSETXID, None) };
    let Some(mut action) = found else {
        return Err("the kernel does not tell the action of signal 33");
    };
    let ours = shim as *const () as usize;
    if action.handler == ours {
        return Ok(());
    }
    if matches!(action.handler, libc::SIG_DFL | libc::SIG_IGN)
        || action.flags & libc::SA_SIGINFO as usize == 0
    {
        return Err("the C library has no handler of the known form for signal 33");
    }
    // Release pairs with the acquire load of the shim, which may run at once.
    BEHIND.store(action.handler, Release);
    action.handler = ours;
    // SAFETY: 1: the shim is a function; flags, mask and restorer are those that were there.
    match unsafe { arch::signal_action(SIGSETXID, Some(&action)) } {
        Some(_) => Ok(()),
        None => Err("the kernel refuses a handler for signal 33"),
    }
}

/// Whether the shim is the handler.
pub(super) fn is_installed() -> bool {
    // SAFETY: asks only.
    unsafe { arch::signal_action(SIGSETXID, None) }
        .is_some_and(|action: Action| action.handler == shim as *const () as usize)
}

unsafe extern "C" fn shim(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    BROADCASTS.fetch_add(1, Relaxed);
    // Acquire pairs with the release store of the installer.
    let behind = BEHIND.load(Acquire);
    // SAFETY: stored by `install`: the C library's own handler, which takes these arguments.
    let behind = unsafe { std::mem::transmute::<usize, Handler>(behind) };
    let in_force = arch::base();
    let own = carrier::own_base().filter(|&own| own != in_force);
    if let Some(own) = own {
        // SAFETY: 1: of this thread; 2: it is this thread's, which is here; 3: a home is mounted, so it
        // holds; 4: nothing here has a thread-local.
        unsafe { arch::set_base(own) };
    }
    // SAFETY: as the kernel would call it.
    unsafe { behind(signal, info, context) };
    if own.is_some() {
        // SAFETY: as above; what was in force when the signal came goes on.
        unsafe { arch::set_base(in_force) };
    }
}
