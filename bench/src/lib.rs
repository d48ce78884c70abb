//! Benches of Openwork beside other runtimes.
//!
//! A bench asks one question and has the same shape in every runtime that is compared: ours, Go, tokio,
//! may, threads. They are measured in turns ([`rounds`]), each turn in a process of its own
//! (a [`Session`]), and what is claimed is a ratio within a round, not a time: times move by tens of
//! percent with what else a machine does.
//!
//! What the figures do not say: how a program behaves that does something with its routines. There
//! caches are colder, and partners come at their own pace.
#![forbid(unsafe_code)]

mod catalogue;
mod echo;
mod go;
mod hash;
mod host;
mod measure;
mod peer;
mod plan;
mod process;
pub mod rounds;
mod session;
pub mod short;
mod statistics;
pub mod table;

pub use catalogue::{Bench, CATALOGUE, Goal, Id, Limit, Workers, named};
pub use host::Machine;
pub use measure::{CPU, Figure, NoFigure, TIME};
pub use peer::{Peer, Setup, UnknownPeer};
pub use plan::{Plan, PlanError, ROUNDS_MAX, WORKERS_MAX};
pub use session::{Session, Told};
pub use statistics::Spread;

/// What a measuring process does: `words` are those that a [`Session`] put behind its arguments. The
/// answer is the text for standard output.
///
/// # Errors
/// What is wrong with the words. They are not for people.
pub fn answer(words: &[String]) -> Result<String, String> {
    let (peer, bench, workers, size, recorder) = match words {
        [peer, bench, workers, size] => (peer, bench, workers, size, false),
        [peer, bench, workers, size, last] if last == "recorder" => {
            (peer, bench, workers, size, true)
        }
        _ => return Err("measure: PEER BENCH WORKERS SIZE [recorder]".to_owned()),
    };
    let peer: Peer = peer
        .parse()
        .map_err(|error: UnknownPeer| error.to_string())?;
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| format!("measure: {text} is no number"))
    };
    let setup = Setup {
        workers: number(workers)? as usize,
        size: number(size)?,
        recorder,
    };
    let bench = CATALOGUE.iter().find(|entry| entry.name == bench);
    let bench = bench.ok_or("measure: no such bench")?;
    let figures = peer.measure(bench, &setup);
    let figures = figures.ok_or_else(|| format!("measure: {peer} has no {}", bench.name))?;
    Ok(figures.iter().map(|figure| format!("{figure}\n")).collect())
}
