//! The handle of a run.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use openwork::{Handle, JoinHandle, Workload};

use crate::block::Block;
use crate::difficulty::Difficulty;

use super::ledger::{Ledger, MineProgress, Share};
use super::{MineError, Mode, ended_early};

/// A run under way. A `Future` of its end, to be awaited in a future routine or by an async runtime.
///
/// It resolves only when every miner has ended and every append is decided, so nothing changes any
/// more. Dropping it cancels nothing.
#[derive(Debug)]
#[must_use = "the run's outcome is told here only"]
pub struct MineRun {
    root: Option<JoinHandle<()>>,
    /// Miners that a cancelled root has left.
    left: Vec<JoinHandle<()>>,
    ledger: Arc<Ledger>,
    workload: Workload,
    handle: Handle,
}

/// Looks at a run without owning its end.
#[derive(Debug, Clone)]
pub struct MineWatch {
    ledger: Arc<Ledger>,
}

/// How a run ended.
pub type MineEnd = Result<MineOutcome, Box<MineFailure>>;

/// The figures of a run that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct MineOutcome {
    /// The blocks it appended, in the order of the chain.
    pub blocks: Vec<Arc<Block>>,
    /// From its start until its last miner had ended and its last block was durable.
    pub duration: Duration,
    /// How its routines shared the work.
    pub mode: Mode,
    /// Number of mining routines asked for.
    pub routines: u32,
    /// Bits searched for.
    pub difficulty: Difficulty,
    /// Attempts per turn.
    pub yield_every: u64,
    /// Length of the chain afterwards, genesis included, whoever appended.
    pub total_blocks: u64,
    /// Nonces tried.
    pub attempts: u64,
    /// Attempts per second over the whole run; `None` when it was too short to measure.
    pub hashes_per_sec: Option<f64>,
    /// Attempts that could not lead to a block any more, because another block had come first, or in
    /// a race because another routine had won. Counted in pieces of 1,024 attempts, so an upper
    /// bound.
    pub attempts_on_old_tips: u64,
    /// Times a routine went on from a new head.
    pub rebases: u64,
    /// Turns that ended without a block and gave the worker back.
    pub yields: u64,
    /// What each routine did, by number. Routines that were never spawned are missing.
    pub shares: Vec<Share>,
}

/// A run that ended without all its blocks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct MineFailure {
    /// The first thing that went wrong.
    pub error: MineError,
    /// What had been done by then. Its blocks are in the chain and stay there.
    pub so_far: MineOutcome,
}

impl MineRun {
    pub(super) fn new(
        root: JoinHandle<()>,
        ledger: Arc<Ledger>,
        workload: Workload,
        handle: Handle,
    ) -> MineRun {
        MineRun {
            root: Some(root),
            left: Vec::new(),
            ledger,
            workload,
            handle,
        }
    }

    /// How far it is.
    pub fn progress(&self) -> MineProgress {
        self.ledger.progress()
    }

    /// A view of the run that can be kept elsewhere.
    pub fn watch(&self) -> MineWatch {
        MineWatch {
            ledger: Arc::clone(&self.ledger),
        }
    }

    /// Cancels every routine of the run's workload. Each ends with its present turn; the run then
    /// ends with [`MineError::Cancelled`], unless all its blocks had been appended.
    pub fn cancel(&self) {
        self.workload.cancel(&self.handle);
    }

    /// Blocks the calling thread until the run has ended. Not for routines, where it would hold the
    /// worker that the miners need: await the run there.
    pub fn wait(mut self) -> MineEnd {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(end) = Pin::new(&mut self).poll(&mut context) {
                return end;
            }
            thread::park();
        }
    }
}

impl Future for MineRun {
    type Output = MineEnd;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<MineEnd> {
        if let Some(root) = &mut self.root {
            let Poll::Ready(joined) = Pin::new(root).poll(context) else {
                return Poll::Pending;
            };
            self.root = None;
            self.left = self.ledger.take_left();
            if let Err(error) = joined {
                self.ledger.fail(ended_early(&error));
            }
        }
        while let Some(miner) = self.left.last_mut() {
            let Poll::Ready(joined) = Pin::new(miner).poll(context) else {
                return Poll::Pending;
            };
            self.left.pop();
            if let Err(error) = joined {
                self.ledger.fail(ended_early(&error));
            }
        }
        // The root spawns every miner, so from here on none is added.
        self.ledger.poll_settled(context).map(|()| self.end())
    }
}

impl MineRun {
    fn end(&self) -> MineEnd {
        let ledger = &self.ledger;
        let request = ledger.request();
        let shares = ledger.shares();
        let attempts = ledger.progress().attempts;
        let duration = ledger.duration();
        let seconds = duration.as_secs_f64();
        let outcome = MineOutcome {
            blocks: ledger.blocks(),
            duration,
            mode: request.mode,
            routines: request.routines,
            difficulty: request.difficulty,
            yield_every: request.yield_every,
            total_blocks: ledger.chain().length(),
            attempts,
            hashes_per_sec: (seconds > 0.0).then(|| attempts as f64 / seconds),
            attempts_on_old_tips: ledger.attempts_late(),
            rebases: shares.iter().map(|share| share.rebases).sum(),
            yields: shares.iter().map(|share| share.yields).sum(),
            shares,
        };
        match ledger.error() {
            Some(error) if outcome.blocks.len() as u64 != request.blocks() => {
                Err(Box::new(MineFailure {
                    error,
                    so_far: outcome,
                }))
            }
            _ => Ok(outcome),
        }
    }
}

impl MineWatch {
    /// How far the run is.
    pub fn progress(&self) -> MineProgress {
        self.ledger.progress()
    }

    /// The blocks it has appended by now, in the order of the chain.
    pub fn blocks(&self) -> Vec<Arc<Block>> {
        self.ledger.blocks()
    }
}
