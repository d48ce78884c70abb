//! A state under one lock, with one queue of those who wait for it to change: what most primitives are.
//!
//! A primitive says what a waiter wants ([`State::attempt`]); here is how it sleeps, is awaited, and is
//! served.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomPinned;
use std::ptr::NonNull;
use std::task::{Context as TaskContext, Poll};

use crate::cancel;
use crate::primitives::ShortLock;
use crate::scheduler::timers::NEVER;
use crate::snapshot::WaitReason;
use crate::sync::error::WaitTimeoutError;
use crate::sync::lock::Word;
use crate::sync::wait::{
    self, Arm, Attempt, Group, Polled, Rouse, Sleeper, TaskState, Wait, Woken,
};
use crate::sync::wait_queue::{Node, Queue};

/// Waiters that are served under one hold of the lock, before their wakers are called without it.
const BATCH: usize = 16;

/// See the module's text.
pub(crate) trait State: Sized {
    /// What a waiter wants, and what it got. Lies in its frame.
    type Order;

    const REASON: WaitReason;

    fn waiters(&mut self) -> &mut Waiters<Self::Order>;

    /// Does it, if that is possible without waiting. If not, the waiter enters the queue under the same
    /// hold of the lock.
    fn attempt(&mut self, order: &mut Self::Order) -> bool;

    /// A waiter has left the queue without having been served. Returns whether it counts as served all
    /// the same.
    fn left(_state: &ShortLock<Self>, _order: &mut Self::Order) -> bool {
        false
    }

    /// A task was served, and was dropped before it heard of it.
    fn give_back(_state: &ShortLock<Self>, _order: &mut Self::Order) {}
}

/// An order in the frame of a waiter.
pub(crate) struct OrderPtr<O>(NonNull<UnsafeCell<O>>);

pub(crate) type Waiters<O> = Queue<OrderPtr<O>, Sleeper>;

impl<O> Clone for OrderPtr<O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<O> Copy for OrderPtr<O> {}

// SAFETY: it is followed under the queue's lock, while the waiter stands in the queue or is claimed.
unsafe impl<O: Send> Send for OrderPtr<O> {}

/// Serves the first waiter, if it is one that is `wanted`. Under the lock; rouse it without.
pub(crate) fn serve<O>(
    waiters: &mut Waiters<O>,
    wanted: impl Fn(&O) -> bool,
    give: impl FnOnce(&mut O),
) -> Option<Rouse> {
    // SAFETY: in the queue, whose lock is held: its waiter does not touch the order.
    let claimed = waiters.claim_if(|order| wanted(unsafe { &*order.0.as_ref().get() }))?;
    // SAFETY: the order belongs to the claimer, which we are until `complete`.
    give(unsafe { &mut *claimed.payload().0.as_ref().get() });
    Some(claimed.complete(Sleeper::leave_frame))
}

/// Calls `serve_next` under the lock until it serves nobody, and rouses without the lock.
pub(crate) fn serve_all<S: State>(
    state: &ShortLock<S>,
    mut serve_next: impl FnMut(&mut S) -> Option<Rouse>,
) {
    loop {
        let mut served = [const { None }; BATCH];
        let mut locked = state.lock();
        let mut count = 0;
        while count < BATCH
            && let Some(rouse) = serve_next(&mut locked)
        {
            served[count] = Some(rouse);
            count += 1;
        }
        drop(locked);
        served.into_iter().flatten().for_each(Rouse::rouse);
        if count < BATCH {
            return;
        }
    }
}

/// One attempt of one caller.
pub(crate) struct Op<'a, S: State> {
    state: &'a ShortLock<S>,
    order: UnsafeCell<S::Order>,
    node: Node<OrderPtr<S::Order>, Sleeper>,
}

impl<'a, S: State> Op<'a, S> {
    pub(crate) fn new(state: &'a ShortLock<S>, order: S::Order) -> Op<'a, S> {
        Op {
            state,
            order: UnsafeCell::new(order),
            node: Node::new(),
        }
    }

    /// Of an operation that is not entered.
    pub(crate) fn into_order(self) -> S::Order {
        self.order.into_inner()
    }
}

impl<S: State> Arm for Op<'_, S> {
    fn lock_address(&self) -> *const () {
        std::ptr::from_ref(self.state).cast()
    }

    fn lock(&self) -> &Word {
        self.state.word()
    }

    unsafe fn attempt(&self) -> Attempt {
        // SAFETY: the lock is the caller's, and an operation that is not entered has its order to
        // itself.
        if unsafe { self.state.get().attempt(&mut *self.order.get()) } {
            Attempt::Done(None)
        } else {
            Attempt::Wait
        }
    }

    unsafe fn enter(&self, wait: &Wait, number: u32) {
        let order = OrderPtr(NonNull::from(&self.order));
        // SAFETY: 1, 2 by the caller.
        unsafe {
            let waiters = self.state.get().waiters();
            waiters.push(NonNull::from(&self.node), wait, number, order);
        }
    }

    unsafe fn leave(&self) {
        // SAFETY: 1 by the caller; the node is in this queue or in none.
        unsafe { self.state.get().waiters().remove(NonNull::from(&self.node)) };
    }

    unsafe fn due(&self) -> u64 {
        NEVER
    }
}

/// How a wait ended.
pub(crate) enum Waited<O> {
    Served(O),
    TimedOut,
    Cancelled,
    Refused,
}

/// Waits until `order` is served, or the deadline: in nanoseconds since process start, or [`NEVER`].
pub(crate) fn wait_until<S: State>(
    state: &ShortLock<S>,
    order: S::Order,
    deadline: u64,
    call: &str,
) -> Waited<S::Order> {
    let op = Op::new(state, order);
    let leave = Leave {
        op: &op,
        pending: Cell::new(true),
    };
    let wait = Wait::new();
    let group = Group::new([&op], &wait, [0]);
    let woken = wait::sleep(&group, S::REASON, deadline, call);
    let served = matches!(woken, Woken::Done(_)) || leave.now();
    leave.pending.set(false);
    drop(leave);
    match woken {
        _ if served => Waited::Served(op.into_order()),
        Woken::TimedOut => Waited::TimedOut,
        Woken::Refused => Waited::Refused,
        _ => Waited::Cancelled,
    }
}

/// Tells the state of a waiter that leaves, also when it unwinds.
struct Leave<'a, 'b, S: State> {
    op: &'a Op<'b, S>,
    pending: Cell<bool>,
}

impl<S: State> Leave<'_, '_, S> {
    fn now(&self) -> bool {
        self.pending.set(false);
        // SAFETY: the operation is not entered any more, and the order is the waiter's alone.
        S::left(self.op.state, unsafe { &mut *self.op.order.get() })
    }
}

impl<S: State> Drop for Leave<'_, '_, S> {
    fn drop(&mut self) {
        if self.pending.get() {
            self.now();
        }
    }
}

/// Waits until `order` is served. A routine that was asked to end unwinds.
///
/// # Panics
/// If the caller is panicking: the wait could stop its thread for ever.
pub(crate) fn wait_for<S: State>(state: &ShortLock<S>, order: S::Order, call: &str) -> S::Order {
    match wait_until(state, order, NEVER, call) {
        Waited::Served(order) => order,
        Waited::Refused => panic!("`{call}` while panicking could stop the thread for ever"),
        Waited::Cancelled | Waited::TimedOut => {
            cancel::raise_if_asked();
            unreachable!("a wait without a deadline ends early for a cancel only")
        }
    }
}

/// Waits until `order` is served, or the deadline: in nanoseconds since process start.
pub(crate) fn wait_or_time_out<S: State>(
    state: &ShortLock<S>,
    order: S::Order,
    deadline: u64,
    call: &str,
) -> Result<S::Order, WaitTimeoutError> {
    match wait_until(state, order, deadline, call) {
        Waited::Served(order) => Ok(order),
        Waited::Cancelled => Err(WaitTimeoutError::Cancelled),
        // A wait with a deadline is not refused.
        Waited::TimedOut | Waited::Refused => Err(WaitTimeoutError::Timeout),
    }
}

/// A public future around a [`Task`].
macro_rules! task_future {
    ($(#[$meta:meta])* $name:ident, $state:ty, $output:ty, $finish:expr) => {
        $(#[$meta])*
        #[must_use = "futures do nothing unless awaited"]
        pub struct $name<'a>($crate::sync::station::Task<'a, $state>);

        impl<'a> std::future::Future for $name<'a> {
            type Output = $output;

            /// # Panics
            /// If polled after it was ready.
            fn poll(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Self::Output> {
                // SAFETY: nothing is moved out of it.
                let this = unsafe { self.get_unchecked_mut() };
                // SAFETY: 1: pinned.
                unsafe { this.0.poll(cx) }.map($finish)
            }
        }

        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use task_future;

/// An operation of a task; see [`wait::poll_task`].
pub(crate) struct Task<'a, S: State> {
    op: Op<'a, S>,
    wait: Wait,
    task: TaskState,
    phase: Phase,
    _pinned: PhantomPinned,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Waiting,
    Ready,
}

// SAFETY: the wait's place for its sleeper, a waker, and the pointers of the node block the automatic
// one. A task that is entered is pinned; what others reach of it they reach under the state's lock.
unsafe impl<S: State + Send> Send for Task<'_, S> where S::Order: Send {}
// SAFETY: nothing can be done with a shared reference.
unsafe impl<S: State + Send> Sync for Task<'_, S> where S::Order: Send {}

impl<'a, S: State> Task<'a, S> {
    pub(crate) fn new(state: &'a ShortLock<S>, order: S::Order) -> Task<'a, S> {
        Task {
            op: Op::new(state, order),
            wait: Wait::new(),
            task: TaskState::new(),
            phase: Phase::Fresh,
            _pinned: PhantomPinned,
        }
    }

    /// Ready once, when the order is served.
    ///
    /// # Safety
    /// 1. Alive: the task is not moved from the first call on until it is dropped.
    ///
    /// # Panics
    /// If it was ready before.
    pub(crate) unsafe fn poll(
        &mut self,
        cx: &TaskContext<'_>,
    ) -> Poll<(&'a ShortLock<S>, &mut S::Order)> {
        assert!(self.phase != Phase::Ready, "polled after it was ready");
        self.phase = Phase::Waiting;
        // SAFETY: 1 by the caller; `drop` leaves the queue.
        match unsafe { wait::poll_task(&self.op, &self.wait, &self.task, S::REASON, cx) } {
            Polled::Pending => Poll::Pending,
            Polled::Done => {
                self.phase = Phase::Ready;
                Poll::Ready((self.op.state, self.op.order.get_mut()))
            }
        }
    }
}

impl<S: State> Drop for Task<'_, S> {
    fn drop(&mut self) {
        if self.phase != Phase::Waiting {
            return;
        }
        if wait::leave_task(&self.op, &self.wait, &self.task) {
            S::give_back(self.op.state, self.op.order.get_mut());
        } else {
            S::left(self.op.state, self.op.order.get_mut());
        }
    }
}

/// What the models of primitives share: tasks that are driven by a thread of the checker.
#[cfg(all(test, loom))]
pub(super) mod model {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    use std::task::{Context, Poll, Wake, Waker};

    use crate::primitives::Futex;

    struct Bell(Futex);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.0.store(1, Release);
            self.0.wake();
        }
    }

    /// Waits as a task does.
    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let bell = Arc::new(Bell(Futex::new(0)));
        let waker = Waker::from(bell.clone());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            while bell.0.0.load(Acquire) == 0 {
                bell.0.wait(0, None);
            }
            bell.0.0.store(0, Relaxed);
        }
    }

    /// Begins to wait, and leaves at once. Says whether there was nothing to wait for.
    pub(crate) fn begin_and_drop<F: Future>(future: F) -> bool {
        let mut future = pin!(future);
        let future: Pin<&mut F> = future.as_mut();
        future
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    /// Runs the model with few preemptions: enough for each of the losses that the models name.
    pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(model);
    }
}
