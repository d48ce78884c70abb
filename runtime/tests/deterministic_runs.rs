//! Deterministic runs: the same seed makes the same run, in this process and in another; what goes
//! wrong is reported with everything needed to see it again.

use std::time::Duration;

use openwork::deterministic::Config;
use openwork::{channel, checkpoint, scope, select, spawn, spawn_turns, time, yield_now};

/// Some of everything; returns what happened, in order.
fn program() -> Vec<String> {
    let (tx, rx) = channel::bounded(2);
    let (quick, slow) = (channel::unbounded(), channel::rendezvous());
    let mut routines = Vec::new();
    for name in 0..3 {
        let tx = tx.clone();
        routines.push(spawn(move || {
            for i in 0..4 {
                tx.send(format!("{name}:{i}")).unwrap();
                if i == name {
                    time::sleep(Duration::from_micros(30));
                }
            }
        }));
    }
    drop(tx);
    let turns = spawn_turns(0, move |n| {
        *n += 1;
        match *n {
            5 => openwork::Turn::Done(()),
            2 => openwork::Turn::Sleep(Duration::from_micros(20)),
            _ => openwork::Turn::Again,
        }
    });
    let (quick_tx, slow_tx) = (quick.0, slow.0);
    routines.push(spawn(move || {
        for i in 0..3 {
            quick_tx.send(format!("quick {i}")).unwrap();
            checkpoint();
            let _ = slow_tx.send_timeout(format!("slow {i}"), Duration::from_micros(40));
        }
    }));
    let mut log = Vec::new();
    let mut ends = 0;
    while ends < 3 {
        select! {
            value = rx.recv() => match value {
                Ok(value) => log.push(value),
                Err(_) => ends = 3,
            },
            value = quick.1.recv() => match value {
                Ok(value) => log.push(value),
                Err(_) => ends += 1,
            },
            value = slow.1.recv() => match value {
                Ok(value) => log.push(value),
                Err(_) => ends += 1,
            },
            after(Duration::from_micros(10)) => log.push(format!("nothing at {}", time::now_ns())),
        }
    }
    drop((rx, quick.1, slow.1));
    let data = [1, 2, 3];
    scope(|s| {
        for part in &data {
            s.spawn(move || {
                yield_now();
                *part
            });
        }
    });
    for routine in routines {
        log.push(format!("{:?}", routine.join().map_err(|e| e.message())));
    }
    turns.join().unwrap();
    log.push(format!("end at {}", time::now_ns()));
    log
}

fn tolerant_program() -> Vec<String> {
    std::panic::catch_unwind(program).unwrap_or_default()
}

/// What seeds 0 to `seeds` do, as text.
fn many(seeds: u64) -> String {
    let mut text = String::new();
    for seed in 0..seeds {
        let run = Config::new().run(seed, tolerant_program);
        match run {
            Ok(run) => text += &format!("{} {:?} {:?}\n", run.schedule, run.value, run.took),
            Err(failure) => text += &format!("{failure}\n"),
        }
    }
    text
}

#[test]
fn a_seed_makes_the_same_run_again() {
    let (first, second) = (many(100), many(100));
    assert!(first.len() > 10_000);
    assert!(first == second, "two runs of one seed differ");
}
