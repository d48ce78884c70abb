//! The runtimes that are compared, each with its own form of every bench.
//!
//! A peer's programs have the same shape as ours, in the words that its users would choose: where Go
//! hands a value over a channel, a `JoinHandle` may give it here. What is not the same is said beside the
//! program. Every body runs in a routine (task, coroutine), never on the main thread.

mod countdown;
#[cfg(feature = "peers")]
mod may;
mod ours;
mod ours_steal;
mod ours_waiting;
mod sleepers;
mod threads;
#[cfg(feature = "peers")]
mod tokio;

use std::fmt;
use std::str::FromStr;

use crate::catalogue::{Bench, Id, Workers};
use crate::go;
use crate::measure::Figure;

/// A runtime to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// This project's runtime.
    Openwork,
    /// Go's, when a `go` is on the path.
    Go,
    /// tokio's multi-thread runtime, with the feature `peers`.
    Tokio,
    /// may's coroutines, with the feature `peers`.
    May,
    /// Threads of the operating system, with the standard library's channels and locks, or those of
    /// crossbeam where it has none and the feature `peers` is on.
    Threads,
}

/// How large, and on how many workers.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Workers: Go's `GOMAXPROCS`, tokio's worker threads. Threads share one processor when it is 1.
    pub workers: usize,
    /// Operations.
    pub size: u64,
    /// Whether our workers record turns and thefts.
    pub recorder: bool,
}

/// Makes one measurement, with so many operations and workers.
type Body = fn(u64, u64) -> Vec<Figure>;

/// The same with a runtime of its own.
type Program = fn(&Setup) -> Vec<Figure>;

impl Peer {
    /// Every peer, ours first.
    pub const ALL: [Peer; 5] = [
        Peer::Openwork,
        Peer::Go,
        Peer::Tokio,
        Peer::May,
        Peer::Threads,
    ];

    /// The name on the command line and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Peer::Openwork => "openwork",
            Peer::Go => "go",
            Peer::Tokio => "tokio",
            Peer::May => "may",
            Peer::Threads => "std",
        }
    }

    /// Whether this program was built with the peer. Go is not built in.
    pub const fn is_built_in(self) -> bool {
        match self {
            Peer::Openwork | Peer::Threads => true,
            Peer::Tokio | Peer::May => cfg!(feature = "peers"),
            Peer::Go => false,
        }
    }

    /// Whether the peer has a form of this bench for so many workers.
    pub fn offers(self, bench: &Bench, workers: usize) -> bool {
        let fits = match bench.workers {
            Workers::Any => true,
            Workers::One => workers == 1,
            Workers::Two => workers == 2,
        };
        fits && match self {
            Peer::Go => go::PROGRAMS.contains(&bench.name),
            Peer::Openwork => own(bench.id).is_some() || ours::body(bench.id).is_some(),
            Peer::Threads => is_echo(bench.id) || threads::body(bench.id).is_some(),
            Peer::Tokio | Peer::May => self.foreign(bench.id).is_some(),
        }
    }

    #[cfg(feature = "peers")]
    fn foreign(self, id: Id) -> Option<Program> {
        match self {
            Peer::Tokio => tokio::program(id),
            Peer::May => may::program(id),
            _ => None,
        }
    }

    #[cfg(not(feature = "peers"))]
    fn foreign(self, _: Id) -> Option<Program> {
        None
    }

    /// Measures once in this process, with a runtime of its own; nothing when the peer has no such bench.
    pub(crate) fn measure(self, bench: &Bench, setup: &Setup) -> Option<Vec<Figure>> {
        if !self.offers(bench, setup.workers) {
            return None;
        }
        match self {
            Peer::Openwork => match own(bench.id) {
                Some(program) => Some(program(setup)),
                None => Some(ours::on_runtime(setup, ours::body(bench.id)?)),
            },
            Peer::Threads if is_echo(bench.id) => Some(threads::echo(setup)),
            Peer::Threads => Some(threads::on_thread(setup, threads::body(bench.id)?)),
            _ => Some(self.foreign(bench.id)?(setup)),
        }
    }

    /// Measures once in the calling routine, which may be cancelled: ours on its runtime, threads on one
    /// of their own that it waits for. Others have no such form.
    pub(crate) fn measure_here(
        self,
        bench: &Bench,
        size: u64,
        workers: u64,
    ) -> Option<Vec<Figure>> {
        match self {
            Peer::Openwork => Some(ours::body(bench.id)?(size, workers)),
            Peer::Threads => {
                let body = threads::body(bench.id)?;
                let (tx, rx) = openwork::channel::bounded(1);
                // The routine that waits may have been cancelled.
                std::thread::spawn(move || drop(tx.send(body(size, workers))));
                Some(ours::got(rx.recv()))
            }
            _ => None,
        }
    }
}

/// Our programs that are no body of one routine.
fn own(id: Id) -> Option<Program> {
    match id {
        Id::Steal => Some(ours_steal::steal),
        Id::Echo50 | Id::Echo1000 => Some(ours_waiting::echo),
        _ => None,
    }
}

fn is_echo(id: Id) -> bool {
    matches!(id, Id::Echo50 | Id::Echo1000)
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No peer has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no peer is called `{0}`: there are openwork, go, tokio, may and std")]
pub struct UnknownPeer(String);

impl FromStr for Peer {
    type Err = UnknownPeer;

    fn from_str(name: &str) -> Result<Peer, UnknownPeer> {
        Peer::ALL
            .into_iter()
            .find(|peer| peer.name() == name)
            .ok_or_else(|| UnknownPeer(name.to_owned()))
    }
}
