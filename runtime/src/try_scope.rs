//! Scopes whose routines can fail: the first failure cancels the rest, and all of them are reported.

mod failure;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

pub use failure::{Failure, FailureKind, Failures, PanicReport, ScopeError, TryJoinError};

use crate::cancel::{self, CancelPayload};
use crate::channel::{self, Receiver, Sender};
use crate::id::RoutineId;
use crate::join::JoinError;
use crate::routine::RoutineRef;
use crate::routine::life::CancelLevel;
use crate::scheduler::block::{self, Context};
use crate::scheduler::threads;
use crate::scope::{Scope, ScopedJoinHandle};
use crate::spawn::{Builder, SpawnError};
use crate::token::node::Node;
use crate::token::{CancelCause, CancelToken};

/// Where routines that borrow and may fail are spawned; given to the closure of [`try_scope`]. A clone is
/// the same scope, for a routine that spawns into it.
///
/// ```
/// use openwork::{Runtime, TryScope, try_scope};
///
/// fn visit<'scope>(s: TryScope<'scope, '_, String>, depth: u32) {
///     let below = s.clone();
///     s.spawn(move || {
///         if depth > 0 {
///             visit(below, depth - 1);
///         }
///         Ok(())
///     });
/// }
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| try_scope(|s| Ok(visit(s.clone(), 3)))).unwrap();
/// ```
// By value, and without a reference to anything with an `E` in it: such a reference would say that `E`
// outlives 'scope, and where a closure of an `E` with a lifetime in it (a boxed error) is checked, the
// compiler would then ask everything that is lent to outlive that lifetime as well.
pub struct TryScope<'scope, 'env: 'scope, E> {
    scope: &'scope Scope<'scope, 'env>,
    common: Arc<Common<E>>,
}

/// The end of a routine of a [`TryScope`].
///
/// ```
/// use openwork::{Runtime, try_scope};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let sum = rt.block_on(|| {
///     try_scope::<_, _, ()>(|s| {
///         let (one, other) = (s.spawn(|| Ok(1)), s.spawn(|| Ok(2)));
///         Ok(one.join().unwrap() + other.join().unwrap())
///     })
/// });
/// assert_eq!(sum.unwrap(), 3);
/// ```
pub struct TryScopedJoinHandle<'scope, T>(ScopedJoinHandle<'scope, Option<T>>);

/// What a scope's routines share.
struct Common<E> {
    /// So far.
    failures: Mutex<Vec<Failure<E>>>,
    /// What the first one cancels.
    token: Arc<Node>,
    /// One value in the channel for each running routine.
    limit: OnceLock<(Sender<()>, Receiver<()>)>,
}

/// Gives a place among the running routines back.
struct Place(Receiver<()>);

/// Runs `f`, which may spawn routines that borrow from the caller's frame and can fail, and waits for
/// all of them. The first failure, an `Err` or a panic, asks the other routines to end; all failures
/// are reported, in the order in which they happened.
///
/// ```
/// use openwork::{Builder, Runtime, ScopeError, time, try_scope};
/// use std::time::Duration;
///
/// let rt = Runtime::builder().workers(2).build().unwrap();
/// let pages = ["index", "missing", "about"];
/// let result = rt.block_on(|| {
///     try_scope(|s| {
///         for page in &pages {
///             let fetch = Builder::new().name(page);
///             s.spawn_as(fetch, move || match *page {
///                 "missing" => Err("404"),
///                 _ => Ok(time::sleep(Duration::from_secs(3600))), // ended by the cancel
///             })
///             .unwrap();
///         }
///         Ok("all fetched")
///     })
/// });
/// let Err(ScopeError::Failed(failures)) = result else { panic!() };
/// assert_eq!(failures.len(), 1);
/// assert_eq!(failures.first().name(), Some("missing"));
/// assert_eq!(failures.first().error(), Some(&"404"));
/// ```
///
/// - A routine that ends by its cancel has not failed. One that was told by a call that it should end,
///   and then returned an `Err` or panicked, is listed as [`after_cancel`](Failure::after_cancel), and
///   does not alone make the scope fail.
/// - An `Err` of `f` itself is a failure like the others. A panic of `f` cancels the routines too, and
///   goes on when they have ended.
/// - The failure does not interrupt `f`: what it still spawns never runs. An `f` that waits for
///   something else than its routines waits for [`token`](TryScope::token) as well.
/// - [`TryScope::limit`] bounds how many run at once.
/// - A routine that spawns into the scope takes a clone of it along.
///
/// # Errors
/// [`ScopeError::Failed`] if something failed; otherwise [`ScopeError::Cancelled`] if the calling
/// routine was asked to end.
///
/// # Panics
/// With `f`'s panic, or where [`scope`](crate::scope) does.
pub fn try_scope<'env, F, R, E>(f: F) -> Result<R, ScopeError<E>>
where
    F: for<'scope> FnOnce(TryScope<'scope, 'env, E>) -> Result<R, E>,
    E: Send + 'env,
{
    let scope = Scope::enter("try_scope");
    let common = Arc::new(Common {
        failures: Mutex::new(Vec::new()),
        token: scope.token().node,
        limit: OnceLock::new(),
    });
    let given = TryScope {
        scope: &scope,
        common: common.clone(),
    };
    // Caught: unwinding past this frame would end the loan before the borrowers.
    let result = catch_unwind(AssertUnwindSafe(|| f(given)));
    let result = match result {
        Ok(Ok(value)) => Ok(Some(value)),
        Ok(Err(error)) => {
            common.push(FailureKind::Error(error));
            Ok(None)
        }
        Err(payload) => {
            common.cancel();
            Err(payload)
        }
    };
    scope.wait();
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(value) => common.finish(&scope, value),
    }
}

impl<E> Common<E> {
    /// All routines have ended, and the closure has returned this value, or failed.
    fn finish<R>(&self, scope: &Scope<'_, '_>, value: Option<R>) -> Result<R, ScopeError<E>> {
        let mut failures = std::mem::take(&mut *self.lock());
        // Those for which there was no stack never came to report themselves.
        for panic in scope.take_panics() {
            if failures.iter().all(|known| known.routine != panic.routine) {
                failures.push(Failure {
                    routine: panic.routine,
                    name: panic.name,
                    after_cancel: false,
                    kind: FailureKind::Panicked(PanicReport::new(Box::new(panic.message))),
                });
            }
        }
        match value {
            Some(value) if failures.iter().all(|failure| failure.after_cancel) => {
                if let Context::Routine(me) = block::context() {
                    cancel::report_if_asked(me).map_err(|_| ScopeError::Cancelled)?;
                }
                Ok(value)
            }
            _ => Err(ScopeError::Failed(Failures::new(failures))),
        }
    }
}

impl<'scope, E: Send + 'scope> TryScope<'scope, '_, E> {
    /// Spawns a routine that may borrow what outlives the scope, and may fail. It inherits the workload.
    ///
    /// Waits for a place if there is a [`limit`](Self::limit).
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// let text = String::from("21");
    /// let doubled = rt.block_on(|| {
    ///     openwork::try_scope(|s| {
    ///         let number = s.spawn(|| text.parse::<u32>());
    ///         Ok(number.join().map_or(0, |number| 2 * number))
    ///     })
    /// });
    /// assert_eq!(doubled.unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> TryScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
    {
        self.spawn_as(Builder::new(), f)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// As [`spawn`](Self::spawn), with a name, a stack size, a workload or a token. The runtime is the
    /// scope's.
    ///
    /// ```
    /// use openwork::{Builder, Runtime, current, try_scope};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// let ran = rt.block_on(|| {
    ///     try_scope::<_, _, ()>(|s| {
    ///         let named = s.spawn_as(Builder::new().name("reader"), || Ok(current().is_some()));
    ///         Ok(named.unwrap().join().unwrap())
    ///     })
    /// });
    /// assert!(ran.unwrap());
    /// ```
    ///
    /// # Errors
    /// See [`SpawnError`].
    #[track_caller]
    pub fn spawn_as<F, T>(
        &self,
        builder: Builder,
        f: F,
    ) -> Result<TryScopedJoinHandle<'scope, T>, SpawnError>
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
    {
        let place = self.take_place();
        let common = self.common.clone();
        let handle = self.scope.spawn_as(builder, move || {
            let _place = place;
            common.watch(f)
        })?;
        Ok(TryScopedJoinHandle(handle))
    }

    /// Lets no more than `routines` of the scope run at once: further spawns wait until one has ended.
    /// Once, before the first spawn.
    ///
    /// A routine of the scope that spawns into it keeps its own place while it waits for another.
    ///
    /// ```
    /// use openwork::{Runtime, try_scope, yield_now};
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let most = AtomicU32::new(0);
    /// let running = AtomicU32::new(0);
    /// rt.block_on(|| {
    ///     try_scope::<_, _, ()>(|s| {
    ///         s.limit(3);
    ///         for _ in 0..20 {
    ///             s.spawn(|| {
    ///                 most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    ///                 yield_now();
    ///                 running.fetch_sub(1, Ordering::SeqCst);
    ///                 Ok(())
    ///             });
    ///         }
    ///         Ok(())
    ///     })
    ///     .unwrap();
    /// });
    /// assert!(most.into_inner() <= 3);
    /// ```
    ///
    /// # Panics
    /// If `routines` is 0, or there is a limit already.
    pub fn limit(&self, routines: usize) {
        assert!(routines > 0, "a scope needs room for one routine");
        let set = self.common.limit.set(channel::bounded(routines));
        assert!(set.is_ok(), "the scope has a limit already");
    }

    /// The token that the scope's routines are bound to; the first failure cancels it. See
    /// [`Scope::token`].
    ///
    /// ```
    /// use openwork::{Runtime, try_scope};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     try_scope::<_, (), &str>(|s| {
    ///         let token = s.token();
    ///         let waits = s.spawn(move || Ok(token.wait().is_ok()));
    ///         s.spawn(|| Err::<(), _>("out of paper"));
    ///         assert!(waits.join().is_ok(), "told of the other's failure");
    ///         Ok(())
    ///     })
    ///     .unwrap_err()
    /// });
    /// ```
    pub fn token(&self) -> CancelToken {
        self.scope.token()
    }

    /// Asks the scope's routines to end, and each one spawned later; see [`Scope::cancel`]. The scope
    /// does not fail by that.
    ///
    /// ```
    /// use openwork::{Runtime, channel, time, try_scope};
    /// use std::time::Duration;
    ///
    /// let rt = Runtime::builder().workers(2).build().unwrap();
    /// let fastest = rt.block_on(|| {
    ///     try_scope::<_, _, ()>(|s| {
    ///         let (tx, rx) = channel::bounded(2);
    ///         for (name, delay) in [("near", 1), ("far", 3_600_000)] {
    ///             let tx = tx.clone();
    ///             s.spawn(move || {
    ///                 time::sleep(Duration::from_millis(delay));
    ///                 let _ = tx.send(name);
    ///                 Ok(())
    ///             });
    ///         }
    ///         let first = rx.recv().unwrap();
    ///         s.cancel();
    ///         Ok(first)
    ///     })
    /// });
    /// assert_eq!(fastest.unwrap(), "near");
    /// ```
    pub fn cancel(&self) {
        self.scope.cancel();
    }

    /// Waits for a place among the running routines, if they are limited.
    fn take_place(&self) -> Option<Place> {
        let (tx, rx) = self.common.limit.get()?;
        // What is spawned after the cancel never runs: it need not wait for room.
        if self.common.token.level() != CancelLevel::None {
            return None;
        }
        match tx.send(()) {
            Ok(()) => Some(Place(rx.clone())),
            Err(_) => {
                cancel::raise_if_asked();
                // Refused while panicking: better too many than a thread that stands still.
                None
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // There is one: ours.
        let _ = self.0.try_recv();
    }
}

impl<E> Common<E> {
    /// Runs the body of a routine.
    fn watch<T>(&self, f: impl FnOnce() -> Result<T, E>) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                self.push(FailureKind::Error(error));
                None
            }
            Err(payload) if payload.is::<CancelPayload>() => resume_unwind(payload),
            Err(payload) => {
                let report = PanicReport::new(payload);
                let message = report.message().to_owned();
                self.push(FailureKind::Panicked(report));
                // The routine has panicked for its log and its counters, too.
                resume_unwind(Box::new(message))
            }
        }
    }

    /// The calling routine has failed.
    fn push(&self, kind: FailureKind<E>) {
        let running = threads::running_here();
        let me: RoutineRef = running.expect("a scope's routine runs");
        let header = me.header();
        let after_cancel = header.life.cancel_was_seen();
        self.lock().push(Failure {
            routine: header.routine_id(),
            name: header.name(),
            after_cancel,
            kind,
        });
        if !after_cancel {
            self.cancel();
        }
    }

    fn cancel(&self) {
        self.token
            .cancel(CancelLevel::Asked, &CancelCause::ScopeFailed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Failure<E>>> {
        // Nothing in here panics while the lock is held.
        self.failures.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<T> TryScopedJoinHandle<'_, T> {
    /// Waits for the routine's end and returns its value.
    ///
    /// ```
    /// use openwork::{TryJoinError, try_scope};
    /// # let rt = openwork::Runtime::builder().workers(2).build().unwrap();
    /// let result = rt.block_on(|| {
    ///     try_scope(|s| {
    ///         let fails = s.spawn(|| Err::<(), _>("too late"));
    ///         assert_eq!(fails.join(), Err(TryJoinError::Failed));
    ///         Ok(())
    ///     })
    /// });
    /// assert!(result.is_err());
    /// ```
    ///
    /// # Errors
    /// See [`TryJoinError`]. What the routine failed with is the scope's to report.
    pub fn join(self) -> Result<T, TryJoinError> {
        match self.0.join() {
            Ok(Some(value)) => Ok(value),
            Ok(None) | Err(JoinError::Panicked(_) | JoinError::Overflowed(_)) => {
                Err(TryJoinError::Failed)
            }
            Err(JoinError::Cancelled) => Err(TryJoinError::Cancelled),
            Err(JoinError::Refused) => Err(TryJoinError::Refused),
        }
    }

    /// The routine's number.
    ///
    /// ```
    /// use openwork::{Runtime, current, try_scope};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     try_scope::<_, _, ()>(|s| {
    ///         let routine = s.spawn(|| Ok(current().unwrap().routine));
    ///         let id = routine.id();
    ///         assert_eq!(routine.join().unwrap(), id);
    ///         Ok(())
    ///     })
    /// })
    /// .unwrap();
    /// ```
    pub fn id(&self) -> RoutineId {
        self.0.id()
    }

    /// Whether the routine has ended.
    ///
    /// ```
    /// use openwork::{Runtime, try_scope, yield_now};
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     try_scope::<_, _, ()>(|s| {
    ///         let routine = s.spawn(|| Ok(()));
    ///         while !routine.is_finished() {
    ///             yield_now();
    ///         }
    ///         Ok(())
    ///     })
    /// })
    /// .unwrap();
    /// ```
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Ends the routine; see [`JoinHandle::abort`](crate::JoinHandle::abort). The scope does not fail by
    /// that.
    ///
    /// ```
    /// use openwork::{Runtime, TryJoinError, time, try_scope};
    /// use std::time::Duration;
    ///
    /// let rt = Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     try_scope::<_, _, ()>(|s| {
    ///         let sleeper = s.spawn(|| Ok(time::sleep(Duration::from_secs(3600))));
    ///         sleeper.abort();
    ///         assert_eq!(sleeper.join(), Err(TryJoinError::Cancelled));
    ///         Ok(())
    ///     })
    /// })
    /// .unwrap();
    /// ```
    pub fn abort(&self) {
        self.0.abort();
    }
}

impl<E> Clone for TryScope<'_, '_, E> {
    fn clone(&self) -> Self {
        TryScope {
            scope: self.scope,
            common: self.common.clone(),
        }
    }
}

impl<E> fmt::Debug for TryScope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryScope")
            .field("scope", &self.scope)
            .field("failures", &self.common.lock().len())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for TryScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
