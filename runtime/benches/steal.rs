//! What does a stolen routine cost? Per routine: one worker spawns a batch and then computes without giving
//! way, so that the other one steals all of it, half of the deque at a time, and runs it. The theft itself
//! is less than that by what `spawn`'s burst says of birth and turn.
//!
//! It says nothing of thieves that meet: there are two workers, and one of them never steals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use divan::counter::ItemsCount;
use openwork::{Runtime, spawn};

const BATCH: usize = 10_000;

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 100)]
fn all_of_a_batch(bencher: divan::Bencher) {
    let rt = Runtime::builder()
        .workers(2)
        .record_turns(false)
        .build()
        .unwrap();
    bencher.counter(ItemsCount::new(BATCH)).bench(|| {
        rt.block_on(|| {
            let done = Arc::new(AtomicUsize::new(0));
            for _ in 0..BATCH {
                let done = done.clone();
                spawn(move || done.fetch_add(1, Relaxed));
            }
            while done.load(Relaxed) < BATCH {
                std::hint::spin_loop();
            }
        });
    });
    let snapshot = rt.handle().snapshot();
    let stolen: u64 = snapshot.workers.iter().map(|worker| worker.stolen).sum();
    let spawned: u64 = snapshot.workers.iter().map(|worker| worker.spawned).sum();
    assert!(2 * stolen >= spawned, "{stolen} of {spawned} were stolen");
}
