//! A run by hand: one turn at a time.

use std::time::Duration;

use crate::deterministic::drive::{Machine, Stock};
use crate::deterministic::failure::Deadlock;
use crate::deterministic::strategy::Chooser;
use crate::deterministic::{Config, Decision, Schedule};
use crate::id::RoutineId;
use crate::join::JoinHandle;
use crate::scheduler::block::{self, Context};
use crate::scheduler::worker::explored::Next;
use crate::snapshot::RoutineView;
use crate::stack::altstack::AltStack;

/// How far a step goes.
///
/// ```
/// use openwork::deterministic::{Granularity, Stepper};
///
/// let steps = |granularity| {
///     let mut stepper = Stepper::new(0, granularity, || {
///         let (tx, rx) = openwork::channel::bounded(1);
///         tx.send(1).unwrap();
///         rx.recv().unwrap()
///     });
///     while let Some(&next) = stepper.runnable().first() {
///         stepper.step(next);
///     }
///     stepper.schedule().decisions.len()
/// };
/// assert!(steps(Granularity::Turn) < steps(Granularity::Point));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// To where the routine blocks, gives way or ends.
    Turn,
    /// Only to the next exploration point, if that comes first.
    Point,
}

/// A run in which somebody else chooses who goes next; the clock jumps when nobody can.
///
/// ```
/// use openwork::deterministic::{Granularity, Stepper};
/// use openwork::{channel, spawn};
///
/// let mut stepper = Stepper::new(0, Granularity::Turn, || {
///     let (tx, rx) = channel::rendezvous();
///     let child = spawn(move || tx.send("hello").unwrap());
///     let word = rx.recv().unwrap();
///     child.join().unwrap();
///     word
/// });
/// while let Some(&next) = stepper.runnable().first() {
///     assert!(stepper.step(next));
/// }
/// assert!(stepper.deadlock().is_none());
/// assert_eq!(stepper.take_value(), Some("hello"));
/// ```
///
/// Stays on its thread, and is used outside routines. Dropped before the end, it cancels what is left; if
/// that is in a routine, what is left stays as it is.
pub struct Stepper<T> {
    machine: Machine,
    first: Option<JoinHandle<T>>,
    seed: u64,
    chosen: Vec<Decision>,
    over: bool,
}

impl<T: Send + 'static> Stepper<T> {
    /// Spawns `f` as the first routine. The seed is that of whatever is drawn and not chosen.
    ///
    /// ```
    /// use openwork::deterministic::{Granularity, Stepper};
    /// let stepper = Stepper::new(0, Granularity::Turn, || 5);
    /// assert_eq!(stepper.runnable().len(), 1);
    /// ```
    ///
    /// # Panics
    /// As [`Config::run`].
    #[track_caller]
    pub fn new<F>(seed: u64, granularity: Granularity, f: F) -> Stepper<T>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let chooser = Chooser::by_hand(seed, granularity == Granularity::Point, 0);
        let machine = Machine::new(&Config::new(), Stock::default(), seed, chooser);
        let first = machine.start(f);
        Stepper {
            machine,
            first: Some(first),
            seed,
            chosen: Vec::new(),
            over: false,
        }
    }

    /// The routines that can run, by number. If there is none, but a deadline, time has passed until then.
    /// Empty at the end, and in a deadlock.
    ///
    /// ```
    /// use openwork::deterministic::{Granularity, Stepper};
    /// use openwork::time;
    /// use std::time::Duration;
    ///
    /// let mut stepper = Stepper::new(0, Granularity::Turn, || time::sleep(Duration::from_secs(1)));
    /// let first = stepper.runnable()[0];
    /// stepper.step(first);
    /// assert_eq!(stepper.runnable(), [first], "the clock has jumped");
    /// assert!(stepper.now() >= Duration::from_secs(1));
    /// ```
    ///
    /// # Panics
    /// This and all other methods: if called by a routine.
    pub fn runnable(&self) -> Vec<RoutineId> {
        if self.over {
            return Vec::new();
        }
        let inside = self.machine.enter();
        inside.look();
        inside.runnable().into_iter().map(RoutineId::new).collect()
    }

    /// All routines that have not ended, by number.
    ///
    /// ```
    /// use openwork::deterministic::{Granularity, Stepper};
    /// let stepper = Stepper::new(0, Granularity::Turn, || 5);
    /// assert_eq!(stepper.routines()[0].id, stepper.runnable()[0]);
    /// ```
    pub fn routines(&self) -> Vec<RoutineView> {
        let mut views = Vec::new();
        let inside = self.machine.enter();
        inside.for_each_live(&mut |view| views.push(view.clone()));
        views.sort_unstable_by_key(|view| view.id);
        views
    }

    /// Runs one step of a routine. False if it cannot run.
    ///
    /// ```
    /// use openwork::deterministic::{Granularity, Stepper};
    /// let mut stepper = Stepper::new(0, Granularity::Turn, || 5);
    /// let first = stepper.runnable()[0];
    /// assert!(stepper.step(first));
    /// assert!(!stepper.step(first), "it has ended");
    /// ```
    pub fn step(&mut self, routine: RoutineId) -> bool {
        if self.over {
            return false;
        }
        let _altstack = AltStack::plain();
        let inside = self.machine.enter();
        inside.look();
        let stepped = inside.step_of(routine.get());
        if stepped {
            self.chosen.push(Decision::Run(routine.get()));
        }
        stepped
    }

    /// Wakes a blocked routine for no reason. False if it does not wait.
    ///
    /// ```
    /// use openwork::deterministic::{Granularity, Stepper};
    /// let mut stepper = Stepper::new(0, Granularity::Turn, || {
    ///     let (_tx, rx) = openwork::channel::rendezvous::<()>();
    ///     rx.recv().is_ok()
    /// });
    /// let first = stepper.runnable()[0];
    /// stepper.step(first);
    /// assert!(stepper.wake(first), "it waits");
    /// assert_eq!(stepper.runnable(), [first], "it will look again, and wait on");
    /// ```
    pub fn wake(&mut self, routine: RoutineId) -> bool {
        let inside = self.machine.enter();
        let waits = !self.over && inside.blocked().contains(&routine.get());
        if waits {
            inside.notify(routine.get());
            self.chosen.push(Decision::Wake(routine.get()));
        }
        waits
    }

    /// Virtual time since the beginning.
    ///
    /// ```
    /// use openwork::deterministic::{Granularity, Stepper};
    /// let stepper = Stepper::new(0, Granularity::Turn, || ());
    /// assert_eq!(stepper.now(), std::time::Duration::ZERO);
    /// ```
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.machine.enter().now_ns())
    }

    /// What was chosen so far. Unlike a run's, it has every step, not only those with a choice.
    ///
    /// ```
    /// use openwork::deterministic::{Granularity, Stepper};
    /// let mut stepper = Stepper::new(3, Granularity::Turn, || ());
    /// let first = stepper.runnable()[0];
    /// stepper.step(first);
    /// assert_eq!(stepper.schedule().to_string(), "3: 1");
    /// ```
    pub fn schedule(&self) -> Schedule {
        Schedule {
            seed: self.seed,
            decisions: self.chosen.clone(),
        }
    }

    /// Everybody who waits, if nobody can run and nothing will change that. The run is over then.
    ///
    /// ```
    /// use openwork::deterministic::{Granularity, Stepper};
    /// let mut stepper = Stepper::new(0, Granularity::Turn, || {
    ///     let (_tx, rx) = openwork::channel::rendezvous::<()>();
    ///     rx.recv().is_ok()
    /// });
    /// assert!(stepper.deadlock().is_none(), "it can run");
    /// let first = stepper.runnable()[0];
    /// stepper.step(first);
    /// assert_eq!(stepper.deadlock().unwrap().routines[0].id, first);
    /// ```
    pub fn deadlock(&mut self) -> Option<Deadlock> {
        if self.over {
            return None;
        }
        let _altstack = AltStack::plain();
        let inside = self.machine.enter();
        if inside.look() != Next::Deadlock {
            return None;
        }
        let deadlock = Deadlock::of(&inside);
        self.over = true;
        Some(deadlock)
    }

    /// What the first routine returned, if it has; `None` also if it panicked.
    ///
    /// ```
    /// use openwork::deterministic::{Granularity, Stepper};
    /// let mut stepper = Stepper::new(0, Granularity::Turn, || 5);
    /// assert_eq!(stepper.take_value(), None);
    /// let first = stepper.runnable()[0];
    /// stepper.step(first);
    /// assert_eq!(stepper.take_value(), Some(5));
    /// ```
    pub fn take_value(&mut self) -> Option<T> {
        let first = self.first.take_if(|first| first.is_finished())?;
        first.join().ok()
    }
}

impl<T> Drop for Stepper<T> {
    fn drop(&mut self) {
        if block::context() != Context::Thread {
            return;
        }
        let _altstack = AltStack::plain();
        let inside = self.machine.enter();
        drop(self.first.take());
        self.machine.end(&inside);
    }
}

impl<T> std::fmt::Debug for Stepper<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepper")
            .field("seed", &self.seed)
            .field("steps", &self.chosen.len())
            .finish_non_exhaustive()
    }
}
