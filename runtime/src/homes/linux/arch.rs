//! The few instructions that differ between processors: where the thread-local block is, and system
//! calls that leave `errno` alone.
//!
//! A system call of the C library writes its error to `errno`, which lies in the thread-local block,
//! and may be a cancellation point. A donor must touch its block no more once it has given it away,
//! and a signal handler may not know whose block is in force; so both ask the kernel themselves.

use std::arch::asm;

/// Where the calling thread's thread-local block is.
///
/// Not for a function that lives over a change of it: the value is asked for at each call.
#[inline(always)]
pub(super) fn base() -> usize {
    let base: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads. The block's first word is its own address, as the thread-local ABI demands.
    unsafe {
        asm!("mov {}, fs:[0]", out(reg) base, options(readonly, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register that user code may read.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) base, options(readonly, nostack, preserves_flags));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: reads a register.
    unsafe {
        asm!("mv {}, tp", out(reg) base, options(readonly, nostack, preserves_flags));
    }
    base
}

/// Puts another thread-local block in force. No memory access moves across it.
///
/// # Safety
/// 1. Whole: `base` came from [`base`], on a thread that lives as long as its block is in force.
/// 2. Exclusive: no other thread uses that block meanwhile.
/// 3. Supported: on x86-64 the kernel lets user code write the base (`HWCAP2`, bit 1).
/// 4. Addresses: no function on the way to the change back keeps the address of a thread-local over
///    either of them.
#[inline(always)]
pub(super) unsafe fn set_base(base: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: by the caller.
    unsafe {
        asm!("wrfsbase {}", in(reg) base, options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: by the caller.
    unsafe {
        asm!("msr tpidr_el0, {}", in(reg) base, options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: by the caller. The compiler keeps nothing else in this register: the ABI reserves it.
    unsafe {
        asm!("mv tp, {}", in(reg) base, options(nostack, preserves_flags));
    }
}

/// A system call of up to four arguments. Returns what the kernel returns: a negative error number, or
/// the result.
///
/// # Safety
/// 1. As the system call demands.
#[inline(always)]
pub(super) unsafe fn system_call(number: libc::c_long, arguments: [usize; 4]) -> isize {
    let [a, b, c, d] = arguments;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: by the caller; the kernel keeps all registers but those named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: by the caller; the kernel keeps all registers but the result's.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d,
            options(nostack)
        );
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: by the caller; the kernel keeps all registers but the result's.
    unsafe {
        asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") a as isize => result,
            in("a1") b, in("a2") c, in("a3") d,
            options(nostack)
        );
    }
    result
}

/// What the kernel calls the running thread.
pub(super) fn thread_id() -> u32 {
    // SAFETY: no arguments, no failure.
    unsafe { system_call(libc::SYS_gettid, [0; 4]) as u32 }
}

/// Bytes of the kernel's signal set.
const MASK_BYTES: usize = 8;

/// All signals but the one by which the C library changes the credentials of all threads: blocked
/// anywhere, it makes every `setuid` wait for ever.
pub(super) const ALL_BUT_SETXID: u64 = !(1 << (SIGSETXID - 1));

/// The signal of the C library's that is meant.
pub(super) const SIGSETXID: i32 = 33;

/// Replaces the running thread's signal mask; returns the one before. Takes the two signals along that
/// the C library keeps from its users.
pub(super) fn set_signal_mask(mask: u64) -> u64 {
    let mut before = 0u64;
    // SAFETY: both are of the size that is told, and ours.
    unsafe {
        system_call(
            libc::SYS_rt_sigprocmask,
            [
                libc::SIG_SETMASK as usize,
                &raw const mask as usize,
                &raw mut before as usize,
                MASK_BYTES,
            ],
        );
    }
    before
}

/// The running thread's signal mask.
pub(super) fn signal_mask() -> u64 {
    let mut mask = 0u64;
    // SAFETY: no new mask is given; the old one is written to a place of the size that is told.
    unsafe {
        system_call(
            libc::SYS_rt_sigprocmask,
            [0, 0, &raw mut mask as usize, MASK_BYTES],
        );
    }
    mask
}

/// The kernel's own form of a signal's action, which names the two reserved ones too.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Action {
    pub(super) handler: usize,
    pub(super) flags: usize,
    #[cfg(not(target_arch = "riscv64"))]
    pub(super) restorer: usize,
    pub(super) mask: u64,
}

/// Reads the action of `signal` and, if `new` is given, replaces it.
///
/// # Safety
/// 1. Alive: `new`'s handler is a signal handler for as long as it is set.
pub(super) unsafe fn signal_action(signal: i32, new: Option<&Action>) -> Option<Action> {
    let mut old = std::mem::MaybeUninit::<Action>::uninit();
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads `new`, if any, and writes `old`; 1 by the caller.
    let failed = unsafe {
        system_call(
            libc::SYS_rt_sigaction,
            [
                signal as usize,
                new as usize,
                old.as_mut_ptr() as usize,
                MASK_BYTES,
            ],
        )
    };
    // SAFETY: after success the kernel has filled it.
    (failed == 0).then(|| unsafe { old.assume_init() })
}

/// Sleeps as long as `word` is `value`, or until woken, or for no reason. Touches no thread-local.
pub(super) fn futex_wait(word: &std::sync::atomic::AtomicU32, value: u32) {
    // SAFETY: the word is alive while we borrow it; no time-out is given.
    unsafe {
        system_call(
            libc::SYS_futex,
            [
                word.as_ptr() as usize,
                (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize,
                value as usize,
                0,
            ],
        );
    }
}

/// Wakes whoever sleeps on `word`.
pub(super) fn futex_wake(word: &std::sync::atomic::AtomicU32) {
    // SAFETY: the kernel looks at the address alone.
    unsafe {
        system_call(
            libc::SYS_futex,
            [
                word.as_ptr() as usize,
                (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize,
                i32::MAX as usize,
                0,
            ],
        );
    }
}
