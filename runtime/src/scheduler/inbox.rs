//! The inbox of a home: readies from other threads, many writers, one reader. A worker has one as well,
//! for the fresh routines that a key brings to it.
//!
//! An intrusive list linked by the routines' own `next`, pushed at its head by an exchange and
//! taken whole by the home, which turns it round. Taking all at once is what makes the simple list
//! safe: nobody ever follows a link of a list that somebody else may still take from.

use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::primitives::AtomicPtr;
use crate::routine::{Header, RoutineRef};

/// What an inbox holds: something with a link, owned by whoever pushes it and then by the inbox.
///
/// # Safety
/// 1. Alive: a member stays where it is, and is not freed, until it was drained.
/// 2. Exclusive: nobody touches the link of a member but the inbox.
pub(crate) unsafe trait Linked: Copy {
    type Node;
    fn node(self) -> NonNull<Self::Node>;
    /// The member that `node` gave this node of.
    fn from_node(node: NonNull<Self::Node>) -> Self;
    fn link(&self) -> &AtomicPtr<Self::Node>;
}

// SAFETY: 1: blocks stay alive while they are queued, because the scheduler's reference is given
// up only at the routine's end; 2: whoever queues a routine owns its link, see `routine::life`.
unsafe impl Linked for RoutineRef {
    type Node = Header;

    fn node(self) -> NonNull<Header> {
        self.as_non_null()
    }

    fn from_node(node: NonNull<Header>) -> RoutineRef {
        // SAFETY: `node` came from a `RoutineRef`, whose block is alive by 1 of the trait.
        unsafe { RoutineRef::from_ptr(node.as_ptr()) }
    }

    fn link(&self) -> &AtomicPtr<Header> {
        &self.header().next
    }
}

/// See the module's text.
pub(crate) struct Inbox<T: Linked = RoutineRef> {
    head: AtomicPtr<T::Node>,
    len: AtomicU64,
}

impl<T: Linked> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox {
            head: AtomicPtr::new(null_mut()),
            len: AtomicU64::new(0),
        }
    }

    /// Adds a routine that the caller owns.
    pub(crate) fn push(&self, member: T) {
        self.len.fetch_add(1, Relaxed);
        let mut head = self.head.load(Relaxed);
        loop {
            member.link().store(head, Relaxed);
            // Release pairs with the acquire swap in `drain`: the member is visible to its home.
            match self
                .head
                .compare_exchange_weak(head, member.node().as_ptr(), Release, Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Members waiting here. As exact as a count that changes meanwhile can be.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Relaxed)
    }

    /// Whether there is something to drain. Relaxed: who must not miss a push has a fence between
    /// its own announcement and this look (step P3 of `docs/scheduler.md`).
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Relaxed).is_null()
    }

    /// Takes everything, oldest first. Only by the home.
    pub(crate) fn drain(&self, mut each: impl FnMut(T)) {
        // Acquire pairs with the release exchange of every push of the list: each exchange but the
        // first continues the release sequence of the ones before it.
        let mut newest = NonNull::new(self.head.swap(null_mut(), Acquire));
        let mut oldest = null_mut();
        let mut count = 0;
        // The list was ours from the swap on.
        while let Some(node) = newest {
            let link = T::from_node(node);
            newest = NonNull::new(link.link().load(Relaxed));
            link.link().store(oldest, Relaxed);
            oldest = node.as_ptr();
            count += 1;
        }
        self.len.fetch_sub(count, Relaxed);
        while let Some(node) = NonNull::new(oldest) {
            let member = T::from_node(node);
            // Before the member is given away: its next owner may link it elsewhere.
            oldest = member.link().load(Relaxed);
            each(member);
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::Place;
    use loom::sync::Arc;
    use loom::thread;

    /// Stands in for a routine's block: a link and something that its owner wrote.
    struct Node {
        link: AtomicPtr<Node>,
        written: Place<u32>,
    }

    // SAFETY: the place is handed over by the inbox, which is what the model checks.
    unsafe impl Sync for Node {}
    // SAFETY: as for `Sync`.
    unsafe impl Send for Node {}

    #[derive(Clone, Copy)]
    struct NodeRef(NonNull<Node>);

    // SAFETY: an address; see `Node`.
    unsafe impl Send for NodeRef {}

    // SAFETY: 1: the models leak their nodes' addresses only within an iteration that keeps them;
    // 2: only the inbox touches links.
    unsafe impl Linked for NodeRef {
        type Node = Node;

        fn node(self) -> NonNull<Node> {
            self.0
        }

        fn from_node(node: NonNull<Node>) -> NodeRef {
            NodeRef(node)
        }

        fn link(&self) -> &AtomicPtr<Node> {
            // SAFETY: the nodes outlive the model's threads.
            unsafe { &self.0.as_ref().link }
        }
    }

    impl NodeRef {
        fn new() -> NodeRef {
            NodeRef(NonNull::from(Box::leak(Box::new(Node {
                link: AtomicPtr::new(null_mut()),
                written: Place::new(),
            }))))
        }

        fn place(&self) -> &Place<u32> {
            // SAFETY: as in `link`.
            unsafe { &self.0.as_ref().written }
        }

        fn free(self) {
            // SAFETY: made by `new`, freed once, after all threads were joined.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }

    fn push(inbox: &Inbox<NodeRef>, node: NodeRef, value: u32) {
        // SAFETY: the pusher owns the node.
        unsafe { node.place().put(value) };
        inbox.push(node);
    }

    fn drain(inbox: &Inbox<NodeRef>, into: &mut Vec<u32>) {
        // SAFETY: a drained node is the drainer's.
        inbox.drain(|node| into.push(unsafe { node.place().take() }));
    }

    /// Two writers and a home that drains meanwhile: everything arrives once, in each writer's
    /// order, and is visible. Breaks if the exchange in `push` or the swap in `drain` is relaxed
    /// (two threads in one place), or if the push stores the head instead of exchanging it.
    #[test]
    fn everything_pushed_arrives_once_and_in_order() {
        loom::model(|| {
            let inbox = Arc::new(Inbox::<NodeRef>::new());
            let nodes = [NodeRef::new(), NodeRef::new(), NodeRef::new()];
            let [first, second, other] = nodes;
            let writers = [
                {
                    let inbox = inbox.clone();
                    thread::spawn(move || {
                        push(&inbox, first, 1);
                        push(&inbox, second, 2);
                    })
                },
                {
                    let inbox = inbox.clone();
                    thread::spawn(move || push(&inbox, other, 3))
                },
            ];
            let mut got = Vec::new();
            drain(&inbox, &mut got);
            for writer in writers {
                writer.join().unwrap();
            }
            drain(&inbox, &mut got);
            assert!(inbox.is_empty() && inbox.len() == 0);
            let ordered: Vec<u32> = got.iter().copied().filter(|n| *n < 3).collect();
            assert_eq!(ordered, [1, 2], "{got:?}");
            got.sort_unstable();
            assert_eq!(got, [1, 2, 3]);
            nodes.into_iter().for_each(NodeRef::free);
        });
    }

    /// A node that was drained may be pushed again while another push is under way. Breaks if the
    /// home took single nodes from the head (the classic ABA).
    #[test]
    fn a_drained_node_comes_back() {
        loom::model(|| {
            let inbox = Arc::new(Inbox::<NodeRef>::new());
            let nodes = [NodeRef::new(), NodeRef::new()];
            let [mine, other] = nodes;
            push(&inbox, mine, 1);
            let writer = {
                let inbox = inbox.clone();
                thread::spawn(move || push(&inbox, other, 2))
            };
            let mut got = Vec::new();
            drain(&inbox, &mut got);
            push(&inbox, mine, 3);
            writer.join().unwrap();
            drain(&inbox, &mut got);
            got.sort_unstable();
            assert_eq!(got, [1, 2, 3]);
            nodes.into_iter().for_each(NodeRef::free);
        });
    }
}
