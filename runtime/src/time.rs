//! Time: the runtime's clock, and sleeping.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use crate::cancel::{self, Cancelled};
use crate::routine::RoutineRef;
use crate::scheduler::block::{self, Context, Interrupt};
use crate::scheduler::explore;
use crate::scheduler::timers::{Due, NEVER};
use crate::scheduler::worker;
use crate::snapshot::WaitReason;
use std::sync::atomic::Ordering::Relaxed;

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
pub fn now_ns() -> u64 {
    if explore::is_live()
        && let Some(now) = explore::now_ns()
    {
        return now;
    }
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

/// What a moment on the clock of [`now_ns`] is as an instant. The far future is cut off.
pub(crate) fn instant_of(ns: u64) -> Instant {
    let zero = anchor().monotonic;
    let zero = match explore::is_live() && explore::now_ns().is_some() {
        true => zero + VIRTUAL_AFTER,
        false => zero,
    };
    zero + Duration::from_nanos(ns)
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
pub fn process_start() -> SystemTime {
    anchor().wall
}

/// The moment `after` from now, in nanoseconds since process start.
pub(crate) fn deadline(after: Duration) -> u64 {
    now_ns().saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
}

/// Sleeps for at least `duration`.
///
/// A routine blocks with reason `sleep`, and its worker runs others; a plain thread sleeps. A
/// cancelled routine unwinds.
pub fn sleep(duration: Duration) {
    match block::context() {
        Context::Routine(me) => {
            explore::point();
            cancel::raise_if_asked();
            let at = deadline(duration);
            while now_ns() < at {
                sleep_once(me, at);
                cancel::raise_if_asked();
            }
        }
        // While panicking the thread cannot run others anyway.
        Context::Panicking(_) if explore::is_live() && explore::pass_until(deadline(duration)) => {}
        Context::Thread | Context::Panicking(_) => std::thread::sleep(duration),
        Context::Scheduler => block::refuse_in_scheduler("sleep"),
    }
}

/// As [`sleep`], but tells a routine that was asked to end so instead of unwinding, the first time.
///
/// # Errors
/// [`Cancelled`] if the routine was asked to end before or while it slept.
pub fn try_sleep(duration: Duration) -> Result<(), Cancelled> {
    let Context::Routine(me) = block::context() else {
        sleep(duration);
        return Ok(());
    };
    explore::point();
    cancel::report_if_asked(me)?;
    let at = deadline(duration);
    while now_ns() < at {
        sleep_once(me, at);
        cancel::report_if_asked(me)?;
    }
    Ok(())
}

fn sleep_once(me: RoutineRef, at: u64) {
    let id = me.header().id.load(Relaxed);
    block::block(
        WaitReason::Sleep,
        Interrupt::ByCancel,
        &mut |routine, ticket| {
            worker::with_core(|core| {
                let core = core.expect("the worker calls this");
                let due = Due::Sleep {
                    routine,
                    id,
                    ticket,
                };
                core.timers().insert(at, due);
            });
            true
        },
    );
}

/// A future that is ready after a time; made by [`after`].
#[derive(Debug)]
pub struct Sleep {
    at: u64,
    registered: Option<Waker>,
}

/// A future that is ready after `duration`, for routines that are futures.
pub fn after(duration: Duration) -> Sleep {
    Sleep {
        at: deadline(duration),
        registered: None,
    }
}

impl Future for Sleep {
    type Output = ();

    /// # Panics
    /// If polled outside a routine for the first time: the deadline is kept by a worker.
    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if now_ns() >= self.at {
            return Poll::Ready(());
        }
        worker::with_core(|core| {
            let core = core.expect("`Sleep` is polled by a routine");
            core.wait_reason.set(WaitReason::Sleep);
            let known = self.registered.as_ref();
            if !known.is_some_and(|waker| waker.will_wake(cx.waker())) {
                core.timers().insert(self.at, Due::Wake(cx.waker().clone()));
                self.registered = Some(cx.waker().clone());
            }
        });
        Poll::Pending
    }
}
