//! The kernel's tick.

use std::sync::OnceLock;

/// The kernel's coarse clock: as exact as its tick, and much cheaper to read than the exact one.
#[derive(Clone, Copy)]
pub(in crate::scheduler::worker) struct Ticks(ClockGettime);

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

impl Ticks {
    /// Finds the function in what the kernel maps into every process: 3 ns a call, 7 by the C
    /// library.
    pub(in crate::scheduler::worker) fn new() -> Ticks {
        #[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
        // SAFETY: the names are C strings. The kernel's object is in every process for as long as
        // that lives, so `NOLOAD` loads nothing, and the function of this name and version has this
        // type: that is part of the kernel's interface.
        unsafe {
            let object = libc::dlopen(
                c"linux-vdso.so.1".as_ptr(),
                libc::RTLD_NOW | libc::RTLD_NOLOAD,
            );
            if !object.is_null() {
                let found = libc::dlvsym(
                    object,
                    c"__vdso_clock_gettime".as_ptr(),
                    c"LINUX_2.6".as_ptr(),
                );
                if !found.is_null() {
                    return Ticks(std::mem::transmute::<*mut libc::c_void, ClockGettime>(
                        found,
                    ));
                }
            }
        }
        Ticks(libc::clock_gettime)
    }

    /// A number that changes with the tick.
    #[inline]
    pub(in crate::scheduler::worker) fn now(self) -> u64 {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel's code fills in our own value.
        unsafe { (self.0)(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
        // Where there is no such clock it stands still, and the other occasions remain.
        (time.tv_sec as u64) ^ ((time.tv_nsec as u64) << 32)
    }
}

/// Length of the tick, in nanoseconds: what the coarse clock is exact to.
pub(crate) fn tick_ns() -> u64 {
    /// No kernel ticks more often.
    const SHORTEST_NS: u64 = 1_000_000;
    static TICK: OnceLock<u64> = OnceLock::new();
    *TICK.get_or_init(|| {
        let mut length = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel fills in our own value. Where there is no such clock it stays 0.
        unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut length) };
        u64::try_from(length.tv_nsec).unwrap_or(0).max(SHORTEST_NS)
    })
}
