//! Results of benches, in answers and as what `openwork bench --json` prints.

use openwork_bench::rounds::{Line, PeerLine, Ratio, Verdict};
use openwork_bench::table::Heading;
use openwork_bench::{Limit, Machine, Spread};
use serde::Serialize;
use utoipa::ToSchema;

/// A bench with a number of workers, measured.
#[derive(Debug, Serialize, ToSchema)]
pub struct BenchResult {
    /// Its name.
    pub bench: &'static str,
    /// What it asks.
    pub question: &'static str,
    /// What `time` is the time of.
    pub operation: &'static str,
    /// The figure to look at first.
    pub figure: &'static str,
    /// Workers.
    pub workers: usize,
    /// Every runtime that was measured, `openwork` first.
    pub peers: Vec<BenchPeer>,
    /// The figures of `openwork`, divided by those of the others in the same round.
    pub ratios: Vec<BenchRatio>,
    /// The goals that could be judged.
    pub goals: Vec<BenchGoal>,
}

/// What was measured of one runtime.
#[derive(Debug, Serialize, ToSchema)]
pub struct BenchPeer {
    /// `openwork`, `go`, `tokio`, `may` or `std`, which is threads.
    pub peer: &'static str,
    /// Its figures.
    pub figures: Vec<BenchFigure>,
    /// Why a round has none; the last such reason.
    pub failed: Option<String>,
    /// Rounds in which other programs took processors that the bench needed.
    pub disturbed_rounds: u32,
    /// Processors that other programs kept busy, in the middle round.
    pub others_busy_cores: Option<f64>,
}

/// One figure over the rounds.
#[derive(Debug, Serialize, ToSchema)]
pub struct BenchFigure {
    /// `time` (wall time an operation), `cpu` (processor time an operation), or what the bench is about.
    pub name: String,
    /// Its unit.
    pub unit: String,
    #[serde(flatten)]
    #[schema(inline)]
    pub spread: BenchSpread,
}

/// Values over the rounds.
#[derive(Debug, Serialize, ToSchema)]
pub struct BenchSpread {
    /// The least.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The greatest.
    pub max: f64,
    /// In the order of the rounds.
    pub runs: Vec<f64>,
}

/// A quotient over the rounds.
#[derive(Debug, Serialize, ToSchema)]
pub struct BenchRatio {
    /// Whose figure is below the line.
    pub peer: &'static str,
    /// Which figure.
    pub figure: String,
    #[serde(flatten)]
    #[schema(inline)]
    pub spread: BenchSpread,
}

/// A goal and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct BenchGoal {
    /// Which figure.
    pub figure: &'static str,
    /// Whose figure it is a share of; `null`: the bound is a value in the figure's unit.
    pub peer: Option<&'static str>,
    /// The bound.
    pub at_most: f64,
    /// The median of the ratios, or of the figure.
    pub measured: f64,
    /// Whether the bound was kept.
    pub met: bool,
}

/// The machine that a bench ran on.
#[derive(Debug, Serialize, ToSchema)]
pub struct BenchMachine {
    /// Model of its processors.
    pub cpu: Option<String>,
    /// Processors that this process may use.
    pub cores: usize,
    /// The kernel's name and release.
    pub kernel: Option<String>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
}

impl From<&Line> for BenchResult {
    fn from(line: &Line) -> BenchResult {
        BenchResult {
            bench: line.bench.name,
            question: line.bench.question,
            operation: line.bench.operation,
            figure: line.bench.figure,
            workers: line.workers,
            peers: line.peers.iter().map(BenchPeer::from).collect(),
            ratios: line.ratios.iter().map(BenchRatio::from).collect(),
            goals: line.verdicts.iter().map(BenchGoal::from).collect(),
        }
    }
}

impl From<&PeerLine> for BenchPeer {
    fn from(line: &PeerLine) -> BenchPeer {
        let figures = line.figures.iter().map(|figure| BenchFigure {
            name: figure.name.clone(),
            unit: figure.unit.clone(),
            spread: (&figure.spread).into(),
        });
        BenchPeer {
            peer: line.peer.name(),
            figures: figures.collect(),
            failed: line.failed.clone(),
            disturbed_rounds: line.disturbed,
            others_busy_cores: line.others,
        }
    }
}

impl From<&Spread> for BenchSpread {
    fn from(spread: &Spread) -> BenchSpread {
        BenchSpread {
            min: spread.min,
            median: spread.median,
            max: spread.max,
            runs: spread.runs.clone(),
        }
    }
}

impl From<&Ratio> for BenchRatio {
    fn from(ratio: &Ratio) -> BenchRatio {
        BenchRatio {
            peer: ratio.peer.name(),
            figure: ratio.figure.clone(),
            spread: (&ratio.spread).into(),
        }
    }
}

impl From<&Verdict> for BenchGoal {
    fn from(verdict: &Verdict) -> BenchGoal {
        let (peer, at_most) = match verdict.at_most {
            Limit::Of(peer, share) => (Some(peer.name()), share),
            Limit::Value(value) => (None, value),
        };
        BenchGoal {
            figure: verdict.figure,
            peer,
            at_most,
            measured: verdict.measured,
            met: verdict.is_met(),
        }
    }
}

impl From<&Machine> for BenchMachine {
    fn from(machine: &Machine) -> BenchMachine {
        BenchMachine {
            cpu: machine.cpu.clone(),
            cores: machine.cores,
            kernel: machine.kernel.clone(),
            memory_bytes: machine.memory_bytes,
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    machine: BenchMachine,
    commit: Option<&'a str>,
    go: Option<&'a str>,
    rounds: u32,
    recorder: bool,
    left_out: &'a [String],
    results: Vec<BenchResult>,
}

/// What `openwork bench --json` prints: one object with the machine, the commit and a result per bench and number of
/// workers.
pub fn bench_json(heading: &Heading<'_>, left_out: &[String], lines: &[Line]) -> String {
    let report = Report {
        machine: heading.machine.into(),
        commit: heading.commit,
        go: heading.go,
        rounds: heading.rounds,
        recorder: heading.recorder,
        left_out,
        results: lines.iter().map(BenchResult::from).collect(),
    };
    serde_json::to_string_pretty(&report).expect("texts and finite numbers")
}
