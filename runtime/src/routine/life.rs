//! The life of a routine as a state machine, apart from stacks and queues.
//!
//! ```text
//!            start_turn            end
//!   New ───────────────► Running ───────► Ended
//!                         ▲  │ │
//!              start_turn │  │ └── block(reason) ──► Blocked(reason) ◄──┐ release
//!                         │  ▼ requeue                │  │  ▲           │
//!                        Runnable ◄───── wake ────────┘  └──┼─► Inspected
//!                                                   inspect ┘
//! ```
//!
//! A state says who owns the routine's stack and link:
//!
//! - **New, Runnable**: the queue that holds it; **Running**: the thread that runs it. In these
//!   three exactly one party may change the word, so plain stores do.
//! - **Blocked**: nobody. Whoever wins the exchange to Runnable owns it and must queue it. The
//!   exchange compares the turn number too, so a late wake of an earlier wait finds nothing.
//! - **Inspected**: a walker reads its stack. A wake that comes meanwhile is remembered in the
//!   flags, and the walker carries it out when it lets go.
//!
//! Wakes and cancels may come while the routine is still Running. They raise a flag first and look
//! at the word after; the blocking side stores the word first and looks at the flags after. Both
//! sides use sequentially consistent operations, so at least one sees the other (Dekker's pattern).

use crate::primitives::{AtomicU32, AtomicU64, between_dekker_halves};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::snapshot::{RoutineState, WaitReason};

const NEW: u64 = 0;
const RUNNABLE: u64 = 1;
const RUNNING: u64 = 2;
const BLOCKED: u64 = 3;
const INSPECTED: u64 = 4;
const ENDED: u64 = 5;

const PHASE: u64 = 0b111;
const REASON_SHIFT: u32 = 3;
const REASON: u64 = 0b1111 << REASON_SHIFT;
const _: () = assert!(WaitReason::COUNT <= (REASON >> REASON_SHIFT) as usize + 1);
/// All bits above: who has a turn every ten nanoseconds counts for twenty years.
const TURN_SHIFT: u32 = 8;
const _: () = assert!((PHASE | REASON) >> TURN_SHIFT == 0);

/// Woken while not blocked, or while inspected.
const NOTIFIED: u32 = 1;
/// Asked to end: calls that can fail return `Cancelled`, calls that cannot unwind.
const CANCEL: u32 = 1 << 1;
/// Told to end: every blocking call unwinds.
const ABORT: u32 = 1 << 2;
/// A call has already returned `Cancelled` to the routine.
const CANCEL_SEEN: u32 = 1 << 3;
/// The body is gone, and what runs now is not to be disturbed.
const SHIELDED: u32 = 1 << 4;
/// The stack unwinds for the cancel, and not for a panic.
const UNWINDING: u32 = 1 << 5;

/// Life word and flags of one routine; see the module's text.
#[derive(Debug)]
pub(crate) struct Life {
    word: AtomicU64,
    flags: AtomicU32,
    /// References to the block. Nothing here looks at them: they lie where alignment would leave a gap.
    pub(super) refs: std::sync::atomic::AtomicU32,
}

/// Names one wait of one routine: the turn number at which it blocked, as far as that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u32);

/// What [`Life::wake`] did.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The routine was blocked for this reason and is runnable now: the caller must queue it.
    Won(WaitReason),
    /// Somebody else will see the notice, or nobody needs to.
    Left,
}

/// How far a cancel has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CancelLevel {
    /// None was asked for.
    None,
    /// Calls that can fail should say so.
    Asked,
    /// Every call should unwind.
    Told,
}

impl CancelLevel {
    /// The level that was stored as a number.
    pub(crate) fn from_u8(level: u8) -> CancelLevel {
        match level {
            0 => CancelLevel::None,
            1 => CancelLevel::Asked,
            _ => CancelLevel::Told,
        }
    }
}

fn phase(word: u64) -> u64 {
    word & PHASE
}

fn reason(word: u64) -> WaitReason {
    WaitReason::from_u8(((word & REASON) >> REASON_SHIFT) as u8)
}

fn turn(word: u64) -> u64 {
    word >> TURN_SHIFT
}

fn ticket(word: u64) -> Ticket {
    Ticket(turn(word) as u32)
}

/// Apart, so that who is not asked pays for one test.
#[cold]
fn asked_level(flags: u32) -> CancelLevel {
    if flags & SHIELDED != 0 {
        CancelLevel::None
    } else if flags & ABORT != 0 {
        CancelLevel::Told
    } else {
        CancelLevel::Asked
    }
}

impl Life {
    /// New, with no flags. Only for a block that nobody else can see yet.
    pub(crate) fn reset(&self) {
        self.word.store(NEW, Relaxed);
        self.flags.store(0, Relaxed);
    }

    /// New or Runnable to Running, by the worker that took it from its queue.
    ///
    /// Returns whether this is the first turn.
    pub(crate) fn start_turn(&self) -> bool {
        let word = self.word.load(Relaxed);
        debug_assert!(phase(word) == NEW || phase(word) == RUNNABLE);
        let next = ((turn(word) + 1) << TURN_SHIFT) | RUNNING;
        self.word.store(next, Relaxed);
        phase(word) == NEW
    }

    /// Running to Runnable, by the worker that ran it and is about to queue it.
    pub(crate) fn requeue(&self) {
        let word = self.word.load(Relaxed);
        debug_assert_eq!(phase(word), RUNNING);
        self.word.store((word & !PHASE) | RUNNABLE, Relaxed);
    }

    /// Running to Blocked, by the worker after the switch away from the routine.
    ///
    /// From here on whoever holds the ticket may make it runnable, so everything that the next
    /// turn needs was written before.
    pub(crate) fn block(&self, why: WaitReason) -> Ticket {
        let word = self.word.load(Relaxed);
        debug_assert_eq!(phase(word), RUNNING);
        let next = (word & !(PHASE | REASON)) | BLOCKED | ((why as u64) << REASON_SHIFT);
        // SeqCst: store of Dekker's pattern with `notify` and `ask_cancel`, which raise a flag and
        // then read the word; our caller reads the flags next. Its release half publishes the
        // suspended routine to the exchange in `wake`.
        self.word.swap(next, SeqCst);
        between_dekker_halves();
        ticket(word)
    }

    /// Blocked to Runnable, if the routine still waits in the wait that `ticket` names.
    pub(crate) fn wake(&self, ticket: Ticket) -> Wake {
        let mut word = self.word.load(Acquire);
        loop {
            if self::ticket(word) != ticket {
                return Wake::Left;
            }
            match phase(word) {
                BLOCKED => match self.exchange_to_runnable(word) {
                    Ok(why) => return Wake::Won(why),
                    Err(now) => word = now,
                },
                // The walker looks at the flags after it has put the word back, so it or we see
                // the other: SeqCst on both sides, as in `block`.
                INSPECTED => {
                    self.flags.fetch_or(NOTIFIED, SeqCst);
                    between_dekker_halves();
                    word = self.word.load(SeqCst);
                    if phase(word) == INSPECTED {
                        return Wake::Left;
                    }
                }
                _ => return Wake::Left,
            }
        }
    }

    /// Leaves a notice, and wakes the routine if it is blocked, in whichever wait.
    ///
    /// For wakers, which name no wait: a wake may be spurious, so everything that blocks looks
    /// again.
    pub(crate) fn notify(&self) -> Wake {
        // SeqCst: flag first, word after; partner is the swap in `block`.
        self.flags.fetch_or(NOTIFIED, SeqCst);
        between_dekker_halves();
        self.wake_blocked()
    }

    fn wake_blocked(&self) -> Wake {
        // SeqCst: the look at the word, after the flag that the caller has raised; partner is the swap in `block`.
        let mut word = self.word.load(SeqCst);
        loop {
            if phase(word) != BLOCKED {
                return Wake::Left;
            }
            match self.exchange_to_runnable(word) {
                Ok(why) => return Wake::Won(why),
                Err(now) => word = now,
            }
        }
    }

    fn exchange_to_runnable(&self, word: u64) -> Result<WaitReason, u64> {
        // Acquire pairs with the release half of the swap in `block` (or the store in `release`):
        // the winner sees the routine as its last thread left it.
        self.word
            .compare_exchange(word, (word & !PHASE) | RUNNABLE, SeqCst, SeqCst)
            .map(|_| reason(word))
    }

    /// Takes the notice, if there is one. By the thread that runs the routine, before it looks at
    /// what it waits for.
    #[inline]
    pub(crate) fn take_notice(&self) -> bool {
        // A plain load first: most turns have none, and a read-modify-write is dear.
        self.flags.load(Relaxed) & NOTIFIED != 0
            && self.flags.fetch_and(!NOTIFIED, SeqCst) & NOTIFIED != 0
    }

    /// Whether a notice came; read by the worker after [`Life::block`].
    pub(crate) fn has_notice(&self) -> bool {
        // SeqCst: read of Dekker's pattern, after the swap in `block`.
        self.flags.load(SeqCst) & NOTIFIED != 0
    }

    /// Asks the routine to end, or tells it to.
    pub(crate) fn ask_cancel(&self, level: CancelLevel) -> Wake {
        let flag = match level {
            CancelLevel::None => return Wake::Left,
            CancelLevel::Asked => CANCEL,
            CancelLevel::Told => CANCEL | ABORT,
        };
        // SeqCst: flag first, word after; partner is the swap in `block`. The notice is for a
        // walker that holds the routine inspected.
        self.flags.fetch_or(flag | NOTIFIED, SeqCst);
        between_dekker_halves();
        self.wake_blocked()
    }

    /// How far a cancel has gone.
    #[inline]
    pub(crate) fn cancel_level(&self) -> CancelLevel {
        // SeqCst: the worker asks after `block`, as the read of Dekker's pattern; for the routine
        // itself relaxed would do.
        match self.flags.load(SeqCst) {
            flags if flags & (ABORT | CANCEL) == 0 => CancelLevel::None,
            flags => asked_level(flags),
        }
    }

    /// Remembers that a fallible call has told the routine. Returns whether one had before.
    pub(crate) fn mark_cancel_seen(&self) -> bool {
        self.flags.fetch_or(CANCEL_SEEN, Relaxed) & CANCEL_SEEN != 0
    }

    /// From here on [`cancel_level`](Self::cancel_level) says that no cancel was asked for.
    pub(crate) fn shield(&self) {
        self.flags.fetch_or(SHIELDED, Relaxed);
    }

    /// Whether a fallible call has told the routine that it should end.
    pub(crate) fn cancel_was_seen(&self) -> bool {
        self.flags.load(Relaxed) & CANCEL_SEEN != 0
    }

    /// The unwinding of a cancel begins or is over.
    pub(crate) fn set_unwinding(&self, unwinding: bool) {
        if unwinding {
            self.flags.fetch_or(UNWINDING, Relaxed);
        } else {
            self.flags.fetch_and(!UNWINDING, Relaxed);
        }
    }

    /// Whether the stack unwinds for the cancel; for the routine itself.
    pub(crate) fn is_unwinding(&self) -> bool {
        self.flags.load(Relaxed) & UNWINDING != 0
    }

    /// Blocked to Inspected, by a walker. False if the routine is not blocked.
    pub(crate) fn inspect(&self) -> bool {
        let word = self.word.load(Acquire);
        phase(word) == BLOCKED
            && self
                .word
                // Acquire pairs with the swap in `block`: the walker sees the whole stack.
                .compare_exchange(word, (word & !PHASE) | INSPECTED, SeqCst, Relaxed)
                .is_ok()
    }

    /// Inspected back to Blocked, by the walker that made it so. A wake that came meanwhile is
    /// carried out: the caller must act on the result as after [`Life::wake`].
    pub(crate) fn release(&self) -> Wake {
        let word = self.word.load(Relaxed);
        debug_assert_eq!(phase(word), INSPECTED);
        // SeqCst: word first, flags after; partner is the flag raised in `wake` and `notify`.
        self.word.swap((word & !PHASE) | BLOCKED, SeqCst);
        between_dekker_halves();
        if self.flags.load(SeqCst) & NOTIFIED != 0 {
            self.wake_blocked()
        } else {
            Wake::Left
        }
    }

    /// Running to Ended, by the worker that ran the last turn.
    pub(crate) fn end(&self) {
        let word = self.word.load(Relaxed);
        // Release pairs with the load in `state`: a walker that reads Ended may not then read an
        // older name or site.
        self.word.store((word & !PHASE) | ENDED, Release);
    }

    /// What a bystander may say of the routine now.
    pub(crate) fn state(&self) -> RoutineState {
        // Acquire pairs with the stores above.
        let word = self.word.load(Acquire);
        match phase(word) {
            NEW => RoutineState::New,
            RUNNABLE => RoutineState::Runnable,
            RUNNING => RoutineState::Running,
            BLOCKED | INSPECTED => RoutineState::Blocked(reason(word)),
            _ => RoutineState::Ended,
        }
    }

    /// Names the wait that the routine is in, if it is in one.
    pub(crate) fn ticket(&self) -> Ticket {
        ticket(self.word.load(Relaxed))
    }

    /// Turns that have begun.
    pub(crate) fn turns(&self) -> u64 {
        turn(self.word.load(Relaxed))
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    impl Life {
        /// In its first turn, for other models too.
        pub(crate) fn running() -> Life {
            Life {
                word: AtomicU64::new(RUNNING),
                flags: AtomicU32::new(0),
                refs: std::sync::atomic::AtomicU32::new(1),
            }
        }
    }

    fn running() -> Arc<Life> {
        Arc::new(Life::running())
    }

    /// A notice given while the routine is about to block is never lost: either the waker wins or
    /// the blocking side sees the flag. Breaks without `between_dekker_halves` in `block` or in
    /// `notify`, which is to say without the sequential consistency of either side.
    #[test]
    fn a_notice_is_never_lost() {
        loom::model(|| {
            let life = running();
            let waker = {
                let life = life.clone();
                thread::spawn(move || life.notify() != Wake::Left)
            };
            let ticket = life.block(WaitReason::Future);
            let by_me = life.has_notice() && life.wake(ticket) != Wake::Left;
            let by_waker = waker.join().unwrap();
            assert!(by_me ^ by_waker, "exactly one party queues it");
        });
    }

    /// A cancel that comes while the routine is about to block either wakes it or is seen by the
    /// worker. Breaks as above, with `ask_cancel` in the place of `notify`.
    #[test]
    fn a_cancel_is_never_lost() {
        loom::model(|| {
            let life = running();
            let canceller = {
                let life = life.clone();
                thread::spawn(move || life.ask_cancel(CancelLevel::Told) != Wake::Left)
            };
            let ticket = life.block(WaitReason::Sleep);
            let by_me = life.cancel_level() == CancelLevel::Told && life.wake(ticket) != Wake::Left;
            assert!(by_me ^ canceller.join().unwrap());
        });
    }

    /// A wake during an inspection is carried out once, by the walker or the waker. Breaks without
    /// `between_dekker_halves` in `release` or in the inspected arm of `wake`.
    #[test]
    fn a_wake_during_an_inspection_is_remembered() {
        loom::model(|| {
            let life = running();
            let ticket = life.block(WaitReason::Sleep);
            let walker = {
                let life = life.clone();
                thread::spawn(move || life.inspect() && life.release() != Wake::Left)
            };
            let by_waker = life.wake(ticket) != Wake::Left;
            let by_walker = walker.join().unwrap();
            assert!(by_walker ^ by_waker, "exactly one party queues it");
        });
    }

    /// The same for a waker, which names no wait.
    #[test]
    fn a_notice_during_an_inspection_is_remembered() {
        loom::model(|| {
            let life = running();
            let _ticket = life.block(WaitReason::Future);
            let walker = {
                let life = life.clone();
                thread::spawn(move || life.inspect() && life.release() != Wake::Left)
            };
            let by_waker = life.notify() != Wake::Left;
            assert!(by_waker ^ walker.join().unwrap());
        });
    }

    /// Two wakers and a canceller: one of them queues the routine. Breaks if `exchange_to_runnable`
    /// stores instead of exchanging.
    #[test]
    fn one_of_many_wakers_wins() {
        loom::model(|| {
            let life = running();
            let ticket = life.block(WaitReason::Join);
            let others = [
                {
                    let life = life.clone();
                    thread::spawn(move || life.ask_cancel(CancelLevel::Told) != Wake::Left)
                },
                {
                    let life = life.clone();
                    thread::spawn(move || life.notify() != Wake::Left)
                },
            ];
            let mut won = u32::from(life.wake(ticket) != Wake::Left);
            for other in others {
                won += u32::from(other.join().unwrap());
            }
            assert_eq!(won, 1);
        });
    }

    /// Whoever wins the wake sees what the last turn wrote. Breaks if the swap in `block` or the
    /// loads in `wake` are relaxed (the checker then sees two threads in one place).
    #[test]
    fn the_winner_sees_the_last_turn() {
        use crate::primitives::Place;
        loom::model(|| {
            let shared = Arc::new((
                Life {
                    word: AtomicU64::new(RUNNING),
                    flags: AtomicU32::new(0),
                    refs: std::sync::atomic::AtomicU32::new(1),
                },
                Place::<u32>::new(),
            ));
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || {
                    if shared.0.notify() != Wake::Left {
                        // SAFETY: the winner owns the routine.
                        assert_eq!(unsafe { shared.1.take() }, 7);
                    }
                })
            };
            // SAFETY: the routine is running here.
            unsafe { shared.1.put(7) };
            let ticket = shared.0.block(WaitReason::Future);
            if shared.0.has_notice() && shared.0.wake(ticket) != Wake::Left {
                // SAFETY: as above.
                assert_eq!(unsafe { shared.1.take() }, 7);
            }
            waker.join().unwrap();
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A ticket of an earlier wait wakes nothing.
    #[test]
    fn a_late_wake_finds_nothing() {
        let life = Life {
            word: AtomicU64::new(NEW),
            flags: AtomicU32::new(0),
            refs: std::sync::atomic::AtomicU32::new(1),
        };
        assert!(life.start_turn());
        let first = life.block(WaitReason::Sleep);
        assert_eq!(life.wake(first), Wake::Won(WaitReason::Sleep));
        assert!(!life.start_turn());
        let second = life.block(WaitReason::Join);
        assert_eq!(life.wake(first), Wake::Left);
        assert_eq!(life.state(), RoutineState::Blocked(WaitReason::Join));
        assert_eq!(life.wake(second), Wake::Won(WaitReason::Join));
    }
}
