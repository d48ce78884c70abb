//! Where a fresh routine starts: with its spawner, where its key sends it, or as the placement says ([`chosen`](super)).

use std::panic::Location;

use crate::config::Placement;
use crate::priority::Priority;
use crate::scheduler::Shared;
use crate::snapshot::RoutineKind;

/// The queue that a fresh routine goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The spawner's deque, or from outside the injector.
    Here,
    /// With this worker, from which others may steal it.
    On(usize),
    /// With this worker, because of a key.
    Keyed(usize),
}

/// What a placement may know of a routine before there is one.
pub(crate) struct Newcomer<'a> {
    pub(crate) name: &'a str,
    pub(crate) site: &'static Location<'static>,
    pub(crate) kind: RoutineKind,
    pub(crate) priority: Priority,
    pub(crate) key: Option<u64>,
    /// The number of its own workload; 0 if it has the spawner's.
    pub(crate) workload: u64,
}

impl Shared {
    /// Whether a newcomer without a key starts with its spawner, whatever it is.
    #[inline]
    pub(crate) fn all_start_here(&self) -> bool {
        self.tunables.places(Placement::Local)
    }

    /// Where `newcomer` starts. May run the user's code, so not while anything is held.
    #[inline(never)]
    pub(crate) fn start_of(&self, newcomer: &Newcomer<'_>) -> Start {
        if let Some(key) = newcomer.key {
            self.balance.use_assigned();
            return Start::Keyed(self.worker_of_key(key));
        }
        match self.tunables.placement() {
            Placement::Local => Start::Here,
            // Other levels have queues of their own, which all workers share.
            _ if newcomer.priority != Priority::Normal => Start::Here,
            other => {
                self.balance.use_assigned();
                self.place(other, newcomer)
            }
        }
    }
}
