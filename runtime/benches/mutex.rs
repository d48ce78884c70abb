//! What does a lock cost? Alone: one routine that locks and unlocks, nobody else wants it. Contended: eight
//! routines that add to one number, so that some wait. With the standard library's lock beside it, in
//! routines too: it is used for an addition only, so no holder is ever paused.
//!
//! It says nothing of programs that do something between two locks: there they meet less often.

use std::sync::Mutex as StdMutex;

use divan::counter::ItemsCount;
use openwork::sync::{Mutex, RwLock};
use openwork::{Runtime, scope};

/// Operations of all routines together.
const TURNS: usize = 4_000_000;
const ROUTINES: usize = 8;

fn main() {
    divan::main();
}

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().unwrap()
}

/// `turn`, again and again, in one routine.
fn alone(bencher: divan::Bencher, turn: impl Fn() + Sync) {
    let rt = runtime(1);
    bencher.counter(ItemsCount::new(TURNS)).bench(|| {
        rt.block_on(|| {
            scope(|s| {
                s.spawn(|| (0..TURNS).for_each(|_| turn()));
            });
        });
    });
}

/// `turn`, again and again, in eight routines.
fn crowd(bencher: divan::Bencher, workers: usize, turn: impl Fn() + Sync) {
    let rt = runtime(workers);
    bencher.counter(ItemsCount::new(TURNS)).bench(|| {
        rt.block_on(|| {
            scope(|s| {
                for _ in 0..ROUTINES {
                    s.spawn(|| (0..TURNS / ROUTINES).for_each(|_| turn()));
                }
            });
        });
    });
}

#[divan::bench(sample_count = 10)]
fn alone_mutex(bencher: divan::Bencher) {
    let lock = Mutex::new(0u64);
    alone(bencher, || *divan::black_box(&lock).lock().unwrap() += 1);
}

#[divan::bench(sample_count = 10)]
fn alone_std_mutex(bencher: divan::Bencher) {
    let lock = StdMutex::new(0u64);
    alone(bencher, || *divan::black_box(&lock).lock().unwrap() += 1);
}

#[divan::bench(args = [1, 2], sample_count = 10)]
fn crowd_mutex(bencher: divan::Bencher, workers: usize) {
    let lock = Mutex::new(0u64);
    crowd(bencher, workers, || *lock.lock().unwrap() += 1);
}

#[divan::bench(args = [1, 2], sample_count = 10)]
fn crowd_std_mutex(bencher: divan::Bencher, workers: usize) {
    let lock = StdMutex::new(0u64);
    crowd(bencher, workers, || *lock.lock().unwrap() += 1);
}

#[divan::bench(sample_count = 10)]
fn alone_read(bencher: divan::Bencher) {
    let lock = RwLock::new(0u64);
    alone(bencher, || {
        divan::black_box(*divan::black_box(&lock).read().unwrap());
    });
}

#[divan::bench(sample_count = 10)]
fn alone_std_read(bencher: divan::Bencher) {
    let lock = std::sync::RwLock::new(0u64);
    alone(bencher, || {
        divan::black_box(*divan::black_box(&lock).read().unwrap());
    });
}

#[divan::bench(args = [1, 2], sample_count = 10)]
fn crowd_read(bencher: divan::Bencher, workers: usize) {
    let lock = RwLock::new(0u64);
    crowd(bencher, workers, || {
        divan::black_box(*lock.read().unwrap());
    });
}

#[divan::bench(args = [1, 2], sample_count = 10)]
fn crowd_std_read(bencher: divan::Bencher, workers: usize) {
    let lock = std::sync::RwLock::new(0u64);
    crowd(bencher, workers, || {
        divan::black_box(*lock.read().unwrap());
    });
}
