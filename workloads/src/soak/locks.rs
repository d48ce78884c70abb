//! Deeds at locks and meeting points.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use openwork::sync::{
    Barrier, Condvar, Latch, LockError, LockTimeoutError, Mutex, Notify, OnceCell, RwLock,
    Semaphore, WaitGroup,
};
use openwork::{JoinHandle, spawn, spawn_future, time, yield_now};

use super::deeds::{Leash, Random, SOON, World};

/// Ends some, waits for the others.
fn finish(random: &mut Random, handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        if random.percent(5) {
            handle.abort();
        }
        drop(handle.join());
    }
}

/// A number under a lock, raised in two steps; some panic or are ended between them.
pub(super) fn counter(world: &Arc<World>, random: &mut Random) {
    let shared = Arc::new((Mutex::new(0u64), AtomicU64::new(0)));
    let handles = (0..1 + random.below(4))
        .map(|_| {
            let (shared, world, seed) = (shared.clone(), world.clone(), random.next());
            spawn(move || {
                let random = &mut Random::new(seed);
                for _ in 0..random.below(10) {
                    let mut number = match shared.0.lock_timeout(SOON) {
                        Ok(number) | Err(LockTimeoutError::Poisoned(number)) => number,
                        Err(_) => match shared.0.lock() {
                            Ok(number) | Err(LockError::Poisoned(number)) => number,
                            Err(_) => return,
                        },
                    };
                    let seen = *number;
                    if random.percent(50) {
                        yield_now();
                    }
                    if random.percent(3) {
                        world.raise();
                    }
                    *number = seen + 1;
                    shared.1.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    finish(random, handles);
    let number = match shared.0.lock() {
        Ok(number) | Err(LockError::Poisoned(number)) => *number,
        Err(_) => return,
    };
    let done = shared.1.load(Relaxed);
    world.ledger.check(number == done, || {
        format!("{done} steps under a lock made {number}")
    });
}

/// Two numbers that writers keep equal.
pub(super) fn pair(world: &Arc<World>, random: &mut Random) {
    let pair = Arc::new(RwLock::new((0u64, 0u64)));
    let handles = (0..1 + random.below(5))
        .map(|_| {
            let (pair, world, seed) = (pair.clone(), world.clone(), random.next());
            spawn(move || {
                let random = &mut Random::new(seed);
                for _ in 0..random.below(10) {
                    if random.percent(30) {
                        let Ok(mut pair) = pair.write_timeout(SOON) else {
                            continue;
                        };
                        pair.0 += 1;
                        // Ended here, it leaves them different: so nothing ends it here.
                        pair.1 += 1;
                        drop(pair);
                    } else {
                        let Ok(pair) = pair.read() else { return };
                        let seen = pair.0;
                        yield_now();
                        world.ledger.check((seen, seen) == *pair, || {
                            format!("a reader saw {seen}, then {:?}", *pair)
                        });
                    }
                }
            })
        })
        .collect();
    finish(random, handles);
}

/// Gives a place back.
struct Place(Arc<AtomicU64>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// No more are inside than there are permits, and all permits come back.
pub(super) fn permits(world: &Arc<World>, random: &mut Random) {
    let most = 1 + random.below(3);
    let permits = Arc::new(Semaphore::new(most as usize));
    let inside = Arc::new(AtomicU64::new(0));
    let handles = (0..1 + random.below(6))
        .map(|_| {
            let (permits, inside) = (permits.clone(), inside.clone());
            let (world, pause, seed) = (world.clone(), random.micros(50), random.below(10));
            spawn(move || {
                let permit = match seed % 2 {
                    0 => permits.acquire().ok(),
                    _ => permits.acquire_timeout(SOON).ok(),
                };
                let Some(_permit) = permit else { return };
                let now = 1 + inside.fetch_add(1, Relaxed);
                let _place = Place(inside);
                world
                    .ledger
                    .check(now <= most, || format!("{now} inside with {most} permits"));
                time::sleep(pause);
                if seed == 9 {
                    world.raise();
                }
            })
        })
        .collect();
    finish(random, handles);
    let left = permits.available() as u64;
    world.ledger.check(left == most, || {
        format!("{left} of {most} permits have come back")
    });
}

/// Barrier, latch, group, condition and notice, each with partners that may not come.
pub(super) fn meeting(world: &Arc<World>, random: &mut Random) {
    let size = 2 + random.below(3) as usize;
    let barrier = Arc::new(Barrier::new(size));
    let latch = Arc::new(Latch::new(size));
    let notify = Arc::new(Notify::new());
    let queue = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    let group = WaitGroup::new();
    let handles = (0..size)
        .map(|_| {
            let (barrier, latch) = (barrier.clone(), latch.clone());
            let (notify, queue, member) = (notify.clone(), queue.clone(), group.member());
            let (token, pause) = (world.token(), random.micros(50));
            spawn(move || {
                let _member = member;
                time::sleep(pause);
                latch.count_down();
                let _ = latch.wait_timeout(SOON);
                let _ = barrier.wait_timeout(SOON);
                if let Ok(mut queue) = queue.0.lock() {
                    queue.push(token);
                }
                queue.1.notify_one();
                notify.notify_one();
            })
        })
        .collect();
    let _waiter = Leash(spawn_future(async move { notify.wait_async().await }));
    if let Ok(queued) = queue.0.lock() {
        drop(queue.1.wait_timeout(queued, random.micros(200)));
    }
    finish(random, handles);
    // Each member has gone, by whichever way.
    group.wait();
}

/// Many want it made; one makes it.
pub(super) fn once(world: &Arc<World>, random: &mut Random) {
    let cell = Arc::new((OnceCell::new(), AtomicU64::new(0)));
    let handles = (0..1 + random.below(4))
        .map(|_| {
            let (cell, world, pause) = (cell.clone(), world.clone(), random.micros(50));
            spawn(move || {
                let value = cell.0.get_or_init(|| {
                    // Ended in its sleep it has made nothing, and another one begins.
                    time::sleep(pause);
                    let made = 1 + cell.1.fetch_add(1, Relaxed);
                    (made, world.token())
                });
                world
                    .ledger
                    .check(value.0 == 1, || format!("made {} times", value.0));
            })
        })
        .collect();
    finish(random, handles);
}
