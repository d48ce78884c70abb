//! A thread's grip on its worker: one word that the thread and the one who watches both may change.
//!
//! The watcher takes a worker from a thread that sleeps in the kernel, and must not take it from one that
//! is inside a section. The two do what Dekker's pattern asks for, with its dear half on the watcher's
//! side:
//!
//! - *The thread* raises its section, and then looks at the word. If it finds the mark, it wipes that off:
//!   it is awake, and keeps its worker.
//! - *The watcher* marks the word, has all threads pass a barrier, and then looks at the section. If that
//!   is 0, it exchanges the marked word for none, which fails if the mark was wiped off.
//!
//! So either the watcher sees the section, or the thread sees the mark or the empty word. Without the
//! mark's being wiped off the thread would have to wait for the watcher, who may lose the processor at
//! any time.

use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::primitives::AtomicPtr;

const MARK: usize = 1;

/// See the module's text. Points to what is aligned to two bytes at least.
pub(crate) struct Grip<T>(AtomicPtr<T>);

impl<T> Grip<T> {
    pub(super) fn new() -> Grip<T> {
        Grip(AtomicPtr::new(null_mut()))
    }

    /// What the thread holds, for bystanders: it may have been taken by now.
    #[inline]
    pub(crate) fn peek(&self) -> *mut T {
        unmarked(self.0.load(Relaxed))
    }

    /// What the thread holds, null for none. By the thread itself, in a section.
    #[inline]
    pub(super) fn own(&self) -> *mut T {
        // Relaxed: what was given came with the token that woke the thread.
        let held = self.0.load(Relaxed);
        if is_marked(held) { self.keep() } else { held }
    }

    #[cold]
    fn keep(&self) -> *mut T {
        let marked = self.0.load(Relaxed);
        let wiped = unmarked(marked);
        // Relaxed: the worker's data are ours all the time, or not at all.
        match self.0.compare_exchange(marked, wiped, Relaxed, Relaxed) {
            Ok(_) => wiped,
            // The watcher was faster, with putting the mark off or with taking.
            Err(now) => now,
        }
    }

    /// Stores what the thread holds from now on. By whoever owned it, when the thread holds none.
    pub(super) fn give(&self, held: *mut T) {
        // Release pairs with the acquire in `take`: the watcher that takes it next sees its state.
        self.0.store(held, Release);
    }

    /// The thread lets go. By the thread itself, in a section, or by the watcher of one that is stopped.
    pub(super) fn let_go(&self) {
        self.0.store(null_mut(), Relaxed);
    }

    /// The watcher's first step. What the thread holds, if it holds something.
    pub(super) fn mark(&self) -> Option<*mut T> {
        let held = self.0.load(Relaxed);
        if held.is_null() || is_marked(held) {
            return None;
        }
        let marked = held.map_addr(|addr| addr | MARK);
        self.0
            .compare_exchange(held, marked, Relaxed, Relaxed)
            .is_ok()
            .then_some(held)
    }

    /// The watcher's last step, if it may not take what it has marked.
    pub(super) fn wipe(&self, held: *mut T) {
        let marked = held.map_addr(|addr| addr | MARK);
        // Fails if the thread has wiped the mark off itself.
        let _ = self.0.compare_exchange(marked, held, Relaxed, Relaxed);
    }

    /// The watcher's last step, if it may: false if the thread is awake and keeps what it holds.
    pub(super) fn take(&self, held: *mut T) -> bool {
        let marked = held.map_addr(|addr| addr | MARK);
        // Acquire pairs with the release in `give`; what the thread did to the worker since was visible at the barrier.
        self.0
            .compare_exchange(marked, null_mut(), Acquire, Relaxed)
            .is_ok()
    }
}

fn is_marked<T>(held: *mut T) -> bool {
    held.addr() & MARK != 0
}

fn unmarked<T>(held: *mut T) -> *mut T {
    held.map_addr(|addr| addr & !MARK)
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::primitives::{AtomicU32, Place, fence};
    use loom::sync::Arc;
    use loom::thread;
    use std::sync::atomic::Ordering::SeqCst;

    struct World {
        grip: Grip<u64>,
        section: AtomicU32,
        /// The worker's data.
        data: Place<u32>,
    }

    // SAFETY: the place is touched by whoever has the worker, which is what the model checks.
    unsafe impl Sync for World {}
    // SAFETY: as for `Sync`.
    unsafe impl Send for World {}

    /// Of a thread that enters a section and a watcher that takes, one has the worker at a time. The
    /// barrier of the kernel's is a fence on both sides here. Breaks if either fence goes, if the
    /// watcher does not look at the section or takes without the mark, or if one half of the pair release and
    /// acquire at the section is relaxed.
    #[test]
    fn a_worker_has_one_owner() {
        loom::model(|| {
            let worker = Box::into_raw(Box::new(0u64));
            let world = Arc::new(World {
                grip: Grip::new(),
                section: AtomicU32::new(0),
                data: Place::new(),
            });
            // SAFETY: nobody else is there yet.
            unsafe { world.data.put(0) };
            world.grip.give(worker);
            let thread = {
                let world = world.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        world.section.store(1, Relaxed);
                        fence(SeqCst);
                        if !world.grip.own().is_null() {
                            // SAFETY: the thread holds the worker.
                            unsafe { world.data.put(world.data.take() + 1) };
                        }
                        world.section.store(0, Release);
                    }
                })
            };
            let mut taken = false;
            if let Some(held) = world.grip.mark() {
                fence(SeqCst);
                if world.section.load(Acquire) == 0 {
                    taken = world.grip.take(held);
                } else {
                    world.grip.wipe(held);
                }
            }
            if taken {
                // SAFETY: the watcher has the worker.
                unsafe { world.data.put(world.data.take() + 10) };
            }
            thread.join().unwrap();
            assert_eq!(world.grip.peek().is_null(), taken);
            // SAFETY: all others have gone.
            drop(unsafe { Box::from_raw(worker) });
        });
    }
}
