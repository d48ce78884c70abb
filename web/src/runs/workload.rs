//! Runs whose work is one of `openwork_workloads`.

use openwork::{Handle, SpawnError, Workload};
use openwork_workloads::limits::LimitExceeded;
use openwork_workloads::{Run, RunError};

use super::progress::Progress;
use super::record::Json;
use super::ticket::{Admitted, Failure, Ticket};
use crate::bridge;
use crate::error::{ApiError, Code};

/// Starts a workload as the work of an admitted run; `render` makes the answer of its report.
///
/// # Errors
/// When the runtime takes no new routine.
pub fn launch<T: Send + 'static>(
    admitted: Admitted,
    start: impl FnOnce(&Handle, &Workload) -> Result<Run<T>, SpawnError>,
    render: impl FnOnce(T) -> Json + Send + 'static,
) -> Result<Ticket, ApiError> {
    let run = match start(admitted.runtime(), admitted.workload()) {
        Ok(run) => run,
        Err(error) => return Err(admitted.refuse(ApiError::internal(error))),
    };
    let watch = run.watch();
    let meter = Box::new(move || {
        let progress = watch.progress();
        Progress::of(progress.done, progress.total, progress.unit)
    });
    let root = bridge::joined(run.into_join());
    Ok(admitted.launch(meter, async move {
        match root.await {
            Ok(Ok(report)) => Ok(render(report)),
            Ok(Err(error)) => Err(run_error(error)),
            Err(error) => Err(bridge::join_error(&error).into()),
        }
    }))
}

fn run_error(error: RunError) -> Failure {
    match error {
        RunError::OutOfMemory { .. } => ApiError::storage(error.to_string()).into(),
        other => ApiError::internal(other).into(),
    }
}

/// The refusal of a request whose fields are each in range and together too much for this machine now.
pub fn limit_exceeded(exceeded: &LimitExceeded) -> ApiError {
    ApiError::new(Code::ProductTooLarge, exceeded.to_string())
        .field(exceeded.field)
        .limit(exceeded.limit())
}
