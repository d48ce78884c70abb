//! One send or one receive that may have to wait: in a frame, in a future or in a `select!`.

use std::cell::UnsafeCell;
use std::fmt;
use std::ptr::NonNull;

use crate::channel::error::{RecvError, SendError};
use crate::channel::state::{Chan, Nothing, Refusal, Slot, State};
use crate::scheduler::block::Caller;
use crate::scheduler::timers::NEVER;
use crate::snapshot::WaitReason;
use crate::sync::lock::Word;
use crate::sync::wait::{self, Arm, Attempt, Group, Sleeper, Wait, Woken};
use crate::sync::wait_queue::{Node, Queue};

/// What both operations have: the channel, where the value lies, and a place in one of its queues.
struct Entry<'a, T> {
    chan: &'a Chan<T>,
    slot: UnsafeCell<Option<T>>,
    node: Node<Slot<T>, Sleeper>,
}

/// Sends what is in the slot. Afterwards an empty slot says that it was sent, a full one that the
/// channel is closed.
pub(crate) struct SendOp<'a, T> {
    entry: Entry<'a, T>,
    /// Waits at a soft limit too.
    paced: bool,
}

/// Receives into the slot. Afterwards an empty slot says that the channel is closed and drained.
pub(crate) struct RecvOp<'a, T> {
    entry: Entry<'a, T>,
}

// SAFETY: the node's pointers block the automatic one. An operation that is entered is pinned, so it is
// not sent but with all of the future around it, whose other fields it shares no thread with; the
// pointers are followed under the channel's lock.
unsafe impl<T: Send> Send for Entry<'_, T> {}

impl<'a, T> Entry<'a, T> {
    fn new(chan: &'a Chan<T>, value: Option<T>) -> Entry<'a, T> {
        Entry {
            chan,
            slot: UnsafeCell::new(value),
            node: Node::new(),
        }
    }

    /// Names the channel's lock; see [`Arm::lock_address`].
    fn lock_address(&self) -> *const () {
        std::ptr::from_ref(self.chan.raw()).cast()
    }

    /// See [`Arm::enter`].
    ///
    /// # Safety
    /// 1. and 2. as there; `queue` gives a queue of the channel.
    #[inline(always)]
    unsafe fn enter(&self, queue: Which<T>, wait: &Wait, number: u32) {
        // SAFETY: 1, 2 by the caller.
        unsafe {
            let (node, slot) = (NonNull::from(&self.node), NonNull::from(&self.slot));
            queue(self.chan.raw().get()).push(node, wait, number, slot);
        }
    }

    /// See [`Arm::leave`].
    ///
    /// # Safety
    /// 1. as there; `queue` gives the queue that was entered, if any was.
    #[inline(always)]
    unsafe fn leave(&self, queue: Which<T>) {
        // SAFETY: 1 by the caller; the node is in this queue or in none.
        unsafe { queue(self.chan.raw().get()).remove(NonNull::from(&self.node)) };
    }
}

/// One of a channel's two queues.
type Which<T> = fn(&mut State<T>) -> &mut Queue<Slot<T>, Sleeper>;

impl<T> fmt::Debug for SendOp<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendOp").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for RecvOp<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvOp").finish_non_exhaustive()
    }
}

impl<'a, T> SendOp<'a, T> {
    pub(crate) fn new(chan: &'a Chan<T>, value: T) -> SendOp<'a, T> {
        SendOp {
            entry: Entry::new(chan, Some(value)),
            paced: false,
        }
    }

    /// One that waits at a soft limit too, if `paced`.
    pub(crate) fn paced(mut self, paced: bool) -> SendOp<'a, T> {
        self.paced = paced;
        self
    }

    /// What was not sent.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.entry.slot.get_mut().take()
    }

    /// Of an operation that is done.
    pub(crate) fn finish(&mut self) -> Result<(), SendError<T>> {
        match self.take() {
            None => Ok(()),
            Some(value) => Err(SendError::Disconnected(value)),
        }
    }
}

impl<'a, T> RecvOp<'a, T> {
    pub(crate) fn new(chan: &'a Chan<T>) -> RecvOp<'a, T> {
        RecvOp {
            entry: Entry::new(chan, None),
        }
    }

    /// What was received.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.entry.slot.get_mut().take()
    }

    /// Of an operation that is done.
    pub(crate) fn finish(&mut self) -> Result<T, RecvError> {
        self.take().ok_or(RecvError::Disconnected)
    }

    pub(crate) fn chan(&self) -> &'a Chan<T> {
        self.entry.chan
    }
}

/// Waits for the one operation; see [`wait::sleep`].
pub(crate) fn sleep(op: &impl Arm, deadline: u64, call: &str) -> Woken {
    let wait = Wait::new();
    let group = Group::new([op], &wait, [0]);
    wait::sleep(&group, WaitReason::Channel, deadline, call)
}

/// The same for a caller that has tried it in vain and still holds the channel's lock.
///
/// # Safety
/// As for [`wait::sleep_held`].
#[inline(always)]
pub(crate) unsafe fn sleep_held(op: &impl Arm, caller: Caller, deadline: u64, call: &str) -> Woken {
    let wait = Wait::new();
    let group = Group::new([op], &wait, [0]);
    // SAFETY: by the caller.
    unsafe { wait::sleep_held(&group, caller, WaitReason::Channel, deadline, call) }
}

/// Polls the one operation; see [`wait::poll_task`].
///
/// # Safety
/// As for [`wait::poll_task`].
pub(crate) unsafe fn poll(
    op: &impl Arm,
    wait: &Wait,
    task: &wait::TaskState,
    cx: &std::task::Context<'_>,
) -> wait::Polled {
    // SAFETY: by the caller.
    unsafe { wait::poll_task(op, wait, task, WaitReason::Channel, cx) }
}

impl<T> Arm for SendOp<'_, T> {
    fn lock_address(&self) -> *const () {
        self.entry.lock_address()
    }

    fn lock(&self) -> &Word {
        self.entry.chan.raw().word()
    }

    unsafe fn attempt(&self) -> Attempt {
        let Entry { chan, slot, .. } = &self.entry;
        // SAFETY: the lock is the caller's, and an operation that is not entered has its slot to itself.
        let (state, slot) = unsafe { (chan.raw().get(), &mut *slot.get()) };
        let value = slot.take().expect("a value to send");
        match state.send(value, self.paced) {
            Ok(rouse) => Attempt::Done(rouse),
            Err(Refusal::Closed(value)) => {
                *slot = Some(value);
                Attempt::Done(None)
            }
            Err(Refusal::Full(value)) => {
                *slot = Some(value);
                Attempt::Wait
            }
        }
    }

    unsafe fn enter(&self, wait: &Wait, number: u32) {
        // SAFETY: 1, 2 by the caller.
        unsafe { self.entry.enter(|state| &mut state.senders, wait, number) };
    }

    unsafe fn leave(&self) {
        // SAFETY: 1 by the caller; it is the queue of `enter`.
        unsafe { self.entry.leave(|state| &mut state.senders) };
    }

    unsafe fn due(&self) -> u64 {
        NEVER
    }
}

impl<T> Arm for RecvOp<'_, T> {
    fn lock_address(&self) -> *const () {
        self.entry.lock_address()
    }

    fn lock(&self) -> &Word {
        self.entry.chan.raw().word()
    }

    unsafe fn attempt(&self) -> Attempt {
        let Entry { chan, slot, .. } = &self.entry;
        // SAFETY: the lock is the caller's, and an operation that is not entered has its slot to itself.
        let (state, slot) = unsafe { (chan.raw().get(), &mut *slot.get()) };
        match state.recv() {
            Ok((value, rouse)) => {
                *slot = Some(value);
                Attempt::Done(rouse)
            }
            Err(Nothing::Ever) => Attempt::Done(None),
            Err(Nothing::Yet) => Attempt::Wait,
        }
    }

    unsafe fn enter(&self, wait: &Wait, number: u32) {
        // SAFETY: 1, 2 by the caller.
        unsafe { self.entry.enter(|state| &mut state.receivers, wait, number) };
    }

    unsafe fn leave(&self) {
        // SAFETY: 1 by the caller; it is the queue of `enter`.
        unsafe { self.entry.leave(|state| &mut state.receivers) };
    }

    unsafe fn due(&self) -> u64 {
        // SAFETY: 1 by the caller.
        unsafe { self.entry.chan.raw().get().due() }
    }
}
