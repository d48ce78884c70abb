//! Runs that can be repeated: one thread, a seed and a virtual clock under the same channels, locks,
//! timers, scopes and stacks.
//!
//! A concurrent program that fails once in a thousand runs fails here for certain seeds, each time, and
//! within milliseconds: an hour's sleep takes none.
//!
//! ```should_panic
//! use openwork::{channel, deterministic, spawn};
//!
//! // Two routines, each of which waits for the other one to speak first.
//! deterministic::explore(100, || {
//!     let (to_a, a) = channel::rendezvous::<()>();
//!     let (to_b, b) = channel::rendezvous::<()>();
//!     let polite = spawn(move || {
//!         a.recv().unwrap();
//!         to_b.send(()).unwrap();
//!     });
//!     b.recv().unwrap();
//!     to_a.send(()).unwrap();
//!     polite.join().unwrap();
//! });
//! // panics: seed 0: deadlock: 2 routines wait, and nothing will wake them ...
//! ```
//!
//! [`explore`] runs a program under many seeds and panics at the first that fails, with the seed, what
//! everybody waits for, and how to run it again: with the variable `OPENWORK_SEED` set to the seed, the
//! same test runs that one alone. [`run`] is one seed, [`Config`] has the choices, [`Stepper`] lets a
//! person choose every turn.
//!
//! **What is decided by the seed.** Which routine runs the next turn; whether a routine loses its turn at an
//! *exploration point*, of which there is one at the entry of every operation by which routines notice
//! each other, [`yield_now`](crate::yield_now) and [`checkpoint`](crate::checkpoint) included; the virtual
//! time that each step takes, and so which timer fires before what; the order in which `select!` tries its
//! arms; which routines are woken for no reason, if [`Config::spurious_wakes`] is on.
//!
//! **Time** is virtual: [`time::now`](crate::time::now), sleeps, timeouts, ticks and deadlines follow it. A
//! step takes at most [`Config::step_time`]; where no routine can run, the clock jumps to the next deadline.
//! [`Instant::now`](std::time::Instant::now) goes on telling the real time, so a program that is to be
//! repeated asks [`time::now`](crate::time::now) instead. A deadline made of a real instant still works: it
//! means the real time left until it, rounded up to a millisecond.
//!
//! **Ended** is a run when all its routines have ended, those that nobody joins too. If some wait and no
//! deadline is left, that is a [`Deadlock`], which lists all of them. What is left of a run that failed is
//! cancelled, and unwinds.
//!
//! **What cannot be repeated** is what the seed does not decide, and a program that is explored leaves it out:
//! - threads outside: a routine that one of them wakes ends the run with [`FailureKind::Disturbed`]; a wait for
//!   the world (a socket, a pipe, a child process) is refused with an error; [`blocking`](crate::blocking()) calls,
//!   and so those on files, run in place, and what they see there is not the seed's choice;
//! - the order of a `HashMap` with the standard hasher, which takes its keys from the system: use a
//!   `BTreeMap` where the order matters;
//! - addresses as numbers, and the real clock;
//! - thread-locals and statics that one run leaves to the next: runs share the thread that calls. A `static`
//!   that counts, say, is another one in the second run.
//!
//! Nothing of that is inside this crate: see `docs/scheduler.md`. A run that leaves its own schedule when it is
//! repeated is found out by [`Config::replay`]: [`FailureKind::Diverged`].
//!
//! **What is not explored.** All runs are sequentially consistent: what a weak memory order could do is
//! for the models of single protocols (loom). Between two exploration points a routine is never
//! interrupted; a program that synchronises by atomics of its own puts [`checkpoint`](crate::checkpoint)
//! before each of them.

mod drive;
mod failure;
mod schedule;
mod stepper;
pub(crate) mod strategy;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use failure::{Deadlock, Failure, FailureKind, Stuck};
pub use schedule::{Decision, Schedule, ScheduleParseError};
pub use stepper::{Granularity, Stepper};
pub use strategy::{Divergence, Strategy};

use crate::stack::altstack::AltStack;
use drive::{Machine, Stock};
use strategy::Chooser;

/// Runs this seed alone instead of those that the program names.
const SEED_VARIABLE: &str = "OPENWORK_SEED";

/// How a program is explored.
///
/// ```
/// use openwork::deterministic::{Config, Strategy};
/// use openwork::{spawn, time};
/// use std::time::Duration;
///
/// let config = Config::new().strategy(Strategy::Uniform);
/// let run = config.run(7, || {
///     let sleeper = spawn(|| time::sleep(Duration::from_secs(3600)));
///     sleeper.join().unwrap();
///     "an hour later"
/// });
/// let run = run.unwrap();
/// assert_eq!(run.value, "an hour later");
/// assert!(run.took >= Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    strategy: Strategy,
    step_time: Duration,
    steps_max: u64,
    spurious_wakes: bool,
    cancel_rest: bool,
    stack_bytes: usize,
}

/// One run that ended well.
///
/// ```
/// use openwork::deterministic::Config;
///
/// let run = Config::new().run(1, || "done").unwrap();
/// assert_eq!((run.value, run.schedule.seed), ("done", 1));
/// println!("{} steps, {:?} of virtual time", run.steps, run.took);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run<T> {
    /// What the program returned.
    pub value: T,
    /// What was chosen.
    pub schedule: Schedule,
    /// Turns and exploration points.
    pub steps: u64,
    /// Virtual time from the beginning to the end.
    pub took: Duration,
}

/// Many runs that ended well.
///
/// ```
/// use openwork::deterministic::Config;
///
/// let summary = Config::new().explore(0..10, || ()).unwrap();
/// assert_eq!((summary.runs, summary.distinct), (10, 1), "nothing to choose");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Seeds run.
    pub runs: u64,
    /// Different schedules among them.
    pub distinct: u64,
    /// Turns and exploration points of the longest one.
    pub steps_max: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// [`Strategy::Mixed`], up to 10 us for a step, a million steps, no wakes for no reason.
    ///
    /// ```
    /// use openwork::deterministic::Config;
    /// assert_eq!(Config::new().run(0, || 6 * 7).unwrap().value, 42);
    /// ```
    pub fn new() -> Config {
        Config {
            strategy: Strategy::Mixed,
            step_time: Duration::from_micros(10),
            steps_max: 1_000_000,
            spurious_wakes: false,
            cancel_rest: false,
            stack_bytes: 256 << 10,
        }
    }

    /// How the next routine is chosen.
    ///
    /// ```
    /// use openwork::deterministic::{Config, Strategy};
    /// let config = Config::new().strategy(Strategy::Priorities { depth: 2 });
    /// assert!(config.explore(0..10, || openwork::spawn(|| ()).join().unwrap()).is_ok());
    /// ```
    pub fn strategy(mut self, strategy: Strategy) -> Config {
        self.strategy = strategy;
        self
    }

    /// Most virtual time that a step takes: each takes a random part of it. With zero, time stands still
    /// while somebody can run.
    ///
    /// ```
    /// use openwork::{deterministic::Config, yield_now};
    /// use std::time::Duration;
    /// let still = Config::new().step_time(Duration::ZERO);
    /// assert_eq!(still.run(0, yield_now).unwrap().took, Duration::ZERO);
    /// ```
    pub fn step_time(mut self, longest: Duration) -> Config {
        self.step_time = longest;
        self
    }

    /// Turns and exploration points after which a run has failed: its routines go round in circles.
    ///
    /// ```
    /// use openwork::deterministic::{Config, FailureKind};
    /// let busy = || loop { openwork::yield_now() };
    /// let failure = Config::new().steps_max(100).run(0, busy).map(|_: openwork::deterministic::Run<()>| ());
    /// assert!(matches!(failure.unwrap_err().kind, FailureKind::Steps));
    /// ```
    pub fn steps_max(mut self, steps: u64) -> Config {
        self.steps_max = steps;
        self
    }

    /// Whether blocked routines are woken for no reason now and then, which everything that blocks must
    /// put up with.
    ///
    /// ```
    /// use openwork::{channel, deterministic::Config, spawn};
    /// let config = Config::new().spurious_wakes(true);
    /// let run = config.run(5, || {
    ///     let (tx, rx) = channel::rendezvous();
    ///     spawn(move || tx.send(1).unwrap());
    ///     rx.recv().unwrap()
    /// });
    /// assert_eq!(run.unwrap().value, 1);
    /// ```
    pub fn spurious_wakes(mut self, on: bool) -> Config {
        self.spurious_wakes = on;
        self
    }

    /// Whether a run ends when its first routine has ended: the others are cancelled then, for programs
    /// with routines that serve for ever. Otherwise a run ends when all have ended.
    ///
    /// ```
    /// use openwork::{channel, deterministic::Config, spawn};
    /// let served = Config::new().cancel_rest(true).run(0, || {
    ///     let (tx, rx) = channel::rendezvous();
    ///     spawn(move || while tx.send("again").is_ok() {}); // serves for ever
    ///     rx.recv().unwrap()
    /// });
    /// assert_eq!(served.unwrap().value, "again");
    /// ```
    pub fn cancel_rest(mut self, on: bool) -> Config {
        self.cancel_rest = on;
        self
    }

    /// Size of a routine's stack unless it asks for another, in bytes; as
    /// [`RuntimeBuilder::stack_size`](crate::RuntimeBuilder::stack_size). Default: 256 KiB, because
    /// [`blocking`](crate::blocking()) calls run on it.
    ///
    /// ```
    /// use openwork::deterministic::Config;
    /// let small = Config::new().stack_size(64 << 10);
    /// assert!(small.run(0, || ()).is_ok());
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Config {
        self.stack_bytes = bytes;
        self
    }

    /// Runs `f` as the first routine, on the calling thread, until all routines have ended.
    ///
    /// ```
    /// use openwork::{deterministic::Config, time};
    /// use std::time::Duration;
    /// let run = Config::new().run(3, || time::sleep(Duration::from_secs(60))).unwrap();
    /// assert!(run.took >= Duration::from_secs(60));
    /// ```
    ///
    /// # Errors
    /// See [`FailureKind`].
    ///
    /// # Panics
    /// If called by a routine, or where the system has no memory for stacks.
    #[track_caller]
    pub fn run<F, T>(&self, seed: u64, f: F) -> Result<Run<T>, Failure>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // Without one an overflow is not named, and that is all.
        let _altstack = AltStack::plain();
        self.run_on(&mut Stock::default(), seed, f)
    }

    /// Runs `f` again as it was run before: under the same configuration but for the strategy, a
    /// program that is repeatable makes the same decisions.
    ///
    /// ```
    /// use openwork::{deterministic::Config, spawn, yield_now};
    /// let program = || {
    ///     let child = spawn(yield_now);
    ///     yield_now();
    ///     child.join().unwrap();
    /// };
    /// let first = Config::new().run(9, program).unwrap();
    /// let again = Config::new().replay(&first.schedule, program).unwrap();
    /// assert_eq!(again.schedule, first.schedule);
    /// ```
    ///
    /// # Errors
    /// See [`FailureKind`]; [`FailureKind::Diverged`] if the program did not follow the schedule.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn replay<F, T>(&self, schedule: &Schedule, f: F) -> Result<Run<T>, Failure>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (seed, decisions) = (schedule.seed, schedule.decisions.clone());
        let chooser = Chooser::replay(seed, decisions, self.step_ns(), self.steps_max);
        let _altstack = AltStack::plain();
        self.run_chosen(&mut Stock::default(), seed, chooser, f)
    }

    /// Runs `f` once for each seed, up to the first that fails. With `OPENWORK_SEED` in the environment,
    /// for that seed alone.
    ///
    /// ```
    /// use openwork::deterministic::{Config, FailureKind};
    /// use openwork::sync::Mutex;
    /// use openwork::{spawn, yield_now};
    /// use std::sync::Arc;
    ///
    /// // Takes two locks in two orders: some seeds show the deadlock.
    /// let failure = Config::new().explore(0..1000, || {
    ///     let locks = Arc::new((Mutex::new(()), Mutex::new(())));
    ///     let other = locks.clone();
    ///     let child = spawn(move || {
    ///         let _second = other.1.lock().unwrap();
    ///         yield_now();
    ///         let _first = other.0.lock().unwrap();
    ///     });
    ///     let first = locks.0.lock().unwrap();
    ///     let second = locks.1.lock().unwrap();
    ///     drop((first, second));
    ///     child.join().unwrap();
    /// });
    /// assert!(matches!(failure.unwrap_err().kind, FailureKind::Deadlock(_)));
    /// ```
    ///
    /// # Errors
    /// See [`FailureKind`].
    ///
    /// # Panics
    /// As [`run`](Self::run), and if `OPENWORK_SEED` is no number.
    #[track_caller]
    pub fn explore<F, T>(&self, seeds: Range<u64>, f: F) -> Result<Summary, Failure>
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        let seeds = match asked_seed() {
            Some(seed) => seed..seed.saturating_add(1),
            None => seeds,
        };
        let f = Arc::new(f);
        let _altstack = AltStack::plain();
        let mut stock = Stock::default();
        let mut summary = Summary::default();
        let mut seen = BTreeSet::new();
        for seed in seeds {
            let f = f.clone();
            let run = self.run_on(&mut stock, seed, move || f());
            let run = run.map_err(|failure| failure.after(summary.runs))?;
            let mut hasher = DefaultHasher::new();
            run.schedule.decisions.hash(&mut hasher);
            seen.insert(hasher.finish());
            summary.runs += 1;
            summary.steps_max = summary.steps_max.max(run.steps);
        }
        summary.distinct = seen.len() as u64;
        Ok(summary)
    }

    #[track_caller]
    fn run_on<F, T>(&self, stock: &mut Stock, seed: u64, f: F) -> Result<Run<T>, Failure>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let mut chooser = Chooser::new(seed, self.strategy, self.step_ns(), self.steps_max);
        if self.spurious_wakes {
            chooser.wake_for_no_reason(seed);
        }
        self.run_chosen(stock, seed, chooser, f)
    }

    #[track_caller]
    fn run_chosen<F, T>(
        &self,
        stock: &mut Stock,
        seed: u64,
        chooser: Chooser,
        f: F,
    ) -> Result<Run<T>, Failure>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let machine = Machine::new(self, std::mem::take(stock), seed, chooser);
        let first = machine.start(f);
        let (result, left) = machine.run(first);
        *stock = left;
        result
    }

    fn step_ns(&self) -> u64 {
        u64::try_from(self.step_time.as_nanos()).unwrap_or(u64::MAX - 1)
    }
}

/// Runs `f` under one seed; see [`Config::run`].
///
/// ```
/// use openwork::{channel, deterministic, spawn};
///
/// let order = deterministic::run(3, || {
///     let (tx, rx) = channel::unbounded();
///     for name in ["a", "b", "c"] {
///         let tx = tx.clone();
///         spawn(move || tx.send(name).unwrap());
///     }
///     drop(tx);
///     rx.iter().collect::<Vec<_>>()
/// });
/// assert_eq!(order.len(), 3); // in an order that seed 3 decides
/// ```
///
/// # Panics
/// With the [`Failure`]'s text, if there was one; otherwise as [`Config::run`].
#[track_caller]
pub fn run<F, T>(seed: u64, f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Config::new().run(seed, f) {
        Ok(run) => run.value,
        Err(failure) => panic!("{failure}"),
    }
}

/// Runs `f` under the seeds below `seeds`; see [`Config::explore`].
///
/// ```
/// use openwork::{channel, deterministic, spawn};
///
/// let summary = deterministic::explore(100, || {
///     let (tx, rx) = channel::bounded(2);
///     let other = tx.clone();
///     spawn(move || other.send(1).unwrap());
///     tx.send(2).unwrap();
///     drop(tx);
///     assert_eq!(rx.iter().sum::<i32>(), 3);
/// });
/// assert!(summary.distinct > 1);
/// ```
///
/// # Panics
/// With the [`Failure`]'s text, if there was one; otherwise as [`Config::run`].
#[track_caller]
pub fn explore<F, T>(seeds: u64, f: F) -> Summary
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Send + 'static,
{
    match Config::new().explore(0..seeds, f) {
        Ok(summary) => summary,
        Err(failure) => panic!("{failure}"),
    }
}

fn asked_seed() -> Option<u64> {
    let text = std::env::var(SEED_VARIABLE).ok()?;
    match text.trim().parse() {
        Ok(seed) => Some(seed),
        Err(_) => panic!("{SEED_VARIABLE}: {text:?} is not a number from 0 to 2^64 - 1"),
    }
}
