//! Holding the thread: a region in which no other routine runs on it.

use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

use crate::routine::{Header, RoutineRef};
use crate::scheduler::block::{self, Context};
use crate::scheduler::threads;

/// Runs `f` and keeps the thread for it: where `f` blocks, the thread waits for it, and no other routine
/// runs on it meanwhile.
///
/// For code that takes the calls on one thread to nest: whoever enters last leaves first. Routines of one
/// thread do not nest, and unsafe code that relies on it can be broken by them (`docs/hazards.md` has a
/// program). Everything that such code lends out belongs into one region:
///
/// ```
/// use openwork::{Runtime, hold_thread, spawn, time, yield_now};
/// use std::cell::RefCell;
/// use std::time::Duration;
///
/// // Whoever enters last must leave first.
/// thread_local!(static ENTERED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) });
///
/// fn nested(number: u32, inside: impl FnOnce()) {
///     ENTERED.with_borrow_mut(|entered| entered.push(number));
///     inside();
///     assert_eq!(ENTERED.with_borrow_mut(Vec::pop), Some(number));
/// }
///
/// let rt = Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let routines = [1, 2].map(|number| {
///         // Without `hold_thread` the first to enter would be the first to leave.
///         let nap = Duration::from_millis(u64::from(number));
///         spawn(move || hold_thread(|| nested(number, || time::sleep(nap))))
///     });
///     for routine in routines {
///         routine.join().unwrap();
///     }
/// });
/// ```
///
/// - Timeouts, cancels and all primitives work as ever. Other workers go on, and take over what is fresh.
/// - Routines that have started on this thread wait, however long it takes: as behind a blocking call.
///   `WorkerSnapshot::held_by` says who keeps them.
/// - What only this thread can run must not be waited for. A join of such a routine is
///   [`Refused`](crate::JoinError::Refused); a wait for it at a channel or a lock, without a deadline, does
///   not end until a cancel. A deterministic run finds that as a deadlock.
/// - A region in a region is part of it. Outside a routine `f` is simply called.
///
/// # Panics
/// With `f`'s panic. Within it a [`scope`](crate::scope()) and a
/// [`block_on`](crate::Runtime::block_on) of the same runtime panic: nothing ends their wait but routines
/// that this thread may be needed for.
pub fn hold_thread<F, R>(f: F) -> R
where
    F: FnOnce() -> R,
{
    let _held = match block::context() {
        Context::Routine(me) | Context::Panicking(me) if !block::is_held(me) => Some(Held::new(me)),
        _ => None,
    };
    f()
}

/// The thread is held. Not `Send`: the routine is bound while its frame has this.
struct Held(RoutineRef, PhantomData<*const ()>);

impl Held {
    fn new(me: RoutineRef) -> Held {
        hold(me, me.as_ptr(), me.header().id.load(Relaxed));
        Held(me, PhantomData)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        hold(self.0, null_mut(), 0);
    }
}

/// Takes the thread from a routine that will not let go of it any more. On its home's thread.
#[cfg(not(portable))]
pub(crate) fn take_from(gone: RoutineRef) {
    if block::is_held(gone) {
        hold(gone, null_mut(), 0);
    }
}

/// Lets `holder` have the thread that `me` runs on.
fn hold(me: RoutineRef, holder: *mut Header, id: u64) {
    let home = threads::home_here().expect("a routine runs on a thread of its runtime");
    // SAFETY: homes of threads live as long as their runtime, which `me` keeps alive.
    let home = unsafe { &*home };
    home.held_by.store(id, Relaxed);
    // SAFETY: 1: `me` runs on the calling thread, so the thread's home does.
    unsafe { home.held() }.set(holder);
    if let Ok(homes) = &me.shared().homes {
        // It keeps its own home mounted, too.
        homes
            .at(me.header().home.load(Relaxed))
            .hold(holder, home.index);
    }
}
