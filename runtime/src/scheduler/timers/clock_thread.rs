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
        let clock = clock_thread();
        let (registration, earliest) = Registration::new(&clock.timers, at, waker);
        if earliest {
            // It sleeps nowhere else.
            clock.parker.wake(false, || {});
        }
        registration.expect("the clock thread does not end")
    })
}

fn clock_thread() -> &'static ClockThread {
    static CLOCK: OnceLock<Arc<ClockThread>> = OnceLock::new();
    CLOCK.get_or_init(|| {
        let clock = Arc::new(ClockThread {
            timers: Arc::new(Timers::new()),
            parker: Parker::new(),
        });
        let served = clock.clone();
        std::thread::Builder::new()
            .name("openwork-clock".to_owned())
            .spawn(move || served.run())
            .expect("a thread for the deadlines of tasks outside workers");
        clock
    })
}

impl ClockThread {
    fn run(&self) -> ! {
        loop {
            let (now, next) = (time::now_ns(), self.timers.next());
            if next <= now {
                self.timers.serve(now);
                continue;
            }
            let timeout = (next != NEVER).then(|| Duration::from_nanos(next - now));
            self.parker.park(timeout);
        }
    }
}
