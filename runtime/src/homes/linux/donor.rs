//! Donors: threads that are born to give their thread-local block away.
//!
//! A donor does four things: it blocks every signal, gives up its restartable sequences, says where its
//! block is, and sleeps. From then on the block, with everything that libraries and the C library attach to
//! a thread, is used by whoever mounts it, and the donor must neither touch it nor let the kernel touch it
//! on its behalf: a handler that ran on the donor would write the same `errno` as the routine that runs
//! elsewhere with this block. Woken, it takes its block back and ends as threads do: thread-local
//! destructors run, caches go back to the allocator.
//!
//! It is a plain pthread and none of the standard library's, which would give it an alternate signal stack
//! and a handle of its own.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

use super::{arch, rseq};
use crate::thread_state::{self, ThreadState};

/// Bytes of a donor's stack: it carries thread-local destructors at its end.
pub(crate) const STACK_BYTES: usize = 64 << 10;

/// As programs that list threads show it.
const NAME: &std::ffi::CStr = c"openwork-home";

const STARTING: u32 = 0;
/// Asleep; the block may be used.
const ASLEEP: u32 = 1;
/// Asked to end.
const ENDING: u32 = 2;

/// What donor and owner share. The donor's last touch is the look at `word`.
struct Desk {
    word: AtomicU32,
    base: AtomicUsize,
    state: AtomicPtr<ThreadState>,
    thread_id: AtomicU32,
    /// As the donor read them at birth.
    signal_mask: AtomicU64,
    rseq_left: AtomicU32,
}

/// A sleeping donor.
#[derive(Debug)]
pub(crate) struct Donor {
    thread: libc::pthread_t,
    is_joined: bool,
    desk: Arc<Desk>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "donor {}", self.thread_id.load(Relaxed))
    }
}

impl Donor {
    /// Starts a donor and waits until it sleeps.
    ///
    /// # Errors
    /// The system refuses a thread, `EAGAIN` as a rule; or the donor cannot give up what it must.
    pub(crate) fn start() -> io::Result<Donor> {
        let desk = Arc::new(Desk {
            word: AtomicU32::new(STARTING),
            base: AtomicUsize::new(0),
            state: AtomicPtr::new(null_mut()),
            thread_id: AtomicU32::new(0),
            signal_mask: AtomicU64::new(0),
            rseq_left: AtomicU32::new(0),
        });
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
        // The donor is born with these blocked; the creator gets its own back at once.
        let mask = arch::set_signal_mask(arch::ALL_BUT_SETXID);
        // SAFETY: the attributes are initialised before they are used and destroyed after; the desk
        // outlives the donor, because `drop` joins it.
        let refused = unsafe {
            let refused = libc::pthread_attr_init(attributes.as_mut_ptr());
            if refused == 0 {
                let least = least_stack_bytes(attributes.as_ptr());
                libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK_BYTES.max(least));
                let refused = libc::pthread_create(
                    thread.as_mut_ptr(),
                    attributes.as_ptr(),
                    main,
                    Arc::as_ptr(&desk).cast_mut().cast(),
                );
                libc::pthread_attr_destroy(attributes.as_mut_ptr());
                refused
            } else {
                refused
            }
        };
        arch::set_signal_mask(mask);
        if refused != 0 {
            return Err(io::Error::from_raw_os_error(refused));
        }
        // Acquire pairs with the release store of the donor: what it has told is there.
        while desk.word.load(Acquire) == STARTING {
            arch::futex_wait(&desk.word, STARTING);
        }
        let donor = Donor {
            // SAFETY: written by the successful call.
            thread: unsafe { thread.assume_init() },
            is_joined: false,
            desk,
        };
        if donor.desk.rseq_left.load(Relaxed) == 0 {
            return Err(io::Error::other(
                "a donor could not give up its restartable sequences",
            ));
        }
        Ok(donor)
    }

    /// Where its thread-local block is.
    pub(crate) fn base(&self) -> usize {
        self.desk.base.load(Relaxed)
    }

    /// This crate's state in that block.
    pub(crate) fn state(&self) -> *const ThreadState {
        self.desk.state.load(Relaxed)
    }

    /// What the kernel calls it.
    #[cfg(test)]
    pub(crate) fn thread_id(&self) -> u32 {
        self.desk.thread_id.load(Relaxed)
    }

    /// Signals that it had blocked when it fell asleep.
    pub(crate) fn signal_mask(&self) -> u64 {
        self.desk.signal_mask.load(Relaxed)
    }

    /// Wakes it to its end, without waiting for that.
    pub(crate) fn wake_to_end(&self) {
        // Release pairs with the acquire load of the donor: its block as the last carrier left it.
        self.desk.word.store(ENDING, Release);
        arch::futex_wake(&self.desk.word);
    }

    /// Whether it has ended, its destructors included.
    pub(crate) fn has_ended(&mut self) -> bool {
        if !self.is_joined {
            // SAFETY: it was started joinable and is joined once.
            self.is_joined = unsafe { libc::pthread_tryjoin_np(self.thread, null_mut()) } == 0;
        }
        self.is_joined
    }
}

impl Drop for Donor {
    /// Ends it and waits: its destructors have run afterwards.
    fn drop(&mut self) {
        if self.is_joined {
            return;
        }
        self.wake_to_end();
        // SAFETY: it was started joinable and is joined once.
        unsafe { libc::pthread_join(self.thread, null_mut()) };
    }
}

/// What the C library wants at least, the thread-local block included.
///
/// # Safety
/// 1. Initialised: `attributes` are.
unsafe fn least_stack_bytes(attributes: *const libc::pthread_attr_t) -> usize {
    type Least = unsafe extern "C" fn(*const libc::pthread_attr_t) -> usize;
    // SAFETY: the name ends with a zero byte.
    let known = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__pthread_get_minstack".as_ptr()) };
    if known.is_null() {
        return 0;
    }
    // SAFETY: the C library's function of that name has this type (the standard library calls it so,
    // too); 1 by the caller. As much again as a donor has, for a program with large thread-locals.
    unsafe { std::mem::transmute::<*mut c_void, Least>(known)(attributes) + STACK_BYTES / 2 }
}

extern "C" fn main(desk: *mut c_void) -> *mut c_void {
    // SAFETY: the creator keeps it until it has joined us.
    let desk = unsafe { &*desk.cast_const().cast::<Desk>() };
    // Again: the C library opens the signal by which it cancels threads.
    arch::set_signal_mask(arch::ALL_BUT_SETXID);
    // SAFETY: the name ends with a zero byte, and is copied.
    unsafe {
        arch::system_call(
            libc::SYS_prctl,
            [libc::PR_SET_NAME as usize, NAME.as_ptr() as usize, 0, 0],
        );
    }
    desk.rseq_left.store(u32::from(rseq::unregister()), Relaxed);
    desk.signal_mask.store(arch::signal_mask(), Relaxed);
    desk.base.store(arch::base(), Relaxed);
    desk.state
        .store(thread_state::address().cast_mut(), Relaxed);
    desk.thread_id.store(arch::thread_id(), Relaxed);
    // Release pairs with the acquire load of the creator. From here on the block is not ours.
    desk.word.store(ASLEEP, Release);
    arch::futex_wake(&desk.word);
    // Acquire pairs with the release store of who ends us.
    while desk.word.load(Acquire) != ENDING {
        arch::futex_wait(&desk.word, ASLEEP);
    }
    null_mut()
}
