//! **Modelled, not measured**: the strategies' decisions on more workers than this machine has.
//!
//! Each worker is a deque and a clock. It runs what it has; with nothing left it searches as the runtime
//! does, in rounds over victims, and then sleeps until somebody spawns. What things cost is assumed: a look at
//! a victim 50 ns, one on another node 200 ns; a routine that runs on another node than it was spawned on
//! 2 us more; a wake 5 us. Decisions are those of the runtime: its `choose.rs` is compiled in. What the model
//! cannot tell is what the decisions themselves cost, nor how real caches behave.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::choose::{self, Appetite};
use crate::load::{Load, Random};

pub(crate) const WORKERS: usize = 32;
const NODES: usize = 4;
const NEAR_LOOK: u64 = 50;
const FAR_LOOK: u64 = 200;
const FAR_RUN: u64 = 2_000;
const WAKE: u64 = 5_000;
const ROUTINES: usize = 40_000;
/// How often loads are compared.
const PERIOD: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Local,
    LeastLoaded,
    RoundRobin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Random,
    MostLoaded,
    Nearest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    Half,
    One,
    Adaptive,
}

#[derive(Clone, Copy)]
pub(crate) struct Strategies {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) victim: Victim,
    pub(crate) amount: Amount,
    pub(crate) rebalance: bool,
}

struct Task {
    born: u64,
    cost: u64,
    node: usize,
}

#[derive(Default)]
struct Worker {
    deque: VecDeque<Task>,
    asleep: bool,
    appetite: Option<Appetite>,
}

/// What a run came to.
#[derive(Default)]
pub(crate) struct Outcome {
    /// From the first spawn to the last end, in nanoseconds.
    pub(crate) span: u64,
    /// From spawn to start, in nanoseconds, sorted.
    pub(crate) waits: Vec<u64>,
    pub(crate) looks: u64,
    pub(crate) thefts: u64,
    /// Routines that ran on another node than they were spawned on.
    pub(crate) far: u64,
    pub(crate) rebalances: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A routine is spawned by this worker, and costs so much.
    Spawn(usize, u64),
    /// The worker looks for its next routine.
    Free(usize),
    Compare,
}

struct World {
    workers: Vec<Worker>,
    strategies: Strategies,
    random: Random,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    in_turn: usize,
    left: usize,
    outcome: Outcome,
}

fn node(worker: usize) -> usize {
    worker * NODES / WORKERS
}

/// Runs `load` under `strategies`; the same seed gives the same spawns.
pub(crate) fn run(load: Load, strategies: Strategies, seed: u64) -> Outcome {
    let mut world = World {
        workers: (0..WORKERS).map(|_| Worker::default()).collect(),
        strategies,
        random: Random::new(seed ^ 1),
        events: BinaryHeap::new(),
        number: 0,
        in_turn: 0,
        left: ROUTINES,
        outcome: Outcome::default(),
    };
    // As many as the workers can do, on the whole, in nine tenths of the time.
    let arrivals = load.arrivals(ROUTINES, WORKERS, 0.9, &mut Random::new(seed));
    for (at, worker, cost) in arrivals {
        world.put(at, Event::Spawn(worker, cost));
    }
    for worker in 0..WORKERS {
        world.workers[worker].asleep = true;
    }
    if strategies.rebalance {
        world.put(PERIOD, Event::Compare);
    }
    while let Some(Reverse((now, _, event))) = world.events.pop() {
        match event {
            Event::Spawn(worker, cost) => world.spawn(now, worker, cost),
            Event::Free(worker) => world.next(now, worker),
            Event::Compare if world.left > 0 => world.compare(now),
            Event::Compare => {}
        }
    }
    world.outcome.waits.sort_unstable();
    world.outcome
}

impl World {
    fn put(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, event)));
    }

    fn spawn(&mut self, now: u64, here: usize, cost: u64) {
        let to = match self.strategies.place {
            Place::Local => here,
            Place::LeastLoaded => {
                let load = |i: usize| {
                    let worker: &Worker = &self.workers[i];
                    worker.deque.len() as u64 + u64::from(!worker.asleep)
                };
                choose::least_loaded(WORKERS, here, load)
            }
            Place::RoundRobin => {
                self.in_turn += 1;
                self.in_turn % WORKERS
            }
        };
        self.workers[to].deque.push_back(Task {
            born: now,
            cost,
            node: node(here),
        });
        let sleeper = if self.workers[to].asleep {
            Some(to)
        } else {
            self.workers.iter().position(|worker| worker.asleep)
        };
        if let Some(sleeper) = sleeper {
            self.workers[sleeper].asleep = false;
            self.put(now + WAKE, Event::Free(sleeper));
        }
    }

    fn next(&mut self, now: u64, me: usize) {
        let mut at = now;
        let task = match self.workers[me].deque.pop_front() {
            Some(task) => Some(task),
            None => self.search(&mut at, me),
        };
        let Some(task) = task else {
            self.workers[me].asleep = true;
            return;
        };
        self.outcome.waits.push(at - task.born);
        let far = node(me) != task.node;
        self.outcome.far += u64::from(far);
        let end = at + task.cost + if far { FAR_RUN } else { 0 };
        self.outcome.span = self.outcome.span.max(end);
        self.left -= 1;
        self.put(end, Event::Free(me));
    }

    /// Looks at victims, which takes time, until one has something or all rounds are over.
    fn search(&mut self, at: &mut u64, me: usize) -> Option<Task> {
        let mut appetite = self.workers[me].appetite.unwrap_or(Appetite::FIRST);
        let adaptive = self.strategies.amount == Amount::Adaptive;
        let rounds = if adaptive {
            appetite.rounds
        } else {
            choose::ROUNDS_MAX
        };
        let mut found = None;
        for _ in 0..rounds {
            found = self.victims(me).into_iter().find(|victim| {
                *at += if node(*victim) == node(me) {
                    NEAR_LOOK
                } else {
                    FAR_LOOK
                };
                self.outcome.looks += 1;
                !self.workers[*victim].deque.is_empty()
            });
            if found.is_some() {
                break;
            }
        }
        let task = found.map(|victim| {
            let available = self.workers[victim].deque.len();
            let count = match self.strategies.amount {
                Amount::Half => choose::half(available),
                Amount::One => 1,
                Amount::Adaptive => appetite.limit(available),
            };
            self.outcome.thefts += 1;
            self.fetch(victim, me, count);
            self.workers[me].deque.pop_front().expect("one at least")
        });
        appetite = if task.is_some() {
            appetite.fed()
        } else {
            appetite.starved()
        };
        self.workers[me].appetite = adaptive.then_some(appetite);
        task
    }

    fn victims(&mut self, me: usize) -> Vec<usize> {
        let first = self.random.below(WORKERS as u64) as usize;
        let others = || choose::from(first, WORKERS).filter(|worker| *worker != me);
        match self.strategies.victim {
            Victim::Random => others().collect(),
            Victim::MostLoaded => {
                let load = |i: usize| self.workers[i].deque.len() as u64;
                let most = choose::most_loaded(WORKERS, me, load);
                most.into_iter().chain(others()).collect()
            }
            Victim::Nearest => {
                let near = others().filter(|worker| node(*worker) == node(me));
                let far = others().filter(|worker| node(*worker) != node(me));
                near.chain(far).collect()
            }
        }
    }

    fn fetch(&mut self, from: usize, to: usize, count: usize) {
        let count = count.min(self.workers[from].deque.len());
        let moved: Vec<Task> = self.workers[from].deque.drain(..count).collect();
        self.workers[to].deque.extend(moved);
    }

    fn compare(&mut self, now: u64) {
        let load = |i: usize| self.workers[i].deque.len() as u64;
        if let Some(wanted) = choose::imbalance(WORKERS, 1.5, load, load) {
            let count = (wanted.count as usize).min(choose::BATCH_MAX);
            self.outcome.rebalances += 1;
            self.fetch(wanted.from, wanted.to, count);
            if self.workers[wanted.to].asleep {
                self.workers[wanted.to].asleep = false;
                self.put(now + WAKE, Event::Free(wanted.to));
            }
        }
        self.put(now + PERIOD, Event::Compare);
    }
}
