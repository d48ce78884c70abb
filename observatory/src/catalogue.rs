//! Every metric: its name, unit, kind, one sentence, and how it is read from a sample.
//!
//! One table, from which the Prometheus text, its documentation and its tests are made. Names
//! follow Prometheus: base units, `_total` for counters. Labels are bounded: workers, states and
//! reasons, never a routine.

use openwork::snapshot::{HandOff, Source, WaitReason};

use crate::sample::Sample;

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its whole name, with `_total` where it is a counter.
    pub name: &'static str,
    /// What a value of 1 is.
    pub unit: Unit,
    /// Whether it only grows.
    pub kind: Kind,
    /// Names of its labels, in the order of [`Point::labels`].
    pub labels: &'static [&'static str],
    /// One sentence for a person.
    pub help: &'static str,
    read: fn(&Sample, &mut Points),
}

/// What a value of 1 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Parts of a whole, from 0 to 1.
    Ratio,
    /// Hashes a second.
    HashesPerSecond,
}

impl Unit {
    /// The word for it in data.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::Bytes => "bytes",
            Unit::Seconds => "seconds",
            Unit::Ratio => "ratio",
            Unit::HashesPerSecond => "hashes_per_second",
        }
    }
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A value, as exact as it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count.
    Integer(u64),
    /// A ratio, a rate or a number of seconds.
    Real(f64),
}

impl Value {
    /// As a floating-point number; exact up to 2^53.
    pub fn as_f64(self) -> f64 {
        match self {
            Value::Integer(value) => value as f64,
            Value::Real(value) => value,
        }
    }
}

/// One value of a metric and the values of its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// In the order of [`Metric::labels`].
    pub labels: Vec<String>,
    /// The figure.
    pub value: Value,
}

impl Metric {
    /// The metric's values in a sample. None at all when it could not be measured: an absent figure
    /// is not 0.
    pub fn read(&self, sample: &Sample) -> Vec<Point> {
        let mut points = Points::default();
        (self.read)(sample, &mut points);
        points.0
    }
}

/// Collects what a metric's reader finds.
#[derive(Default)]
struct Points(Vec<Point>);

impl Points {
    fn count(&mut self, labels: &[&str], value: u64) {
        self.push(labels, Value::Integer(value));
    }

    fn real(&mut self, labels: &[&str], value: f64) {
        self.push(labels, Value::Real(value));
    }

    fn maybe(&mut self, value: Option<u64>) {
        if let Some(value) = value {
            self.count(&[], value);
        }
    }

    fn by_worker(&mut self, values: impl IntoIterator<Item = u64>) {
        for (worker, value) in values.into_iter().enumerate() {
            self.count(&[&worker.to_string()], value);
        }
    }

    fn seconds_by_worker(&mut self, nanoseconds: impl IntoIterator<Item = u64>) {
        for (worker, ns) in nanoseconds.into_iter().enumerate() {
            self.real(&[&worker.to_string()], seconds(ns));
        }
    }

    fn push(&mut self, labels: &[&str], value: Value) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.0.push(Point { labels, value });
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

const WORKER: &[&str] = &["worker"];

macro_rules! metrics {
    ($($name:literal $unit:ident $kind:ident $labels:expr, $help:literal, $read:expr;)*) => {
        /// All metrics, in the order in which they are shown.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            unit: Unit::$unit,
            kind: Kind::$kind,
            labels: $labels,
            help: $help,
            read: $read,
        }),*];
    };
}

metrics! {
    "openwork_sample_number" Count Gauge &[],
        "Number of the sample that all figures here come from.",
        |s, p| p.count(&[], s.n);
    "openwork_workers" Count Gauge &[],
        "Workers that are meant to be in service.",
        |s, p| p.count(&[], s.snapshot.resizing.active);
    "openwork_workers_max" Count Gauge &[],
        "Most workers that there may be.",
        |s, p| p.count(&[], s.snapshot.resizing.max);
    "openwork_workers_leaving" Count Gauge &[],
        "Workers that are to go out of service when their turn is over.",
        |s, p| p.count(&[], s.snapshot.resizing.leaving);
    "openwork_worker_resizes_total" Count Counter &[],
        "Times that the number of workers was changed.",
        |s, p| p.count(&[], s.snapshot.resizing.resizes);
    "openwork_worker_handed_on_total" Count Counter &[],
        "Routines that waited with a worker that went out of service, and were handed on.",
        |s, p| p.count(&[], s.snapshot.resizing.moved);
    "openwork_worker_queue_depth" Count Gauge WORKER,
        "Routines ready to run on a worker: LIFO slot, deque and inbox, without the one that runs.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.queue_depth()));
    "openwork_injector_depth" Count Gauge &[],
        "Routines in the injector.",
        |s, p| p.count(&[], s.snapshot.injector_depth);
    "openwork_turns_total" Count Counter &["worker", "source"],
        "Turns run, by where the worker found the routine.",
        |s, p| for worker in &s.snapshot.workers {
            for (source, turns) in Source::ALL.iter().zip(worker.turns_by_source) {
                p.count(&[&worker.id.to_string(), source.name()], turns);
            }
        };
    "openwork_steal_attempts_total" Count Counter WORKER,
        "Looks of a worker into another one's deque.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.steal_attempts));
    "openwork_steals_total" Count Counter WORKER,
        "Looks that took at least one routine.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.steals));
    "openwork_stolen_total" Count Counter &["worker", "victim"],
        "Routines that a worker took from another one's deque.",
        |s, p| for worker in &s.snapshot.workers {
            for (victim, stolen) in worker.stolen_from.iter().enumerate() {
                p.count(&[&worker.id.to_string(), &victim.to_string()], *stolen);
            }
        };
    "openwork_parks_total" Count Counter WORKER,
        "Times a worker went to sleep.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.parks));
    "openwork_wakes_total" Count Counter WORKER,
        "Times a worker woke another one.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.wakes));
    "openwork_yields_total" Count Counter WORKER,
        "Times a routine gave way of its own accord.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.yields));
    "openwork_keyed_total" Count Counter WORKER,
        "Routines that came to a worker to start because of their key.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.keyed));
    "openwork_worker_busy_seconds_total" Seconds Counter WORKER,
        "Time that a worker spent in turns.",
        |s, p| p.seconds_by_worker(s.snapshot.workers.iter().map(|w| w.busy_ns));
    "openwork_worker_searching_seconds_total" Seconds Counter WORKER,
        "Time that a worker spent looking for work.",
        |s, p| p.seconds_by_worker(s.snapshot.workers.iter().map(|w| w.searching_ns));
    "openwork_routines_spawned_total" Count Counter &[],
        "Routines spawned.",
        |s, p| p.count(&[], s.snapshot.routines.spawned);
    "openwork_routines_ended_total" Count Counter &["result"],
        "Routines ended, by how.",
        |s, p| {
            let r = &s.snapshot.routines;
            p.count(&["returned"], r.ended.saturating_sub(r.panicked + r.cancelled));
            p.count(&["panicked"], r.panicked);
            p.count(&["cancelled"], r.cancelled);
        };
    "openwork_routines" Count Gauge &["state"],
        "Live routines, by state.",
        |s, p| {
            let r = &s.snapshot.routines;
            let states = [("new", r.new), ("runnable", r.runnable), ("running", r.running), ("blocked", r.blocked)];
            for (state, count) in states {
                p.count(&[state], count);
            }
        };
    "openwork_routines_blocked" Count Gauge &["reason"],
        "Blocked routines, by what they wait for; those that wait for a stack are still new and not blocked.",
        |s, p| for (reason, count) in WaitReason::ALL.iter().zip(s.snapshot.routines.blocked_by) {
            p.count(&[reason.name()], count);
        };
    "openwork_oldest_runnable_seconds" Seconds Gauge &[],
        "For how long the routine that waits longest for a worker has waited; absent with too many routines to walk.",
        |s, p| if let Some(ns) = s.oldest_runnable_ns {
            p.real(&[], seconds(ns));
        };
    "openwork_threads" Count Gauge &[],
        "Threads that run routines: with a worker, waiting for one, or spare.",
        |s, p| p.count(&[], s.snapshot.threads.total);
    "openwork_threads_without_worker" Count Gauge &["state"],
        "Threads without a worker: spare, away in the kernel, or frozen.",
        |s, p| {
            let t = &s.snapshot.threads;
            for (state, count) in [("spare", t.spare), ("away", t.away), ("frozen", t.frozen)] {
                p.count(&[state], count);
            }
        };
    "openwork_threads_unbound" Count Gauge &[],
        "Spare threads to which no routine is bound.",
        |s, p| p.count(&[], s.snapshot.threads.unbound);
    "openwork_suspect_sites" Count Gauge &[],
        "Places in the program whose routines start on a thread to which nothing is bound.",
        |s, p| p.count(&[], s.snapshot.threads.suspect_sites);
    "openwork_started_beside_total" Count Counter &[],
        "Fresh routines that were to start on another thread when none was there for it.",
        |s, p| p.count(&[], s.snapshot.threads.beside);
    "openwork_homes_wanting" Count Gauge &[],
        "Homes that want a worker.",
        |s, p| p.count(&[], s.snapshot.threads.wanting);
    "openwork_threads_limit" Count Gauge &[],
        "Most threads that there may be.",
        |s, p| p.count(&[], s.snapshot.threads.limit);
    "openwork_hand_offs_total" Count Counter &["reason"],
        "Times that a worker changed threads.",
        |s, p| for (reason, count) in HandOff::ALL.iter().zip(s.snapshot.threads.handed_off_by) {
            p.count(&[reason.name()], count);
        };
    "openwork_threads_started_total" Count Counter &[],
        "Threads that were started to have some spare.",
        |s, p| p.count(&[], s.snapshot.threads.started);
    "openwork_threads_retired_total" Count Counter &[],
        "Threads that have gone because nobody needed them.",
        |s, p| p.count(&[], s.snapshot.threads.retired);
    "openwork_preempt_total" Count Counter &["outcome"],
        "Turns asked to give way, and what came of it: honoured at a safe point, frozen by a signal, deferred inside the runtime, stale, or at the cap of threads.",
        |s, p| {
            let m = &s.snapshot.monitor;
            let outcomes = [
                ("requested", m.requested), ("honoured", m.honoured), ("forced", m.forced),
                ("deferred", m.deferred), ("stale", m.stale), ("at_cap", m.at_cap),
            ];
            for (outcome, count) in outcomes {
                p.count(&[outcome], count);
            }
        };
    "openwork_workers_retaken_total" Count Counter &[],
        "Workers taken from threads that sleep in the kernel.",
        |s, p| p.count(&[], s.snapshot.monitor.retaken);
    "openwork_frozen_released_total" Count Counter &[],
        "Frozen threads that were let go without a worker, because nothing else got on.",
        |s, p| p.count(&[], s.snapshot.monitor.released);
    "openwork_hostages" Count Gauge &[],
        "Routines that are ready to run while their thread is stopped or asleep.",
        |s, p| p.count(&[], s.snapshot.monitor.hostages);
    "openwork_hostage_deadlocks_total" Count Counter &[],
        "Threads found asleep on what a routine bound to them most likely holds.",
        |s, p| p.count(&[], s.snapshot.monitor.hostage_deadlocks);
    "openwork_monitor_looks_total" Count Counter &[],
        "Times that the monitor looked round.",
        |s, p| p.count(&[], s.snapshot.monitor.looks);
    "openwork_monitor_cpu_seconds_total" Seconds Counter &[],
        "Processor time of the monitor; absent while it is off.",
        |s, p| if let Some(ns) = s.snapshot.monitor.cpu_ns {
            p.real(&[], seconds(ns));
        };
    "openwork_timers_pending" Count Gauge WORKER,
        "Deadlines that a worker keeps.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.timers.pending));
    "openwork_timers_served_total" Count Counter WORKER,
        "Deadlines served.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.timers.served));
    "openwork_timers_cancelled_total" Count Counter WORKER,
        "Deadlines taken back, because the wait ended early.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.timers.cancelled));
    "openwork_timer_late_max_seconds" Seconds Gauge WORKER,
        "The longest time by which a worker served a deadline late, since the process began.",
        |s, p| p.seconds_by_worker(s.snapshot.workers.iter().map(|w| w.timers.late_max_ns));
    "openwork_io_sockets" Count Gauge &["backend"],
        "Sockets that the poller watches, by how it asks the kernel; absent before the first.",
        |s, p| if let Some(io) = &s.snapshot.io {
            p.count(&[io.backend.name()], io.sockets);
        };
    "openwork_io_waits_total" Count Counter &[],
        "Times a worker slept in the poller.",
        |s, p| p.maybe(s.snapshot.io.map(|io| io.waits));
    "openwork_io_looks_total" Count Counter &[],
        "Times a worker looked into the poller without sleeping.",
        |s, p| p.maybe(s.snapshot.io.map(|io| io.looks));
    "openwork_io_events_total" Count Counter &[],
        "Events that the poller took from the kernel.",
        |s, p| p.maybe(s.snapshot.io.map(|io| io.events));
    "openwork_io_readied_total" Count Counter &[],
        "Waiters that the poller's events have woken.",
        |s, p| p.maybe(s.snapshot.io.map(|io| io.readied));
    "openwork_io_late_total" Count Counter &[],
        "Events that came when their socket had gone.",
        |s, p| p.maybe(s.snapshot.io.map(|io| io.late));
    "openwork_blocking_threads" Count Gauge &["state"],
        "Threads of the pool for blocking calls.",
        |s, p| {
            let pool = &s.snapshot.blocking;
            p.count(&["idle"], pool.idle);
            p.count(&["busy"], pool.threads.saturating_sub(pool.idle));
        };
    "openwork_blocking_threads_limit" Count Gauge &[],
        "Most threads that the pool may have.",
        |s, p| p.count(&[], s.snapshot.blocking.limit);
    "openwork_blocking_jobs" Count Gauge &["state"],
        "Blocking calls that run, and those that wait for a thread.",
        |s, p| {
            p.count(&["running"], s.snapshot.blocking.running);
            p.count(&["queued"], s.snapshot.blocking.queued);
        };
    "openwork_blocking_jobs_ended_total" Count Counter &["result"],
        "Blocking calls that are over: done, or withdrawn before they began.",
        |s, p| {
            p.count(&["done"], s.snapshot.blocking.done);
            p.count(&["withdrawn"], s.snapshot.blocking.withdrawn);
        };
    "openwork_blocking_threads_started_total" Count Counter &[],
        "Threads of the pool that were started.",
        |s, p| p.count(&[], s.snapshot.blocking.started);
    "openwork_blocking_threads_retired_total" Count Counter &[],
        "Threads of the pool that ended because they had nothing to do.",
        |s, p| p.count(&[], s.snapshot.blocking.retired);
    "openwork_blocking_threads_refused_total" Count Counter &[],
        "Threads for the pool that the system would not start.",
        |s, p| p.count(&[], s.snapshot.blocking.refused);
    "openwork_blocking_wait_max_seconds" Seconds Gauge &[],
        "The longest that a blocking call has waited for a thread, since the process began.",
        |s, p| p.real(&[], seconds(s.snapshot.blocking.longest_wait_ns));
    "openwork_stacks_in_use" Count Gauge &[],
        "Stacks that a routine uses.",
        |s, p| p.count(&[], s.snapshot.stacks.in_use);
    "openwork_stacks_pooled" Count Gauge &[],
        "Stacks that workers keep for the next routine.",
        |s, p| p.count(&[], s.snapshot.stacks.pooled);
    "openwork_stacks_limit" Count Gauge &[],
        "Most stacks at once; absent when unbounded.",
        |s, p| p.maybe(s.snapshot.stacks.limit);
    "openwork_stack_waiting" Count Gauge &[],
        "Routines that wait for a stack before their first turn.",
        |s, p| p.count(&[], s.snapshot.stacks.waiting);
    "openwork_stack_growths_total" Count Counter WORKER,
        "Times a routine was seen to have grown its stack past another power of two.",
        |s, p| p.by_worker(s.snapshot.workers.iter().map(|w| w.stack_growths));
    "openwork_stack_reserved_bytes" Bytes Gauge &[],
        "Address space reserved for stacks; not memory.",
        |s, p| p.count(&[], s.snapshot.stacks.reserved_bytes);
    "openwork_stack_slots" Count Gauge &["bytes", "state"],
        "Stacks by size and by what they do: in use, kept warm, or waiting without memory.",
        |s, p| for class in &s.snapshot.stack_classes {
            let bytes = class.slot_bytes.to_string();
            for (state, count) in [("in_use", class.in_use), ("pooled", class.pooled), ("free", class.free)] {
                p.count(&[&bytes, state], count);
            }
        };
    "openwork_stack_shrinks_total" Count Counter &[],
        "Times that memory was taken from a stack that goes on.",
        |s, p| p.count(&[], s.snapshot.stacks.shrinks);
    "openwork_stack_shrunk_bytes_total" Bytes Counter &[],
        "Bytes given back by shrinking stacks.",
        |s, p| p.count(&[], s.snapshot.stacks.shrunk_bytes);
    "openwork_stack_segments" Count Gauge &[],
        "Stacks that routines have beside their own, for a deep call.",
        |s, p| p.count(&[], s.snapshot.stacks.segments);
    "openwork_stack_segments_entered_total" Count Counter &[],
        "Such stacks so far.",
        |s, p| p.count(&[], s.snapshot.stacks.segments_entered);
    "openwork_heap_allocated_bytes_total" Bytes Counter &[],
        "Bytes allocated; absent without the counting allocator.",
        |s, p| p.maybe(s.memory.map(|m| m.allocated_bytes));
    "openwork_heap_freed_bytes_total" Bytes Counter &[],
        "Bytes freed; absent without the counting allocator.",
        |s, p| p.maybe(s.memory.map(|m| m.freed_bytes));
    "openwork_heap_allocations_total" Count Counter &[],
        "Allocations; absent without the counting allocator.",
        |s, p| p.maybe(s.memory.map(|m| m.allocated_objects));
    "openwork_heap_frees_total" Count Counter &[],
        "Frees; absent without the counting allocator.",
        |s, p| p.maybe(s.memory.map(|m| m.freed_objects));
    "openwork_heap_live_bytes" Bytes Gauge &[],
        "Bytes allocated and not freed; absent without the counting allocator.",
        |s, p| p.maybe(s.memory.map(|m| m.allocated_bytes.saturating_sub(m.freed_bytes)));
    "openwork_heap_live_objects" Count Gauge &[],
        "Blocks allocated and not freed; absent without the counting allocator.",
        |s, p| p.maybe(s.memory.map(|m| m.allocated_objects.saturating_sub(m.freed_objects)));
    "openwork_hashes_total" Count Counter WORKER,
        "Hashes computed in search of a block.",
        |s, p| p.by_worker(s.extra.hashes.iter().copied());
    "openwork_hash_rate_baseline" HashesPerSecond Gauge &[],
        "Hashes a second of one thread in a bare loop, measured at the start.",
        |s, p| if let Some(rate) = s.extra.baseline_hashes_per_sec {
            p.real(&[], rate);
        };
    "openwork_blocks_appended_total" Count Counter &[],
        "Blocks appended to the chain since the process began.",
        |s, p| p.count(&[], s.extra.blocks_appended);
    "openwork_chain_length" Count Gauge &[],
        "Blocks in the chain.",
        |s, p| p.count(&[], s.extra.chain_length);
    "openwork_runs_running" Count Gauge &[],
        "Runs that have begun and not ended.",
        |s, p| p.count(&[], s.extra.runs_running);
    "openwork_viewers" Count Gauge &[],
        "Viewers connected.",
        |s, p| p.count(&[], s.watching.viewers);
    "openwork_sampler_cpu_ratio" Ratio Gauge &[],
        "Part of one processor that the sampler used in the last second.",
        |s, p| if let Some(ratio) = s.watching.sampler_cpu_ratio {
            p.real(&[], ratio);
        };
    "openwork_events_bytes_sent_total" Bytes Counter &[],
        "Bytes sent to viewers.",
        |s, p| p.count(&[], s.watching.bytes_sent);
    "openwork_samples_skipped_total" Count Counter &[],
        "Samples that slow viewers did not get.",
        |s, p| p.count(&[], s.watching.samples_skipped);
    "openwork_viewers_closed_total" Count Counter &[],
        "Viewers closed because they took nothing for 10 s.",
        |s, p| p.count(&[], s.watching.viewers_closed);
    "openwork_turns_lost_total" Count Counter &[],
        "Turns overwritten before the sampler read them, while someone watched.",
        |s, p| p.count(&[], s.watching.turns_lost);
    "openwork_steals_lost_total" Count Counter &[],
        "Steals overwritten before the sampler read them, while someone watched.",
        |s, p| p.count(&[], s.watching.steals_lost);
    "openwork_absences_lost_total" Count Counter &[],
        "Absences of threads overwritten before the sampler read them, while someone watched.",
        |s, p| p.count(&[], s.watching.absences_lost);
    "process_cpu_seconds_total" Seconds Counter &[],
        "Processor time of the process, user and system.",
        |s, p| if let Some(ns) = s.process_cpu_ns {
            p.real(&[], seconds(ns));
        };
    "process_resident_memory_bytes" Bytes Gauge &[],
        "Resident memory of the process.",
        |s, p| p.maybe(s.rss_bytes);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// What Prometheus asks of names; a scrape that breaks these rules is refused or misread.
    #[test]
    fn names_follow_prometheus() {
        let mut seen = HashSet::new();
        for metric in METRICS {
            let name = metric.name;
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            assert_eq!(
                metric.kind == Kind::Counter,
                name.ends_with("_total"),
                "{name}"
            );
            let stem = name.strip_suffix("_total").unwrap_or(name);
            // A family has no suffix, so a gauge and a counter of one stem would be one family of two types.
            assert!(seen.insert(stem), "{name} twice");
            let unit_named = match metric.unit {
                Unit::Bytes => stem.ends_with("_bytes") || stem.contains("_bytes_"),
                Unit::Seconds => stem.ends_with("_seconds"),
                Unit::Ratio => stem.ends_with("_ratio"),
                Unit::Count | Unit::HashesPerSecond => true,
            };
            assert!(
                unit_named,
                "{name} does not name its unit {:?}",
                metric.unit
            );
            assert!(
                metric.help.ends_with('.'),
                "{name}: the help is one sentence"
            );
        }
    }
}
