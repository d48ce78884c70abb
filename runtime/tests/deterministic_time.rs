//! Deadlines, rhythms and limits under thousands of schedules: never early, in order, and gone when they
//! are not waited for any more.

mod deterministic_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use deterministic_support::explore;
use openwork::deterministic::Config;
use openwork::time::{MissedTickBehavior, interval, timeout};
use openwork::{
    Builder, JoinError, Priority, channel, checkpoint, spawn, spawn_future, time, try_scope,
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn nobody_wakes_early() {
    explore(|| {
        let sleepers: Vec<_> = (1..6u32)
            .map(|number| {
                spawn(move || {
                    let until = time::now() + number * MS;
                    match number {
                        1 => time::sleep_until(until),
                        2 => time::try_sleep(number * MS).unwrap(),
                        3 => {
                            let (_tx, rx) = channel::bounded::<()>(1);
                            assert!(rx.recv_deadline(until).is_err());
                        }
                        4 => {
                            channel::after(number * MS).recv().unwrap();
                        }
                        _ => {
                            let late = spawn_future(async move {
                                let never = std::future::pending::<()>();
                                timeout(number * MS, never).await.is_err()
                            });
                            assert!(late.join().unwrap());
                        }
                    }
                    assert!(time::now() >= until, "{number} woke early");
                })
            })
            .collect();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
    });
}

/// Ticks are at their moments and in order, whichever way missed ones are made up for.
#[test]
fn a_rhythm_is_kept_however_late_somebody_is() {
    explore(|| {
        for behavior in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            let mut ticks = interval(2 * MS);
            ticks.set_missed_tick_behavior(behavior);
            let mut last = None;
            let mut first = None;
            for round in 0..4 {
                let at = ticks.tick();
                let first = *first.get_or_insert(at);
                assert!(time::now() >= at, "before its moment");
                assert!(last.is_none_or(|last| at > last), "backwards");
                if behavior == MissedTickBehavior::Skip {
                    let since = (at - first).as_nanos();
                    assert_eq!(since % (2 * MS).as_nanos(), 0, "out of step");
                }
                last = Some(at);
                if round == 1 {
                    time::sleep(5 * MS);
                }
            }
        }
    });
}

/// The grace time of a cancel: not over before it is, and never over for one who has ended.
#[test]
fn grace_is_granted() {
    explore(|| {
        let stubborn = spawn(|| {
            let began = time::now();
            // The first one says so, the second one unwinds only when the grace is over.
            let _ = time::try_sleep(Duration::from_secs(1000));
            while time::now() - began < Duration::from_secs(1) {
                let (_tx, rx) = channel::bounded::<()>(1);
                let _ = rx.recv_timeout(MS);
            }
        });
        checkpoint();
        stubborn.cancel(5 * MS);
        assert!(matches!(stubborn.join(), Err(JoinError::Cancelled)));
        let quick = spawn(|| time::try_sleep(Duration::from_secs(1000)).is_err());
        checkpoint();
        let began = time::now();
        quick.cancel(Duration::from_secs(500));
        match quick.join() {
            Ok(told) => assert!(told),
            Err(why) => assert!(matches!(why, JoinError::Cancelled)),
        }
        assert!(time::now() - began < Duration::from_secs(500));
    });
}

/// No more at once than the limit of a scope says.
#[test]
fn a_limit_holds() {
    explore(|| {
        let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let result = try_scope(|s| {
            s.limit(2);
            for _ in 0..5 {
                let (inside, most) = (&inside, &most);
                s.spawn(move || {
                    let now = inside.fetch_add(1, Relaxed) + 1;
                    most.fetch_max(now, Relaxed);
                    checkpoint();
                    time::sleep(MS);
                    inside.fetch_sub(1, Relaxed);
                    Ok::<(), ()>(())
                });
            }
            Ok(())
        });
        assert!(result.is_ok());
        assert!(most.load(Relaxed) <= 2);
    });
}

/// Priorities are no order that a program may rely on: everybody runs.
#[test]
fn every_priority_runs() {
    explore(|| {
        let sum = Arc::new(AtomicU32::new(0));
        let routines: Vec<_> = [Priority::Low, Priority::Normal, Priority::High]
            .into_iter()
            .enumerate()
            .map(|(number, priority)| {
                let sum = sum.clone();
                let builder = Builder::new().priority(priority);
                let routine = builder.spawn(move || {
                    checkpoint();
                    time::sleep(MS);
                    sum.fetch_add(1 << number, Relaxed);
                });
                routine.unwrap()
            })
            .collect();
        for routine in routines {
            routine.join().unwrap();
        }
        assert_eq!(sum.load(Relaxed), 0b111);
    });
}

/// What was not waited for to its end leaves no deadline behind: the run ends without it.
#[test]
fn a_deadline_that_was_not_needed_is_gone() {
    let config = Config::new().step_time(Duration::ZERO);
    for seed in 0..50 {
        let run = config.run(seed, || {
            let (tx, rx) = channel::rendezvous();
            let sender = spawn(move || tx.send_timeout(1, Duration::from_secs(3600)));
            assert_eq!(rx.recv_timeout(Duration::from_secs(3600)), Ok(1));
            sender.join().unwrap().unwrap();
            let quick = spawn_future(async { timeout(Duration::from_secs(3600), async {}).await });
            quick.join().unwrap().unwrap();
            time::sleep(MS);
        });
        assert_eq!(run.unwrap().took, MS);
    }
}
