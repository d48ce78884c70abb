//! What is to be measured, checked before anything starts.

use std::fmt;

use crate::catalogue::{Bench, named};
use crate::peer::Peer;

/// Most rounds of a bench.
pub const ROUNDS_MAX: u32 = 100;
/// Most workers: what a runtime of ours can have.
pub const WORKERS_MAX: usize = 256;

/// Benches, workers, peers and rounds that can be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In this order.
    pub benches: Vec<&'static Bench>,
    /// Each bench with each of these numbers of workers.
    pub workers: Vec<usize>,
    /// Ours first.
    pub peers: Vec<Peer>,
    /// Times that each peer's turn comes.
    pub rounds: u32,
    /// Whether our workers record turns and thefts.
    pub recorder: bool,
}

/// Why something cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Nothing was named.
    #[error("name: a bench, a group or `all` is missing; `openwork bench list` shows them")]
    Nothing,
    /// A name of nothing.
    #[error("name: there is neither a bench nor a group `{0}`; `openwork bench list` shows them")]
    UnknownBench(String),
    /// A number outside its bounds.
    #[error("{field} must be between {min} and {max}, not {value}")]
    Limit {
        /// What the number is.
        field: &'static str,
        /// Least allowed.
        min: u64,
        /// Greatest allowed.
        max: u64,
        /// The number.
        value: u64,
    },
    /// A peer that is not in this program.
    #[error("peers: {0} is not built in; build with `cargo build --release --features peers`")]
    NotBuiltIn(Peer),
}

impl Plan {
    /// Checks names and numbers. Without peers: all that this program has. With none of `workers`: one, and one per core.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(
        names: &[impl AsRef<str>],
        workers: &[usize],
        peers: &[Peer],
        rounds: u32,
        recorder: bool,
    ) -> Result<Plan, PlanError> {
        let mut benches: Vec<&'static Bench> = Vec::new();
        for name in names {
            let name = name.as_ref();
            let found = named(name);
            if found.is_empty() {
                return Err(PlanError::UnknownBench(name.to_owned()));
            }
            for bench in found {
                if !benches.iter().any(|other| other.id == bench.id) {
                    benches.push(bench);
                }
            }
        }
        if benches.is_empty() {
            return Err(PlanError::Nothing);
        }
        within("rounds", rounds.into(), ROUNDS_MAX.into())?;
        for &count in workers {
            within("workers", count as u64, WORKERS_MAX as u64)?;
        }
        if let Some(missing) = peers
            .iter()
            .find(|&&peer| !peer.is_built_in() && peer != Peer::Go)
        {
            return Err(PlanError::NotBuiltIn(*missing));
        }
        let asked = |peer: &Peer| match peers {
            [] => peer.is_built_in() || *peer == Peer::Go,
            some => *peer == Peer::Openwork || some.contains(peer),
        };
        let mut workers = match workers {
            [] => vec![1, crate::host::cores()],
            some => some.to_vec(),
        };
        workers.dedup();
        Ok(Plan {
            benches,
            workers,
            peers: Peer::ALL.into_iter().filter(asked).collect(),
            rounds,
            recorder,
        })
    }
}

fn within(field: &'static str, value: u64, max: u64) -> Result<(), PlanError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(PlanError::Limit {
        field,
        min: 1,
        max,
        value,
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.benches.iter().map(|bench| bench.name).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(names: &[&str], workers: &[usize], rounds: u32) -> Result<Plan, PlanError> {
        Plan::new(names, workers, &[], rounds, false)
    }

    #[test]
    fn a_bench_that_is_named_twice_is_measured_once() {
        let plan = plan(&["lock", "mutex_contended"], &[1], 3).unwrap();
        assert_eq!(plan.to_string(), "mutex_uncontended, mutex_contended");
    }

    #[test]
    fn a_refusal_names_field_and_limit() {
        let text = |result: Result<Plan, PlanError>| result.unwrap_err().to_string();
        assert!(text(plan(&["swim"], &[1], 3)).contains("`swim`"));
        assert_eq!(
            text(plan(&["all"], &[1], 0)),
            "rounds must be between 1 and 100, not 0"
        );
        assert_eq!(
            text(plan(&["all"], &[1, 257], 1)),
            "workers must be between 1 and 256, not 257"
        );
        assert_eq!(plan(&[], &[1], 1).unwrap_err(), PlanError::Nothing);
    }

    #[test]
    fn ours_is_always_measured() {
        let plan = Plan::new(&["all"], &[1], &[Peer::Threads], 1, false).unwrap();
        assert_eq!(plan.peers, [Peer::Openwork, Peer::Threads]);
    }

    #[test]
    fn a_peer_that_is_not_built_in_is_refused_by_name() {
        let plan = Plan::new(&["all"], &[1], &[Peer::May], 1, false);
        assert_eq!(plan.is_ok(), cfg!(feature = "peers"));
    }
}
