//! The JSON of one sample: the only place where what the observatory measured becomes field names.
//!
//! Every page, stream and table that shows a figure of a sample renders it through [`Tick`], so equal sample numbers
//! give equal figures by construction. A figure that could not be measured is `null`.

use std::collections::HashMap;
use std::panic::Location;
use std::time::{Duration, SystemTime};

use openwork::snapshot::{
    ResidencySample, RoutineCounts, Source, StackFigures, StealRecord, WaitReason, WorkerSnapshot,
};
use openwork_blockchain::{Block, Chain, HashMeter};
use openwork_observatory::finding::{Finding, Kind};
use openwork_observatory::lanes::{Cell, Lane};
use openwork_observatory::{Extra, Sample, Watching};
use serde::ser::{SerializeMap, SerializeTuple};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::last_crash::LastCrash;
use crate::runs::{Registry, RunState};

/// A whole sample: the `data` of an SSE `tick`, and an element of `/api/v1/history`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tick {
    /// Names this process among its restarts.
    pub boot: String,
    /// Number of the sample within `boot`; equal numbers mean equal figures.
    pub n: u64,
    /// Samples this viewer did not get since its last one, because it was slow.
    pub skipped: u64,
    /// When it was taken, in nanoseconds since process start.
    pub at_ns: u64,
    /// When it was taken, RFC 3339.
    pub wall: String,
    /// Time since the sample before it, in nanoseconds.
    pub interval_ns: u64,
    /// One entry per worker, in order of `id`.
    pub workers: Vec<Worker>,
    /// `[thief][victim]`: routines moved. A row sums to that worker's `stolen`.
    pub steal_matrix: Vec<Vec<u64>>,
    /// Routines that wait in the queue shared by all workers.
    pub injector_depth: u64,
    /// Routines by state.
    pub routines: Routines,
    /// Stacks and how deep they were used.
    pub stacks: Stacks,
    /// Native memory.
    pub memory: Memory,
    /// Hashes and blocks since process start.
    pub mining: Mining,
    /// The chain's tip.
    pub chain: ChainTip,
    /// Runs under way.
    pub runs: RunsNow,
    /// What watching costs.
    pub watching: WatchingNow,
    /// What the workers ran since the sample before; absent in a history.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub lanes: Option<Lanes>,
    /// Things that deserve a person's attention now.
    pub findings: Vec<FindingWire>,
}

/// Turns and steals of a stretch of time, as the lane chart draws them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lanes {
    /// Per worker: `[start_ns, length_ns, source, share, turns, routine, site, workload]`, where `source` counts from
    /// `lifo` = 0 through `inbox`, `local`, `timer`, `injector` to `stolen` = 5, `site` is a key of `sites`, and a
    /// `share` below 1 is the busy part of several merged turns. `turns` = 0 with `source` `null` is a turn that is not
    /// over: a later cell with the same start takes its place.
    #[schema(value_type = Vec<Vec<Vec<serde_json::Value>>>)]
    pub lanes: Vec<Vec<CellWire>>,
    /// Spawn sites (`path:line`) by the number used in `lanes`.
    #[schema(value_type = HashMap<String, String>)]
    pub sites: Sites,
    /// `[at_ns, thief, victim, moved]`.
    #[schema(value_type = Vec<Vec<u64>>)]
    pub steals: Vec<StealWire>,
    /// Turns drawn as part of a merged cell.
    pub merged: u64,
    /// Rectangles and steals left out to keep the message small.
    pub omitted: u64,
}

/// One worker, cumulative since process start where it counts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Worker {
    /// Number of the worker, from 0.
    pub id: u32,
    /// `running`, `searching` or `parked`.
    pub state: &'static str,
    /// The routine whose turn it is.
    pub routine: Option<String>,
    /// Where that routine was spawned, when the sample's lanes know it.
    pub site: Option<String>,
    /// How long this turn has lasted, in nanoseconds.
    pub turn_ns: Option<u64>,
    /// Routines ready to run here: `lifo` + `local` + `inbox`, without the one running.
    pub queue_depth: u64,
    /// 1 when the slot for the most recently readied routine is taken.
    pub lifo: u64,
    /// Fresh and turn routines in this worker's deque.
    pub local: u64,
    /// Started routines ready on the thread that holds this worker.
    pub inbox: u64,
    /// Turns run; the sum of `turns_by_source`.
    pub turns: u64,
    /// Turns by where the routine came from.
    #[schema(value_type = HashMap<String, u64>)]
    pub turns_by_source: BySource,
    /// Looks into one victim's deque.
    pub steal_attempts: u64,
    /// Attempts that took at least one routine.
    pub steals: u64,
    /// Routines moved here by stealing.
    pub stolen: u64,
    /// Times the worker went to sleep.
    pub parks: u64,
    /// Times it was woken.
    pub wakes: u64,
    /// Times a routine gave way of itself.
    pub yields: u64,
    /// Times a stack was seen to have passed a further power of two.
    pub stack_growths: u64,
    /// Time spent in turns, in nanoseconds.
    pub busy_ns: u64,
    /// Time spent looking for work, in nanoseconds.
    pub searching_ns: u64,
    /// Hashes computed on this worker.
    pub hashes: u64,
}

/// Routines by state; `new` + `runnable` + `running` + `blocked` + `ended` = `spawned`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Routines {
    /// Spawned since process start.
    pub spawned: u64,
    /// All but the ended ones.
    pub live: u64,
    /// Not started yet.
    pub new: u64,
    /// Ready and waiting for a worker.
    pub runnable: u64,
    /// In a turn.
    pub running: u64,
    /// Waiting for something; see `blocked_by`.
    pub blocked: u64,
    /// Returned, panicked or cancelled.
    pub ended: u64,
    /// Of the ended ones, those whose closure panicked.
    pub panicked: u64,
    /// Of the ended ones, those that were cancelled.
    pub cancelled: u64,
    /// Blocked routines by reason. `stack` counts routines that are still `new` and wait for a free stack.
    #[schema(value_type = HashMap<String, u64>)]
    pub blocked_by: ByReason,
    /// How long the routine that has been runnable longest has waited, in nanoseconds.
    pub oldest_runnable_ns: Option<u64>,
}

/// Stacks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stacks {
    /// How overflow is caught: `light` or `mprotect`.
    pub mode: &'static str,
    /// Size of one stack, in bytes.
    pub slot_bytes: u64,
    /// Stacks that belong to a started routine.
    pub in_use: u64,
    /// Stacks kept for the next routine.
    pub pooled: u64,
    /// The most stacks there can be; `null` without a limit.
    pub limit: Option<u64>,
    /// Routines that wait for a stack.
    pub waiting: u64,
    /// Times a stack was seen to have passed a further power of two.
    pub growths: u64,
    /// Routines by deepest use: entry `i` counts those that used up to 4 KiB shifted left by `i`.
    pub high_water: Vec<u64>,
    /// Memory the stacks hold, estimated from a sample of them, in bytes.
    pub resident_bytes: Option<u64>,
}

/// Native memory in bytes; `null` when the binary has no counting allocator.
#[derive(Debug, Serialize, ToSchema)]
pub struct Memory {
    /// Allocated and not yet freed.
    pub live_bytes: Option<u64>,
    /// Allocated since process start.
    pub allocated_bytes: Option<u64>,
    /// Freed since process start.
    pub freed_bytes: Option<u64>,
    /// Allocations not yet freed.
    pub live_objects: Option<u64>,
    /// What the process holds in RAM.
    pub rss_bytes: Option<u64>,
}

/// Mining figures.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mining {
    /// Hashes since process start, all workers.
    pub hashes: u64,
    /// Blocks appended since process start.
    pub blocks_appended: u64,
    /// What one thread did alone in a bare loop at start, in hashes a second.
    pub baseline_hashes_per_sec: Option<f64>,
}

/// The chain's tip.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChainTip {
    /// Blocks, genesis included.
    pub length: u64,
    /// Hash of the last block, hex.
    pub tip: Option<String>,
}

/// Runs under way.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunsNow {
    /// Queued or running.
    pub running: u64,
}

/// The price of watching.
#[derive(Debug, Serialize, ToSchema)]
pub struct WatchingNow {
    /// Open event streams.
    pub viewers: u64,
    /// Share of one CPU that the sampler took.
    pub sampler_cpu_ratio: Option<f64>,
    /// Sent to all viewers since process start, in bytes.
    pub bytes_sent: u64,
    /// Samples slow viewers did not get.
    pub samples_skipped: u64,
    /// Turns overwritten before they were read.
    pub turns_lost: u64,
    /// Steals overwritten before they were read.
    pub steals_lost: u64,
}

/// A thing that deserves attention.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingWire {
    /// Which kind of thing; a closed set.
    pub kind: String,
    /// One sentence.
    pub text: String,
    /// The place on the page that shows it.
    pub link: String,
}

impl Tick {
    /// The sample with its lanes, as an event carries it.
    pub fn whole(sample: &Sample) -> Tick {
        Tick::new(sample, true)
    }

    /// The sample without its lanes, as a history carries it.
    pub fn figures(sample: &Sample) -> Tick {
        Tick::new(sample, false)
    }

    fn new(sample: &Sample, with_lanes: bool) -> Tick {
        let snapshot = &sample.snapshot;
        Tick {
            boot: sample.boot.to_string(),
            n: sample.n,
            skipped: 0,
            at_ns: sample.at_ns,
            wall: rfc3339(sample.wall),
            interval_ns: sample.interval_ns,
            workers: workers(sample),
            steal_matrix: steal_matrix(sample),
            injector_depth: snapshot.injector_depth,
            routines: Routines::new(&snapshot.routines, sample.oldest_runnable_ns),
            stacks: Stacks::new(
                &snapshot.stacks,
                sample.residency.as_ref().and_then(resident_bytes),
            ),
            memory: Memory::new(sample),
            mining: Mining {
                hashes: sample.extra.hashes.iter().sum(),
                blocks_appended: sample.extra.blocks_appended,
                baseline_hashes_per_sec: sample.extra.baseline_hashes_per_sec,
            },
            chain: ChainTip {
                length: sample.extra.chain_length,
                tip: sample.extra.tip_hash.clone(),
            },
            runs: RunsNow {
                running: sample.extra.runs_running,
            },
            watching: WatchingNow::from(&sample.watching),
            lanes: with_lanes
                .then(|| Lanes::new(&sample.lanes, &sample.steals, sample.merged, sample.omitted)),
            findings: sample.findings.iter().map(FindingWire::from).collect(),
        }
    }
}

/// What all stacks hold, from what the sampled ones hold.
fn resident_bytes(residency: &ResidencySample) -> Option<u64> {
    let per_stack = residency.resident_bytes.checked_div(residency.sampled);
    match (residency.routines, per_stack) {
        (0, _) => Some(0),
        (stacks, per_stack) => Some(per_stack? * stacks),
    }
}

/// The workers of a sample, in order.
pub fn workers(sample: &Sample) -> Vec<Worker> {
    sample
        .snapshot
        .workers
        .iter()
        .enumerate()
        .map(|(at, worker)| {
            let hashes = sample.extra.hashes.get(at).copied().unwrap_or_default();
            Worker::new(worker, sample.at_ns, site_now(sample, worker), hashes)
        })
        .collect()
}

/// `[thief][victim]` of a sample.
pub fn steal_matrix(sample: &Sample) -> Vec<Vec<u64>> {
    let workers = &sample.snapshot.workers;
    workers.iter().map(|w| w.stolen_from.clone()).collect()
}

/// The site of what `worker` runs, if its lane has a turn of that routine.
fn site_now(sample: &Sample, worker: &WorkerSnapshot) -> Option<String> {
    let routine = worker.routine?;
    let lane = sample.lanes.iter().find(|lane| lane.worker == worker.id)?;
    let cell = lane.cells.iter().rev().find(|c| c.routine == routine)?;
    Some(site(cell.site))
}

impl Worker {
    fn new(worker: &WorkerSnapshot, at_ns: u64, site: Option<String>, hashes: u64) -> Worker {
        Worker {
            id: worker.id.get(),
            state: worker.state.name(),
            routine: worker.routine.map(|id| id.to_string()),
            site,
            turn_ns: worker
                .turn_started_ns
                .map(|started| at_ns.saturating_sub(started)),
            queue_depth: worker.queue_depth(),
            lifo: worker.lifo,
            local: worker.local,
            inbox: worker.inbox,
            turns: worker.turns(),
            turns_by_source: BySource(worker.turns_by_source),
            steal_attempts: worker.steal_attempts,
            steals: worker.steals,
            stolen: worker.stolen,
            parks: worker.parks,
            wakes: worker.wakes,
            yields: worker.yields,
            stack_growths: worker.stack_growths,
            busy_ns: worker.busy_ns,
            searching_ns: worker.searching_ns,
            hashes,
        }
    }
}

impl Routines {
    /// The counts with the longest wait beside them.
    pub fn new(counts: &RoutineCounts, oldest_runnable_ns: Option<u64>) -> Routines {
        Routines {
            spawned: counts.spawned,
            live: counts.live(),
            new: counts.new,
            runnable: counts.runnable,
            running: counts.running,
            blocked: counts.blocked,
            ended: counts.ended,
            panicked: counts.panicked,
            cancelled: counts.cancelled,
            blocked_by: ByReason(counts.blocked_by),
            oldest_runnable_ns,
        }
    }
}

impl Stacks {
    fn new(stacks: &StackFigures, resident_bytes: Option<u64>) -> Stacks {
        Stacks {
            mode: stacks.mode.name(),
            slot_bytes: stacks.slot_bytes,
            in_use: stacks.in_use,
            pooled: stacks.pooled,
            limit: stacks.limit,
            waiting: stacks.waiting,
            growths: stacks.growths,
            high_water: stacks.high_water.to_vec(),
            resident_bytes,
        }
    }
}

impl Memory {
    fn new(sample: &Sample) -> Memory {
        let totals = sample.memory.as_ref();
        Memory {
            live_bytes: totals.map(|t| t.live_bytes()),
            allocated_bytes: totals.map(|t| t.allocated_bytes),
            freed_bytes: totals.map(|t| t.freed_bytes),
            live_objects: totals.map(|t| t.live_objects()),
            rss_bytes: sample.rss_bytes,
        }
    }
}

impl From<&Watching> for WatchingNow {
    fn from(watching: &Watching) -> WatchingNow {
        WatchingNow {
            viewers: watching.viewers,
            sampler_cpu_ratio: watching.sampler_cpu_ratio,
            bytes_sent: watching.bytes_sent,
            samples_skipped: watching.samples_skipped,
            turns_lost: watching.turns_lost,
            steals_lost: watching.steals_lost,
        }
    }
}

impl From<&Finding> for FindingWire {
    fn from(finding: &Finding) -> FindingWire {
        FindingWire {
            kind: finding.kind.name().to_owned(),
            text: finding.text.clone(),
            link: finding.link.to_owned(),
        }
    }
}

impl Lanes {
    /// Turns and steals with the table of the sites they name.
    pub fn new(lanes: &[Lane], steals: &[StealRecord], merged: u64, omitted: u64) -> Lanes {
        let mut sites = Sites::default();
        Lanes {
            lanes: lanes
                .iter()
                .map(|lane| {
                    lane.cells
                        .iter()
                        .map(|cell| CellWire::new(cell, &mut sites))
                        .collect()
                })
                .collect(),
            sites,
            steals: steals.iter().map(StealWire::from).collect(),
            merged,
            omitted,
        }
    }
}

/// A rectangle of a lane. An array, because a tick carries up to two thousand of them.
#[derive(Debug)]
pub struct CellWire {
    start_ns: u64,
    length_ns: u64,
    /// `None` while the turn is not over.
    source: Option<usize>,
    share: f32,
    turns: u32,
    routine: u64,
    site: usize,
    workload: Option<u64>,
}

impl CellWire {
    fn new(cell: &Cell, sites: &mut Sites) -> CellWire {
        CellWire {
            start_ns: cell.start_ns,
            length_ns: cell.length_ns,
            source: Some(cell.source as usize),
            share: cell.share,
            turns: cell.turns,
            routine: cell.routine.get(),
            site: sites.number(cell.site),
            workload: cell.workload.map(|id| id.get()),
        }
    }
}

impl Serialize for CellWire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cell = serializer.serialize_tuple(8)?;
        cell.serialize_element(&self.start_ns)?;
        cell.serialize_element(&self.length_ns)?;
        cell.serialize_element(&self.source)?;
        // A thousandth is finer than any rectangle on a screen, and six characters shorter.
        cell.serialize_element(&((self.share * 1000.0).round() / 1000.0))?;
        cell.serialize_element(&self.turns)?;
        cell.serialize_element(&Id(self.routine))?;
        cell.serialize_element(&self.site)?;
        cell.serialize_element(&self.workload.map(Id))?;
        cell.end()
    }
}

/// An id on the wire is a string: a double holds only 53 bits of it.
struct Id(u64);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// One steal, `[at_ns, thief, victim, moved]`.
#[derive(Debug, Serialize)]
pub struct StealWire(u64, u32, u32, u32);

impl From<&StealRecord> for StealWire {
    fn from(steal: &StealRecord) -> StealWire {
        StealWire(
            steal.at_ns,
            steal.thief.get(),
            steal.victim.get(),
            steal.moved,
        )
    }
}

/// Numbers for the spawn sites of one message, so that each path is sent once.
#[derive(Debug, Default)]
pub struct Sites {
    numbers: HashMap<(&'static str, u32), usize>,
    names: Vec<String>,
}

impl Sites {
    fn number(&mut self, location: &'static Location<'static>) -> usize {
        let next = self.names.len();
        *self
            .numbers
            .entry((location.file(), location.line()))
            .or_insert_with(|| {
                self.names.push(site(location));
                next
            })
    }
}

impl Serialize for Sites {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (number, name) in self.names.iter().enumerate() {
            map.serialize_entry(&number, name)?;
        }
        map.end()
    }
}

/// Turns by source, with the sources' names.
#[derive(Debug)]
pub struct BySource(pub [u64; 6]);

impl Serialize for BySource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Source::ALL.iter().map(|s| s.name()).zip(self.0))
    }
}

/// Routines by wait reason, with the reasons' names.
#[derive(Debug)]
pub struct ByReason(pub [u64; 8]);

impl Serialize for ByReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(WaitReason::ALL.iter().map(|r| r.name()).zip(self.0))
    }
}

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

/// A block, as every answer shows it.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockWire {
    /// Place in the chain; genesis is 0.
    pub index: u64,
    /// When it was mined, RFC 3339 with nanoseconds.
    pub timestamp: String,
    /// What it holds.
    pub data: String,
    /// Hash of the block before it; 64 zeros for genesis.
    pub previous_hash: String,
    /// SHA-256 of `header`, hex.
    pub hash: String,
    /// What made the hash begin with enough zero bits; below 2^53.
    pub nonce: u64,
    /// Zero bits that the hash must begin with.
    pub difficulty: u8,
    /// The bytes that were hashed, hex: version, index, timestamp (ns), difficulty, previous hash, SHA-256 of `data`, nonce.
    pub header: String,
    /// The routine that found it, in the process that mined it.
    pub by_routine: Option<String>,
    /// The worker that routine ran on.
    pub by_worker: Option<u32>,
}

impl From<&Block> for BlockWire {
    fn from(block: &Block) -> BlockWire {
        BlockWire {
            index: block.index,
            timestamp: rfc3339(block.timestamp()),
            data: block.data.clone(),
            previous_hash: block.previous_hash.to_string(),
            hash: block.hash.to_string(),
            nonce: block.nonce,
            difficulty: block.difficulty.get(),
            header: block.header_hex(),
            by_routine: block.mined_by.as_ref().map(|by| by.routine.to_string()),
            by_worker: block.mined_by.as_ref().map(|by| by.worker),
        }
    }
}

/// A block as the event `block` carries it: the same, with long `data` cut.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockEvent {
    /// The block.
    #[serde(flatten)]
    #[schema(inline)]
    pub block: BlockWire,
    /// Whether `data` was cut.
    pub truncated: bool,
}

/// Longest `data` of a [`BlockEvent`], in bytes: what a page can show of it.
const EVENT_DATA_BYTES_MAX: usize = 1 << 10;

impl BlockEvent {
    /// The event of `block`.
    pub fn new(block: &Block) -> BlockEvent {
        let mut block = BlockWire::from(block);
        let truncated = block.data.len() > EVENT_DATA_BYTES_MAX;
        if truncated {
            let end = block.data.floor_char_boundary(EVENT_DATA_BYTES_MAX);
            block.data.truncate(end);
        }
        BlockEvent { block, truncated }
    }
}

/// `path:line` of a spawn site.
pub fn site(location: &Location<'_>) -> String {
    format!("{}:{}", location.file(), location.line())
}

/// A wall-clock time in RFC 3339, UTC.
pub fn rfc3339(at: SystemTime) -> String {
    match jiff::Timestamp::try_from(at) {
        Ok(at) => at.to_string(),
        // Out of jiff's ten thousand years: a clock that is that wrong has no better name.
        Err(_) => jiff::Timestamp::UNIX_EPOCH.to_string(),
    }
}

/// A duration as Go prints it: `1.5s`, `350.5ms`, `2m3.4s`, `1h0m0s`, `0s`.
pub fn go_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let whole_s = duration.as_secs();
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => fraction(ns, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(ns, 1_000_000, "ms"),
        _ => {
            let seconds = fraction(ns % 60_000_000_000, 1_000_000_000, "s");
            match (whole_s / 3600, whole_s / 60 % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// `value / unit` with as many decimals as it has, none if it has none.
fn fraction(value: u128, unit: u128, name: &str) -> String {
    let digits = unit.ilog10() as usize;
    let decimals = format!("{:0digits$}", value % unit);
    match decimals.trim_end_matches('0') {
        "" => format!("{}{name}", value / unit),
        decimals => format!("{}.{decimals}{name}", value / unit),
    }
}

/// Milliseconds with their fraction, for the fields whose name ends in `_ms`.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Bytes as MB of 2^20, for the old fields whose name ends in `_mb`. Exact below 2^53 bytes.
pub fn mb(bytes: i64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes a second as MB a second.
pub fn mb_per_sec(bytes_per_sec: f64) -> f64 {
    bytes_per_sec / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go's `time.Duration.String` for the same values; a client of the old service parses these.
    #[test]
    fn durations_are_written_as_go_writes_them() {
        #[track_caller]
        fn check(ns: u64, expected: &str) {
            assert_eq!(go_duration(Duration::from_nanos(ns)), expected);
        }
        check(0, "0s");
        check(1, "1ns");
        check(1_100, "1.1µs");
        check(2_200_000, "2.2ms");
        check(350_500_000, "350.5ms");
        check(1_000_000_000, "1s");
        check(3_300_000_001, "3.300000001s");
        check(60_000_000_000, "1m0s");
        check(245_000_000_000, "4m5s");
        check(245_001_000_000, "4m5.001s");
        check(18_367_001_000_000, "5h6m7.001s");
    }
}
