//! A schedule as a value: what was chosen in one run, to be kept, compared and repeated.

use std::fmt;
use std::str::FromStr;

/// One choice.
///
/// ```
/// use openwork::deterministic::{Decision, Schedule};
/// let schedule: Schedule = "17: 1 2 w3".parse().unwrap();
/// assert_eq!(schedule.decisions, [Decision::Run(1), Decision::Run(2), Decision::Wake(3)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Of several routines that could run, this one went next. At an exploration point it may be the
    /// one that was running.
    Run(u64),
    /// This blocked routine was woken for no reason.
    Wake(u64),
}

/// What was chosen in one run: seed and decisions. As text it is one line.
///
/// ```
/// use openwork::deterministic::{Config, Schedule};
/// use openwork::{spawn, yield_now};
///
/// fn program() {
///     let child = spawn(yield_now);
///     yield_now();
///     child.join().unwrap();
/// }
/// let run = Config::new().run(17, program).unwrap();
/// let kept = run.schedule.to_string();
/// let schedule: Schedule = kept.parse().unwrap();
/// let again = Config::new().replay(&schedule, program).unwrap();
/// assert_eq!(again.schedule.to_string(), kept);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// The seed of whatever is drawn and not decided: the time that steps take, the order in which
    /// `select!` tries its arms.
    pub seed: u64,
    /// The choices, in order. Where one routine alone could run there is none.
    pub decisions: Vec<Decision>,
}

/// Why a text is no [`Schedule`].
///
/// ```
/// use openwork::deterministic::Schedule;
/// let error = "17: 1 two".parse::<Schedule>().unwrap_err();
/// assert_eq!(error.word, "two");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a schedule, which reads like `17: 1 2 2 w3`: {word:?}")]
pub struct ScheduleParseError {
    /// What could not be read.
    pub word: String,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Run(id) => write!(f, "{id}"),
            Decision::Wake(id) => write!(f, "w{id}"),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seed)?;
        self.decisions
            .iter()
            .try_for_each(|decision| write!(f, " {decision}"))
    }
}

impl FromStr for Schedule {
    type Err = ScheduleParseError;

    fn from_str(text: &str) -> Result<Schedule, ScheduleParseError> {
        let number = |word: &str| {
            word.parse().map_err(|_| ScheduleParseError {
                word: word.to_owned(),
            })
        };
        let (seed, rest) = text.split_once(':').unwrap_or((text, ""));
        let decisions = rest.split_whitespace().map(|word| {
            Ok(match word.strip_prefix('w') {
                Some(id) => Decision::Wake(number(id)?),
                None => Decision::Run(number(word)?),
            })
        });
        Ok(Schedule {
            seed: number(seed.trim())?,
            decisions: decisions.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_survives_being_text() {
        let schedule = Schedule {
            seed: u64::MAX,
            decisions: vec![Decision::Run(1), Decision::Wake(20), Decision::Run(3)],
        };
        assert_eq!(schedule.to_string(), "18446744073709551615: 1 w20 3");
        assert_eq!(schedule.to_string().parse(), Ok(schedule));
    }

    #[test]
    fn what_is_no_schedule_is_named() {
        let refused = |text: &str| text.parse::<Schedule>().unwrap_err().word;
        assert_eq!(refused(""), "");
        assert_eq!(refused("x: 1"), "x");
        assert_eq!(refused("1: 2 w"), "");
        assert_eq!(refused("1: 2 3,4"), "3,4");
    }
}
