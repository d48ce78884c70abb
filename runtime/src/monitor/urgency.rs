//! How soon the kernel lets the monitor run when all processors compute.
//!
//! A thread that wakes beside others that compute waits for their tick, 4 ms where there are 250 in a second, and
//! so would every look of the monitor. Linux 6.12 and later let a thread ask for a shorter slice of its own, without
//! any privilege, and whoever has a shorter one goes first when it wakes. Older kernels ignore the wish.

/// The slice asked for: the shortest that the kernel takes.
const SLICE_NS: u64 = 100_000;

/// `struct sched_attr` of Linux, in its first version.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for a short slice for the calling thread.
pub(super) fn ask_for_short_slices() {
    let size = size_of::<Attributes>() as u32;
    let mut attributes = Attributes::default();
    // SAFETY: the kernel writes `size` bytes at most; 0 is the calling thread.
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    // Who was given another policy has been given it by somebody who knows better.
    if known != 0 || attributes.policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attributes.size = size;
    attributes.flags = 0;
    attributes.runtime = SLICE_NS;
    // SAFETY: the kernel reads `size` bytes. Nothing depends on its answer.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
