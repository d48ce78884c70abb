//! How far a run is, without promising what nobody knows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a run is.
///
/// Only `done` of `total` is a share. A search has no memory: after a million attempts the next one is as likely to
/// find a block as the first was, so `attempts` beside `expected_attempts` is a chance and never a percentage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units to do, where that is known.
    pub total: Option<u64>,
    /// What is counted: `blocks`, `attempts`, `allocations`, `objects`, `routines`, `seconds` or `turns`.
    pub unit: String,
    /// Hashes tried, for a run that mines.
    pub attempts: Option<u64>,
    /// Hashes that such a search takes on average.
    pub expected_attempts: Option<f64>,
}

impl Progress {
    /// Of a run that was accepted and is not under way.
    pub fn not_begun() -> Progress {
        Progress {
            done: 0,
            total: None,
            unit: "routines".to_owned(),
            attempts: None,
            expected_attempts: None,
        }
    }

    /// `done` of `total` `unit`s.
    pub fn of(done: u64, total: u64, unit: &str) -> Progress {
        Progress {
            done,
            total: Some(total),
            unit: unit.to_owned(),
            attempts: None,
            expected_attempts: None,
        }
    }
}

/// Reads how far a run is. Called about ten times a second while somebody watches, on any thread: it reads counters and
/// takes no lock for long.
pub type Meter = Box<dyn Fn() -> Progress + Send + Sync>;
