//! Mining on routines.
//!
//! A run's *root* routine enters the runtime through the injector and spawns its miners itself, so
//! they all start in one worker's queue and the other workers have to steal them: watching that is
//! what this service is for. The miners are turn routines: a turn makes some attempts and gives the
//! worker back, and between two turns any worker may take the miner over.
//!
//! In [`Mode::Chain`] each of N miners searches for a block of its own on the present head of the
//! chain. Who finds one appends it, which moves the head; the others notice between two pieces of
//! their search, end their turn, and go on from the new head in the next one. Since a search has no
//! memory this loses nothing but the attempts made before they noticed. In [`Mode::Race`] all miners
//! search for the same block and draw pieces of its nonces from one counter; the first to find one
//! ends the race for all.
//!
//! | file      | holds                                                           |
//! |-----------|-----------------------------------------------------------------|
//! | `request` | what can be asked for, and its limits                           |
//! | `ledger`  | the account of a run: blocks, attempts, shares, why it failed    |
//! | `search`  | the attempts of one turn                                        |
//! | `solo`    | a miner with a block of its own                                 |
//! | `race`    | miners that share one block                                     |
//! | `run`     | the handle: progress, cancel, waiting for the end               |

mod ledger;
mod race;
mod request;
mod run;
mod search;
mod solo;

use std::sync::Arc;

use openwork::{Builder, Handle, JoinError, JoinHandle, SpawnError, Turn, Workload};

use crate::chain::Chain;
use crate::error::AppendError;
use crate::meter::HashMeter;

use ledger::Ledger;
pub use ledger::{MineProgress, Share};
use race::{Race, Racer};
pub use request::{InvalidRequest, MineRequest, Mode};
pub use run::{MineEnd, MineFailure, MineOutcome, MineRun, MineWatch};
use solo::Solo;

/// A run could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MineStartError {
    /// A field of the request is outside its limits.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The chain takes no block at present.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The runtime takes no routine at present.
    #[error("the run's root routine could not be spawned: {0}")]
    Spawn(#[from] SpawnError),
}

/// Why a run ended without all its blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MineError {
    /// Somebody cancelled it, or one of its routines.
    #[error("cancelled")]
    Cancelled,
    /// One of its routines panicked with this text.
    #[error("a routine panicked: {0}")]
    Panicked(String),
    /// The chain took a block no more.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The runtime took a routine no more.
    #[error("a miner could not be spawned: {0}")]
    Spawn(String),
}

/// Starts a run on the runtime of `handle` and returns at once.
///
/// All its routines belong to `workload`. Hashes are added to `meter` by the worker they were
/// computed on. Blocks appended before the run ends, in whatever way, stay in the chain.
///
/// # Errors
///
/// [`MineStartError`]; nothing is running then.
pub fn mine(
    handle: &Handle,
    chain: &Chain,
    meter: &Arc<HashMeter>,
    request: MineRequest,
    workload: &Workload,
) -> Result<MineRun, MineStartError> {
    request.check()?;
    chain.room(request.data.len())?;
    let ledger = Arc::new(Ledger::new(chain.clone(), Arc::clone(meter), request));
    let root = Builder::new()
        .name("mine")
        .workload(workload)
        .on(handle)
        .spawn({
            let ledger = Arc::clone(&ledger);
            move || root(&ledger)
        })?;
    Ok(MineRun::new(root, ledger, workload.clone(), handle.clone()))
}

/// The run's first routine: spawns the miners and waits for them.
fn root(ledger: &Arc<Ledger>) {
    let request = ledger.request();
    let spawn: Box<dyn Fn(u32) -> Result<JoinHandle<()>, SpawnError>> = match request.mode {
        Mode::Chain => Box::new(|number| {
            named(number).spawn_turns(Solo::new(ledger, number), |miner| miner.turn())
        }),
        Mode::Race => {
            let race = Arc::new(Race::new(ledger));
            Box::new(move |number| {
                named(number).spawn_turns(Racer::new(&race, number), |miner| miner.turn())
            })
        }
    };
    let mut miners = Miners {
        ledger,
        unjoined: Vec::with_capacity(request.routines as usize),
    };
    for number in 0..request.routines {
        match spawn(number) {
            Ok(miner) => miners.unjoined.push(miner),
            Err(error) => {
                ledger.fail(MineError::Spawn(error.to_string()));
                break;
            }
        }
    }
    miners.unjoined.reverse();
    while let Some(miner) = miners.unjoined.last_mut() {
        if let Err(error) = openwork::block_on(miner) {
            ledger.fail(ended_early(&error));
        }
        miners.unjoined.pop();
    }
}

/// The miners that the root waits for. If it is cancelled, they are left to whoever waits for the run: a routine
/// counts as ended just after it has dropped what it mined with, and a run that is over has none that does not.
struct Miners<'a> {
    ledger: &'a Ledger,
    unjoined: Vec<JoinHandle<()>>,
}

impl Drop for Miners<'_> {
    fn drop(&mut self) {
        self.ledger.leave(std::mem::take(&mut self.unjoined));
    }
}

fn named(number: u32) -> Builder {
    Builder::new().name(&format!("miner-{number}"))
}

fn ended_early(error: &JoinError) -> MineError {
    match error {
        JoinError::Panicked(_) => MineError::Panicked(error.message()),
        _ => MineError::Cancelled,
    }
}

/// What a miner does next.
type Next = Turn<()>;

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use openwork::Runtime;

    use super::*;
    use crate::chain::ChainOptions;
    use crate::difficulty::Difficulty;
    use crate::faulty::{Faults, faulty_opener};
    use crate::verify::verify;

    /// The disk fills up during a run. The run must end, with exactly the blocks that are in the
    /// chain, and the next run must find a chain in order.
    #[test]
    fn a_disk_that_fills_up_ends_the_run_and_loses_no_block() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.redb");
        let options = ChainOptions {
            genesis_difficulty: Difficulty::MIN,
            ..ChainOptions::default()
        };
        Chain::open(&path, options.clone()).unwrap().close();
        let faults = Arc::new(Faults::default());
        let chain = Chain::open_with(&path, faulty_opener(&path, &faults), options).unwrap();
        chain.on_append({
            let faults = Arc::clone(&faults);
            move |block| {
                if block.index == 1 {
                    faults.full.store(true, Ordering::Relaxed);
                }
            }
        });

        let runtime = Runtime::builder().workers(2).build().unwrap();
        let meter = Arc::new(HashMeter::new(2));
        let mine = |routines| {
            let request = MineRequest::chain("x", routines, Difficulty::MIN);
            let workload = Workload::new("test");
            super::mine(&runtime.handle(), &chain, &meter, request, &workload)
        };
        // More blocks than a commit can hold, so that some come after the disk is full: the
        // observer speaks before the writer takes in the next commit.
        let failure = mine(10_000).unwrap().wait().unwrap_err();
        assert!(
            matches!(&failure.error, MineError::Append(AppendError::Storage(error)) if error.is_full()),
            "{:?}",
            failure.error
        );
        let appended = failure.so_far.blocks.len() as u64;
        assert!(appended >= 1);
        assert_eq!(chain.length(), appended + 1);
        assert!(failure.so_far.shares.len() <= 10_000);

        faults.full.store(false, Ordering::Relaxed);
        // A chain that could not be opened again on the full disk refuses until it has been tried.
        let run = loop {
            match mine(3) {
                Ok(run) => break run,
                Err(MineStartError::Append(AppendError::Storage(_))) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(run.wait().unwrap().blocks.len(), 3);
        assert_eq!(chain.length(), appended + 4);
        assert!(verify(&chain).unwrap().valid);
    }
}
