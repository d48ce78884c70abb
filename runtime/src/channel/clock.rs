//! Channels whose sender is the clock.
//!
//! No timer sends anything: a receiver that waits sleeps until the message is due and then takes it. So
//! such a channel costs nothing while nobody waits.

use std::time::{Duration, Instant};

use crate::scheduler::timers::NEVER;
use crate::time;

/// What stands in the place of senders. Nanoseconds since process start.
pub(crate) struct Clock<T> {
    due: u64,
    every: Option<u64>,
    /// Makes the message of the moment at which it was due.
    make: fn(Instant) -> T,
}

impl Clock<Instant> {
    pub(crate) fn once(after: Duration) -> Clock<Instant> {
        Clock {
            due: time::deadline(after),
            every: None,
            make: |at| at,
        }
    }

    pub(crate) fn ticking(every: Duration) -> Clock<Instant> {
        let step = u64::try_from(every.as_nanos()).unwrap_or(NEVER);
        assert!(step > 0, "a tick needs a period");
        Clock {
            due: time::deadline(every),
            every: Some(step),
            make: |at| at,
        }
    }
}

impl<T> Clock<T> {
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// The message, if it is due.
    pub(crate) fn take(&mut self) -> Option<T> {
        // No look at the clock for a channel that will never say anything again.
        if self.due == NEVER {
            return None;
        }
        let now = time::now_ns();
        let late = now.checked_sub(self.due)?;
        self.due = match self.every {
            // Ticks that nobody took are left out; the rhythm stays.
            Some(step) => now.saturating_add(step - late % step),
            None => NEVER,
        };
        Some((self.make)(time::instant_of(now - late)))
    }
}
