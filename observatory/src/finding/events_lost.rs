//! Events overwritten in a ring before the sampler read them: the lanes then have holes.

use std::collections::VecDeque;

use super::{Finding, Kind, SHOWN_NS, counted};

/// The cumulative loss, at each moment in the last [`SHOWN_NS`] when it grew.
#[derive(Debug, Default)]
pub(crate) struct EventsLost {
    grown: VecDeque<(u64, u64)>,
    /// The loss before the oldest of them.
    before: u64,
}

impl EventsLost {
    /// With `lost` events so far.
    pub(crate) fn at(&mut self, now_ns: u64, lost: u64) -> Option<Finding> {
        if lost > self.grown.back().map_or(self.before, |(_, lost)| *lost) {
            self.grown.push_back((now_ns, lost));
        }
        while let Some((at_ns, lost)) = self.grown.front()
            && at_ns + SHOWN_NS < now_ns
        {
            self.before = *lost;
            self.grown.pop_front();
        }
        let recent = lost.saturating_sub(self.before);
        let rest = match recent {
            0 => return None,
            1 => "was overwritten in the last 10 s before it could be drawn.",
            _ => "were overwritten in the last 10 s before they could be drawn.",
        };
        Some(Finding {
            kind: Kind::EventsLost,
            text: format!("{} {rest}", counted(recent, "event")),
            link: "#lanes",
        })
    }
}
