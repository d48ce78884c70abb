//! The lock's word and queue under the model checker.

use super::*;
use crate::primitives::{Futex, Place};
use loom::sync::Arc;
use loom::thread;

/// A thread that sleeps on a bell of its own. What began at 1 is old.
struct Bell(Arc<Futex>);

impl Sleeps for Bell {
    type Rouse = Arc<Futex>;

    fn leave_frame(self) -> Arc<Futex> {
        self.0
    }

    fn rouse(bell: Arc<Futex>) {
        bell.0.store(1, Release);
        bell.wake();
    }

    fn is_long(since: u64) -> bool {
        since == 1
    }
}

struct World {
    raw: RawLock<Bell>,
    /// What the lock protects: the checker watches who touches it.
    value: Place<u32>,
}

// SAFETY: the value is touched by who holds the lock, which is what is checked.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

fn world() -> Arc<World> {
    let world = World {
        raw: RawLock::new(),
        value: Place::new(),
    };
    // SAFETY: nobody else knows it.
    unsafe { world.value.put(0) };
    Arc::new(world)
}

/// How a caller waits, and for how long.
#[derive(Clone, Copy)]
struct Caller {
    mode: Mode,
    since: u64,
    /// Leaves the queue instead of sleeping.
    impatient: bool,
}

const WRITER: Caller = Caller {
    mode: Mode::Write,
    since: 0,
    impatient: false,
};
const OLD_WRITER: Caller = Caller { since: 1, ..WRITER };
const READER: Caller = Caller {
    mode: Mode::Read,
    since: 1,
    impatient: false,
};

impl Caller {
    const fn impatient(self) -> Caller {
        Caller {
            impatient: true,
            ..self
        }
    }

    fn fast(self, world: &World) -> bool {
        match self.mode {
            Mode::Write => world.raw.try_write(Holder(7)),
            Mode::Read => world.raw.try_read(),
        }
    }

    /// As `lock_op::lock_slowly` does it.
    fn lock(self, world: &World) -> bool {
        if self.fast(world) {
            return true;
        }
        let order = Order::new(self.mode, Holder(7), self.since);
        loop {
            let bell = Arc::new(Futex::new(0));
            let wait = Wait::new();
            let node = Node::new();
            {
                let _queue = world.raw.queue().lock();
                // SAFETY: the lock is held; node and wait stay until they are out.
                unsafe {
                    if world.raw.attempt(&order) {
                        return true;
                    }
                    wait.arm(Bell(bell.clone()));
                    world.raw.enter(&node, &wait, 0, &order);
                }
            }
            if self.impatient && wait.abandon() {
                let queue = world.raw.queue().lock();
                // SAFETY: as above.
                unsafe {
                    world.raw.leave(&node);
                    drop(queue);
                    drop(wait.disarm());
                }
                world.raw.nudge(&order);
                return false;
            }
            while bell.0.load(Acquire) == 0 {
                bell.wait(0, None);
            }
            assert_eq!(wait.done(), Some(0));
            if order.is_granted() {
                return true;
            }
            order.try_again();
            if self.impatient {
                world.raw.nudge(&order);
                return false;
            }
            if world.raw.retry(&order) {
                return true;
            }
        }
    }

    fn unlock(self, world: &World) {
        // SAFETY: the caller holds the lock.
        unsafe {
            match self.mode {
                Mode::Write => world.raw.unlock_write(),
                Mode::Read => world.raw.unlock_read(),
            }
        }
    }

    /// One use of the lock. Returns what it added.
    fn turn(self, world: &World) -> u32 {
        if !self.lock(world) {
            return 0;
        }
        let added = match self.mode {
            Mode::Write => {
                // SAFETY: the lock is held by us alone.
                unsafe { world.value.put(world.value.take() + 1) };
                1
            }
            Mode::Read => {
                // SAFETY: nobody writes.
                assert!(unsafe { world.value.peek() } < 10);
                0
            }
        };
        self.unlock(world);
        added
    }
}

/// Each caller uses the lock once, on a thread of its own; the last one here. In the end nobody
/// holds it or waits.
fn check<const N: usize>(callers: [Caller; N]) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let world = world();
        let (here, others) = callers.split_last().unwrap();
        let others: Vec<_> = others
            .iter()
            .map(|&caller| {
                let world = world.clone();
                thread::spawn(move || caller.turn(&world))
            })
            .collect();
        let mut added = here.turn(&world);
        for other in others {
            added += other.join().unwrap();
        }
        assert_eq!(world.raw.word.load(Relaxed), 0);
        assert!(world.raw.queue().lock().is_empty());
        // SAFETY: all have ended.
        assert_eq!(unsafe { world.value.take() }, added);
    });
}

/// Breaks if `unlock_write` stores, if `try_write`, `retry` or the store of `pass_on` are relaxed, or if
/// `attempt` leaves PARKED out.
#[test]
fn writers_exclude_each_other_and_none_sleeps_on() {
    check([WRITER, WRITER, WRITER]);
}

/// The lock is handed over. Breaks if `pass_on` frees the word as well.
#[test]
fn an_old_writer_is_handed_the_lock() {
    check([OLD_WRITER, OLD_WRITER, WRITER]);
}

/// Breaks if a waiter that gives up does not nudge: it may have been woken for the others.
#[test]
fn one_who_gives_up_passes_the_wake_on() {
    check([WRITER.impatient(), WRITER, WRITER]);
}

/// Breaks if the last reader only lowers the count, or does so relaxed.
#[test]
fn a_writer_comes_after_the_last_reader() {
    check([READER, READER, OLD_WRITER]);
}

#[test]
fn readers_come_after_a_writer() {
    check([WRITER, READER, READER]);
}

/// A reader holds the lock until another one is in. Breaks if a writer that gives up does not nudge:
/// the other reader waits because of it.
#[test]
fn readers_do_not_wait_for_one_who_gave_up() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let world = world();
        assert!(READER.lock(&world));
        let met = Arc::new(Futex::new(0));
        let reader = {
            let (world, met) = (world.clone(), met.clone());
            thread::spawn(move || {
                assert!(READER.lock(&world));
                met.0.store(1, Release);
                met.wake();
                READER.unlock(&world);
            })
        };
        let writer = {
            let world = world.clone();
            thread::spawn(move || OLD_WRITER.impatient().turn(&world))
        };
        while met.0.load(Acquire) == 0 {
            met.wait(0, None);
        }
        READER.unlock(&world);
        reader.join().unwrap();
        let added = writer.join().unwrap();
        assert_eq!(world.raw.word.load(Relaxed), 0);
        // SAFETY: all have ended.
        assert_eq!(unsafe { world.value.take() }, added);
    });
}

/// A writer that becomes a reader lets others read, and nobody write. Breaks if `downgrade` does
/// not let in those who wait.
#[test]
fn a_downgraded_writer_reads_with_others() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let world = world();
        assert!(WRITER.lock(&world));
        let met = Arc::new(Futex::new(0));
        let reader = {
            let (world, met) = (world.clone(), met.clone());
            thread::spawn(move || {
                assert!(READER.lock(&world));
                // SAFETY: nobody writes.
                assert_eq!(unsafe { world.value.peek() }, 1);
                met.0.store(1, Release);
                met.wake();
                READER.unlock(&world);
            })
        };
        // SAFETY: the lock is held by us alone.
        unsafe {
            world.value.put(world.value.take() + 1);
            world.raw.downgrade();
        }
        // The reader comes in while we hold our share.
        while met.0.load(Acquire) == 0 {
            met.wait(0, None);
        }
        READER.unlock(&world);
        reader.join().unwrap();
        assert_eq!(world.raw.word.load(Relaxed), 0);
    });
}
