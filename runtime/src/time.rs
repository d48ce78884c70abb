//! Time: the runtime's clock, and sleeping.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use crate::cancel::{self, Cancelled};
use crate::routine::RoutineRef;
use crate::scheduler::block::{self, Context, Interrupt};
use crate::scheduler::timers::Due;
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
pub fn now_ns() -> u64 {
    // 584 years fit.
    anchor().monotonic.elapsed().as_nanos() as u64
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
            cancel::raise_if_asked();
            let at = deadline(duration);
            while now_ns() < at {
                sleep_once(me, at);
                cancel::raise_if_asked();
            }
        }
        // While panicking the thread cannot run others anyway.
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
