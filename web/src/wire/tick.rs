//! One sample, whole.

use openwork::snapshot::{
    ResidencySample, RoutineCounts, Source, StackFigures, WaitReason, WorkerSnapshot,
};
use openwork_observatory::finding::Finding;
use openwork_observatory::{Sample, Watching};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::build::HomesNow;
use super::lanes::Lanes;
use super::outside::{BlockingPool, Io, Timers};
use super::threads::{LatencyWire, Monitor, ThreadsNow};
use super::words::{rfc3339, site};

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
    /// One entry per worker that is or was in service, in order of `id`.
    pub workers: Vec<Worker>,
    /// `[thief][victim]`: routines moved. A row sums to that worker's `stolen`.
    pub steal_matrix: Vec<Vec<u64>>,
    /// Routines that wait in the queue shared by all workers.
    pub injector_depth: u64,
    /// Routines by state.
    pub routines: Routines,
    /// Stacks and how deep they were used.
    pub stacks: Stacks,
    /// Threads that run routines.
    pub threads: ThreadsNow,
    /// What started routines are bound to.
    pub homes: HomesNow,
    /// The thread that watches the others.
    pub monitor: Monitor,
    /// The poller; `null` as long as no routine has waited for a socket.
    pub io: Option<Io>,
    /// The pool of threads for calls that block in the kernel.
    pub pool: BlockingPool,
    /// Deadlines of all workers.
    pub timers: Timers,
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

/// One worker, cumulative since process start where it counts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Worker {
    /// Number of the worker, from 0.
    pub id: u32,
    /// `running`, `searching`, `parked` or, while it is out of service, `inactive`.
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
    /// How long turns lasted that were recorded since the start.
    pub turn_lengths: LatencyWire,
    /// Looks into one victim's deque.
    pub steal_attempts: u64,
    /// Attempts that took at least one routine.
    pub steals: u64,
    /// Routines moved here by stealing.
    pub stolen: u64,
    /// What it takes at once now; `null` where that is half of a queue.
    pub steal_amount: Option<u64>,
    /// Routines fetched from workers that had too many.
    pub rebalanced: u64,
    /// Turns of routines that had run elsewhere before.
    pub migrations: u64,
    /// Times the worker went to sleep.
    pub parks: u64,
    /// Times it was woken.
    pub wakes: u64,
    /// Times a routine gave way of itself.
    pub yields: u64,
    /// Routines that came here to start because of their key.
    pub keyed: u64,
    /// The routine that keeps this worker's thread while it is blocked, by `hold_thread`.
    pub held_by: Option<String>,
    /// The kernel's number of the thread that holds the worker; 0 if none does.
    pub thread_id: i32,
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
    /// Slots that were used before and wait without memory.
    pub free: u64,
    /// Times that memory was taken from a stack that goes on: of a routine that was parked for long, or in a pool.
    pub shrinks: u64,
    /// Bytes so given back.
    pub shrunk_bytes: u64,
    /// Of the slots in use, those that routines have beside their own, for a deep call.
    pub segments: u64,
    /// Such segments so far.
    pub segments_entered: u64,
    /// Overflows that ended their routine and no more; such a stack is never used again.
    pub contained: u64,
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
    /// Viewers closed because they took nothing for 10 s.
    pub viewers_closed: u64,
    /// Turns overwritten before they were read.
    pub turns_lost: u64,
    /// Steals overwritten before they were read.
    pub steals_lost: u64,
    /// Absences of threads overwritten before they were read.
    pub absences_lost: u64,
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
            stacks: Stacks::of(sample),
            threads: ThreadsNow::from(&snapshot.threads),
            homes: HomesNow::from(&sample.snapshot.homes),
            monitor: Monitor::new(&snapshot.monitor, sample.at_ns),
            io: snapshot.io.as_ref().map(Io::from),
            pool: BlockingPool::from(&snapshot.blocking),
            timers: Timers::of_all(snapshot),
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
            lanes: with_lanes.then(|| {
                Lanes::new(
                    &sample.lanes,
                    &sample.steals,
                    &sample.absences,
                    sample.merged,
                    sample.omitted,
                )
            }),
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
            turn_lengths: LatencyWire::from(&worker.turn_lengths),
            steal_attempts: worker.steal_attempts,
            steals: worker.steals,
            stolen: worker.stolen,
            steal_amount: worker.steal_amount,
            rebalanced: worker.rebalanced,
            migrations: worker.migrations,
            parks: worker.parks,
            wakes: worker.wakes,
            yields: worker.yields,
            keyed: worker.keyed,
            held_by: worker.held_by.map(|id| id.to_string()),
            thread_id: worker.thread_id,
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
    /// Those of a sample.
    pub fn of(sample: &Sample) -> Stacks {
        let resident_bytes = sample.residency.as_ref().and_then(resident_bytes);
        Stacks::new(&sample.snapshot.stacks, resident_bytes)
    }

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
            free: stacks.free,
            shrinks: stacks.shrinks,
            shrunk_bytes: stacks.shrunk_bytes,
            segments: stacks.segments,
            segments_entered: stacks.segments_entered,
            contained: stacks.contained,
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
            viewers_closed: watching.viewers_closed,
            turns_lost: watching.turns_lost,
            steals_lost: watching.steals_lost,
            absences_lost: watching.absences_lost,
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

/// Turns by source, with the sources' names.
#[derive(Debug)]
pub struct BySource(pub [u64; Source::COUNT]);

impl Serialize for BySource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Source::ALL.iter().map(|s| s.name()).zip(self.0))
    }
}

/// Routines by wait reason, with the reasons' names.
#[derive(Debug)]
pub struct ByReason(pub [u64; WaitReason::COUNT]);

impl Serialize for ByReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(WaitReason::ALL.iter().map(|r| r.name()).zip(self.0))
    }
}
