//! Payments become blocks in a pipeline of routines.
//!
//! ```text
//! payments ──► batches ──► searches ──► chain
//!  (source)    (packer)    (miner)      (writer)
//! ```
//!
//! Each stage is a routine, and a small channel lies between two of them, so a slow stage slows those before
//! it instead of filling the memory. The packer closes a batch when it is full, or when nothing more has come
//! for a while. The miner searches in turns, on all workers at once: each search takes every so many-th
//! stretch of nonces, and the first to find one cancels the others.
//!
//! ```text
//! cargo run -p openwork-blockchain --example miner_pipeline
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use openwork::channel::{self, Receiver, RecvTimeoutError, Sender};
use openwork::{Builder, CancelToken, Runtime, ScopeError, Turn, block_on, try_scope};
use openwork_blockchain::{Block, Candidate, Chain, ChainOptions, Difficulty, verify};

/// Payments in a block.
const BATCH: usize = 4;
/// How long a batch that is not full waits for more.
const PATIENCE: Duration = Duration::from_millis(20);
/// Nonces tried in a turn: some hundred microseconds.
const STRETCH: u64 = 1 << 10;
/// Searches for one block.
const SEARCHES: u64 = 4;

type Failure = Box<dyn Error + Send + Sync>;

/// Packs what comes into batches, each a text of lines.
fn pack(payments: &Receiver<String>, batches: &Sender<String>) -> Result<(), Failure> {
    let mut batch = Vec::new();
    loop {
        let more = match payments.recv_timeout(PATIENCE) {
            Ok(payment) => {
                batch.push(payment);
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(_) => false,
        };
        let idle = payments.is_empty() && !batch.is_empty();
        if batch.len() == BATCH || idle || (!more && !batch.is_empty()) {
            batches.send(batch.join("\n"))?;
            batch.clear();
        }
        if !more {
            return Ok(());
        }
    }
}

/// Finds a nonce, on as many routines as there are searches.
fn search(candidate: &Candidate) -> Block {
    let found = CancelToken::new();
    let (tx, nonces) = channel::bounded(SEARCHES as usize);
    for first in 0..SEARCHES {
        let (mut candidate, tx) = (candidate.clone(), tx.clone());
        let search = Builder::new().name("search").cancel_with(&found);
        let search = search.spawn_turns(first * STRETCH, move |next| {
            match candidate.search(*next..*next + STRETCH) {
                Some(nonce) => {
                    let _ = tx.send(nonce); // there is room for all
                    Turn::Done(())
                }
                None => {
                    *next += SEARCHES * STRETCH;
                    Turn::Again
                }
            }
        });
        search.expect("called by a routine").detach();
    }
    let nonce = nonces.recv().expect("some search finds one");
    found.cancel();
    candidate.block(nonce, None)
}

/// Makes blocks of the payments, and returns them when they are durable.
fn run(
    chain: &Chain,
    difficulty: Difficulty,
    mut payments: impl Iterator<Item = String> + Send,
) -> Result<Vec<Arc<Block>>, ScopeError<Failure>> {
    try_scope(|s| {
        let (source, to_pack) = channel::bounded(2 * BATCH);
        let (packed, to_mine) = channel::bounded(1);
        s.spawn_as(Builder::new().name("source"), move || {
            payments.try_for_each(|payment| source.send(payment))?;
            Ok(())
        })?;
        s.spawn_as(Builder::new().name("packer"), move || {
            pack(&to_pack, &packed)
        })?;
        let miner = s.spawn_as(Builder::new().name("miner"), move || {
            let mut blocks = Vec::new();
            for batch in to_mine {
                let block = search(&Candidate::new(chain, batch, difficulty));
                blocks.push(block_on(chain.append(block))?);
            }
            Ok(blocks)
        })?;
        Ok(miner.join().unwrap_or_default()) // what failed, the scope knows
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let rt = Runtime::builder().build()?;
    let chain = Chain::in_memory(ChainOptions::default())?;
    let difficulty = Difficulty::new(12).expect("a possible difficulty");
    let names = ["ada", "bob", "cleo"];
    let payments = (0..10).map(|n| format!("{} pays {} {n}", names[n % 3], names[(n + 1) % 3]));
    let blocks = rt.block_on(|| run(&chain, difficulty, payments))?;
    for block in blocks {
        println!("block {} {}", block.index, block.hash);
        block
            .data
            .lines()
            .for_each(|payment| println!("    {payment}"));
    }
    let report = verify(&chain)?;
    println!("{} blocks, valid: {}", report.blocks, report.valid);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every payment is in one block, in order; the chain is valid, and no block is too large.
    #[test]
    fn every_payment_is_in_a_block() {
        let rt = Runtime::builder().workers(2).build().unwrap();
        let chain = Chain::in_memory(ChainOptions::default()).unwrap();
        let paid: Vec<String> = (0..50).map(|n| format!("payment {n}")).collect();
        let payments = paid.clone().into_iter();
        let difficulty = Difficulty::new(6).unwrap();
        let blocks = rt.block_on(|| run(&chain, difficulty, payments)).unwrap();
        let in_blocks: Vec<&str> = blocks.iter().flat_map(|block| block.data.lines()).collect();
        assert_eq!(in_blocks, paid);
        assert!(
            blocks
                .iter()
                .all(|block| block.data.lines().count() <= BATCH)
        );
        assert!(verify(&chain).unwrap().valid);
        assert_eq!(chain.length(), blocks.len() as u64 + 1); // and genesis
        // The searches that lost have gone, too.
        rt.shutdown(Duration::from_secs(60)).unwrap();
    }

    /// A chain that is full: the pipeline says so, and every stage ends.
    #[test]
    fn a_chain_that_takes_no_more_ends_the_pipeline() {
        let rt = Runtime::builder().workers(2).build().unwrap();
        let options = ChainOptions {
            max_bytes: 1,
            ..ChainOptions::default()
        };
        let chain = Chain::in_memory(options).unwrap();
        let endless = (0..).map(|n: u64| format!("payment {n}"));
        let result = rt.block_on(|| run(&chain, Difficulty::new(1).unwrap(), endless));
        let Err(ScopeError::Failed(failures)) = result else {
            panic!("{result:?}")
        };
        assert_eq!(failures.first().name(), Some("miner"));
        rt.shutdown(Duration::from_secs(60)).unwrap();
    }
}
