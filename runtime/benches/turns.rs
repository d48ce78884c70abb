//! What does a turn cost? Per turn: a routine that yields alone, so that nothing is left but the way to
//! the worker and back; two that take turns; a thousand that do, whose stacks and blocks do not stay in
//! the nearest cache; a turn loop that may move, whose every turn begins on a fresh stack. Without the
//! recorder of turns, and the first once more with it.
//!
//! It says nothing of turns in which something is done, which leaves the caches colder.

use divan::counter::ItemsCount;
use openwork::{Runtime, Turn, spawn, spawn_turns, yield_now};

const TURNS: usize = 100_000;

fn main() {
    divan::main();
}

fn runtime(workers: usize, record: bool) -> Runtime {
    Runtime::builder()
        .workers(workers)
        .record_turns(record)
        .build()
        .unwrap()
}

#[divan::bench(args = [false, true], sample_count = 50)]
fn alone(bencher: divan::Bencher, recorded: bool) {
    let rt = runtime(1, recorded);
    bencher
        .counter(ItemsCount::new(TURNS))
        .bench(|| rt.block_on(|| (0..TURNS).for_each(|_| yield_now())));
}

#[divan::bench(args = [2, 1000], sample_count = 50)]
fn in_turn(bencher: divan::Bencher, routines: usize) {
    let rt = runtime(1, false);
    bencher.counter(ItemsCount::new(TURNS)).bench(|| {
        rt.block_on(|| {
            let each = TURNS / routines;
            let all: Vec<_> = (0..routines)
                .map(|_| spawn(move || (0..each).for_each(|_| yield_now())))
                .collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        });
    });
}

#[divan::bench(sample_count = 50)]
fn turn_loop(bencher: divan::Bencher) {
    let rt = runtime(1, false);
    bencher.counter(ItemsCount::new(TURNS)).bench(|| {
        rt.block_on(|| {
            let turns = spawn_turns(0, |n| {
                *n += 1;
                if *n < TURNS {
                    Turn::Again
                } else {
                    Turn::Done(())
                }
            });
            turns.join().unwrap();
        });
    });
}
