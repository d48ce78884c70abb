//! Queues of waiters, first come first served, whose nodes lie in the frames of those who wait.
//!
//! A [`Wait`] is one wait of one caller; it may stand in several queues at once, with a [`Node`] in
//! each. Whoever has what is waited for *claims* the wait through one of its nodes:
//!
//! ```text
//!            claim               complete
//!   Open ───────────► Claimed ─────────────► Done(arm)      by a partner, under its queue's lock
//!    │ ▲
//!    ▼ │ reopen
//!   Abandoned                                               by the waiter: time out, cancel, drop
//! ```
//!
//! **Who may touch what.** The links of a node and of its queue belong to the holder of the lock
//! around the queue. What a node's payload points to, and the sleeper of the wait, belong to the
//! waiter until it is claimed, to the claimer until `Done`, then to the waiter again. The claimer
//! holds its queue's lock from the claim to `Done`, and touches nothing of the waiter after it.
//!
//! **The loan.** A frame with a linked node is lent to the queue. The loan is back when each node is
//! out of its queue: the waiter that sees `Done(arm)` knows it of that arm's node, and takes the
//! others out itself, under the lock of their queue, one after the other. A waiter that finds its
//! wait claimed but not done meets the claimer at one of these locks.
//!
//! A queue may hold nodes of waits that somebody else has claimed. They are in nobody's way:
//! [`Queue::claim`] takes them out as it finds them.
//!
//! Nothing here knows routines, threads or stacks, nor how a sleeper is woken: that is
//! [`wait`](super::wait).

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomPinned;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::primitives::{AtomicU32, Place};

const OPEN: u32 = 0;
const CLAIMED: u32 = 1;
const ABANDONED: u32 = 2;
/// Plus the number of the arm.
const DONE: u32 = 3;

/// One wait; see the module's text. `W` is what wakes the sleeper.
pub(crate) struct Wait<W> {
    state: AtomicU32,
    /// Full from [`arm`](Self::arm) to the claim, or to [`disarm`](Self::disarm).
    sleeper: Place<W>,
}

impl<W> Wait<W> {
    pub(crate) fn new() -> Wait<W> {
        Wait {
            state: AtomicU32::new(OPEN),
            sleeper: Place::new(),
        }
    }

    /// Says who sleeps.
    ///
    /// # Safety
    /// 1. Exclusive: the caller is the waiter, the wait is open, and no node of it is linked, or the
    ///    caller holds the locks of all queues in which there are some; there is no sleeper.
    #[inline]
    pub(crate) unsafe fn arm(&self, sleeper: W) {
        // SAFETY: by 1 nobody can claim the wait, so the place is the waiter's, and empty.
        unsafe { self.sleeper.put(sleeper) };
    }

    /// Takes back who sleeps.
    ///
    /// # Safety
    /// 1. Exclusive: the caller is the waiter and has armed the wait, which it has abandoned, or
    ///    which is open while it holds the locks of all its queues.
    pub(crate) unsafe fn disarm(&self) -> W {
        // SAFETY: by 1 nobody has claimed the wait or can do so: the place is the waiter's, and full.
        unsafe { self.sleeper.take() }
    }

    /// The arm through which the wait was completed, if it was. What the partner wrote is visible
    /// then.
    #[inline]
    pub(crate) fn done(&self) -> Option<u32> {
        // Acquire pairs with the store in `Claimed::complete`.
        self.state.load(Acquire).checked_sub(DONE)
    }

    /// Whether nobody has claimed the wait. Exact for who holds the locks of all its queues.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Relaxed) == OPEN
    }

    /// The waiter gives up. False if a partner was faster: then the wait is done, at the latest when
    /// the lock of each queue was held once.
    pub(crate) fn abandon(&self) -> bool {
        // Relaxed: the waiter goes on with its own things only.
        self.state
            .compare_exchange(OPEN, ABANDONED, Relaxed, Relaxed)
            .is_ok()
    }

    /// Makes an abandoned wait, or one that was never linked, fit for another round.
    ///
    /// # Safety
    /// 1. Exclusive: the caller is the waiter, and no node of the wait is linked.
    pub(crate) unsafe fn reopen(&self) {
        self.state.store(OPEN, Relaxed);
    }

    #[inline]
    fn claim(&self) -> bool {
        // Relaxed: the sleeper and the payload were written before the node was linked, under the
        // lock that the claimer holds.
        self.state.load(Relaxed) == OPEN
            && self
                .state
                .compare_exchange(OPEN, CLAIMED, Relaxed, Relaxed)
                .is_ok()
    }
}

/// A wait's place in one queue. Must not move while it is linked.
pub(crate) struct Node<P, W> {
    links: UnsafeCell<Links<P, W>>,
    /// Written by the waiter before the node is linked, read by claimers.
    arm: Cell<u32>,
    payload: Cell<Option<P>>,
    _pinned: PhantomPinned,
}

struct Links<P, W> {
    prev: Option<NonNull<Node<P, W>>>,
    next: Option<NonNull<Node<P, W>>>,
    /// Some while linked.
    wait: Option<NonNull<Wait<W>>>,
}

impl<P, W> Node<P, W> {
    pub(crate) fn new() -> Node<P, W> {
        Node {
            links: UnsafeCell::new(Links {
                prev: None,
                next: None,
                wait: None,
            }),
            arm: Cell::new(0),
            payload: Cell::new(None),
            _pinned: PhantomPinned,
        }
    }
}

/// Waiters in order of arrival. Lives under its owner's lock.
pub(crate) struct Queue<P, W> {
    first: Option<NonNull<Node<P, W>>>,
    last: Option<NonNull<Node<P, W>>>,
}

/// A wait that the holder has claimed: its partner sleeps until [`complete`](Self::complete).
#[must_use]
pub(crate) struct Claimed<P, W> {
    payload: P,
    arm: u32,
    wait: NonNull<Wait<W>>,
}

impl<P: Copy, W> Queue<P, W> {
    pub(crate) const fn new() -> Queue<P, W> {
        Queue {
            first: None,
            last: None,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Writes what a node says but for its neighbours, and gives its links.
    ///
    /// # Safety
    /// 1., 2. As for [`push`](Self::push).
    #[inline(always)]
    unsafe fn fill<'a>(
        node: NonNull<Node<P, W>>,
        wait: &Wait<W>,
        arm: u32,
        payload: P,
    ) -> &'a mut Links<P, W> {
        // SAFETY: the node is alive by 2; its links are ours by 1.
        let links = unsafe {
            node.as_ref().arm.set(arm);
            node.as_ref().payload.set(Some(payload));
            &mut *node.as_ref().links.get()
        };
        debug_assert!(links.wait.is_none());
        links.wait = Some(NonNull::from(wait));
        links
    }

    /// Puts the node at the end.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the lock around the queue, and so does everybody who calls its
    ///    other functions. The node is in no queue. The wait is open and armed.
    /// 2. Alive: node, wait and what the payload stands for stay where they are until the node is
    ///    out of the queue and the wait, if claimed, is done.
    #[inline]
    pub(crate) unsafe fn push(
        &mut self,
        node: NonNull<Node<P, W>>,
        wait: &Wait<W>,
        arm: u32,
        payload: P,
    ) {
        // SAFETY: 1 and 2 by the caller.
        let links = unsafe { Queue::fill(node, wait, arm, payload) };
        links.prev = self.last;
        links.next = None;
        match self.last {
            // SAFETY: linked nodes are alive by 2 of their own push, and their links belong to the
            // lock's holder.
            Some(last) => unsafe { (*last.as_ref().links.get()).next = Some(node) },
            None => self.first = Some(node),
        }
        self.last = Some(node);
    }

    /// The payload of the first, abandoned or not.
    pub(crate) fn first(&self) -> Option<P> {
        // SAFETY: linked nodes are alive by 2 of `push`, and the caller holds the lock.
        self.first
            .and_then(|node| unsafe { node.as_ref() }.payload.get())
    }

    /// Visits the payloads in their order, those of abandoned waits as well.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(P)) {
        let mut next = self.first;
        while let Some(node) = next {
            // SAFETY: linked nodes are alive by 2 of `push`, and the caller holds the lock.
            unsafe {
                visit(node.as_ref().payload.get().expect("set by `push`"));
                next = (*node.as_ref().links.get()).next;
            }
        }
    }

    /// Puts the node at the front: the waiter was first before.
    ///
    /// # Safety
    /// 1., 2. As for [`push`](Self::push).
    pub(crate) unsafe fn push_front(
        &mut self,
        node: NonNull<Node<P, W>>,
        wait: &Wait<W>,
        arm: u32,
        payload: P,
    ) {
        // SAFETY: 1 and 2 by the caller.
        let links = unsafe { Queue::fill(node, wait, arm, payload) };
        links.prev = None;
        links.next = self.first;
        match self.first {
            // SAFETY: linked nodes are alive by 2 of their own push, and their links belong to the
            // lock's holder.
            Some(first) => unsafe { (*first.as_ref().links.get()).prev = Some(node) },
            None => self.last = Some(node),
        }
        self.first = Some(node);
    }

    /// Takes the node out, if it is still in.
    ///
    /// # Safety
    /// 1. Exclusive: the caller holds the lock around the queue. The node is alive, and in this queue
    ///    or in none.
    #[inline]
    pub(crate) unsafe fn remove(&mut self, node: NonNull<Node<P, W>>) {
        // SAFETY: alive and ours by 1.
        let links = unsafe { &mut *node.as_ref().links.get() };
        if links.wait.take().is_none() {
            return;
        }
        let (prev, next) = (links.prev.take(), links.next.take());
        // SAFETY: neighbours are linked, so alive by 2 of `push`, and not `node`.
        unsafe {
            match prev {
                Some(prev) => (*prev.as_ref().links.get()).next = next,
                None => self.first = next,
            }
            match next {
                Some(next) => (*next.as_ref().links.get()).prev = prev,
                None => self.last = prev,
            }
        }
    }

    /// Claims the first wait that nobody has claimed, and takes its node out.
    #[inline(always)]
    pub(crate) fn claim(&mut self) -> Option<Claimed<P, W>> {
        self.claim_if(|_| true)
    }

    /// As [`claim`](Self::claim), if `wanted` says so of the first open wait's payload.
    #[inline]
    pub(crate) fn claim_if(&mut self, wanted: impl Fn(P) -> bool) -> Option<Claimed<P, W>> {
        while let Some(node) = self.first {
            // SAFETY: linked nodes and their waits are alive by 2 of `push`, and the caller holds the
            // lock by 1 of `push`.
            unsafe {
                let wait = (*node.as_ref().links.get()).wait;
                let wait = wait.expect("a linked node has a wait");
                let payload = node.as_ref().payload.get().expect("set by `push`");
                if wait.as_ref().is_open() && !wanted(payload) {
                    return None;
                }
                self.remove(node);
                if wait.as_ref().claim() {
                    return Some(Claimed {
                        payload,
                        arm: node.as_ref().arm.get(),
                        wait,
                    });
                }
            }
        }
        None
    }
}

// SAFETY: a queue is a pair of pointers to nodes, which whoever holds it follows only under its lock,
// on whichever thread; by them sleepers and payloads change threads.
unsafe impl<P: Send, W: Send> Send for Queue<P, W> {}

impl<P: Copy, W> Claimed<P, W> {
    /// What the waiter's node stands for; the claimer's until [`complete`](Self::complete).
    #[inline]
    pub(crate) fn payload(&self) -> P {
        self.payload
    }

    /// Ends the wait. `take` makes of the sleeper what wakes it: from its return on the waiter's frame
    /// may be gone, and with it whatever kept the sleeper's memory alive.
    ///
    /// Under the lock of the queue that gave the claim.
    #[inline(always)]
    pub(crate) fn complete<R>(self, take: impl FnOnce(W) -> R) -> R {
        // SAFETY: the wait is alive by 2 of `push` until it is done, and its sleeper belongs to the
        // one claimer, which we are.
        unsafe {
            let wait = self.wait.as_ref();
            let waker = take(wait.sleeper.take());
            // Release pairs with the acquire load in `done`: what was handed over is visible to the
            // waiter.
            wait.state.store(DONE + self.arm, Release);
            waker
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::{Futex, Mutex};
    use loom::sync::Arc;
    use loom::thread;

    type Slot = *const Place<u32>;

    /// What lies in the frame of a waiter with two arms. Each place is exclusive to one side at a
    /// time, which the checker watches; `frame` is taken by the waiter when it leaves.
    struct Frame {
        wait: Wait<u32>,
        nodes: [Node<Slot, u32>; 2],
        slot: Place<u32>,
        /// Both sides look at it, the waiter last: stands for the memory itself.
        frame: Place<u32>,
    }

    struct World {
        frame: Frame,
        queues: [Mutex<Queue<Slot, u32>>; 2],
        bell: Futex,
    }

    // SAFETY: nodes are touched under the locks, places as the protocol says that is checked here.
    unsafe impl Sync for World {}
    // SAFETY: as above.
    unsafe impl Send for World {}

    const SLEEPER: u32 = 5;

    fn start(arms: usize) -> Arc<World> {
        let world = Arc::new(World {
            frame: Frame {
                wait: Wait::new(),
                nodes: [Node::new(), Node::new()],
                slot: Place::new(),
                frame: Place::new(),
            },
            queues: [Mutex::new(Queue::new()), Mutex::new(Queue::new())],
            bell: Futex::new(0),
        });
        let frame = &world.frame;
        // SAFETY: the waiter is alone so far.
        unsafe {
            frame.frame.put(0);
            frame.wait.arm(SLEEPER);
            for arm in 0..arms {
                world.queues[arm].lock().unwrap().push(
                    NonNull::from(&frame.nodes[arm]),
                    &frame.wait,
                    arm as u32,
                    &frame.slot,
                );
            }
        }
        world
    }

    /// A partner at one queue. Returns whether it has handed its value over.
    fn hand_over(world: &World, arm: usize) -> bool {
        let mut queue = world.queues[arm].lock().unwrap();
        let Some(claimed) = queue.claim() else {
            return false;
        };
        // SAFETY: the claimer's, from the claim to `complete`.
        unsafe {
            (*claimed.payload()).put(arm as u32);
            let memory = world.frame.frame.take();
            world.frame.frame.put(memory);
        }
        let woken = claimed.complete(|sleeper| sleeper);
        drop(queue);
        assert_eq!(woken, SLEEPER);
        world.bell.0.store(1, Release);
        world.bell.wake();
        true
    }

    /// The waiter takes its nodes out, but for the one of the arm that is done.
    fn withdraw(world: &World, arms: usize) {
        let done = world.frame.wait.done();
        for arm in 0..arms {
            if done != Some(arm as u32) {
                let mut queue = world.queues[arm].lock().unwrap();
                // SAFETY: the node is the waiter's own, and in no other queue.
                unsafe { queue.remove(NonNull::from(&world.frame.nodes[arm])) };
            }
        }
    }

    /// Two partners at two queues of one wait: exactly one hands over, what it wrote is there, and the
    /// frame may go. Breaks if `claim` is a load and a store.
    #[test]
    fn one_of_two_partners_wins() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(|| {
            let world = start(2);
            let partners = [0, 1].map(|arm| {
                let world = world.clone();
                thread::spawn(move || hand_over(&world, arm))
            });
            while world.bell.0.load(Acquire) == 0 {
                world.bell.wait(0, None);
            }
            withdraw(&world, 2);
            let arm = world.frame.wait.done().unwrap();
            // SAFETY: done and withdrawn: all is the waiter's again.
            unsafe {
                world.frame.frame.take();
                assert_eq!(world.frame.slot.take(), arm);
            }
            let won = partners.map(|partner| partner.join().unwrap());
            assert_eq!(won, [arm == 0, arm == 1]);
        });
    }

    /// A waiter that gives up while two partners come: it has got a value, or each partner keeps its
    /// own. Breaks if `abandon` or `claim` stores, or if the waiter leaves without having held the locks
    /// when `abandon` says no.
    #[test]
    fn giving_up_loses_nothing() {
        loom::model(|| {
            let world = start(2);
            let partners = [0, 1].map(|arm| {
                let world = world.clone();
                thread::spawn(move || hand_over(&world, arm))
            });
            let gave_up = world.frame.wait.abandon();
            withdraw(&world, 2);
            // SAFETY: as above; abandoned, the sleeper is the waiter's as well.
            unsafe {
                world.frame.frame.take();
                if gave_up {
                    assert_eq!(world.frame.wait.disarm(), SLEEPER);
                } else {
                    let arm = world.frame.wait.done().expect("the locks were held");
                    assert_eq!(world.frame.slot.take(), arm);
                }
            }
            let won = partners.map(|partner| partner.join().unwrap());
            let handed_over = won.iter().filter(|won| **won).count();
            assert_eq!(handed_over, usize::from(!gave_up));
        });
    }

    /// A waiter with one arm that sees it done leaves without the lock. Breaks if `complete` stores
    /// relaxed or `done` loads so, or if a partner touches the frame after `complete`.
    #[test]
    fn a_single_waiter_leaves_without_the_lock() {
        loom::model(|| {
            let world = start(1);
            let partner = {
                let world = world.clone();
                thread::spawn(move || hand_over(&world, 0))
            };
            while world.frame.wait.done().is_none() {
                thread::yield_now();
            }
            // SAFETY: the only node is out, and the wait is done.
            unsafe {
                world.frame.frame.take();
                assert_eq!(world.frame.slot.take(), 0);
            }
            assert!(partner.join().unwrap());
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// First come, first served; a node in the middle goes without a trace, and so does one whose wait
    /// was given up.
    #[test]
    fn the_order_is_that_of_arrival() {
        let waits = [(); 4].map(|()| Wait::<usize>::new());
        let nodes = [(); 4].map(|()| Node::<usize, usize>::new());
        let mut queue = Queue::new();
        // SAFETY: one thread, and nodes and waits outlive the queue's use.
        unsafe {
            for (i, (wait, node)) in waits.iter().zip(&nodes).enumerate() {
                wait.arm(i);
                queue.push(NonNull::from(node), wait, 0, i);
            }
            queue.remove(NonNull::from(&nodes[1]));
            queue.remove(NonNull::from(&nodes[1]));
        }
        assert!(waits[2].abandon());
        assert_eq!(queue.claim().unwrap().complete(|sleeper| sleeper), 0);
        let claimed = queue.claim().unwrap();
        assert_eq!(claimed.payload(), 3);
        assert_eq!(claimed.complete(|sleeper| sleeper), 3);
        assert_eq!(waits[3].done(), Some(0));
        assert!(queue.claim().is_none() && queue.is_empty());
    }
}
