//! Locks, conditions, permits and meetings under thousands of schedules, with time-outs and cancels in the
//! middle: who waits is woken, what was taken is given back, and nobody is where he may not be.

mod deterministic_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use deterministic_support::explore;
use openwork::sync::{
    AcquireTimeoutError, Barrier, Condvar, Latch, LockTimeoutError, Mutex, Notify, Once, OnceCell,
    RwLock, Semaphore, WaitGroup,
};
use openwork::{checkpoint, spawn, spawn_future, time};

const SHORT: Duration = Duration::from_micros(15);
const GRACE: Duration = Duration::from_secs(1000);

/// Counts who is inside, and fails where that are too many.
#[derive(Default)]
struct Room {
    inside: AtomicU32,
    visits: AtomicU32,
}

impl Room {
    fn visit(&self, places: u32) {
        // A visitor that is cancelled in the middle leaves as well.
        struct Leave<'a>(&'a AtomicU32);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        let before = self.inside.fetch_add(1, Relaxed);
        let _leave = Leave(&self.inside);
        assert!(before < places, "{before} were inside");
        checkpoint();
        self.visits.fetch_add(1, Relaxed);
    }
}

fn shared<T: Default>() -> Arc<T> {
    Arc::default()
}

#[test]
fn one_at_a_time_holds_a_mutex() {
    explore(|| {
        let lock = Arc::new(Mutex::new(0));
        let room: Arc<Room> = shared();
        let routines: Vec<_> = (0..4)
            .map(|number| {
                let (lock, room) = (lock.clone(), room.clone());
                spawn(move || {
                    for _ in 0..2 {
                        let mut guard = match number {
                            0 => lock.lock().unwrap(),
                            1 => match lock.lock_timeout(SHORT) {
                                Ok(guard) => guard,
                                Err(LockTimeoutError::Timeout) => continue,
                                Err(other) => panic!("{other:?}"),
                            },
                            2 => match lock.try_lock() {
                                Ok(guard) => guard,
                                Err(_) => continue,
                            },
                            _ => lock.lock().unwrap(),
                        };
                        room.visit(1);
                        *guard += 1;
                    }
                })
            })
            .collect();
        let (in_task, by_task) = (lock.clone(), room.clone());
        let task = spawn_future(async move {
            let mut guard = in_task.lock_async().await.unwrap();
            by_task.visit(1);
            *guard += 1;
        });
        // Cancelled wherever it is: waiting, inside, or done.
        checkpoint();
        routines[3].cancel(GRACE);
        for routine in routines {
            let _ = routine.join();
        }
        task.join().unwrap();
        let visits = room.visits.load(Relaxed);
        assert!((3..=9).contains(&visits), "{visits}");
        let count = lock.try_lock().expect("nobody has it any more");
        assert!(*count <= visits);
    });
}

#[test]
fn a_writer_is_alone() {
    explore(|| {
        let lock = Arc::new(RwLock::new(0u32));
        let (writers, readers): (Arc<Room>, Arc<Room>) = (shared(), shared());
        let routines: Vec<_> = (0..5)
            .map(|number| {
                let (lock, writers, readers) = (lock.clone(), writers.clone(), readers.clone());
                spawn(move || match number {
                    0 | 1 => {
                        let mut guard = lock.write().unwrap();
                        assert_eq!(readers.inside.load(Relaxed), 0);
                        writers.visit(1);
                        *guard += 1;
                    }
                    2 | 3 => {
                        let guard = lock.read().unwrap();
                        assert_eq!(writers.inside.load(Relaxed), 0);
                        let before = *guard;
                        readers.visit(3);
                        assert_eq!(before, *guard, "it changed under a reader");
                    }
                    _ => {
                        let Ok(mut guard) = lock.write_timeout(SHORT) else {
                            return;
                        };
                        *guard += 1;
                        let guard = openwork::sync::RwLockWriteGuard::downgrade(guard);
                        assert_eq!(writers.inside.load(Relaxed), 0);
                        let before = *guard;
                        readers.visit(3);
                        assert_eq!(before, *guard);
                    }
                })
            })
            .collect();
        checkpoint();
        routines[1].cancel(GRACE);
        routines[3].cancel(GRACE);
        for routine in routines {
            let _ = routine.join();
        }
        assert!(*lock.try_write().expect("nobody has it any more") <= 3);
    });
}

/// A buffer of one place, with a condition for each side.
struct OneSlot {
    slot: Mutex<Option<u32>>,
    filled: Condvar,
    emptied: Condvar,
}

impl OneSlot {
    fn put(&self, value: u32) {
        let slot = self.slot.lock().unwrap();
        let mut slot = self
            .emptied
            .wait_while(slot, |slot| slot.is_some())
            .unwrap();
        *slot = Some(value);
        self.filled.notify_one();
    }

    fn take(&self) -> u32 {
        let mut slot = self.slot.lock().unwrap();
        loop {
            if let Some(value) = slot.take() {
                self.emptied.notify_one();
                return value;
            }
            slot = self.filled.wait(slot).unwrap();
        }
    }
}

#[test]
fn conditions_lose_no_notice() {
    explore(|| {
        let slot = Arc::new(OneSlot {
            slot: Mutex::new(None),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        });
        let takers = [(); 2].map(|()| {
            let slot = slot.clone();
            spawn(move || slot.take() + slot.take())
        });
        let givers = [0, 1].map(|giver| {
            let slot = slot.clone();
            spawn(move || (0..2).for_each(|bit| slot.put(1 << (2 * giver + bit))))
        });
        givers.into_iter().for_each(|one| one.join().unwrap());
        let sum: u32 = takers.into_iter().map(|one| one.join().unwrap()).sum();
        assert_eq!(sum, 0b1111);
    });
}

/// A notice for one does not end with one who leaves: late, or cancelled.
#[test]
fn a_notice_is_passed_on() {
    explore(|| {
        let state = Arc::new((Mutex::new(0u32), Condvar::new()));
        let waiters: Vec<_> = (0..3)
            .map(|number| {
                let state = state.clone();
                spawn(move || {
                    let mut tickets = state.0.lock().unwrap();
                    while *tickets == 0 {
                        if number == 0 {
                            let Ok(again) = state.1.wait_timeout(tickets, SHORT) else {
                                return 0;
                            };
                            tickets = again.0;
                            if again.1.timed_out() && *tickets == 0 {
                                return 0;
                            }
                        } else {
                            tickets = state.1.wait(tickets).unwrap();
                        }
                    }
                    *tickets -= 1;
                    1
                })
            })
            .collect();
        // Enough for all but the one that is cancelled and the one that is late; each by a notice of its
        // own.
        checkpoint();
        waiters[1].cancel(GRACE);
        for _ in 0..3 {
            *state.0.lock().unwrap() += 1;
            state.1.notify_one();
        }
        let served: u32 = waiters.into_iter().map(|one| one.join().unwrap_or(0)).sum();
        assert_eq!(served + *state.0.lock().unwrap(), 3);
    });
}

#[test]
fn permits_are_conserved() {
    explore(|| {
        let permits = Arc::new(Semaphore::new(2));
        let room: Arc<Room> = shared();
        let routines: Vec<_> = (0..5)
            .map(|number| {
                let (permits, room) = (permits.clone(), room.clone());
                spawn(move || {
                    let _held = match number {
                        0 => permits.acquire_many(2).unwrap(),
                        1 | 2 => permits.acquire().unwrap(),
                        3 => match permits.acquire_timeout(SHORT) {
                            Ok(permit) => permit,
                            Err(AcquireTimeoutError::Timeout) => return,
                            Err(other) => panic!("{other:?}"),
                        },
                        _ => match permits.try_acquire() {
                            Ok(permit) => permit,
                            Err(_) => return,
                        },
                    };
                    room.visit(if number == 0 { 1 } else { 2 });
                })
            })
            .collect();
        let in_task = permits.clone();
        let task = spawn_future(async move { drop(in_task.acquire_async().await.unwrap()) });
        checkpoint();
        routines[1].cancel(GRACE);
        task.abort();
        for routine in routines {
            let _ = routine.join();
        }
        let _ = task.join();
        assert_eq!(permits.available(), 2);
    });
}

#[test]
fn a_closed_semaphore_lets_nobody_wait() {
    explore(|| {
        let permits = Arc::new(Semaphore::new(1));
        let waiters = [(); 3].map(|()| {
            let permits = permits.clone();
            spawn(move || permits.acquire().map(|permit| permit.count()).is_ok())
        });
        permits.close();
        for one in waiters {
            one.join().unwrap();
        }
        assert_eq!(permits.available(), 1);
    });
}

/// A notice that nobody waits for is kept; one for somebody who leaves goes to the next.
#[test]
fn notify_keeps_one() {
    explore(|| {
        let notify = Arc::new(Notify::new());
        let done = Arc::new(AtomicBool::new(false));
        let (bell, flag) = (notify.clone(), done.clone());
        let waiter = spawn(move || {
            while !flag.load(Relaxed) {
                bell.wait();
            }
        });
        let early = notify.clone();
        let early = spawn(move || early.wait_timeout(SHORT).is_ok());
        done.store(true, Relaxed);
        notify.notify_one();
        // Whoever took the notice: the other one gets its own.
        if early.join().unwrap() {
            notify.notify_one();
        }
        waiter.join().unwrap();
    });
}

#[test]
fn all_who_wait_are_notified() {
    explore(|| {
        let notify = Arc::new(Notify::new());
        let open = Arc::new(AtomicBool::new(false));
        let waiters = [(); 3].map(|()| {
            let (notify, open) = (notify.clone(), open.clone());
            spawn_future(async move {
                loop {
                    // In the queue first, then the look: the usual way to lose nothing.
                    let heard = notify.wait_async();
                    if open.load(Relaxed) {
                        return;
                    }
                    openwork::time::timeout(Duration::from_millis(1), heard)
                        .await
                        .ok();
                }
            })
        });
        checkpoint();
        open.store(true, Relaxed);
        notify.notify_waiters();
        waiters.into_iter().for_each(|one| one.join().unwrap());
    });
}

#[test]
fn a_barrier_has_one_leader_each_time() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(3));
        let leaders = Arc::new([const { AtomicU32::new(0) }; 2]);
        let (arrived, rounds) = (Arc::new(AtomicU32::new(0)), 2);
        let routines = [(); 3].map(|()| {
            let (barrier, leaders) = (barrier.clone(), leaders.clone());
            let arrived = arrived.clone();
            spawn(move || {
                for round in 0..rounds {
                    arrived.fetch_add(1, Relaxed);
                    let result = barrier.wait();
                    assert!(arrived.load(Relaxed) >= 3 * (round as u32 + 1));
                    leaders[round].fetch_add(u32::from(result.is_leader()), Relaxed);
                }
            })
        });
        routines.into_iter().for_each(|one| one.join().unwrap());
        assert!(leaders.iter().all(|count| count.load(Relaxed) == 1));
    });
}

/// One who leaves a barrier was not there: the others wait for somebody else.
#[test]
fn who_leaves_a_barrier_was_not_there() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(2));
        let impatient = barrier.clone();
        let impatient = spawn(move || impatient.wait_timeout(SHORT).is_ok());
        let other = barrier.clone();
        let other = spawn(move || other.wait().is_leader());
        let met = impatient.join().unwrap();
        if !met {
            barrier.wait();
        }
        other.join().unwrap();
    });
}

#[test]
fn groups_and_latches_wait_for_the_last() {
    explore(|| {
        let group = WaitGroup::new();
        let latch = Arc::new(Latch::new(2));
        let done = Arc::new(AtomicU32::new(0));
        for number in 0..3 {
            group.add(1);
            let (group, latch, done) = (group.clone(), latch.clone(), done.clone());
            spawn(move || {
                checkpoint();
                done.fetch_add(1, Relaxed);
                if number < 2 {
                    latch.count_down();
                }
                group.done();
            });
        }
        let waiter = latch.clone();
        let waiter = spawn(move || waiter.wait());
        group.wait();
        assert_eq!(done.load(Relaxed), 3);
        latch.wait();
        waiter.join().unwrap();
        // And once more: a group is there for several rounds.
        group.add(1);
        let again = group.clone();
        spawn(move || again.done());
        group.wait();
    });
}

#[test]
fn an_initialisation_runs_once() {
    explore(|| {
        let cell = Arc::new(OnceCell::new());
        let once = Arc::new(Once::new());
        let (begun, ran) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let routines: Vec<_> = (0..4)
            .map(|number| {
                let (cell, once) = (cell.clone(), once.clone());
                let (begun, ran) = (begun.clone(), ran.clone());
                spawn(move || {
                    // The first attempts fail, or are cancelled in the middle: the next one tries.
                    let tried = cell.get_or_try_init(|| {
                        let first = begun.fetch_add(1, Relaxed) == 0;
                        checkpoint();
                        time::sleep(Duration::from_micros(5));
                        if first { Err(()) } else { Ok(number) }
                    });
                    once.call_once(|| {
                        checkpoint();
                        ran.fetch_add(1, Relaxed);
                    });
                    assert_eq!(ran.load(Relaxed), 1);
                    tried.copied()
                })
            })
            .collect();
        checkpoint();
        let values: Vec<_> = routines
            .into_iter()
            .filter_map(|one| one.join().unwrap().ok())
            .collect();
        assert!(values.len() >= 3, "one attempt fails, {values:?}");
        assert!(values.iter().all(|value| Some(value) == cell.get()));
    });
}

/// Who is woken to take a lock, and is cancelled instead, wakes the next one.
#[test]
fn a_lock_is_passed_on_by_who_gives_up() {
    explore(|| {
        let lock = Arc::new(Mutex::new(0));
        let held = lock.lock().unwrap();
        let waiters: Vec<_> = (0..3)
            .map(|number| {
                let lock = lock.clone();
                spawn(move || match number {
                    0 => *lock.lock().unwrap() += 1,
                    1 => {
                        if let Ok(mut guard) = lock.lock_timeout(SHORT) {
                            *guard += 1;
                        }
                    }
                    _ => *lock.lock().unwrap() += 1,
                })
            })
            .collect();
        checkpoint();
        drop(held);
        // Comes in between sometimes, so that who was woken finds the lock taken.
        drop(lock.try_lock());
        waiters[0].abort();
        for waiter in waiters {
            let _ = waiter.join();
        }
        assert!((1..=3).contains(&*lock.try_lock().unwrap()));
    });
}

/// Readers that wait because of a writer go in when he gives up, while others read still.
#[test]
fn readers_do_not_wait_for_a_writer_who_left() {
    explore(|| {
        let lock = Arc::new(RwLock::new(()));
        let reading = lock.read().unwrap();
        let by_time = lock.clone();
        let by_time = spawn(move || drop(by_time.write_timeout(SHORT)));
        let by_cancel = lock.clone();
        let by_cancel = spawn(move || drop(by_cancel.write().unwrap()));
        let reader = lock.clone();
        let reader = spawn(move || drop(reader.read().unwrap()));
        checkpoint();
        by_cancel.abort();
        // Before the one who reads has ended.
        reader.join().unwrap();
        drop(reading);
        let _ = (by_time.join(), by_cancel.join());
        assert!(lock.try_write().is_ok());
    });
}

/// Who is notified and cannot use it, because he is cancelled, passes the notice on.
#[test]
fn a_notice_is_not_lost_with_one_who_is_cancelled() {
    explore(|| {
        let state = Arc::new((Mutex::new(0u32), Condvar::new()));
        let waiters = [(); 2].map(|()| {
            let state = state.clone();
            spawn(move || {
                let tickets = state.0.lock().unwrap();
                let mut tickets = state
                    .1
                    .wait_while(tickets, |tickets| *tickets == 0)
                    .unwrap();
                *tickets -= 1;
            })
        });
        let give = || {
            *state.0.lock().unwrap() += 1;
            state.1.notify_one();
        };
        // Somebody who has the lock when the one who was notified wants it back.
        let busy = state.clone();
        let busy = spawn(move || {
            for _ in 0..4 {
                let _held = busy.0.lock().unwrap();
                checkpoint();
            }
        });
        checkpoint();
        give();
        waiters[0].abort();
        let [first, second] = waiters;
        // One notice, for one of the two; another one if the first has used it up.
        if first.join().is_ok() {
            give();
        }
        second.join().unwrap();
        busy.join().unwrap();
    });
}

/// A large wish that is given up does not keep those behind it waiting.
#[test]
fn small_wishes_come_after_a_large_one_that_left() {
    explore(|| {
        let permits = Arc::new(Semaphore::new(2));
        let held = permits.acquire().unwrap();
        let large = permits.clone();
        let large = spawn(move || large.acquire_many(2).map(drop).is_ok());
        let small = permits.clone();
        let small = spawn(move || drop(small.acquire().unwrap()));
        checkpoint();
        large.abort();
        // The other permit is free, and this one is not given back before.
        small.join().unwrap();
        drop(held);
        let _ = large.join();
        assert_eq!(permits.available(), 2);
    });
}
