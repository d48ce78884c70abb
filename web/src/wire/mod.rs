//! What the service shows, as JSON: the only place where measured things become field names.
//!
//! Every page, stream and table that shows a figure of a sample renders it through [`Tick`], so equal sample numbers
//! give equal figures by construction. A figure that could not be measured is `null`.

mod bench;
mod block;
mod build;
mod config;
mod extra;
mod lanes;
mod outside;
mod threads;
mod tick;
mod words;

pub use bench::{BenchMachine, BenchResult, bench_json};
pub use block::{BlockEvent, BlockWire};
pub use build::{
    Available, Build, FeatureWire, HomesNow, PollerChoice, Strategies, TopologyWire,
    TravellingHomes,
};
pub use config::{ConfigChanged, ConfigWire, SettingChange, differences};
pub use extra::extra;
pub use lanes::{AbsenceWire, CellWire, Lanes, Sites, StealWire};
pub use outside::{BlockingPool, Io, Timers};
pub use threads::{ByHandOff, HostageDeadlockWire, LatencyWire, Monitor, ThreadsNow};
pub use tick::{
    ByReason, BySource, ChainTip, FindingWire, Memory, Mining, Routines, RunsNow, Stacks, Tick,
    WatchingNow, Worker, steal_matrix, workers,
};
pub use words::{go_duration, mb, mb_per_sec, ms, rfc3339, site};
