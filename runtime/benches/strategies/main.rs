//! What do the strategies cost, and whom do they help? Uniform, skewed, bursty and mixed loads under each,
//! one changed at a time against the default: measured on this machine, all in turn within each round, as
//! ratios of medians; then *modelled* on 32 workers of four nodes, as two processors cannot show a
//! difference between victims.
//!
//! It says nothing of routines that wait, nor of affinity, which is about what lies in caches. With an argument
//! of digits it takes so many rounds.

#[path = "../../src/scheduler/strategy/choose.rs"]
mod choose;
mod load;
mod model;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use load::{BURST, Load, Random, SHORT};
use openwork::config::{ConfigChange, Placement, StealAmount, VictimOrder};
use openwork::{Runtime, spawn, yield_now};

/// Routines of one measured run.
const ROUTINES: usize = 10_000;

fn main() {
    let rounds = std::env::args().find_map(|arg| arg.parse().ok());
    measured(rounds.unwrap_or(9));
    modelled(rounds.unwrap_or(9));
}

/// A configuration that differs from the default in one thing.
struct Candidate {
    name: &'static str,
    set: fn(&mut ConfigChange),
}

const CANDIDATES: [Candidate; 9] = [
    Candidate {
        name: "default",
        set: |_| {},
    },
    Candidate {
        name: "place least_loaded",
        set: |c| c.placement = Some(Placement::LeastLoaded),
    },
    Candidate {
        name: "place round_robin",
        set: |c| c.placement = Some(Placement::RoundRobin),
    },
    Candidate {
        name: "place by_class",
        set: |c| c.placement = Some(Placement::ByClass),
    },
    Candidate {
        name: "victims most_loaded",
        set: |c| c.victims = Some(VictimOrder::MostLoaded),
    },
    Candidate {
        name: "victims nearest",
        set: |c| c.victims = Some(VictimOrder::Nearest),
    },
    Candidate {
        name: "steal one",
        set: |c| c.steal = Some(StealAmount::One),
    },
    Candidate {
        name: "steal adaptive",
        set: |c| c.steal = Some(StealAmount::Adaptive),
    },
    Candidate {
        name: "rebalance",
        set: |c| c.rebalance = Some(true),
    },
];

fn measured(rounds: usize) {
    let rt = Runtime::builder().record_turns(false).build().unwrap();
    let workers = rt.handle().workers();
    println!(
        "MEASURED on {workers} workers: {ROUTINES} routines of {} us, {rounds} rounds",
        SHORT / 1000
    );
    println!(
        "{:<10} {:<22} {:>9} {:>9} {:>11}",
        "load", "strategy", "ns each", "x default", "p99 wait us"
    );
    for load in Load::ALL {
        let mut figures = vec![Vec::new(); CANDIDATES.len()];
        for round in 0..rounds {
            for (candidate, figures) in CANDIDATES.iter().zip(&mut figures) {
                let mut change = ConfigChange::default();
                change.placement = Some(Placement::Local);
                change.victims = Some(VictimOrder::Random);
                change.steal = Some(StealAmount::Half);
                change.rebalance = Some(false);
                (candidate.set)(&mut change);
                rt.handle().reconfigure(change).unwrap();
                figures.push(run(&rt, load, workers, round as u64));
            }
        }
        let medians: Vec<(f64, u64)> = figures.into_iter().map(median).collect();
        for (candidate, (each, wait)) in CANDIDATES.iter().zip(&medians) {
            let ratio = each / medians[0].0;
            let wait = *wait as f64 / 1000.0;
            println!(
                "{:<10} {:<22} {each:>9.0} {ratio:>9.2} {wait:>11.1}",
                format!("{load:?}"),
                candidate.name
            );
        }
    }
}

/// Of time for each routine and of the 99th percentile of waits, each for itself.
fn median(figures: Vec<(f64, u64)>) -> (f64, u64) {
    let mut each: Vec<f64> = figures.iter().map(|(each, _)| *each).collect();
    let mut waits: Vec<u64> = figures.iter().map(|(_, wait)| *wait).collect();
    each.sort_by(f64::total_cmp);
    waits.sort_unstable();
    (each[each.len() / 2], waits[waits.len() / 2])
}

/// Time for each routine, in nanoseconds, and the 99th percentile of the time from spawn to start.
fn run(rt: &Runtime, load: Load, workers: usize, seed: u64) -> (f64, u64) {
    let waits = Arc::new(Mutex::new(Vec::with_capacity(ROUTINES)));
    let began = Instant::now();
    rt.block_on(|| {
        let spawners = match load {
            Load::Uniform | Load::Mixed => workers,
            Load::Skewed | Load::Bursty => 1,
        };
        openwork::scope(|s| {
            for spawner in 0..spawners {
                let waits = waits.clone();
                let mut random = Random::new(seed + 1000 * spawner as u64);
                s.spawn(move || spawn_all(load, ROUTINES / spawners, &mut random, &waits));
            }
        });
    });
    let took = began.elapsed().as_nanos() as f64;
    let mut waits = waits.lock().unwrap();
    waits.sort_unstable();
    (took / waits.len() as f64, waits[waits.len() * 99 / 100])
}

fn spawn_all(load: Load, count: usize, random: &mut Random, waits: &Arc<Mutex<Vec<u64>>>) {
    let done = Arc::new(AtomicUsize::new(0));
    let wait = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
    for nth in 0..count {
        let (count_me, wait) = (done.clone(), wait.clone());
        let cost = load.cost(random);
        let born = Instant::now();
        spawn(move || {
            wait[nth].store(born.elapsed().as_nanos() as u64, Relaxed);
            compute(Duration::from_nanos(cost));
            count_me.fetch_add(1, Relaxed);
        })
        .detach();
        // The next burst comes when this one is over.
        let pause = load == Load::Bursty && nth % BURST == BURST - 1;
        while pause && done.load(Relaxed) <= nth {
            yield_now();
        }
        if load != Load::Bursty && nth % 32 == 31 {
            yield_now();
        }
    }
    while done.load(Relaxed) < count {
        yield_now();
    }
    waits
        .lock()
        .unwrap()
        .extend(wait.iter().map(|wait| wait.load(Relaxed)));
}

fn compute(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn modelled(rounds: usize) {
    use model::{Amount, Place, Strategies, Victim};
    let default = Strategies {
        name: "default",
        place: Place::Local,
        victim: Victim::Random,
        amount: Amount::Half,
        rebalance: false,
    };
    let candidates = [
        default,
        Strategies {
            name: "place least_loaded",
            place: Place::LeastLoaded,
            ..default
        },
        Strategies {
            name: "place round_robin",
            place: Place::RoundRobin,
            ..default
        },
        Strategies {
            name: "victims most_loaded",
            victim: Victim::MostLoaded,
            ..default
        },
        Strategies {
            name: "victims nearest",
            victim: Victim::Nearest,
            ..default
        },
        Strategies {
            name: "steal one",
            amount: Amount::One,
            ..default
        },
        Strategies {
            name: "steal adaptive",
            amount: Amount::Adaptive,
            ..default
        },
        Strategies {
            name: "rebalance",
            rebalance: true,
            ..default
        },
    ];
    println!(
        "\nMODELLED, not measured: {} workers on 4 nodes, {rounds} seeds",
        model::WORKERS
    );
    println!(
        "{:<10} {:<22} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>6}",
        "load", "strategy", "span", "p50 us", "p99 us", "looks", "thefts", "far", "moves"
    );
    for load in Load::ALL {
        let mut base = 0.0;
        for candidate in candidates {
            let runs: Vec<_> = (0..rounds as u64)
                .map(|seed| model::run(load, candidate, seed))
                .collect();
            let mean = |of: &dyn Fn(&model::Outcome) -> u64| {
                runs.iter().map(|run| of(run) as f64).sum::<f64>() / runs.len() as f64
            };
            let span = mean(&|run| run.span);
            if candidate.name == default.name {
                base = span;
            }
            println!(
                "{:<10} {:<22} {:>9.3} {:>9.1} {:>9.1} {:>9.0} {:>8.0} {:>8.0} {:>6.0}",
                format!("{load:?}"),
                candidate.name,
                span / base,
                mean(&|run| run.waits[run.waits.len() / 2]) / 1000.0,
                mean(&|run| run.waits[run.waits.len() * 99 / 100]) / 1000.0,
                mean(&|run| run.looks),
                mean(&|run| run.thefts),
                mean(&|run| run.far),
                mean(&|run| run.rebalances),
            );
        }
    }
}
