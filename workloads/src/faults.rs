//! Routines that go wrong on purpose, for people who want to see what happens then.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

use openwork::{Handle, SpawnError, Workload};
use thiserror::Error;

use crate::run::{Run, Watch};

/// How a routine goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It panics: it alone ends, the service goes on.
    Panic,
    /// It recurses until its stack ends: the process reports the routine by name and spawn site, and
    /// aborts.
    Overflow,
}

/// A text that names no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown kind `{0}`: use panic or overflow")]
pub struct UnknownKind(pub String);

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 2] = [Kind::Panic, Kind::Overflow];

    /// The name used in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Panic => "panic",
            Kind::Overflow => "overflow",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Kind, UnknownKind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// Starts a routine that goes wrong as `kind` says.
///
/// A panic is found by joining. An overflow ends the process with `SIGABRT`, so joining never
/// returns.
///
/// # Errors
/// When the runtime takes no new routine.
pub fn start(handle: &Handle, kind: Kind, workload: &Workload) -> Result<Run<()>, SpawnError> {
    let watch = Watch::new(1, "routines");
    let name = match kind {
        Kind::Panic => "fault-panic",
        Kind::Overflow => "fault-overflow",
    };
    Run::start(name, handle, workload, watch, move |_| match kind {
        Kind::Panic => panic!("a panic was asked for"),
        Kind::Overflow => {
            descend(1);
            Ok(())
        }
    })
}

/// Goes deeper until no stack is left. Each frame holds 512 bytes that the optimiser cannot remove,
/// and is needed after the call, so the recursion cannot become a loop.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth as u8; 512]);
    match black_box(depth) {
        u64::MAX => 0,
        _ => descend(depth + 1) + u64::from(frame[depth as usize % 512]),
    }
}
