//! A profile before it is shown: equal stacks folded, figures summed.

use std::collections::HashMap;
use std::panic::Location;
use std::time::{Duration, SystemTime};

use super::symbol::{Function, Symbols};

/// What one value of a stack means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueKind {
    /// `samples`, `inuse_space` and so on, by pprof's conventions.
    pub name: &'static str,
    /// `count`, `bytes` or `nanoseconds`.
    pub unit: &'static str,
}

/// A frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// Code at an address.
    Code(usize),
    /// No code, but a word in its place: the routine has no stack to be read, and was spawned here.
    Note(String, &'static Location<'static>),
}

impl Frame {
    /// The functions at this frame, the one inlined deepest first.
    pub(crate) fn functions(&self, symbols: &Symbols) -> Vec<Function> {
        match self {
            Frame::Code(address) => symbols.at(*address).to_vec(),
            Frame::Note(word, site) => vec![Function {
                name: format!("({word})"),
                mangled: format!("({word})"),
                package: String::new(),
                file: Some(site.file().to_owned()),
                line: Some(site.line()),
            }],
        }
    }
}

/// A name and a value attached to a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// `routine`, `worker`, `workload`, `state`, `wait_reason`.
    pub key: &'static str,
    /// Its text.
    pub value: String,
}

impl Label {
    pub(crate) fn new(key: &'static str, value: impl Into<String>) -> Label {
        Label {
            key,
            value: value.into(),
        }
    }
}

/// A stack and its figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// Leaf first.
    pub frames: Vec<Frame>,
    /// Its labels.
    pub labels: Vec<Label>,
    /// One for each of [`Report::values`].
    pub values: Vec<i64>,
}

/// A profile: folded stacks and what there is to say about them.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the values of each stack mean.
    pub values: &'static [ValueKind],
    /// Which of them is shown first.
    pub default_value: usize,
    /// No two with equal frames and labels.
    pub stacks: Vec<Stack>,
    /// What one sample stands for, if the profile was sampled.
    pub period: Option<(ValueKind, i64)>,
    /// When it was taken; of a timed one, when it began.
    pub taken: SystemTime,
    /// How long a timed one took.
    pub duration: Option<Duration>,
    /// What was skipped or lost and what limits the figures, one sentence each.
    pub remarks: Vec<String>,
}

impl Report {
    pub(crate) fn new(values: &'static [ValueKind], default_value: usize) -> Report {
        Report {
            values,
            default_value,
            stacks: Vec::new(),
            period: None,
            taken: SystemTime::now(),
            duration: None,
            remarks: Vec::new(),
        }
    }

    /// Sum of a value over all stacks.
    pub fn total(&self, value: usize) -> i64 {
        self.stacks.iter().map(|stack| stack.values[value]).sum()
    }

    /// What came on top of `earlier`, a report of the same kind. Stacks that did not change are left
    /// out; a figure that went down is negative, as in Go's delta profiles.
    pub fn since(mut self, earlier: &Report) -> Report {
        let mut fold = Fold::default();
        for stack in self.stacks.drain(..) {
            fold.add(stack.frames, stack.labels, &stack.values);
        }
        for stack in &earlier.stacks {
            let taken: Vec<i64> = stack.values.iter().map(|value| -value).collect();
            fold.add(stack.frames.clone(), stack.labels.clone(), &taken);
        }
        self.stacks = fold.stacks(self.default_value);
        self.stacks
            .retain(|stack| stack.values.iter().any(|value| *value != 0));
        self.duration = self.taken.duration_since(earlier.taken).ok();
        self.taken = earlier.taken;
        self
    }
}

/// Folds stacks as they come.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    found: HashMap<(Vec<Frame>, Vec<Label>), Vec<i64>>,
}

impl Fold {
    pub(crate) fn add(&mut self, frames: Vec<Frame>, labels: Vec<Label>, values: &[i64]) {
        let sums = self
            .found
            .entry((frames, labels))
            .or_insert_with(|| vec![0; values.len()]);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }

    /// The stacks, the greatest of `value` first.
    pub(crate) fn stacks(self, value: usize) -> Vec<Stack> {
        let mut stacks: Vec<_> = self
            .found
            .into_iter()
            .map(|((frames, labels), values)| Stack {
                frames,
                labels,
                values,
            })
            .collect();
        stacks.sort_by(|a, b| {
            let by_value = b.values[value].cmp(&a.values[value]);
            by_value.then_with(|| a.labels.cmp(&b.labels))
        });
        stacks
    }
}

/// What stands below a program's own code: the library that starts threads, and the runtime that
/// starts routines.
const LIBRARY: &[&str] = &["", "std", "core", "alloc"];
const RUNTIME: &[&str] = &["openwork", "corosensei"];

/// How much of a stack is worth showing, counted from the leaf: up to the outermost function of the
/// program's own; where there is none, up to the runtime's; where there is neither, all.
///
/// `any` says whether one of an item's crates is as wanted.
fn shown<T>(stack: &[T], any: impl Fn(&T, &dyn Fn(&str) -> bool) -> bool) -> usize {
    let own = |package: &str| !LIBRARY.contains(&package) && !RUNTIME.contains(&package);
    let runtime = |package: &str| RUNTIME.contains(&package);
    let outermost =
        |wanted: &dyn Fn(&str) -> bool| stack.iter().rposition(|item| any(item, wanted));
    outermost(&own)
        .or_else(|| outermost(&runtime))
        .map_or(stack.len(), |at| at + 1)
}

/// Frames without what starts a thread or a routine at the root: trampoline, catch of panics, boxed
/// closure.
pub(crate) fn cut_at_root(frames: &[usize], symbols: &Symbols) -> Vec<Frame> {
    let shown = shown(frames, |address, wanted| {
        symbols
            .at(*address)
            .iter()
            .any(|function| wanted(&function.package))
    });
    frames[..shown].iter().copied().map(Frame::Code).collect()
}

/// The functions of a stack from the leaf on, inlined ones apart, each with its frame. The outermost
/// ones that only start a routine are left out, also where they and the routine's code are inlined
/// into one.
pub(crate) fn functions<'a>(frames: &'a [Frame], symbols: &Symbols) -> Vec<(&'a Frame, Function)> {
    let with_frame = |frame: &'a Frame| {
        let functions = frame.functions(symbols);
        functions.into_iter().map(move |function| (frame, function))
    };
    let mut functions: Vec<_> = frames.iter().flat_map(with_frame).collect();
    functions.truncate(shown(&functions, |(_, function), wanted| {
        wanted(&function.package)
    }));
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &[ValueKind] = &[ValueKind {
        name: "things",
        unit: "count",
    }];

    fn report(stacks: &[(&[usize], i64)]) -> Report {
        let mut fold = Fold::default();
        for (frames, value) in stacks {
            fold.add(
                frames.iter().copied().map(Frame::Code).collect(),
                vec![],
                &[*value],
            );
        }
        let mut report = Report::new(VALUES, 0);
        report.stacks = fold.stacks(0);
        report
    }

    fn figures(report: &Report) -> Vec<(usize, i64)> {
        let leaf = |stack: &Stack| match stack.frames[0] {
            Frame::Code(address) => address,
            Frame::Note(..) => 0,
        };
        report
            .stacks
            .iter()
            .map(|stack| (leaf(stack), stack.values[0]))
            .collect()
    }

    #[track_caller]
    fn check_shown(leaf_first: &[&str], expected: usize) {
        let shown = shown(leaf_first, |package, wanted| wanted(package));
        assert_eq!(shown, expected, "{leaf_first:?}");
    }

    #[test]
    fn what_starts_a_thread_or_a_routine_is_not_shown() {
        check_shown(
            &[
                "core",
                "mine",
                "openwork",
                "std",
                "openwork",
                "corosensei",
                "",
            ],
            2,
        );
        check_shown(&["openwork", "mine", "core", "other", "openwork"], 4);
        check_shown(&["core", "openwork", "std", ""], 2);
        check_shown(&["core", "std", ""], 3);
        check_shown(&[], 0);
    }

    #[test]
    fn folding_keeps_the_sum() {
        let report = report(&[(&[1, 2], 3), (&[1], 4), (&[1, 2], 5)]);
        assert_eq!(report.stacks.len(), 2);
        assert_eq!(report.total(0), 12);
        assert_eq!(report.stacks[0].values, [8]);
    }

    #[test]
    fn a_difference_holds_what_came_went_and_stayed() {
        let earlier = report(&[(&[1], 3), (&[2], 3), (&[3], 7)]);
        let later = report(&[(&[1], 5), (&[2], 3), (&[4], 1)]);
        let mut difference = figures(&later.since(&earlier));
        difference.sort_unstable();
        assert_eq!(difference, [(1, 2), (3, -7), (4, 1)]);
    }
}
