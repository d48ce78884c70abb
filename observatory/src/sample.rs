//! The numbered sample: the one source of every published figure.

use std::sync::Arc;
use std::time::SystemTime;

use openwork::memory;
use openwork::snapshot::{ResidencySample, Snapshot, StealRecord};

use crate::finding::Finding;
use crate::lanes::{Absence, Lane};

/// Everything that was known at one moment. Counts are cumulative since the process began unless
/// their name says otherwise; a figure that could not be measured is `None`.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Names this life of the process; sample numbers compare only within one.
    pub boot: Arc<str>,
    /// Number of the sample, from 1, without gaps.
    pub n: u64,
    /// When it was taken, in nanoseconds since the process began.
    pub at_ns: u64,
    /// Nanoseconds since the sample before; for the first one since the process began.
    pub interval_ns: u64,
    /// When it was taken, on the wall clock. Derived from `at_ns`, so a clock that is set does not
    /// make samples jump.
    pub wall: SystemTime,
    /// The scheduler.
    pub snapshot: Snapshot,
    /// Totals of the counting allocator; `None` when the program does not install it.
    pub memory: Option<memory::Totals>,
    /// Resident memory of the process in bytes.
    pub rss_bytes: Option<u64>,
    /// Processor time of the whole process, user and system, in nanoseconds. The kernel keeps it in
    /// ticks of 10 ms.
    pub process_cpu_ns: Option<u64>,
    /// Resident bytes of some routines' stacks, measured at most once a second.
    pub residency: Option<ResidencySample>,
    /// For how long the routine that waits longest has been runnable, in nanoseconds; 0 when none
    /// waits. Taken from a walk over all routines that runs at most once a second, so it can be a
    /// second old. `None` when there are too many routines to walk.
    pub oldest_runnable_ns: Option<u64>,
    /// What the crates above the runtime report.
    pub extra: Extra,
    /// Who ran where since the sample before; empty when nobody watches and in the 1 Hz history.
    pub lanes: Vec<Lane>,
    /// Who took work from whom since the sample before; empty like `lanes`.
    pub steals: Vec<StealRecord>,
    /// Which threads had no worker in the middle of a turn since the sample before, and which have none now; empty
    /// like `lanes`.
    pub absences: Vec<Absence>,
    /// Turns drawn in `lanes` together with others in one cell.
    pub merged: u64,
    /// Steals and absences since the sample before that `steals` and `absences` leave out for want of room.
    pub omitted: u64,
    /// What is worth saying; empty means nothing to say.
    pub findings: Vec<Finding>,
    /// What watching costs.
    pub watching: Watching,
}

/// What the crates above the runtime report into each sample. Cumulative totals.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Hashes computed, by worker index.
    pub hashes: Vec<u64>,
    /// Blocks appended since the process began.
    pub blocks_appended: u64,
    /// Blocks in the chain now.
    pub chain_length: u64,
    /// Hash of the newest block, hexadecimal; `None` while there is no chain.
    pub tip_hash: Option<String>,
    /// Runs that have begun and not ended.
    pub runs_running: u64,
    /// Hashes a second of one thread in a bare loop, measured at the start.
    pub baseline_hashes_per_sec: Option<f64>,
    /// Findings that only the service can make: a failed run, the last crash.
    pub findings: Vec<Finding>,
}

/// The price of watching.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Watching {
    /// Viewers connected now.
    pub viewers: u64,
    /// Part of one processor that the sampler's thread used in the last second or so, from 0 to 1.
    /// `None` before the first second is over and where the kernel keeps no account.
    pub sampler_cpu_ratio: Option<f64>,
    /// Bytes sent to viewers so far, as reported by [`Observatory::add_bytes_sent`].
    ///
    /// [`Observatory::add_bytes_sent`]: crate::Observatory::add_bytes_sent
    pub bytes_sent: u64,
    /// Samples that a slow viewer did not get so far, as reported by
    /// [`Observatory::add_samples_skipped`].
    ///
    /// [`Observatory::add_samples_skipped`]: crate::Observatory::add_samples_skipped
    pub samples_skipped: u64,
    /// Viewers closed so far because they took nothing for too long, as reported by
    /// [`Observatory::add_viewer_closed`].
    ///
    /// [`Observatory::add_viewer_closed`]: crate::Observatory::add_viewer_closed
    pub viewers_closed: u64,
    /// Turns overwritten in a worker's ring before the sampler read them, while someone watched.
    pub turns_lost: u64,
    /// Steals overwritten likewise.
    pub steals_lost: u64,
    /// Absences overwritten likewise.
    pub absences_lost: u64,
}

impl Sample {
    /// The same sample without what only a live picture needs: no lanes and no steals.
    pub(crate) fn without_lanes(&self) -> Sample {
        Sample {
            boot: self.boot.clone(),
            snapshot: self.snapshot.clone(),
            extra: self.extra.clone(),
            findings: self.findings.clone(),
            lanes: Vec::new(),
            steals: Vec::new(),
            absences: Vec::new(),
            merged: 0,
            omitted: 0,
            ..*self
        }
    }

    /// Cells in all lanes.
    pub(crate) fn cells(&self) -> usize {
        self.lanes.iter().map(|lane| lane.cells.len()).sum()
    }
}
