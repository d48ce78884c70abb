//! A signal handler that stays for the rest of the process and passes on what is not for it.
//!
//! Taking a handler out again would let a late signal do what it does by default, which for most is to
//! end the program. So it is put in once, remembers what was there, and calls that for signals that
//! somebody else is meant by.

use std::io;
use std::ptr;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Mutex, PoisonError};

/// What the kernel calls with `SA_SIGINFO`.
pub(crate) type Action = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// One signal's handler; a static.
pub(crate) struct Handler {
    signal: libc::c_int,
    action: Action,
    /// Whether other signals wait while it runs.
    alone: bool,
    /// What was there before, null until ours is in. Never freed: a handler may read it at any time.
    before: AtomicPtr<libc::sigaction>,
}

/// What stands in the way of a handler.
#[derive(Debug)]
pub(crate) enum InstallError {
    /// Somebody installed another one over ours.
    Replaced,
    /// The system refused.
    Os(io::Error),
}

impl Handler {
    /// `action` runs on the thread's alternate stack and must be async-signal-safe. With `alone` all
    /// other signals are held back meanwhile, otherwise only its own.
    pub(crate) const fn new(signal: libc::c_int, action: Action, alone: bool) -> Handler {
        Handler {
            signal,
            action,
            alone,
            before: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Puts the handler in place, if it is not there yet.
    pub(crate) fn install(&self) -> Result<(), InstallError> {
        static INSTALLING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        let os = || InstallError::Os(io::Error::last_os_error());
        // SAFETY: all-zero is a valid `sigaction`: the default action.
        let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: reads the present action into a value on this frame.
        if unsafe { libc::sigaction(self.signal, ptr::null(), &mut now) } != 0 {
            return Err(os());
        }
        let action = self.action as *const () as libc::sighandler_t;
        if now.sa_sigaction == action {
            return Ok(());
        }
        // Theirs may pass signals on to ours; were ours to pass them on to theirs, they would go round
        // for ever.
        if !self.before.load(Relaxed).is_null() {
            return Err(InstallError::Replaced);
        }
        // Release: before our handler can run it must find this whole.
        self.before.store(Box::into_raw(Box::new(now)), Release);
        // SAFETY: as above.
        let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
        ours.sa_sigaction = action;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: the set is on this frame; the handler has the signature that SA_SIGINFO asks for,
        // and does only what a handler may (see `new`).
        let installed = unsafe {
            if self.alone {
                libc::sigfillset(&mut ours.sa_mask);
            } else {
                libc::sigemptyset(&mut ours.sa_mask);
            }
            libc::sigaction(self.signal, &ours, ptr::null_mut())
        };
        if installed == 0 { Ok(()) } else { Err(os()) }
    }

    /// Does with a foreign signal what would have been done without us. Async-signal-safe.
    ///
    /// # Safety
    /// 1. Alive: the arguments are those of a handler that is still running.
    pub(crate) unsafe fn pass_on(&self, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // Acquire pairs with the release store in `install`.
        // SAFETY: never freed, and written once before the handler was installed.
        let Some(before) = (unsafe { self.before.load(Acquire).as_ref() }) else {
            return;
        };
        match before.sa_sigaction {
            libc::SIG_IGN => {}
            // What the kernel ignores of itself.
            libc::SIG_DFL if matches!(self.signal, libc::SIGURG | libc::SIGCHLD) => {}
            libc::SIG_DFL => {
                // The default action ends the process. It does so once this handler returns, as the
                // signal is held back until then.
                // SAFETY: both are async-signal-safe.
                unsafe {
                    libc::signal(self.signal, libc::SIG_DFL);
                    libc::raise(self.signal);
                }
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                // SAFETY: SA_SIGINFO says that the number is the address of such a function.
                let handler: Action = unsafe { std::mem::transmute(handler) };
                handler(self.signal, info, context);
            }
            handler => {
                // SAFETY: without SA_SIGINFO it is the address of such a function.
                let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
                handler(self.signal);
            }
        }
    }
}
