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
    let mut miners = Vec::with_capacity(request.routines as usize);
    for number in 0..request.routines {
        match spawn(number) {
            Ok(miner) => miners.push(miner),
            Err(error) => {
                ledger.fail(MineError::Spawn(error.to_string()));
                break;
            }
        }
    }
    for miner in miners {
        if let Err(error) = miner.join() {
            ledger.fail(ended_early(&error));
        }
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
