//! Values that are made once, when they are needed first.

use std::cell::UnsafeCell;
use std::convert::Infallible;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::primitives::const_unless_loom;
use crate::sync::once::Once;

/// A place for one value, written once and read by many: the standard library's `OnceLock`, whose waiters
/// block as routines do.
///
/// ```
/// use openwork::sync::OnceCell;
///
/// static LIMIT: OnceCell<u32> = OnceCell::new();
/// assert_eq!(LIMIT.get(), None);
/// assert_eq!(*LIMIT.get_or_init(|| 10), 10);
/// assert_eq!(LIMIT.set(11), Err(11));
/// assert_eq!(LIMIT.get(), Some(&10));
/// ```
pub struct OnceCell<T> {
    once: Once,
    /// Full when the once is completed.
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value goes with the cell.
unsafe impl<T: Send> Send for OnceCell<T> {}
// SAFETY: many may read it, and one thread may make what another drops.
unsafe impl<T: Send + Sync> Sync for OnceCell<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceCell<T> {}
impl<T: UnwindSafe + RefUnwindSafe> RefUnwindSafe for OnceCell<T> {}

impl<T> OnceCell<T> {
    const_unless_loom! {
        /// An empty place; may be a `static`.
        ///
        /// ```
        /// use openwork::sync::OnceCell;
        ///
        /// static NAME: OnceCell<String> = OnceCell::new();
        /// NAME.set("one".to_owned()).unwrap();
        /// ```
        pub fn new() -> OnceCell<T> {
            OnceCell {
                once: Once::new(),
                value: UnsafeCell::new(MaybeUninit::uninit()),
            }
        }
    }

    /// The value, if it is there. Never waits.
    ///
    /// ```
    /// use openwork::sync::OnceCell;
    ///
    /// assert_eq!(OnceCell::<u8>::new().get(), None);
    /// assert_eq!(OnceCell::from(3).get(), Some(&3));
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: completed, so full, and nobody writes any more.
        self.once
            .is_completed()
            .then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value, if it is there, of a place that nobody else can reach.
    ///
    /// ```
    /// let mut cell = openwork::sync::OnceCell::from(3);
    /// *cell.get_mut().unwrap() += 1;
    /// assert_eq!(cell.get(), Some(&4));
    /// ```
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: completed, so full.
        self.once
            .is_completed()
            .then(|| unsafe { self.value.get_mut().assume_init_mut() })
    }

    /// Puts `value` in, unless one is there. Waits for an initialisation that runs.
    ///
    /// ```
    /// let cell = openwork::sync::OnceCell::new();
    /// assert_eq!((cell.set(1), cell.set(2)), (Ok(()), Err(2)));
    /// ```
    ///
    /// # Errors
    /// `value`, if there is one already.
    ///
    /// # Panics
    /// As [`get_or_init`](Self::get_or_init).
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; `init` makes it if there is none. Waits for another one that makes it: a routine blocks
    /// with reason `once`, and unwinds if it was asked to end.
    ///
    /// If `init` panics or is cancelled, there is still none, and the next caller makes it.
    ///
    /// ```
    /// let cell = openwork::sync::OnceCell::new();
    /// assert_eq!((*cell.get_or_init(|| 1), *cell.get_or_init(|| 2)), (1, 1));
    /// ```
    ///
    /// # Panics
    /// If `init` comes back here; if it would have to wait while the caller is panicking, or in a
    /// destructor that the scheduler itself runs.
    #[inline]
    pub fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        match self.get_or_try_init(|| Ok::<T, Infallible>(init())) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// As [`get_or_init`](Self::get_or_init), with an `init` that can fail.
    ///
    /// ```
    /// use openwork::sync::OnceCell;
    ///
    /// let cell = OnceCell::new();
    /// assert_eq!(cell.get_or_try_init(|| "x".parse::<i32>()).ok(), None);
    /// assert_eq!(cell.get_or_try_init(|| "5".parse::<i32>()), Ok(&5));
    /// ```
    ///
    /// # Errors
    /// What `init` returned; there is still no value then.
    ///
    /// # Panics
    /// As [`get_or_init`](Self::get_or_init).
    #[inline]
    pub fn get_or_try_init<E>(&self, init: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        if let Some(run) = self.once.begin(false, true) {
            let value = init()?;
            // SAFETY: not completed, so nobody reads; and we are the one who runs.
            unsafe { (*self.value.get()).write(value) };
            run.finish();
        }
        Ok(self.get().expect("it was made"))
    }

    /// Takes the value out, and leaves an empty place.
    ///
    /// ```
    /// let mut cell = openwork::sync::OnceCell::from(5);
    /// assert_eq!((cell.take(), cell.take()), (Some(5), None));
    /// ```
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }

    /// The value, if it is there.
    ///
    /// ```
    /// assert_eq!(openwork::sync::OnceCell::from(3).into_inner(), Some(3));
    /// ```
    pub fn into_inner(mut self) -> Option<T> {
        let once = std::mem::take(&mut self.once);
        // SAFETY: completed, so full; with a fresh `once` it counts as empty from here on.
        once.is_completed()
            .then(|| unsafe { self.value.get_mut().assume_init_read() })
    }
}

impl<T> Drop for OnceCell<T> {
    fn drop(&mut self) {
        if self.once.is_completed() {
            // SAFETY: completed, so full, and dropped once.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> OnceCell<T> {
        OnceCell::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> OnceCell<T> {
        let cell = OnceCell::new();
        cell.get_or_init(|| value);
        cell
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("OnceCell");
        match self.get() {
            Some(value) => shown.field(value),
            None => shown.field(&format_args!("<empty>")),
        };
        shown.finish()
    }
}

/// A value that is made when it is used first: the standard library's `LazyLock`, whose waiters block as
/// routines do.
///
/// A panic of its function poisons it. A cancel does not, and the function runs again: so it is an `Fn`.
///
/// ```
/// use openwork::sync::Lazy;
///
/// static NAMES: Lazy<Vec<String>> = Lazy::new(|| vec!["one".to_owned(), "two".to_owned()]);
/// assert_eq!(NAMES.len(), 2);
/// ```
pub struct Lazy<T, F = fn() -> T> {
    once: Once,
    cell: OnceCell<T>,
    make: F,
}

impl<T, F: Fn() -> T> Lazy<T, F> {
    const_unless_loom! {
        /// A value that `make` will make; may be a `static`.
        ///
        /// ```
        /// let lazy = openwork::sync::Lazy::new(|| 6 * 7);
        /// assert_eq!(*lazy, 42);
        /// ```
        pub fn new(make: F) -> Lazy<T, F> {
            Lazy {
                once: Once::new(),
                cell: OnceCell::new(),
                make,
            }
        }
    }

    /// The value, made if need be; as `*lazy` does it.
    ///
    /// ```
    /// use openwork::sync::Lazy;
    ///
    /// let lazy = Lazy::new(|| 6 * 7);
    /// assert_eq!(*Lazy::force(&lazy), 42);
    /// ```
    ///
    /// # Panics
    /// If the function panicked before; if it comes back here; if it would have to wait while the caller
    /// is panicking, or in a destructor that the scheduler itself runs.
    #[inline]
    pub fn force(lazy: &Lazy<T, F>) -> &T {
        match lazy.cell.get() {
            Some(value) => value,
            None => lazy.force_slowly(),
        }
    }

    #[cold]
    fn force_slowly(&self) -> &T {
        self.once.call_once(|| {
            self.cell.get_or_init(&self.make);
        });
        self.cell.get().expect("it was made")
    }

    /// The value, if it was made.
    ///
    /// ```
    /// use openwork::sync::Lazy;
    ///
    /// let lazy = Lazy::new(|| 6 * 7);
    /// assert_eq!(Lazy::get(&lazy), None);
    /// assert_eq!((*lazy, Lazy::get(&lazy)), (42, Some(&42)));
    /// ```
    pub fn get(lazy: &Lazy<T, F>) -> Option<&T> {
        lazy.cell.get()
    }
}

impl<T, F: Fn() -> T> Deref for Lazy<T, F> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        Lazy::force(self)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Lazy<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lazy").field(&self.cell).finish()
    }
}
