//! A miner with a block of its own.

use std::sync::Arc;

use openwork::Turn;

use crate::candidate::Candidate;
use crate::error::AppendError;
use crate::header::NONCE_LIMIT;
use crate::receipt::Receipt;

use super::Next;
use super::ledger::{Ledger, Seat};
use super::search::{Look, search};

/// The state of one mining routine between two turns.
pub(super) struct Solo {
    seat: Seat,
    /// `None` before the first turn.
    candidate: Option<Candidate>,
    next_nonce: u64,
    /// A block was found and is on its way.
    receipt: Option<Receipt>,
}

impl Solo {
    pub(super) fn new(ledger: &Arc<Ledger>, number: u32) -> Solo {
        Solo {
            seat: Seat::new(ledger, number),
            candidate: None,
            next_nonce: 0,
            receipt: None,
        }
    }

    pub(super) fn turn(&mut self) -> Next {
        self.seat.arrive();
        if let Some(receipt) = &mut self.receipt {
            match receipt.take() {
                None => return Turn::Wait(Box::pin(receipt.answered())),
                Some(Ok(_)) => {
                    self.seat.count_block();
                    return Turn::Done(());
                }
                Some(Err(AppendError::TipMoved { .. })) => self.receipt = None,
                Some(Err(error)) => {
                    self.seat.ledger().fail(error.into());
                    return Turn::Done(());
                }
            }
        }
        if self.seat.ledger().is_stopped() {
            return Turn::Done(());
        }
        self.search()
    }

    fn search(&mut self) -> Next {
        let ledger = Arc::clone(self.seat.ledger());
        let (chain, request) = (ledger.chain(), ledger.request());
        let candidate = match &mut self.candidate {
            Some(candidate) => {
                let stale = candidate.is_stale(chain);
                if stale || self.next_nonce == NONCE_LIMIT {
                    candidate.rebase(chain);
                    self.next_nonce = 0;
                }
                if stale {
                    self.seat.count_rebase();
                }
                candidate
            }
            empty @ None => {
                let data = format!("{}-worker-{}", request.data, self.seat.number());
                empty.insert(Candidate::new(chain, data, request.difficulty))
            }
        };
        let end = match request.is_hog() {
            true => NONCE_LIMIT,
            false => NONCE_LIMIT.min(self.next_nonce + request.yield_every),
        };
        let built_on = candidate.head_change();
        let seat = &mut self.seat;
        let searched = search(candidate, self.next_nonce..end, |attempts| {
            let look = if ledger.is_stopped() || openwork::is_cancelled() {
                Look::End
            } else if chain.head_changes() != built_on {
                Look::TipMoved
            } else {
                Look::GoOn
            };
            seat.count(attempts, look)
        });
        self.next_nonce = searched.next_nonce;
        match searched.found {
            Some(nonce) => {
                let receipt = ledger.append(candidate.block(nonce, self.seat.mined_by()));
                let answered = receipt.answered();
                self.receipt = Some(receipt);
                Turn::Wait(Box::pin(answered))
            }
            None => {
                self.seat.count_yield();
                Turn::Again
            }
        }
    }
}
