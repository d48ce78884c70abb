//! Ending a routine from the signal handler that found its stack used up.
//!
//! The frames are left as they lie. What goes on is a function at the very top of the routine's own
//! stack, in bytes that a routine which may be ended like this keeps free for it
//! ([`run_below_gap`]), so that nothing that others may still point to is written over.

use std::mem::MaybeUninit;

use corosensei::trap::TrapHandlerRegs;

use super::coroutine::{StackPart, trap_handler};
use crate::routine::body::TurnEnd;

/// Bytes left free: what the function at the top needs in a debug build, several times over.
const GAP_BYTES: usize = 4096;

/// Program counter and stack pointer of the code that a signal has interrupted.
///
/// # Safety
/// 1. Alive: `context` is what the kernel passed to a handler that is still running.
pub(crate) unsafe fn interrupted(context: *mut libc::c_void) -> (usize, usize) {
    // SAFETY: 1; with SA_SIGINFO it is a `ucontext_t`.
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    return (
        machine.gregs[libc::REG_RIP as usize] as usize,
        machine.gregs[libc::REG_RSP as usize] as usize,
    );
    #[cfg(target_arch = "aarch64")]
    return (machine.pc as usize, machine.sp as usize);
    #[cfg(target_arch = "riscv64")]
    return (machine.__gregs[0] as usize, machine.__gregs[2] as usize);
}

/// Lets the interrupted routine go on with the end of its turn when the handler returns.
///
/// # Safety
/// 1. Alive: as for [`interrupted`], and it interrupted the routine that `part` belongs to.
/// 2. Exclusive: the routine is in no section, is not panicking, and runs below [`run_below_gap`]. No frame of
///    it is ever used again, and its stacks never by anybody.
pub(crate) unsafe fn end_turn(part: *mut StackPart, context: *mut libc::c_void) {
    // SAFETY: 1 by the caller.
    let handler = unsafe { trap_handler(part) };
    let end = move || {
        // SAFETY: 1: `part` lies above the function that runs now, on the thread that ran the routine.
        unsafe { super::coroutine::enter_for_end(part) };
        TurnEnd::Overflowed
    };
    // SAFETY: 2 by the caller; the registers are set below.
    let registers = unsafe { handler.setup_trap_handler(end) };
    // SAFETY: 1 by the caller.
    let machine = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    {
        let TrapHandlerRegs {
            rip,
            rsp,
            rbp,
            rdi,
            rsi,
        } = registers;
        let mut set = |register: libc::c_int, value: u64| {
            machine.gregs[register as usize] = value as libc::greg_t;
        };
        set(libc::REG_RIP, rip);
        set(libc::REG_RSP, rsp);
        set(libc::REG_RBP, rbp);
        set(libc::REG_RDI, rdi);
        set(libc::REG_RSI, rsi);
    }
    #[cfg(target_arch = "aarch64")]
    {
        let TrapHandlerRegs {
            pc,
            sp,
            x0,
            x1,
            x29,
            lr,
        } = registers;
        (machine.pc, machine.sp) = (pc, sp);
        (machine.regs[0], machine.regs[1]) = (x0, x1);
        (machine.regs[29], machine.regs[30]) = (x29, lr);
    }
    #[cfg(target_arch = "riscv64")]
    {
        let TrapHandlerRegs {
            pc,
            ra,
            sp,
            a0,
            a1,
            s0,
        } = registers;
        // The first place is the program counter's; the others are registers by number.
        for (register, value) in [(0, pc), (1, ra), (2, sp), (8, s0), (10, a0), (11, a1)] {
            machine.__gregs[register] = value as libc::c_ulong;
        }
    }
}

/// Runs `run` with the frames that [`end_turn`] may write over above its own.
#[inline(never)]
pub(super) fn run_below_gap(run: impl FnOnce() -> TurnEnd) -> TurnEnd {
    let mut gap = MaybeUninit::<[u8; GAP_BYTES]>::uninit();
    std::hint::black_box(gap.as_mut_ptr());
    let end = run();
    // It stays in the frame as long as `run` does.
    std::hint::black_box(gap.as_mut_ptr());
    end
}
