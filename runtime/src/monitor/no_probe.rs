//! What a portable build knows of other threads: nothing. The twin of `probe.rs`.

use crate::snapshot::SystemCall;

pub(crate) fn cpu_ns(_tid: i32) -> Option<u64> {
    None
}

pub(crate) fn system_call(_tid: i32) -> Option<SystemCall> {
    None
}

/// Whether the kernel tells what threads do.
pub(crate) fn tells_states() -> bool {
    false
}
