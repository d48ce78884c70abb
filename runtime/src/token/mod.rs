//! Cancel tokens: one cancel for many routines, in a tree.

pub(crate) mod members;
pub(crate) mod node;
pub(crate) mod wait;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use wait::WaitError;

use crate::routine::life::CancelLevel;
use crate::scheduler::timers::NEVER;
use crate::scheduler::{explore, threads};
use crate::time;
use node::Node;

/// Cancels routines and whatever else looks at it, and its children with it. A clone is the same
/// token.
///
/// ```
/// use openwork::{Builder, CancelToken, JoinError, Runtime, time};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// rt.block_on(|| {
///     let request = CancelToken::new();
///     let routine = Builder::new()
///         .cancel_with(&request)
///         .spawn(|| time::sleep(Duration::from_secs(3600)))
///         .unwrap();
///     request.cancel();
///     assert!(matches!(routine.join(), Err(JoinError::Cancelled)));
/// });
/// ```
///
/// # What a cancel does
///
/// A routine *bound* to the token is asked to end: a call that can fail returns
/// [`Cancelled`](crate::Cancelled), once; every other call into this crate unwinds, so that
/// destructors release what the routine holds. One that has not started never runs. Code that is not
/// bound looks at [`is_cancelled`](Self::is_cancelled), waits with [`wait`](Self::wait) or
/// [`cancelled`](Self::cancelled), or makes it an arm of a [`select!`](crate::select!).
///
/// A routine is bound by [`Builder::cancel_with`](crate::Builder::cancel_with). Whatever it spawns is
/// bound to the same token: a request that starts helpers means them too, as its
/// [`Workload`](crate::Workload) does. What must outlive it is spawned with
/// [`Builder::without_token`](crate::Builder::without_token).
///
/// # The ways to cancel, and whom they reach
///
/// | | reaches | does |
/// |---|---|---|
/// | [`CancelToken::cancel`] | all that is bound to it or to a token below it, and who waits for it | asks |
/// | [`CancelToken::abort`] | the same | tells |
/// | [`Scope::cancel`](crate::Scope::cancel) | the scope's routines; its token | asks |
/// | a first error in a [`try_scope`](crate::try_scope) | the same | asks |
/// | [`Workload::cancel`](crate::Workload::cancel) | every routine of the workload on one runtime | tells |
/// | [`JoinHandle::cancel`](crate::JoinHandle::cancel) | that routine, and the scope it waits in | asks, tells after a grace time |
/// | [`JoinHandle::abort`](crate::JoinHandle::abort) | the same | tells |
/// | [`Runtime::shutdown`](crate::Runtime::shutdown) | every routine, when its time is over | tells |
///
/// *Asks*: the first call that can fail says `Cancelled`; later ones unwind, and so does at once
/// every call that cannot fail. *Tells*: every call unwinds. Being told after being asked is possible,
/// taking it back is not. One routine's cancel does not cancel its token; a token never cancels the
/// routine that made it, unless that is bound to it. A workload counts and is cancelled from outside,
/// by an operator say; a token is what a program passes on.
///
/// A cancel takes time in proportion to those it reaches, may be called from anywhere, and holds no
/// lock while it wakes them. A token that nobody has any more leaves nothing behind with its parent.
#[derive(Clone)]
pub struct CancelToken {
    pub(crate) node: Arc<Node>,
}

/// Why a token was cancelled. The first cancel's reason counts.
///
/// ```
/// use openwork::{CancelCause, CancelToken};
///
/// let token = CancelToken::new();
/// token.cancel();
/// assert!(matches!(token.cause(), Some(CancelCause::Requested)));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CancelCause {
    /// By [`CancelToken::cancel`] or its like.
    #[error("a cancel was asked for")]
    Requested,
    /// Another routine of the scope has failed.
    #[error("another routine of the scope has failed")]
    ScopeFailed,
    /// Its deadline has come.
    #[error("the deadline has come")]
    Deadline,
    /// By [`CancelToken::cancel_because`].
    #[error("{0}")]
    Because(Arc<dyn Error + Send + Sync>),
}

impl CancelToken {
    /// A token without a parent.
    ///
    /// ```
    /// assert!(!openwork::CancelToken::new().is_cancelled());
    /// ```
    pub fn new() -> CancelToken {
        CancelToken { node: Node::root() }
    }

    /// A token that is cancelled with this one, or alone.
    ///
    /// ```
    /// let service = openwork::CancelToken::new();
    /// let (first, second) = (service.child(), service.child());
    /// first.cancel();
    /// assert!(first.is_cancelled() && !service.is_cancelled() && !second.is_cancelled());
    /// service.cancel();
    /// assert!(second.is_cancelled());
    /// ```
    pub fn child(&self) -> CancelToken {
        CancelToken {
            node: Node::child_of(&self.node),
        }
    }

    /// A token that is cancelled after `timeout`, if nothing cancels it before.
    ///
    /// ```
    /// use openwork::{CancelCause, CancelToken};
    /// use std::time::Duration;
    ///
    /// let token = CancelToken::with_timeout(Duration::from_millis(1));
    /// assert!(matches!(token.wait(), Ok(CancelCause::Deadline)));
    /// ```
    pub fn with_timeout(timeout: Duration) -> CancelToken {
        CancelToken {
            node: Node::root_until(time::deadline(timeout)),
        }
    }

    /// A token that is cancelled at `deadline`, if nothing cancels it before.
    ///
    /// ```
    /// let now = openwork::CancelToken::with_deadline(std::time::Instant::now());
    /// assert!(now.is_cancelled());
    /// ```
    pub fn with_deadline(deadline: Instant) -> CancelToken {
        CancelToken {
            node: Node::root_until(time::ns_of(deadline)),
        }
    }

    /// A token that is cancelled with this one, or after `timeout`, or alone.
    ///
    /// ```
    /// use openwork::{Builder, CancelToken, JoinError, Runtime, time};
    /// use std::time::Duration;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let service = CancelToken::new();
    /// let request = service.child_with_timeout(Duration::from_millis(1));
    /// let bound = Builder::new().on(&rt.handle()).cancel_with(&request);
    /// let routine = bound.spawn(|| time::sleep(Duration::from_secs(3600))).unwrap();
    /// assert!(matches!(routine.join(), Err(JoinError::Cancelled)));
    /// assert!(!service.is_cancelled());
    /// ```
    pub fn child_with_timeout(&self, timeout: Duration) -> CancelToken {
        CancelToken {
            node: Node::child_until(&self.node, time::deadline(timeout)),
        }
    }

    /// A token that is cancelled with this one, or at `deadline`, or alone.
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let service = openwork::CancelToken::new();
    /// let request = service.child_with_deadline(Instant::now());
    /// assert!(request.is_cancelled() && !service.is_cancelled());
    /// ```
    pub fn child_with_deadline(&self, deadline: Instant) -> CancelToken {
        CancelToken {
            node: Node::child_until(&self.node, time::ns_of(deadline)),
        }
    }

    /// When it is cancelled by itself: the earliest deadline of this token and those above.
    ///
    /// ```
    /// use openwork::CancelToken;
    /// use std::time::Duration;
    ///
    /// let slow = CancelToken::with_timeout(Duration::from_secs(60));
    /// let fast = slow.child_with_timeout(Duration::from_secs(1));
    /// assert!(fast.deadline() < slow.deadline());
    /// assert_eq!(fast.child_with_timeout(Duration::from_secs(9)).deadline(), fast.deadline());
    /// assert_eq!(CancelToken::new().deadline(), None);
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        let deadline = self.node.deadline();
        (deadline != NEVER).then(|| time::instant_of(deadline))
    }

    /// The token that the calling routine is bound to; in a routine of a scope, the scope's. `None` if
    /// there is none, and outside a routine.
    ///
    /// ```
    /// use openwork::{Builder, CancelToken, Runtime};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let token = CancelToken::new();
    /// let bound = Builder::new().on(&rt.handle()).cancel_with(&token);
    /// let seen = bound.spawn(|| CancelToken::current().unwrap()).unwrap().join().unwrap();
    /// assert_eq!(seen, token);
    /// ```
    pub fn current() -> Option<CancelToken> {
        let running = threads::running_here()?;
        let node = running.header().extra()?.bound_to()?;
        Some(CancelToken { node })
    }

    /// Cancels this token and those below it: asks every routine that is bound to one of them.
    ///
    /// Returns when they are asked, not when they have ended. A second cancel does nothing.
    ///
    /// ```
    /// let token = openwork::CancelToken::new();
    /// token.cancel();
    /// assert!(token.is_cancelled());
    /// ```
    pub fn cancel(&self) {
        explore::point();
        self.node
            .cancel(CancelLevel::Asked, &CancelCause::Requested);
    }

    /// As [`cancel`](Self::cancel), and says why.
    ///
    /// ```
    /// let token = openwork::CancelToken::new();
    /// token.cancel_because("the client has gone");
    /// assert_eq!(token.cause().unwrap().to_string(), "the client has gone");
    /// ```
    pub fn cancel_because(&self, reason: impl Into<Box<dyn Error + Send + Sync>>) {
        explore::point();
        let cause = CancelCause::Because(reason.into().into());
        self.node.cancel(CancelLevel::Asked, &cause);
    }

    /// As [`cancel`](Self::cancel), but every call unwinds, even the first that could fail.
    ///
    /// ```
    /// use openwork::{Builder, CancelToken, Runtime, channel};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let token = CancelToken::new();
    /// let (tx, rx) = channel::rendezvous::<()>();
    /// let bound = Builder::new().on(&rt.handle()).cancel_with(&token);
    /// let routine = bound.spawn(move || rx.recv().is_err()).unwrap();
    /// token.abort();
    /// assert!(routine.join().is_err()); // it has not seen the error of `recv`
    /// # drop(tx);
    /// ```
    pub fn abort(&self) {
        self.node.cancel(CancelLevel::Told, &CancelCause::Requested);
    }

    /// Whether the token, or one above it, was cancelled. Costs a load; with a deadline, a look at the
    /// clock.
    ///
    /// ```
    /// let token = openwork::CancelToken::new();
    /// assert!(!token.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.node.level() != CancelLevel::None
    }

    /// Why it was cancelled; `None` if it was not.
    ///
    /// ```
    /// use openwork::{CancelCause, CancelToken};
    ///
    /// let token = CancelToken::new();
    /// assert!(token.cause().is_none());
    /// token.cancel();
    /// assert!(matches!(token.cause(), Some(CancelCause::Requested)));
    /// ```
    pub fn cause(&self) -> Option<CancelCause> {
        // A deadline may have come that nobody has served.
        self.node.level();
        self.node.cause()
    }
}

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken::new()
    }
}

/// Whether both are the same token.
impl PartialEq for CancelToken {
    fn eq(&self, other: &CancelToken) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

impl Eq for CancelToken {}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
