//! The account of a run.
//!
//! Everything that has to outlive a miner is kept here, because a miner may be cancelled at any
//! turn's end while a block of its own is on the way to the disk. A run is *settled* when every
//! miner has ended and every append is decided; only then are its figures final.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use openwork::{JoinHandle, RoutineId, WorkerId};

use crate::block::{Block, MinedBy};
use crate::chain::Chain;
use crate::meter::HashMeter;
use crate::receipt::{Receipt, receipt};

use super::search::Look;
use super::{MineError, MineRequest};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MineProgress {
    /// Blocks appended, and durable, by now.
    pub blocks: u64,
    /// Blocks that the run is to append: N in chain mode, 1 in a race.
    pub blocks_total: u64,
    /// Attempts made by now.
    pub attempts: u64,
    /// Attempts that such a run takes on average. A race has no other measure of progress, and none
    /// of how much is left: the search has no memory.
    pub expected_attempts: u64,
}

/// What one mining routine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The number `<i>` in its name `miner-<i>` and in its block's data.
    pub number: u32,
    /// Its id; `None` when it was cancelled before its first turn.
    pub routine: Option<RoutineId>,
    /// Nonces tried.
    pub attempts: u64,
    /// Turns that ended without a block and gave the worker back.
    pub yields: u64,
    /// Times it went on from a new head.
    pub rebases: u64,
    /// Blocks appended.
    pub blocks: u64,
}

/// Shared by the root, the miners, the writer (through completions) and the run's handle.
#[derive(Debug)]
pub(super) struct Ledger {
    chain: Chain,
    meter: Arc<HashMeter>,
    request: MineRequest,
    started: Instant,
    attempts: AtomicU64,
    attempts_late: AtomicU64,
    blocks: AtomicU64,
    /// The miners are to end: the race is won, or the run has failed.
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In order of appending.
    blocks: Vec<Arc<Block>>,
    /// Of miners that have ended.
    shares: Vec<Share>,
    /// Miners that have not ended, and appends that are not decided.
    unsettled: usize,
    /// When `unsettled` last became 0.
    settled_at: Option<Instant>,
    error: Option<MineError>,
    waker: Option<Waker>,
    /// Miners for which nobody waits any more, as the one who did was cancelled.
    left: Vec<JoinHandle<()>>,
}

impl Ledger {
    pub(super) fn new(chain: Chain, meter: Arc<HashMeter>, request: MineRequest) -> Ledger {
        Ledger {
            chain,
            meter,
            request,
            started: Instant::now(),
            attempts: AtomicU64::new(0),
            attempts_late: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    pub(super) fn request(&self) -> &MineRequest {
        &self.request
    }

    pub(super) fn progress(&self) -> MineProgress {
        MineProgress {
            blocks: self.blocks.load(Ordering::Relaxed),
            blocks_total: self.request.blocks(),
            attempts: self.attempts.load(Ordering::Relaxed),
            expected_attempts: self.request.expected_attempts(),
        }
    }

    pub(super) fn attempts_late(&self) -> u64 {
        self.attempts_late.load(Ordering::Relaxed)
    }

    pub(super) fn blocks(&self) -> Vec<Arc<Block>> {
        self.lock().blocks.clone()
    }

    /// By number of the miner.
    pub(super) fn shares(&self) -> Vec<Share> {
        let mut shares = self.lock().shares.clone();
        shares.sort_unstable_by_key(|share| share.number);
        shares
    }

    /// From the start of the run until it was settled, or until now.
    pub(super) fn duration(&self) -> Duration {
        let end = self.lock().settled_at.unwrap_or_else(Instant::now);
        end.duration_since(self.started)
    }

    pub(super) fn error(&self) -> Option<MineError> {
        self.lock().error.clone()
    }

    /// Makes the miners end at their next look.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Ends the run because of `error`, unless it has failed already: the first reason counts.
    pub(super) fn fail(&self, error: MineError) {
        self.lock().error.get_or_insert(error);
        self.stop();
    }

    /// Appends `block`. It is entered in the account whether or not somebody waits for the receipt.
    pub(super) fn append(self: &Arc<Self>, block: Block) -> Receipt {
        let (answer, receipt) = receipt();
        let pending = Unsettled::new(self);
        let completion = move |appended: Result<Arc<Block>, _>| {
            if let Ok(block) = &appended {
                pending.ledger.blocks.fetch_add(1, Ordering::Relaxed);
                pending.ledger.lock().blocks.push(Arc::clone(block));
            }
            answer.send(appended);
            drop(pending);
        };
        self.chain.submit(Arc::new(block), Box::new(completion));
        receipt
    }

    /// Leaves miners to whoever waits for the run.
    pub(super) fn leave(&self, miners: Vec<JoinHandle<()>>) {
        self.lock().left.extend(miners);
    }

    /// The miners that were left.
    pub(super) fn take_left(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.lock().left)
    }

    /// Ready when all miners have ended and all appends are decided.
    pub(super) fn poll_settled(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.unsettled == 0 {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// No code under this lock panics half-way, so poison carries no news.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that the run is not settled without.
struct Unsettled {
    ledger: Arc<Ledger>,
}

impl Unsettled {
    fn new(ledger: &Arc<Ledger>) -> Unsettled {
        ledger.lock().unsettled += 1;
        Unsettled {
            ledger: Arc::clone(ledger),
        }
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.ledger.lock();
            state.unsettled -= 1;
            if state.unsettled > 0 {
                return;
            }
            state.settled_at = Some(Instant::now());
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A miner's place in the account: enters what it did when it ends, in whatever way it ends.
pub(super) struct Seat {
    unsettled: Unsettled,
    share: Share,
}

impl Seat {
    pub(super) fn new(ledger: &Arc<Ledger>, number: u32) -> Seat {
        let share = Share {
            number,
            routine: None,
            attempts: 0,
            yields: 0,
            rebases: 0,
            blocks: 0,
        };
        Seat {
            unsettled: Unsettled::new(ledger),
            share,
        }
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.unsettled.ledger
    }

    pub(super) fn number(&self) -> u32 {
        self.share.number
    }

    /// To be called at the beginning of each turn.
    pub(super) fn arrive(&mut self) {
        if self.share.routine.is_none() {
            self.share.routine = openwork::current().map(|current| current.routine);
        }
    }

    /// Enters the attempts of a piece and what the look after it has shown, which is passed on.
    pub(super) fn count(&mut self, attempts: u64, look: Look) -> Look {
        let ledger = &self.unsettled.ledger;
        self.share.attempts += attempts;
        ledger.attempts.fetch_add(attempts, Ordering::Relaxed);
        if look == Look::TipMoved {
            ledger.attempts_late.fetch_add(attempts, Ordering::Relaxed);
        }
        ledger.meter.add(worker().map(WorkerId::get), attempts);
        look
    }

    pub(super) fn count_yield(&mut self) {
        self.share.yields += 1;
    }

    pub(super) fn count_rebase(&mut self) {
        self.share.rebases += 1;
    }

    pub(super) fn count_block(&mut self) {
        self.share.blocks += 1;
    }

    /// This routine, on the worker it runs on at this moment.
    pub(super) fn mined_by(&self) -> Option<MinedBy> {
        let routine = self.share.routine?.get();
        let worker = worker()?.get();
        Some(MinedBy { routine, worker })
    }
}

/// The worker that runs the caller; the one that did last, if that was taken while the thread slept in the kernel.
fn worker() -> Option<WorkerId> {
    openwork::current_worker().or_else(|| openwork::current().map(|current| current.worker))
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Before `unsettled` is dropped: a settled run has all its shares.
        self.unsettled.ledger.lock().shares.push(self.share);
    }
}
