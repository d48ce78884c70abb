//! Waiting for a routine's end: the two-party protocol between the routine and its handle.
//!
//! ```text
//!   Empty ──set──► Waiting          the handle's side stores a waker, then offers it
//!     ▲              │ withdraw     and may take it back to store another
//!     └──────────────┘
//!   Empty, Waiting ──finish──► Done         the routine's side; takes the waker if one was offered
//!   Empty ──detach──► Detached              the handle was dropped: the routine drops its result
//! ```
//!
//! The waker's place belongs to the handle in `Empty`, to the routine from `Waiting` on; `withdraw`
//! gives it back. The result belongs to the routine until `Done`, then to the handle.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU8};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::cancel;
use crate::id::RoutineId;
use crate::routine::life::CancelLevel;
use crate::routine::{Header, RoutineRef, body, waker};
use crate::scheduler::block::Interrupt;
use crate::scheduler::{block, ready};
use crate::snapshot::WaitReason;

const EMPTY: u8 = 0;
const WAITING: u8 = 1;
const DONE: u8 = 2;
const DETACHED: u8 = 3;

/// See the module's drawing.
#[derive(Debug)]
pub(crate) struct JoinState(AtomicU8);

/// What the routine's side found at its end.
pub(crate) enum Joiner {
    /// Nobody waits; the result stays for the handle.
    Nobody,
    /// This waker waits.
    Waits(Waker),
    /// There is no handle any more: the result is the routine's to drop.
    Gone,
}

impl JoinState {
    pub(crate) fn reset(&self) {
        self.0.store(EMPTY, Relaxed);
    }

    fn is_done(&self) -> bool {
        // Acquire pairs with the swap in `finish`: the result is visible.
        self.0.load(Acquire) == DONE
    }
}

impl Header {
    /// Offers `waker`. False if the routine is done already; the waker is dropped then.
    fn offer_waker(&self, waker: Waker) -> bool {
        // SAFETY: in `Empty` the place belongs to the handle's side, which we are; in `Done` the
        // routine is through with it.
        unsafe { (*self.joiner.get()).write(waker) };
        // Release publishes the waker to `finish`; acquire (on failure) makes the result visible.
        match self
            .join
            .0
            .compare_exchange(EMPTY, WAITING, AcqRel, Acquire)
        {
            Ok(_) => true,
            Err(_) => {
                // SAFETY: `finish` found `Empty` and left the place to us.
                unsafe { (*self.joiner.get()).assume_init_drop() };
                false
            }
        }
    }

    /// Takes an offered waker back. False if the routine is done already.
    fn withdraw_waker(&self) -> bool {
        // Acquire pairs with the swap in `finish` on failure.
        match self
            .join
            .0
            .compare_exchange(WAITING, EMPTY, AcqRel, Acquire)
        {
            Ok(_) => {
                // SAFETY: the place is ours again, and holds the waker that we offered.
                unsafe { (*self.joiner.get()).assume_init_drop() };
                true
            }
            Err(_) => false,
        }
    }

    /// The routine's side: the result is stored.
    pub(crate) fn finish_join(&self) -> Joiner {
        // Release publishes the result to the handle, acquire makes its waker visible.
        match self.join.0.swap(DONE, AcqRel) {
            // SAFETY: an offered waker belongs to this side, and is taken once.
            WAITING => Joiner::Waits(unsafe { (*self.joiner.get()).assume_init_read() }),
            DETACHED => Joiner::Gone,
            _ => Joiner::Nobody,
        }
    }
}

/// A routine's end, to be waited for; made by the spawning functions.
///
/// Dropping it detaches: the routine goes on, and its result is dropped when it ends.
///
/// It is also a future, on any executor: `handle.await` gives what [`join`](Self::join) returns.
pub struct JoinHandle<T> {
    routine: RoutineRef,
    waiting: bool,
    _result: PhantomData<fn() -> T>,
}

// SAFETY: the handle moves a `T` from the routine's thread to its own at most once, so `T: Send`
// suffices; everything else it touches is atomic.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: shared references only read atomics and ask for cancels.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

/// Why [`JoinHandle::join`] gave no value.
#[non_exhaustive]
pub enum JoinError {
    /// The routine panicked; this is the payload.
    Panicked(Box<dyn Any + Send>),
    /// The routine was cancelled, or its runtime had shut down.
    Cancelled,
    /// The caller is panicking, and waiting would have put its thread to sleep for ever: the
    /// awaited routine can only run on that very thread.
    Refused,
}

impl<T> JoinHandle<T> {
    /// Wraps a routine that was born with a reference for its handle.
    pub(crate) fn new(routine: RoutineRef) -> JoinHandle<T> {
        JoinHandle {
            routine,
            waiting: false,
            _result: PhantomData,
        }
    }

    /// The routine's number.
    pub fn id(&self) -> RoutineId {
        self.routine.header().routine_id()
    }

    /// Whether the routine has ended.
    pub fn is_finished(&self) -> bool {
        self.routine.header().join.is_done()
    }

    /// Lets the routine go on alone.
    pub fn detach(self) {
        drop(self);
    }

    /// Waits for the routine's end and returns its result.
    ///
    /// A routine that calls this blocks with reason `join`; a plain thread sleeps.
    ///
    /// # Errors
    /// See [`JoinError`].
    ///
    /// # Panics
    /// If called where nothing may block: in a destructor that the scheduler itself runs.
    pub fn join(mut self) -> Result<T, JoinError> {
        self.wait(Interrupt::ByCancel)?;
        // SAFETY: the routine is done, and `self` is consumed.
        unsafe { self.take_result() }
    }

    /// As [`join`](Self::join), but a cancel of the caller does not end the wait: something is on
    /// loan to the routine.
    pub(crate) fn join_for_loan(mut self) -> Result<T, JoinError> {
        self.wait(Interrupt::Never)?;
        // SAFETY: as in `join`.
        unsafe { self.take_result() }
    }

    fn wait(&mut self, interrupt: Interrupt) -> Result<(), JoinError> {
        let header = self.routine.header();
        if header.join.is_done() {
            return Ok(());
        }
        match block::context() {
            block::Context::Routine(me) => loop {
                block::block(WaitReason::Join, interrupt, &mut |_, _| {
                    header.offer_waker(waker::owned(me))
                });
                if header.join.is_done() {
                    return Ok(());
                }
                if !header.withdraw_waker() {
                    return Ok(());
                }
                if interrupt == Interrupt::ByCancel {
                    cancel::raise_if_asked();
                }
            },
            block::Context::Thread => {
                self.wait_on_thread();
                Ok(())
            }
            block::Context::Panicking(me) => {
                if block::needs_thread_of(self.routine, me) {
                    return Err(JoinError::Refused);
                }
                self.wait_on_thread();
                Ok(())
            }
            block::Context::Scheduler => block::refuse_in_scheduler("join"),
        }
    }

    fn wait_on_thread(&self) {
        let header = self.routine.header();
        let bell = ThreadBell::new();
        if header.offer_waker(Waker::from(bell.clone())) {
            bell.wait();
        }
    }

    /// # Safety
    /// 1. Exclusive: the routine is done, and the result is taken once.
    unsafe fn take_result(&mut self) -> Result<T, JoinError> {
        let header = self.routine.header();
        match header.outcome.swap(body::CANCELLED, Relaxed) {
            body::VALUE => {
                let mut value = MaybeUninit::<T>::uninit();
                let vtable = header.vtable.get().expect("set at birth");
                // SAFETY: 1 by the caller; `T` is the routine's result type by construction of
                // the handle, and `take_value` fills the place.
                unsafe {
                    (vtable.take_value)(header, value.as_mut_ptr().cast());
                    Ok(value.assume_init())
                }
            }
            // SAFETY: 1 by the caller.
            body::PANICKED => Err(JoinError::Panicked(unsafe { body::take_panic(header) })),
            _ => Err(JoinError::Cancelled),
        }
    }

    /// Ends the routine: it unwinds at its next (or present) blocking call or
    /// [`checkpoint`](crate::checkpoint), so its destructors release what it holds. One that has
    /// not started never runs.
    pub fn abort(&self) {
        ready::cancel(self.routine, CancelLevel::Told);
    }

    /// Asks the routine to end. Calls that can fail return [`Cancelled`](crate::Cancelled) once;
    /// calls that cannot fail unwind; after `grace` every call unwinds, as after
    /// [`abort`](Self::abort).
    pub fn cancel(&self, grace: Duration) {
        ready::cancel(self.routine, CancelLevel::Asked);
        ready::abort_later(self.routine, grace);
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let header = this.routine.header();
        if this.waiting && header.withdraw_waker() {
            this.waiting = false;
        }
        if !header.join.is_done() && header.offer_waker(cx.waker().clone()) {
            this.waiting = true;
            return Poll::Pending;
        }
        this.waiting = false;
        // SAFETY: the routine is done; a second poll finds the outcome taken and says cancelled.
        Poll::Ready(unsafe { this.take_result() })
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let header = self.routine.header();
        if self.waiting {
            header.withdraw_waker();
        }
        // Acquire on failure: the result is visible to us, who must drop it.
        if header
            .join
            .0
            .compare_exchange(EMPTY, DETACHED, AcqRel, Acquire)
            .is_err()
        {
            // SAFETY: the routine is done; what was taken before left the outcome `CANCELLED`.
            unsafe { body::discard(header) };
        }
        self.routine.release();
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

impl JoinError {
    /// The panic's message, or why there is no value.
    pub fn message(&self) -> String {
        match self {
            JoinError::Panicked(payload) => body::panic_message(&**payload),
            JoinError::Cancelled => "the routine was cancelled".to_owned(),
            JoinError::Refused => {
                "waiting while panicking would have stopped the thread that the routine needs"
                    .to_owned()
            }
        }
    }

    /// Whether the routine panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, JoinError::Panicked(_))
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(_) => f.debug_tuple("Panicked").field(&self.message()).finish(),
            JoinError::Cancelled => f.write_str("Cancelled"),
            JoinError::Refused => f.write_str("Refused"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(_) => write!(f, "the routine panicked: {}", self.message()),
            _ => f.write_str(&self.message()),
        }
    }
}

impl std::error::Error for JoinError {}

/// Wakes a plain thread.
pub(crate) struct ThreadBell {
    thread: Thread,
    rung: AtomicBool,
}

impl ThreadBell {
    /// A bell for the calling thread.
    pub(crate) fn new() -> Arc<ThreadBell> {
        Arc::new(ThreadBell {
            thread: std::thread::current(),
            rung: AtomicBool::new(false),
        })
    }

    /// Sleeps until the bell was rung, once or more.
    pub(crate) fn wait(&self) {
        // Acquire pairs with the release store in `wake_by_ref`.
        while !self.rung.load(Acquire) {
            std::thread::park();
        }
    }
}

impl Wake for ThreadBell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release pairs with the acquire load of the sleeper.
        self.rung.store(true, std::sync::atomic::Ordering::Release);
        self.thread.unpark();
    }
}
