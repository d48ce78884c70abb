//! The thread that watches the others: what it has done, and how long that took.

use std::panic::Location;

use super::{RoutineId, SystemCall};

/// How long something took, so and so many times.
///
/// ```
/// use openwork::snapshot::Latencies;
/// let mut seen = Latencies::default();
/// assert_eq!(seen.quantile(0.5), None);
/// seen.count = 3;
/// seen.buckets[4] = 2; // two within 16 us, but not within 8
/// seen.buckets[10] = 1;
/// seen.max_ns = 900_000;
/// assert_eq!(seen.quantile(0.5), Some(16_000));
/// assert_eq!(seen.quantile(0.99), Some(900_000));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// How often. The sum of [`buckets`](Self::buckets).
    pub count: u64,
    /// All together, in nanoseconds.
    pub sum_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// Entry `i` counts those of up to `1 us << i` that are not in an entry before; the last one counts
    /// all beyond as well.
    pub buckets: [u64; Latencies::BUCKETS],
}

impl Latencies {
    /// Number of [`buckets`](Self::buckets).
    pub const BUCKETS: usize = 26;

    /// A bound that so much of them kept to, in nanoseconds: the end of the bucket in which the quantile lies,
    /// or the longest, if that is less. `None` if there are none.
    pub fn quantile(&self, of: f64) -> Option<u64> {
        let wanted = (of * self.count as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let bucket = self.buckets.iter().position(|&n| {
            below += n;
            below >= wanted
        });
        (self.count != 0).then(|| {
            let last = Self::BUCKETS - 1;
            match bucket {
                Some(bucket) if bucket < last => (1_000 << bucket).min(self.max_ns),
                _ => self.max_ns,
            }
        })
    }
}

/// What the monitor's thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MonitorState {
    /// There is none: nothing asks for it.
    #[default]
    Off,
    /// It looks round every few milliseconds.
    Watching,
    /// It sleeps as long as all workers do.
    Asleep,
}

impl MonitorState {
    /// The word shown to people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            MonitorState::Off => "off",
            MonitorState::Watching => "watching",
            MonitorState::Asleep => "asleep",
        }
    }
}

/// How the monitor tells a thread that sleeps in the kernel from one that waits for a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// By `/proc`.
    #[default]
    Proc,
    /// By its processor clock alone, which must stand still for 10 ms: `/proc` is missing.
    Clock,
}

impl Probe {
    /// The word shown to people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Probe::Proc => "proc",
            Probe::Clock => "clock",
        }
    }
}

/// The thread that watches the others, and what it has done. A turn that lasts longer than its slice while
/// others wait is *requested* to give way. It does so at a safe point, or is frozen by a signal if that is
/// asked for; the signal may find it inside the runtime, or find another turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonitorFigures {
    /// What it does.
    pub state: MonitorState,
    /// How sleeping threads are told.
    pub probe: Probe,
    /// Times it looked round.
    pub looks: u64,
    /// Processor time it has used, in nanoseconds; `None` while it is off.
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
    /// Deadlines that another worker served than their own, whose thread was in a long turn.
    pub timers_rescued: u64,
    /// From the signal until the thread stands.
    pub signal_to_frozen: Latencies,
    /// From its being given a worker, or let go, until it runs.
    pub frozen_to_running: Latencies,
    /// From falling asleep in the kernel, as far as is known, until the worker is taken.
    pub blocked_to_noticed: Latencies,
    /// Routines that are ready to run while their thread is stopped or asleep, at the last look.
    pub hostages: u64,
    /// Since when the thread that has had some for longest has them, in nanoseconds since process start.
    pub hostages_since_ns: Option<u64>,
    /// Times that a thread came to have some.
    pub hostage_episodes: u64,
    /// Reports made; see [`Handle::hostage_deadlocks`](crate::Handle::hostage_deadlocks).
    pub hostage_deadlocks: u64,
}

/// A thread that slept in `futex(2)` for a second while routines were ready that only it can run: most likely
/// one of those holds what it waits for. See `docs/hazards.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostageDeadlock {
    /// When it was reported, in nanoseconds since process start.
    pub at_ns: u64,
    /// Since when the thread sleeps.
    pub since_ns: u64,
    /// Whose turn it is in.
    pub routine: RoutineId,
    /// That routine's name.
    pub name: Option<String>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// The kernel's number of the thread.
    pub thread_id: i32,
    /// The system call. The last three arguments are not kept.
    pub call: SystemCall,
    /// The address of the word that it sleeps at: for a lock of the standard library, the lock.
    pub futex_address: u64,
    /// How many routines wait for the thread.
    pub hostages: u64,
}
