//! Who goes next: the strategies, and the record of what they chose.

use std::collections::BTreeMap;

use crate::deterministic::schedule::Decision;

/// How the next routine is chosen where several can run.
///
/// ```
/// use openwork::deterministic::{Config, Strategy};
///
/// for strategy in [Strategy::Uniform, Strategy::Sticky, Strategy::Mixed] {
///     let config = Config::new().strategy(strategy);
///     assert!(config.run(1, || openwork::spawn(|| ()).join().unwrap()).is_ok());
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Each is as likely as the others, at every exploration point. Finds what needs many switches.
    Uniform,
    /// As `Uniform` between turns, but a routine at an exploration point goes on 15 times in 16.
    /// Finds what needs long stretches of one routine.
    Sticky,
    /// Each routine has a random priority, and the highest that can run goes on; at `depth - 1`
    /// random steps the one that runs falls below all others. Finds whatever takes `depth` orderings
    /// with a known probability, however many routines there are (Burckhardt, Kothari, Musuvathi,
    /// Nagarakatte: A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs, 2010).
    Priorities {
        /// Orderings that the bug needs: 2 for most.
        depth: u32,
    },
    /// One of the others, by the seed: half of all seeds are `Uniform`, a quarter each `Sticky` and
    /// `Priorities` of a depth from 1 to 4. So one set of seeds looks in several ways. The default.
    Mixed,
}

/// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub(crate) struct Random(u64);

impl Random {
    /// One of several independent sequences of one seed.
    pub(crate) fn new(seed: u64, sequence: u64) -> Random {
        let mut random = Random(seed);
        let base = random.next();
        Random(base ^ sequence.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: a bias of at most `bound` in 2^64.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// What a routine at an exploration point is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtPoint {
    Stay,
    /// The one to go next, if that is settled.
    GiveWay(Option<u64>),
}

/// Chooses and writes down.
pub(crate) struct Chooser {
    by: By,
    /// Of the virtual time that a step takes.
    time: Random,
    step_ns: u64,
    /// Of wakes for no reason; `None` if there are to be none.
    spurious: Option<Random>,
    steps: u64,
    steps_max: u64,
    decisions: Vec<Decision>,
}

enum By {
    Uniform(Random),
    Sticky(Random),
    Priorities(Priorities),
    Replay(Replay),
    Hand { at_points: bool },
}

/// Choices in a row that may fall on one routine although others could run: one that polls what they are to
/// do would never let them.
const ROW_MAX: u32 = 200;

struct Priorities {
    random: Random,
    /// The highest number goes first.
    of: BTreeMap<u64, i64>,
    /// Steps at which whoever runs falls, latest first.
    changes: Vec<u64>,
    /// Below all that were given so far.
    lowest: i64,
    /// Who was chosen last, and how many times in a row.
    row: (u64, u32),
}

struct Replay {
    script: Vec<Decision>,
    next: usize,
    diverged: Option<Divergence>,
}

/// Where a program left the schedule that it was to repeat.
///
/// ```
/// use openwork::deterministic::{Config, FailureKind, Schedule};
///
/// let elsewhere: Schedule = "0: 1 7".parse().unwrap();
/// let program = || {
///     let child = openwork::spawn(|| ());
///     openwork::yield_now();
///     child.join().unwrap();
/// };
/// let failure = Config::new().replay(&elsewhere, program).unwrap_err();
/// let FailureKind::Diverged(divergence) = failure.kind else { panic!("{failure}") };
/// println!("at decision {}, where {:?} could run", divergence.decision, divergence.runnable);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The decision's number, from 0.
    pub decision: usize,
    /// What the schedule says; `None` where it has ended.
    pub scheduled: Option<Decision>,
    /// Routines that could run.
    pub runnable: Vec<u64>,
}

impl Chooser {
    pub(crate) fn new(seed: u64, strategy: Strategy, step_ns: u64, steps_max: u64) -> Chooser {
        Chooser::with(seed, By::new(seed, strategy), step_ns, steps_max)
    }

    /// Repeats what was chosen before.
    pub(crate) fn replay(
        seed: u64,
        script: Vec<Decision>,
        step_ns: u64,
        steps_max: u64,
    ) -> Chooser {
        let replay = Replay {
            script,
            next: 0,
            diverged: None,
        };
        Chooser::with(seed, By::Replay(replay), step_ns, steps_max)
    }

    /// For somebody who chooses turn by turn, or from one exploration point to the next.
    pub(crate) fn by_hand(seed: u64, at_points: bool, step_ns: u64) -> Chooser {
        Chooser::with(seed, By::Hand { at_points }, step_ns, u64::MAX)
    }

    fn with(seed: u64, by: By, step_ns: u64, steps_max: u64) -> Chooser {
        Chooser {
            by,
            time: Random::new(seed, 2),
            step_ns,
            spurious: None,
            steps: 0,
            steps_max,
            decisions: Vec::new(),
        }
    }

    pub(crate) fn wake_for_no_reason(&mut self, seed: u64) {
        self.spurious = Some(Random::new(seed, 3));
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn steps_are_used_up(&self) -> bool {
        self.steps >= self.steps_max
    }

    pub(crate) fn take_decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions)
    }

    /// A step begins. Returns the virtual time that the one before it took.
    pub(crate) fn step(&mut self) -> u64 {
        self.steps += 1;
        match self.step_ns {
            0 => 0,
            longest => self.time.below(longest + 1),
        }
    }

    /// Which of `runnable`, ascending, runs the next turn. Not empty.
    pub(crate) fn choose(&mut self, runnable: &[u64]) -> usize {
        if let [_] = runnable {
            return 0;
        }
        let index = self.by.choose(runnable, self.steps);
        self.decisions.push(Decision::Run(runnable[index]));
        index
    }

    /// Whether `me`, one of `runnable`, goes on.
    pub(crate) fn at_point(&mut self, runnable: &[u64], me: u64) -> AtPoint {
        if let By::Hand { at_points } = self.by {
            return match at_points {
                true => AtPoint::GiveWay(None),
                false => AtPoint::Stay,
            };
        }
        if self.steps_are_used_up() {
            // The run's loop is to see it.
            return AtPoint::GiveWay(None);
        }
        if runnable.len() == 1 {
            return AtPoint::Stay;
        }
        let stays = match &mut self.by {
            By::Sticky(random) => random.below(16) != 0,
            _ => false,
        };
        let next = match stays {
            true => me,
            false => runnable[self.by.choose(runnable, self.steps)],
        };
        self.decisions.push(Decision::Run(next));
        if next == me {
            AtPoint::Stay
        } else {
            AtPoint::GiveWay(Some(next))
        }
    }

    /// Whether a blocked routine is to be woken for no reason now. `blocked` names those there are.
    pub(crate) fn spurious_wake(&mut self, blocked: impl FnOnce() -> Vec<u64>) -> Option<u64> {
        if let By::Replay(replay) = &mut self.by {
            let Some(&Decision::Wake(id)) = replay.script.get(replay.next) else {
                return None;
            };
            replay.next += 1;
            self.decisions.push(Decision::Wake(id));
            return Some(id);
        }
        let random = self.spurious.as_mut()?;
        if random.below(16) != 0 {
            return None;
        }
        let blocked = blocked();
        let id = match blocked.len() {
            0 => return None,
            some => blocked[random.below(some as u64) as usize],
        };
        self.decisions.push(Decision::Wake(id));
        Some(id)
    }

    /// `id` has given way of its own accord.
    pub(crate) fn yielded(&mut self, id: u64) {
        if let By::Priorities(priorities) = &mut self.by {
            // Or a routine that yields until another one has done something would never let it.
            priorities.fall(id);
        }
    }

    /// Where the run left its script; at its end, whether it has come to the script's.
    pub(crate) fn divergence(&self, at_end: bool) -> Option<Divergence> {
        let By::Replay(replay) = &self.by else {
            return None;
        };
        let unused = at_end && replay.next < replay.script.len();
        replay.diverged.clone().or_else(|| {
            unused.then(|| Divergence {
                decision: replay.next,
                scheduled: Some(replay.script[replay.next]),
                runnable: Vec::new(),
            })
        })
    }
}

impl By {
    fn new(seed: u64, strategy: Strategy) -> By {
        let mut random = Random::new(seed, 1);
        match strategy {
            Strategy::Uniform => By::Uniform(random),
            Strategy::Sticky => By::Sticky(random),
            Strategy::Priorities { depth } => By::Priorities(Priorities::new(random, depth)),
            Strategy::Mixed => match random.below(4) {
                0 | 1 => By::Uniform(random),
                2 => By::Sticky(random),
                _ => {
                    let depth = 1 + random.below(4) as u32;
                    By::Priorities(Priorities::new(random, depth))
                }
            },
        }
    }

    fn choose(&mut self, runnable: &[u64], step: u64) -> usize {
        match self {
            By::Uniform(random) | By::Sticky(random) => {
                random.below(runnable.len() as u64) as usize
            }
            By::Priorities(priorities) => priorities.choose(runnable, step),
            By::Replay(replay) => replay.choose(runnable),
            By::Hand { .. } => 0,
        }
    }
}

impl Priorities {
    fn new(mut random: Random, depth: u32) -> Priorities {
        // How many steps a run takes is not known before it. A length drawn evenly among the powers
        // of two is right within a factor of two once in eleven seeds, from 8 to 8,192 steps; so the
        // seed alone still says everything.
        let length = 1 << (3 + random.below(11));
        let mut changes: Vec<u64> = (1..depth).map(|_| random.below(length)).collect();
        changes.sort_unstable_by(|a, b| b.cmp(a));
        Priorities {
            random,
            of: BTreeMap::new(),
            changes,
            lowest: 0,
            row: (0, 0),
        }
    }

    fn choose(&mut self, runnable: &[u64], step: u64) -> usize {
        for &id in runnable {
            let random = &mut self.random;
            self.of.entry(id).or_insert_with(|| {
                // Above everybody who has fallen.
                1 + (random.next() >> 2) as i64
            });
        }
        let mut highest = self.highest(runnable);
        while self.changes.last().is_some_and(|&at| at <= step) {
            self.changes.pop();
            self.fall(runnable[highest]);
            highest = self.highest(runnable);
        }
        let id = runnable[highest];
        self.row = match self.row {
            (last, times) if last == id => (id, times + 1),
            _ => (id, 1),
        };
        if self.row.1 > ROW_MAX {
            self.fall(id);
            highest = self.highest(runnable);
        }
        highest
    }

    fn highest(&self, runnable: &[u64]) -> usize {
        (0..runnable.len())
            .max_by_key(|&index| self.of[&runnable[index]])
            .expect("somebody can run")
    }

    fn fall(&mut self, id: u64) {
        self.lowest -= 1;
        self.of.insert(id, self.lowest);
    }
}

impl Replay {
    fn choose(&mut self, runnable: &[u64]) -> usize {
        let scheduled = self.script.get(self.next).copied();
        let found = match scheduled {
            Some(Decision::Run(id)) => runnable.binary_search(&id).ok(),
            _ => None,
        };
        if found.is_none() && self.diverged.is_none() {
            self.diverged = Some(Divergence {
                decision: self.next,
                scheduled,
                runnable: runnable.to_vec(),
            });
        }
        self.next += 1;
        found.unwrap_or(0)
    }
}
