//! What does a routine cost from its birth to its end? Per routine: spawned and joined one after another,
//! as closure and as future; a burst that is spawned before the first one runs, as large as a cache and
//! larger than any. Without the recorder of turns.
//!
//! The burst's first round pays for the pages of its blocks; the rounds after it find them there.

use divan::counter::ItemsCount;
use openwork::{JoinHandle, Runtime, spawn, spawn_future};

const ROUTINES: usize = 20_000;

fn main() {
    divan::main();
}

fn runtime(workers: usize) -> Runtime {
    Runtime::builder()
        .workers(workers)
        .record_turns(false)
        .build()
        .unwrap()
}

fn one_by_one(
    bencher: divan::Bencher,
    workers: usize,
    birth: impl Fn(usize) -> JoinHandle<usize> + Sync,
) {
    let rt = runtime(workers);
    bencher.counter(ItemsCount::new(ROUTINES)).bench(|| {
        rt.block_on(|| {
            for i in 0..ROUTINES {
                divan::black_box(birth(i).join().unwrap());
            }
        });
    });
}

#[divan::bench(args = [1, 2], sample_count = 50)]
fn joined(bencher: divan::Bencher, workers: usize) {
    one_by_one(bencher, workers, |i| spawn(move || i));
}

#[divan::bench(args = [1, 2], sample_count = 50)]
fn future_joined(bencher: divan::Bencher, workers: usize) {
    one_by_one(bencher, workers, |i| spawn_future(async move { i }));
}

#[divan::bench(args = [1, 2], consts = [1_000, 1_000_000], sample_count = 10)]
fn burst<const SIZE: usize>(bencher: divan::Bencher, workers: usize) {
    let rt = runtime(workers);
    bencher.counter(ItemsCount::new(SIZE)).bench(|| {
        rt.block_on(|| {
            let burst: Vec<_> = (0..SIZE).map(|i| spawn(move || i)).collect();
            burst.into_iter().for_each(|one| {
                divan::black_box(one.join().unwrap());
            });
        });
    });
}
