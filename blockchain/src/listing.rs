//! Reading a stretch of the chain a page at a time.
//!
//! Each page is read from a snapshot of its own. The blocks a listing shows were durable when it
//! was made and never change afterwards, so the pages fit together, and a slow reader holds neither
//! a lock nor an old state of the database between two of them.

use std::ops::Range;

use crate::block::Block;
use crate::chain::{Chain, reading};
use crate::error::ReadError;
use crate::reason::Reason;
use crate::record::decode;

/// Blocks on one page at most.
const PAGE_BLOCKS_MAX: usize = 256;

/// Bytes of data after which a page ends, so that a page of large blocks stays about this large.
const PAGE_BYTES_ENOUGH: usize = 1 << 20;

/// From which end a chain is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Genesis first.
    #[default]
    Ascending,
    /// Newest first.
    Descending,
}

/// Which blocks to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listing {
    /// Blocks to leave out first, counted in the listing's order.
    pub offset: u64,
    /// Blocks to read at most; `None` reads to the end.
    pub limit: Option<u64>,
    /// From which end.
    pub order: Order,
}

/// The pages of a [`Listing`], made by [`Chain::list`].
#[derive(Debug)]
pub struct Pages {
    chain: Chain,
    total: u64,
    order: Order,
    /// Position of the next block, counted in the listing's order.
    next: u64,
    end: u64,
}

impl Pages {
    pub(crate) fn new(chain: Chain, total: u64, listing: Listing) -> Pages {
        let next = listing.offset.min(total);
        let end = listing
            .limit
            .map_or(total, |limit| next.saturating_add(limit).min(total));
        Pages {
            chain,
            total,
            order: listing.order,
            next,
            end,
        }
    }

    /// Blocks in the chain when the listing was made, whatever its offset and limit.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Blocks that the remaining pages hold.
    pub fn remaining(&self) -> u64 {
        self.end - self.next
    }

    /// The next page, at most 256 blocks and about 1 MiB of data; `None` after the last one.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] names the block at which the listing cannot go on; the blocks before
    /// it have been handed out by then. [`ReadError::Storage`] when the store fails; the same page
    /// may be asked for again.
    pub fn next_page(&mut self) -> Result<Option<Vec<Block>>, ReadError> {
        if self.next == self.end {
            return Ok(None);
        }
        let first = self.index_at(self.next);
        let snapshot = self
            .chain
            .snapshot()
            .map_err(|fault| reading(first, fault))?;
        let mut page = Vec::new();
        let mut bytes = 0;
        let mut error = None;
        let visited = snapshot.visit(self.indices(), self.order, |index, record| {
            let expected = self.index_at(self.next + page.len() as u64);
            let block = if index == expected {
                decode(record)
            } else {
                Err(Reason::Missing { length: self.total })
            };
            match block {
                Ok(block) => page.push(block),
                Err(reason) => {
                    error = Some(ReadError::Damaged {
                        index: expected,
                        reason,
                    })
                }
            }
            bytes += record.len();
            error.is_none() && page.len() < PAGE_BLOCKS_MAX && bytes < PAGE_BYTES_ENOUGH
        });
        if page.is_empty() {
            let missing = Reason::Missing { length: self.total };
            visited.map_err(|fault| reading(first, fault))?;
            return Err(error.unwrap_or(ReadError::Damaged {
                index: first,
                reason: missing,
            }));
        }
        // With blocks in hand an error can wait: the next call meets it with an empty page.
        self.next += page.len() as u64;
        Ok(Some(page))
    }

    /// The indices of all blocks still to read.
    fn indices(&self) -> Range<u64> {
        let (one, other) = (self.index_at(self.next), self.index_at(self.end - 1));
        one.min(other)..one.max(other) + 1
    }

    fn index_at(&self, position: u64) -> u64 {
        match self.order {
            Order::Ascending => position,
            Order::Descending => self.total - 1 - position,
        }
    }
}
