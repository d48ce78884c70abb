//! What this machine and build allow beside what is chosen.

use crate::monitor;

/// What can be had here; see [`availability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Availability {
    /// Taking workers from threads that sleep in the kernel, or why not.
    pub hand_off: Result<(), &'static str>,
    /// Stopping routines that do not give way, or why not.
    pub forced_preemption: Result<(), &'static str>,
}

/// What can be had here, whatever is on. Tries it: afterwards the process is registered for `membarrier(2)` and
/// has this crate's handler for `SIGURG`, which passes on what is not for it.
///
/// ```
/// use openwork::config;
///
/// match config::availability().forced_preemption {
///     Ok(()) => println!("a loop that never gives way can be stopped"),
///     Err(why) => println!("routines are only asked to give way: {why}"),
/// }
/// ```
pub fn availability() -> Availability {
    Availability {
        hand_off: monitor::prepare_hand_off(),
        forced_preemption: monitor::prepare_freezing(),
    }
}
