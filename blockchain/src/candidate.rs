//! A block that is being searched for.

use std::ops::Range;
use std::sync::Arc;

use crate::block::{Block, MinedBy, timestamp_ns_not_before};
use crate::chain::Chain;
use crate::difficulty::Difficulty;
use crate::hash::Hash;
use crate::header::{HEADER_VERSION, Header};
use crate::proof::Search;

/// A block without its nonce, built on what was the chain's head at that moment.
#[derive(Debug, Clone)]
pub struct Candidate {
    header: Header,
    data: Arc<str>,
    search: Search,
    /// `Chain::head_changes` from before the head was read.
    head_change: u64,
}

impl Candidate {
    /// A block with `data` to follow the last block that `chain` has accepted.
    pub fn new(chain: &Chain, data: impl Into<Arc<str>>, difficulty: Difficulty) -> Candidate {
        let data = data.into();
        let data_hash = Hash::of(data.as_bytes());
        let (header, head_change) = next_header(chain, data_hash, difficulty);
        let search = Search::new(&header.encode(), difficulty);
        Candidate {
            header,
            data,
            search,
            head_change,
        }
    }

    /// The same data on the present head. Nothing is lost by it: the search has no memory, so the
    /// expected number of attempts still to make is what it was at the first one.
    pub fn rebase(&mut self, chain: &Chain) {
        let Header {
            data_hash,
            difficulty,
            ..
        } = self.header;
        (self.header, self.head_change) = next_header(chain, data_hash, difficulty);
        self.search = Search::new(&self.header.encode(), difficulty);
    }

    /// Whether the head has changed since, so that this block could not be appended. One atomic
    /// load; may be `true` for a head that changed and changed back.
    pub fn is_stale(&self, chain: &Chain) -> bool {
        chain.head_changes() != self.head_change
    }

    /// `Chain::head_changes` as it was when this was built.
    pub(crate) fn head_change(&self) -> u64 {
        self.head_change
    }

    /// Tries the nonces in order and returns the first that fits.
    pub fn search(&mut self, nonces: Range<u64>) -> Option<u64> {
        self.search.find(nonces)
    }

    /// The block with `nonce`, whether it fits or not.
    pub fn block(&self, nonce: u64, mined_by: Option<MinedBy>) -> Block {
        Block::new(
            &Header {
                nonce,
                ..self.header
            },
            self.data.as_ref().to_owned(),
            mined_by,
        )
    }
}

fn next_header(chain: &Chain, data_hash: Hash, difficulty: Difficulty) -> (Header, u64) {
    // In this order: a head that changes in between makes the candidate look stale when it is not,
    // which costs a rebase; the other way round it would look fresh for ever.
    let head_change = chain.head_changes();
    let head = chain.head();
    let header = Header {
        version: HEADER_VERSION,
        difficulty,
        index: head.length,
        timestamp_ns: timestamp_ns_not_before(head.timestamp_ns),
        previous_hash: head.hash,
        data_hash,
        nonce: 0,
    };
    (header, head_change)
}
