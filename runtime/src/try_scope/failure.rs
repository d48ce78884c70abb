//! What went wrong in a [`try_scope`](crate::try_scope): who failed, with what, in which order.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Mutex;

use crate::id::RoutineId;
use crate::routine::body;

/// Why a [`try_scope`](crate::try_scope) gave no value.
///
/// ```
/// use openwork::{Runtime, ScopeError, try_scope};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// match rt.block_on(|| try_scope(|s| { s.spawn(|| Err::<(), _>("out of paper")); Ok(()) })) {
///     Ok(()) => unreachable!(),
///     Err(ScopeError::Failed(failures)) => assert_eq!(*failures.first().error().unwrap(), "out of paper"),
///     Err(why) => panic!("{why}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError<E> {
    /// Something failed: one of the routines, or the closure itself.
    #[error("{0}")]
    Failed(Failures<E>),
    /// The calling routine was asked to end, and nothing failed. It is told so once; then calls unwind.
    #[error("the routine was asked to end")]
    Cancelled,
}

/// The failures of a [`try_scope`](crate::try_scope), in the order in which they happened; at least one.
///
/// ```
/// use openwork::{FailureKind, ScopeError, try_scope};
///
/// # let rt = openwork::Runtime::builder().workers(2).build().unwrap();
/// let result = rt.block_on(|| {
///     try_scope::<_, (), &str>(|s| {
///         let panics = s.spawn(|| -> Result<(), &str> { panic!("out of paper") });
///         let _ = panics.join();
///         Err("given up")
///     })
/// });
/// let Err(ScopeError::Failed(failures)) = result else { panic!() };
/// assert_eq!(failures.len(), 2);
/// for failure in &failures {
///     match failure.kind() {
///         FailureKind::Error(error) => assert_eq!(*error, "given up"),
///         FailureKind::Panicked(panic) => assert_eq!(panic.message(), "out of paper"),
///         _ => unreachable!(),
///     }
/// }
/// assert!(failures.to_string().ends_with("panicked: out of paper; and one more"));
/// assert!(failures.into_first().error().is_none());
/// ```
#[derive(Debug)]
pub struct Failures<E> {
    all: Vec<Failure<E>>,
    /// The first that was no consequence of a cancel, if there is one.
    first: usize,
}

/// One failure: who, and with what.
///
/// ```
/// use openwork::{Builder, Runtime, ScopeError, try_scope};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let result = rt.block_on(|| {
///     try_scope::<_, (), _>(|s| {
///         let reader = Builder::new().name("reader");
///         s.spawn_as(reader, || Err::<(), _>("no such page")).unwrap();
///         Ok(())
///     })
/// });
/// let Err(ScopeError::Failed(failures)) = result else { panic!() };
/// let failure = failures.into_first();
/// assert_eq!(failure.name(), Some("reader"));
/// assert!(failure.to_string().ends_with("`reader`: no such page"));
/// ```
#[derive(Debug)]
pub struct Failure<E> {
    pub(super) routine: RoutineId,
    pub(super) name: Option<String>,
    pub(super) after_cancel: bool,
    pub(super) kind: FailureKind<E>,
}

/// With what a routine failed.
///
/// ```
/// use openwork::{FailureKind, Runtime, ScopeError, try_scope};
///
/// # std::panic::set_hook(Box::new(|_| {}));
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let result = rt.block_on(|| {
///     try_scope::<_, (), &str>(|s| {
///         s.spawn(|| -> Result<(), &str> { panic!("out of paper") });
///         Ok(())
///     })
/// });
/// let Err(ScopeError::Failed(failures)) = result else { panic!() };
/// match failures.into_first().into_kind() {
///     FailureKind::Panicked(report) => assert_eq!(report.message(), "out of paper"),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureKind<E> {
    /// It returned this `Err`.
    Error(E),
    /// It panicked.
    Panicked(PanicReport),
}

/// A panic's payload and its text.
///
/// ```
/// use openwork::{FailureKind, Runtime, ScopeError, try_scope};
///
/// # std::panic::set_hook(Box::new(|_| {}));
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let result = rt.block_on(|| {
///     try_scope::<_, (), ()>(|s| {
///         s.spawn(|| -> Result<(), ()> { panic!("out of ink") });
///         Ok(())
///     })
/// });
/// let Err(ScopeError::Failed(failures)) = result else { panic!() };
/// let FailureKind::Panicked(report) = failures.into_first().into_kind() else { panic!() };
/// assert_eq!(report.message(), "out of ink");
/// assert!(report.into_payload().is::<&str>());
/// ```
pub struct PanicReport {
    message: String,
    /// `Any + Send` is not `Sync`; an error should be.
    payload: Mutex<Box<dyn Any + Send>>,
}

/// Why a routine of a [`try_scope`](crate::try_scope) gave no value.
///
/// ```
/// use openwork::{Runtime, TryJoinError, try_scope};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// let result = rt.block_on(|| {
///     try_scope::<_, (), _>(|s| {
///         let fails = s.spawn(|| Err::<(), _>("out of paper"));
///         assert_eq!(fails.join(), Err(TryJoinError::Failed));
///         Ok(())
///     })
/// });
/// assert!(result.is_err(), "the scope says with what");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryJoinError {
    /// It failed; the scope reports with what.
    #[error("the routine failed; the scope says with what")]
    Failed,
    /// It was cancelled.
    #[error("the routine was cancelled")]
    Cancelled,
    /// The caller is panicking, and waiting would have put its thread to sleep for ever.
    #[error("waiting while panicking would have stopped the thread that the routine needs")]
    Refused,
}

impl<E> ScopeError<E> {
    /// The failures, if that is why.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::try_scope;
    /// let failed = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no")).unwrap_err());
    /// assert_eq!(failed.failures().unwrap().len(), 1);
    /// ```
    pub fn failures(&self) -> Option<&Failures<E>> {
        match self {
            ScopeError::Failed(failures) => Some(failures),
            ScopeError::Cancelled => None,
        }
    }
}

impl<E> Failures<E> {
    pub(super) fn new(all: Vec<Failure<E>>) -> Failures<E> {
        let first = all.iter().position(|failure| !failure.after_cancel);
        Failures {
            all,
            first: first.unwrap_or(0),
        }
    }

    /// The one that cancelled the rest.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::try_scope;
    /// let failed = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no")).unwrap_err());
    /// assert_eq!(failed.failures().unwrap().first().error(), Some(&"no"));
    /// ```
    pub fn first(&self) -> &Failure<E> {
        &self.all[self.first]
    }

    /// The one that cancelled the rest; the others are dropped.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{ScopeError, try_scope};
    /// let Err(ScopeError::Failed(failures)) = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no"))) else { panic!() };
    /// assert_eq!(failures.into_first().error(), Some(&"no"));
    /// ```
    pub fn into_first(mut self) -> Failure<E> {
        self.all.swap_remove(self.first)
    }

    /// All of them, in order.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{ScopeError, try_scope};
    /// let Err(ScopeError::Failed(failures)) = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no"))) else { panic!() };
    /// assert!(failures.iter().all(|failure| failure.error() == Some(&"no")));
    /// ```
    pub fn iter(&self) -> std::slice::Iter<'_, Failure<E>> {
        self.all.iter()
    }

    /// How many there are.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{ScopeError, try_scope};
    /// let Err(ScopeError::Failed(failures)) = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no"))) else { panic!() };
    /// assert_eq!(failures.len(), 1);
    /// ```
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.all.len()
    }
}

impl<E> IntoIterator for Failures<E> {
    type Item = Failure<E>;
    type IntoIter = std::vec::IntoIter<Failure<E>>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

impl<'a, E> IntoIterator for &'a Failures<E> {
    type Item = &'a Failure<E>;
    type IntoIter = std::slice::Iter<'a, Failure<E>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<E> Failure<E> {
    /// Who failed: a routine of the scope, or its owner.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{ScopeError, current, try_scope};
    /// rt.block_on(|| {
    ///     let Err(ScopeError::Failed(failures)) = try_scope::<_, (), _>(|_| Err("no")) else { panic!() };
    ///     assert_eq!(failures.first().routine(), current().unwrap().routine, "the owner itself");
    /// });
    /// ```
    pub fn routine(&self) -> RoutineId {
        self.routine
    }

    /// Its name, if it has one.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{ScopeError, try_scope};
    /// let Err(ScopeError::Failed(failures)) = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no"))) else { panic!() };
    /// assert_eq!(failures.first().name(), None, "the owner was given none");
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether a call had told the routine before that it should end: then the failure may be a
    /// consequence, a `?` on a `Cancelled` say.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{ScopeError, try_scope};
    /// let Err(ScopeError::Failed(failures)) = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no"))) else { panic!() };
    /// assert!(!failures.first().after_cancel(), "nobody had failed before");
    /// ```
    pub fn after_cancel(&self) -> bool {
        self.after_cancel
    }

    /// With what it failed.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{FailureKind, ScopeError, try_scope};
    /// let Err(ScopeError::Failed(failures)) = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no"))) else { panic!() };
    /// assert!(matches!(failures.first().kind(), FailureKind::Error("no")));
    /// ```
    pub fn kind(&self) -> &FailureKind<E> {
        &self.kind
    }

    /// With what it failed.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{FailureKind, ScopeError, try_scope};
    /// let Err(ScopeError::Failed(failures)) = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no"))) else { panic!() };
    /// assert!(matches!(failures.into_first().into_kind(), FailureKind::Error("no")));
    /// ```
    pub fn into_kind(self) -> FailureKind<E> {
        self.kind
    }

    /// The `Err` that it returned; `None` if it panicked.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// use openwork::{ScopeError, try_scope};
    /// let Err(ScopeError::Failed(failures)) = rt.block_on(|| try_scope::<_, (), _>(|_| Err("no"))) else { panic!() };
    /// assert_eq!(failures.first().error(), Some(&"no"));
    /// ```
    pub fn error(&self) -> Option<&E> {
        match &self.kind {
            FailureKind::Error(error) => Some(error),
            FailureKind::Panicked(_) => None,
        }
    }
}

impl PanicReport {
    pub(super) fn new(payload: Box<dyn Any + Send>) -> PanicReport {
        PanicReport {
            message: body::panic_message(&*payload),
            payload: Mutex::new(payload),
        }
    }

    /// The panic's message.
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # std::panic::set_hook(Box::new(|_| {}));
    /// use openwork::{FailureKind, ScopeError, try_scope};
    /// let panics = || -> Result<(), ()> { panic!("no ink") };
    /// let result = rt.block_on(|| try_scope(|s| Ok(drop(s.spawn(panics)))));
    /// let Err(ScopeError::Failed(failures)) = result else { panic!() };
    /// let FailureKind::Panicked(report) = failures.first().kind() else { panic!() };
    /// assert_eq!(report.message(), "no ink");
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The panic's payload, for [`resume_unwind`](std::panic::resume_unwind).
    ///
    /// ```
    /// # let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// # std::panic::set_hook(Box::new(|_| {}));
    /// use openwork::{FailureKind, ScopeError, try_scope};
    /// let panics = || -> Result<(), ()> { panic!("no ink") };
    /// let result = rt.block_on(|| try_scope(|s| Ok(drop(s.spawn(panics)))));
    /// let Err(ScopeError::Failed(failures)) = result else { panic!() };
    /// let FailureKind::Panicked(report) = failures.into_first().into_kind() else { panic!() };
    /// assert_eq!(*report.into_payload().downcast_ref::<&str>().unwrap(), "no ink");
    /// ```
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner().unwrap_or_else(|e| e.into_inner())
    }
}

impl fmt::Debug for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PanicReport").field(&self.message).finish()
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "routine {}", self.routine)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        match &self.kind {
            FailureKind::Error(error) => write!(f, ": {error}"),
            FailureKind::Panicked(panic) => write!(f, " panicked: {}", panic.message),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failures<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first().fmt(f)?;
        match self.all.len() - 1 {
            0 => Ok(()),
            1 => f.write_str("; and one more"),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> Error for Failures<E> {}
impl<E: fmt::Display + fmt::Debug> Error for Failure<E> {}
