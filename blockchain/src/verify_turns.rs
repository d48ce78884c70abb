//! Verifying on a routine, so that a long chain neither holds a worker nor outlives its asker.

use openwork::{Builder, Handle, JoinHandle, SpawnError, Turn, Workload};

use crate::chain::Chain;
use crate::error::ReadError;
use crate::verify::{Verification, VerifyReport};

/// Blocks per turn. 1,000 small blocks take about 1 ms.
const TURN_BLOCKS: u64 = 1_000;

/// Starts a turn routine that verifies `chain`; it ends early when it, or `workload`, is cancelled.
///
/// # Errors
///
/// [`SpawnError`] when the runtime takes no routine at present.
pub fn spawn_verify(
    handle: &Handle,
    chain: &Chain,
    workload: &Workload,
) -> Result<JoinHandle<Result<VerifyReport, ReadError>>, SpawnError> {
    let builder = Builder::new().name("verify").workload(workload).on(handle);
    builder.spawn_turns(Verification::new(chain), |verification| match verification
        .step(TURN_BLOCKS)
    {
        Ok(None) => Turn::Again,
        Ok(Some(report)) => Turn::Done(Ok(report)),
        Err(error) => Turn::Done(Err(error)),
    })
}
