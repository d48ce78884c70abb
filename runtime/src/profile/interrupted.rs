//! Code that a signal has interrupted: where it was, and who called it. By the handler, on the thread itself.

use std::sync::atomic::Ordering::Relaxed;

use super::frames::{self, Bounds};
use crate::thread_state::ThreadState;

/// Registers of the interrupted code.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    pc: usize,
    sp: usize,
    frame: usize,
}

/// The registers of the interrupted code.
///
/// # Safety
/// 1. Alive: `context` is what the kernel passed to a handler that is still running.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn registers(context: *mut libc::c_void) -> Registers {
    // SAFETY: 1; with SA_SIGINFO it is a `ucontext_t`.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    Registers {
        pc: registers[libc::REG_RIP as usize] as usize,
        sp: registers[libc::REG_RSP as usize] as usize,
        frame: registers[libc::REG_RBP as usize] as usize,
    }
}

/// The registers of the interrupted code.
///
/// # Safety
/// 1. Alive: `context` is what the kernel passed to a handler that is still running.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn registers(context: *mut libc::c_void) -> Registers {
    // SAFETY: 1; with SA_SIGINFO it is a `ucontext_t`.
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    Registers {
        pc: machine.pc as usize,
        sp: machine.sp as usize,
        frame: machine.regs[29] as usize,
    }
}

/// The registers of the interrupted code.
///
/// # Safety
/// 1. Alive: `context` is what the kernel passed to a handler that is still running.
#[cfg(target_arch = "riscv64")]
pub(crate) unsafe fn registers(context: *mut libc::c_void) -> Registers {
    // The first place has the program counter, which is no general register.
    const SP: usize = 2;
    const S0: usize = 8;
    // SAFETY: 1; with SA_SIGINFO it is a `ucontext_t`.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.__gregs };
    Registers {
        pc: registers[0] as usize,
        sp: registers[SP] as usize,
        frame: registers[S0] as usize,
    }
}

/// Nothing is known of this machine.
///
/// # Safety
/// None.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
pub(crate) unsafe fn registers(_: *mut libc::c_void) -> Registers {
    Registers {
        pc: 0,
        sp: 0,
        frame: 0,
    }
}

/// What was interrupted, on which stack.
pub(crate) struct Interrupted {
    at: Registers,
    stack: Option<Bounds>,
}

impl Interrupted {
    /// Finds the stack that the calling thread was on. `None` in the middle of a switch: there the registers belong
    /// to two stacks.
    pub(crate) fn find(thread: &ThreadState, at: Registers) -> Option<Interrupted> {
        let own = Bounds::native(
            thread.native_low.load(Relaxed),
            thread.native_high.load(Relaxed),
        );
        let routine = thread.routine_stack();
        let on_routine = routine.is_some();
        let stack = match routine {
            Some(stacks) => Bounds::routine(stacks),
            None => own,
        };
        // The thread is said to run a routine and its stack pointer is elsewhere already, or still; or the
        // stack pointer has arrived and the frame pointer has not. (A heap profiler's call on a spare stack is
        // skipped by the same rule, and so is a routine on its way from one of its stacks to another.)
        let elsewhere = match stack {
            Some(stack) => !stack.contains(at.sp),
            None => on_routine,
        };
        let half_switched = on_routine && own.is_some_and(|own| own.contains(at.frame));
        (!elsewhere && !half_switched).then_some(Interrupted { at, stack })
    }

    /// Calls `visit` with the address that was interrupted and with each caller's, nearest first, until it says
    /// `false`. Only in the handler that interrupted them: they stand still as long as it runs.
    pub(crate) fn visit(&self, mut visit: impl FnMut(usize) -> bool) {
        let at = &self.at;
        // Compilers for other languages use the frame register for whatever they like: then the
        // innermost function is all there is to say.
        let Some(stack) = self.stack.filter(|_| at.frame >= at.sp) else {
            visit(at.pc);
            return;
        };
        if !visit(at.pc) {
            return;
        }
        // SAFETY: 1 and 2: the interrupted code is about to execute at `pc`, and its stack pointer
        // was found inside the bounds of the stack it runs on.
        if let Some(caller) = unsafe { caller_without_frame(at, stack) }
            && !visit(caller)
        {
            return;
        }
        // SAFETY: 1 this is the thread's own stack, and it is interrupted; 2 the stack pointer is
        // inside the bounds and the walk begins above it, where everything is in use up to the
        // stack's top, as it is in the stacks that were left for it.
        unsafe { frames::walk(at.frame, stack, visit) };
    }
}

/// The caller of a function that was interrupted while it has no frame: on its first two
/// instructions, or its last. The frame pointer is the caller's then, and a walk from there begins
/// with the caller's caller. In a debug build that was every eighth sample.
///
/// Only instructions of the program itself are looked at, which is built with frame pointers; in
/// libraries that are not, a push of this register says nothing.
///
/// # Safety
/// 1. Alive: the instruction at `at.pc` is mapped, and whole.
/// 2. Alive: from `at.sp` to the end of `stack` memory is mapped.
#[cfg(target_arch = "x86_64")]
unsafe fn caller_without_frame(at: &Registers, stack: Bounds) -> Option<usize> {
    const PUSH_FRAME: u8 = 0x55;
    const RETURN: u8 = 0xc3;
    const SET_FRAME: [u8; 3] = [0x48, 0x89, 0xe5];
    if !frames::in_program(at.pc) {
        return None;
    }
    let code = at.pc as *const u8;
    // SAFETY: 1. The second and third byte are read only where those before them say that the
    // instruction has as many: 0x48 is a prefix, and 0x89 an opcode that has an operand.
    let above = unsafe {
        match code.read() {
            PUSH_FRAME | RETURN => 0,
            first
                if first == SET_FRAME[0]
                    && code.add(1).read() == SET_FRAME[1]
                    && code.add(2).read() == SET_FRAME[2] =>
            {
                1
            }
            _ => return None,
        }
    };
    let place = at.sp.checked_add(above * size_of::<usize>())?;
    if !place.is_multiple_of(align_of::<usize>()) || !stack.contains(place + size_of::<usize>() - 1)
    {
        return None;
    }
    // SAFETY: aligned and inside the bounds, as just checked; mapped by 2.
    let returns_to = unsafe { (place as *const usize).read_volatile() };
    frames::in_program(returns_to).then(|| returns_to - 1)
}

/// Elsewhere the return address may be in a register, which cannot be told from here.
///
/// # Safety
/// None.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn caller_without_frame(_: &Registers, _: Bounds) -> Option<usize> {
    None
}
