//! What can be asked for.

use std::ops::RangeInclusive;

use crate::block::DATA_BYTES_MAX;
use crate::difficulty::Difficulty;

/// How the routines of a run share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Each routine mines one block of its own; N routines make the chain N blocks longer. The
    /// blocks' data are the request's with `-worker-<i>` behind.
    #[default]
    Chain,
    /// All routines search for the nonce of one block, whose data is the request's.
    Race,
}

impl Mode {
    /// `chain` or `race`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Chain => "chain",
            Mode::Race => "race",
        }
    }
}

/// A run to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MineRequest {
    /// What the blocks carry: 1 to [`DATA_BYTES_MAX`] bytes.
    pub data: String,
    /// Number of mining routines, within [`ROUTINES`](MineRequest::ROUTINES).
    pub routines: u32,
    /// Leading zero bits to search for.
    pub difficulty: Difficulty,
    /// How the routines share the work.
    pub mode: Mode,
    /// Attempts after which a routine gives its worker back, within
    /// [`YIELD_EVERY`](MineRequest::YIELD_EVERY); 0: a hog, which never gives it back until it has found
    /// a block, its tip has moved, or it is to end.
    pub yield_every: u64,
}

/// A field of a request is outside its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be between {min} and {max}{unit}")]
pub struct InvalidRequest {
    /// The field's name.
    pub field: &'static str,
    /// Its smallest value.
    pub min: u64,
    /// Its largest value.
    pub max: u64,
    /// The unit with a space before it, or nothing.
    pub unit: &'static str,
}

impl MineRequest {
    /// Routines of one run.
    pub const ROUTINES: RangeInclusive<u32> = 1..=10_000;
    /// Attempts per turn. 1,000 take some 0.1 ms, 10 million some seconds; in between lies the
    /// trade of switching cost against how soon others get their turn.
    pub const YIELD_EVERY: RangeInclusive<u64> = 1_000..=10_000_000;
    /// The old service yielded each 100,000 attempts, and so does a request that does not say.
    pub const YIELD_EVERY_DEFAULT: u64 = 100_000;

    /// N routines that mine a block each.
    pub fn chain(data: impl Into<String>, routines: u32, difficulty: Difficulty) -> MineRequest {
        MineRequest {
            data: data.into(),
            routines,
            difficulty,
            mode: Mode::Chain,
            yield_every: Self::YIELD_EVERY_DEFAULT,
        }
    }

    /// N routines that search for one block.
    pub fn race(data: impl Into<String>, routines: u32, difficulty: Difficulty) -> MineRequest {
        MineRequest {
            mode: Mode::Race,
            ..MineRequest::chain(data, routines, difficulty)
        }
    }

    /// One block by one routine: a race without rivals.
    pub fn one_block(data: impl Into<String>, difficulty: Difficulty) -> MineRequest {
        MineRequest::race(data, 1, difficulty)
    }

    /// Blocks that the run is to append.
    pub fn blocks(&self) -> u64 {
        match self.mode {
            Mode::Chain => self.routines.into(),
            Mode::Race => 1,
        }
    }

    /// The mean number of attempts that the run's blocks take together.
    pub fn expected_attempts(&self) -> u64 {
        self.blocks() * self.difficulty.expected_attempts()
    }

    /// Whether every field is within its limits.
    ///
    /// # Errors
    ///
    /// The first field that is not.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        let within = |field, value: u64, min: u64, max: u64, unit| {
            let valid = (min..=max).contains(&value);
            valid.then_some(()).ok_or(InvalidRequest {
                field,
                min,
                max,
                unit,
            })
        };
        within(
            "data",
            self.data.len() as u64,
            1,
            DATA_BYTES_MAX as u64,
            " bytes",
        )?;
        let (min, max) = (*Self::ROUTINES.start(), *Self::ROUTINES.end());
        within("routines", self.routines.into(), min.into(), max.into(), "")?;
        if self.is_hog() {
            return Ok(());
        }
        let (min, max) = (*Self::YIELD_EVERY.start(), *Self::YIELD_EVERY.end());
        within("yield_every", self.yield_every, min, max, " attempts")
    }

    /// Whether its routines never give way of themselves.
    pub fn is_hog(&self) -> bool {
        self.yield_every == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_limits_that_are_named() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut MineRequest), expected: Result<(), &str>) {
            let mut request = MineRequest::chain("x", 1, Difficulty::DEFAULT);
            change(&mut request);
            let found = request.check().map_err(|invalid| invalid.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
        }
        check(|_| {}, Ok(()));
        check(
            |request| request.data.clear(),
            Err("data must be between 1 and 65536 bytes"),
        );
        check(|request| request.data = "x".repeat(65_536), Ok(()));
        check(
            |request| request.data = "x".repeat(65_537),
            Err("data must be between 1 and 65536 bytes"),
        );
        check(|request| request.routines = 10_000, Ok(()));
        check(
            |request| request.routines = 0,
            Err("routines must be between 1 and 10000"),
        );
        check(
            |request| request.routines = 10_001,
            Err("routines must be between 1 and 10000"),
        );
        check(
            |request| request.yield_every = 999,
            Err("yield_every must be between 1000 and 10000000 attempts"),
        );
        check(|request| request.yield_every = 10_000_000, Ok(()));
        check(|request| request.yield_every = 0, Ok(()));
    }
}
