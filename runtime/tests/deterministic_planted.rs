//! Bugs that were planted, and in how many schedules they are found. A tool that finds nothing in broken
//! programs would find nothing in ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use openwork::deterministic::{Config, Failure, FailureKind, Strategy};
use openwork::sync::Mutex;
use openwork::{channel, checkpoint, spawn};

/// Schedules until the bug shows, in the median of many searches that begin at different seeds.
#[track_caller]
fn schedules_needed(
    strategy: Strategy,
    program: impl Fn() + Clone + Send + Sync + 'static,
    is_it: fn(&Failure) -> bool,
) -> u64 {
    const SEARCHES: u64 = 15;
    const PATIENCE: u64 = 2000;
    let config = Config::new().strategy(strategy).steps_max(10_000);
    let mut needed: Vec<u64> = (0..SEARCHES)
        .map(|search| {
            let first = search * PATIENCE;
            let found = config.explore(first..first + PATIENCE, program.clone());
            let failure = found.expect_err("the planted bug was not found");
            assert!(is_it(&failure), "something else: {failure}");
            // The seed shows it again, and so does the schedule.
            let again = config.run(failure.seed(), program.clone()).unwrap_err();
            assert_eq!(again.schedule, failure.schedule);
            let replayed = config.replay(&failure.schedule, program.clone());
            assert_eq!(replayed.unwrap_err().schedule, failure.schedule);
            failure.runs_before + 1
        })
        .collect();
    needed.sort_unstable();
    needed[needed.len() / 2]
}

#[track_caller]
fn check(
    what: &str,
    program: impl Fn() + Clone + Send + Sync + 'static,
    is_it: fn(&Failure) -> bool,
) {
    let mut medians = BTreeMap::new();
    for (name, strategy) in [
        ("mixed", Strategy::Mixed),
        ("uniform", Strategy::Uniform),
        ("priorities", Strategy::Priorities { depth: 3 }),
    ] {
        let median = schedules_needed(strategy, program.clone(), is_it);
        medians.insert(name, median);
    }
    println!("{what}: schedules in the median: {medians:?}");
    assert!(medians["mixed"] <= 300, "{what}: {medians:?}");
}

fn is_deadlock(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Deadlock(_))
}

fn is_panic(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Panicked(_))
}

/// Read, and write later: two increments make one.
#[test]
fn an_update_that_is_not_atomic() {
    let program = || {
        let count = Arc::new(AtomicU64::new(0));
        let both = [(); 2].map(|()| {
            let count = count.clone();
            spawn(move || {
                let seen = count.load(Relaxed);
                checkpoint();
                count.store(seen + 1, Relaxed);
            })
        });
        both.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(count.load(Relaxed), 2, "an update was lost");
    };
    check("lost update", program, is_panic);
}

/// Under the lock to look, under the lock to act, and not in between.
#[test]
fn a_check_and_an_act_under_two_locks() {
    let program = || {
        let seats = Arc::new(Mutex::new(1u32));
        let guests = [(); 3].map(|()| {
            let seats = seats.clone();
            spawn(move || {
                let free = *seats.lock().unwrap() > 0;
                if free {
                    let mut seats = seats.lock().unwrap();
                    *seats = seats.checked_sub(1).expect("sold twice");
                }
            })
        });
        guests.into_iter().for_each(|one| one.join().unwrap());
    };
    check("check, then act", program, is_panic);
}

#[test]
fn two_locks_in_two_orders() {
    let program = || {
        let (a, b) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let (a2, b2) = (a.clone(), b.clone());
        let other = spawn(move || {
            let _b = b2.lock().unwrap();
            let _a = a2.lock().unwrap();
        });
        {
            let _a = a.lock().unwrap();
            let _b = b.lock().unwrap();
        }
        other.join().unwrap();
    };
    check("lock order", program, is_deadlock);
}

/// Three at a table, each with the left fork first.
#[test]
fn philosophers() {
    let program = || {
        let forks: Vec<_> = (0..3).map(|_| Arc::new(Mutex::new(()))).collect();
        let guests: Vec<_> = (0..3)
            .map(|seat| {
                let (left, right) = (forks[seat].clone(), forks[(seat + 1) % 3].clone());
                spawn(move || {
                    let _left = left.lock().unwrap();
                    let _right = right.lock().unwrap();
                })
            })
            .collect();
        guests.into_iter().for_each(|one| one.join().unwrap());
    };
    check("three philosophers", program, is_deadlock);
}

/// An event whose setter looks for sleepers before it says that it has happened.
#[derive(Default)]
struct LossyEvent {
    set: AtomicBool,
    sleeper: Mutex<Option<channel::Sender<()>>>,
}

impl LossyEvent {
    fn wait(&self) {
        if self.set.load(Relaxed) {
            return;
        }
        let (tx, rx) = channel::bounded(1);
        *self.sleeper.lock().unwrap() = Some(tx);
        // Missing: another look at `set`.
        let _ = rx.recv();
    }

    fn set(&self) {
        self.set.store(true, Relaxed);
        if let Some(sleeper) = self.sleeper.lock().unwrap().take() {
            sleeper.send(()).unwrap();
        }
    }
}

#[test]
fn a_wake_up_that_is_lost() {
    let program = || {
        let event = Arc::new(LossyEvent::default());
        let waiter = event.clone();
        let waiter = spawn(move || waiter.wait());
        event.set();
        waiter.join().unwrap();
    };
    check("lost wake-up", program, is_deadlock);
}

/// A message to itself through a channel that others have filled.
#[test]
fn a_full_channel_in_a_ring() {
    let program = || {
        let (tx, rx) = channel::bounded(1);
        let workers = [(); 2].map(|()| {
            let (tx, rx) = (tx.clone(), rx.clone());
            spawn(move || {
                tx.send(1u32).unwrap();
                tx.send(2).unwrap();
                (rx.recv().unwrap(), rx.recv().unwrap())
            })
        });
        rx.recv().unwrap();
        tx.send(3).unwrap();
        for one in workers {
            one.join().unwrap();
        }
    };
    check("ring of full channels", program, is_deadlock);
}
