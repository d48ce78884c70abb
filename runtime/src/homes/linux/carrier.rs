//! Carriers: the threads that mount homes, and the mounting itself.
//!
//! A carrier has a thread-local block of its own, which is in force whenever it does not run a routine.
//! [`run_under`] is the only place that changes the block in force: nothing else of the crate may do so,
//! because a function that keeps the address of a thread-local over such a change uses the wrong block.
//!
//! Carriers are listed by the kernel's number, with the address of their own block, in a table that a signal
//! handler may read ([`own_base`]): which block is in force says nothing about which thread it is.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize};

use super::arch;

/// Carriers in a piece of the table.
const PIECE: usize = 64;

/// A place that nobody has.
const NOBODY: u32 = 0;
/// A place that is being filled in.
const CLAIMED: u32 = u32::MAX;

struct Place {
    /// The kernel's number, [`NOBODY`] or [`CLAIMED`].
    thread_id: AtomicU32,
    base: AtomicUsize,
}

/// Pieces are added and never freed.
struct Piece {
    places: [Place; PIECE],
    next: AtomicPtr<Piece>,
}

impl Piece {
    const fn new() -> Piece {
        Piece {
            places: [const {
                Place {
                    thread_id: AtomicU32::new(NOBODY),
                    base: AtomicUsize::new(0),
                }
            }; PIECE],
            next: AtomicPtr::new(null_mut()),
        }
    }
}

static TABLE: Piece = Piece::new();

/// The right of a thread to mount homes, until dropped. Cannot leave its thread.
#[derive(Debug)]
pub(crate) struct Carrier {
    place: &'static Place,
    thread_id: u32,
    /// Of the thread's own block.
    base: usize,
    _bound: std::marker::PhantomData<*const ()>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "thread {}", self.thread_id.load(Relaxed))
    }
}

impl Carrier {
    /// Lists the calling thread, under its own block.
    pub(crate) fn enter() -> Carrier {
        let base = arch::base();
        let thread_id = arch::thread_id();
        let place = claim();
        place.base.store(base, Relaxed);
        // Release pairs with the acquire load in `own_base`. (A handler on this very thread sees it
        // anyway, and no other asks for this number.)
        place.thread_id.store(thread_id, Release);
        Carrier {
            place,
            thread_id,
            base,
            _bound: std::marker::PhantomData,
        }
    }

    /// What the kernel calls the thread; unique in the process.
    #[inline]
    pub(crate) fn thread_id(&self) -> u32 {
        self.thread_id
    }

    /// Runs `f` under the block at `base` and comes back under the carrier's own.
    ///
    /// Ends the process if `f` unwinds: the carrier would go on under a foreign block.
    ///
    /// # Safety
    /// 1. Whole: `base` is a sleeping donor's, and the donor sleeps until this returns.
    /// 2. Exclusive: nobody else is under that block meanwhile.
    /// 3. Addresses: `f` itself (what is inlined into this function) has no thread-local in it; what it
    ///    calls may use any.
    #[inline(never)]
    pub(crate) unsafe fn run_under<R>(&self, base: usize, f: impl FnOnce() -> R) -> R {
        let guard = AbortOnUnwind;
        // SAFETY: 1, 2 and 4 by the caller's 1, 2 and 3; 3: homes are made only where it holds.
        unsafe { arch::set_base(base) };
        let result = f();
        // SAFETY: the block is this thread's own.
        unsafe { arch::set_base(self.base) };
        std::mem::forget(guard);
        result
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // Release pairs with the acquire exchange in `claim`.
        self.place.thread_id.store(NOBODY, Release);
    }
}

struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    #[cold]
    fn drop(&mut self) {
        // The block in force is the home's: its thread-locals are as good as any for this.
        eprintln!("openwork: a panic left a routine while its home was mounted; the process ends");
        std::process::abort();
    }
}

fn claim() -> &'static Place {
    let mut piece = &TABLE;
    loop {
        for place in &piece.places {
            // Acquire pairs with the release store in `drop`.
            let claimed = place
                .thread_id
                .compare_exchange(NOBODY, CLAIMED, Acquire, Relaxed);
            if claimed.is_ok() {
                return place;
            }
        }
        // Acquire pairs with the release half of the exchange below, here and in `own_base`.
        let mut next = piece.next.load(Acquire);
        if next.is_null() {
            let fresh = Box::into_raw(Box::new(Piece::new()));
            // Release: the piece is filled in; acquire: so is the one that was faster.
            next = match piece
                .next
                .compare_exchange(null_mut(), fresh, AcqRel, Acquire)
            {
                Ok(_) => fresh,
                Err(faster) => {
                    // SAFETY: made above, and seen by nobody else.
                    drop(unsafe { Box::from_raw(fresh) });
                    faster
                }
            };
        }
        // SAFETY: pieces are never freed.
        piece = unsafe { &*next };
    }
}

/// The own block of the running thread if it is a carrier. For signal handlers.
pub(super) fn own_base() -> Option<usize> {
    let me = arch::thread_id();
    let mut piece = Some(&TABLE);
    while let Some(here) = piece {
        for place in &here.places {
            // Acquire pairs with the release store of whoever claimed the place.
            if place.thread_id.load(Acquire) == me {
                return Some(place.base.load(Relaxed));
            }
        }
        // SAFETY: pieces are never freed.
        piece = unsafe { here.next.load(Acquire).as_ref() };
    }
    None
}
