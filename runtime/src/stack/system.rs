//! What portable builds cannot do with stacks that are the system's: name who overflowed one, and ask what
//! memory it holds.

/// An overflow is the standard library's to report: it names the thread and aborts.
pub(crate) mod overflow {
    use std::fs::File;

    /// Would write the report of a stack overflow to `file`, but in this build it is the system that reports,
    /// on standard error alone. The file stays open and empty.
    pub fn report_to(file: File) {
        std::mem::forget(file);
    }
}

/// Signals run where the standard library puts them.
pub(crate) mod altstack {
    use std::io;

    /// The alternate stack that the standard library gives each of its threads.
    #[derive(Debug)]
    pub(crate) struct AltStack;

    impl AltStack {
        /// As [`plain`](Self::plain).
        ///
        /// # Safety
        /// None.
        pub(crate) unsafe fn take(
            _: *const crate::monitor::leash::Leash,
        ) -> std::io::Result<AltStack> {
            AltStack::plain()
        }

        /// Changes nothing.
        pub(crate) fn plain() -> io::Result<AltStack> {
            Ok(AltStack)
        }
    }
}

/// Not measured, and nothing to give back.
pub(crate) mod residency {
    /// `None`: not known.
    pub(crate) fn resident_bytes(_low: usize, _high: usize) -> Option<usize> {
        None
    }

    /// Does nothing.
    ///
    /// # Safety
    /// None.
    pub(crate) unsafe fn trim(_low: usize, _sp: usize) -> usize {
        0
    }
}
