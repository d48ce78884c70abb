//! What one measurement gives: figures with names and units, and the clocks that they come from.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Name of the figure that every bench of a speed has: wall time per operation.
pub const TIME: &str = "time";
/// Name of the figure beside it: what the process spent on processors, per operation. Where others
/// load the machine this one is the steadier of the two.
pub const CPU: &str = "cpu";

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured, like `time` or `late_p99`.
    pub name: String,
    /// Its unit, like `ns`.
    pub unit: String,
    /// The value.
    pub value: f64,
}

impl Figure {
    pub(crate) fn new(name: &str, unit: &str, value: f64) -> Figure {
        Figure {
            name: name.to_owned(),
            unit: unit.to_owned(),
            value,
        }
    }
}

// The line in which a measuring process tells a figure to the one that started it. The Go program
// writes the same.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "figure {} {} {}", self.name, self.unit, self.value)
    }
}

/// A line that is no figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no figure")]
pub struct NoFigure(String);

impl FromStr for Figure {
    type Err = NoFigure;

    fn from_str(line: &str) -> Result<Figure, NoFigure> {
        let wrong = || NoFigure(line.to_owned());
        let words: Vec<_> = line.split_whitespace().collect();
        let ["figure", name, unit, value] = words[..] else {
            return Err(wrong());
        };
        let value: f64 = value.parse().map_err(|_| wrong())?;
        if !value.is_finite() {
            return Err(wrong());
        }
        Ok(Figure::new(name, unit, value))
    }
}

/// Wall and processor time of a stretch of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Stopwatch {
        let cpu = process_cpu();
        Stopwatch {
            wall: Instant::now(),
            cpu,
        }
    }

    /// Wall and processor time since the start.
    pub(crate) fn read(&self) -> (Duration, Duration) {
        (self.wall.elapsed(), process_cpu().saturating_sub(self.cpu))
    }

    /// The two figures of `ops` operations, in nanoseconds each.
    pub(crate) fn per_op(&self, ops: u64) -> Vec<Figure> {
        let (wall, cpu) = self.read();
        let each = |time: Duration| time.as_nanos() as f64 / ops as f64;
        vec![
            Figure::new(TIME, "ns", each(wall)),
            Figure::new(CPU, "ns", each(cpu)),
        ]
    }
}

/// What all threads of this process have spent on processors, in user and kernel mode.
pub(crate) fn process_cpu() -> Duration {
    spent(ClockId::ProcessCPUTime)
}

/// What this thread has spent, in nanoseconds.
pub(crate) fn thread_cpu() -> u64 {
    spent(ClockId::ThreadCPUTime).as_nanos() as u64
}

fn spent(clock: ClockId) -> Duration {
    let spent = clock_gettime(clock);
    Duration::new(
        spent.tv_sec.unsigned_abs(),
        u32::try_from(spent.tv_nsec).unwrap_or(0),
    )
}

/// The middle, the 99th of a hundred, and the greatest of some values; nothing of no values.
pub(crate) fn percentiles(mut values: Vec<u64>) -> Option<[u64; 3]> {
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    let at = |share: usize| values[last * share / 100];
    Some([at(50), at(99), values[last]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_survives_its_line() {
        let figure = Figure::new("late_p99", "us", 12.25);
        assert_eq!(figure.to_string().parse(), Ok(figure));
    }

    #[test]
    fn a_line_that_is_no_figure_is_refused() {
        for line in [
            "",
            "figure time ns",
            "figure time ns x",
            "figure time ns NaN",
            "time ns 1 2",
        ] {
            assert!(line.parse::<Figure>().is_err(), "{line}");
        }
    }

    #[test]
    fn percentiles_are_taken_from_the_values() {
        assert_eq!(percentiles((0..=100).rev().collect()), Some([50, 99, 100]));
        assert_eq!(percentiles(vec![7]), Some([7, 7, 7]));
        assert_eq!(percentiles(Vec::new()), None);
    }

    #[test]
    fn work_costs_processor_time() {
        let watch = Stopwatch::start();
        let mut sum = 0u64;
        while watch.wall.elapsed() < Duration::from_millis(5) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(watch.read().1 > Duration::ZERO);
    }
}
