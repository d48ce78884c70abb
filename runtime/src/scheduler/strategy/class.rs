//! Whether a routine computes or waits, from what it has done: how often it waited and gave way, and at how
//! many of the kernel's ticks its turns were found running.
//!
//! It is one word in the routine's block; a wait and a yield cost a store to a line that is written anyway, a tick
//! is looked up at the end of each turn already.

use crate::snapshot::RoutineClass;

/// Counters in one word: ticks in 4 bits, waits in 6, yields in 6. When one of them is full, all are halved:
/// what was long ago counts less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Habit(u16);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The kernel's tick came in its turn.
    Tick,
    Wait,
    Yield,
}

impl Deed {
    const fn shift(self) -> u32 {
        match self {
            Deed::Tick => 0,
            Deed::Wait => 4,
            Deed::Yield => 10,
        }
    }

    const fn mask(self) -> u16 {
        match self {
            Deed::Tick => 0b1111,
            Deed::Wait | Deed::Yield => 0b11_1111 << self.shift(),
        }
    }
}

/// Each counter without its lowest bit, which halving would move into its neighbour.
const UPPER: u16 = !(1 << Deed::Tick.shift() | 1 << Deed::Wait.shift() | 1 << Deed::Yield.shift());

/// Fewer waits and yields tell nothing.
const ENOUGH: u16 = 4;

/// Who computes for longer than this, in nanoseconds, from one wait to the next, computes.
const LONG_NS: u64 = 1_000_000;

/// Who gives way so many times from one wait to the next computes, however short the turns are.
const OFTEN: u16 = 8;

impl Habit {
    pub(crate) fn from_bits(bits: u16) -> Habit {
        Habit(bits)
    }

    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    /// With one more of these.
    #[inline]
    pub(crate) fn with(self, deed: Deed) -> Habit {
        if self.0 & deed.mask() == deed.mask() {
            return Habit((self.0 & UPPER) >> 1).with(deed);
        }
        Habit(self.0 + (1 << deed.shift()))
    }

    fn count(self, deed: Deed) -> u16 {
        (self.0 & deed.mask()) >> deed.shift()
    }

    /// What that makes of the routine, if it is enough to tell; a tick is so long.
    pub(crate) fn class(self, tick_ns: u64) -> Option<RoutineClass> {
        let ticks = self.count(Deed::Tick);
        let waits = self.count(Deed::Wait);
        let yields = self.count(Deed::Yield);
        if ticks > 0 && u64::from(ticks) * tick_ns > u64::from(waits) * LONG_NS {
            return Some(RoutineClass::Cpu);
        }
        if waits + yields < ENOUGH {
            return None;
        }
        if yields > OFTEN * waits {
            Some(RoutineClass::Cpu)
        } else {
            Some(RoutineClass::Io)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn habit(ticks: u16, waits: u16, yields: u16) -> Habit {
        let mut habit = Habit(0);
        for (deed, times) in [
            (Deed::Tick, ticks),
            (Deed::Wait, waits),
            (Deed::Yield, yields),
        ] {
            habit = (0..times).fold(habit, |habit, _| habit.with(deed));
        }
        habit
    }

    #[test]
    fn who_waits_is_told_from_who_computes() {
        let class = |ticks, waits, yields| habit(ticks, waits, yields).class(4_000_000);
        use RoutineClass::{Cpu, Io};
        assert_eq!(class(0, 0, 0), None);
        assert_eq!(class(0, 2, 1), None, "too little to tell");
        assert_eq!(class(0, 4, 0), Some(Io));
        assert_eq!(class(1, 0, 0), Some(Cpu), "a long turn and no wait");
        assert_eq!(class(1, 3, 0), Some(Cpu), "more than 1 ms a wait");
        assert_eq!(class(1, 50, 0), Some(Io), "the tick came by chance");
        assert_eq!(class(0, 0, 50), Some(Cpu), "it never waits");
        assert_eq!(class(0, 5, 15), Some(Io));
        assert_eq!(class(15, 4, 0), Some(Cpu), "jobs of 15 ms");
    }

    /// Counters are halved together, and none runs over into its neighbour.
    #[test]
    fn what_was_long_ago_counts_less() {
        let full = habit(15, 63, 63);
        assert_eq!(full.0, u16::MAX);
        for deed in [Deed::Tick, Deed::Wait, Deed::Yield] {
            let more = full.with(deed);
            let halved = [7, 31, 31];
            for (other, half) in [Deed::Tick, Deed::Wait, Deed::Yield]
                .into_iter()
                .zip(halved)
            {
                assert_eq!(more.count(other), half + u16::from(other == deed));
            }
        }
        // A routine that has computed, and then waits again and again.
        let changed = (0..200).fold(habit(15, 0, 63), |habit, _| habit.with(Deed::Wait));
        assert_eq!(changed.class(4_000_000), Some(RoutineClass::Io));
    }
}
