//! Turns of over a second that have ended. Others that could have run had to wait behind them.

use std::collections::VecDeque;

use openwork::WorkerId;
use openwork::snapshot::TurnRecord;

use super::{Finding, Kind, LONG_NS, SHOWN_NS, spoken};
use crate::lanes::end;

/// With eight stuck workers a turn each second: enough for all of [`SHOWN_NS`].
const KEPT: usize = 80;

/// Long turns that ended a short while ago.
#[derive(Debug, Default)]
pub(crate) struct LongTurns {
    recent: VecDeque<(WorkerId, TurnRecord)>,
}

impl LongTurns {
    /// Takes note of the long ones among `turns`.
    pub(crate) fn look(&mut self, worker: WorkerId, turns: &[TurnRecord]) {
        for turn in turns.iter().filter(|turn| turn.length_ns > LONG_NS) {
            if self.recent.len() == KEPT {
                self.recent.pop_front();
            }
            self.recent.push_back((worker, *turn));
        }
    }

    pub(crate) fn found(&mut self, now_ns: u64) -> Option<Finding> {
        self.recent
            .retain(|(_, turn)| end(turn) + SHOWN_NS >= now_ns);
        let (worker, turn) = self.recent.iter().max_by_key(|(_, turn)| turn.length_ns)?;
        let TurnRecord { routine, site, .. } = turn;
        let length = spoken(turn.length_ns);
        let text = match self.recent.len() {
            1 => format!(
                "Routine {routine} ran for {length} in one turn on worker {worker} while others had to wait; \
                 spawned at {site}."
            ),
            turns => format!(
                "{turns} turns took over a second, the longest {length}: routine {routine} on worker {worker}; \
                 spawned at {site}."
            ),
        };
        Some(Finding {
            kind: Kind::LongTurn,
            text,
            link: "#lanes",
        })
    }
}
