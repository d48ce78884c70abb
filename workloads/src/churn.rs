//! Routines that allocate, write, hash, and keep or drop: the work of stress and benchmark.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openwork::{Builder, JoinHandle, Turn, yield_now};
use sha2::{Digest, Sha256};

use crate::pattern::Pattern;
use crate::run::{RunError, Watch};
use crate::shelf::{Block, Shelf, free_some};

/// A turn writes and hashes at most this much, so a block above it takes several turns. 1 MiB took
/// 1.4 ms at the 99th of a hundred turns, page faults in it, on a CPU with SHA instructions
/// (`cargo bench --bench turns`); one that lacks them takes several times as long.
pub(crate) const TURN_BYTES: u64 = 1 << 20;

/// The root gives way after spawning or joining this many.
const BATCH: usize = 512;

/// Whether dropped blocks are hashed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hashing {
    Dropped,
    Nothing,
}

/// What a set of routines is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    pub(crate) name: &'static str,
    pub(crate) routines: u64,
    /// Of each routine.
    pub(crate) allocations: u64,
    pub(crate) block_bytes: u64,
    pub(crate) pattern: Pattern,
    pub(crate) hashing: Hashing,
    /// A routine gives way at least this often, counted in allocations; 0: it never does.
    pub(crate) yield_every: u64,
}

/// What routines did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kept: u64,
    pub(crate) dropped: u64,
    pub(crate) hashed: u64,
    pub(crate) written_bytes: u64,
    pub(crate) yields: u64,
    /// Exclusive or of all hashes: the same whatever the order in which they were made.
    pub(crate) digest: [u8; 32],
}

/// All routines have ended; what they kept is still alive.
#[derive(Debug)]
pub(crate) struct Churned {
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
    pub(crate) shelf: Arc<Shelf>,
}

impl Orders {
    pub(crate) fn total_allocations(&self) -> u64 {
        self.routines.saturating_mul(self.allocations)
    }

    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.total_allocations().saturating_mul(self.block_bytes)
    }

    pub(crate) fn kept_blocks(&self) -> u64 {
        self.pattern
            .kept_of(self.allocations)
            .saturating_mul(self.routines)
    }

    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept_blocks().saturating_mul(self.block_bytes)
    }

    /// Most bytes alive at once: kept blocks, and those being written. A block that takes several
    /// turns is alive between them, so each routine may have one; a smaller one lives within a turn.
    pub(crate) fn live_bytes_max(&self) -> u64 {
        let in_work = match self.pattern {
            Pattern::LongLived => 0,
            // A hog can be frozen in the middle of any block.
            _ if self.yield_every == 0 || self.block_bytes > TURN_BYTES => {
                self.routines.saturating_mul(self.block_bytes)
            }
            _ => self.block_bytes,
        };
        self.kept_bytes().saturating_add(in_work)
    }
}

/// Runs `orders` on routines of their own, from the root routine, and waits for all of them.
pub(crate) fn run(orders: Orders, watch: &Watch) -> Result<Churned, RunError> {
    let begun = Instant::now();
    let shelf = Arc::new(Shelf::with_capacity(orders.kept_blocks())?);
    let mut routines = Routines(VecDeque::new());
    for index in 0..orders.routines {
        let state = Churn::new(orders, index, shelf.clone(), watch.clone());
        routines.0.push_back(
            Builder::new()
                .name(&format!("{} {index}", orders.name))
                .spawn_turns(state, Churn::turn)?,
        );
        if routines.0.len().is_multiple_of(BATCH) {
            yield_now();
        }
    }
    let mut tally = Tally::default();
    while let Some(routine) = routines.0.pop_front() {
        tally.add(&routine.join()??);
        if routines.0.len().is_multiple_of(BATCH) {
            yield_now();
        }
    }
    Ok(Churned {
        tally,
        took: begun.elapsed(),
        shelf,
    })
}

/// The routines not yet joined. When the root leaves early, by an error or a cancel, nobody is left
/// who wants their work.
struct Routines(VecDeque<JoinHandle<Result<Tally, RunError>>>);

impl Drop for Routines {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.kept += other.kept;
        self.dropped += other.dropped;
        self.hashed += other.hashed;
        self.written_bytes += other.written_bytes;
        self.yields += other.yields;
        self.mix(&other.digest);
    }

    fn mix(&mut self, hash: &[u8]) {
        for (mixed, byte) in self.digest.iter_mut().zip(hash) {
            *mixed ^= byte;
        }
    }
}

/// One routine between two turns. All of it is `Send`, so a thief may take it along.
struct Churn {
    orders: Orders,
    routine: u64,
    /// Index of the block now being written, or to be written next.
    index: u64,
    block: Option<Writing>,
    /// What is left of a large block that is being freed.
    dropped: Block,
    tally: Tally,
    shelf: Arc<Shelf>,
    watch: Watch,
}

/// A block of which a part is written and, where asked, hashed.
struct Writing {
    block: Block,
    hasher: Option<Sha256>,
}

impl Churn {
    fn new(orders: Orders, routine: u64, shelf: Arc<Shelf>, watch: Watch) -> Churn {
        Churn {
            orders,
            routine,
            index: 0,
            block: None,
            dropped: Block::new(),
            tally: Tally::default(),
            shelf,
            watch,
        }
    }

    fn turn(&mut self) -> Turn<Result<Tally, RunError>> {
        let hog = self.orders.yield_every == 0;
        let mut allocations = self.orders.yield_every;
        let mut bytes = TURN_BYTES;
        free_some(&mut self.dropped);
        if !hog && !self.dropped.is_empty() {
            self.tally.yields += 1;
            return Turn::Again;
        }
        while self.index < self.orders.allocations {
            if hog {
                // It goes on in the same turn, unless that is to be its last.
                if openwork::is_cancelled() {
                    return Turn::Again;
                }
                (allocations, bytes) = (1, TURN_BYTES);
            } else if allocations == 0 || bytes == 0 {
                self.tally.yields += 1;
                return Turn::Again;
            }
            let mut writing = match self.block.take() {
                Some(writing) => writing,
                None => match self.begin() {
                    Ok(writing) => writing,
                    Err(error) => return Turn::Done(Err(error)),
                },
            };
            let written = writing.write(bytes, self.orders.block_bytes, self.fill());
            bytes -= written;
            self.tally.written_bytes += written;
            if writing.block.len() as u64 == self.orders.block_bytes {
                allocations -= 1;
                self.finish(writing);
                if hog {
                    self.dropped = Block::new();
                } else if !self.dropped.is_empty() {
                    self.tally.yields += 1;
                    return Turn::Again;
                }
            } else {
                self.block = Some(writing);
            }
        }
        Turn::Done(Ok(self.tally))
    }

    /// Reserves a block. The allocator may refuse, which must end the run and not the process.
    fn begin(&self) -> Result<Writing, RunError> {
        let bytes = self.orders.block_bytes;
        let mut block = Block::new();
        usize::try_from(bytes)
            .ok()
            .and_then(|size| block.try_reserve_exact(size).ok())
            .ok_or(RunError::OutOfMemory { bytes })?;
        let hashed =
            self.orders.hashing == Hashing::Dropped && !self.orders.pattern.keeps(self.index);
        Ok(Writing {
            block,
            hasher: hashed.then(Sha256::new),
        })
    }

    fn finish(&mut self, writing: Writing) {
        if let Some(hasher) = writing.hasher {
            self.tally.hashed += 1;
            self.tally.mix(&hasher.finalize());
        }
        if self.orders.pattern.keeps(self.index) {
            self.tally.kept += 1;
            self.shelf.keep(writing.block);
        } else {
            self.tally.dropped += 1;
            // A large block is freed in turns of its own.
            if self.orders.block_bytes > TURN_BYTES {
                self.dropped = writing.block;
            }
        }
        self.index += 1;
        self.watch.add(1);
    }

    /// The byte written over the whole block: never 0, which a fresh page holds already, and another
    /// one for each block, so that equal digests mean equal work.
    fn fill(&self) -> u8 {
        let number = self.routine.wrapping_mul(31).wrapping_add(self.index);
        (number % 255) as u8 + 1
    }
}

impl Writing {
    /// Writes at most `most` further bytes of a block of `size`, and says how many.
    fn write(&mut self, most: u64, size: u64, fill: u8) -> u64 {
        let start = self.block.len();
        let end = size.min(start as u64 + most) as usize;
        // Whole pages by copying: `resize` writes byte by byte in a debug build, at 60 MB/s.
        let page = [fill; 4096];
        while self.block.len() < end {
            let length = page.len().min(end - self.block.len());
            self.block.extend_from_slice(&page[..length]);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.block[start..]);
        }
        (end - start) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(pattern: Pattern, allocations: u64, block_bytes: u64) -> Orders {
        Orders {
            name: "test",
            routines: 1,
            allocations,
            block_bytes,
            pattern,
            hashing: Hashing::Dropped,
            yield_every: 10,
        }
    }

    /// Turns until done, with the tally and the number of turns.
    fn drive(orders: Orders) -> (Tally, u64, Arc<Shelf>) {
        let shelf = Arc::new(Shelf::with_capacity(orders.kept_blocks()).unwrap());
        let watch = Watch::new(orders.total_allocations(), "allocations");
        let mut churn = Churn::new(orders, 0, shelf.clone(), watch.clone());
        let mut turns = 0;
        loop {
            turns += 1;
            match churn.turn() {
                Turn::Again => {}
                Turn::Done(tally) => {
                    assert_eq!(watch.progress().done, orders.total_allocations());
                    return (tally.unwrap(), turns, shelf);
                }
                _ => panic!("churn neither sleeps nor waits"),
            }
        }
    }

    #[test]
    fn gives_way_every_ten_allocations() {
        let (tally, turns, _) = drive(orders(Pattern::ShortLived, 25, 1024));
        assert_eq!((tally.yields, turns), (2, 3));
        assert_eq!(tally.written_bytes, 25 * 1024);
    }

    /// Breaks if a hog gives way, or does other work than the same routine that does.
    #[test]
    fn a_hog_takes_one_turn_for_the_same_work() {
        for (allocations, bytes) in [(25, 1024), (2, 12 * TURN_BYTES + 17)] {
            let polite = orders(Pattern::Mixed, allocations, bytes);
            let hog = Orders {
                yield_every: 0,
                ..polite
            };
            let (given_way, _, _) = drive(polite);
            let (tally, turns, _) = drive(hog);
            assert_eq!((tally.yields, turns), (0, 1));
            assert_eq!(tally.digest, given_way.digest);
            assert_eq!(tally.written_bytes, given_way.written_bytes);
        }
    }

    #[test]
    fn a_block_above_the_turn_limit_takes_several_turns() {
        let (tally, turns, _) = drive(orders(Pattern::LongLived, 1, 3 * TURN_BYTES));
        assert_eq!((tally.yields, turns), (2, 3));
        // Two more to free it: 8 MiB each.
        let (tally, turns, _) = drive(orders(Pattern::ShortLived, 1, 12 * TURN_BYTES));
        assert_eq!((tally.yields, turns), (11 + 2, 12 + 2));
    }

    /// A block written and hashed in pieces must have the hash of the whole.
    #[test]
    fn the_digest_is_that_of_the_whole_block() {
        let size = 2 * TURN_BYTES + 17;
        let (tally, _, _) = drive(orders(Pattern::ShortLived, 1, size));
        let whole = vec![1u8; size as usize];
        assert_eq!(tally.digest[..], Sha256::digest(whole)[..]);
    }

    #[test]
    fn mixed_keeps_the_even_ones() {
        let (tally, _, shelf) = drive(orders(Pattern::Mixed, 5, 64));
        assert_eq!((tally.kept, tally.dropped, tally.hashed), (3, 2, 2));
        drop(shelf);
    }

    #[test]
    fn blocks_that_outlive_a_turn_count_once_per_routine() {
        let mut big = orders(Pattern::ShortLived, 1, 64 << 20);
        big.routines = 100;
        assert_eq!(big.live_bytes_max(), 100 * (64 << 20));
        let mut small = orders(Pattern::ShortLived, 1, 1 << 20);
        small.routines = 100;
        assert_eq!(small.live_bytes_max(), 1 << 20);
    }
}
