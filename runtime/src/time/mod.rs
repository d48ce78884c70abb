//! Time: the runtime's clock, sleeping, rhythms and limits.
//!
//! | | blocks a routine or a thread | for async code |
//! |---|---|---|
//! | once | [`sleep`], [`sleep_until`] | [`after`], [`until`] |
//! | again and again | [`Interval::tick`] | [`Interval::tick_async`], [`Interval::poll_tick`] |
//! | a limit | the calls with `timeout` or `deadline` in their name | [`timeout`], [`timeout_at`] |
//!
//! Deadlines are exact to the nanosecond; what is late is the system that wakes a sleeping thread, and
//! the routines that run before. A deadline costs 48 bytes while it is waited for, and nothing is left
//! of one that was not waited for to its end.
//!
//! The futures do their work on any executor. Inside a runtime of this crate the worker that polls
//! keeps their deadline; elsewhere one thread of the process does, which begins with the first of them.
//! It calls the tasks' wakers one after the other: one that blocks makes the others late.

mod interval;
mod sleep;
mod timeout;

pub use interval::{Interval, MissedTickBehavior, Tick, interval, interval_at};
pub use sleep::{Sleep, after, until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::cancel::{self, Cancelled};
use crate::scheduler::block::{self, Context, Interrupt};
use crate::scheduler::explore;
use crate::scheduler::timers::{Alarm, NEVER};
use crate::snapshot::WaitReason;

/// One moment on both clocks.
struct Anchor {
    monotonic: Instant,
    wall: SystemTime,
}

fn anchor() -> &'static Anchor {
    static ANCHOR: OnceLock<Anchor> = OnceLock::new();
    ANCHOR.get_or_init(|| Anchor {
        monotonic: Instant::now(),
        wall: SystemTime::now(),
    })
}

/// Nanoseconds since process start on the monotonic clock; "process start" is the first use of
/// this crate's clock.
///
/// In a [deterministic](crate::deterministic) run: nanoseconds of virtual time since the run began.
///
/// ```
/// let (first, second) = (openwork::time::now_ns(), openwork::time::now_ns());
/// assert!(first <= second);
/// ```
pub fn now_ns() -> u64 {
    if explore::is_live()
        && let Some(now) = explore::now_ns()
    {
        return now;
    }
    real_now_ns()
}

/// As [`now_ns`], on the real clock also in a deterministic run. Async-signal-safe once the process has
/// asked for the time before.
pub(crate) fn real_now_ns() -> u64 {
    // 584 years fit.
    anchor().monotonic.elapsed().as_nanos() as u64
}

/// The moment now, on the clock of [`now_ns`]: what deadlines are made of. Outside a
/// [deterministic](crate::deterministic) run the same as [`Instant::now`].
///
/// ```
/// use openwork::{channel, time};
/// use std::time::Duration;
///
/// let (_tx, rx) = channel::bounded::<()>(1);
/// let deadline = time::now() + Duration::from_millis(1);
/// assert!(rx.recv_deadline(deadline).is_err());
/// assert!(time::now() >= deadline);
/// ```
pub fn now() -> Instant {
    instant_of(now_ns())
}

/// Virtual instants begin that long after the process: so far from real ones that the two cannot be
/// taken for each other.
const VIRTUAL_AFTER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What a moment on the clock of [`now_ns`] is as an instant. One that `Instant` cannot hold becomes one
/// in a hundred years.
pub(crate) fn instant_of(ns: u64) -> Instant {
    const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let zero = anchor().monotonic;
    let zero = match explore::is_live() && explore::now_ns().is_some() {
        true => zero + VIRTUAL_AFTER,
        false => zero,
    };
    zero.checked_add(Duration::from_nanos(ns))
        .unwrap_or_else(|| zero + FAR)
}

/// What an instant is on the clock of [`now_ns`]: the one place where deadlines are converted. What
/// lies before the clock's zero is 0, and nothing is [`NEVER`].
///
/// In a deterministic run an instant of [`now`] is a virtual one, and exact. A real one (of
/// [`Instant::now`]) means the time that is left until it. As some of that has passed since the
/// program looked at the real clock, it is rounded up to a whole millisecond: otherwise each run
/// would have another deadline.
pub(crate) fn ns_of(at: Instant) -> u64 {
    const REAL_UNIT_NS: u128 = 1_000_000;
    let zero = anchor().monotonic;
    let ns = match explore::is_live().then(explore::now_ns).flatten() {
        None => at.saturating_duration_since(zero).as_nanos(),
        Some(now) => match at.checked_duration_since(zero + VIRTUAL_AFTER) {
            Some(virtually) => virtually.as_nanos(),
            None => {
                let left = at.saturating_duration_since(Instant::now()).as_nanos();
                u128::from(now) + left.div_ceil(REAL_UNIT_NS) * REAL_UNIT_NS
            }
        },
    };
    u64::try_from(ns).unwrap_or(NEVER).min(NEVER - 1)
}

/// The wall-clock time of the moment from which [`now_ns`] counts.
///
/// ```
/// assert!(openwork::time::process_start() <= std::time::SystemTime::now());
/// ```
pub fn process_start() -> SystemTime {
    anchor().wall
}

/// The moment `after` from now, in nanoseconds since process start.
pub(crate) fn deadline(after: Duration) -> u64 {
    now_ns().saturating_add(nanos(after))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps for at least `duration`.
///
/// A routine blocks with reason `sleep`, and its worker runs others; a plain thread sleeps. A
/// cancelled routine unwinds.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let began = Instant::now();
///     openwork::time::sleep(Duration::from_millis(2));
///     assert!(began.elapsed() >= Duration::from_millis(2));
/// });
/// ```
///
/// # Panics
/// If it would have to wait in a destructor that the scheduler itself runs.
pub fn sleep(duration: Duration) {
    sleep_to(deadline(duration));
}

/// Sleeps until `at` has come; as [`sleep`] otherwise.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let at = Instant::now() + Duration::from_millis(2);
/// openwork::time::sleep_until(at);
/// assert!(Instant::now() >= at);
/// ```
///
/// # Panics
/// As [`sleep`].
pub fn sleep_until(at: Instant) {
    sleep_to(ns_of(at));
}

/// As [`sleep`], but tells a routine that was asked to end so instead of unwinding, the first time.
///
/// ```
/// use std::time::Duration;
///
/// assert!(openwork::time::try_sleep(Duration::from_millis(1)).is_ok());
/// ```
///
/// # Errors
/// [`Cancelled`] if the routine was asked to end before or while it slept.
///
/// # Panics
/// As [`sleep`].
pub fn try_sleep(duration: Duration) -> Result<(), Cancelled> {
    try_sleep_to(deadline(duration))
}

/// As [`sleep_until`], but tells a routine that was asked to end so instead of unwinding, the first
/// time.
///
/// ```
/// use std::time::Instant;
///
/// assert!(openwork::time::try_sleep_until(Instant::now()).is_ok());
/// ```
///
/// # Errors
/// As [`try_sleep`].
///
/// # Panics
/// As [`sleep`].
pub fn try_sleep_until(at: Instant) -> Result<(), Cancelled> {
    try_sleep_to(ns_of(at))
}

fn sleep_to(at: u64) {
    match block::context() {
        Context::Routine(_) => {
            explore::point();
            cancel::raise_if_asked();
            let alarm = Alarm::new();
            while now_ns() < at {
                sleep_once(&alarm, at);
                cancel::raise_if_asked();
            }
        }
        // While panicking the thread cannot run others anyway.
        Context::Panicking(_) if explore::is_live() && explore::pass_until(at) => {}
        Context::Thread | Context::Panicking(_) => sleep_with_thread(at),
        Context::Scheduler => block::refuse_in_scheduler("sleep"),
    }
}

fn try_sleep_to(at: u64) -> Result<(), Cancelled> {
    let Context::Routine(me) = block::context() else {
        sleep_to(at);
        return Ok(());
    };
    explore::point();
    cancel::report_if_asked(me)?;
    let alarm = Alarm::new();
    while now_ns() < at {
        sleep_once(&alarm, at);
        cancel::report_if_asked(me)?;
    }
    Ok(())
}

/// Sleeps until the alarm rings, or a wake comes for another reason.
fn sleep_once(alarm: &Alarm, at: u64) {
    block::block(
        WaitReason::Sleep,
        Interrupt::ByCancel,
        &mut |routine, ticket| {
            alarm.set(routine, ticket, at);
            true
        },
    );
    alarm.clear();
}

fn sleep_with_thread(at: u64) {
    loop {
        let now = now_ns();
        if now >= at {
            return;
        }
        std::thread::sleep(Duration::from_nanos(at - now));
    }
}
