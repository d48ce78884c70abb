//! What all guards have in common: they show what they guard.

/// `Deref`, `Debug` and `Display` of guards; `DerefMut` too of those that say `mut`.
macro_rules! guard_traits {
    ($guard:ident, $value:expr) => {
        impl<T: ?Sized> std::ops::Deref for $guard<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                let value: fn(&Self) -> *mut T = $value;
                // SAFETY: the guard holds the lock, so nobody writes, and lends the value by its own
                // borrow.
                unsafe { &*value(self) }
            }
        }

        impl<T: ?Sized + std::fmt::Debug> std::fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<T: ?Sized + std::fmt::Display> std::fmt::Display for $guard<'_, T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (**self).fmt(f)
            }
        }
    };
    (mut $guard:ident, $value:expr) => {
        guard_traits!($guard, $value);

        impl<T: ?Sized> std::ops::DerefMut for $guard<'_, T> {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                let value: fn(&Self) -> *mut T = $value;
                // SAFETY: the guard holds the lock for itself alone, and lends the value by its own
                // borrow.
                unsafe { &mut *value(self) }
            }
        }
    };
}
pub(crate) use guard_traits;
