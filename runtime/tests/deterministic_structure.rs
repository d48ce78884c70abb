//! Joins, scopes, cancels and tokens under thousands of schedules: nothing that is borrowed outlives its
//! owner, everything is dropped once, and who is asked to end does.

mod deterministic_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use deterministic_support::explore;
use openwork::{
    CancelToken, JoinError, Turn, channel, checkpoint, hold_thread, is_cancelled, scope, select,
    spawn, spawn_future, spawn_turns, time, try_scope, yield_now,
};

const GRACE: Duration = Duration::from_secs(1000);

/// Counts its drops in somebody else's counter.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_join_gets_the_result_whoever_comes_first() {
    explore(|| {
        let drops = Arc::new(AtomicU32::new(0));
        for way in 0..5 {
            let value = Counted(drops.clone());
            let routine = spawn(move || {
                checkpoint();
                value
            });
            checkpoint();
            match way {
                0 => drop(routine.join().unwrap()),
                1 => drop(routine),
                2 => {
                    routine.abort();
                    drop(routine.join());
                }
                3 => {
                    let waiter = spawn_future(async move { drop(routine.await.unwrap()) });
                    waiter.join().unwrap();
                }
                _ => {
                    // A waiter that gives up in the middle of its wait.
                    let waiter = spawn(move || drop(routine.join()));
                    waiter.abort();
                    let _ = waiter.join();
                }
            }
        }
        // What was detached ends as well: the run waits for it.
        while drops.load(Relaxed) < 5 {
            yield_now();
        }
        assert_eq!(drops.load(Relaxed), 5);
    });
}

#[test]
fn a_scope_waits_for_all_whatever_happens() {
    explore(|| {
        let parent = spawn(|| {
            let running = AtomicU32::new(0);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                scope(|s| {
                    for child in 0..3u64 {
                        let running = &running;
                        s.spawn(move || {
                            running.fetch_add(1, Relaxed);
                            struct Out<'a>(&'a AtomicU32);
                            impl Drop for Out<'_> {
                                fn drop(&mut self) {
                                    self.0.fetch_sub(1, Relaxed);
                                }
                            }
                            let _out = Out(running);
                            checkpoint();
                            time::sleep(Duration::from_micros(10 * child));
                        });
                    }
                    checkpoint();
                })
            }));
            // Nobody borrows any more, also when the parent was cancelled.
            assert_eq!(running.load(Relaxed), 0);
            ended.is_ok()
        });
        checkpoint();
        parent.cancel(GRACE);
        let _ = parent.join();
    });
}

#[test]
fn the_first_error_ends_the_others() {
    explore(|| {
        let finished = AtomicU32::new(0);
        let result = try_scope(|s| {
            for number in 0..4u32 {
                let finished = &finished;
                s.spawn(move || {
                    checkpoint();
                    if number == 2 {
                        return Err(number);
                    }
                    time::try_sleep(Duration::from_secs(1)).map_err(|_| 100u32)?;
                    finished.fetch_add(1, Relaxed);
                    Ok(())
                });
            }
            Ok(())
        });
        let text = format!("{:?}", result.expect_err("one has failed"));
        assert!(text.contains('2'), "{text}");
        assert_eq!(finished.load(Relaxed), 0, "a second is far away");
    });
}

#[test]
fn a_token_reaches_everybody_below() {
    explore(|| {
        let root = CancelToken::new();
        let child = root.child();
        let late = child.clone();
        let routines: Vec<_> = [&root, &child, &root]
            .into_iter()
            .enumerate()
            .map(|(way, token)| {
                let token = token.clone();
                spawn(move || match way {
                    0 => token.wait().is_ok(),
                    1 => token.wait_timeout(GRACE).is_ok(),
                    _ => {
                        let (_tx, rx) = channel::bounded::<()>(1);
                        select! {
                            _ = rx.recv() => false,
                            why = token.cancelled() => why.is_ok(),
                        }
                    }
                })
            })
            .collect();
        let in_task = child.child();
        let task = spawn_future(async move { in_task.cancelled().await });
        let bound = openwork::Builder::new().cancel_with(&late);
        let bound = bound.spawn(|| {
            let answer = time::try_sleep(Duration::from_secs(1_000_000));
            (answer.is_err(), is_cancelled())
        });
        let deaf = openwork::Builder::new().without_token().spawn(|| {
            checkpoint();
            is_cancelled()
        });
        checkpoint();
        root.cancel();
        for routine in routines {
            assert!(routine.join().unwrap());
        }
        task.join().unwrap();
        match bound.unwrap().join() {
            Ok(answer) => assert_eq!(answer, (true, true)),
            Err(why) => assert!(matches!(why, JoinError::Cancelled), "before it began"),
        }
        assert!(!deaf.unwrap().join().unwrap());
        assert!(child.is_cancelled() && root.is_cancelled());
    });
}

/// A token with a time limit, whose children are cancelled at that moment and not before.
#[test]
fn a_token_ends_in_time() {
    explore(|| {
        let limit = Duration::from_secs(5);
        let began = time::now();
        let token = CancelToken::with_timeout(limit);
        let child = token.child();
        let waiter = spawn(move || child.wait().map(|_cause| time::now()));
        let busy = spawn(|| (0..10).for_each(|_| checkpoint()));
        let at = waiter.join().unwrap().unwrap();
        assert!(at - began >= limit);
        busy.join().unwrap();
        assert!(token.is_cancelled());
    });
}

/// An abort strikes anywhere, and everything that was held is given back.
#[test]
fn an_abort_releases_what_was_held() {
    explore(|| {
        let (drops, made) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (tx, rx) = channel::bounded(1);
        let victims: Vec<_> = (0..3)
            .map(|kind| {
                let (drops, made) = (drops.clone(), made.clone());
                let (tx, rx) = (tx.clone(), rx.clone());
                let held = move || {
                    made.fetch_add(1, Relaxed);
                    Counted(drops.clone())
                };
                match kind {
                    0 => spawn(move || {
                        let _mine = held();
                        loop {
                            tx.send(held()).unwrap();
                        }
                    }),
                    1 => spawn(move || {
                        let _mine = held();
                        while let Ok(value) = rx.recv() {
                            yield_now();
                            drop(value);
                        }
                    }),
                    _ => spawn_turns(held(), |_mine| Turn::Sleep(Duration::from_secs(1))),
                }
            })
            .collect();
        (0..3).for_each(|_| checkpoint());
        victims.iter().for_each(|victim| victim.abort());
        for victim in victims {
            assert!(matches!(victim.join(), Err(JoinError::Cancelled)));
        }
        drop((tx, rx));
        assert_eq!(drops.load(Relaxed), made.load(Relaxed));
    });
}

/// Who holds the thread is alone on it, as long as it does.
#[test]
fn who_holds_the_thread_is_alone() {
    explore(|| {
        let held = Arc::new(AtomicBool::new(false));
        let routines: Vec<_> = (0..3)
            .map(|number| {
                let held = held.clone();
                spawn(move || {
                    let check = || assert!(!held.load(Relaxed), "somebody holds the thread");
                    check();
                    if number == 0 {
                        hold_thread(|| {
                            held.store(true, Relaxed);
                            yield_now();
                            time::sleep(Duration::from_millis(1));
                            held.store(false, Relaxed);
                        });
                    }
                    checkpoint();
                    check();
                })
            })
            .collect();
        routines.into_iter().for_each(|one| one.join().unwrap());
    });
}

/// A polite cancel is heard once by a call that can fail, and unwinds afterwards.
#[test]
fn a_cancel_is_told_once() {
    explore(|| {
        let told = Arc::new(AtomicU32::new(0));
        let count = told.clone();
        let routine = spawn(move || {
            loop {
                if time::try_sleep(Duration::from_secs(1)).is_err() {
                    count.fetch_add(1, Relaxed);
                }
            }
        });
        checkpoint();
        routine.cancel(GRACE);
        assert!(matches!(routine.join(), Err(JoinError::Cancelled)));
        assert!(
            told.load(Relaxed) <= 1,
            "none if it was cancelled before it began"
        );
    });
}
