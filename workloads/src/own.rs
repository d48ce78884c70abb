//! Memory that a run's own routines hold.

use openwork::{Workload, memory};

/// What the routines of one workload allocated and have not freed themselves.
///
/// Negative when they freed what others had allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnMemory {
    /// Bytes allocated minus bytes freed.
    pub bytes: i64,
    /// Allocations minus frees.
    pub objects: i64,
}

impl OwnMemory {
    /// Reads the workload's counters. `None` when the program does not install the counting
    /// allocator.
    ///
    /// Gives way first: a routine's counts reach its workload at the end of its turn.
    pub(crate) fn read(workload: &Workload) -> Option<OwnMemory> {
        if !memory::is_counting() {
            return None;
        }
        openwork::yield_now();
        let counters = workload.counters();
        Some(OwnMemory {
            bytes: difference(counters.allocated_bytes, counters.freed_bytes),
            objects: difference(counters.allocated_objects, counters.freed_objects),
        })
    }
}

/// Bytes alive in the whole process, or `None` without the counting allocator.
pub(crate) fn process_live_bytes() -> Option<u64> {
    memory::is_counting().then(memory::live_bytes)
}

/// `a - b`, exact for any two counters less than 2^63 apart.
fn difference(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b).cast_signed()
}
