//! One thread of a runtime, as far as the monitor and the signal handler know it.
//!
//! All fields are atomics: the thread itself, the handler that interrupts it, the monitor, and whoever
//! gives the thread a worker touch them at any time. The handler finds this block by the address of
//! its alternate stack, never by a thread-local.
//!
//! **Freezing.** The monitor writes the number of the turn that has lasted too long into `request` and
//! sends the signal. The handler exchanges the request for none, and
//!
//! - F1 ignores it if another turn runs by now (*stale*);
//! - F2 leaves it to the asked flag, which was raised before, if the thread is inside a section of the
//!   runtime: there it may hold a worker's data or one of our locks (*deferred*);
//! - F3 otherwise stores `FROZEN`, rings for the monitor and sleeps, in the handler, until somebody
//!   exchanges `FROZEN` for `RUNNING`, which one party can do.
//!
//! F2 needs no barrier: the handler runs on the thread that raises the section, and so in its order.
//! Nothing of the thread is cut off and moved: its registers lie in the kernel's frame on the alternate
//! stack, its locks stay its own, and it goes on where it was.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, fence};

use super::counters::Watch;
use crate::primitives::Futex;
use crate::{thread_state, time};

const RUNNING: u32 = 0;
const FROZEN: u32 = 1;

/// See the module's text. What its thread writes with each turn comes first.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Leash {
    /// Depth of runtime sections: while it is not 0 the thread is neither frozen nor robbed of its worker.
    /// Written by its thread alone, with compiler fences around.
    pub(crate) section: AtomicU32,
    /// The kernel's number of the thread, 0 before it has come and after it has gone.
    pub(crate) tid: AtomicI32,
    /// Number of the turn, changed whenever one begins; never 0. Written by its thread alone. Between two turns
    /// the thread is in a section, so that a request for the first cannot be obeyed there, and in the second
    /// the number is another one.
    pub(crate) turn: AtomicU64,
    /// Turn that is to give way at the next place where it can, 0 for none.
    asked: AtomicU64,
    /// Turn that gave way because its slice was over, 0 for none. Written by its thread alone.
    gave_way: AtomicU64,
    /// Turn that a signal on its way is about, 0 for none.
    request: AtomicU64,
    word: Futex,
    requested_at: AtomicU64,
    frozen_at: AtomicU64,
    thawed_at: AtomicU64,
    /// Where the frozen code stands.
    frames: FrozenFrames,
    /// Turn that was let go without a worker, because nothing else got on; 0 for none.
    released: AtomicU64,
    /// Since when it sleeps in the kernel, and in which turn; as the monitor has seen it.
    asleep_since: AtomicU64,
    asleep_turn: AtomicU64,
    watch: Arc<Watch>,
}

/// Most frames that are kept of frozen code, nearest first.
pub(crate) const FROZEN_FRAMES: usize = 64;

/// Written by the handler before it says that the thread is frozen.
#[derive(Debug)]
struct FrozenFrames {
    depth: AtomicUsize,
    addresses: [AtomicUsize; FROZEN_FRAMES],
}

impl FrozenFrames {
    fn new() -> FrozenFrames {
        FrozenFrames {
            depth: AtomicUsize::new(0),
            addresses: [const { AtomicUsize::new(0) }; FROZEN_FRAMES],
        }
    }

    fn write(&self, walk: impl FnOnce(&mut dyn FnMut(usize) -> bool)) {
        let mut depth = 0;
        walk(&mut |address| {
            self.addresses[depth].store(address, Relaxed);
            depth += 1;
            depth < FROZEN_FRAMES
        });
        self.depth.store(depth, Relaxed);
    }

    fn read(&self, frames: &mut [usize; FROZEN_FRAMES]) -> usize {
        for (frame, address) in frames.iter_mut().zip(&self.addresses) {
            *frame = address.load(Relaxed);
        }
        self.depth.load(Relaxed).min(FROZEN_FRAMES)
    }
}

/// What became of a request when its signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obeyed {
    /// There was none: the signal is somebody else's, or late.
    None,
    Stale,
    Deferred,
    /// The thread was frozen, and goes on now.
    Frozen,
}

impl Leash {
    pub(crate) fn new(watch: Arc<Watch>) -> Leash {
        Leash {
            section: AtomicU32::new(0),
            turn: AtomicU64::new(1),
            tid: AtomicI32::new(0),
            asked: AtomicU64::new(0),
            gave_way: AtomicU64::new(0),
            request: AtomicU64::new(0),
            word: Futex::new(RUNNING),
            requested_at: AtomicU64::new(0),
            frozen_at: AtomicU64::new(0),
            frames: FrozenFrames::new(),
            thawed_at: AtomicU64::new(0),
            released: AtomicU64::new(0),
            asleep_since: AtomicU64::new(0),
            asleep_turn: AtomicU64::new(0),
            watch,
        }
    }

    /// Of a thread that nobody watches.
    #[cfg(test)]
    pub(crate) fn apart() -> Leash {
        Leash::new(Arc::new(Watch::new()))
    }

    /// The calling thread is the one that this is about, until [`leave`](Self::leave).
    pub(crate) fn enter(&self) {
        self.tid.store(thread_state::system_number(), Release);
    }

    /// The thread is about to end: nobody may send it a signal any more.
    pub(crate) fn leave(&self) {
        self.request.store(0, Relaxed);
        self.tid.store(0, Release);
    }

    /// Whether the thread's turn was asked to give way. For the thread itself.
    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Relaxed) == self.turn.load(Relaxed)
    }

    /// The turn gives way because it was asked.
    pub(crate) fn honour(&self) {
        self.asked.store(0, Relaxed);
        self.note_way();
        self.watch.counters.honoured.fetch_add(1, Relaxed);
    }

    /// The turn gives way because its slice is over, be it asked to or not.
    pub(crate) fn note_way(&self) {
        self.gave_way.store(self.turn.load(Relaxed), Relaxed);
    }

    /// Whether the turn that is over gave way because its slice was.
    pub(crate) fn gave_way(&self) -> bool {
        self.gave_way.load(Relaxed) == self.turn.load(Relaxed)
    }

    /// Asks the turn to give way where it can.
    pub(super) fn ask(&self, turn: u64) {
        self.asked.store(turn, Relaxed);
    }

    /// Whether a signal is on its way.
    pub(super) fn is_requested(&self) -> bool {
        self.request.load(Relaxed) != 0
    }

    /// Sends the signal for this turn. False if there is no such thread.
    #[cfg(not(portable))]
    pub(super) fn send_signal(&self, turn: u64, now: u64) -> bool {
        let tid = self.tid.load(Acquire);
        if tid == 0 {
            return false;
        }
        self.requested_at.store(now, Relaxed);
        self.request.store(turn, Relaxed);
        // The system call orders the stores before the handler's loads.
        // SAFETY: a signal for which a handler is installed, to a thread of this process or, if that
        // has ended, to nobody: the kernel compares both numbers.
        let sent =
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGURG) } == 0;
        if !sent {
            self.request.store(0, Relaxed);
        }
        sent
    }

    /// What the handler does, on the thread itself: async-signal-safe. See the module's text. `walk` tells the
    /// addresses of the interrupted code and its callers, until it is told that it is enough.
    pub(super) fn obey(&self, walk: impl FnOnce(&mut dyn FnMut(usize) -> bool)) -> Obeyed {
        let request = self.request.swap(0, Relaxed);
        let counters = &self.watch.counters;
        if request == 0 {
            return Obeyed::None;
        }
        // F1.
        if self.turn.load(Relaxed) != request {
            counters.stale.fetch_add(1, Relaxed);
            return Obeyed::Stale;
        }
        // F2.
        if self.section.load(Relaxed) != 0 {
            counters.deferred.fetch_add(1, Relaxed);
            return Obeyed::Deferred;
        }
        // F3.
        let now = time::real_now_ns();
        self.frozen_at.store(now, Relaxed);
        let took = now.saturating_sub(self.requested_at.load(Relaxed));
        self.watch.signal_to_frozen.note(took);
        counters.forced.fetch_add(1, Relaxed);
        self.frames.write(walk);
        // Release pairs with the acquire in `is_frozen` and `thaw`: what the routine did comes before.
        self.word.0.store(FROZEN, Release);
        self.watch.ring();
        // Acquire pairs with the release in `thaw`: what its worker is now comes with it.
        while self.word.0.load(Acquire) == FROZEN {
            self.word.wait(FROZEN, None);
        }
        let waited = time::real_now_ns().saturating_sub(self.thawed_at.load(Relaxed));
        self.watch.frozen_to_running.note(waited);
        Obeyed::Frozen
    }

    /// Whether the thread sleeps in its handler.
    pub(crate) fn is_frozen(&self) -> bool {
        // Acquire pairs with the release store in `obey`.
        self.word.0.load(Acquire) == FROZEN
    }

    /// Since when it is frozen, if it is.
    pub(crate) fn frozen_since(&self) -> Option<u64> {
        self.is_frozen().then(|| self.frozen_at.load(Relaxed))
    }

    /// Where the code of a thread stands that is frozen, into `frames`: the interrupted address and its callers',
    /// nearest first. Returns how many that are. Only in [`while_frozen`](Self::while_frozen).
    pub(crate) fn frozen_frames(&self, frames: &mut [usize; FROZEN_FRAMES]) -> usize {
        self.frames.read(frames)
    }

    /// Calls `look` if the thread is frozen. `None` if it is not, or went on meanwhile.
    pub(crate) fn while_frozen<R>(&self, look: impl FnOnce() -> R) -> Option<R> {
        let since = self.frozen_since()?;
        let seen = look();
        // What was seen comes before the second look. Who freezes again stores another time first.
        fence(Acquire);
        let same = self.frozen_at.load(Relaxed) == since && self.word.0.load(Relaxed) == FROZEN;
        same.then_some(seen)
    }

    /// Notes since when the thread sleeps in the kernel in this turn. By the monitor.
    pub(super) fn set_asleep(&self, turn: u64, since: Option<u64>) {
        let since = since.unwrap_or(0);
        if self.asleep_since.load(Relaxed) != since {
            self.asleep_turn.store(turn, Relaxed);
            self.asleep_since.store(since, Relaxed);
        }
    }

    /// Since when the thread sleeps in the kernel, as far as the monitor has seen it.
    pub(crate) fn asleep_since(&self) -> Option<u64> {
        let since = self.asleep_since.load(Relaxed);
        (since != 0 && self.asleep_turn.load(Relaxed) == self.turn.load(Relaxed)).then_some(since)
    }

    /// When it was let go on last, 0 if it never was frozen.
    pub(super) fn thawed_at(&self) -> u64 {
        self.thawed_at.load(Relaxed)
    }

    /// Lets a frozen thread go on without a worker, because others may wait for what it holds. By the monitor.
    pub(crate) fn release(&self) -> bool {
        // Before the thread goes on: `thaw` makes it visible.
        self.released.store(self.turn.load(Relaxed), Relaxed);
        self.thaw()
    }

    /// Whether the thread's turn goes on without a worker for that reason. For the thread itself.
    pub(crate) fn was_released(&self) -> bool {
        self.released.load(Relaxed) == self.turn.load(Relaxed)
    }

    /// Lets a frozen thread go on: by whoever has given it a worker, or releases it to run without one.
    /// False if it is not frozen; of several that try at once, one succeeds.
    pub(crate) fn thaw(&self) -> bool {
        if !self.is_frozen() {
            return false;
        }
        self.thawed_at.store(time::real_now_ns(), Relaxed);
        // AcqRel pairs with `obey` both ways.
        let was = self
            .word
            .0
            .swap(RUNNING, std::sync::atomic::Ordering::AcqRel);
        if was == FROZEN {
            self.word.wake();
        }
        was == FROZEN
    }
}

#[cfg(all(test, not(portable)))]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_another_turn_is_stale_and_one_in_a_section_is_deferred() {
        let leash = Leash::apart();
        assert_eq!(leash.obey(|_| {}), Obeyed::None);
        leash.request.store(7, Relaxed);
        assert_eq!(leash.obey(|_| {}), Obeyed::Stale);
        assert_eq!(leash.obey(|_| {}), Obeyed::None, "a request is obeyed once");
        leash.turn.store(7, Relaxed);
        leash.section.store(1, Relaxed);
        leash.request.store(7, Relaxed);
        assert_eq!(leash.obey(|_| {}), Obeyed::Deferred);
        let counters = &leash.watch.counters;
        assert_eq!(counters.stale.load(Relaxed), 1);
        assert_eq!(counters.deferred.load(Relaxed), 1);
        assert_eq!(counters.forced.load(Relaxed), 0);
        assert!(!leash.thaw(), "nobody is frozen");
    }

    #[test]
    fn an_ask_is_for_one_turn() {
        let leash = Leash::apart();
        assert!(!leash.is_asked());
        leash.ask(leash.turn.load(Relaxed));
        assert!(leash.is_asked());
        leash.turn.store(3, Relaxed);
        assert!(!leash.is_asked());
    }

    #[test]
    fn a_thread_that_has_left_gets_no_signal() {
        let leash = Leash::apart();
        assert!(!leash.send_signal(1, 0));
        assert!(!leash.is_requested());
    }
}
