//! Threads: what the one that watches the others has seen and done.

use openwork::snapshot::{HandOff, HostageDeadlock, Latencies, MonitorFigures, ThreadFigures};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::words::site;

/// Threads that run routines: those that hold workers, and those that wait for one.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadsNow {
    /// Threads that there are.
    pub total: u64,
    /// Those that have no worker and nothing to run.
    pub spare: u64,
    /// Of these, those to which no routine is bound.
    pub unbound: u64,
    /// Homes that want a worker: their threads have come back from the kernel, are frozen, or have routines to run.
    pub wanting: u64,
    /// Threads that run a routine without a worker: in the kernel, as a rule.
    pub away: u64,
    /// Threads that were stopped because their turn lasted too long.
    pub frozen: u64,
    /// Most threads that there were at once.
    pub peak: u64,
    /// Most threads that there may be.
    pub limit: u64,
    /// There are as many as there may be, and none is spare: who blocks a thread or computes on may keep its worker.
    pub at_limit: bool,
    /// Threads that were started to have some spare.
    pub started: u64,
    /// Threads that the system refused.
    pub refused: u64,
    /// Threads that have gone because nobody needed them.
    pub retired: u64,
    /// Places in the program whose routines start on a thread to which nothing is bound, because those before them slept
    /// in the kernel or were stopped.
    pub suspect_sites: u64,
    /// Fresh routines that were to start on another thread when none was there for it. Those that did are hand-offs, of
    /// the reason `apart`.
    pub beside: u64,
    /// Times that a worker changed threads, by reason.
    #[schema(value_type = HashMap<String, u64>)]
    pub handed_off_by: ByHandOff,
}

/// Hand-offs by reason, with the reasons' names.
#[derive(Debug)]
pub struct ByHandOff([u64; HandOff::COUNT]);

impl Serialize for ByHandOff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(HandOff::ALL.iter().map(|why| why.name()).zip(self.0))
    }
}

impl From<&ThreadFigures> for ThreadsNow {
    fn from(threads: &ThreadFigures) -> ThreadsNow {
        ThreadsNow {
            total: threads.total,
            spare: threads.spare,
            unbound: threads.unbound,
            wanting: threads.wanting,
            away: threads.away,
            frozen: threads.frozen,
            peak: threads.peak,
            limit: threads.limit,
            at_limit: threads.at_limit,
            started: threads.started,
            refused: threads.refused,
            retired: threads.retired,
            suspect_sites: threads.suspect_sites,
            beside: threads.beside,
            handed_off_by: ByHandOff(threads.handed_off_by),
        }
    }
}

/// The thread that watches the others. A turn that lasts longer than its slice while others wait is asked to give way; it
/// does so at a safe point, or is frozen by a signal where preemption is forced.
#[derive(Debug, Serialize, ToSchema)]
pub struct Monitor {
    /// `off`, `watching` or `asleep`.
    pub state: &'static str,
    /// How sleeping threads are told: `proc`, or `clock` where `/proc` is missing.
    pub probe: &'static str,
    /// Times it looked round.
    pub looks: u64,
    /// Processor time it has used, in nanoseconds; `null` while it is off.
    pub cpu_ns: Option<u64>,
    /// Turns that were asked to give way.
    pub requested: u64,
    /// Of these, those that did so at a safe point.
    pub honoured: u64,
    /// Signals that found their thread inside the runtime, where the request was left for later.
    pub deferred: u64,
    /// Signals that froze their thread.
    pub forced: u64,
    /// Signals that found another turn.
    pub stale: u64,
    /// Turns that were to be frozen when no thread was there to go on.
    pub at_cap: u64,
    /// Workers taken from threads that sleep in the kernel.
    pub retaken: u64,
    /// Frozen threads that were let go without a worker, because nothing else got on.
    pub released: u64,
    /// Deadlines that another worker served, whose own was in a long turn.
    pub timers_rescued: u64,
    /// From the signal until the thread stands.
    pub signal_to_frozen: LatencyWire,
    /// From its being given a worker until it runs.
    pub frozen_to_running: LatencyWire,
    /// From falling asleep in the kernel, as far as is known, until the worker is taken.
    pub blocked_to_noticed: LatencyWire,
    /// Routines that are ready to run while their thread is stopped or asleep.
    pub hostages: u64,
    /// For how long the thread that has had some for longest has had them, in nanoseconds; `null` if none has.
    pub hostages_for_ns: Option<u64>,
    /// Times that a thread came to have some.
    pub hostage_episodes: u64,
    /// Threads found asleep on what one of their hostages most likely holds.
    pub hostage_deadlocks: u64,
}

/// How a set of times is spread. A quantile is the end of the power of two that it lies in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Latency)]
pub struct LatencyWire {
    /// How many there were.
    pub count: u64,
    /// Half of them kept to this; `null` if there were none.
    pub p50_ns: Option<u64>,
    /// 99 of a hundred kept to this.
    pub p99_ns: Option<u64>,
    /// The longest.
    pub max_ns: Option<u64>,
}

impl From<&Latencies> for LatencyWire {
    fn from(seen: &Latencies) -> LatencyWire {
        LatencyWire {
            count: seen.count,
            p50_ns: seen.quantile(0.5),
            p99_ns: seen.quantile(0.99),
            max_ns: (seen.count > 0).then_some(seen.max_ns),
        }
    }
}

impl Monitor {
    /// As of a snapshot taken at `at_ns`.
    pub fn new(monitor: &MonitorFigures, at_ns: u64) -> Monitor {
        Monitor {
            state: monitor.state.name(),
            probe: monitor.probe.name(),
            looks: monitor.looks,
            cpu_ns: monitor.cpu_ns,
            requested: monitor.requested,
            honoured: monitor.honoured,
            deferred: monitor.deferred,
            forced: monitor.forced,
            stale: monitor.stale,
            at_cap: monitor.at_cap,
            retaken: monitor.retaken,
            released: monitor.released,
            timers_rescued: monitor.timers_rescued,
            signal_to_frozen: LatencyWire::from(&monitor.signal_to_frozen),
            frozen_to_running: LatencyWire::from(&monitor.frozen_to_running),
            blocked_to_noticed: LatencyWire::from(&monitor.blocked_to_noticed),
            hostages: monitor.hostages,
            hostages_for_ns: monitor
                .hostages_since_ns
                .map(|since| at_ns.saturating_sub(since)),
            hostage_episodes: monitor.hostage_episodes,
            hostage_deadlocks: monitor.hostage_deadlocks,
        }
    }
}

/// A thread that slept for a second while routines were ready that only it can run: most likely one of them holds what it
/// waits for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HostageDeadlock)]
pub struct HostageDeadlockWire {
    /// When it was reported, in nanoseconds since process start.
    pub at_ns: u64,
    /// Since when the thread sleeps.
    pub since_ns: u64,
    /// Whose turn it is in.
    pub routine: String,
    /// That routine's name.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: String,
    /// The kernel's number of the thread.
    pub thread_id: i32,
    /// The system call it sleeps in; `null` for one that is newer than our table.
    pub call: Option<&'static str>,
    /// The address of the word that it sleeps at, hexadecimal: for a lock of the standard library, the lock.
    pub futex_address: String,
    /// How many routines wait for the thread.
    pub hostages: u64,
}

impl From<&HostageDeadlock> for HostageDeadlockWire {
    fn from(found: &HostageDeadlock) -> HostageDeadlockWire {
        HostageDeadlockWire {
            at_ns: found.at_ns,
            since_ns: found.since_ns,
            routine: found.routine.to_string(),
            name: found.name.clone(),
            site: site(found.site),
            thread_id: found.thread_id,
            call: found.call.name(),
            futex_address: format!("{:#x}", found.futex_address),
            hostages: found.hostages,
        }
    }
}
