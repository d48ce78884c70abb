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
//! gives it back. The result belongs to the routine until `Done`, then to the handle. In `Detached`
//! both belong to the routine.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::cancel;
use crate::id::RoutineId;
use crate::primitives::{AtomicU8, Place};
use crate::routine::life::CancelLevel;
use crate::routine::{Header, RoutineRef, body, waker};
use crate::scheduler::block::Interrupt;
use crate::scheduler::{block, explore, ready};
use crate::snapshot::WaitReason;

const EMPTY: u8 = 0;
const WAITING: u8 = 1;
const DONE: u8 = 2;
const DETACHED: u8 = 3;

/// See the module's drawing. Knows no routines, so that the model checker can run it.
#[derive(Debug)]
pub(crate) struct JoinState(AtomicU8);

/// What the routine's side found at its end.
#[must_use]
pub(crate) enum Joiner<W = Waker> {
    /// Nobody waits; the result stays for the handle.
    Nobody,
    /// This waker waits.
    Waits(W),
    /// There is no handle any more: the result is the routine's to drop.
    Gone,
}

/// What the handle's side finds when it goes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detach {
    /// The routine will drop its result.
    Left,
    /// The routine is done: the result is the handle's to drop.
    Done,
}

impl JoinState {
    pub(crate) fn reset(&self) {
        self.0.store(EMPTY, Relaxed);
    }

    /// Whether the routine is done: its result is visible then.
    pub(crate) fn is_done(&self) -> bool {
        // Acquire pairs with the swap in `finish`.
        self.0.load(Acquire) == DONE
    }

    /// The handle's side offers a waker. Gives it back if the routine is done already.
    ///
    /// # Safety
    /// 1. Exclusive: the caller is the one handle, has no waker on offer, and `place` is this
    ///    state's.
    unsafe fn offer<W>(&self, place: &Place<W>, waker: W) -> Result<(), W> {
        // SAFETY: in `Empty` the place belongs to the handle's side, which we are by 1; in `Done`
        // the routine is through with it.
        unsafe { place.put(waker) };
        // Release publishes the waker to the swap in `finish`; acquire on failure pairs with that
        // swap and makes the result visible.
        match self.0.compare_exchange(EMPTY, WAITING, Release, Acquire) {
            Ok(_) => Ok(()),
            // SAFETY: `finish` found `Empty` and left the place to us.
            Err(_) => Err(unsafe { place.take() }),
        }
    }

    /// The handle's side takes its waker back. `None` if the routine is done already.
    ///
    /// # Safety
    /// 1. Exclusive: as for [`offer`](Self::offer), but the caller has a waker on offer.
    unsafe fn withdraw<W>(&self, place: &Place<W>) -> Option<W> {
        // Relaxed on success: the waker is our own. Acquire on failure as in `offer`.
        self.0
            .compare_exchange(WAITING, EMPTY, Relaxed, Acquire)
            .is_ok()
            // SAFETY: the place is ours again, and holds what we offered.
            .then(|| unsafe { place.take() })
    }

    /// The routine's side: its result is stored.
    ///
    /// # Safety
    /// 1. Exclusive: the caller runs the routine and does this once; `place` is this state's.
    unsafe fn finish<W>(&self, place: &Place<W>) -> Joiner<W> {
        // Release publishes the result to the handle's acquire loads; acquire pairs with the
        // exchange in `offer` and makes the waker visible.
        match self.0.swap(DONE, AcqRel) {
            // SAFETY: an offered waker belongs to this side, and is taken once.
            WAITING => Joiner::Waits(unsafe { place.take() }),
            DETACHED => Joiner::Gone,
            _ => Joiner::Nobody,
        }
    }

    /// The handle goes. No waker may be on offer.
    fn detach(&self) -> Detach {
        // Mostly it is; an exchange is dear.
        if self.is_done() {
            return Detach::Done;
        }
        // Release: what the handle's side did comes before the routine drops the result. Acquire
        // on failure pairs with the swap in `finish`: the result is visible to us, who must drop it.
        match self.0.compare_exchange(EMPTY, DETACHED, Release, Acquire) {
            Ok(_) => Detach::Left,
            Err(state) => {
                debug_assert_eq!(state, DONE);
                Detach::Done
            }
        }
    }
}

impl Header {
    /// The routine's side: the result is stored.
    ///
    /// # Safety
    /// 1. Exclusive: the caller runs the routine and does this once.
    pub(crate) unsafe fn finish_join(&self) -> Joiner {
        // SAFETY: 1 by the caller.
        unsafe { self.join.finish(&self.joiner) }
    }
}

/// A routine's end, to be waited for; made by the spawning functions.
///
/// Dropping it detaches: the routine goes on, and its result is dropped when it ends.
///
/// It is also a future, on any executor: `handle.await` gives what [`join`](Self::join) returns.
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let answer = rt.spawn(|| 6 * 7);
/// assert_eq!(answer.join().unwrap(), 42);
///
/// let sum = rt.spawn_future({
///     let one = rt.spawn(|| 1);
///     async move { one.await.unwrap() + 1 }
/// });
/// assert_eq!(sum.join().unwrap(), 2);
/// ```
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
///
/// ```
/// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// use openwork::JoinError;
/// # std::panic::set_hook(Box::new(|_| {}));
/// match rt.spawn(|| panic!("no luck")).join() {
///     Err(JoinError::Panicked(payload)) => {
///         assert_eq!(*payload.downcast::<&str>().unwrap(), "no luck");
///     }
///     other => panic!("{other:?}"),
/// }
/// ```
#[non_exhaustive]
pub enum JoinError {
    /// The routine panicked; this is the payload.
    Panicked(Box<dyn Any + Send>),
    /// The routine was cancelled, or its runtime had shut down.
    Cancelled,
    /// The caller keeps its thread while it waits, because it is panicking or by
    /// [`hold_thread`](crate::hold_thread), and the wait would have lasted for ever: the awaited routine
    /// can only run on that very thread.
    Refused,
    /// The routine ran over its stack, which it was spawned for to survive; see
    /// [`Builder::contain_overflow`](crate::Builder::contain_overflow).
    Overflowed(StackOverflow),
}

/// A routine ran over its stack and ended alone.
///
/// ```
/// # fn tell(why: openwork::JoinError) {
/// if let openwork::JoinError::Overflowed(overflow) = why {
///     println!("{} bytes were not enough", overflow.stack_bytes);
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the routine overflowed {} of {stack_bytes} bytes", if *.on_segment { "a segment" } else { "its stack" })]
#[non_exhaustive]
pub struct StackOverflow {
    /// Size of the stack that was too small, guard included.
    pub stack_bytes: u64,
    /// Whether that was a segment; see [`with_segment`](crate::with_segment).
    pub on_segment: bool,
}

impl StackOverflow {
    #[cfg(not(portable))]
    pub(crate) fn of(stack_bytes: u64, on_segment: bool) -> StackOverflow {
        StackOverflow {
            stack_bytes,
            on_segment,
        }
    }
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
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let routine = rt.spawn(|| openwork::current().unwrap().routine);
    /// let id = routine.id();
    /// assert_eq!(routine.join().unwrap(), id);
    /// ```
    pub fn id(&self) -> RoutineId {
        self.routine.header().routine_id()
    }

    /// Whether the routine has ended.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let routine = rt.spawn(|| ());
    /// while !routine.is_finished() {
    ///     std::thread::yield_now();
    /// }
    /// routine.join().unwrap(); // does not wait any more
    /// ```
    pub fn is_finished(&self) -> bool {
        self.routine.header().join.is_done()
    }

    /// Lets the routine go on alone.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let (tx, rx) = openwork::channel::bounded(1);
    /// rt.spawn(move || tx.send("still at work").unwrap()).detach();
    /// assert_eq!(rx.recv().unwrap(), "still at work");
    /// ```
    pub fn detach(self) {
        drop(self);
    }

    /// Waits for the routine's end and returns its result.
    ///
    /// A routine that calls this blocks with reason `join`; a plain thread sleeps.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let words = rt.spawn(|| ["a", "b"].concat());
    /// assert_eq!(words.join().unwrap(), "ab");
    /// ```
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

    /// As [`join`](Self::join), but nothing ends the wait except the routine's end: something is on
    /// loan to it. A cancel of the caller is passed on to it, and the wait is never refused: a
    /// caller that keeps its thread asks [`block::can_wait_for_fresh`] before it lends anything.
    pub(crate) fn join_for_loan(mut self) -> Result<T, JoinError> {
        self.wait(Interrupt::Never)?;
        // SAFETY: as in `join`.
        unsafe { self.take_result() }
    }

    /// Waits until the routine is done. Only [`Interrupt::ByCancel`] may be refused or unwind.
    fn wait(&mut self, interrupt: Interrupt) -> Result<(), JoinError> {
        explore::point();
        // A poll may have left a waker behind.
        drop(self.withdraw());
        if self.is_finished() {
            return Ok(());
        }
        match block::context() {
            block::Context::Routine(me) => {
                if interrupt == Interrupt::ByCancel
                    && block::is_held(me)
                    && block::needs_thread_of(self.routine, me)
                {
                    return Err(JoinError::Refused);
                }
                self.wait_in_routine(me, interrupt);
                Ok(())
            }
            block::Context::Thread => {
                self.wait_on_thread();
                Ok(())
            }
            block::Context::Panicking(me) => {
                if interrupt == Interrupt::ByCancel && block::needs_thread_of(self.routine, me) {
                    return Err(JoinError::Refused);
                }
                self.wait_on_thread();
                Ok(())
            }
            block::Context::Scheduler => block::refuse_in_scheduler("join"),
        }
    }

    fn wait_in_routine(&mut self, me: RoutineRef, interrupt: Interrupt) {
        let life = &me.header().life;
        let mut passed_on = CancelLevel::None;
        loop {
            let level = life.cancel_level();
            if interrupt == Interrupt::Never && level > passed_on {
                // A loan ends when the borrower does, so the cancel goes to the borrower.
                passed_on = level;
                ready::cancel(self.routine, level);
            }
            block::block_me(me, WaitReason::Join, interrupt, &mut |_, _| {
                let waker = if std::ptr::eq(self.routine.shared(), me.shared()) {
                    // SAFETY: 1: the awaited routine uses it at its end, on a worker of this runtime.
                    unsafe { waker::of_wait(me) }
                } else {
                    waker::owned(me)
                };
                self.offer(waker)
                    // A cancel that came just before the wait must still be passed on.
                    && !(interrupt == Interrupt::Never && life.cancel_level() > passed_on)
            });
            if self.is_finished() {
                // The routine has taken the waker, if there was one.
                self.waiting = false;
                return;
            }
            drop(self.withdraw());
            if self.is_finished() {
                return;
            }
            if interrupt == Interrupt::ByCancel {
                cancel::raise_if_asked();
            }
        }
    }

    fn wait_on_thread(&mut self) {
        let bell = ThreadBell::new();
        if self.offer(Waker::from(bell.clone())) {
            bell.wait();
            self.waiting = false;
        }
    }

    /// Offers a waker. False if the routine is done.
    fn offer(&mut self, waker: Waker) -> bool {
        let header = self.routine.header();
        debug_assert!(!self.waiting);
        // SAFETY: we are the one handle, and `waiting` says that no waker is on offer.
        self.waiting = unsafe { header.join.offer(&header.joiner, waker) }.is_ok();
        self.waiting
    }

    /// Takes back the waker on offer, if there is one and the routine has not taken it.
    fn withdraw(&mut self) -> Option<Waker> {
        let header = self.routine.header();
        if !std::mem::take(&mut self.waiting) {
            return None;
        }
        // SAFETY: we are the one handle, and `waiting` said that a waker is on offer.
        unsafe { header.join.withdraw(&header.joiner) }
    }

    /// # Safety
    /// 1. Exclusive: the routine is done, and the result is taken once.
    unsafe fn take_result(&mut self) -> Result<T, JoinError> {
        let header = self.routine.header();
        // Relaxed, and no exchange: the block's outcome is ours alone by 1.
        let outcome = header.outcome.load(Relaxed);
        header.outcome.store(body::CANCELLED, Relaxed);
        match outcome {
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
            // SAFETY: 1: the outcome says so.
            body::OVERFLOWED => Err(JoinError::Overflowed(unsafe {
                body::take_overflow(header)
            })),
            _ => Err(JoinError::Cancelled),
        }
    }

    /// Ends the routine: it unwinds at its next (or present) blocking call or
    /// [`checkpoint`](crate::checkpoint), so its destructors release what it holds. One that has
    /// not started never runs.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{JoinError, time};
    /// let sleeper = rt.spawn(|| time::sleep(std::time::Duration::from_secs(3600)));
    /// sleeper.abort();
    /// assert!(matches!(sleeper.join(), Err(JoinError::Cancelled)));
    /// ```
    pub fn abort(&self) {
        explore::point();
        ready::cancel(self.routine, CancelLevel::Told);
    }

    /// Asks the routine to end. Calls that can fail return [`Cancelled`](crate::Cancelled) once;
    /// calls that cannot fail unwind; after `grace` every call unwinds, as after
    /// [`abort`](Self::abort).
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::channel::{self, RecvError};
    /// use std::time::Duration;
    ///
    /// let (begun_tx, begun_rx) = channel::bounded(1);
    /// let reader = rt.spawn(move || {
    ///     let (_tx, rx) = channel::rendezvous::<u8>();
    ///     begun_tx.send(()).unwrap();
    ///     rx.recv() // nobody sends
    /// });
    /// begun_rx.recv().unwrap();
    /// reader.cancel(Duration::from_secs(10));
    /// assert_eq!(reader.join().unwrap(), Err(RecvError::Cancelled));
    /// ```
    pub fn cancel(&self, grace: Duration) {
        explore::point();
        ready::cancel(self.routine, CancelLevel::Asked);
        ready::abort_later(self.routine, grace);
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Foreign code, in this order: a panic of any of it leaves the handle whole.
        let waker = cx.waker().clone();
        drop(this.withdraw());
        if !this.is_finished() && this.offer(waker) {
            return Poll::Pending;
        }
        // SAFETY: the routine is done; a second poll finds the outcome taken and says cancelled.
        Poll::Ready(unsafe { this.take_result() })
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let waker = self.withdraw();
        let header = self.routine.header();
        if header.join.detach() == Detach::Done {
            // SAFETY: the routine is done, and the result is the handle's; what was taken before
            // left the outcome `CANCELLED`.
            unsafe { body::discard(header) };
        }
        self.routine.release();
        // Last, because it is foreign and may panic.
        drop(waker);
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
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # std::panic::set_hook(Box::new(|_| {}));
    /// let why = rt.spawn(|| panic!("no luck")).join().unwrap_err();
    /// assert_eq!(why.message(), "no luck");
    /// ```
    pub fn message(&self) -> String {
        match self {
            JoinError::Panicked(payload) => body::panic_message(&**payload),
            JoinError::Cancelled => "the routine was cancelled".to_owned(),
            JoinError::Refused => {
                "waiting would have stopped the thread that the routine needs".to_owned()
            }
            JoinError::Overflowed(why) => why.to_string(),
        }
    }

    /// Whether the routine panicked.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # std::panic::set_hook(Box::new(|_| {}));
    /// let why = rt.spawn(|| panic!("no luck")).join().unwrap_err();
    /// assert!(why.is_panic());
    /// ```
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
            JoinError::Overflowed(why) => f.debug_tuple("Overflowed").field(why).finish(),
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

/// The calling thread, which is no worker, sleeps until it is unparked, or for no reason.
#[cfg(not(stackless))]
pub(crate) use std::thread::park;

/// The same where there is no other thread: it runs routines meanwhile.
#[cfg(stackless)]
pub(crate) fn park() {
    crate::scheduler::worker::driven::wait(crate::scheduler::timers::NEVER);
}

/// As [`park`], for so long at most.
#[cfg(not(stackless))]
pub(crate) use std::thread::park_timeout;

/// As [`park`], for so long at most.
#[cfg(stackless)]
pub(crate) fn park_timeout(time: std::time::Duration) {
    crate::scheduler::worker::driven::wait(crate::time::deadline(time));
}

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
            park();
        }
    }

    /// Makes the bell fit for another wait. What was written before it was rung is visible then.
    pub(crate) fn silence(&self) {
        // Acquire pairs with the swaps in `wake_by_ref`.
        self.rung.swap(false, Acquire);
    }
}

impl Wake for ThreadBell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release pairs with the acquire load of the sleeper. A swap, so that it goes on with the release
        // sequence of others who ring.
        self.rung.swap(true, Release);
        self.thread.unpark();
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::AtomicU32;
    use loom::sync::Arc;
    use loom::thread;

    /// The two sides' common part: state, waker and result. Wakers and results are numbers.
    struct Shared {
        join: JoinState,
        joiner: Place<u32>,
        result: Place<u32>,
        /// The waker that the routine's side woke, 0 for none.
        woken: AtomicU32,
    }

    // SAFETY: the places change hands by the protocol that is checked here.
    unsafe impl Sync for Shared {}

    const RESULT: u32 = 7;

    fn start() -> (Arc<Shared>, thread::JoinHandle<bool>) {
        let shared = Arc::new(Shared {
            join: JoinState(AtomicU8::new(EMPTY)),
            joiner: Place::new(),
            result: Place::new(),
            woken: AtomicU32::new(0),
        });
        let routine = {
            let shared = shared.clone();
            // Returns whether it dropped its result itself.
            thread::spawn(move || {
                // SAFETY: the result is the routine's until `finish`, and after it if `Gone`; this
                // is the one routine.
                unsafe {
                    shared.result.put(RESULT);
                    match shared.join.finish(&shared.joiner) {
                        Joiner::Nobody => false,
                        Joiner::Waits(waker) => {
                            shared.woken.store(waker, Relaxed);
                            false
                        }
                        Joiner::Gone => {
                            assert_eq!(shared.result.take(), RESULT);
                            true
                        }
                    }
                }
            })
        };
        (shared, routine)
    }

    /// Whoever waits is woken with the waker it offered last, or finds the result; never neither.
    /// Breaks if the exchange in `offer` is relaxed (a waker taken before it is there), if the swap
    /// in `finish` is (the same, or a result that is not there), or if `offer` does not look at the
    /// exchange's outcome.
    #[test]
    fn a_waiter_is_woken_or_finds_the_result() {
        loom::model(|| {
            let (shared, routine) = start();
            // SAFETY: this is the one handle's side; wakers are offered one at a time.
            let waits = unsafe {
                shared.join.offer(&shared.joiner, 1).is_ok()
                    // As a poll with another waker does it.
                    && match shared.join.withdraw(&shared.joiner) {
                        Some(mine) => {
                            assert_eq!(mine, 1);
                            shared.join.offer(&shared.joiner, 2).is_ok()
                        }
                        None => false,
                    }
            };
            if waits {
                assert!(!routine.join().unwrap());
                assert_eq!(
                    shared.woken.load(Relaxed),
                    2,
                    "nobody would wake the waiter"
                );
            }
            if !waits {
                assert!(shared.join.is_done());
            }
            // SAFETY: the routine is done, so the result is the handle's.
            assert_eq!(unsafe { shared.result.take() }, RESULT);
        });
    }

    /// A handle that is dropped at any moment: exactly one side drops the result. Breaks if
    /// `detach` stores instead of exchanging, or if its failure or the swap in `finish` is relaxed.
    #[test]
    fn a_result_is_dropped_once() {
        loom::model(|| {
            let (shared, routine) = start();
            // SAFETY: as above.
            unsafe {
                if shared.join.offer(&shared.joiner, 1).is_ok() {
                    let _ = shared.join.withdraw(&shared.joiner);
                }
            }
            let by_handle = shared.join.detach() == Detach::Done;
            if by_handle {
                // SAFETY: the result is the handle's.
                assert_eq!(unsafe { shared.result.take() }, RESULT);
            }
            assert!(by_handle ^ routine.join().unwrap());
        });
    }
}
