//! A future awaited where there is no `async`: by a routine, or by a plain thread.

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use crate::cancel::{self, Cancelled};
use crate::join::ThreadBell;
use crate::primitives::AtomicU8;
use crate::routine::{RoutineRef, waker};
use crate::scheduler::block::{self, Context, Interrupt};
use crate::snapshot::WaitReason;

/// Waits for a future and returns its value.
///
/// A routine blocks with reason `future` between two polls, and its worker runs others; a plain thread
/// sleeps. The future stays on the caller's stack, so it need not be `Send`, and may borrow. Calls nest:
/// a future may call what blocks, `block_on` too.
///
/// Any future will do whose wakers are called: channel ends, join handles, other executors' handles. One
/// that needs its executor around it (tokio's timers and sockets) finds it by the crate
/// `openwork-tokio`.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let sum = rt.block_on(|| {
///     let one = openwork::spawn(|| 1);
///     let shared = std::rc::Rc::new(2); // not `Send`
///     openwork::block_on(async { one.await.unwrap() + *shared })
/// });
/// assert_eq!(sum, 3);
/// assert_eq!(openwork::block_on(async { 4 }), 4);
/// ```
///
/// A cancelled routine unwinds, which drops the future.
///
/// # Panics
/// With the future's panic. If the caller is a panicking routine and the future is not ready at once: its
/// thread would have to sleep, and the future may need that very thread. If called where nothing may
/// block: in a destructor that the scheduler itself runs.
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let future = pin!(future.into_future());
    match block::context() {
        Context::Routine(me) => {
            let value = poll_in_routine(me, future, || {
                cancel::raise_if_asked();
                Ok(())
            });
            value.expect("a cancel unwinds")
        }
        context => poll_elsewhere(context, future, "block_on"),
    }
}

/// As [`block_on`], but tells a routine that was asked to end so instead of unwinding, the first time. The
/// future is dropped.
///
/// ```
/// use openwork::{Cancelled, try_block_on};
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let routine = rt.spawn(|| try_block_on(std::future::pending::<()>()));
/// routine.cancel(std::time::Duration::from_secs(60));
/// if let Ok(answer) = routine.join() {
///     assert_eq!(answer, Err(Cancelled)); // else it was cancelled before it began
/// }
/// ```
///
/// # Errors
/// [`Cancelled`] if the routine was asked to end before the future was ready.
///
/// # Panics
/// As [`block_on`].
pub fn try_block_on<F: IntoFuture>(future: F) -> Result<F::Output, Cancelled> {
    let future = pin!(future.into_future());
    match block::context() {
        Context::Routine(me) => poll_in_routine(me, future, || cancel::report_if_asked(me)),
        context => Ok(poll_elsewhere(context, future, "try_block_on")),
    }
}

/// `check` comes before each poll.
fn poll_in_routine<F: Future>(
    me: RoutineRef,
    mut future: Pin<&mut F>,
    check: impl Fn() -> Result<(), Cancelled>,
) -> Result<F::Output, Cancelled> {
    let bell = Arc::new(RoutineBell {
        rung: Rung::new(),
        routine: waker::owned(me),
    });
    let waker = Waker::from(bell.clone());
    let mut cx = TaskContext::from_waker(&waker);
    loop {
        check()?;
        bell.rung.take();
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return Ok(value);
        }
        bell.wait();
    }
}

fn poll_elsewhere<F: Future>(context: Context, mut future: Pin<&mut F>, call: &str) -> F::Output {
    match context {
        Context::Thread => {
            let bell = ThreadBell::new();
            let waker = Waker::from(bell.clone());
            let mut cx = TaskContext::from_waker(&waker);
            loop {
                if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                    return value;
                }
                bell.wait();
                bell.silence();
            }
        }
        Context::Routine(_) | Context::Panicking(_) => {
            match future.poll(&mut TaskContext::from_waker(Waker::noop())) {
                Poll::Ready(value) => value,
                Poll::Pending => panic!(
                    "`{call}` in a destructor of a panicking routine would stop the thread that the \
                     future may need"
                ),
            }
        }
        Context::Scheduler => block::refuse_in_scheduler(call),
    }
}

/// Wakes a routine in [`block_on`]. Not the routine's own waker: its notice is taken by any call that
/// blocks within the poll, and is all there is for nested calls.
struct RoutineBell {
    rung: Rung,
    routine: Waker,
}

/// Whether a bell was rung. Knows no routines, so that the model checker can run it.
struct Rung(AtomicU8);

impl Rung {
    fn new() -> Rung {
        Rung(AtomicU8::new(0))
    }

    fn ring(&self) {
        // SeqCst: bell first, life word after, which the routine's waker looks at; partner is the load in
        // `is_rung`. A swap, and no store, so that it goes on with the release sequence of others who
        // ring: `take` sees what each of them wrote.
        self.0.swap(1, SeqCst);
    }

    /// Before each poll: the next ring is for the next one.
    fn take(&self) {
        // Acquire pairs with the swaps in `ring`: the poll sees what the ringers wrote.
        self.0.swap(0, Acquire);
    }

    /// Asked by the worker when the life word is stored.
    fn is_rung(&self) -> bool {
        // SeqCst: read of Dekker's pattern; partner is `ring`.
        self.0.load(SeqCst) != 0
    }
}

impl RoutineBell {
    fn wait(&self) {
        // A wake may be meant for a call around this one, or come from one before: the poll tells.
        block::block(WaitReason::Future, Interrupt::ByCancel, &mut |_, _| {
            !self.rung.is_rung()
        });
    }
}

impl Wake for RoutineBell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.ring();
        self.routine.wake_by_ref();
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::{AtomicU32, Futex};
    use crate::routine::life::{Life, Wake};
    use loom::sync::Arc;
    use loom::thread;
    use std::sync::atomic::Ordering::{Relaxed, Release};

    /// Two wakers while the routine polls and goes to sleep: it is woken (a sleep that nobody ends is a
    /// deadlock) until it has seen what both wrote. Breaks if `ring` stores instead of swapping, if
    /// `take` is relaxed, or if `is_rung` is not asked. Of the sequential consistency it sees that of
    /// [`Life`] alone, whose fences stand for all of it here.
    #[test]
    fn a_ring_is_never_lost() {
        struct World {
            life: Life,
            rung: Rung,
            written: [AtomicU32; 2],
            /// The queue that holds the woken routine.
            queue: Futex,
        }
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(|| {
            let world = Arc::new(World {
                life: Life::running(),
                rung: Rung::new(),
                written: [AtomicU32::new(0), AtomicU32::new(0)],
                queue: Futex::new(0),
            });
            for number in 0..2 {
                let world = world.clone();
                thread::spawn(move || {
                    world.written[number].store(1, Relaxed);
                    world.rung.ring();
                    if world.life.notify() != Wake::Left {
                        world.queue.0.store(1, Release);
                        world.queue.wake();
                    }
                });
            }
            loop {
                world.rung.take();
                if world.written.iter().all(|w| w.load(Relaxed) == 1) {
                    break;
                }
                let ticket = world.life.block(WaitReason::Future);
                if !(world.rung.is_rung() && world.life.wake(ticket) != Wake::Left) {
                    while world.queue.0.load(Acquire) == 0 {
                        world.queue.wait(0, None);
                    }
                    world.queue.0.store(0, Relaxed);
                }
                world.life.start_turn();
                world.life.take_notice();
            }
        });
    }
}
