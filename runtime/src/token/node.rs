//! A token as a node of a tree: its members are routines and its children.
//!
//! A child holds its parent strongly, a parent its children weakly: so a child that nobody has any more
//! leaves its parent at once, and a cancel that meets it meanwhile finds nothing. Both the cancel and the
//! end of a long line of nodes are loops: a stack of a routine is small.

use std::convert::Infallible;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::task::{Wake, Waker};

use super::CancelCause;
use super::members::{Members, NO_SEAT};
use crate::channel::{self, Receiver, Sender};
use crate::routine::life::CancelLevel;
use crate::routine::{Held, RoutineRef};
use crate::scheduler::ready;
use crate::scheduler::timers::{self, NEVER, Registration};
use crate::time;

/// See the module's text.
pub(crate) struct Node {
    members: Members<Member, CancelCause>,
    parent: Option<Arc<Node>>,
    /// Its seat with the parent, or [`NO_SEAT`] if that was cancelled before.
    seat: AtomicU32,
    /// Closed by the cancel. Made when somebody wants to wait.
    done: OnceLock<(Sender<Infallible>, Receiver<Infallible>)>,
    /// When it is cancelled by itself: the earliest of its own and those above, in nanoseconds since
    /// process start, or [`NEVER`].
    deadline: u64,
    /// Of a node with a deadline of its own.
    alarm: Mutex<Option<Registration>>,
}

/// What the clock wakes.
struct Bell(Weak<Node>);

/// Who is asked.
pub(crate) enum Member {
    /// It leaves before its block is given up.
    Routine(RoutineRef),
    Child(Weak<Node>),
}

/// A member that will be there when it is asked.
enum Kept {
    Routine(Held),
    Child(Arc<Node>),
}

impl Node {
    pub(crate) fn root() -> Arc<Node> {
        Arc::new(Node::new(None, NEVER))
    }

    /// A root that is cancelled at `deadline`.
    pub(crate) fn root_until(deadline: u64) -> Arc<Node> {
        let node = Arc::new(Node::new(None, deadline));
        node.set_alarm();
        node
    }

    /// A child of `parent`, cancelled if that is.
    pub(crate) fn child_of(parent: &Arc<Node>) -> Arc<Node> {
        Node::child_below(parent, parent.deadline)
    }

    /// A child of `parent` that is cancelled at `deadline` at the latest.
    pub(crate) fn child_until(parent: &Arc<Node>, deadline: u64) -> Arc<Node> {
        let node = Node::child_below(parent, parent.deadline.min(deadline));
        // Otherwise the parent's alarm is early enough.
        if deadline < parent.deadline {
            node.set_alarm();
        }
        node
    }

    fn child_below(parent: &Arc<Node>, deadline: u64) -> Arc<Node> {
        let node = Arc::new(Node::new(Some(parent.clone()), deadline));
        match parent.members.join(Member::Child(Arc::downgrade(&node))) {
            // Relaxed: read by the node's end, and the parent's lock comes between.
            Ok(seat) => node.seat.store(seat, Relaxed),
            Err(level) => {
                let cause = parent.members.cause().unwrap_or(CancelCause::Requested);
                node.members.raise(level, &cause);
            }
        }
        node
    }

    fn new(parent: Option<Arc<Node>>, deadline: u64) -> Node {
        Node {
            members: Members::new(),
            parent,
            seat: AtomicU32::new(NO_SEAT),
            done: OnceLock::new(),
            deadline,
            alarm: Mutex::new(None),
        }
    }

    /// How far a cancel has gone. Whoever computes without a pause keeps the worker that would serve the
    /// deadline; so the clock is asked here as well.
    pub(crate) fn level(self: &Arc<Node>) -> CancelLevel {
        let level = self.members.level();
        let has_deadline = self.deadline != NEVER;
        if level == CancelLevel::None && has_deadline && self.deadline <= time::now_ns() {
            self.cancel(CancelLevel::Asked, &CancelCause::Deadline);
            return self.members.level();
        }
        level
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline
    }

    fn set_alarm(self: &Arc<Node>) {
        if self.level() != CancelLevel::None || self.deadline == NEVER {
            return;
        }
        let bell = Waker::from(Arc::new(Bell(Arc::downgrade(self))));
        let registration = timers::register(self.deadline, &bell);
        let before = self.alarm().replace(registration);
        // Without the lock, as the one before: it takes the lock of the deadlines.
        drop(before);
    }

    fn alarm(&self) -> MutexGuard<'_, Option<Registration>> {
        // Nothing in here panics while the lock is held.
        self.alarm.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn cause(&self) -> Option<CancelCause> {
        self.members.cause()
    }

    /// Lets the routine be asked when the node is cancelled; now, if it is already. Returns its seat.
    ///
    /// Only by whoever owns the routine, which [leaves](Self::leave) before its end.
    pub(crate) fn bind(&self, routine: RoutineRef) -> u32 {
        self.members
            .join(Member::Routine(routine))
            .unwrap_or_else(|level| {
                ready::cancel(routine, level);
                NO_SEAT
            })
    }

    /// Ends what `bind` began.
    pub(crate) fn leave(&self, seat: u32) {
        if seat != NO_SEAT {
            drop(self.members.leave(seat));
        }
    }

    /// Asks every routine of the node and of the nodes below it.
    pub(crate) fn cancel(self: &Arc<Node>, level: CancelLevel, cause: &CancelCause) {
        let mut below = Vec::new();
        let mut next = Some(self.clone());
        while let Some(node) = next {
            if node.members.raise(level, cause) {
                let alarm = node.alarm().take();
                drop(alarm);
                node.close();
                node.members.ask_all(Member::keep, |member| match member {
                    Kept::Routine(held) => ready::cancel(held.routine(), level),
                    Kept::Child(child) => below.push(child),
                });
            }
            next = below.pop();
        }
    }

    /// What those wait for who wait for a cancel: it is closed then.
    pub(crate) fn done(&self) -> &Receiver<Infallible> {
        if let Some((_, done)) = self.done.get() {
            return done;
        }
        let (_, done) = self.done.get_or_init(channel::rendezvous);
        // The cancel raises the level and then looks for the channel; we made the channel and then
        // look at the level, under its lock: one of the two sees the other.
        if self.cause().is_some() {
            done.close();
        }
        done
    }

    fn close(&self) {
        if let Some((_, done)) = self.done.get() {
            done.close();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(node) = self.0.upgrade() {
            // Before its time, if the runtime whose worker kept the deadline has ended: then another
            // keeps it, or the clock thread.
            node.set_alarm();
        }
    }
}

impl Member {
    fn keep(&self) -> Option<Kept> {
        match self {
            Member::Routine(routine) => Some(Kept::Routine(Held::new(*routine))),
            Member::Child(child) => child.upgrade().map(Kept::Child),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let (mut seat, mut parent) = (*self.seat.get_mut(), self.parent.take());
        while let Some(node) = parent {
            node.leave(seat);
            // The last one to have the parent ends it as well, here and not one frame deeper.
            let Some(mut node) = Arc::into_inner(node) else {
                return;
            };
            (seat, parent) = (*node.seat.get_mut(), node.parent.take());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Builder, CancelToken, Runtime};

    /// A service's token lives for ever; requests and routines below it come and go.
    #[test]
    fn nothing_is_left_with_a_parent() {
        let rt = Runtime::builder().workers(2).build().unwrap();
        let service = CancelToken::new();
        rt.block_on(|| {
            for _ in 0..1000 {
                let request = service.child();
                let bound = |token| Builder::new().cancel_with(token).spawn(|| ()).unwrap();
                let (first, second) = (bound(&request), bound(&service));
                drop(request);
                first.join().unwrap();
                second.join().unwrap();
            }
        });
        rt.shutdown(std::time::Duration::from_secs(60)).unwrap();
        assert_eq!(service.node.members.len(), 0);
        assert!(service.node.members.seats() <= 4);
    }
}
