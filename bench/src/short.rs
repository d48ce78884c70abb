//! The short form of a bench: on a runtime that is there already and does other things too, beside
//! threads. It takes a second or so, and may be cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use openwork::{Builder, Handle, JoinHandle, SpawnError, Workload, is_cancelled};

use crate::catalogue::{Bench, CATALOGUE};
use crate::peer::Peer;
use crate::plan::PlanError;
use crate::rounds::{self, Line, Measured, Neighbours};

/// Least, usual and greatest number of rounds.
pub const ROUNDS: [u64; 3] = [1, 5, 20];

/// A short form that can be run.
#[derive(Clone, Copy, Debug)]
pub struct Short {
    bench: &'static Bench,
    size: u64,
    rounds: u64,
}

/// How far a run is: turns that are over, of those that there will be.
#[derive(Clone, Debug)]
pub struct Turns {
    done: Arc<AtomicU64>,
    total: u64,
}

impl Turns {
    /// Turns that are over, and all.
    pub fn read(&self) -> (u64, u64) {
        (self.done.load(Relaxed), self.total)
    }
}

/// The benches that have a short form.
pub fn benches() -> impl Iterator<Item = &'static Bench> {
    let has = |bench: &&Bench| bench.short.is_some() && Peer::Openwork.offers(bench, 1);
    CATALOGUE.iter().filter(has)
}

impl Short {
    /// Finds the bench of this name.
    ///
    /// # Errors
    /// When there is none, it has no short form, or there are too many rounds.
    pub fn new(name: &str, rounds: u64) -> Result<Short, PlanError> {
        let found = benches().find(|bench| bench.name == name);
        let bench = found.ok_or_else(|| PlanError::UnknownBench(name.to_owned()))?;
        let [min, _, max] = ROUNDS;
        if !(min..=max).contains(&rounds) {
            return Err(PlanError::Limit {
                field: "rounds",
                min,
                max,
                value: rounds,
            });
        }
        Ok(Short {
            bench,
            // Only benches that have one were looked at.
            size: bench.short.unwrap_or(bench.size),
            rounds,
        })
    }

    /// Which bench.
    pub fn bench(&self) -> &'static Bench {
        self.bench
    }

    /// Those that are measured.
    fn peers(&self) -> impl Iterator<Item = Peer> {
        let here = [Peer::Openwork, Peer::Threads].into_iter();
        here.filter(|peer| peer.offers(self.bench, 1))
    }

    /// Starts on `runtime`; all routines belong to `workload`.
    ///
    /// # Errors
    /// When the runtime takes no new routine.
    pub fn start(
        self,
        runtime: &Handle,
        workload: &Workload,
    ) -> Result<(JoinHandle<Line>, Turns), SpawnError> {
        let peers: Vec<_> = self.peers().collect();
        let turns = Turns {
            done: Arc::default(),
            total: self.rounds * peers.len() as u64,
        };
        let (done, workers) = (turns.done.clone(), runtime.workers());
        let root = Builder::new()
            .name(self.bench.name)
            .workload(workload)
            .on(runtime)
            .spawn(move || self.run(&peers, workers, &done))?;
        Ok((root, turns))
    }

    fn run(&self, peers: &[Peer], workers: usize, done: &AtomicU64) -> Line {
        let measure = |peer: Peer| {
            let neighbours = Neighbours::watch();
            let figures = peer.measure_here(self.bench, self.size, workers as u64);
            Ok(Measured {
                figures: figures.ok_or_else(|| format!("{peer} has no {}", self.bench.name))?,
                others: neighbours.busy(),
            })
        };
        let told = |_| {
            done.fetch_add(1, Relaxed);
            !is_cancelled()
        };
        rounds::run(
            self.bench,
            workers,
            peers,
            self.rounds as u32,
            measure,
            told,
        )
    }
}

#[cfg(test)]
mod tests {
    use openwork::Runtime;

    use super::*;

    fn runtime() -> Runtime {
        Runtime::builder().workers(2).build().unwrap()
    }

    /// Breaks if a body waits for what nobody does, or loses a value.
    #[test]
    fn every_short_form_ends_with_figures_of_all_its_peers() {
        let rt = runtime();
        for bench in benches() {
            let mut short = Short::new(bench.name, 1).unwrap();
            short.size = 1_000;
            let (root, turns) = short.start(&rt.handle(), &Workload::new("bench")).unwrap();
            let line = root.join().unwrap();
            for peer in &line.peers {
                assert_eq!(peer.failed, None, "{} {}", bench.name, peer.peer);
                assert!(!peer.figures.is_empty(), "{} {}", bench.name, peer.peer);
            }
            let (done, total) = turns.read();
            assert_eq!(done, total, "{}", bench.name);
        }
    }

    /// Breaks if a bench takes its cancel for a failure of the channel it waits at: then its routines
    /// would panic.
    #[test]
    fn a_cancelled_bench_ends_without_a_panic() {
        let rt = runtime();
        for name in ["pingpong", "mpmc", "select", "timers_busy", "spawn_join"] {
            let mut short = Short::new(name, 20).unwrap();
            short.size = 100_000;
            let workload = Workload::new("bench");
            let (root, _) = short.start(&rt.handle(), &workload).unwrap();
            while workload.counters().spawned < 3 {
                std::thread::yield_now();
            }
            workload.cancel(&rt.handle());
            assert!(root.join().is_err(), "{name}");
        }
        assert_eq!(rt.snapshot().panics, 0);
    }

    #[test]
    fn a_refusal_names_the_field() {
        let text = |name, rounds| Short::new(name, rounds).unwrap_err().to_string();
        assert!(text("skynet_1m", 1).contains("skynet_1m"));
        assert_eq!(
            text("pingpong", 21),
            "rounds must be between 1 and 20, not 21"
        );
    }
}
