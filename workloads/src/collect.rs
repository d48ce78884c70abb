//! What a forced collection would show: there is no collector, and this says so with figures.

use std::time::{Duration, Instant};

use openwork::memory;

use crate::host::rss_bytes;
use crate::own::process_live_bytes;

/// Memory of the whole process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Bytes allocated and not freed.
    pub live_bytes: Option<u64>,
    /// Allocations not freed.
    pub live_objects: Option<u64>,
    /// Bytes in physical memory.
    pub rss_bytes: Option<u64>,
}

/// Memory before and after, and what happened between: nothing.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// At the start of the call.
    pub before: Figures,
    /// At its end.
    pub after: Figures,
    /// Bytes given back to the system. Always `None`: see [`Report::note`].
    pub returned_bytes: Option<u64>,
    /// Why nothing was collected, for people.
    pub note: &'static str,
    /// Time between the two readings.
    pub duration: Duration,
}

/// The text of [`Report::note`].
pub const NOTE: &str = "native memory has no collector: what is garbage was freed when its owner \
     ended. The allocator's free pages could be returned to the system by malloc_trim, which has no \
     safe interface and is not called";

impl Figures {
    /// Reads them now.
    pub fn now() -> Figures {
        Figures {
            live_bytes: process_live_bytes(),
            live_objects: memory::is_counting().then(memory::live_objects),
            rss_bytes: rss_bytes(),
        }
    }
}

/// Reads memory twice. Frees nothing, since everything without an owner was freed already.
pub fn collect() -> Report {
    let begun = Instant::now();
    let before = Figures::now();
    let after = Figures::now();
    Report {
        before,
        after,
        returned_bytes: None,
        note: NOTE,
        duration: begun.elapsed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_done_has_no_figure() {
        let report = collect();
        assert_eq!(report.returned_bytes, None);
        assert!(report.after.rss_bytes.is_some());
    }
}
