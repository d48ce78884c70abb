//! Fairness among equals, counted in turns and never in time: Jain's index over the turns that each has had,
//! `(sum x)^2 / (n * sum x^2)`, which is 1 if all have the same and `1/n` if one has everything; and the longest
//! that anybody waited, in turns of others.

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openwork::{Runtime, Turn, WorkerId, current_worker, yield_now};
use support::{Gate, Watchdog, runtime};

const LONG: Duration = Duration::from_secs(100);
const EQUALS: usize = 16;
/// Turns after which the first one to have them ends the race.
const ENOUGH: usize = 500;

/// Who had a turn, and where, in this order.
type Log = Arc<Mutex<Vec<(usize, WorkerId)>>>;

/// Notes a turn. True once somebody has had enough of them.
fn note(log: &Log, who: usize, mine: &mut usize, over: &Gate) -> bool {
    if !over.is_open() {
        log.lock().unwrap().push((who, current_worker().unwrap()));
        *mine += 1;
        if *mine == ENOUGH {
            over.open();
        }
    }
    over.is_open()
}

/// Equal routines race. `kinds` says whether those with even and those with odd numbers are turn loops.
fn race(rt: &Runtime, kinds: [bool; 2]) -> Vec<(usize, WorkerId)> {
    let log = Log::default();
    let over = Gate::new();
    let start = Gate::new();
    let racers: Vec<_> = (0..EQUALS)
        .map(|who| {
            let (log, over, start) = (log.clone(), over.clone(), start.clone());
            let mut mine = 0;
            let mut turn = move || start.is_open() && note(&log, who, &mut mine, &over);
            if kinds[who % 2] {
                rt.spawn_turns(
                    (),
                    move |()| if turn() { Turn::Done(()) } else { Turn::Again },
                )
            } else {
                rt.spawn(move || {
                    while !turn() {
                        yield_now();
                    }
                })
            }
        })
        .collect();
    start.open();
    racers.into_iter().for_each(|one| one.join().unwrap());
    Arc::into_inner(log).unwrap().into_inner().unwrap()
}

fn jain(counts: impl Iterator<Item = usize> + Clone) -> f64 {
    let squares: f64 = counts.clone().map(|x| (x * x) as f64).sum();
    let n = counts.clone().count() as f64;
    let sum = counts.sum::<usize>() as f64;
    sum * sum / (n * squares)
}

fn counts(log: &[(usize, WorkerId)]) -> HashMap<usize, usize> {
    let mut counts = HashMap::new();
    for (who, _) in log {
        *counts.entry(*who).or_insert(0) += 1;
    }
    counts
}

/// The most turns of others between two of one's own.
fn longest_wait(log: &[(usize, WorkerId)]) -> usize {
    let mut last = HashMap::new();
    let mut longest = 0;
    for (at, (who, _)) in log.iter().enumerate() {
        if let Some(before) = last.insert(*who, at) {
            longest = longest.max(at - before - 1);
        }
    }
    longest
}

const KINDS: [[bool; 2]; 3] = [[false, false], [true, true], [false, true]];

#[test]
fn equals_have_equal_turns_on_one_worker() {
    let watchdog = Watchdog::new("fairness, one worker");
    for kinds in KINDS {
        let rt = runtime(1);
        watchdog.watch("fairness, one worker", &rt.handle());
        let log = race(&rt, kinds);
        let counts = counts(&log);
        assert_eq!(counts.len(), EQUALS);
        let index = jain(counts.values().copied());
        assert!(index >= 0.95, "{kinds:?}: {index}, {counts:?}");
        let wait = longest_wait(&log);
        assert!(
            wait <= 4 * EQUALS,
            "{kinds:?}: one waited for {wait} turns of others"
        );
        rt.shutdown(LONG).unwrap();
    }
}

/// How much time a worker gets is the system's affair, so routines are compared that ran on one and the same
/// worker: started ones, which stay where they are.
#[test]
fn equals_have_equal_turns_on_each_of_several_workers() {
    let watchdog = Watchdog::new("fairness, several workers");
    // Of routines that move, or whose worker goes to another thread while theirs waits for the log,
    // nothing is said by a count for each worker.
    let rt = Runtime::builder()
        .workers(3)
        .hand_off(false)
        .travelling_homes(0)
        .build()
        .unwrap();
    watchdog.watch("fairness, several workers", &rt.handle());
    let log = race(&rt, [false, false]);
    for worker in 0..3 {
        let id = WorkerId::new(worker);
        let here: Vec<_> = log.iter().copied().filter(|(_, on)| *on == id).collect();
        // From when the last of them has come here: it may have waited with another worker until then.
        let first = |one: &usize| here.iter().position(|(routine, _)| routine == one);
        let all_here = counts(&here).keys().filter_map(first).max().unwrap_or(0);
        let counts = counts(&here[all_here..]);
        // Where next to nothing was run nothing can be said.
        if counts.values().sum::<usize>() > 20 * counts.len() {
            let index = jain(counts.values().copied());
            assert!(index >= 0.95, "{index} on {id:?}: {counts:?}");
        }
    }
    rt.shutdown(LONG).unwrap();
}
