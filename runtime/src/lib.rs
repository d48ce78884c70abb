//! Stackful routines on work-stealing workers, made to be watched.
//!
//! A *routine* is a piece of concurrent work with a stack of its own: it blocks where it likes, and
//! the thread below it goes on with others. A *worker* is a scheduling slot with queues; a *home* is
//! what a started routine is bound to: an OS thread or, with
//! [`RuntimeBuilder::travelling_homes`], a thread identity that travels with it. Fresh routines and turn loops are
//! stolen between workers; started ones stay at home, which is what makes the safe API sound.
//!
//! ```
//! use openwork::{Runtime, scope, spawn, time};
//! use std::time::Duration;
//!
//! let rt = Runtime::builder().workers(2).build().unwrap();
//! let total = rt.block_on(|| {
//!     let child = spawn(|| {
//!         time::sleep(Duration::from_millis(1)); // blocks the routine, not the thread
//!         40
//!     });
//!     let data = [1, 1];
//!     let parts: i32 = scope(|s| {
//!         let halves: Vec<_> = data.chunks(1).map(|half| s.spawn(move || half[0])).collect();
//!         halves.into_iter().map(|h| h.join().unwrap()).sum()
//!     });
//!     child.join().unwrap() + parts
//! });
//! assert_eq!(total, 42);
//! ```
//!
//! What hurts users of stackful routines is told in `docs/hazards.md`, how workers search and park
//! in `docs/scheduler.md`.

#![cfg_attr(
    any(
        stackless,
        not(all(feature = "balance", feature = "growth", feature = "preemption"))
    ),
    allow(
        dead_code,
        reason = "what is left out is cut off where it is called, in few places"
    )
)]

mod block_on;
mod blocking;
mod build_info;
mod builder;
mod cancel;
pub mod channel;
pub mod config;
mod current;
pub mod deterministic;
#[cfg(not(stackless))]
pub mod fs;
mod handle;
mod hold;
mod homes;
mod id;
#[cfg(not(stackless))]
pub mod io;
mod join;
mod local;
pub mod memory;
mod monitor;
#[cfg(not(stackless))]
pub mod net;
#[cfg_attr(stackless, path = "no_poller.rs")]
mod poller;
mod prefetch;
mod primitives;
mod priority;
#[cfg(not(stackless))]
pub mod process;
pub mod profile;
mod routine;
mod runtime;
mod scheduler;
mod scope;
mod segment;
#[doc(hidden)]
pub mod select;
#[cfg(not(portable))]
mod signals;
pub mod snapshot;
mod spawn;
mod stack;
pub mod sync;
mod thread_state;
pub mod time;
mod token;
mod topology;
mod trace;
mod try_scope;
mod turns;
mod workload;

pub use block_on::{block_on, try_block_on};
pub use blocking::{
    BlockingTimeoutError, blocking, blocking_deadline, blocking_timeout, spawn_blocking,
    try_blocking,
};
pub use build_info::{BuildInfo, Feature, Switch, build_info};
pub use builder::{BuildError, DEFAULT_HOMES, RuntimeBuilder};
pub use cancel::Cancelled;
pub use current::{Current, checkpoint, current, current_worker, is_cancelled, yield_now};
pub use handle::Handle;
pub use hold::hold_thread;
pub use id::{RoutineId, WorkerId, WorkloadId};
pub use join::{JoinError, JoinHandle, StackOverflow};
pub use local::{LocalError, RoutineLocal};
pub use priority::Priority;
pub use runtime::{Remaining, Runtime};
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use segment::{SegmentError, with_segment};
pub use spawn::{Builder, SpawnError, spawn, spawn_future, spawn_turns};
pub use token::{CancelCause, CancelToken, WaitError};
pub use try_scope::{
    Failure, FailureKind, Failures, PanicReport, ScopeError, TryJoinError, TryScope,
    TryScopedJoinHandle, try_scope,
};
pub use turns::Turn;
pub use workload::{Workload, WorkloadCounters};

/// What happens when a routine runs over its stack: a report that names it, then SIGABRT.
pub mod overflow {
    pub use crate::stack::overflow::report_to;
}

// WebAssembly cannot unwind: there a panic ends the program.
#[cfg(not(any(panic = "unwind", stackless)))]
compile_error!("openwork needs panic = \"unwind\": a panic ends one routine, and so does a cancel");

#[cfg(all(stackless, target_feature = "atomics"))]
compile_error!(
    "openwork has no stacks here, and runs routines on one thread only: build without threads"
);
