//! A log line for each routine that panicked: who, spawned where, and what it said.
//!
//! The panic hook knows neither name nor spawn site, so the lines are written from the runtime's own record, with
//! the next sample.

use std::sync::Mutex;

use openwork::Handle;
use openwork_observatory::Observatory;

/// Logs every panic from now on.
pub(crate) fn follow(observatory: &Observatory, runtime: Handle) {
    let read_up_to = Mutex::new(0);
    observatory.on_sample(move |_| {
        let Ok(mut from) = read_up_to.lock() else {
            return;
        };
        let mut panics = Vec::new();
        let read = runtime.panics(*from, &mut panics);
        *from = read.next;
        for panic in panics {
            tracing::error!(
                routine = %panic.routine,
                name = panic.name.as_deref().map(tracing::field::debug),
                spawned_at = %format_args!("{}:{}", panic.site.file(), panic.site.line()),
                said = ?panic.message,
                "routine panicked"
            );
        }
        if read.lost > 0 {
            tracing::error!(
                lost = read.lost,
                "further routines panicked, too many to be kept"
            );
        }
    });
}
