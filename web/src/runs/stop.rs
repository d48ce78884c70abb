//! Why a run ends before it is done.

use std::time::Duration;

use super::record::RunState;
use crate::error::{ApiError, Code};

/// Why a run was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// `DELETE`, or `POST …/cancel`.
    Asked,
    /// The client of a synchronous run closed its connection.
    ClientGone,
    /// The service is ending.
    Draining,
    /// It took longer than a run may.
    TimedOut,
}

impl Stop {
    /// The state of a run that ended so.
    pub(super) fn state(self) -> RunState {
        match self {
            Stop::TimedOut => RunState::TimedOut,
            Stop::Asked | Stop::ClientGone | Stop::Draining => RunState::Cancelled,
        }
    }

    /// What a client is told whose run ended so; `timeout` is the longest time of a run.
    pub(super) fn error(self, timeout: Duration) -> ApiError {
        let (code, detail) = match self {
            Stop::Asked => (Code::Cancelled, "the run was cancelled".into()),
            Stop::ClientGone => (
                Code::Cancelled,
                "the client went away before the run ended".into(),
            ),
            Stop::Draining => (
                Code::Draining,
                "the service is ending, and the run did not end in time".into(),
            ),
            Stop::TimedOut => (
                Code::RunTimeout,
                format!("the run took longer than {} s", timeout.as_secs_f64()),
            ),
        };
        ApiError::new(code, detail)
    }
}
