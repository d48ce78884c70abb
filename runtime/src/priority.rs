//! Which routines go before which.

/// Whose turn comes first among routines that wait for the same worker. Set with
/// [`Builder::priority`](crate::Builder::priority); a routine keeps it for life, and those that it
/// spawns do not inherit it.
///
/// **The rule.** A worker that looks for its next turn takes a high one before the others and a low one
/// after them, but
///
/// - after 15 high turns in a row it gives the next one to a lower level, if one waits,
/// - while low ones wait, one turn in 64 at least is given to them.
///
/// So no level starves. The rule orders what a worker has before it, by turns, not by time, and nobody is
/// interrupted: a turn lasts until the routine gives way. Routines that may run anywhere are taken by
/// any worker in the order of their spawns. A worker with nothing else to do runs low ones rather than
/// look for normal ones at other workers.
///
/// Beware of inversion: a high routine that waits for a lock held by a low one waits as long as that one
/// does.
///
/// ```
/// use openwork::{Builder, Priority, Runtime};
/// use std::sync::{Arc, Mutex};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let order = rt.block_on(|| {
///     let order = Arc::new(Mutex::new(Vec::new()));
///     let all = [Priority::Low, Priority::Normal, Priority::High].map(|priority| {
///         let order = order.clone();
///         let note = move || order.lock().unwrap().push(priority);
///         Builder::new().priority(priority).spawn(note).unwrap()
///     });
///     all.map(|routine| routine.join().unwrap());
///     order.lock().unwrap().clone()
/// });
/// assert_eq!(order, [Priority::High, Priority::Normal, Priority::Low]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Priority {
    /// What is asked for most.
    #[default]
    Normal = 0,
    /// What should wait for nobody: short turns that others depend on.
    High = 1,
    /// What may wait: upkeep, prefetching.
    Low = 2,
}

impl Priority {
    /// The word shown to people and programs.
    ///
    /// ```
    /// assert_eq!(openwork::Priority::High.name(), "high");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }

    pub(crate) fn from_u8(raw: u8) -> Priority {
        match raw {
            1 => Priority::High,
            2 => Priority::Low,
            _ => Priority::Normal,
        }
    }
}
