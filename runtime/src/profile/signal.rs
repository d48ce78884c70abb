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

use super::interrupted::{Interrupted, Registers, registers};
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
            // Release pairs with the load in `disarm`: the ring is not used any more.
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

/// Writes the sample, or finds that none can be taken here.
fn record(thread: &ThreadState, ring: &SampleRing, missed: u32, at: Registers) {
    ring.take();
    match Interrupted::find(thread, at) {
        Some(interrupted) => ring.push(head(thread, missed), |visit| interrupted.visit(visit)),
        None => ring.skip(),
    }
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
        head.name = routine.name_words();
    }
    if let Some(workload) = workload {
        head.workload = workload.id.get();
        head.workload_name = ring::label(&workload.name);
    }
    head
}
