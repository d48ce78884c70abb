//! What the routines of a soak do: a tree of them, each with a few deeds from a seed.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use openwork::{
    Builder, CancelToken, JoinError, JoinHandle, Priority, Turn, checkpoint, hold_thread,
    routine_local, scope, spawn, spawn_blocking, spawn_future, spawn_turns, time, try_scope,
    yield_now,
};

use super::ledger::{Ledger, Token};
use super::{channels, locks};

/// Marsaglia's xorshift.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        // Never 0, from which it would not come back; and spread, or neighbours begin alike.
        Random((seed ^ 0x5DEE_CE66).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// With this chance in a hundred.
    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(super) fn micros(&mut self, most: u64) -> Duration {
        Duration::from_nanos(self.below(most * 1000))
    }
}

/// Longer than any round: a wait for so long is ended by something else.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// Patience with partners that may be gone.
pub(super) const SOON: Duration = Duration::from_millis(20);

/// What the routines of one round share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) ledger: Arc<Ledger>,
    /// Panics on purpose: each ends one routine.
    pub(super) raised: AtomicU64,
    pub(super) deeds: AtomicU64,
    /// Deeds that may still begin.
    left: AtomicU64,
    /// Whether threads beside the workers may take part.
    outside: bool,
}

/// What a panic on purpose carries.
struct OnPurpose;

routine_local!(static MINE: Option<Token> = None);

/// A routine that would wait for ever without its parent: it is aborted when that is done, or ended.
pub(super) struct Leash<T>(pub(super) JoinHandle<T>);

impl<T> Drop for Leash<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl World {
    pub(super) fn new(deeds: u64, outside: bool) -> Arc<World> {
        Arc::new(World {
            ledger: Arc::new(Ledger::default()),
            raised: AtomicU64::new(0),
            deeds: AtomicU64::new(0),
            left: AtomicU64::new(deeds),
            outside,
        })
    }

    fn may_begin(&self) -> bool {
        let took = self
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if took.is_ok() {
            self.deeds.fetch_add(1, Relaxed);
        }
        took.is_ok()
    }

    /// Ends the calling routine by a panic that prints nothing.
    pub(super) fn raise(&self) -> ! {
        self.raised.fetch_add(1, Relaxed);
        resume_unwind(Box::new(OnPurpose))
    }

    pub(super) fn token(&self) -> Token {
        self.ledger.token()
    }
}

/// A routine of the tree: does a few deeds, with others of the tree as its children.
pub(super) fn grow(world: &Arc<World>, seed: u64, depth: u32) {
    let mut random = Random::new(seed);
    let _held = world.token();
    let mut children = Vec::new();
    for _ in 0..1 + random.below(5) {
        if !world.may_begin() {
            break;
        }
        let seed = random.next();
        if depth > 0 && random.percent(45) {
            children.push(child(world, seed, depth - 1));
        } else {
            deed(world, seed);
        }
        if random.percent(20) {
            yield_now();
        }
    }
    for child in children {
        match random.below(10) {
            0 => child.abort(),
            1 => child.cancel(random.micros(500)),
            2 => child.detach(),
            3 => drop(time_out(&mut random, child)),
            _ => drop(child.join()),
        }
    }
}

/// Waits for a future of the crate from a routine, but not for ever.
fn time_out<T>(random: &mut Random, handle: JoinHandle<T>) -> Option<Result<T, JoinError>>
where
    T: Send + 'static,
{
    let limit = random.micros(300);
    openwork::block_on(time::timeout(limit, handle)).ok()
}

fn child(world: &Arc<World>, seed: u64, depth: u32) -> JoinHandle<()> {
    let mut random = Random::new(!seed);
    let (held, world) = (world.token(), world.clone());
    let body = move || {
        let _held = held;
        grow(&world, seed, depth);
    };
    match random.below(4) {
        0 => spawn_future(async move {
            time::after(random.micros(200)).await;
            body();
        }),
        1 => {
            let priority = match random.below(3) {
                0 => Priority::High,
                1 => Priority::Low,
                _ => Priority::Normal,
            };
            // The system may refuse; then the closure is dropped, and there is nobody to join.
            match Builder::new().name("soak").priority(priority).spawn(body) {
                Ok(handle) => handle,
                Err(_) => spawn(|| {}),
            }
        }
        _ => spawn(body),
    }
}

fn deed(world: &Arc<World>, seed: u64) {
    let random = &mut Random::new(seed);
    match random.below(if world.outside { 17 } else { 16 }) {
        0 | 1 => channels::pipeline(world, random),
        2 => channels::exchange(world, random),
        3 => channels::choice(world, random),
        4 => locks::counter(world, random),
        5 => locks::pair(world, random),
        6 => locks::permits(world, random),
        7 => locks::meeting(world, random),
        8 => locks::once(world, random),
        9 => sleepers(world, random),
        10 => turns(world, random),
        11 => borrowed(world, random),
        12 => failing(world, random),
        13 => doomed(world, random),
        14 => tokens(world, random),
        15 => mine(world, random),
        _ => outside(world, random),
    }
}

/// Sleeps, rhythms and limits, served or given up.
fn sleepers(world: &Arc<World>, random: &mut Random) {
    let began = time::now();
    let pause = random.micros(300);
    time::sleep(pause);
    world.ledger.check(time::now() >= began + pause, || {
        format!("a sleep of {pause:?} ended before its time")
    });
    let mut rhythm = time::interval(Duration::from_micros(50));
    rhythm.set_missed_tick_behavior(match random.below(3) {
        0 => time::MissedTickBehavior::Burst,
        1 => time::MissedTickBehavior::Delay,
        _ => time::MissedTickBehavior::Skip,
    });
    let (first, second) = (rhythm.tick(), rhythm.tick());
    world
        .ledger
        .check(second > first, || "two ticks at once".to_owned());
    let (limit, held) = (random.micros(200), world.token());
    let limited = spawn_future(time::timeout(limit, async move {
        let _held = held;
        time::after(LONG).await;
    }));
    if random.percent(50) {
        limited.abort();
    } else if let Ok(Ok(())) = limited.join() {
        world.ledger.broken("an hour within a limit".to_owned());
    }
}

fn turns(world: &Arc<World>, random: &mut Random) {
    let steps = random.below(20);
    let (seed, held) = (random.next(), world.token());
    let handle = spawn_turns((0, Random::new(seed), held), move |(done, random, _)| {
        if *done == steps {
            return Turn::Done(*done);
        }
        *done += 1;
        match random.below(4) {
            0 => Turn::Sleep(random.micros(50)),
            1 => Turn::Wait(Box::pin(time::after(random.micros(50)))),
            _ => Turn::Again,
        }
    });
    if let Ok(done) = handle.join() {
        world
            .ledger
            .check(done == steps, || format!("{done} of {steps} turns"));
    }
}

/// Children that borrow from the parent's frame, and end before it whatever happens.
fn borrowed(world: &Arc<World>, random: &mut Random) {
    let parts: Vec<u64> = (0..1 + random.below(6)).collect();
    let (raise, pause) = (random.percent(30), random.micros(100));
    let done = AtomicU64::new(0);
    let sum: u64 = scope(|s| {
        let children: Vec<_> = parts
            .iter()
            .map(|part| {
                let (held, done) = (world.token(), &done);
                s.spawn(move || {
                    let _held = held;
                    time::sleep(pause);
                    if raise && *part == 0 {
                        world.raise();
                    }
                    done.fetch_add(*part, Relaxed);
                    *part
                })
            })
            .collect();
        children.into_iter().filter_map(|c| c.join().ok()).sum()
    });
    world.ledger.check(sum == done.load(Relaxed), || {
        format!(
            "a scope's children did {} and said {sum}",
            done.load(Relaxed)
        )
    });
}

/// A scope whose children can fail: the first error ends the others.
fn failing(world: &Arc<World>, random: &mut Random) {
    let (children, fails) = (1 + random.below(6), random.below(8));
    let pauses: Vec<_> = (0..children).map(|_| random.micros(200)).collect();
    let failed = AtomicBool::new(false);
    let result = try_scope(|s| {
        for (number, pause) in (0..).zip(&pauses) {
            let (held, failed) = (world.token(), &failed);
            s.spawn(move || {
                let _held = held;
                match time::try_sleep(*pause) {
                    Ok(()) if number == fails => {
                        failed.store(true, Relaxed);
                        Err(number)
                    }
                    _ => Ok(()),
                }
            });
        }
        Ok::<_, u64>(())
    });
    let failed = failed.load(Relaxed);
    world.ledger.check(result.is_err() || !failed, || {
        "a scope swallowed its child's error".to_owned()
    });
}

/// Routines that are ended from outside, in their sleep, their wait or their work.
fn doomed(world: &Arc<World>, random: &mut Random) {
    let held = world.token();
    let kind = random.below(4);
    let doomed = {
        let world = world.clone();
        Leash(spawn(move || {
            let _held = held;
            match kind {
                0 => time::sleep(LONG),
                1 => drop(time::try_sleep(LONG)),
                2 => loop {
                    checkpoint();
                    yield_now();
                },
                _ => world.raise(),
            }
        }))
    };
    if random.percent(50) {
        yield_now();
    }
    if random.percent(50) {
        doomed.0.cancel(random.micros(200));
        time::sleep(random.micros(300));
    }
}

/// A tree of cancel tokens over routines that wait.
fn tokens(world: &Arc<World>, random: &mut Random) {
    let root = CancelToken::new();
    let branch = match random.below(2) {
        0 => root.child(),
        _ => root.child_with_timeout(random.micros(300)),
    };
    let bound: Vec<_> = (0..1 + random.below(4))
        .filter_map(|_| {
            let held = world.token();
            let body = move || {
                let _held = held;
                time::sleep(LONG);
            };
            let bound = Builder::new().cancel_with(&branch).spawn(body);
            bound.ok().map(Leash)
        })
        .collect();
    if random.percent(50) {
        time::sleep(random.micros(200));
    }
    root.cancel();
    for mut leash in bound {
        let ended = openwork::block_on(&mut leash.0);
        world.ledger.check(ended.is_err(), || {
            "an hour's sleep ended well under a cancelled token".to_owned()
        });
    }
}

/// What belongs to one routine, and regions that keep the thread.
fn mine(world: &Arc<World>, random: &mut Random) {
    let number = random.next();
    let world = world.clone();
    let pause = random.micros(50);
    let handle = spawn(move || {
        let _ = MINE.try_with(|mine| mine.is_none());
        let kept = std::rc::Rc::new(number);
        hold_thread(|| time::sleep(pause));
        yield_now();
        world.ledger.check(*kept == number, || {
            "what a routine kept on its thread is another's".to_owned()
        });
    });
    drop(handle.join());
}

/// Closures on the blocking pool, which use the same channels as routines.
fn outside(world: &Arc<World>, random: &mut Random) {
    let (tx, rx) = openwork::channel::bounded(1 + random.below(4) as usize);
    let values = random.below(8);
    let thread = {
        let world = world.clone();
        spawn_blocking(move || {
            for _ in 0..values {
                if tx.send(world.token()).is_err() {
                    break;
                }
            }
        })
    };
    let taken = rx.iter().take(random.below(10) as usize).count() as u64;
    world
        .ledger
        .check(taken <= values, || format!("{taken} of {values} values"));
    drop(rx);
    if random.percent(50) {
        drop(thread.join());
    }
}

/// Polls a future once, and drops it.
pub(super) fn poll_once(future: impl Future) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = pin!(future).poll(&mut cx);
}
