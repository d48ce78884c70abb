//! Scopes: routines that borrow from their parent's frame, which waits for all of them.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard as StdMutexGuard};
use std::task::Waker;

use crate::cancel;
use crate::id::RoutineId;
use crate::join::{JoinError, JoinHandle, ThreadBell};
use crate::primitives::{AtomicUsize, Mutex, MutexGuard};
use crate::routine::extra::Extra;
use crate::routine::life::CancelLevel;
use crate::routine::{RoutineRef, waker};
use crate::scheduler::block::{self, Context, Interrupt};
use crate::scheduler::explore;
use crate::snapshot::WaitReason;
use crate::spawn::{Builder, SpawnError};
use crate::token::node::Node;
use crate::token::{CancelCause, CancelToken};

/// What a scope and its routines share.
pub(crate) struct ScopeData {
    children: Children<Waker>,
    /// Routines whose panic nobody has joined. Wraps below 0 for a moment when a join comes before
    /// the count; exact once all children have ended.
    panicked: AtomicUsize,
    /// Who panicked, in order; hardly ever anybody.
    panics: StdMutex<Vec<ScopePanic>>,
    /// Asks the scope's routines to end. Below the one that the owner passes on.
    pub(crate) token: Arc<Node>,
    /// What the owner's own spawns are bound to, and so the spawns of the scope's routines.
    inherited: Option<Arc<Node>>,
}

/// A routine of a scope that panicked.
#[derive(Clone, Debug)]
pub(crate) struct ScopePanic {
    pub(crate) routine: RoutineId,
    pub(crate) name: Option<String>,
    pub(crate) message: String,
}

/// The count of children and the owner's bell. Knows no routines, so that the model checker can run
/// it.
///
/// The owner stores a waker and then looks at the count; a child lowers the count and then looks for
/// a waker. Both look under or after the same lock, so that at least one sees the other.
struct Children<W> {
    running: AtomicUsize,
    owner: Mutex<Option<W>>,
}

impl<W> Children<W> {
    fn new() -> Children<W> {
        Children {
            running: AtomicUsize::new(0),
            owner: Mutex::new(None),
        }
    }

    fn add(&self) {
        // Relaxed: whoever adds is the owner before its wait, or a child that has not ended.
        self.running.fetch_add(1, Relaxed);
    }

    /// Whether a child has not ended. What ended children wrote is visible when this says no.
    fn is_running(&self) -> bool {
        // Acquire pairs with the subtraction of every child in `end_one`: each of them continues
        // the release sequence of the ones before.
        self.running.load(Acquire) > 0
    }

    /// Leaves the owner's waker. The owner must look at [`is_running`](Self::is_running) after it.
    ///
    /// The waker before it is returned, to be dropped without the lock.
    fn set_owner(&self, waker: W) -> Option<W> {
        self.lock().replace(waker)
    }

    /// A child has ended. Returns the waker to wake, to the last one.
    fn end_one(&self) -> Option<W> {
        // Release: see `is_running`. The lock that follows orders this with the owner's look: if
        // the owner's `set_owner` came first, its waker is found here; otherwise it has seen our
        // unlock, and with it the count.
        (self.running.fetch_sub(1, Release) == 1)
            .then(|| self.lock().take())
            .flatten()
    }

    fn lock(&self) -> MutexGuard<'_, Option<W>> {
        // Nothing in here panics while the lock is held.
        self.owner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Where routines that borrow are spawned; given to the closure of [`scope`].
///
/// ```
/// use openwork::{Runtime, Scope, scope};
///
/// fn count_down<'scope>(s: &'scope Scope<'scope, '_>, n: u32) {
///     if n > 0 {
///         s.spawn(move || count_down(s, n - 1));
///     }
/// }
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| scope(|s| count_down(s, 3)));
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<ScopeData>,
    /// The routine that waits; its runtime is where the scope's routines run.
    owner: RoutineRef,
    // Invariant in both, as in `std::thread::Scope`: a shorter 'scope would let a routine borrow
    // what dies before the wait.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The end of a routine of a scope; see [`JoinHandle`].
///
/// ```
/// use openwork::{Runtime, scope};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let text = String::from("lent");
/// let length = rt.block_on(|| scope(|s| s.spawn(|| text.len()).join().unwrap()));
/// assert_eq!(length, 4);
/// ```
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    data: Arc<ScopeData>,
    scope: PhantomData<&'scope ()>,
}

/// Runs `f`, which may spawn routines that borrow from the caller's frame, and waits for all of
/// them, whatever happens: a panic of `f` is held back until then, and a cancel of the caller is
/// first passed on to the scope's routines.
///
/// ```
/// let rt = openwork::Runtime::builder().workers(2).build().unwrap();
/// let sum = rt.block_on(|| {
///     let numbers = vec![1, 2, 3, 4];
///     openwork::scope(|s| {
///         let (left, right) = numbers.split_at(2);
///         let left = s.spawn(|| left.iter().sum::<i32>());
///         let right = s.spawn(|| right.iter().sum::<i32>());
///         left.join().unwrap() + right.join().unwrap()
///     })
/// });
/// assert_eq!(sum, 10);
/// ```
///
/// What is borrowed must outlive the scope:
///
/// ```compile_fail,E0373
/// openwork::scope(|s| {
///     let inside = 1;
///     s.spawn(|| println!("{inside}"));
/// });
/// ```
///
/// # Panics
/// With `f`'s panic; or if a routine of the scope panicked and nobody joined it; or if called
/// outside a routine; or if called in [`hold_thread`](crate::hold_thread), or by a panicking
/// routine on a runtime of one worker.
pub fn scope<'env, F, R>(f: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let scope = Scope::enter("scope");
    // Caught: unwinding past this frame would end the loan before the borrowers.
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.wait();
    match result {
        Err(payload) => resume_unwind(payload),
        // Relaxed: the wait has made the children's counts visible.
        Ok(_) if scope.data.panicked.load(Relaxed) > 0 => {
            panic!("a routine of the scope panicked")
        }
        Ok(value) => {
            cancel::raise_if_asked();
            value
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// A scope of the calling routine, which must [`wait`](Self::wait) whatever happens.
    pub(crate) fn enter(call: &str) -> Self {
        let owner = match block::context() {
            Context::Routine(me) => me,
            Context::Panicking(me) => me,
            Context::Thread => {
                panic!("`{call}` is called in a routine; on a plain thread use `Runtime::block_on`")
            }
            Context::Scheduler => block::refuse_in_scheduler(call),
        };
        // Before anything is lent: the wait at the end cannot be refused any more.
        block::assert_can_wait_for_fresh(owner.shared(), owner, call);
        if owner.header().is_contained() {
            let open = owner.header().extra_or_new().open_scopes();
            open.store(open.load(Relaxed) + 1, Relaxed);
        }
        let inherited = owner.header().extra().and_then(Extra::inherited);
        let token = inherited.as_ref().map_or_else(Node::root, Node::child_of);
        Scope {
            data: Arc::new(ScopeData {
                children: Children::new(),
                panicked: AtomicUsize::new(0),
                panics: StdMutex::new(Vec::new()),
                token,
                inherited,
            }),
            owner,
            scope: PhantomData,
            env: PhantomData,
        }
    }

    /// Spawns a routine that may borrow what outlives the scope. It inherits the workload.
    ///
    /// ```
    /// use openwork::{Runtime, scope};
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let mut halves = [1, 2];
    /// rt.block_on(|| {
    ///     scope(|s| {
    ///         for half in &mut halves {
    ///             s.spawn(|| *half *= 10);
    ///         }
    ///     });
    /// });
    /// assert_eq!(halves, [10, 20]);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.spawn_as(Builder::new(), f)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// As [`spawn`](Self::spawn), with a name, a stack size, a workload or a token. The runtime is the
    /// scope's.
    ///
    /// ```
    /// use openwork::{Builder, Runtime, scope};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let text = String::from("deep");
    /// let len = rt.block_on(|| {
    ///     scope(|s| {
    ///         let deep = Builder::new().name("reader").stack_size(1 << 20);
    ///         s.spawn_as(deep, || text.len()).unwrap().join().unwrap()
    ///     })
    /// });
    /// assert_eq!(len, 4);
    /// ```
    ///
    /// # Errors
    /// See [`SpawnError`].
    #[track_caller]
    pub fn spawn_as<F, T>(
        &'scope self,
        builder: Builder,
        f: F,
    ) -> Result<ScopedJoinHandle<'scope, T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: 1: the scope does not end before `child_ended` was called for this routine, which
        // is after the closure was dropped and its result too, or stored for a handle that cannot
        // outlive 'scope.
        let handle = unsafe { builder.spawn_on_scope(self.owner.shared(), f, self.data.clone()) }?;
        explore::point();
        Ok(ScopedJoinHandle {
            handle,
            data: self.data.clone(),
            scope: PhantomData,
        })
    }

    /// Asks the scope's routines to end, and each one spawned later. The caller goes on.
    ///
    /// ```
    /// use openwork::{JoinError, Runtime, scope, time};
    /// use std::time::Duration;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// rt.block_on(|| {
    ///     scope(|s| {
    ///         let slow = s.spawn(|| time::sleep(Duration::from_secs(3600)));
    ///         s.cancel();
    ///         assert!(matches!(slow.join(), Err(JoinError::Cancelled)));
    ///     });
    /// });
    /// ```
    pub fn cancel(&self) {
        explore::point();
        self.data
            .token
            .cancel(CancelLevel::Asked, &CancelCause::Requested);
    }

    /// The token that the scope's routines are bound to, below the one of the scope's owner. A cancel of
    /// it is [`cancel`](Self::cancel). It may outlive the scope.
    ///
    /// ```
    /// use openwork::{Runtime, scope, select, channel};
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// rt.block_on(|| {
    ///     scope(|s| {
    ///         let (_tx, rx) = channel::rendezvous::<()>();
    ///         let stop = s.token();
    ///         let waits = s.spawn(move || rx.recv().is_err());
    ///         stop.cancel();
    ///         let _ = waits.join();
    ///         select! { why = stop.cancelled() => assert!(why.is_ok()) }
    ///     });
    /// });
    /// ```
    pub fn token(&self) -> CancelToken {
        CancelToken {
            node: self.data.token.clone(),
        }
    }

    /// Who panicked; all of them, once the wait is over.
    pub(crate) fn take_panics(&self) -> Vec<ScopePanic> {
        std::mem::take(&mut *self.data.panics())
    }

    /// Waits until every routine of the scope has ended. A cancel of the owner is passed on.
    pub(crate) fn wait(&self) {
        explore::point();
        let data = &*self.data;
        let life = &self.owner.header().life;
        let mut passed_on = CancelLevel::None;
        while data.children.is_running() {
            let level = life.cancel_level();
            if level > passed_on {
                passed_on = level;
                data.token.cancel(level, &CancelCause::Requested);
                continue;
            }
            match block::context() {
                Context::Routine(me) => {
                    block::block(WaitReason::Scope, Interrupt::Never, &mut |_, _| {
                        drop(data.children.set_owner(waker::owned(me)));
                        data.children.is_running()
                            // A cancel that came just before the wait must still be passed on.
                            && life.cancel_level() <= passed_on
                    });
                }
                Context::Panicking(_) => {
                    let bell = ThreadBell::new();
                    drop(data.children.set_owner(Waker::from(bell.clone())));
                    if data.children.is_running() {
                        bell.wait();
                    }
                }
                Context::Thread | Context::Scheduler => unreachable!("`scope` runs in a routine"),
            }
        }
        if self.owner.header().is_contained() {
            let open = self.owner.header().extra_or_new().open_scopes();
            open.store(open.load(Relaxed) - 1, Relaxed);
        }
    }
}

impl ScopeData {
    /// A routine of the scope is about to be born.
    pub(crate) fn child_begins(&self) {
        self.children.add();
    }

    /// What spawns of the scope's routines are bound to.
    pub(crate) fn inherited(&self) -> Option<Arc<Node>> {
        self.inherited.clone()
    }

    /// A routine of the scope has ended: its result is stored or dropped, and it has touched what it
    /// borrows for the last time. The owner may return before this does.
    pub(crate) fn child_ended(self: Arc<ScopeData>, panic: Option<ScopePanic>) {
        if let Some(panic) = panic {
            self.panics().push(panic);
            // Relaxed: the release in `end_one` publishes it.
            self.panicked.fetch_add(1, Relaxed);
        }
        if let Some(waker) = self.children.end_one() {
            waker.wake();
        }
    }

    fn panics(&self) -> StdMutexGuard<'_, Vec<ScopePanic>> {
        // Nothing in here panics while the lock is held.
        self.panics.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// The routine's number.
    ///
    /// ```
    /// use openwork::{Runtime, current, scope};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     scope(|s| {
    ///         let routine = s.spawn(|| current().unwrap().routine);
    ///         let id = routine.id();
    ///         assert_eq!(routine.join().unwrap(), id);
    ///     });
    /// });
    /// ```
    pub fn id(&self) -> RoutineId {
        self.handle.id()
    }

    /// Waits for the routine's end and returns its result; see [`JoinHandle::join`].
    ///
    /// ```
    /// use openwork::{Runtime, scope};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let answer = rt.block_on(|| scope(|s| s.spawn(|| 6 * 7).join()));
    /// assert_eq!(answer.unwrap(), 42);
    /// ```
    ///
    /// # Errors
    /// As [`JoinHandle::join`].
    pub fn join(self) -> Result<T, JoinError> {
        let result = self.handle.join();
        if let Err(JoinError::Panicked(_)) = &result {
            // Whoever joins has been told: the scope need not panic for it. Relaxed: the joiner is
            // the owner, or a child whose end publishes it.
            self.data.panicked.fetch_sub(1, Relaxed);
        }
        result
    }

    /// Whether the routine has ended.
    ///
    /// ```
    /// use openwork::{Runtime, scope, yield_now};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     scope(|s| {
    ///         let routine = s.spawn(|| ());
    ///         while !routine.is_finished() {
    ///             yield_now();
    ///         }
    ///     });
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Ends the routine; see [`JoinHandle::abort`].
    ///
    /// ```
    /// use openwork::{JoinError, Runtime, scope, time};
    /// use std::time::Duration;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     scope(|s| {
    ///         let sleeper = s.spawn(|| time::sleep(Duration::from_secs(3600)));
    ///         sleeper.abort();
    ///         assert!(matches!(sleeper.join(), Err(JoinError::Cancelled)));
    ///     });
    /// });
    /// ```
    pub fn abort(&self) {
        self.handle.abort();
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.data.children.running.load(Relaxed))
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::Children;
    use crate::primitives::{Futex, Place};
    use loom::sync::Arc;
    use loom::thread;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

    /// Two children end while the owner goes to sleep: the owner is woken (a sleep that nobody ends
    /// is a deadlock) and sees what both wrote. Breaks if `is_running` is looked at before
    /// `set_owner`, or if the subtraction in `end_one` or the load in `is_running` is relaxed.
    #[test]
    fn the_owner_wakes_when_the_last_child_has_ended() {
        struct World {
            children: Children<()>,
            written: [Place<u32>; 2],
            bell: Futex,
        }
        // SAFETY: the places change hands by the protocol that is checked here.
        unsafe impl Sync for World {}
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let world = Arc::new(World {
                children: Children::new(),
                written: [Place::new(), Place::new()],
                bell: Futex::new(0),
            });
            for child in 0..2 {
                world.children.add();
                let world = world.clone();
                thread::spawn(move || {
                    // SAFETY: the place is the child's until it has ended.
                    unsafe { world.written[child].put(child as u32) };
                    if world.children.end_one().is_some() {
                        world.bell.0.store(1, Release);
                        world.bell.wake();
                    }
                });
            }
            while world.children.is_running() {
                // A child that ended before the next one was added may ring late.
                world.bell.0.store(0, Relaxed);
                let _ = world.children.set_owner(());
                if world.children.is_running() {
                    while world.bell.0.load(Acquire) == 0 {
                        world.bell.wait(0, None);
                    }
                }
            }
            for child in 0..2 {
                // SAFETY: all children have ended.
                assert_eq!(unsafe { world.written[child].take() }, child as u32);
            }
        });
    }
}
