//! Reads what the Openwork runtime publishes: samples, history, timelines, profiles, findings.
//!
//! One plain thread, the sampler, takes a numbered [`Sample`] ten times a second while somebody
//! watches and once a second otherwise. Everything that shows a figure shows it from a sample, so
//! two places that name the same sample number show the same figures. Samples carry cumulative
//! totals; a reader who missed some loses resolution, never a count.
//!
//! This crate knows neither HTTP nor JSON: it hands out plain values.
//!
//! - [`Observatory`]: the sampler, its history, and the price of watching.
//! - [`lanes`]: who ran where in a tick; [`timeline`]: the same for any stretch still recorded.
//! - [`catalogue`]: every metric with its unit, kind and one sentence.
//! - [`finding`]: the few sentences that are worth saying unasked.
//! - [`profile`]: CPU, heap and routine profiles as pprof files, icicles and text.

#![forbid(unsafe_code)]

mod budget;
pub mod catalogue;
pub mod finding;
mod history;
pub mod lanes;
mod observatory;
mod process;
pub mod profile;
mod rate;
mod rings;
mod sample;
mod sampler;
pub mod timeline;
mod waiting;

pub use observatory::{Observatory, StartError, ViewerGuard};
pub use rate::per_second;
pub use sample::{Extra, Sample, Watching};
