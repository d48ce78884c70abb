//! Where memory was allocated, and where what is still held was.

use openwork::memory::{self, HeapSite};

use super::fold::{Fold, Frame, Report, ValueKind};

/// What each stack of a heap report has, in Go's order.
pub const VALUES: &[ValueKind] = &[
    ValueKind {
        name: "alloc_objects",
        unit: "count",
    },
    ValueKind {
        name: "alloc_space",
        unit: "bytes",
    },
    ValueKind {
        name: "inuse_objects",
        unit: "count",
    },
    ValueKind {
        name: "inuse_space",
        unit: "bytes",
    },
];

/// Which figure a heap report is about; the others are in it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What is held: `inuse_space`.
    InUse,
    /// What was ever allocated: `alloc_space`.
    Allocated,
}

/// The heap as sampled by the counting allocator; `None` when the program does not install it.
pub fn report(view: View) -> Option<Report> {
    memory::is_counting()
        .then(|| fold(&memory::heap_sites(), memory::sample_interval_bytes(), view))
}

fn fold(sites: &[HeapSite], interval_bytes: u64, view: View) -> Report {
    let default_value = match view {
        View::InUse => 3,
        View::Allocated => 1,
    };
    let mut fold = Fold::default();
    for site in sites {
        let held = |allocated: u64, freed: u64| signed(allocated.saturating_sub(freed));
        let values = [
            signed(site.allocated_objects),
            signed(site.allocated_bytes),
            held(site.allocated_objects, site.freed_objects),
            held(site.allocated_bytes, site.freed_bytes),
        ];
        fold.add(
            site.frames.iter().copied().map(Frame::Code).collect(),
            vec![],
            &values,
        );
    }
    let mut report = Report::new(VALUES, default_value);
    report.stacks = fold.stacks(default_value);
    report.period = i64::try_from(interval_bytes).ok().map(|bytes| {
        let space = ValueKind {
            name: "space",
            unit: "bytes",
        };
        (space, bytes)
    });
    report.remarks = vec![format!(
        "Sampled once in {interval_bytes} bytes allocated and scaled up: figures are estimates, and \
         a site that allocated less may be absent."
    )];
    report
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_what_was_not_freed() {
        let site = |allocated_bytes, freed_bytes| HeapSite {
            frames: vec![7],
            allocated_objects: 4,
            allocated_bytes,
            freed_objects: 1,
            freed_bytes,
        };
        let report = fold(&[site(100, 25), site(10, 20)], 512, View::InUse);
        assert_eq!(report.stacks.len(), 1);
        assert_eq!(report.stacks[0].values, [8, 110, 6, 75]);
        assert_eq!(report.values[report.default_value].name, "inuse_space");
    }
}
