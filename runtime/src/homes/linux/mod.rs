//! Homes on Linux with the GNU C library: donors, carriers, and what both need.

mod arch;
mod carrier;
mod donor;
mod fork;
mod limits;
mod rseq;
mod self_test;
mod setxid;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use crate::homes::NoHomes;

pub(crate) use carrier::Carrier;
pub(crate) use donor::{Donor, STACK_BYTES};
pub(crate) use fork::check as check_not_forked;
pub(crate) use limits::room;
pub(crate) use setxid::broadcasts as credentials_changed;

/// Makes the process ready for homes, once.
///
/// # Errors
/// Why it cannot have any. Asked again, it tries again: a limit may have been raised.
pub(crate) fn prepare() -> Result<(), NoHomes> {
    static READY: Mutex<bool> = Mutex::new(false);
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    if !*ready {
        self_test::run()?;
        fork::watch();
        *ready = true;
    }
    Ok(())
}
