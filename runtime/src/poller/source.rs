//! What the poller knows of one socket: who waits for it, and how many events there were.
//!
//! **Ticks.** The kernel is asked for edges: it says that something has come, not that something is
//! there. So readiness is no state here but a count of events in each direction. Whoever wants to
//! read takes the count, tries, and if there is nothing waits until the count is another one. An
//! event after the try changes the count; what came before it, the try has found. Nothing has to be
//! cleared, and several readers of one socket need not know of each other.
//!
//! **Slots.** Sources lie in slots that are used again and never freed while the poller lives, so
//! that an event finds its source without a lock. Its token names the slot and the slot's generation,
//! which changes when the socket goes: an event that was on its way finds another one, and is dropped.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, OnceLock};
use std::task::Waker;

use super::os::RawSource;
use crate::prefetch::{CACHE_LINE, prefetch};
use crate::sync::lock::Lock;
use crate::sync::wait::{Rouse, Sleeper};
use crate::sync::wait_queue::Queue;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The tick of a socket that has had no event: not 0, which stands for none.
const FIRST_TICK: u64 = 1;

const BOTH: [Direction; 2] = [Direction::Read, Direction::Write];

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// There is more to find than bytes: the peer's end, an error, urgent data. It stays so, and no
    /// further event may come for it.
    pub(crate) lasting: bool,
}

/// Names a source in the kernel's events: the slot below, its generation above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    /// No source: the poller's own bell.
    pub(crate) const BELL: Token = Token(u64::MAX);

    fn new(slot: u32, generation: u32) -> Token {
        Token(u64::from(generation) << 32 | u64::from(slot))
    }

    pub(super) fn slot(self) -> u32 {
        self.0 as u32
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// See the module's text. Aligned to two cache lines, which is about what it fills.
#[repr(align(128))]
pub(crate) struct Source {
    /// By direction, from [`FIRST_TICK`] on. Written under the lock.
    ticks: [AtomicU64; 2],
    /// The tick at which a reader found the socket empty without asking twice; 0 if none.
    drained: AtomicU64,
    lasting: AtomicBool,
    waiting: Lock<Waiting>,
}

pub(crate) struct Waiting {
    generation: u32,
    sleepers: [Queue<(), Sleeper>; 2],
    /// Of tasks that poll without a node of their own, the last one in each direction.
    wakers: [Option<Waker>; 2],
}

// SAFETY: the queues' pointers block the automatic ones. They are followed under the lock, and lead to
// frames that are lent until their nodes are out, by 2 of `Queue::push`.
unsafe impl Send for Waiting {}

/// Whom an event wakes: hardly ever more than one.
#[derive(Default)]
pub(crate) struct Woken {
    first: Option<Rouse>,
    more: Vec<Rouse>,
}

impl Woken {
    fn push(&mut self, rouse: Rouse) {
        if self.first.is_none() {
            self.first = Some(rouse);
        } else {
            self.more.push(rouse);
        }
    }

    /// Calls `rouse` with each. Returns how many.
    pub(crate) fn each(self, rouse: impl FnMut(Rouse)) -> u64 {
        let count = self.first.iter().len() + self.more.len();
        self.first.into_iter().chain(self.more).for_each(rouse);
        count as u64
    }
}

impl Source {
    fn new() -> Source {
        Source {
            ticks: [const { AtomicU64::new(FIRST_TICK) }; 2],
            drained: AtomicU64::new(0),
            lasting: AtomicBool::new(false),
            waiting: Lock::new(Waiting {
                generation: 0,
                sleepers: [Queue::new(), Queue::new()],
                wakers: [None, None],
            }),
        }
    }

    /// Events so far, to be asked for before a try.
    pub(crate) fn tick(&self, direction: Direction) -> u64 {
        // Acquire pairs with the release store in `turn`: what the event told of is found by the
        // try that follows.
        self.ticks[direction as usize].load(Acquire)
    }

    /// A try that began when the tick was `tick` has read all there was.
    pub(crate) fn set_drained(&self, tick: u64) {
        if !self.lasting.load(Relaxed) {
            self.drained.store(tick, Relaxed);
        }
    }

    /// Whether a try now would find nothing, as nothing has come since the last one.
    ///
    /// Acquire in `tick` orders the look at `lasting` after the event that may have set it.
    pub(crate) fn is_drained(&self, tick: u64) -> bool {
        self.drained.load(Relaxed) == tick && !self.lasting.load(Relaxed)
    }

    pub(crate) fn waiting(&self) -> &Lock<Waiting> {
        &self.waiting
    }

    /// An event has come for `token`. `None` if that was another socket.
    fn happened(&self, token: Token, what: Happened) -> Option<Woken> {
        let mut waiting = self.waiting.lock();
        if waiting.generation != token.generation() {
            return None;
        }
        if what.lasting {
            self.lasting.store(true, Relaxed);
        }
        let mut woken = Woken::default();
        if what.readable {
            self.turn(&mut waiting, Direction::Read, &mut woken);
        }
        if what.writable {
            self.turn(&mut waiting, Direction::Write, &mut woken);
        }
        Some(woken)
    }

    /// Wakes all who wait in the direction, so that they look again.
    pub(crate) fn stir(&self, direction: Direction) -> Woken {
        let mut woken = Woken::default();
        self.turn(&mut self.waiting.lock(), direction, &mut woken);
        woken
    }

    fn turn(&self, waiting: &mut Waiting, direction: Direction, woken: &mut Woken) {
        let tick = &self.ticks[direction as usize];
        // Release pairs with the acquire load in `tick`.
        tick.store(tick.load(Relaxed) + 1, Release);
        while let Some(claimed) = waiting.sleepers[direction as usize].claim() {
            woken.push(claimed.complete(Sleeper::leave_frame));
        }
        if let Some(waker) = waiting.wakers[direction as usize].take() {
            woken.push(Sleeper::Task(waker).leave_frame());
        }
    }

    /// Leaves a task's waker, unless something has happened since `seen`; then returns false. The one
    /// that was there before comes back, to be dropped without the lock: it is foreign.
    pub(crate) fn leave_waker(
        &self,
        direction: Direction,
        seen: u64,
        waker: Waker,
    ) -> (bool, Option<Waker>) {
        let mut waiting = self.waiting.lock();
        if self.ticks[direction as usize].load(Relaxed) != seen {
            return (false, Some(waker));
        }
        let before = waiting.wakers[direction as usize].replace(waker);
        (true, before)
    }

    /// The socket has gone. Nobody waits: who does, borrows it.
    fn retire(&self) -> [Option<Waker>; 2] {
        let mut waiting = self.waiting.lock();
        debug_assert!(waiting.sleepers.iter().all(Queue::is_empty));
        waiting.generation = waiting.generation.wrapping_add(1);
        self.drained.store(0, Relaxed);
        self.lasting.store(false, Relaxed);
        // Nobody looks at them now.
        self.ticks
            .iter()
            .for_each(|tick| tick.store(FIRST_TICK, Relaxed));
        std::mem::take(&mut waiting.wakers)
    }
}

impl Waiting {
    pub(crate) fn sleepers(&mut self, direction: Direction) -> &mut Queue<(), Sleeper> {
        &mut self.sleepers[direction as usize]
    }
}

/// Slots in the first segment; each further one is as large as all before it.
const FIRST_SEGMENT: u32 = 64;
const SEGMENTS: usize = 20;

/// All sources of a poller, by slot.
pub(crate) struct Sources {
    segments: [OnceLock<Box<[Source]>>; SEGMENTS],
    free: Mutex<Free>,
}

struct Free {
    slots: Vec<u32>,
    /// Slots from here on have never been used.
    unused: u32,
}

impl Sources {
    pub(crate) fn new() -> Sources {
        Sources {
            segments: [const { OnceLock::new() }; SEGMENTS],
            free: Mutex::new(Free {
                slots: Vec::new(),
                unused: 0,
            }),
        }
    }

    /// Takes a slot.
    pub(crate) fn take(&self) -> Token {
        let slot = {
            let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
            match free.slots.pop() {
                Some(slot) => slot,
                None => {
                    free.unused += 1;
                    free.unused - 1
                }
            }
        };
        let (segment, _, len) = place(slot);
        self.segments[segment].get_or_init(|| (0..len).map(|_| Source::new()).collect());
        Token::new(slot, self.get(slot).waiting.lock().generation)
    }

    /// Gives a slot back: events that still come for the token find nothing.
    pub(crate) fn give_back(&self, token: Token) {
        let wakers = self.get(token.slot()).retire();
        drop(wakers);
        let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
        free.slots.push(token.slot());
    }

    /// The source in a slot that has been taken once.
    pub(crate) fn of(&self, token: Token) -> &Source {
        self.get(token.slot())
    }

    fn get(&self, slot: u32) -> &Source {
        let (segment, index, _) = place(slot);
        &self.segments[segment].get().expect("a slot that was taken")[index]
    }

    /// Asks the processor for a source that [`happened`](Self::happened) will look at.
    pub(crate) fn prefetch(&self, token: Token) {
        let source = std::ptr::from_ref(self.of(token)).cast::<u8>();
        prefetch(source);
        prefetch(source.wrapping_add(CACHE_LINE));
    }

    /// An event has come. `None` if its socket has gone.
    pub(crate) fn happened(&self, token: Token, what: Happened) -> Option<Woken> {
        self.of(token).happened(token, what)
    }

    /// Wakes all who wait for anything.
    pub(crate) fn stir_all(&self, mut each: impl FnMut(Woken)) {
        for source in self.segments.iter().filter_map(OnceLock::get).flatten() {
            BOTH.into_iter().for_each(|way| each(source.stir(way)));
        }
    }
}

/// Where a slot lies: segment, index in it, and the segment's length.
fn place(slot: u32) -> (usize, usize, u32) {
    let scaled = slot / FIRST_SEGMENT + 1;
    let segment = scaled.ilog2();
    let begin = FIRST_SEGMENT * ((1 << segment) - 1);
    (
        segment as usize,
        (slot - begin) as usize,
        FIRST_SEGMENT << segment,
    )
}

/// What a back end does for the poller.
///
/// The one that is asked to wait is never asked by two threads at once; the others may be called at
/// any time.
pub(crate) trait Backend: Send + Sync {
    /// Watches the socket in both directions, for edges, from now on. What is there already counts
    /// as an edge.
    fn watch(&self, fd: RawSource, token: Token) -> std::io::Result<()>;

    /// Somebody is going to wait in the direction, who has found nothing there. Does something only where the
    /// system tells one event at a time.
    fn arm(&self, _token: Token, _direction: Direction) -> std::io::Result<()> {
        Ok(())
    }

    /// Ends that. Events that are on their way may still come.
    fn unwatch(&self, fd: RawSource, token: Token);

    /// Waits for an event, a ring or the timeout (`None`: for ever), and hands out what there is.
    /// A signal may end it early.
    fn wait(&self, timeout: Option<std::time::Duration>, each: &mut dyn FnMut(Token, Happened));

    /// Ends a wait that is under way, or else the next one.
    fn ring(&self);

    /// What the kernel says is readable when there is something for a wait to hand out.
    #[cfg(not(portable))]
    fn descriptor(&self) -> std::os::fd::RawFd;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Every slot has its place, without holes.
    #[test]
    fn segments_double() {
        assert_eq!(place(0), (0, 0, 64));
        assert_eq!(place(63), (0, 63, 64));
        assert_eq!(place(64), (1, 0, 128));
        assert_eq!(place(191), (1, 127, 128));
        assert_eq!(place(192), (2, 0, 256));
    }

    /// An event of a socket that has gone does not reach its slot's next one.
    #[test]
    fn a_late_event_finds_nothing() {
        let sources = Sources::new();
        let all = Happened {
            readable: true,
            writable: true,
            lasting: true,
        };
        let old = sources.take();
        sources.give_back(old);
        let new = sources.take();
        assert_eq!((old.slot(), new.slot()), (0, 0));
        let before = sources.of(new).tick(Direction::Read);
        assert!(sources.happened(old, all).is_none());
        assert_eq!(sources.of(new).tick(Direction::Read), before);
        assert!(sources.happened(new, all).is_some());
        assert_ne!(sources.of(new).tick(Direction::Read), before);
    }

    /// Nothing is skipped once the peer's end was seen.
    #[test]
    fn a_lasting_event_is_looked_at_each_time() {
        let sources = Sources::new();
        let token = sources.take();
        let source = sources.of(token);
        let tick = source.tick(Direction::Read);
        source.set_drained(tick);
        assert!(source.is_drained(tick));
        let end = Happened {
            readable: true,
            writable: false,
            lasting: true,
        };
        assert!(sources.happened(token, end).is_some());
        let tick = source.tick(Direction::Read);
        source.set_drained(tick);
        assert!(!source.is_drained(tick));
    }
}
