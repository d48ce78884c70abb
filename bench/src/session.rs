//! A plan carried out, in processes that measure.

use std::path::PathBuf;

use crate::catalogue::Bench;
use crate::go::GoProgram;
use crate::host::{self, Machine};
use crate::peer::{Peer, Setup};
use crate::plan::Plan;
use crate::process::Processes;
use crate::rounds::{self, Line};
use crate::table::{self, Heading};

/// What is told while a session runs.
#[derive(Debug)]
pub enum Told<'a> {
    /// A measurement begins.
    Turn {
        /// Of which bench.
        bench: &'static Bench,
        /// On how many workers.
        workers: usize,
        /// Whose turn.
        peer: Peer,
        /// Which of the turns of this line, from 1.
        turn: usize,
        /// How many there are.
        turns: usize,
    },
    /// A line is complete.
    Line(&'a Line),
}

/// A plan with the processes to carry it out.
#[derive(Debug)]
pub struct Session {
    plan: Plan,
    processes: Processes,
    left_out: Vec<String>,
}

impl Session {
    /// `program` with `arguments` is to call [`answer`](crate::answer) with the arguments that follow
    /// these. The Go program is built now.
    pub fn new(plan: Plan, program: PathBuf, arguments: &[&str]) -> Session {
        let go = match plan.peers.contains(&Peer::Go) {
            true => Some(GoProgram::build().map_err(|error| error.to_string())),
            false => None,
        };
        let why = go.as_ref().and_then(|go| go.as_ref().err());
        let left_out = table::left_out(why.map(String::as_str));
        Session {
            plan,
            processes: Processes::new(program, arguments, go.and_then(Result::ok)),
            left_out,
        }
    }

    /// The peers that could be compared with and are not, each with the reason.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// What the figures belong to.
    pub fn heading<'a>(&'a self, machine: &'a Machine, commit: Option<&'a str>) -> Heading<'a> {
        Heading {
            machine,
            commit,
            go: self.processes.go_version(),
            rounds: self.plan.rounds,
            recorder: self.plan.recorder,
        }
    }

    /// Measures. Benches that make no sense on so many workers are passed over.
    pub fn run(&self, mut tell: impl FnMut(Told<'_>)) -> Vec<Line> {
        let mut lines = Vec::new();
        for &bench in &self.plan.benches {
            for &workers in &self.plan.workers {
                if Peer::Openwork.offers(bench, workers) {
                    let line = self.line(bench, workers, &mut tell);
                    tell(Told::Line(&line));
                    lines.push(line);
                }
            }
        }
        lines
    }

    fn line(&self, bench: &'static Bench, workers: usize, tell: &mut impl FnMut(Told<'_>)) -> Line {
        let has = |peer: &Peer| self.processes.has(*peer) && peer.offers(bench, workers);
        let peers: Vec<_> = self.plan.peers.iter().copied().filter(has).collect();
        let setup = Setup {
            workers,
            size: size_here(bench),
            recorder: self.plan.recorder,
        };
        let turns = peers.len() * self.plan.rounds as usize;
        let mut turn = 0;
        let measure = |peer| {
            turn += 1;
            tell(Told::Turn {
                bench,
                workers,
                peer,
                turn,
                turns,
            });
            self.processes.measure(peer, bench, &setup)
        };
        rounds::run(bench, workers, &peers, self.plan.rounds, measure, |_| true)
    }
}

/// What a routine that is to wait may take, with room to spare.
const WAITING_BYTES: u64 = 8 << 10;

/// Fewer routines where memory is measured and the machine has little of it: the figures are per routine.
fn size_here(bench: &Bench) -> u64 {
    match host::available_memory() {
        Some(bytes) if bench.group == "memory" => bench.size.min(bytes / 2 / WAITING_BYTES),
        _ => bench.size,
    }
}
