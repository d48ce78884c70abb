//! What do travelling homes cost? Per turn, beside homes that are threads: two and a thousand routines that take
//! turns, each under another home; two that send and answer; one that begins and ends, on a home that is there. Per
//! home: making it, which the first block of a routine pays, and ending it with the runtime.
//!
//! Of a turn between two routines, 29 ns became 89; of a thousand's, 64 became 139; of a round of sending and
//! answering, 275 became 399; of a routine's beginning and end, 192 became 314 (one worker, no allocation).
//!
//! It says nothing of turns that allocate: an allocator's caches are the home's, so what moves between processors
//! then is the allocator's business.

use divan::counter::ItemsCount;
use openwork::{Runtime, channel, spawn, yield_now};

const TURNS: usize = 100_000;
const HOMES: usize = 1024;

fn main() {
    divan::main();
}

fn runtime(homes: usize) -> Runtime {
    Runtime::builder()
        .workers(1)
        .travelling_homes(homes)
        .build()
        .unwrap()
}

#[divan::bench(args = [(0, 2), (HOMES, 2), (0, 1000), (HOMES, 1000)], sample_count = 50)]
fn in_turn(bencher: divan::Bencher, (homes, routines): (usize, usize)) {
    let rt = runtime(homes);
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

#[divan::bench(args = [0, HOMES], sample_count = 50)]
fn ping_pong(bencher: divan::Bencher, homes: usize) {
    let rt = runtime(homes);
    let rounds = TURNS / 10;
    bencher.counter(ItemsCount::new(rounds)).bench(|| {
        rt.block_on(|| {
            let (there, here) = (channel::rendezvous(), channel::rendezvous());
            let echo = spawn(move || {
                while let Ok(ball) = there.1.recv() {
                    if here.0.send(ball).is_err() {
                        break;
                    }
                }
            });
            for ball in 0..rounds {
                there.0.send(ball).unwrap();
                assert_eq!(here.1.recv(), Ok(ball));
            }
            drop(there.0);
            echo.join().unwrap();
        });
    });
}

#[divan::bench(args = [0, HOMES], sample_count = 50)]
fn begins_and_ends(bencher: divan::Bencher, homes: usize) {
    let rt = runtime(homes);
    let routines = TURNS / 10;
    bencher.counter(ItemsCount::new(routines)).bench(|| {
        rt.block_on(|| (0..routines).for_each(|_| spawn(|| ()).join().unwrap()));
    });
}

/// A runtime whose 256 routines each make a home, and its end.
#[divan::bench(args = [0, HOMES], sample_count = 10)]
fn first_blocks(bencher: divan::Bencher, homes: usize) {
    const ROUTINES: usize = 256;
    bencher.counter(ItemsCount::new(ROUTINES)).bench(|| {
        let rt = runtime(homes);
        rt.block_on(|| {
            let (go, wait) = channel::bounded::<()>(ROUTINES);
            let (begun, has_begun) = channel::bounded::<()>(ROUTINES);
            let all: Vec<_> = (0..ROUTINES)
                .map(|_| {
                    let (wait, begun) = (wait.clone(), begun.clone());
                    spawn(move || {
                        begun.send(()).unwrap();
                        wait.recv().unwrap();
                    })
                })
                .collect();
            (0..ROUTINES).for_each(|_| has_begun.recv().unwrap());
            (0..ROUTINES).for_each(|_| go.send(()).unwrap());
            all.into_iter().for_each(|one| one.join().unwrap());
        });
    });
}
