//! What is tried once in a process before the first home is made.
//!
//! Travelling homes rest on the inside of the C library: what it keeps in a thread's block, and what it
//! asks the kernel instead. That is known of the versions in [`TESTED`] alone; on them a donor is mounted and
//! everything that routines rely on is tried, because a system may be patched, or emulated.

use std::cell::Cell;
use std::ffi::CStr;
use std::mem::MaybeUninit;

use super::carrier::Carrier;
use super::donor::Donor;
use super::{arch, rseq, setxid};
use crate::homes::NoHomes;

/// Versions of the C library on which all tests of this module have passed.
const TESTED: &[&str] = &["2.36"];

/// A signal for the try: blocked and taken back by the same thread, so its action does not matter.
const SIGNAL: i32 = libc::SIGURG;

/// Tries everything.
///
/// # Errors
/// The first thing that is not as it must be.
pub(super) fn run() -> Result<(), NoHomes> {
    #[cfg(target_arch = "x86_64")]
    {
        /// Of `AT_HWCAP2`: user code may write the base.
        const FSGSBASE: libc::c_ulong = 1 << 1;
        // SAFETY: reads a number that the kernel has told the process.
        if unsafe { libc::getauxval(libc::AT_HWCAP2) } & FSGSBASE == 0 {
            return Err(NoHomes::Processor);
        }
    }
    let version = libc_version();
    if !TESTED.contains(&version) {
        return Err(NoHomes::Untested { version });
    }
    rseq::prepare();
    // On a thread of its own: its signal mask is changed, and nothing of the caller's is at stake.
    std::thread::Builder::new()
        .name("openwork-try".into())
        .spawn(try_one)
        .map_err(NoHomes::Donor)?
        .join()
        .unwrap_or(Err(NoHomes::Failed("the try panicked")))
}

fn libc_version() -> &'static str {
    // SAFETY: the C library returns a constant string.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    version.to_str().unwrap_or("unknown")
}

thread_local!(static MARK: Cell<u32> = const { Cell::new(0) });

/// What is to be seen under a mounted home. Never inlined: it has thread-locals in it.
#[inline(never)]
fn look_around() -> (usize, u32, u32) {
    // SAFETY: the address of the running block's `errno`.
    let errno = unsafe { libc::__errno_location() } as usize;
    (errno, MARK.get(), arch::thread_id())
}

#[inline(never)]
fn leave_marks(mark: u32, errno: i32) {
    MARK.set(mark);
    // SAFETY: the running block's `errno`.
    unsafe { *libc::__errno_location() = errno };
}

#[inline(never)]
fn read_errno() -> i32 {
    // SAFETY: the running block's `errno`.
    unsafe { *libc::__errno_location() }
}

fn try_one() -> Result<(), NoHomes> {
    // The first thread was created by now, so the handler is there.
    setxid::install().map_err(NoHomes::Failed)?;
    if !setxid::is_installed() {
        return Err(NoHomes::Failed(
            "the shim before the handler of signal 33 did not stay",
        ));
    }
    let donor = Donor::start().map_err(NoHomes::Donor)?;
    if donor.signal_mask() != kept_of(arch::ALL_BUT_SETXID)
        || donor.signal_mask() & MUST_BLOCK != MUST_BLOCK
    {
        return Err(NoHomes::Failed("a donor's signal mask is not as asked"));
    }
    let carrier = Carrier::enter();
    let under = |what: fn() -> i64| {
        // SAFETY: 1: the donor sleeps; 2: nobody else knows it; 3: a call by pointer.
        unsafe { carrier.run_under(donor.base(), || std::hint::black_box(what)()) }
    };
    leave_marks(1, libc::EDOM);
    let outside = look_around();
    let processor = under(|| rseq::cpu_id().map_or(-1, i64::from));
    if processor >= 0 {
        return Err(NoHomes::Failed(
            "a donor's block is registered for restartable sequences",
        ));
    }
    // Values stay with their blocks.
    under(|| {
        leave_marks(2, libc::ERANGE);
        0
    });
    if look_around() != outside || read_errno() != libc::EDOM {
        return Err(NoHomes::Failed(
            "a thread-local was written in the wrong block",
        ));
    }
    let errno_there = under(|| look_around().0 as i64) as usize;
    if errno_there == outside.0
        || under(|| i64::from(MARK.get())) != 2
        || under(|| i64::from(read_errno())) != i64::from(libc::ERANGE)
    {
        return Err(NoHomes::Failed("a thread-local did not stay in its block"));
    }
    if under(|| i64::from(arch::thread_id())) != i64::from(carrier.thread_id()) {
        return Err(NoHomes::Failed("the kernel's number of a carrier changed"));
    }
    if under(allocate) != 0 {
        return Err(NoHomes::Failed(
            "memory that was allocated under a home was not whole",
        ));
    }
    if !raise_stays_here(&under) {
        return Err(NoHomes::Failed(
            "`raise` under a home went to another thread",
        ));
    }
    Ok(())
}

/// Blocks of many sizes, written and read back.
fn allocate() -> i64 {
    let mut wrong = 0;
    for size in [1usize, 24, 200, 5000, 300_000] {
        // SAFETY: written and read within its size, freed once.
        unsafe {
            let block = libc::malloc(size).cast::<u8>();
            if block.is_null() {
                continue;
            }
            block.write_bytes(0x5a, size);
            wrong += i64::from(*block.add(size - 1) != 0x5a);
            libc::free(block.cast());
        }
    }
    wrong
}

/// The two that nobody can block; the kernel leaves them out of a mask.
const KILL_AND_STOP: u64 = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);

/// What a donor must block whatever the system: the signals that have names, and the one by which the C
/// library cancels threads.
const MUST_BLOCK: u64 = ((1 << 32) - 1) & !KILL_AND_STOP;

/// What the system keeps of a mask that is asked for. An emulator may have fewer signals than the kernel:
/// those that it has not are sent to nobody.
fn kept_of(mask: u64) -> u64 {
    let before = arch::set_signal_mask(mask);
    let kept = arch::signal_mask();
    arch::set_signal_mask(before);
    kept
}

fn raise_stays_here(under: &impl Fn(fn() -> i64) -> i64) -> bool {
    let mask = arch::set_signal_mask(1 << (SIGNAL - 1));
    let raised = under(|| {
        // SAFETY: blocked on this thread, and taken below.
        i64::from(unsafe { libc::raise(SIGNAL) })
    });
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    let none = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the set is initialised before it is used; no info is asked for.
    let taken = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), SIGNAL);
        libc::sigtimedwait(set.as_ptr(), std::ptr::null_mut(), &none)
    };
    arch::set_signal_mask(mask);
    raised == 0 && taken == SIGNAL
}
