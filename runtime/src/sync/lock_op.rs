//! Waiting for a [`RawLock`]: spinning, sleeping, awaiting.

use std::marker::PhantomPinned;
use std::task::{Context as TaskContext, Poll};

use crate::scheduler::block::{self, Context};
use crate::scheduler::timers::NEVER;
use crate::snapshot::WaitReason;
use crate::sync::holder::Holder;
use crate::sync::lock::Word;
use crate::sync::raw_lock::{Mode, Order, OrderPtr, RawLock, Sleeps};
use crate::sync::wait::{
    self, Arm, Attempt, Group, Polled, Rouse, Sleeper, TaskState, Wait, Woken,
};
use crate::sync::wait_queue::Node;
use crate::time;

/// From this age of a wait on, the lock is handed over. As Go and parking_lot have it.
const LONG_NS: u64 = 1_000_000;

/// Rounds of spinning, each twice as long as the one before, before a caller goes to sleep.
const SPIN_ROUNDS: u32 = 6;

/// How long a panicking caller sleeps before it looks again whether the owner needs its thread.
const SLICE_NS: u64 = 1_000_000;

/// A lock for routines, threads and tasks.
pub(crate) type Raw = RawLock<Sleeper>;

/// Why a lock was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    TimedOut,
    Cancelled,
    Refused,
}

impl Sleeps for Sleeper {
    type Rouse = Rouse;

    fn leave_frame(self) -> Rouse {
        Sleeper::leave_frame(self)
    }

    fn rouse(rouse: Rouse) {
        rouse.rouse();
    }

    fn is_long(since: u64) -> bool {
        // No time passes in a model.
        !cfg!(loom) && time::now_ns().saturating_sub(since) >= LONG_NS
    }
}

/// One attempt of one caller to get a lock.
struct LockOp<'a> {
    raw: &'a Raw,
    order: Order,
    node: Node<OrderPtr, Sleeper>,
}

impl<'a> LockOp<'a> {
    fn new(raw: &'a Raw, mode: Mode, holder: Holder, since: u64) -> LockOp<'a> {
        LockOp {
            raw,
            order: Order::new(mode, holder, since),
            node: Node::new(),
        }
    }
}

impl Arm for LockOp<'_> {
    fn lock_address(&self) -> *const () {
        std::ptr::from_ref(self.raw).cast()
    }

    fn lock(&self) -> &Word {
        self.raw.queue().word()
    }

    unsafe fn attempt(&self) -> Attempt {
        // SAFETY: 1 by the caller: it holds the queue's lock until the arm is entered.
        if unsafe { self.raw.attempt(&self.order) } {
            Attempt::Done(None)
        } else {
            Attempt::Wait
        }
    }

    unsafe fn enter(&self, wait: &Wait, number: u32) {
        // SAFETY: 1, 2 by the caller, who has tried `attempt` under the same hold of the lock.
        unsafe { self.raw.enter(&self.node, wait, number, &self.order) };
    }

    unsafe fn leave(&self) {
        // SAFETY: 1 by the caller.
        unsafe { self.raw.leave(&self.node) };
    }

    unsafe fn due(&self) -> u64 {
        NEVER
    }
}

/// Gives up an attempt that got no lock, however it ends.
struct GiveUp<'a, 'b>(&'a LockOp<'b>);

impl Drop for GiveUp<'_, '_> {
    fn drop(&mut self) {
        if !self.0.order.is_granted() {
            self.0.raw.nudge(&self.0.order);
        }
    }
}

/// Gets the lock, or says why not. `deadline` in nanoseconds since process start, or [`NEVER`]. A
/// routine that was asked to end unwinds if there is none.
#[cold]
pub(crate) fn lock_slowly(
    raw: &Raw,
    mode: Mode,
    deadline: u64,
    call: &str,
) -> Result<(), NotTaken> {
    let me = Holder::me();
    let context = block::context();
    if deadline == NEVER {
        if raw.owner() == me {
            if matches!(context, Context::Panicking(_)) {
                return Err(NotTaken::Refused);
            }
            panic!("`{call}` by the writer of the lock itself would wait for ever");
        }
        crate::cancel::raise_if_asked();
    }
    if spin(raw, mode, me, context) {
        return Ok(());
    }
    let op = LockOp::new(raw, mode, me, time::now_ns());
    let _give_up = GiveUp(&op);
    loop {
        let until = match context {
            Context::Panicking(_) if deadline == NEVER => time::now_ns() + SLICE_NS,
            _ => deadline,
        };
        let wait = Wait::new();
        let group = Group::new([&op], &wait, [0]);
        match wait::sleep(&group, WaitReason::Lock, until, call) {
            Woken::Done(_) if op.order.is_granted() => return Ok(()),
            Woken::Done(_) => {
                op.order.try_again();
                if raw.retry(&op.order) {
                    return Ok(());
                }
            }
            Woken::Cancelled if deadline == NEVER => crate::cancel::raise_if_asked(),
            Woken::Cancelled => return Err(NotTaken::Cancelled),
            Woken::TimedOut if deadline == NEVER => {
                if let Context::Panicking(me) = context
                    && needs_thread_of_owner(raw, me)
                {
                    return Err(NotTaken::Refused);
                }
            }
            Woken::TimedOut => return Err(NotTaken::TimedOut),
            Woken::Refused => return Err(NotTaken::Refused),
        }
    }
}

/// Whether the lock may be held by somebody who only the calling thread can run, which is panicking and
/// runs nobody. Readers are not known.
fn needs_thread_of_owner(raw: &Raw, me: crate::routine::RoutineRef) -> bool {
    match raw.owner() {
        Holder::NOBODY => raw.readers() > 0,
        owner => owner.needs_thread_of(me),
    }
}

/// Waits for a holder who runs on another thread and is about to unlock.
fn spin(raw: &Raw, mode: Mode, me: Holder, context: Context) -> bool {
    let alone = match context {
        Context::Routine(me) => me.shared().roster.active() == 1,
        _ => false,
    };
    if alone {
        return false;
    }
    for round in 0..SPIN_ROUNDS {
        for _ in 0..1 << round {
            std::hint::spin_loop();
        }
        let (free, parked) = raw.look();
        let taken = match mode {
            Mode::Write => free && raw.try_write(me),
            Mode::Read => raw.try_read(),
        };
        // Who has to queue anyway does not spin: the others would only take the line from each other.
        if taken || parked {
            return taken;
        }
    }
    false
}

/// An attempt of a task; see [`wait::poll_task`].
pub(crate) struct LockTask<'a> {
    op: LockOp<'a>,
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
// one. A task that is entered is pinned; what others reach of it they reach under the queue's lock.
unsafe impl Send for LockTask<'_> {}
// SAFETY: nothing can be done with a shared reference.
unsafe impl Sync for LockTask<'_> {}

impl<'a> LockTask<'a> {
    pub(crate) fn new(raw: &'a Raw, mode: Mode) -> LockTask<'a> {
        LockTask {
            op: LockOp::new(raw, mode, Holder::TASK, 0),
            wait: Wait::new(),
            task: TaskState::new(),
            phase: Phase::Fresh,
            _pinned: PhantomPinned,
        }
    }

    /// Ready once, when the lock is taken.
    ///
    /// # Safety
    /// 1. Alive: the task is not moved from the first call on until it is dropped.
    ///
    /// # Panics
    /// If it was ready before.
    pub(crate) unsafe fn poll(&mut self, cx: &TaskContext<'_>) -> Poll<()> {
        assert!(self.phase != Phase::Ready, "polled after it was ready");
        if self.phase == Phase::Fresh {
            self.phase = Phase::Waiting;
            self.op.order.begin(time::now_ns());
        }
        loop {
            // SAFETY: 1 by the caller; `drop` leaves the queue.
            match unsafe { wait::poll_task(&self.op, &self.wait, &self.task, WaitReason::Lock, cx) }
            {
                Polled::Pending => return Poll::Pending,
                Polled::Done if self.op.order.is_granted() => {
                    self.phase = Phase::Ready;
                    return Poll::Ready(());
                }
                Polled::Done => {
                    self.op.order.try_again();
                    // SAFETY: done, and its only node is out of the queue.
                    unsafe { self.wait.reopen() };
                }
            }
        }
    }
}

impl Drop for LockTask<'_> {
    fn drop(&mut self) {
        if self.phase != Phase::Waiting {
            return;
        }
        let raw = self.op.raw;
        if wait::leave_task(&self.op, &self.wait, &self.task) {
            if self.op.order.is_granted() {
                // SAFETY: 1: the lock was handed to us, and nobody has heard of it.
                return unsafe {
                    match self.op.order.mode {
                        Mode::Read => raw.unlock_read(),
                        Mode::Write => raw.unlock_write(),
                    }
                };
            }
            self.op.order.try_again();
        }
        raw.nudge(&self.op.order);
    }
}
