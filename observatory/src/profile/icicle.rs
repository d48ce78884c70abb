//! A report as a tree of functions, root first, bounded for a page.

use std::collections::BTreeMap;

use super::fold::{Report, functions};
use super::symbol::{Function, Symbols};

/// A child below this part of the whole is folded into its parent's `other`.
const PRUNE_BELOW: f64 = 0.001;
/// Levels below the root; what is deeper counts as the last one's own.
const DEPTH: usize = 128;

/// The tree of one value of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Icicle {
    /// `count`, `bytes` or `nanoseconds`.
    pub unit: &'static str,
    /// The root, named `all`. Its total is the report's.
    pub root: Node,
    /// The report's remarks.
    pub remarks: Vec<String>,
}

/// A function called from its parent. `total` is `own` plus the totals of its children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// The function's readable name; `other` for what was pruned.
    pub name: String,
    /// Its crate, to colour by; empty where there is none.
    pub package: String,
    /// What was measured in the function itself.
    pub own: u64,
    /// What was measured in it and in what it called.
    pub total: u64,
    /// The functions it called, the greatest first and `other` last.
    pub children: Vec<Node>,
}

impl Report {
    /// The tree of the value at `index` of [`Report::values`]. Figures below 0, as a difference of
    /// two reports can have, are left out: a width cannot be negative.
    ///
    /// # Panics
    ///
    /// When there is no such value.
    pub fn icicle(&self, index: usize, symbols: &Symbols) -> Icicle {
        let mut root = Branch::default();
        for stack in &self.stacks {
            let Ok(value @ 1..) = u64::try_from(stack.values[index]) else {
                continue;
            };
            root.total += value;
            let mut branch = &mut root;
            for (_, function) in functions(&stack.frames, symbols)
                .into_iter()
                .rev()
                .take(DEPTH)
            {
                let Function { name, package, .. } = function;
                branch = branch.children.entry((name, package)).or_default();
                branch.total += value;
            }
        }
        symbols.release();
        let smallest = (root.total as f64 * PRUNE_BELOW).ceil() as u64;
        Icicle {
            unit: self.values[index].unit,
            root: root.prune("all".to_owned(), String::new(), smallest),
            remarks: self.remarks.clone(),
        }
    }
}

/// A node while it grows.
#[derive(Default)]
struct Branch {
    total: u64,
    children: BTreeMap<(String, String), Branch>,
}

impl Branch {
    fn prune(self, name: String, package: String, smallest: u64) -> Node {
        let called: u64 = self.children.values().map(|child| child.total).sum();
        let mut pruned = 0;
        let mut children = Vec::new();
        for ((name, package), child) in self.children {
            if child.total < smallest {
                pruned += child.total;
            } else {
                children.push(child.prune(name, package, smallest));
            }
        }
        children.sort_by_key(|child| std::cmp::Reverse(child.total));
        if pruned > 0 {
            children.push(Node {
                name: "other".to_owned(),
                own: pruned,
                total: pruned,
                ..Node::default()
            });
        }
        Node {
            name,
            package,
            own: self.total - called,
            total: self.total,
            children,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::profile::fold::{Fold, Frame, ValueKind};

    const VALUES: &[ValueKind] = &[ValueKind {
        name: "things",
        unit: "count",
    }];

    /// Stacks written as words, leaf first.
    fn report(stacks: &[(&[&str], i64)]) -> Report {
        let mut fold = Fold::default();
        for (words, value) in stacks {
            let frames = words
                .iter()
                .map(|word| Frame::Note((*word).to_owned(), Location::caller()));
            fold.add(frames.collect(), vec![], &[*value]);
        }
        let mut report = Report::new(VALUES, 0);
        report.stacks = fold.stacks(0);
        report
    }

    /// The tree on one line: `name own/total [children]`.
    fn line(node: &Node) -> String {
        let children: Vec<_> = node.children.iter().map(line).collect();
        let name = node.name.trim_matches(['(', ')']);
        let children = if children.is_empty() {
            String::new()
        } else {
            format!(" [{}]", children.join(", "))
        };
        format!("{name} {}/{}{children}", node.own, node.total)
    }

    #[track_caller]
    fn check(stacks: &[(&[&str], i64)], expected: &str) {
        let report = report(stacks);
        let icicle = report.icicle(0, &Symbols::default());
        assert_eq!(line(&icicle.root), expected);
    }

    #[test]
    fn a_node_is_its_own_and_its_children() {
        check(&[], "all 0/0");
        check(&[(&["a"], 3)], "all 0/3 [a 3/3]");
        check(
            &[(&["c", "a"], 3), (&["b", "a"], 5), (&["a"], 1), (&["b"], 2)],
            "all 0/11 [a 1/9 [b 5/5, c 3/3], b 2/2]",
        );
        check(&[(&["a"], 3), (&["b"], -3)], "all 0/3 [a 3/3]");
    }

    #[test]
    fn what_is_too_small_to_see_is_summed() {
        check(
            &[(&["a"], 2_000), (&["b"], 1), (&["c", "b"], 1), (&["d"], 1)],
            "all 0/2003 [a 2000/2000, other 3/3]",
        );
    }

    #[test]
    fn depth_is_bounded_and_loses_nothing() {
        let words = vec!["deep"; 1_000];
        let report = report(&[(&words, 7)]);
        let icicle = report.icicle(0, &Symbols::default());
        let mut node = &icicle.root;
        let mut levels = 0;
        while let Some(child) = node.children.first() {
            assert_eq!((node.own, child.total), (0, 7));
            node = child;
            levels += 1;
        }
        assert_eq!((levels, node.own), (DEPTH, 7));
    }
}
