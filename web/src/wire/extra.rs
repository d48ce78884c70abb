//! What the service reports into each sample.

use openwork_blockchain::{Chain, HashMeter};
use openwork_observatory::Extra;
use openwork_observatory::finding::{Finding, Kind};

use super::words::rfc3339;
use crate::last_crash::LastCrash;
use crate::runs::{Registry, RunState};

/// What the service adds to each sample. Called on the sampler's thread; waits for nothing.
pub fn extra(
    runs: &Registry,
    chain: &Chain,
    meter: &HashMeter,
    last_crash: &LastCrash,
    baseline_hashes_per_sec: Option<f64>,
) -> Extra {
    let tip = chain.tip();
    let failed = runs.last_failure().map(|run| {
        let how = match run.state {
            RunState::TimedOut => "timed out",
            _ => "failed",
        };
        let why = run.error.unwrap_or_default();
        Finding {
            kind: Kind::RunFailed,
            text: format!("Run {} ({}) {how}: {why}.", run.id, run.kind.name()),
            link: "#runs",
        }
    });
    let crashed = last_crash.get().map(|crash| Finding {
        kind: Kind::LastCrash,
        text: format!(
            "The process before this one crashed at {}: {}",
            rfc3339(crash.at),
            crash.text.lines().next().unwrap_or_default()
        ),
        link: "#crash",
    });
    Extra {
        hashes: meter.hashes(),
        blocks_appended: chain.blocks_appended(),
        chain_length: tip.length,
        tip_hash: Some(tip.hash.to_string()),
        runs_running: runs.under_way() as u64,
        baseline_hashes_per_sec,
        findings: failed.into_iter().chain(crashed).collect(),
    }
}
