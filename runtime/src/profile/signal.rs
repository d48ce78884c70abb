//! The signal of the CPU sampler: a timer for each thread, which counts that thread's CPU time, and
//! the handler that looks at what was interrupted.
//!
//! The handler runs on the thread's alternate stack, with all other signals held back. It reads
//! registers, this thread's [`ThreadState`], the header of the routine that runs and the interrupted
//! stack within its bounds; it writes into its thread's ring. It takes no lock, allocates nothing
//! and leaves `errno` as it was.
//!
//! **Stations.** A timer's signal carries the address of a [`Station`] in a static table, and the
//! station points to the ring. So a signal that arrives after its profile has ended (the kernel
//! does not take a pending one back) finds an empty station, not freed memory; and a `SIGPROF` that
//! is somebody else's is recognised and passed on to whatever handler was there before.

use std::io;
use std::ptr;
use std::sync::atomic::{
    AtomicPtr, AtomicU32,
    Ordering::{Relaxed, Release, SeqCst},
};
use std::time::Duration;

use super::frames::{self, Bounds};
use super::ring::{self, Head, SampleRing};
pub(super) use crate::monitor::probe::cpu_time;
use crate::monitor::probe::thread_clock;
use crate::signals::Handler;
pub(super) use crate::signals::InstallError;
use crate::thread_state::{self, ThreadState};

/// Threads that can be sampled at once.
pub(super) const STATIONS: usize = 1024;

/// Whether [`registers`] knows this machine.
pub(super) const SUPPORTED: bool = cfg!(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
));

/// Where a thread's samples go.
struct Station {
    /// Null while the thread is not sampled.
    ring: AtomicPtr<SampleRing>,
    /// Handlers at work here: 0 or 1, as a thread's handler does not interrupt itself.
    busy: AtomicU32,
}

static TABLE: [Station; STATIONS] = [const {
    Station {
        ring: AtomicPtr::new(ptr::null_mut()),
        busy: AtomicU32::new(0),
    }
}; STATIONS];

/// The interrupted thread.
struct Registers {
    pc: usize,
    sp: usize,
    frame: usize,
}

/// A timer on the CPU time of one thread, feeding one ring. Disarmed when dropped, and then no
/// handler reads the ring any more.
#[derive(Debug)]
pub(super) struct Timer {
    /// A `timer_t`, whose pointer is a number in truth: kept as one, so that this is `Send`.
    id: usize,
    station: usize,
    ring: Box<SampleRing>,
}

impl Timer {
    /// Samples the thread `tid` of this process every `period` of its CPU time into `ring`. Only
    /// one timer at a time may use a station; [`install`] was called.
    pub(super) fn start(
        tid: i32,
        period: Duration,
        station: usize,
        ring: SampleRing,
    ) -> io::Result<Timer> {
        let ring = Box::new(ring);
        // SAFETY: all-zero is a valid `sigevent`: integers and a pointer.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGPROF;
        event.sigev_notify_thread_id = tid;
        event.sigev_value.sival_ptr = ptr::from_ref(&TABLE[station]).cast_mut().cast();
        let mut id: libc::timer_t = ptr::null_mut();
        // SAFETY: both point to values on this frame.
        if unsafe { libc::timer_create(thread_clock(tid), &mut event, &mut id) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // Release: the handler's load sees the ring's fields.
        TABLE[station]
            .ring
            .store(ptr::from_ref(&*ring).cast_mut(), Release);
        // From here on the value's drop undoes everything.
        let timer = Timer {
            id: id as usize,
            station,
            ring,
        };
        let period = libc::timespec {
            tv_sec: period.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(period.subsec_nanos() as i32),
        };
        let setting = libc::itimerspec {
            it_interval: period,
            it_value: period,
        };
        // SAFETY: the timer was made above and not deleted; `setting` is on this frame.
        if unsafe { libc::timer_settime(id, 0, &setting, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(timer)
    }

    /// Where the samples are.
    pub(super) fn ring(&self) -> &SampleRing {
        &self.ring
    }

    /// Which one it uses.
    pub(super) fn station(&self) -> usize {
        self.station
    }

    /// Ends the sampling. A handler that is running now is waited for; one that comes later finds
    /// nothing to do.
    pub(super) fn disarm(&mut self) {
        if self.id == usize::MAX {
            return;
        }
        // SAFETY: made in `start`, deleted here and, by the marker below, only once. A thread that
        // has ended meanwhile does not matter to the kernel.
        unsafe { libc::timer_delete(self.id as libc::timer_t) };
        self.id = usize::MAX;
        let station = &TABLE[self.station];
        // SeqCst, with the handler's: either it sees the null, or its `busy` is seen here.
        station.ring.store(ptr::null_mut(), SeqCst);
        while station.busy.load(SeqCst) != 0 {
            std::thread::yield_now();
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

static HANDLER: Handler = Handler::new(libc::SIGPROF, on_signal, true);

/// Puts the handler in place; once, it stays for the rest of the process.
pub(super) fn install() -> Result<(), InstallError> {
    HANDLER.install()
}

extern "C" fn on_signal(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: always valid for the calling thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    // SAFETY: the kernel passes what belongs to this signal.
    match unsafe { station_of(info) } {
        Some((station, missed)) => {
            // SeqCst, with `Timer::disarm`.
            station.busy.store(1, SeqCst);
            let ring = station.ring.load(SeqCst);
            // SAFETY: not null, so `disarm` has not passed its store yet, and it waits for `busy`
            // before the ring may go.
            if let Some(ring) = unsafe { ring.as_ref() } {
                // SAFETY: the kernel's, as above.
                let registers = unsafe { registers(context) };
                thread_state::with(|thread| record(thread, ring, missed, registers));
            }
            station.busy.store(0, Release);
        }
        // SAFETY: as above.
        None => unsafe { HANDLER.pass_on(info, context) },
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// How the kernel lays a timer's signal out on 64-bit machines.
#[repr(C)]
struct TimerInfo {
    signo: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    padding: libc::c_int,
    timer: libc::c_int,
    overrun: libc::c_int,
    value: usize,
}

/// The station that the signal names and the periods it missed; `None` if it is not one of ours.
///
/// # Safety
/// 1. Alive: `info` is what the kernel passed to a handler that is still running.
unsafe fn station_of(info: *mut libc::siginfo_t) -> Option<(&'static Station, u32)> {
    // SAFETY: 1; the kernel's block is 128 bytes, whatever its kind.
    let info = unsafe { &*info.cast::<TimerInfo>() };
    let offset = info.value.wrapping_sub(&raw const TABLE as usize);
    (info.code == libc::SI_TIMER
        && offset < size_of_val(&TABLE)
        && offset.is_multiple_of(size_of::<Station>()))
    .then(|| {
        (
            &TABLE[offset / size_of::<Station>()],
            info.overrun.max(0) as u32,
        )
    })
}

/// The registers of the interrupted code.
///
/// # Safety
/// 1. Alive: `context` is what the kernel passed to a handler that is still running.
#[cfg(target_arch = "x86_64")]
unsafe fn registers(context: *mut libc::c_void) -> Registers {
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
unsafe fn registers(context: *mut libc::c_void) -> Registers {
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
unsafe fn registers(context: *mut libc::c_void) -> Registers {
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

/// Nothing is known of this machine; [`SUPPORTED`] keeps timers from being started.
///
/// # Safety
/// None.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
unsafe fn registers(_: *mut libc::c_void) -> Registers {
    Registers {
        pc: 0,
        sp: 0,
        frame: 0,
    }
}

/// Writes the sample, or finds that none can be taken here.
fn record(thread: &ThreadState, ring: &SampleRing, missed: u32, at: Registers) {
    ring.take();
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
    // During a switch the registers belong to two stacks: the thread is said to run a routine and
    // its stack pointer is elsewhere already, or still; or the stack pointer has arrived and the
    // frame pointer has not. (A heap profiler's call on a spare stack is skipped by the same rule, and so
    // is a routine on its way from one of its stacks to another.)
    let elsewhere = match stack {
        Some(stack) => !stack.contains(at.sp),
        None => on_routine,
    };
    let half_switched = on_routine && own.is_some_and(|own| own.contains(at.frame));
    if elsewhere || half_switched {
        ring.skip();
        return;
    }
    ring.push(head(thread, missed), |visit| {
        // Compilers for other languages use the frame register for whatever they like: then the
        // innermost function is all there is to say.
        let Some(stack) = stack.filter(|_| at.frame >= at.sp) else {
            visit(at.pc);
            return;
        };
        if !visit(at.pc) {
            return;
        }
        // SAFETY: 1 and 2: the interrupted code is about to execute at `pc`, and its stack pointer
        // was found inside the bounds of the stack it runs on.
        if let Some(caller) = unsafe { caller_without_frame(&at, stack) }
            && !visit(caller)
        {
            return;
        }
        // SAFETY: 1 this is the thread's own stack, and it is interrupted; 2 the stack pointer is
        // inside the bounds and the walk begins above it, where everything is in use up to the
        // stack's top, as it is in the stacks that were left for it.
        unsafe { frames::walk(at.frame, stack, visit) };
    });
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

/// Who runs on this thread.
fn head(thread: &ThreadState, missed: u32) -> Head {
    let mut head = Head {
        periods: 1 + missed,
        worker: thread.worker(),
        ..Head::default()
    };
    // SAFETY: the scheduler sets both pointers for the length of a turn, in which routine and
    // workload are alive; the handler interrupted this very thread, so the turn is not over.
    let (routine, workload) = unsafe {
        (
            thread.routine().as_ref(),
            thread.workload.load(Relaxed).as_ref(),
        )
    };
    if let Some(routine) = routine {
        head.routine = routine.id.load(Relaxed);
        head.name = std::array::from_fn(|i| routine.name[i].load(Relaxed));
    }
    if let Some(workload) = workload {
        head.workload = workload.id.get();
        head.workload_name = ring::label(&workload.name);
    }
    head
}
