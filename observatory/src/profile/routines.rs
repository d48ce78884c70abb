//! What every routine is doing now: counted by equal stack, or one by one as text.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::panic::Location;

use openwork::profile::RoutineStack;
use openwork::snapshot::RoutineState;
use openwork::{Handle, RoutineId, profile, time};

use super::fold::{Fold, Frame, Label, Report, ValueKind, cut_at_root, functions};
use super::symbol::{Function, Symbols};
use crate::finding::spoken;

/// What each stack of a routine report has. The name is Go's, since its tools look for it.
pub const VALUES: &[ValueKind] = &[ValueKind {
    name: "goroutine",
    unit: "count",
}];

/// Routines named in a group.
const NAMED: usize = 10;

/// All live routines at about one moment.
pub struct Routines {
    at_ns: u64,
    routines: Vec<RoutineStack>,
}

/// Routines with equal stack and state.
#[derive(Clone, Debug)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// Their state.
    pub state: RoutineState,
    /// Leaf first, inlined functions apart.
    pub functions: Vec<Function>,
    /// Where the first of them was spawned.
    pub site: &'static Location<'static>,
    /// For how long the one that is in its state longest has been, in nanoseconds.
    pub longest_ns: u64,
    /// Some of them, the ones longest in their state first.
    pub some: Vec<RoutineId>,
}

impl Routines {
    /// Walks all routines and their stacks. Nothing is stopped: each routine is as it was when the
    /// walk came by.
    pub fn take(handle: &Handle) -> Routines {
        Routines {
            at_ns: time::now_ns(),
            routines: profile::stacks(handle),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.routines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.routines.is_empty()
    }

    /// Counts by equal stack and state. Labels: `state` and, of blocked ones, `wait_reason`.
    pub fn report(&self, symbols: &Symbols) -> Report {
        let mut fold = Fold::default();
        for routine in &self.routines {
            fold.add(frames(routine, symbols), labels(routine.view.state), &[1]);
        }
        symbols.release();
        let mut report = Report::new(VALUES, 0);
        report.stacks = fold.stacks(0);
        let unread = self
            .routines
            .iter()
            .filter(|routine| routine.frames.is_err())
            .count();
        if unread > 0 {
            report.remarks.push(format!(
                "{unread} of {} routines had no stack that could be read; they stand under a word in parentheses \
                 with the place where they were spawned.",
                self.len()
            ));
        }
        report
    }

    /// Groups of equal stack and state, the largest first.
    pub fn groups(&self, symbols: &Symbols) -> Vec<Group> {
        let mut groups: HashMap<_, Vec<&RoutineStack>> = HashMap::new();
        for routine in &self.routines {
            let key = (frames(routine, symbols), routine.view.state);
            groups.entry(key).or_default().push(routine);
        }
        let mut groups: Vec<Group> = groups
            .into_iter()
            .map(|((frames, state), mut members)| {
                members.sort_by_key(|routine| (routine.view.state_since_ns, routine.view.id));
                let oldest = &members[0].view;
                Group {
                    count: members.len() as u64,
                    state,
                    functions: functions(&frames, symbols)
                        .into_iter()
                        .map(|(_, function)| function)
                        .collect(),
                    site: oldest.site,
                    longest_ns: self.at_ns.saturating_sub(oldest.state_since_ns),
                    some: members
                        .iter()
                        .take(NAMED)
                        .map(|routine| routine.view.id)
                        .collect(),
                }
            })
            .collect();
        symbols.release();
        groups.sort_by_key(|group| (std::cmp::Reverse(group.count), group.some[0]));
        groups
    }

    /// The text of `debug=2`: each routine with its stack and where it was spawned, in the form of
    /// a Go panic. At most `max` of them, the lowest numbers first; the rest is counted.
    pub fn text_each(&self, max: usize, symbols: &Symbols) -> String {
        let mut routines: Vec<_> = self.routines.iter().collect();
        routines.sort_by_key(|routine| routine.view.id);
        let mut text = String::new();
        for routine in routines.iter().take(max) {
            self.write_routine(&mut text, routine, symbols)
                .expect("writing to memory does not fail");
        }
        symbols.release();
        if routines.len() > max {
            text.push_str(&format!("... and {} more routines\n", routines.len() - max));
        }
        text
    }

    fn write_routine(
        &self,
        text: &mut String,
        routine: &RoutineStack,
        symbols: &Symbols,
    ) -> fmt::Result {
        let view = &routine.view;
        write!(text, "routine {}", view.id)?;
        if let Some(name) = &view.name {
            write!(text, " {name:?}")?;
        }
        write!(text, " [{}", view.state.name())?;
        if let RoutineState::Blocked(reason) = view.state {
            write!(text, ", {}", reason.name())?;
        }
        writeln!(
            text,
            ", {}]:",
            spoken(self.at_ns.saturating_sub(view.state_since_ns))
        )?;
        match &routine.frames {
            Ok(addresses) => {
                let frames = cut_at_root(addresses, symbols);
                for (_, function) in functions(&frames, symbols) {
                    writeln!(text, "{}\n\t{}", function.name, function.place())?;
                }
            }
            Err(reason) => writeln!(text, "({reason})")?,
        }
        write!(text, "created at {}", view.site)?;
        match view.parent {
            Some(parent) => writeln!(text, " by routine {parent}\n"),
            None => writeln!(text, "\n"),
        }
    }
}

impl fmt::Debug for Routines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routines")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

fn frames(routine: &RoutineStack, symbols: &Symbols) -> Vec<Frame> {
    match &routine.frames {
        Ok(addresses) => cut_at_root(addresses, symbols),
        Err(reason) => vec![Frame::Note(reason.to_string(), routine.view.site)],
    }
}

fn labels(state: RoutineState) -> Vec<Label> {
    let mut labels = vec![Label::new("state", state.name())];
    if let RoutineState::Blocked(reason) = state {
        labels.push(Label::new("wait_reason", reason.name()));
    }
    labels
}
