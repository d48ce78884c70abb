//! Scopes: routines that borrow from their parent's frame, which waits for all of them.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use crate::cancel;
use crate::join::{JoinError, JoinHandle};
use crate::routine::life::CancelLevel;
use crate::routine::{RoutineRef, waker};
use crate::scheduler::block::{self, Context, Interrupt};
use crate::snapshot::WaitReason;
use crate::spawn;

/// What a scope and its routines share.
pub(crate) struct ScopeData {
    /// Routines that have not ended.
    running: AtomicUsize,
    /// Routines whose panic nobody has joined.
    panicked: AtomicUsize,
    owner: Mutex<Option<Waker>>,
}

/// Where routines that borrow are spawned; given to the closure of [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<ScopeData>,
    // Invariant in both, as in `std::thread::Scope`: a shorter 'scope would let a routine borrow
    // what dies before the wait.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The end of a routine of a scope; see [`JoinHandle`].
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
/// outside a routine.
pub fn scope<'env, F, R>(f: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let me = match block::context() {
        Context::Routine(me) | Context::Panicking(me) => me,
        Context::Thread => {
            panic!("`scope` is called in a routine; on a plain thread use `Runtime::block_on`")
        }
        Context::Scheduler => block::refuse_in_scheduler("scope"),
    };
    let scope = Scope {
        data: Arc::new(ScopeData {
            running: AtomicUsize::new(0),
            panicked: AtomicUsize::new(0),
            owner: Mutex::new(None),
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    // Caught: unwinding past this frame would end the loan before the borrowers.
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.wait(me);
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.data.panicked.load(Relaxed) > 0 => panic!("a routine of the scope panicked"),
        Ok(value) => {
            cancel::raise_if_asked();
            value
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a routine that may borrow what outlives the scope. It inherits the workload.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // Relaxed: the wait of the scope is on this routine's own side or after a join with it.
        self.data.running.fetch_add(1, Relaxed);
        // SAFETY: the closure and its result may borrow for 'scope; the scope does not end before
        // `child_ended` was called for this routine, which is after both were dropped or stored
        // for a handle that cannot outlive 'scope.
        let handle = unsafe { spawn::spawn_scoped(f, Arc::into_raw(self.data.clone()).cast_mut()) };
        ScopedJoinHandle {
            handle,
            data: self.data.clone(),
            scope: PhantomData,
        }
    }

    fn wait(&self, me: RoutineRef) {
        let data = &*self.data;
        let mut passed_on = false;
        while data.is_running() {
            if !passed_on && me.header().life.cancel_level() != CancelLevel::None {
                passed_on = true;
                let children = Arc::as_ptr(&self.data).cast_mut();
                me.shared()
                    .abort_where(|header| header.scope.load(Relaxed) == children);
            }
            match block::context() {
                Context::Routine(me) => {
                    block::block(WaitReason::Scope, Interrupt::Never, &mut |_, _| {
                        data.set_owner(waker::owned(me));
                        // A cancel that came just before the wait must still be passed on.
                        data.is_running() && (passed_on || !me.header().life.has_cancel())
                    });
                }
                Context::Panicking(me) => {
                    assert!(
                        me.shared().workers.len() > 1,
                        "a scope inside a destructor of a panicking routine waits for routines that \
                         only this thread could run"
                    );
                    data.wait_on_thread();
                }
                Context::Thread | Context::Scheduler => unreachable!("`scope` runs in a routine"),
            }
        }
    }
}

impl ScopeData {
    fn is_running(&self) -> bool {
        // SeqCst: read of Dekker's pattern after `set_owner`; partner is `child_ended`. Its acquire
        // half makes what the children wrote visible.
        self.running.load(SeqCst) > 0
    }

    fn set_owner(&self, waker: Waker) {
        *self.owner.lock().unwrap_or_else(|e| e.into_inner()) = Some(waker);
    }

    fn wait_on_thread(&self) {
        let bell = crate::join::ThreadBell::new();
        self.set_owner(Waker::from(bell.clone()));
        while self.is_running() {
            bell.wait();
        }
    }

    /// A routine of the scope has ended: its result is stored or dropped.
    ///
    /// # Safety
    /// 1. Alive: `this` is a strong reference made by `Arc::into_raw`, given up here.
    pub(crate) unsafe fn child_ended(this: *mut ScopeData, panicked: bool) {
        // SAFETY: 1 by the caller.
        let this = unsafe { Arc::from_raw(this.cast_const()) };
        if panicked {
            this.panicked.fetch_add(1, Relaxed);
        }
        // SeqCst: see `is_running`; its release half publishes what this routine wrote.
        if this.running.fetch_sub(1, SeqCst) == 1 {
            let owner = this.owner.lock().unwrap_or_else(|e| e.into_inner()).take();
            if let Some(waker) = owner {
                waker.wake();
            }
        }
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the routine's end and returns its result; see [`JoinHandle::join`].
    ///
    /// # Errors
    /// As [`JoinHandle::join`].
    pub fn join(self) -> Result<T, JoinError> {
        let result = self.handle.join();
        if let Err(JoinError::Panicked(_)) = &result {
            // Whoever joins has been told: the scope need not panic for it.
            self.data.panicked.fetch_sub(1, Relaxed);
        }
        result
    }

    /// Whether the routine has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Ends the routine; see [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.handle.abort();
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.data.running.load(Relaxed))
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}
