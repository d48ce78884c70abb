//! Waiting for a socket's next event.

use std::ptr::NonNull;

use super::source::{Direction, Source};
use crate::scheduler::timers::NEVER;
use crate::snapshot::WaitReason;
use crate::sync::lock::Word;
use crate::sync::wait::{self, Arm, Attempt, Group, Sleeper, Wait, Woken};
use crate::sync::wait_queue::Node;

/// Waits until the tick is another one than `seen`, or the deadline has passed: in nanoseconds since
/// process start.
pub(crate) fn wait_for(
    source: &Source,
    direction: Direction,
    seen: u64,
    deadline: u64,
    call: &str,
) -> Woken {
    let arm = NextEvent {
        source,
        direction,
        seen,
        node: Node::new(),
    };
    let wait = Wait::new();
    wait::sleep(
        &Group::new([&arm], &wait, [0]),
        WaitReason::Io,
        deadline,
        call,
    )
}

struct NextEvent<'a> {
    source: &'a Source,
    direction: Direction,
    seen: u64,
    node: Node<(), Sleeper>,
}

impl Arm for NextEvent<'_> {
    fn lock_address(&self) -> *const () {
        std::ptr::from_ref(self.source.waiting()).cast()
    }

    fn lock(&self) -> &Word {
        self.source.waiting().word()
    }

    unsafe fn attempt(&self) -> Attempt {
        if self.source.tick(self.direction) != self.seen {
            return Attempt::Done(None);
        }
        Attempt::Wait
    }

    unsafe fn enter(&self, wait: &Wait, number: u32) {
        // SAFETY: 1, 2 by the caller.
        unsafe {
            let queue = self.source.waiting().get().sleepers(self.direction);
            queue.push(NonNull::from(&self.node), wait, number, ());
        }
    }

    unsafe fn leave(&self) {
        // SAFETY: 1 by the caller; the node is in this queue or in none.
        unsafe {
            let queue = self.source.waiting().get().sleepers(self.direction);
            queue.remove(NonNull::from(&self.node));
        }
    }

    unsafe fn due(&self) -> u64 {
        NEVER
    }
}
