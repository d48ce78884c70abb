//! Watching directories where the system does not tell what happens in them by a descriptor: nothing is watched, and
//! whoever asks is told so.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::change::Change;

/// Would watch a directory.
///
/// # Errors
/// Of kind [`Unsupported`](io::ErrorKind::Unsupported): this system has no inotify.
pub fn watch(_: impl AsRef<Path>) -> io::Result<Watcher> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "directories are watched by inotify, which Linux alone has",
    ))
}

/// Tells of changes: on this system there is none.
#[derive(Debug)]
pub struct Watcher(Infallible);

impl Watcher {
    /// As on Linux.
    ///
    /// # Errors
    /// None.
    pub fn add(&mut self, _: impl AsRef<Path>) -> io::Result<()> {
        match self.0 {}
    }

    /// As on Linux.
    ///
    /// # Errors
    /// None.
    pub fn next_change(&mut self) -> io::Result<Change> {
        match self.0 {}
    }

    /// As on Linux.
    ///
    /// # Errors
    /// None.
    pub fn next_change_timeout(&mut self, _: Duration) -> io::Result<Option<Change>> {
        match self.0 {}
    }

    /// As on Linux.
    ///
    /// # Errors
    /// None.
    pub fn next_change_deadline(&mut self, _: Instant) -> io::Result<Option<Change>> {
        match self.0 {}
    }
}

impl Iterator for Watcher {
    type Item = io::Result<Change>;

    fn next(&mut self) -> Option<io::Result<Change>> {
        match self.0 {}
    }
}
