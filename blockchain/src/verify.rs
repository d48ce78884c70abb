//! Recomputing the whole chain.
//!
//! Nothing is believed: each record must be readable, its fields, header and hash must agree
//! (`record`), the block must follow the one before it, and the last one must be the end that the
//! chain's own record names. The walk can be interrupted after any number of blocks. It takes a
//! fresh snapshot for each stretch instead of holding one, because an old snapshot would keep the
//! database from reusing pages while others append; what was durable when the walk began does not
//! change any more, so the stretches fit together.

use std::time::{Duration, Instant};

use crate::block::Block;
use crate::chain::Chain;
use crate::error::ReadError;
use crate::listing::Order;
use crate::reason::Reason;
use crate::record::{Previous, check_place, decode};
use crate::store::{Fault, Snapshot, TipRecord};

/// The first block of a chain that is not as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstBad {
    /// Its place in the chain.
    pub index: u64,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// Whether every block is as it was appended.
    pub valid: bool,
    /// Blocks found good, from genesis on.
    pub blocks: u64,
    /// Time from the start of the verification to its end, pauses included.
    pub duration: Duration,
    /// The first bad block; `None` exactly when `valid`.
    pub first_bad: Option<FirstBad>,
}

/// A verification that is under way.
#[derive(Debug)]
pub struct Verification {
    chain: Chain,
    started: Instant,
    /// `None` before the first step.
    walk: Option<Walk>,
}

impl Verification {
    /// Prepares to verify the blocks that are durable at the first step.
    pub fn new(chain: &Chain) -> Verification {
        Verification {
            chain: chain.clone(),
            started: Instant::now(),
            walk: None,
        }
    }

    /// Verifies up to `blocks` further blocks. `None` means that there are more.
    ///
    /// # Errors
    ///
    /// [`ReadError::Storage`] when the store fails; damage is a result, not an error.
    pub fn step(&mut self, blocks: u64) -> Result<Option<VerifyReport>, ReadError> {
        let snapshot = match self.chain.snapshot() {
            Ok(snapshot) => snapshot,
            Err(Fault::Damaged(message)) => {
                let index = self.walk.as_ref().map_or(0, Walk::good);
                let reason = Reason::Database { message };
                return Ok(Some(self.report(Some(FirstBad { index, reason }))));
            }
            Err(fault) => return Err(fault.into_storage_error().into()),
        };
        let walk = self.walk.get_or_insert_with(|| Walk::new(&snapshot));
        match walk.advance(&snapshot, blocks) {
            Ok(Stretch::More) => Ok(None),
            Ok(Stretch::End) => Ok(Some(self.report(None))),
            Err(Broken::Bad(bad)) => Ok(Some(self.report(Some(bad)))),
            Err(Broken::Fault(fault)) => Err(fault.into_storage_error().into()),
        }
    }

    fn report(&self, first_bad: Option<FirstBad>) -> VerifyReport {
        VerifyReport {
            valid: first_bad.is_none(),
            blocks: self.walk.as_ref().map_or(0, Walk::good),
            duration: self.started.elapsed(),
            first_bad,
        }
    }
}

/// Verifies the whole chain on the calling thread.
///
/// # Errors
///
/// [`ReadError::Storage`] when the store fails; damage is a result, not an error.
pub fn verify(chain: &Chain) -> Result<VerifyReport, ReadError> {
    let mut verification = Verification::new(chain);
    loop {
        if let Some(report) = verification.step(STRETCH_BLOCKS)? {
            return Ok(report);
        }
    }
}

/// Blocks per snapshot where nobody asks for pauses: enough to make the snapshot's cost vanish.
const STRETCH_BLOCKS: u64 = 10_000;

/// A walk along stored blocks, from genesis to the end that was recorded when it began.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The end to reach; `None` when the store has no record of it.
    tip: Option<TipRecord>,
    /// The last block found good.
    last: Option<Block>,
    /// Sum of the sizes of the good records.
    bytes: u64,
}

/// How far a stretch came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// There are more blocks to look at.
    More,
    /// All blocks are good.
    End,
}

/// Why a walk ended early.
#[derive(Debug)]
pub(crate) enum Broken {
    Bad(FirstBad),
    Fault(Fault),
}

impl Walk {
    pub(crate) fn new(snapshot: &Snapshot) -> Walk {
        Walk {
            tip: snapshot.tip,
            last: None,
            bytes: 0,
        }
    }

    /// Number of blocks found good: the index of the next one to look at.
    pub(crate) fn good(&self) -> u64 {
        self.last.as_ref().map_or(0, |block| block.index + 1)
    }

    /// The last good block.
    pub(crate) fn last(&self) -> Option<&Block> {
        self.last.as_ref()
    }

    /// Sum of the sizes of the good records.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Looks at up to `count` further blocks.
    pub(crate) fn advance(&mut self, snapshot: &Snapshot, count: u64) -> Result<Stretch, Broken> {
        let stop_at = self.good().saturating_add(count);
        let mut bad = None;
        let mut paused = false;
        let visited = snapshot.visit(self.good().., Order::Ascending, |index, record| {
            // Blocks appended since the walk began are not its business.
            if self.tip.is_some_and(|tip| self.good() >= tip.length) {
                return false;
            }
            if self.good() == stop_at {
                paused = true;
                return false;
            }
            match self.check(index, record) {
                Ok(block) => {
                    self.bytes += record.len() as u64;
                    self.last = Some(block);
                    true
                }
                Err(reason) => {
                    bad = Some(reason);
                    false
                }
            }
        });
        match visited {
            Ok(()) => {}
            Err(Fault::Damaged(message)) => bad = Some(Reason::Database { message }),
            Err(fault) => return Err(Broken::Fault(fault)),
        }
        match bad {
            Some(reason) => Err(self.bad(self.good(), reason)),
            None if paused => Ok(Stretch::More),
            None => self.check_end(snapshot).map(|()| Stretch::End),
        }
    }

    fn check(&self, index: u64, record: &[u8]) -> Result<Block, Reason> {
        let place = self.good();
        if index != place {
            return Err(Reason::Missing {
                length: self.tip.map_or(index + 1, |tip| tip.length),
            });
        }
        let block = decode(record)?;
        check_place(&block, place, self.last.as_ref().map(Previous::from))?;
        Ok(block)
    }

    /// All stored blocks up to the recorded end were good; is the end itself?
    fn check_end(&self, snapshot: &Snapshot) -> Result<(), Broken> {
        let good = self.good();
        let Some(tip) = self.tip else {
            return Err(self.bad(good, Reason::NoTipRecord));
        };
        if good < tip.length {
            return Err(self.bad(good, Reason::Missing { length: tip.length }));
        }
        if self.last.as_ref().is_some_and(|last| last.hash != tip.hash) {
            return Err(self.bad(good.saturating_sub(1), Reason::NotTheTip));
        }
        if self.bytes != tip.bytes {
            return Err(self.bad(good, Reason::WrongSize));
        }
        // The record may have moved on since the walk began; blocks beyond the newer one were
        // never appended.
        let length = snapshot.tip.map_or(tip.length, |newer| newer.length);
        let mut beyond = None;
        let visited = snapshot.visit(length.., Order::Ascending, |index, _| {
            beyond = Some(index);
            false
        });
        match (visited, beyond) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(index)) => Err(self.bad(index, Reason::BeyondEnd { length })),
            (Err(Fault::Damaged(message)), _) => Err(self.bad(good, Reason::Database { message })),
            (Err(fault), _) => Err(Broken::Fault(fault)),
        }
    }

    fn bad(&self, index: u64, reason: Reason) -> Broken {
        Broken::Bad(FirstBad { index, reason })
    }
}
