//! Who has a home mounted, and who found it taken.
//!
//! ```text
//!   31           1   0
//!  ┌──────────────┬────────┐
//!  │ carrier      │ waited │   carrier: 0 free, 1 put by, else the kernel's number of a thread
//!  └──────────────┴────────┘
//! ```
//!
//! A home with one routine is found taken only by who resumes it before its last worker has let go of it.
//! Above the limit routines share homes, and two that are runnable at once are taken by two workers. The second one leaves
//! its routine in the home's queue and goes on; the first one, when it has unmounted, hands out whoever
//! queued meanwhile. The last word lies with exchanges of one word: the second queues *first*
//! and then marks the word; if it finds the home free again it hands the queue out itself. So a routine in
//! the queue always has somebody who will take it out. (The model fails if the mark comes before the
//! push, and if a free home is left alone.)

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::primitives::AtomicU32;
use crate::scheduler::inbox::{Inbox, Linked};

const FREE: u32 = 0;
const WAITED: u32 = 1;
const PUT_BY: u32 = 1 << 1;

/// See the module's text.
pub(crate) struct Door<T: Linked> {
    word: AtomicU32,
    waiting: Inbox<T>,
}

impl<T: Linked> Door<T> {
    /// Of a home that is put by.
    pub(crate) fn new() -> Door<T> {
        Door {
            word: AtomicU32::new(PUT_BY),
            waiting: Inbox::new(),
        }
    }

    /// Takes a home that was put by, and that only the caller knows.
    ///
    /// # Panics
    /// Somebody has it all the same.
    #[inline]
    pub(crate) fn take_up(&self, carrier: u32) {
        // Acquire pairs with the release store in `put_by`.
        let taken = self
            .word
            .compare_exchange(PUT_BY, carrier << 1, Acquire, Relaxed);
        assert!(taken.is_ok(), "a home that was put by is mounted");
    }

    /// Takes the home if nobody has it. Not one that is put by.
    #[inline]
    pub(crate) fn try_enter(&self, carrier: u32) -> bool {
        // Acquire pairs with the release exchange in `leave`: the home's memory as it was left.
        self.word
            .compare_exchange(FREE, carrier << 1, Acquire, Relaxed)
            .is_ok()
    }

    /// Queues `member`, which found the home taken. Calls `each` for those that can try again.
    #[cold]
    pub(crate) fn wait(&self, member: T, each: impl FnMut(T)) {
        self.waiting.push(member);
        let mut word = self.word.load(Relaxed);
        // One that is put by has no routines, so it is not found here.
        while word != FREE {
            // Release pairs with the acquire exchange in `leave`: who sees the mark sees the member.
            match self
                .word
                .compare_exchange_weak(word, word | WAITED, Release, Relaxed)
            {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        // Whoever left did not see a mark of ours.
        self.waiting.drain(each);
    }

    /// Lets others have the home. Calls `each` for those that waited.
    ///
    /// # Panics
    /// The caller did not have it.
    #[inline]
    pub(crate) fn leave(&self, carrier: u32, each: impl FnMut(T)) {
        // Release pairs with the acquire exchange in `try_enter`, acquire with the release one in `wait`.
        let was = self.word.swap(FREE, AcqRel);
        assert!(was >> 1 == carrier, "a home was mounted by two at once");
        if was & WAITED != 0 {
            self.waiting.drain(each);
        }
    }

    /// Keeps the home, which has no routine, from everybody.
    ///
    /// # Panics
    /// The caller did not have it.
    #[inline]
    pub(crate) fn put_by(&self, carrier: u32) {
        // Release pairs with the acquire exchange in `take_up`.
        let was = self.word.swap(PUT_BY, Release);
        assert!(was == carrier << 1, "a home without routines is waited for");
    }
}

#[cfg(all(test, loom))]
mod model {
    use std::ptr::{NonNull, null_mut};

    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;
    use crate::primitives::AtomicPtr;

    struct Node(AtomicPtr<Node>);

    #[derive(Clone, Copy)]
    struct NodeRef(NonNull<Node>);

    // SAFETY: nodes live through the model; only the queue touches their links.
    unsafe impl Linked for NodeRef {
        type Node = Node;
        fn node(self) -> NonNull<Node> {
            self.0
        }
        fn from_node(node: NonNull<Node>) -> NodeRef {
            NodeRef(node)
        }
        fn link(&self) -> &AtomicPtr<Node> {
            // SAFETY: as above.
            unsafe { &self.0.as_ref().0 }
        }
    }
    // SAFETY: as above.
    unsafe impl Send for NodeRef {}

    struct World {
        door: Door<NodeRef>,
        /// What a home's memory stands for: loom tells if two touch it at once.
        memory: UnsafeCell<u32>,
        ran: AtomicUsize,
    }
    // SAFETY: the door keeps them apart; that is what the model checks.
    unsafe impl Sync for World {}
    // SAFETY: as above.
    unsafe impl Send for World {}

    /// What a worker does with a routine that it has taken from its deque, and with those handed out to it.
    fn run(world: &World, carrier: u32, first: NodeRef) {
        let mut deque = vec![first];
        while let Some(node) = deque.pop() {
            if !world.door.try_enter(carrier) {
                world.door.wait(node, |other| deque.push(other));
                continue;
            }
            // SAFETY: under the door.
            world.memory.with_mut(|memory| unsafe { *memory += 1 });
            world.ran.fetch_add(1, Relaxed);
            world.door.leave(carrier, |other| deque.push(other));
        }
    }

    fn check(carriers: u32) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(move || {
            let world = Arc::new(World {
                door: Door::new(),
                memory: UnsafeCell::new(0),
                ran: AtomicUsize::new(0),
            });
            world.door.take_up(2);
            world.door.leave(2, |_| unreachable!());
            let nodes: Vec<_> = (0..carriers)
                .map(|_| {
                    NodeRef(NonNull::from(Box::leak(Box::new(Node(AtomicPtr::new(
                        null_mut(),
                    ))))))
                })
                .collect();
            let others: Vec<_> = nodes[1..]
                .iter()
                .zip(3..)
                .map(|(&node, carrier)| {
                    let world = world.clone();
                    thread::spawn(move || run(&world, carrier, node))
                })
                .collect();
            run(&world, 2, nodes[0]);
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(
                world.ran.load(Relaxed),
                carriers as usize,
                "nobody is left in the queue"
            );
            for node in nodes {
                // SAFETY: leaked above.
                drop(unsafe { Box::from_raw(node.0.as_ptr()) });
            }
        });
    }

    #[test]
    fn two_routines_of_one_home_both_run_and_never_at_once() {
        check(2);
    }

    #[test]
    fn three_routines_of_one_home_all_run() {
        check(3);
    }
}
