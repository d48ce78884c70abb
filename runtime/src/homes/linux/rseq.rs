//! Restartable sequences: what a donor must give up.
//!
//! The C library registers a few words of each thread's block with the kernel, which writes there on
//! which processor the *kernel thread* runs, and restarts sections of code that rely on it. A home's
//! block is used on other processors than its donor sleeps on: a counter per processor then loses
//! additions, and an allocator that relies on it corrupts memory. Unregistered, the words say "no
//! processor known", and everybody falls back to asking the kernel.

use std::ffi::CStr;
use std::sync::OnceLock;

use super::arch::{self, system_call};

#[cfg(target_arch = "x86_64")]
const SIGNATURE: usize = 0x5305_3053;
#[cfg(target_arch = "aarch64")]
const SIGNATURE: usize = 0xd428_bc00;
#[cfg(target_arch = "riscv64")]
const SIGNATURE: usize = 0xf140_1073;

const UNREGISTER: usize = 1;
/// Bytes that the C library has registered since it does; a longer area has its own size.
const FIRST_SIZE: usize = 32;
/// Where the kernel writes the processor's number.
const CPU_ID_OFFSET: usize = 4;

/// How the C library registers: the place relative to the block's base, and the size it tells.
#[derive(Clone, Copy)]
struct Layout {
    offset: isize,
    told_size: usize,
}

fn layout() -> Option<Layout> {
    static LAYOUT: OnceLock<Option<Layout>> = OnceLock::new();
    *LAYOUT.get_or_init(|| {
        let offset = symbol(c"__rseq_offset").cast::<isize>();
        let size = symbol(c"__rseq_size").cast::<u32>();
        if offset.is_null() || size.is_null() {
            return None; // older than this mechanism
        }
        // SAFETY: the C library documents both as constant objects of these types.
        let (offset, size) = unsafe { (*offset, *size) };
        (size > 0).then_some(Layout {
            offset,
            told_size: size as usize,
        })
    })
}

fn symbol(name: &CStr) -> *mut libc::c_void {
    // SAFETY: the name ends with a zero byte.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// To be called before the first donor, on a thread whose block is its own.
pub(super) fn prepare() {
    layout();
}

/// What the running thread's words say of its processor; negative: not registered. `None` if the C
/// library has no such words.
pub(super) fn cpu_id() -> Option<i32> {
    layout().map(|layout| {
        let area = arch::base().wrapping_add_signed(layout.offset);
        // SAFETY: the words are part of the thread's block; the kernel may write them at any time.
        unsafe { ((area + CPU_ID_OFFSET) as *const i32).read_volatile() }
    })
}

/// Unregisters the running thread. Returns whether it is not registered now.
pub(super) fn unregister() -> bool {
    let Some(layout) = layout() else { return true };
    if cpu_id().is_none_or(|id| id < 0) {
        return true;
    }
    let area = arch::base().wrapping_add_signed(layout.offset);
    // SAFETY: reads a number that the kernel has told the process.
    let features = unsafe { libc::getauxval(AT_RSEQ_FEATURE_SIZE) } as usize;
    // The size must be the one that was registered, which newer C libraries tell no more.
    for size in [
        FIRST_SIZE,
        features.next_multiple_of(FIRST_SIZE),
        features,
        layout.told_size,
    ] {
        // SAFETY: the kernel compares the arguments with what is registered for this thread and
        // refuses what differs.
        let refused = unsafe { system_call(libc::SYS_rseq, [area, size, UNREGISTER, SIGNATURE]) };
        if refused == 0 {
            return cpu_id().is_some_and(|id| id < 0);
        }
    }
    false
}

/// Entry of the auxiliary vector: bytes of the words that the kernel knows.
const AT_RSEQ_FEATURE_SIZE: libc::c_ulong = 27;
