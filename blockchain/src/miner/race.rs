//! Miners that share one block.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openwork::Turn;

use crate::candidate::Candidate;
use crate::error::AppendError;
use crate::header::NONCE_LIMIT;
use crate::receipt::Receipt;

use super::MineRequest;
use super::Next;
use super::ledger::{Ledger, Seat};
use super::search::{Look, search};

/// What the racers of a run share.
pub(super) struct Race {
    ledger: Arc<Ledger>,
    job: Mutex<Arc<Job>>,
}

/// One header to be searched over. Replaced when the head moves because of another run.
struct Job {
    candidate: Candidate,
    /// The first nonce that nobody has drawn yet.
    next_nonce: AtomicU64,
}

impl Race {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Race {
        let request = ledger.request();
        let candidate = Candidate::new(ledger.chain(), request.data.as_str(), request.difficulty);
        Race {
            ledger: Arc::clone(ledger),
            job: Mutex::new(Job::new(candidate)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Job>> {
        // The job is replaced whole, so a panic under the lock leaves it usable.
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn new(candidate: Candidate) -> Arc<Job> {
        Arc::new(Job {
            candidate,
            next_nonce: AtomicU64::new(0),
        })
    }
}

/// The state of one racing routine between two turns.
pub(super) struct Racer {
    race: Arc<Race>,
    seat: Seat,
    /// The job of the last turn and a copy of its candidate to search with.
    own: Option<(Arc<Job>, Candidate)>,
    /// A block was found and handed in.
    receipt: Option<Receipt>,
    /// The chain has accepted this racer's block, and the rivals end.
    won: bool,
}

impl Racer {
    pub(super) fn new(race: &Arc<Race>, number: u32) -> Racer {
        let seat = Seat::new(&race.ledger, number);
        Racer {
            race: Arc::clone(race),
            seat,
            own: None,
            receipt: None,
            won: false,
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
                // Refused at once, and the race is open. Or, after a commit that had failed turned
                // out to have arrived (`writer`), refused later: then this racer goes on alone.
                Some(Err(AppendError::TipMoved { .. })) => self.receipt = None,
                Some(Err(error)) => {
                    self.race.ledger.fail(error.into());
                    return Turn::Done(());
                }
            }
        }
        if self.has_ended() {
            return Turn::Done(());
        }
        self.search()
    }

    /// Whether another one has won, or the run has failed.
    fn has_ended(&self) -> bool {
        self.race.ledger.is_stopped() && !self.won
    }

    fn search(&mut self) -> Next {
        let race = Arc::clone(&self.race);
        let (ledger, chain) = (&race.ledger, race.ledger.chain());
        let request = ledger.request();
        // A hog draws like the others, or one would take all nonces, and goes on within its turn.
        let count = match request.is_hog() {
            true => MineRequest::YIELD_EVERY_DEFAULT,
            false => request.yield_every,
        };
        let block = loop {
            let (job, first) = self.draw(count);
            let (_, candidate) = match &mut self.own {
                Some(own) if Arc::ptr_eq(&own.0, &job) => own,
                own => own.insert((Arc::clone(&job), job.candidate.clone())),
            };
            let nonces = first..NONCE_LIMIT.min(first + count);
            let (seat, won) = (&mut self.seat, self.won);
            let mut last = Look::GoOn;
            let searched = search(candidate, nonces, |attempts| {
                // In this order: a rival who has won has moved the tip.
                let look = if job.candidate.is_stale(chain) {
                    Look::TipMoved
                } else if (ledger.is_stopped() && !won) || openwork::is_cancelled() {
                    Look::End
                } else {
                    Look::GoOn
                };
                last = look;
                seat.count(attempts, look)
            });
            match searched.found {
                Some(nonce) => break candidate.block(nonce, self.seat.mined_by()),
                None if request.is_hog() && last == Look::GoOn => {}
                None => {
                    self.seat.count_yield();
                    return Turn::Again;
                }
            }
        };

        // Who appends holds the job's lock, so that of two racers that have found a nonce only the
        // first gets to append: acceptance is decided before `append` returns.
        let _job = race.lock();
        if self.has_ended() {
            return Turn::Done(());
        }
        let receipt = ledger.append(block);
        if !receipt.is_refused() {
            self.won = true;
            ledger.stop();
        }
        let answered = receipt.answered();
        self.receipt = Some(receipt);
        Turn::Wait(Box::pin(answered))
    }

    /// The present job and the first of `count` nonces of it.
    fn draw(&mut self, count: u64) -> (Arc<Job>, u64) {
        let mut job = self.race.lock();
        loop {
            let stale = job.candidate.is_stale(self.race.ledger.chain());
            if !stale {
                let first = job.next_nonce.fetch_add(count, Ordering::Relaxed);
                if first < NONCE_LIMIT {
                    return (Arc::clone(&job), first);
                }
            } else {
                self.seat.count_rebase();
            }
            let mut candidate = job.candidate.clone();
            candidate.rebase(self.race.ledger.chain());
            *job = Job::new(candidate);
        }
    }
}
