//! The table of benches: what each asks, how large it is, and what it is to reach.

use crate::measure::{CPU, TIME};
use crate::peer::Peer;

/// Which bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each has its question in the table")]
pub enum Id {
    SpawnRun,
    SpawnBatch,
    SpawnJoin,
    SpawnFuture,
    SpawnFutureJoin,
    Create,
    YieldAlone,
    YieldPair,
    Pingpong,
    ChanSelf,
    Mpmc,
    Mpsc,
    Select,
    MutexUncontended,
    MutexContended,
    Skynet10k,
    Skynet1m,
    Parked,
    Unstarted,
    Timers20k,
    Timers100k,
    TimersBusy,
    Echo50,
    Echo1000,
    Steal,
    Sha256,
}

/// A bench as data.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Which.
    pub id: Id,
    /// Its name on the command line.
    pub name: &'static str,
    /// A name for it and its relatives.
    pub group: &'static str,
    /// What it asks, in a sentence.
    pub question: &'static str,
    /// What `time` is the time of.
    pub operation: &'static str,
    /// How many operations one measurement makes.
    pub size: u64,
    /// The same in the short form that the dashboard runs; `None`: it has none.
    pub short: Option<u64>,
    /// With how many workers it makes sense.
    pub workers: Workers,
    /// Figure to look at first.
    pub figure: &'static str,
    /// What the figure is to be, at most, as a share of a peer's.
    pub goals: &'static [Goal],
}

/// With how many workers a bench makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// With any number.
    Any,
    /// With one alone.
    One,
    /// With two alone.
    Two,
}

/// What a figure of ours is to be at most, as a share of the same figure of a peer, or as a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The figure.
    pub figure: &'static str,
    /// The bound.
    pub at_most: Limit,
}

/// The bound of a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many times the figure of this peer.
    Of(Peer, f64),
    /// This value, in the figure's unit.
    Value(f64),
}

const fn of(peer: Peer, share: f64) -> Goal {
    Goal {
        figure: TIME,
        at_most: Limit::Of(peer, share),
    }
}

const fn figure_of(figure: &'static str, peer: Peer, share: f64) -> Goal {
    Goal {
        figure,
        at_most: Limit::Of(peer, share),
    }
}

const fn value(figure: &'static str, bound: f64) -> Goal {
    Goal {
        figure,
        at_most: Limit::Value(bound),
    }
}

/// Every bench, in the order in which they are listed and run.
pub const CATALOGUE: &[Bench] = &[
    Bench {
        id: Id::SpawnRun,
        name: "spawn_run",
        group: "spawn",
        question: "What does a routine cost, from spawn to end, when a million are spawned at once?",
        operation: "routine",
        size: 1_000_000,
        short: Some(200_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.35), of(Peer::Tokio, 0.35)],
    },
    Bench {
        id: Id::SpawnBatch,
        name: "spawn_batch",
        group: "spawn",
        question: "What does it cost in batches of a thousand, each awaited?",
        operation: "routine",
        size: 1_000_000,
        short: Some(200_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 1.0)],
    },
    Bench {
        id: Id::SpawnJoin,
        name: "spawn_join",
        group: "spawn",
        question: "What does it cost to spawn one routine and to wait for its value?",
        operation: "spawn and join",
        size: 500_000,
        short: Some(100_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.5)],
    },
    Bench {
        id: Id::SpawnFuture,
        name: "spawn_future",
        group: "spawn",
        question: "What does a future as a routine cost, in batches of a thousand?",
        operation: "future",
        size: 1_000_000,
        short: Some(200_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Tokio, 1.0)],
    },
    Bench {
        id: Id::SpawnFutureJoin,
        name: "spawn_future_join",
        group: "spawn",
        question: "What does it cost to spawn one future and to await its value in another?",
        operation: "spawn and await",
        size: 500_000,
        short: Some(100_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Tokio, 1.0)],
    },
    Bench {
        id: Id::Create,
        name: "create",
        group: "spawn",
        question: "How long until a new routine has begun on a stack never used before, and how long from spawn to \
                   join on one that was?",
        operation: "routine",
        size: 5_000,
        short: Some(2_000),
        workers: Workers::Any,
        figure: "warm_p50",
        goals: &[
            value("warm_p50", 1_000.0),
            figure_of("warm_p50", Peer::Threads, 0.1),
        ],
    },
    Bench {
        id: Id::YieldAlone,
        name: "yield_alone",
        group: "yield",
        question: "What does it cost to give way when nobody else wants to run?",
        operation: "yield",
        size: 2_000_000,
        short: Some(1_000_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.2)],
    },
    Bench {
        id: Id::YieldPair,
        name: "yield_pair",
        group: "yield",
        question: "What does it cost two routines to give way to each other?",
        operation: "yield",
        size: 4_000_000,
        short: Some(1_000_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.45)],
    },
    Bench {
        id: Id::Pingpong,
        name: "pingpong",
        group: "channel",
        question: "What does a round trip between two routines cost, over channels without room?",
        operation: "round trip",
        size: 500_000,
        short: Some(100_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.35)],
    },
    Bench {
        id: Id::ChanSelf,
        name: "chan_self",
        group: "channel",
        question: "What does a value cost through a channel that nobody else uses?",
        operation: "send and receive",
        size: 5_000_000,
        short: Some(1_000_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.5)],
    },
    Bench {
        id: Id::Mpmc,
        name: "mpmc",
        group: "channel",
        question: "What does a value cost from four senders to four receivers, over room for 128?",
        operation: "value",
        size: 2_000_000,
        short: Some(400_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.7)],
    },
    Bench {
        id: Id::Mpsc,
        name: "mpsc",
        group: "channel",
        question: "What does a value cost from four senders to one receiver, over room for 128?",
        operation: "value",
        size: 2_000_000,
        short: Some(400_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.7)],
    },
    Bench {
        id: Id::Select,
        name: "select",
        group: "channel",
        question: "What does a value cost that is selected from two channels, each with a sender of its own?",
        operation: "select",
        size: 1_000_000,
        short: Some(200_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.8)],
    },
    Bench {
        id: Id::MutexUncontended,
        name: "mutex_uncontended",
        group: "lock",
        question: "What does it cost to take and release a lock that nobody else wants?",
        operation: "lock and unlock",
        size: 10_000_000,
        short: Some(2_000_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[value(TIME, 8.0)],
    },
    Bench {
        id: Id::MutexContended,
        name: "mutex_contended",
        group: "lock",
        question: "What does a lock cost that eight routines want all the time?",
        operation: "lock and unlock",
        size: 4_000_000,
        short: Some(1_000_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 1.0)],
    },
    Bench {
        id: Id::Skynet10k,
        name: "skynet_10k",
        group: "tree",
        question: "How long does a tree of routines take that has ten children a node and 10,000 leaves?",
        operation: "leaf",
        size: 10_000,
        short: Some(10_000),
        workers: Workers::Any,
        figure: TIME,
        goals: &[],
    },
    Bench {
        id: Id::Skynet1m,
        name: "skynet_1m",
        group: "tree",
        question: "How long does the same tree take with a million leaves?",
        operation: "leaf",
        size: 1_000_000,
        short: None,
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Go, 0.5)],
    },
    Bench {
        id: Id::Parked,
        name: "parked",
        group: "memory",
        question: "How much memory does a routine hold that waits at a channel, with its share of the page tables?",
        operation: "routine",
        size: 1_000_000,
        short: None,
        workers: Workers::Any,
        figure: "bytes",
        goals: &[value("bytes", 4505.6), figure_of("bytes", Peer::Go, 1.6)],
    },
    Bench {
        id: Id::Unstarted,
        name: "unstarted",
        group: "memory",
        question: "How much memory does a routine hold that was spawned and has not begun?",
        operation: "routine",
        size: 1_000_000,
        short: None,
        workers: Workers::One,
        figure: "bytes",
        goals: &[value("bytes", 256.0)],
    },
    Bench {
        id: Id::Timers20k,
        name: "timers_20k",
        group: "timers",
        question: "How late do 20,000 sleepers wake, whose deadlines lie within 100 ms?",
        operation: "sleeper",
        size: 20_000,
        short: Some(20_000),
        workers: Workers::Any,
        figure: "late_p99",
        goals: &[figure_of("late_p99", Peer::Go, 1.0)],
    },
    Bench {
        id: Id::Timers100k,
        name: "timers_100k",
        group: "timers",
        question: "How late do 100,000 sleepers wake, whose deadlines lie within 100 ms?",
        operation: "sleeper",
        size: 100_000,
        short: None,
        workers: Workers::Any,
        figure: "late_p99",
        goals: &[figure_of("late_p99", Peer::Go, 1.0)],
    },
    Bench {
        id: Id::TimersBusy,
        name: "timers_busy",
        group: "timers",
        question: "How late do 2,000 sleepers wake while 64 routines compute and give way every 20 us?",
        operation: "sleeper",
        size: 2_000,
        short: Some(2_000),
        workers: Workers::Any,
        figure: "late_p99",
        goals: &[figure_of("late_p99", Peer::Go, 1.0)],
    },
    Bench {
        id: Id::Echo50,
        name: "echo_50",
        group: "net",
        question: "How many requests a second does a TCP echo server answer on 50 connections?",
        operation: "request",
        size: 50,
        short: None,
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Tokio, 1.0)],
    },
    Bench {
        id: Id::Echo1000,
        name: "echo_1000",
        group: "net",
        question: "How many requests a second does a TCP echo server answer on 1,000 connections?",
        operation: "request",
        size: 1_000,
        short: None,
        workers: Workers::Any,
        figure: TIME,
        goals: &[of(Peer::Tokio, 1.0)],
    },
    Bench {
        id: Id::Steal,
        name: "steal",
        group: "steal",
        question: "What does a theft cost, when all work lies with a worker that does not run it?",
        operation: "theft",
        size: 1_000_000,
        short: None,
        workers: Workers::Two,
        figure: "theft",
        goals: &[value("theft", 200.0)],
    },
    Bench {
        id: Id::Sha256,
        name: "sha256",
        group: "cpu",
        question: "What does a double SHA-256 of 80 bytes cost, which routine or thread is to compute?",
        operation: "hash",
        size: 4_000_000,
        short: Some(1_000_000),
        workers: Workers::Any,
        figure: CPU,
        goals: &[figure_of(CPU, Peer::Threads, 1.01)],
    },
];

/// The benches that `name` means: one, those of a group, or with `all` each.
pub fn named(name: &str) -> Vec<&'static Bench> {
    CATALOGUE
        .iter()
        .filter(|bench| name == "all" || bench.name == name || bench.group == name)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_means_one_bench_and_no_group() {
        let names: HashSet<_> = CATALOGUE.iter().map(|bench| bench.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        for bench in CATALOGUE {
            let found = named(bench.name);
            // A bench may be the only one of its group.
            assert!(
                found
                    .iter()
                    .all(|other| other.name == bench.name || other.group == bench.name)
            );
            assert!(found.iter().any(|other| other.id == bench.id));
        }
    }

    #[test]
    fn a_group_means_its_benches_and_all_means_each() {
        assert_eq!(named("lock").len(), 2);
        assert_eq!(named("all").len(), CATALOGUE.len());
        assert!(named("").is_empty());
    }
}
