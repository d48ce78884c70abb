//! The values of one routine: a place for each key that was ever used, found by its number.
//!
//! Values are boxed: a reference to one stays right while others are made. Nothing foreign runs inside
//! these functions, so the table may be borrowed around each of them.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use crate::routine::body;

/// What names a value in every table.
pub(crate) struct Key(AtomicU32);

/// See the module's text.
pub(crate) struct Table {
    /// By key.
    places: Vec<Place>,
    /// Keys of the values, in the order in which they were made.
    made: Vec<u32>,
}

enum Place {
    Unmade,
    Made(Value),
    Dropped,
}

/// An owned value without its type.
pub(crate) struct Value {
    at: NonNull<()>,
    drop: unsafe fn(NonNull<()>),
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Unmade,
    Dropped,
}

impl Key {
    pub(crate) const fn new() -> Key {
        Key(AtomicU32::new(0))
    }

    /// Its number, given when it is first asked for: numbers are small, so tables are.
    fn number(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        // Relaxed: the number itself is all that is shared.
        let number = self.0.load(Relaxed);
        if number != 0 {
            return number - 1;
        }
        let fresh = NEXT.fetch_add(1, Relaxed);
        match self.0.compare_exchange(0, fresh, Relaxed, Relaxed) {
            Ok(_) => fresh - 1,
            Err(faster) => faster - 1,
        }
    }
}

impl Table {
    pub(crate) const fn new() -> Table {
        Table {
            places: Vec::new(),
            made: Vec::new(),
        }
    }

    /// Whether no value was made.
    pub(crate) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// The address of the key's value.
    pub(crate) fn find(&self, key: &Key) -> Result<NonNull<()>, Missing> {
        match self.places.get(key.number() as usize) {
            Some(Place::Made(value)) => Ok(value.at),
            Some(Place::Dropped) => Err(Missing::Dropped),
            Some(Place::Unmade) | None => Err(Missing::Unmade),
        }
    }

    /// Keeps the value, unless there is one by now, or was. Returns where the key's value lies, and what
    /// was not kept.
    pub(crate) fn insert<T: Send>(
        &mut self,
        key: &Key,
        value: Box<T>,
    ) -> (NonNull<()>, Option<Box<T>>) {
        let number = key.number();
        let at = number as usize;
        if self.places.len() <= at {
            self.places.resize_with(at + 1, || Place::Unmade);
        }
        if let Place::Made(first) = &self.places[at] {
            return (first.at, Some(value));
        }
        let value = Value::new(value);
        let address = value.at;
        self.places[at] = Place::Made(value);
        self.made.push(number);
        (address, None)
    }

    fn take_last(&mut self) -> Option<Value> {
        let at = self.made.pop()? as usize;
        match std::mem::replace(&mut self.places[at], Place::Dropped) {
            Place::Made(value) => Some(value),
            Place::Unmade | Place::Dropped => unreachable!("it was made"),
        }
    }
}

/// Drops the values, the last made first, also those that their destructors make. Returns the first
/// panic.
pub(crate) fn drop_values(table: &RefCell<Table>) -> Result<(), Box<dyn Any + Send>> {
    let mut result = Ok(());
    loop {
        let value = table.borrow_mut().take_last();
        let Some(value) = value else { break };
        // Foreign code, under no borrow.
        match (catch_unwind(AssertUnwindSafe(|| drop(value))), &result) {
            (Err(second), Err(_)) => body::swallow(move || drop(second)),
            (Err(first), Ok(())) => result = Err(first),
            (Ok(()), _) => {}
        }
    }
    *table.borrow_mut() = Table::new();
    result
}

impl Value {
    fn new<T: Send>(value: Box<T>) -> Value {
        unsafe fn drop_box<T>(at: NonNull<()>) {
            // SAFETY: `at` is the box's address, which `Value::drop` gives up once.
            drop(unsafe { Box::from_raw(at.cast::<T>().as_ptr()) });
        }
        Value {
            at: NonNull::from(Box::leak(value)).cast(),
            drop: drop_box::<T>,
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the value is ours, and this is its end.
        unsafe { (self.drop)(self.at) };
    }
}

// SAFETY: a value is `Send` by the bound of `Value::new`; the rest is addresses.
unsafe impl Send for Value {}

impl Drop for Table {
    /// For threads: a routine's values are dropped by its end.
    fn drop(&mut self) {
        while let Some(value) = self.take_last() {
            drop(value);
        }
    }
}
