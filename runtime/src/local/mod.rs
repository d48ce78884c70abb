//! Routine-locals: statics of which each routine has its own value.

pub(crate) mod table;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::NonNull;

use crate::scheduler::block::{self, Context};
use table::{Key, Missing, Table};

thread_local! {
    /// Of a thread that is no worker.
    static THREAD: RefCell<Table> = const { RefCell::new(Table::new()) };
}

/// Declares statics of which each routine has its own value, as `std::thread_local!` does for threads.
///
/// ```
/// use openwork::{Runtime, routine_local, spawn, yield_now};
/// use std::cell::Cell;
///
/// routine_local! {
///     /// The request that the routine works for.
///     static REQUEST: Cell<u32> = Cell::new(0);
/// }
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let first = spawn(|| {
///         REQUEST.set(1);
///         yield_now();
///         REQUEST.get()
///     });
///     yield_now(); // the first one sets its own, and pauses
///     spawn(|| REQUEST.set(2)).join().unwrap();
///     assert_eq!(first.join().unwrap(), 1);
///     assert_eq!(REQUEST.get(), 0);
/// });
/// ```
///
/// What moves with a routine between threads must be `Send`:
///
/// ```compile_fail,E0277
/// openwork::routine_local!(static SHARED: std::rc::Rc<u32> = std::rc::Rc::new(1));
/// ```
///
/// See [`RoutineLocal`].
#[macro_export]
macro_rules! routine_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr) => {
        $(#[$attr])*
        $vis static $name: $crate::RoutineLocal<$t> = $crate::RoutineLocal::new(|| $init);
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr; $($rest:tt)*) => {
        $crate::routine_local!($(#[$attr])* $vis static $name: $t = $init);
        $crate::routine_local!($($rest)*);
    };
}

/// A static of which each routine has its own value; made by [`routine_local!`](crate::routine_local!).
///
/// - The value is made when the routine first asks for it, and dropped at the routine's end, on its own
///   stack, whether it returns, panics or is cancelled; the last made first. Whoever joins the routine
///   finds that done. A destructor may block and use other routine-locals; a cancel does not disturb it.
///   If it panics, the routine has panicked.
/// - A routine that is a future, or a loop of turns, keeps its values from turn to turn and takes them
///   along to other workers; hence `T: Send`.
/// - Nothing is inherited: a spawned routine begins with values of its own.
/// - On a plain thread each thread has a value, as with `thread_local!`: a function that uses one works
///   wherever it is called. Tasks of another executor on that thread therefore share it.
///
/// A lookup costs a few nanoseconds; a value costs one allocation.
///
/// ```
/// use openwork::{Runtime, routine_local};
/// use std::cell::Cell;
///
/// routine_local!(static DEPTH: Cell<u32> = Cell::new(0));
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     DEPTH.set(5);
///     let other = openwork::spawn(|| DEPTH.get());
///     assert_eq!((other.join().unwrap(), DEPTH.get()), (0, 5));
/// });
/// ```
pub struct RoutineLocal<T: 'static> {
    key: Key,
    init: fn() -> T,
}

/// Why a [`RoutineLocal`] has no value.
///
/// ```
/// use openwork::{LocalError, RoutineLocal};
///
/// static NAME: RoutineLocal<String> = RoutineLocal::new(|| "nobody".into());
///
/// match NAME.try_with(|name| name.len()) {
///     Ok(length) => assert_eq!(length, 6),
///     Err(LocalError::Dropped) => println!("asked by a destructor at the routine's end"),
///     Err(why) => println!("{why}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The routine, or the thread, ends, and the value was dropped already.
    #[error("the routine-local was dropped: its routine ends")]
    Dropped,
    /// A destructor that the scheduler itself runs belongs to no routine.
    #[error("a destructor that runs between two turns has no routine-locals")]
    NoRoutine,
}

impl<T: Send + 'static> RoutineLocal<T> {
    /// What [`routine_local!`](crate::routine_local!) expands to.
    ///
    /// ```
    /// use openwork::RoutineLocal;
    ///
    /// static SEED: RoutineLocal<u64> = RoutineLocal::new(|| 7);
    /// assert_eq!(SEED.with(|seed| *seed), 7);
    /// ```
    pub const fn new(init: fn() -> T) -> RoutineLocal<T> {
        RoutineLocal {
            key: Key::new(),
            init,
        }
    }

    /// Runs `f` on the calling routine's value; makes it first if there is none.
    ///
    /// ```
    /// openwork::routine_local!(static NAME: String = String::from("nobody"));
    ///
    /// assert_eq!(NAME.with(String::len), 6);
    /// ```
    ///
    /// # Panics
    /// Where [`try_with`](Self::try_with) has an error. With the panic of the value's initialiser.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.try_with(f).unwrap_or_else(|e| panic!("{e}"))
    }

    /// As [`with`](Self::with), but says so if there can be no value.
    ///
    /// ```
    /// openwork::routine_local!(static NAME: String = String::from("nobody"));
    ///
    /// assert_eq!(NAME.try_with(|name| name.len()), Ok(6));
    /// ```
    ///
    /// # Errors
    /// See [`LocalError`].
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, LocalError> {
        self.place(self.init).map(|value| f(value.get()))
    }

    /// The value's place, made with `first` if there is none.
    fn place(&'static self, first: impl FnOnce() -> T) -> Result<Place<T>, LocalError> {
        let found = with_table(|table| table.borrow().find(&self.key))?;
        let found = match found {
            Err(Missing::Unmade) => {
                // Foreign code, under no borrow: it may block, and ask for this very value.
                let (value, unused) = {
                    let value = Box::new(first());
                    with_table(|table| table.borrow_mut().insert(&self.key, value))?
                };
                drop(unused);
                Ok(value)
            }
            found => found,
        };
        match found {
            Ok(value) => Ok(Place(value.cast())),
            Err(_) => Err(LocalError::Dropped),
        }
    }
}

/// A value of the calling routine.
struct Place<T>(NonNull<T>);

impl<T> Place<T> {
    fn get(&self) -> &T {
        // SAFETY: the key's only values are of its type, `T`. It is dropped when the routine has
        // returned from everything that it called, so not before our caller returns to it; and only the
        // routine itself reaches it, on one thread at a time.
        unsafe { self.0.as_ref() }
    }
}

fn with_table<R>(f: impl FnOnce(&RefCell<Table>) -> R) -> Result<R, LocalError> {
    match block::context() {
        Context::Routine(me) | Context::Panicking(me) => Ok(f(me.header().extra_or_new().locals())),
        Context::Thread => THREAD.try_with(f).map_err(|_| LocalError::Dropped),
        Context::Scheduler => Err(LocalError::NoRoutine),
    }
}

impl<T: Send + 'static> RoutineLocal<Cell<T>> {
    /// Sets the value. Where none was made yet this is the first.
    ///
    /// ```
    /// use std::cell::Cell;
    /// openwork::routine_local!(static COUNT: Cell<u32> = Cell::new(0));
    ///
    /// COUNT.set(3);
    /// assert_eq!(COUNT.replace(COUNT.get() + 1), 3);
    /// assert_eq!((COUNT.take(), COUNT.get()), (4, 0));
    /// ```
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub fn set(&'static self, value: T) {
        let mut value = Some(value);
        let first = || Cell::new(value.take().expect("called once"));
        let place = self.place(first).unwrap_or_else(|e| panic!("{e}"));
        if let Some(value) = value {
            place.get().set(value);
        }
    }

    /// A copy of the value.
    ///
    /// ```
    /// use std::cell::Cell;
    /// openwork::routine_local!(static DEPTH: Cell<u32> = Cell::new(3));
    /// assert_eq!(DEPTH.get(), 3);
    /// ```
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value; what is left is `T`'s default.
    ///
    /// ```
    /// use std::cell::Cell;
    /// openwork::routine_local!(static DEPTH: Cell<u32> = Cell::new(3));
    /// assert_eq!((DEPTH.take(), DEPTH.get()), (3, 0));
    /// ```
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the value and returns the one before.
    ///
    /// ```
    /// use std::cell::Cell;
    /// openwork::routine_local!(static DEPTH: Cell<u32> = Cell::new(3));
    /// assert_eq!((DEPTH.replace(4), DEPTH.get()), (3, 4));
    /// ```
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: Send + 'static> RoutineLocal<RefCell<T>> {
    /// Runs `f` on a shared borrow of the value.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// openwork::routine_local!(static SEEN: RefCell<Vec<u32>> = RefCell::default());
    ///
    /// SEEN.with_borrow_mut(|seen| seen.push(7));
    /// assert_eq!(SEEN.with_borrow(|seen| seen.len()), 1);
    /// assert_eq!(SEEN.take(), [7]);
    /// ```
    ///
    /// # Panics
    /// As [`with`](Self::with), and if the value is mutably borrowed.
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Runs `f` on the mutably borrowed value.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// openwork::routine_local!(static SEEN: RefCell<Vec<u32>> = RefCell::default());
    /// SEEN.with_borrow_mut(|seen| seen.push(7));
    /// assert_eq!(SEEN.take(), [7]);
    /// ```
    ///
    /// # Panics
    /// As [`with`](Self::with), and if the value is borrowed.
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// openwork::routine_local!(static SEEN: RefCell<Vec<u32>> = RefCell::default());
    /// SEEN.set(vec![1, 2]);
    /// assert_eq!(SEEN.with_borrow(Vec::len), 2);
    /// ```
    ///
    /// # Panics
    /// As [`with_borrow_mut`](Self::with_borrow_mut).
    pub fn set(&'static self, value: T) {
        drop(self.replace(value));
    }

    /// Takes the value; what is left is `T`'s default.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// openwork::routine_local!(static SEEN: RefCell<Vec<u32>> = RefCell::new(vec![7]));
    /// assert_eq!(SEEN.take(), [7]);
    /// assert!(SEEN.with_borrow(Vec::is_empty));
    /// ```
    ///
    /// # Panics
    /// As [`with_borrow_mut`](Self::with_borrow_mut).
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Sets the value and returns the one before.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// openwork::routine_local!(static SEEN: RefCell<Vec<u32>> = RefCell::new(vec![7]));
    /// assert_eq!(SEEN.replace(vec![]), [7]);
    /// ```
    ///
    /// # Panics
    /// As [`with_borrow_mut`](Self::with_borrow_mut).
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for RoutineLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutineLocal").finish_non_exhaustive()
    }
}
