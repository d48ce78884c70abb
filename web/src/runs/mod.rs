//! Runs: everything that this service does at somebody's request and that takes time.
//!
//! A run has an id from the moment it is accepted, whether its client waits for the answer or not; so what curl starts
//! appears on the page at once. [`Registry::admit`] makes the record and takes one of the places, [`Admitted::launch`]
//! sets the work going and hands back a [`Ticket`]. A ticket that is dropped cancels its run: that is how a synchronous
//! run ends with its client. [`answer`](answer::answer) turns a ticket into a response, or into `202 Accepted` for a
//! client that prefers to come back.

pub mod answer;
mod progress;
mod record;
mod registry;
mod stop;
mod store;
mod ticket;
pub mod workload;

pub use progress::{Meter, Progress};
pub use record::{Counters, Json, RunId, RunKind, RunRecord, RunSource, RunState};
pub use registry::{Registry, Settings};
pub use stop::Stop;
pub use store::{FILE_NAME, StoreError};
pub use ticket::{Admitted, Ended, Failure, Outcome, Ticket};
