//! Where kept blocks stand until the run lets go of them.

use std::sync::{Mutex, PoisonError};

use openwork::{Builder, JoinHandle, SpawnError, Turn, Workload};

use crate::run::RunError;

/// One allocation of a workload.
pub(crate) type Block = Vec<u8>;

/// Bytes and blocks that one turn gives back. Freeing 64 MiB of touched memory took 9 to 11 ms
/// (`benches/turns.rs`, which found it), so this takes 1 to 2 ms.
const SWEEP_BYTES: usize = 8 << 20;
const SWEEP_BLOCKS: usize = 1000;

/// Blocks kept by all routines of a run.
///
/// The last owner frees them, and a run may keep 2 GiB: freeing that in one go would hold a worker
/// for a good part of a second. So a drop hands them to a routine that frees them turn by turn,
/// also when the drop is the unwinding of a cancelled routine.
#[derive(Debug)]
pub(crate) struct Shelf {
    blocks: Mutex<Vec<Block>>,
}

impl Shelf {
    /// A shelf with room for `capacity` blocks, so that no push copies the list under the lock.
    pub(crate) fn with_capacity(capacity: u64) -> Result<Shelf, RunError> {
        let mut blocks = Vec::new();
        usize::try_from(capacity)
            .ok()
            .and_then(|room| blocks.try_reserve_exact(room).ok())
            .ok_or(RunError::OutOfMemory {
                bytes: capacity.saturating_mul(size_of::<Block>() as u64),
            })?;
        Ok(Shelf {
            blocks: Mutex::new(blocks),
        })
    }

    /// Keeps `block`.
    pub(crate) fn keep(&self, block: Block) {
        self.blocks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(block);
    }

    /// Frees everything and waits until it is done. Called by a routine of the run, whose own
    /// counters see the frees.
    pub(crate) fn release(&self) -> Result<(), RunError> {
        let blocks =
            std::mem::take(&mut *self.blocks.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Builder::new()
            .name("release")
            .spawn_turns(blocks, sweep)?
            .join()?)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let blocks = std::mem::take(
            self.blocks
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        );
        if !blocks.is_empty() && openwork::current().is_some() {
            release_apart(blocks).ok();
        }
    }
}

/// Frees `blocks` in a workload of their own: theirs is cancelled, and would cancel this too. When
/// the runtime takes no routine any more they are freed here.
fn release_apart(blocks: Vec<Block>) -> Result<(), SpawnError> {
    Builder::new()
        .name("release")
        .workload(&Workload::new("release"))
        .spawn_turns(blocks, sweep)
        .map(JoinHandle::detach)
}

/// One turn of freeing.
fn sweep(blocks: &mut Vec<Block>) -> Turn<()> {
    let mut left = SWEEP_BYTES;
    for _ in 0..SWEEP_BLOCKS {
        let Some(block) = blocks.last_mut() else {
            return Turn::Done(());
        };
        left -= give_back(block, left);
        if !block.is_empty() {
            return Turn::Again;
        }
        blocks.pop();
    }
    Turn::Again
}

/// Frees as much of the end of `block` as one turn should.
pub(crate) fn free_some(block: &mut Block) {
    give_back(block, SWEEP_BYTES);
}

/// Frees at most `most` bytes from the end of `block`: a shorter vector in the same place.
fn give_back(block: &mut Block, most: usize) -> usize {
    let freed = block.len().min(most);
    block.truncate(block.len() - freed);
    block.shrink_to_fit();
    freed
}
