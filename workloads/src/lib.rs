//! Programs that keep routines busy: stress, benchmarks on native memory, crowds, labs, faults.
//!
//! Each is an ordinary user of the public API of [`openwork`], with nothing that a reader could not
//! write too, and all have one shape:
//!
//! 1. a `Request` of plain numbers with its [`Bound`](limits::Bound)s beside it;
//! 2. a pure `check`, which turns a request into a `Plan` or names the limit that it breaks;
//! 3. `start`, which puts one *root routine* into the runtime from outside and returns a [`Run`].
//!
//! The root enters through the injector and spawns the other routines itself, so they all begin in
//! one worker's queue and the other workers have to steal them: that is what a person came to see.
//! No turn is meant to hold a worker for more than about 10 ms, unless the request asks for a hog or a lab.
//!
//! What a run allocated and freed is counted by its own [`Workload`](openwork::Workload); two runs
//! at once do not see each other's bytes. A figure that cannot be measured is `None`.
#![forbid(unsafe_code)]

pub mod benchmark;
pub mod collect;
pub mod crowd;
pub mod faults;
pub mod finalizers;
pub mod labs;
pub mod limits;
pub mod soak;
pub mod stress;

mod churn;
mod host;
mod latency;
mod own;
mod pattern;
mod run;
mod shelf;

pub use host::{available_memory, rss_bytes};
pub use latency::Latency;
pub use own::OwnMemory;
pub use pattern::{Pattern, UnknownPattern};
pub use run::{Progress, Run, RunError, Watch};

/// The programs of these pages, compiled and run as documentation tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/hazards.md")]
    mod hazards {}
    #[doc = include_str!("../../docs/from-go.md")]
    mod from_go {}
    #[doc = include_str!("../../README.md")]
    mod readme {}
}
