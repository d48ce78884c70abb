//! A hint to the processor.

/// Bytes that a processor fetches at once.
pub(crate) const CACHE_LINE: usize = 64;

/// Asks for the cache line at an address, which may be any.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint faults at no address, and every x86_64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
