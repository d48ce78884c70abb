//! How a run failed, and the report of it.

use std::fmt;
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

use crate::deterministic::strategy::Divergence;
use crate::deterministic::{SEED_VARIABLE, Schedule};
use crate::id::RoutineId;
use crate::scheduler::worker::explored::Inside;
use crate::snapshot::WaitReason;

/// A run that failed. Its text says how, and how to run it again.
///
/// ```
/// use openwork::deterministic::Config;
///
/// # std::panic::set_hook(Box::new(|_| {}));
/// let failure = Config::new().run(4, || panic!("out of paper")).map(|_| ()).unwrap_err();
/// assert!(failure.to_string().starts_with("seed 4: panic: out of paper"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// What had been chosen until then, seed included.
    pub schedule: Schedule,
    /// Turns and exploration points until then.
    pub steps: u64,
    /// Virtual time until then.
    pub took: Duration,
    /// Seeds that [`Config::explore`](crate::deterministic::Config::explore) had run well before.
    pub runs_before: u64,
    /// Routines that had not ended. They are left as they are, destructors included, and their memory
    /// lives on.
    pub remaining: u64,
}

/// What went wrong in a run.
///
/// ```
/// use openwork::{channel, deterministic::{Config, FailureKind}};
///
/// let alone = || { let (_tx, rx) = channel::rendezvous::<()>(); rx.recv().is_err() };
/// match Config::new().run(0, alone).unwrap_err().kind {
///     FailureKind::Deadlock(deadlock) => assert_eq!(deadlock.routines.len(), 1),
///     other => panic!("{other}"),
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// The first routine panicked, with this message.
    Panicked(String),
    /// The first routine was cancelled.
    Cancelled,
    /// Routines wait, and nothing will wake them.
    Deadlock(Deadlock),
    /// The run took more steps than it may.
    Steps,
    /// A thread outside spawned or readied a routine: that is nothing that a seed decides.
    Disturbed,
    /// The program did not follow the schedule that it was to repeat.
    Diverged(Divergence),
    /// All went well, but some routine swallowed its cancel at the end.
    Remaining,
}

/// Routines that wait for each other, or for nobody.
///
/// ```
/// use openwork::{channel, deterministic::{Granularity, Stepper}};
///
/// let mut stepper = Stepper::new(0, Granularity::Turn, || {
///     let (_tx, rx) = channel::rendezvous::<()>();
///     rx.recv().is_ok()
/// });
/// while let Some(&next) = stepper.runnable().first() {
///     stepper.step(next);
/// }
/// let deadlock = stepper.deadlock().unwrap();
/// assert!(deadlock.to_string().starts_with("deadlock: 1 routines wait"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deadlock {
    /// All that have not ended, by number.
    pub routines: Vec<Stuck>,
}

/// One routine of a [`Deadlock`].
///
/// ```
/// use openwork::{channel, deterministic::{Granularity, Stepper}, snapshot::WaitReason};
///
/// let mut stepper = Stepper::new(0, Granularity::Turn, || {
///     let (_tx, rx) = channel::rendezvous::<()>();
///     rx.recv().is_ok()
/// });
/// while let Some(&next) = stepper.runnable().first() {
///     stepper.step(next);
/// }
/// let stuck = &stepper.deadlock().unwrap().routines[0];
/// assert_eq!(stuck.waits_for, Some(WaitReason::Channel));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stuck {
    /// Its number.
    pub id: RoutineId,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// Who spawned it.
    pub parent: Option<RoutineId>,
    /// What it waits for; `None` if it has not been given a stack.
    pub waits_for: Option<WaitReason>,
    /// How long it has waited, in virtual time.
    pub since: Duration,
    /// The program's functions that it waits in, innermost first, with their places where the program has
    /// them. Empty for one that runs turn by turn.
    pub waits_in: Vec<String>,
}

pub(crate) fn new(
    kind: FailureKind,
    schedule: Schedule,
    steps: u64,
    took: Duration,
    remaining: u64,
) -> Failure {
    Failure {
        kind,
        schedule,
        steps,
        took,
        runs_before: 0,
        remaining,
    }
}

impl Failure {
    pub(crate) fn after(mut self, runs: u64) -> Failure {
        self.runs_before = runs;
        self
    }

    /// The seed that failed.
    ///
    /// ```
    /// # std::panic::set_hook(Box::new(|_| {}));
    /// let failed = openwork::deterministic::Config::new().run(4, || panic!("no")).map(|_| ());
    /// assert_eq!(failed.unwrap_err().seed(), 4);
    /// ```
    pub fn seed(&self) -> u64 {
        self.schedule.seed
    }
}

impl Deadlock {
    /// Of the routines of a run in which none can run.
    pub(crate) fn of(inside: &Inside<'_>) -> Deadlock {
        let now = inside.now_ns();
        let mut routines = Vec::new();
        inside.for_each_live(&mut |view| {
            routines.push(Stuck {
                id: view.id,
                name: view.name.clone(),
                site: view.site,
                parent: view.parent,
                waits_for: view.wait_reason(),
                since: Duration::from_nanos(now.saturating_sub(view.state_since_ns)),
                waits_in: Vec::new(),
            });
        });
        routines.sort_unstable_by_key(|stuck| stuck.id);
        // Last: whoever is asked is not as it was.
        for (id, place) in inside.ask_where() {
            if let Ok(index) = routines.binary_search_by_key(&id, |stuck| stuck.id.get()) {
                routines[index].waits_in = functions(&place.to_string());
            }
        }
        Deadlock { routines }
    }
}

/// The program's own functions of a backtrace as the standard library writes it, innermost first.
fn functions(backtrace: &str) -> Vec<String> {
    // Where this crate's sources were when it was compiled. The library writes paths below the working
    // directory as relative ones.
    let mine = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let here = std::env::current_dir().unwrap_or_default();
    let is_mine = |place: &str| here.join(place.trim_start_matches("./")).starts_with(mine);
    let mut found: Vec<(&str, Option<&str>)> = Vec::new();
    for line in backtrace.lines().map(str::trim) {
        match (line.strip_prefix("at "), found.last_mut()) {
            (Some(place), Some(last)) => last.1 = Some(place),
            _ => found.extend(line.split_once(": ").map(|(_number, name)| (name, None))),
        }
    }
    // What lies below the routine's root is the worker.
    let root = found
        .iter()
        .position(|(name, _)| name.contains("run_closure"));
    found.truncate(root.unwrap_or(found.len()));
    let is_foreign = |&(name, place): &(&str, Option<&str>)| match place {
        Some(place) => is_mine(place) || place.starts_with("/rustc/"),
        None => [
            "openwork::",
            "<openwork::",
            "core::",
            "<core::",
            "std::",
            "_",
        ]
        .iter()
        .any(|start| name.starts_with(start)),
    };
    found.retain(|frame| !is_foreign(frame));
    let text = |(name, place): (&str, Option<&str>)| match place {
        Some(place) => format!("{name} at {place}"),
        None => name.to_owned(),
    };
    found.into_iter().map(text).collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed(), self.kind)?;
        write!(
            f,
            "\n  after {} steps and {:?} of virtual time",
            self.steps, self.took
        )?;
        if self.runs_before > 0 {
            write!(f, ", and {} seeds that went well", self.runs_before)?;
        }
        write!(
            f,
            "\n  again: the same test with {SEED_VARIABLE}={}, or Config::replay with this schedule:\n  {}",
            self.seed(),
            self.schedule
        )
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailureKind::Panicked(message) => write!(f, "panic: {message}"),
            FailureKind::Cancelled => f.write_str("the first routine was cancelled"),
            FailureKind::Deadlock(deadlock) => deadlock.fmt(f),
            FailureKind::Steps => f.write_str("the run does not end: all its steps are used up"),
            FailureKind::Disturbed => f.write_str(
                "a thread outside the run spawned or readied a routine, which no seed decides",
            ),
            FailureKind::Diverged(divergence) => divergence.fmt(f),
            FailureKind::Remaining => {
                f.write_str("some routines do not end though they were cancelled")
            }
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the program left its schedule at decision {}",
            self.decision
        )?;
        match self.scheduled {
            Some(decision) => write!(f, ": {decision} was to come")?,
            None => f.write_str(", where that ends")?,
        }
        write!(f, ", and these routines could run: {:?}", self.runnable)
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.routines.len();
        write!(
            f,
            "deadlock: {count} routines wait, and nothing will wake them"
        )?;
        self.routines
            .iter()
            .try_for_each(|stuck| write!(f, "\n  {stuck}"))
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "routine {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        match self.waits_for {
            Some(reason) => write!(f, " waits: {}", reason.name())?,
            None => f.write_str(" does not wait")?,
        }
        write!(f, ", since {:?}; spawned at {}", self.since, self.site)?;
        if let Some(parent) = self.parent {
            write!(f, " by routine {parent}")?;
        }
        self.waits_in
            .iter()
            .try_for_each(|place| write!(f, "\n    in {place}"))
    }
}
