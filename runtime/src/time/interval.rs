//! A rhythm.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::Sleep;
use crate::cancel::Cancelled;
use crate::time;

/// A tick that is taken so much late counts as missed under [`MissedTickBehavior::Delay`], or if it is a
/// whole period late: every tick is a little late, and the rhythm should not wander by that. The bound is
/// tokio's.
const MISSED_NS: u64 = 5_000_000;

/// What an [`Interval`] does about ticks that nobody took in time. The names mean what they mean in
/// tokio.
///
/// With a period of 10 ms, when the tick of 20 ms is taken at 47 ms:
///
/// | | the next ticks are due at |
/// |---|---|
/// | [`Burst`](Self::Burst) | 30, 40 (both at once), 50, 60 |
/// | [`Delay`](Self::Delay) | 57, 67 |
/// | [`Skip`](Self::Skip) | 50, 60 |
///
/// ```
/// use openwork::time::{self, MissedTickBehavior};
/// use std::time::Duration;
///
/// let mut rhythm = time::interval(Duration::from_millis(1));
/// rhythm.set_missed_tick_behavior(MissedTickBehavior::Skip);
/// let first = rhythm.tick();
/// std::thread::sleep(Duration::from_millis(5));
/// let next = rhythm.tick();
/// let third = rhythm.tick();
/// assert!(next < third && third.duration_since(first) >= Duration::from_millis(5), "left out");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// All of them come at once, until the rhythm is caught up with: for work that must be done so many
    /// times.
    #[default]
    Burst,
    /// The next one comes a period after the late one was taken: for a pause between two pieces of work. A
    /// tick that is late by less than 5 ms and less than a period does not count as missed, so that the
    /// rhythm does not wander.
    Delay,
    /// They are left out, and the rhythm stays.
    Skip,
}

impl MissedTickBehavior {
    /// When the tick after the one of `due` is due, that one being taken at `now`.
    fn next(self, due: u64, now: u64, period: u64) -> u64 {
        let late = now.saturating_sub(due);
        match self {
            MissedTickBehavior::Delay if late >= MISSED_NS.min(period) => {
                now.saturating_add(period)
            }
            MissedTickBehavior::Skip => now.saturating_add(period - late % period),
            _ => due.saturating_add(period),
        }
    }
}

/// A tick each period; made by [`interval`] and [`interval_at`].
///
/// Ticks are taken one after the other, by [`tick`](Self::tick) in a routine or a thread, by
/// [`tick_async`](Self::tick_async) or [`poll_tick`](Self::poll_tick) in async code. It costs nothing
/// while nobody waits for one.
///
/// ```
/// use openwork::time::{self, Interval};
/// use std::time::Duration;
///
/// let mut rhythm: Interval = time::interval(Duration::from_millis(1));
/// let (one, two) = (rhythm.tick(), rhythm.tick());
/// assert_eq!(two - one, Duration::from_millis(1));
/// ```
#[derive(Debug)]
pub struct Interval {
    /// To the next tick.
    sleep: Sleep,
    period: u64,
    missed: MissedTickBehavior,
}

/// Each tick; never ends.
impl futures_core::Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}

/// A future of the next tick; made by [`Interval::tick_async`].
///
/// ```
/// use openwork::{Runtime, time};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let task = rt.spawn_future(async {
///     let mut rhythm = time::interval(Duration::from_millis(1));
///     rhythm.tick_async().await;
///     rhythm.tick_async().await
/// });
/// assert!(task.join().unwrap() <= std::time::Instant::now());
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Tick<'a>(&'a mut Interval);

/// Ticks each `period`, the first time at once.
///
/// ```
/// use openwork::{Runtime, time};
/// use std::time::{Duration, Instant};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let began = Instant::now();
///     let mut rhythm = time::interval(Duration::from_millis(1));
///     for _ in 0..4 {
///         rhythm.tick();
///     }
///     assert!(began.elapsed() >= Duration::from_millis(3));
/// });
/// ```
///
/// # Panics
/// If `period` is zero.
pub fn interval(period: Duration) -> Interval {
    starting(time::now_ns(), period)
}

/// Ticks each `period`, the first time at `start`.
///
/// ```
/// use openwork::time;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now() + Duration::from_millis(2);
/// let mut rhythm = time::interval_at(start, Duration::from_millis(1));
/// assert_eq!(rhythm.tick(), start);
/// assert_eq!(rhythm.tick(), start + Duration::from_millis(1));
/// ```
///
/// # Panics
/// If `period` is zero.
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    starting(time::ns_of(start), period)
}

fn starting(at: u64, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period");
    Interval {
        sleep: Sleep::to(at),
        period: time::nanos(period),
        missed: MissedTickBehavior::default(),
    }
}

impl Interval {
    /// Waits for the next tick, and returns the moment at which it was due. A cancelled routine unwinds.
    ///
    /// ```
    /// let mut rhythm = openwork::time::interval(std::time::Duration::from_millis(1));
    /// assert!(rhythm.tick() < rhythm.tick());
    /// ```
    ///
    /// # Panics
    /// As [`sleep`](super::sleep).
    pub fn tick(&mut self) -> Instant {
        time::sleep_to(self.sleep.at());
        self.take()
    }

    /// As [`tick`](Self::tick), but tells a routine that was asked to end so instead of unwinding, the
    /// first time.
    ///
    /// ```
    /// let mut rhythm = openwork::time::interval(std::time::Duration::from_millis(1));
    /// assert!(rhythm.try_tick().is_ok());
    /// ```
    ///
    /// # Errors
    /// [`Cancelled`] if the routine was asked to end before or while it waited. The tick is not taken.
    ///
    /// # Panics
    /// As [`sleep`](super::sleep).
    pub fn try_tick(&mut self) -> Result<Instant, Cancelled> {
        time::try_sleep_to(self.sleep.at())?;
        Ok(self.take())
    }

    /// The next tick, for async code. A tick is taken when the future is ready: to drop it before loses
    /// none.
    ///
    /// ```
    /// use openwork::{Runtime, time};
    /// use std::time::Duration;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.spawn_future(async {
    ///     let mut rhythm = time::interval(Duration::from_millis(1));
    ///     let first = rhythm.tick_async().await;
    ///     assert_eq!(rhythm.tick_async().await, first + Duration::from_millis(1));
    /// })
    /// .join()
    /// .unwrap();
    /// ```
    pub fn tick_async(&mut self) -> Tick<'_> {
        Tick(self)
    }

    /// Polls for the next tick; the task is woken when it is due.
    ///
    /// ```
    /// use openwork::time;
    /// use std::task::{Context, Poll, Waker};
    /// use std::time::Duration;
    ///
    /// let mut rhythm = time::interval(Duration::from_secs(3600));
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(rhythm.poll_tick(&mut cx).is_ready(), "the first one comes at once");
    /// assert!(rhythm.poll_tick(&mut cx).is_pending());
    /// ```
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        Pin::new(&mut self.sleep).poll(cx).map(|()| self.take())
    }

    /// The tick that is due was taken.
    fn take(&mut self) -> Instant {
        let due = self.sleep.at();
        let next = self.missed.next(due, time::now_ns(), self.period);
        self.sleep = Sleep::to(next);
        time::instant_of(due)
    }

    /// The time between two ticks.
    ///
    /// ```
    /// let second = std::time::Duration::from_secs(1);
    /// assert_eq!(openwork::time::interval(second).period(), second);
    /// ```
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.period)
    }

    /// What becomes of missed ticks.
    ///
    /// ```
    /// use openwork::time::{self, MissedTickBehavior};
    ///
    /// let rhythm = time::interval(std::time::Duration::from_secs(1));
    /// assert_eq!(rhythm.missed_tick_behavior(), MissedTickBehavior::Burst);
    /// ```
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Says what becomes of missed ticks.
    ///
    /// ```
    /// use openwork::time::{self, MissedTickBehavior};
    ///
    /// let mut rhythm = time::interval(std::time::Duration::from_millis(1));
    /// rhythm.set_missed_tick_behavior(MissedTickBehavior::Skip);
    /// rhythm.tick();
    /// ```
    pub fn set_missed_tick_behavior(&mut self, missed: MissedTickBehavior) {
        self.missed = missed;
    }

    /// The next tick is due a period from now.
    ///
    /// ```
    /// let mut rhythm = openwork::time::interval(std::time::Duration::from_millis(1));
    /// rhythm.reset();
    /// assert!(rhythm.tick() <= std::time::Instant::now());
    /// ```
    pub fn reset(&mut self) {
        self.sleep
            .reset_to(time::now_ns().saturating_add(self.period));
    }

    /// The next tick is due at `at`.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let mut rhythm = openwork::time::interval(Duration::from_secs(3600));
    /// let at = Instant::now() + Duration::from_millis(1);
    /// rhythm.reset_at(at);
    /// assert_eq!(rhythm.tick(), at);
    /// ```
    pub fn reset_at(&mut self, at: Instant) {
        self.sleep.reset(at);
    }
}

impl Future for Tick<'_> {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        self.0.poll_tick(cx)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The ticks after that of 20 with a period of 10, all in milliseconds: when each is due, if it is
    /// taken when it is due or as soon as its predecessor was.
    #[track_caller]
    fn check(missed: MissedTickBehavior, taken_at: u64, expected: [u64; 4]) {
        const MS: u64 = 1_000_000;
        let (mut due, mut now) = (20 * MS, taken_at * MS);
        let next = expected.map(|_| {
            due = missed.next(due, now, 10 * MS);
            now = now.max(due);
            due / MS
        });
        assert_eq!(next, expected, "{missed:?}, taken at {taken_at}");
    }

    #[test]
    fn missed_ticks_are_sent_delayed_or_skipped() {
        check(MissedTickBehavior::Burst, 47, [30, 40, 50, 60]);
        check(MissedTickBehavior::Delay, 47, [57, 67, 77, 87]);
        check(MissedTickBehavior::Skip, 47, [50, 60, 70, 80]);
    }

    #[test]
    fn a_tick_in_time_keeps_the_rhythm() {
        for missed in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            check(missed, 20, [30, 40, 50, 60]);
            check(missed, 23, [30, 40, 50, 60]);
        }
    }

    #[test]
    fn a_tick_that_is_a_period_late_counts_as_missed_however_short() {
        let next = |missed: MissedTickBehavior| missed.next(100, 150, 50);
        assert_eq!(next(MissedTickBehavior::Burst), 150);
        assert_eq!(next(MissedTickBehavior::Delay), 200);
        assert_eq!(next(MissedTickBehavior::Skip), 200);
    }

    #[test]
    fn a_rhythm_beyond_the_end_of_time_stands_still() {
        for missed in [MissedTickBehavior::Burst, MissedTickBehavior::Skip] {
            assert_eq!(missed.next(10, 20, u64::MAX), u64::MAX);
        }
    }
}
