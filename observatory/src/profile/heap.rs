//! Where memory was allocated, and where what is still held was.

use openwork::memory::{self, HeapSite};

use super::fold::{Fold, Report, ValueKind, cut_at_root};
use super::symbol::Symbols;

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
/// Looks up addresses, to cut what starts a routine or a thread off each stack.
pub fn report(view: View, symbols: &Symbols) -> Option<Report> {
    memory::is_counting().then(|| {
        let mut report = fold(&memory::heap_sites(), view, symbols);
        let interval_bytes = memory::sample_interval_bytes();
        let space = ValueKind {
            name: "space",
            unit: "bytes",
        };
        report.period = Some((space, signed(interval_bytes)));
        report.remarks.push(format!(
            "One allocation in about {interval_bytes} bytes was sampled and stands for the others: figures \
             are estimates, and what allocated less may be absent."
        ));
        let lost = memory::samples_lost();
        if lost > 0 {
            report.remarks.push(format!("{lost} samples were lost because a table was full."));
        }
        report
    })
}

fn fold(sites: &[HeapSite], view: View, symbols: &Symbols) -> Report {
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
        fold.add(cut_at_root(&site.frames, symbols), vec![], &values);
    }
    symbols.release();
    let mut report = Report::new(VALUES, default_value);
    report.stacks = fold.stacks(default_value);
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
        let report = fold(
            &[site(100, 25), site(10, 20)],
            View::InUse,
            &Symbols::default(),
        );
        assert_eq!(report.stacks.len(), 1);
        assert_eq!(report.stacks[0].values, [8, 110, 6, 75]);
        assert_eq!(report.values[report.default_value].name, "inuse_space");
    }
}
