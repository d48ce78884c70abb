//! Who holds a lock, or waits for one, in one word: cheap enough to be written by every acquisition.
//!
//! ```text
//!   63        48 47                           0
//!  ┌────────────┬──────────────────────────────┐
//!  │ runtime    │ number of the routine        │   a routine
//!  │ 0          │ kernel's number of the thread│   a plain thread
//!  │ all ones                                  │   a task, which may change threads while it holds
//!  │ 0                                         │   nobody
//!  └────────────┴──────────────────────────────┘
//! ```
//!
//! Routines are numbered by runtime, and one lock may be shared by several, so runtimes are numbered
//! too. The numbers of runtimes wrap after 65,534; two that are alive at once and 65,534 apart are
//! taken for one.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::id::RoutineId;
use crate::routine::RoutineRef;
use crate::scheduler::Shared;
use crate::scheduler::block;
use crate::thread_state;

const RUNTIME_SHIFT: u32 = 48;
const NUMBER: u64 = (1 << RUNTIME_SHIFT) - 1;
const RUNTIMES: u64 = 0xFFFE;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder(pub(crate) u64);

/// Who holds a lock or waits for one.
///
/// ```
/// use openwork::{Runtime, snapshot::Owner, sync::Mutex};
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let lock = Mutex::new(());
///     let _guard = lock.lock().unwrap();
///     let me = openwork::current().unwrap().routine;
///     assert_eq!(lock.owner(), Some(Owner::Routine(me)));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// A routine, by its number in its runtime.
    Routine(RoutineId),
    /// A thread that is no worker, by the kernel's number.
    Thread(i32),
    /// Async code: a guard that may change threads.
    Task,
}

/// A number for a new runtime, in its place of a [`Holder`].
pub(crate) fn number_runtime() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    (1 + NEXT.fetch_add(1, Relaxed) % RUNTIMES) << RUNTIME_SHIFT
}

impl Holder {
    pub(crate) const NOBODY: Holder = Holder(0);
    pub(crate) const TASK: Holder = Holder(u64::MAX);

    /// The routine or thread that calls.
    #[inline]
    pub(crate) fn me() -> Holder {
        Holder(thread_state::with(|thread| {
            let routine = thread.slot().and_then(|slot| Some((slot, slot.running()?)));
            let Some((slot, routine)) = routine else {
                return foreign(thread);
            };
            slot.runtime | (routine.header().id.load(Relaxed) & NUMBER)
        }))
    }

    /// For people.
    pub(crate) fn owner(self) -> Option<Owner> {
        Some(match self {
            Holder::NOBODY => return None,
            Holder::TASK => Owner::Task,
            Holder(word) if word >> RUNTIME_SHIFT == 0 => Owner::Thread(word as i32),
            Holder(word) => Owner::Routine(RoutineId::new(word & NUMBER)),
        })
    }

    /// Whether this is a routine that only the thread of `me` can run. Walks over all routines.
    pub(crate) fn needs_thread_of(self, me: RoutineRef) -> bool {
        let shared: &Shared = me.shared();
        if self == Holder::TASK {
            return shared.roster.active() == 1;
        }
        if self.0 & !NUMBER != shared.number {
            return false;
        }
        let mut needs = false;
        shared.slabs.for_each(|header| {
            if header.id.load(Relaxed) & NUMBER == self.0 & NUMBER {
                // SAFETY: a block of slabs that `me` keeps alive.
                let found = unsafe { RoutineRef::from_ptr(std::ptr::from_ref(header).cast_mut()) };
                needs |= block::needs_thread_of(found, me);
            }
        });
        needs
    }
}

#[cold]
fn foreign(thread: &thread_state::ThreadState) -> u64 {
    let mut tid = thread.tid.load(Relaxed);
    if tid == 0 {
        tid = thread_state::number();
        thread.tid.store(tid, Relaxed);
    }
    u64::from(tid)
}
