//! Takes samples: one look at everything, numbered.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openwork::snapshot::{ResidencySample, Snapshot, WorkerSnapshot};
use openwork::{Handle, memory, time};

use crate::budget::Budget;
use crate::finding::{self, EventsLost, Finding, HostageDeadlocks};
use crate::process::{Process, ThreadClock};
use crate::rate::per_second;
use crate::rings::Rings;
use crate::sample::{Extra, Sample, Watching};
use crate::waiting::Walk;

/// Between two measurements of what changes slowly or costs more.
const SLOW_NS: u64 = 1_000_000_000;
/// Routines whose stacks are looked at for residency.
const RESIDENCY_ROUTINES: usize = 64;
/// A routine blocked for longer than this gives back the stack pages that it does not use.
const LONG_PARKED: Duration = Duration::from_secs(1);
/// Stacks trimmed at once, about 1 us each.
const TRIM_ROUTINES: usize = 1_000;

/// What others report into a sample.
pub(crate) struct Reports {
    pub(crate) viewers: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) samples_skipped: u64,
    pub(crate) viewers_closed: u64,
    pub(crate) extra: Extra,
}

/// What the thread keeps from one sample to the next.
pub(crate) struct Sampler<'a> {
    handle: &'a Handle,
    boot: Arc<str>,
    n: u64,
    at_ns: u64,
    process: Process,
    clock: ThreadClock,
    rings: Rings,
    walk: Walk,
    events_lost: EventsLost,
    hostage_deadlocks: HostageDeadlocks,
    slow: Slow,
}

/// Figures taken at most once a second, and kept in between.
struct Slow {
    /// When the own cost was measured last, and the thread's clock then.
    measured: Option<(u64, Option<u64>)>,
    cpu_ratio: Option<f64>,
    residency: Option<ResidencySample>,
    residency_budget: Budget,
    trim_budget: Budget,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(handle: &'a Handle, boot: Arc<str>) -> Sampler<'a> {
        Sampler {
            handle,
            boot,
            n: 0,
            at_ns: 0,
            process: Process::open(),
            clock: ThreadClock::open(),
            rings: Rings::new(handle.max_workers()),
            walk: Walk::new(),
            events_lost: EventsLost::default(),
            hostage_deadlocks: HostageDeadlocks::default(),
            slow: Slow::new(),
        }
    }

    /// Reads the rings between two samples, so that less is overwritten.
    pub(crate) fn read(&mut self) {
        self.rings.read(self.handle);
        self.rings.digest(time::now_ns());
    }

    /// Takes the next sample.
    pub(crate) fn take(&mut self, reports: Reports) -> Sample {
        let Reports {
            viewers,
            bytes_sent,
            samples_skipped,
            viewers_closed,
            extra,
        } = reports;
        let snapshot = self.handle.snapshot();
        let at_ns = snapshot.at_ns;
        // After the snapshot: a turn that ends meanwhile is then in a ring.
        self.rings.read(self.handle);
        let picture = match viewers {
            0 => self.rings.skip(at_ns),
            _ => self.rings.draw(&snapshot),
        };
        let waiting = self.walk.at(self.handle, at_ns, &snapshot.routines);
        let usage = self.process.read();
        self.slow.take(self.handle, &self.clock, at_ns);

        let mut findings = self.findings(&snapshot);
        findings.extend(waiting.and_then(finding::runnable_long));
        findings.extend(extra.findings.iter().cloned());

        let sample = Sample {
            boot: self.boot.clone(),
            n: self.n + 1,
            at_ns,
            interval_ns: at_ns - self.at_ns,
            wall: wall(at_ns),
            memory: memory::is_counting().then(memory::totals),
            rss_bytes: usage.rss_bytes,
            process_cpu_ns: usage.cpu_ns,
            residency: self.slow.residency,
            oldest_runnable_ns: waiting.map(|waiting| waiting.oldest_ns),
            extra,
            lanes: picture.lanes,
            steals: picture.steals,
            absences: picture.absences,
            merged: picture.merged,
            omitted: picture.omitted,
            findings,
            watching: Watching {
                viewers,
                sampler_cpu_ratio: self.slow.cpu_ratio,
                bytes_sent,
                samples_skipped,
                viewers_closed,
                turns_lost: self.rings.turns_lost,
                steals_lost: self.rings.steals_lost,
                absences_lost: self.rings.absences_lost,
            },
            snapshot,
        };
        self.n = sample.n;
        self.at_ns = at_ns;
        sample
    }

    fn findings(&mut self, snapshot: &Snapshot) -> Vec<Finding> {
        let stuck = |worker: &WorkerSnapshot| {
            finding::worker_stuck(worker.id, worker.turn.as_ref()?, snapshot.at_ns)
        };
        let stacks = &snapshot.stacks;
        let mut found: Vec<Finding> = snapshot.workers.iter().filter_map(stuck).collect();
        found.extend(self.rings.long_turns.found(snapshot.at_ns));
        let lost = self.rings.turns_lost + self.rings.steals_lost + self.rings.absences_lost;
        found.extend(self.events_lost.at(snapshot.at_ns, lost));
        found.extend(finding::stack_limit(stacks.waiting, stacks.limit));
        let held = &mut self.hostage_deadlocks;
        let read = self
            .handle
            .hostage_deadlocks(held.cursor, &mut held.reports);
        held.cursor = read.next;
        found.extend(held.found(&snapshot.monitor, snapshot.at_ns));
        found
    }
}

impl Slow {
    const fn new() -> Slow {
        Slow {
            measured: None,
            cpu_ratio: None,
            residency: None,
            residency_budget: Budget::every(SLOW_NS),
            trim_budget: Budget::every(SLOW_NS),
        }
    }

    fn take(&mut self, handle: &Handle, clock: &ThreadClock, now_ns: u64) {
        let residency = self
            .residency_budget
            .spend(now_ns, || handle.sample_residency(RESIDENCY_ROUTINES));
        if let Some(residency) = residency {
            self.residency = residency;
        }
        // The runtime has no thread of its own that looks round now and then; this one does.
        self.trim_budget.spend(now_ns, || {
            handle.trim_parked_stacks(LONG_PARKED, TRIM_ROUTINES)
        });
        let Some((measured_ns, cpu_before)) = self.measured else {
            self.measured = Some((now_ns, clock.cpu_ns()));
            return;
        };
        if now_ns - measured_ns >= SLOW_NS {
            let cpu_ns = clock.cpu_ns();
            let used = cpu_before.zip(cpu_ns);
            self.cpu_ratio = used
                .and_then(|(before, after)| per_second(before, after, now_ns - measured_ns))
                .map(|ns| ns / 1e9);
            self.measured = Some((now_ns, cpu_ns));
        }
    }
}

fn wall(at_ns: u64) -> SystemTime {
    time::process_start() + Duration::from_nanos(at_ns)
}
