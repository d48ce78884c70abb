//! The clock thread: keeps the deadlines of tasks that no worker runs.
//!
//! There is one in the process, from the first such deadline on, for all runtimes and none. It sleeps
//! until its earliest deadline, and for ever without one. Whoever adds an earlier one leaves a token
//! afterwards ([`Parker`]), so either the thread looks at the deadlines after they were published, or
//! the token ends its sleep.

use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use super::{NEVER, Registration, Timers};
use crate::scheduler::parker::Parker;
use crate::scheduler::worker;
use crate::time;

struct ClockThread {
    timers: Arc<Timers>,
    parker: Parker,
}

/// Wakes the task at `at`, in nanoseconds since process start, unless the result is dropped before.
///
/// # Panics
/// If the system refuses the process one more thread, and has refused it each time before.
pub(crate) fn register(at: u64, waker: &Waker) -> Registration {
    let kept_here = worker::with_core(|core| {
        // The earliest deadline or not: its worker runs this, and looks before it sleeps.
        core.and_then(|core| Registration::new(core.timers(), at, waker).0)
    });
    kept_here.unwrap_or_else(|| {
        let registration = clock_thread().register(at, waker);
        registration.expect("the clock thread does not end")
    })
}

/// When the next one is due, or [`NEVER`].
#[cfg(stackless)]
pub(crate) fn next_deadline() -> u64 {
    clock_thread().timers.next()
}

/// Without threads whoever waits serves them. As [`next_deadline`], afterwards.
#[cfg(stackless)]
pub(crate) fn serve_due() -> u64 {
    clock_thread().timers.serve(time::now_ns());
    next_deadline()
}

#[cfg(stackless)]
fn clock_thread() -> &'static ClockThread {
    static CLOCK: OnceLock<ClockThread> = OnceLock::new();
    CLOCK.get_or_init(ClockThread::new)
}

#[cfg(not(stackless))]
fn clock_thread() -> &'static ClockThread {
    static CLOCK: OnceLock<Arc<ClockThread>> = OnceLock::new();
    CLOCK.get_or_init(|| {
        let clock = Arc::new(ClockThread::new());
        let served = clock.clone();
        std::thread::Builder::new()
            .name("openwork-clock".to_owned())
            .spawn(move || {
                loop {
                    served.serve_or_sleep();
                }
            })
            .expect("a thread for the deadlines of tasks outside workers");
        clock
    })
}

impl ClockThread {
    fn new() -> ClockThread {
        ClockThread {
            timers: Arc::new(Timers::new()),
            parker: Parker::new(),
        }
    }

    fn register(&self, at: u64, waker: &Waker) -> Option<Registration> {
        let (registration, earliest) = Registration::new(&self.timers, at, waker);
        if earliest {
            // It sleeps nowhere else.
            self.parker.wake(false, || {});
        }
        registration
    }

    fn serve_or_sleep(&self) {
        let (now, next) = (time::now_ns(), self.timers.next());
        if next <= now {
            self.timers.serve(now);
            return;
        }
        let timeout = (next != NEVER).then(|| Duration::from_nanos(next - now));
        self.parker.park(timeout);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::thread;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Two tasks add deadlines while the thread serves or falls asleep: both are served. No time passes
    /// in a model, so both are overdue, and a sleep that nobody ends is a deadlock. Breaks without the
    /// wake in `register`, and if that comes before the deadline is added.
    #[test]
    fn no_deadline_is_slept_over() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(|| {
            let clock = Arc::new(ClockThread::new());
            let woken = Arc::new(Woken::default());
            let adders = [(); 2].map(|()| {
                let (clock, waker) = (clock.clone(), Waker::from(woken.clone()));
                thread::spawn(move || std::mem::forget(clock.register(0, &waker)))
            });
            while woken.0.load(Relaxed) < 2 {
                clock.serve_or_sleep();
            }
            for adder in adders {
                adder.join().unwrap();
            }
            assert_eq!(clock.timers.next(), NEVER);
        });
    }

    /// A task that gives up is served or not, and leaves no deadline. Breaks if `cancel` does not look
    /// whether the entry is still its own.
    #[test]
    fn giving_up_leaves_no_deadline() {
        loom::model(|| {
            let clock = Arc::new(ClockThread::new());
            let woken = Arc::new(Woken::default());
            let other = {
                let (clock, waker) = (clock.clone(), Waker::from(woken.clone()));
                thread::spawn(move || drop(clock.register(0, &waker)))
            };
            std::mem::forget(clock.register(0, &Waker::from(woken.clone())));
            while woken.0.load(Relaxed) == 0 {
                clock.serve_or_sleep();
            }
            other.join().unwrap();
            clock.timers.serve(0);
            assert_eq!(clock.timers.next(), NEVER);
            let figures = clock.timers.figures();
            assert_eq!(figures.served + figures.cancelled, 2);
            assert_eq!(figures.served, u64::from(woken.0.load(Relaxed)));
        });
    }
}
