//! In place of the CPU sampler's signal where there is none, or where it would find routines on threads that
//! it does not know: nothing is sampled, and whoever asks is told so.

use std::io;
use std::time::Duration;

use super::ring::SampleRing;

/// Threads that can be sampled at once.
pub(super) const STATIONS: usize = 0;

/// Whether this build can sample.
pub(super) const SUPPORTED: bool = false;

/// There is none.
#[derive(Debug)]
pub(super) enum Timer {}

impl Timer {
    /// Refuses.
    pub(super) fn start(_: i32, _: Duration, _: usize, _: SampleRing) -> io::Result<Timer> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn ring(&self) -> &SampleRing {
        match *self {}
    }

    pub(super) fn station(&self) -> usize {
        match *self {}
    }

    pub(super) fn disarm(&mut self) {
        match *self {}
    }
}

/// Not known.
pub(super) fn cpu_time(_: i32) -> Option<Duration> {
    None
}

/// What stands in the way of the handler.
#[allow(dead_code, reason = "the other build's reasons")]
pub(super) enum InstallError {
    Replaced,
    Os(io::Error),
}

/// Refuses.
pub(super) fn install() -> Result<(), InstallError> {
    Err(InstallError::Os(io::ErrorKind::Unsupported.into()))
}
