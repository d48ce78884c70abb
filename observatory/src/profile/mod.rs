//! Profiles: stacks with figures, as pprof files, icicles and text.
//!
//! Every profile becomes a [`Report`]: equal stacks folded together, a fixed number of values each,
//! and remarks on what was skipped or lost. What a report is shown as (a pprof file, an icicle) is
//! the same code for all of them. Addresses become names only when a report is shown.

pub mod cpu;
mod fold;
pub mod heap;
mod icicle;
mod mappings;
mod proto;
pub mod routines;
mod symbol;
mod text;

pub use fold::{Frame, Label, Report, Stack, ValueKind};
pub use icicle::{Icicle, Node};
pub use symbol::{Function, Symbols};
