//! Names of things: never a bare integer.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($repr);

        impl $name {
            /// Wraps a number read back from text.
            ///
            /// ```
            #[doc = concat!("use openwork::snapshot::", stringify!($name), ";")]
            #[doc = concat!("let id = \"7\".parse().map(", stringify!($name), "::new);")]
            #[doc = concat!("assert_eq!(id, Ok(", stringify!($name), "::new(7)));")]
            /// ```
            pub const fn new(raw: $repr) -> Self {
                Self(raw)
            }

            /// The bare number.
            ///
            /// ```
            #[doc = concat!("assert_eq!(openwork::snapshot::", stringify!($name), "::new(7).get(), 7);")]
            /// ```
            pub const fn get(self) -> $repr {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

id! {
    /// A routine, unique within its runtime and never given out twice. The first one is 1.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let (one, other) = (rt.spawn(|| ()), rt.spawn(|| ()));
    /// assert_ne!(one.id(), other.id());
    /// ```
    RoutineId(u64)
}
id! {
    /// A worker of a runtime, counted from 0.
    ///
    /// ```
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let worker = rt.block_on(|| openwork::current().unwrap().worker);
    /// assert_eq!(worker, openwork::WorkerId::new(0));
    /// ```
    WorkerId(u32)
}
id! {
    /// A [`Workload`](crate::Workload), unique in the process. The first one is 1.
    ///
    /// ```
    /// use openwork::Workload;
    /// assert_ne!(Workload::new("one").id(), Workload::new("other").id());
    /// ```
    WorkloadId(u64)
}

id! {
    /// Something that routines wait at: a lock, a channel, a barrier. Two routines that wait at the same
    /// thing name the same number, which is its address; it is given to others once the thing is gone.
    ///
    /// ```
    /// use openwork::sync::Mutex;
    /// let (one, other) = (Mutex::new(()), Mutex::new(()));
    /// assert_ne!(one.id(), other.id());
    /// ```
    ObjectId(u64)
}

/// What is counted for as long as a program runs does not depend on the machine, and an address fits.
const _: () = {
    assert!(size_of::<RoutineId>() == 8 && size_of::<WorkloadId>() == 8);
    assert!(size_of::<ObjectId>() == 8 && size_of::<usize>() <= 8);
    assert!(size_of::<WorkerId>() == 4);
};

impl ObjectId {
    pub(crate) fn of<T: ?Sized>(object: *const T) -> ObjectId {
        ObjectId(object.addr() as u64)
    }
}

impl WorkerId {
    /// As an index into per-worker lists.
    ///
    /// ```
    /// assert_eq!(openwork::WorkerId::new(3).index(), 3);
    /// ```
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl WorkloadId {
    pub(crate) fn next() -> WorkloadId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        WorkloadId(NEXT.fetch_add(1, Relaxed))
    }
}
