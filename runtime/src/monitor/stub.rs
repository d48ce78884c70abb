//! Taking workers comes next.

use crate::scheduler::Shared;
use crate::scheduler::threads::Threads;

pub(super) enum Taken {
    Given,
    InSection,
    NobodyToTake,
    Busy,
    Unsupported,
}

impl Shared {
    pub(super) fn take_from_blocked(&self, _: usize, _: u64) -> Taken {
        Taken::Unsupported
    }
    pub(super) fn take_from_frozen(&self, _: usize) -> Taken {
        Taken::Unsupported
    }
    pub(super) fn release_frozen(&self, _: usize) -> bool {
        false
    }
}

impl Threads {
    pub(super) fn spare(&self) -> usize {
        0
    }
    pub(super) fn wanting(&self) -> usize {
        0
    }
    pub(super) fn need_spares(&self) {}
}
