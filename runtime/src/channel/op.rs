//! One send or one receive that may have to wait: in a frame, in a future or in a `select!`.

use std::cell::UnsafeCell;
use std::fmt;
use std::ptr::NonNull;

use crate::channel::error::{RecvError, SendError};
use crate::channel::state::{Chan, Nothing, Refusal, Slot};
use crate::scheduler::timers::NEVER;
use crate::snapshot::WaitReason;
use crate::sync::wait::{self, Arm, Attempt, Group, Sleeper, Wait, Woken};
use crate::sync::wait_queue::Node;

/// Sends what is in the slot. Afterwards an empty slot says that it was sent, a full one that the
/// channel is closed.
pub(crate) struct SendOp<'a, T> {
    chan: &'a Chan<T>,
    slot: UnsafeCell<Option<T>>,
    node: Node<Slot<T>, Sleeper>,
    /// Waits at a soft limit too.
    paced: bool,
}

/// Receives into the slot. Afterwards an empty slot says that the channel is closed and drained.
pub(crate) struct RecvOp<'a, T> {
    chan: &'a Chan<T>,
    slot: UnsafeCell<Option<T>>,
    node: Node<Slot<T>, Sleeper>,
}

// SAFETY: the node's pointers block the automatic ones. An operation that is entered is pinned, so it is
// not sent but with all of the future around it, whose other fields it shares no thread with; the
// pointers are followed under the channel's lock.
unsafe impl<T: Send> Send for SendOp<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for RecvOp<'_, T> {}

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
            chan,
            slot: UnsafeCell::new(Some(value)),
            node: Node::new(),
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
        self.slot.get_mut().take()
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
            chan,
            slot: UnsafeCell::new(None),
            node: Node::new(),
        }
    }

    /// What was received.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.slot.get_mut().take()
    }

    /// Of an operation that is done.
    pub(crate) fn finish(&mut self) -> Result<T, RecvError> {
        self.take().ok_or(RecvError::Disconnected)
    }

    pub(crate) fn chan(&self) -> &'a Chan<T> {
        self.chan
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
#[inline]
pub(crate) unsafe fn sleep_held(op: &impl Arm, deadline: u64, call: &str) -> Woken {
    let wait = Wait::new();
    let group = Group::new([op], &wait, [0]);
    // SAFETY: by the caller.
    unsafe { wait::sleep_held(&group, WaitReason::Channel, deadline, call) }
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
        std::ptr::from_ref(self.chan.raw()).cast()
    }

    fn acquire(&self) {
        self.chan.raw().acquire();
    }

    unsafe fn release(&self) {
        // SAFETY: 1 by the caller; our references of `get` are temporaries.
        unsafe { self.chan.raw().release() };
    }

    unsafe fn attempt(&self) -> Attempt {
        // SAFETY: the lock is the caller's, and an operation that is not entered has its slot to itself.
        let (state, slot) = unsafe { (self.chan.raw().get(), &mut *self.slot.get()) };
        let value = slot.take().expect("a value to send");
        let sent = match self.paced {
            false => state.send(value),
            true => state.send_paced(value),
        };
        match sent {
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
        unsafe {
            let state = self.chan.raw().get();
            let (node, slot) = (NonNull::from(&self.node), NonNull::from(&self.slot));
            state.senders.push(node, wait, number, slot);
        }
    }

    unsafe fn leave(&self) {
        // SAFETY: 1 by the caller; the node is in this queue or in none.
        unsafe {
            self.chan
                .raw()
                .get()
                .senders
                .remove(NonNull::from(&self.node));
        }
    }

    unsafe fn due(&self) -> u64 {
        NEVER
    }
}

impl<T> Arm for RecvOp<'_, T> {
    fn lock_address(&self) -> *const () {
        std::ptr::from_ref(self.chan.raw()).cast()
    }

    fn acquire(&self) {
        self.chan.raw().acquire();
    }

    unsafe fn release(&self) {
        // SAFETY: 1 by the caller; our references of `get` are temporaries.
        unsafe { self.chan.raw().release() };
    }

    unsafe fn attempt(&self) -> Attempt {
        // SAFETY: the lock is the caller's, and an operation that is not entered has its slot to itself.
        let (state, slot) = unsafe { (self.chan.raw().get(), &mut *self.slot.get()) };
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
        unsafe {
            let state = self.chan.raw().get();
            let (node, slot) = (NonNull::from(&self.node), NonNull::from(&self.slot));
            state.receivers.push(node, wait, number, slot);
        }
    }

    unsafe fn leave(&self) {
        // SAFETY: 1 by the caller; the node is in this queue or in none.
        unsafe {
            self.chan
                .raw()
                .get()
                .receivers
                .remove(NonNull::from(&self.node));
        }
    }

    unsafe fn due(&self) -> u64 {
        // SAFETY: 1 by the caller.
        unsafe { self.chan.raw().get().due() }
    }
}
