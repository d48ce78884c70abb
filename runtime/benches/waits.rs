//! What does it cost to look at many routines that wait at one lock: in the list of routines, and in the walk
//! that also asks who holds the lock, for which each waiter is claimed?
//!
//! It says nothing of what the waiters lose by it: one that is woken while it is claimed goes on when the
//! claim is over.

use std::sync::Arc;

use divan::counter::ItemsCount;
use openwork::snapshot::WaitReason;
use openwork::sync::Mutex;
use openwork::{JoinHandle, Runtime};

const WAITERS: usize = 10_000;

fn main() {
    divan::main();
}

fn crowd(rt: &Runtime, lock: &Arc<Mutex<()>>) -> Vec<JoinHandle<()>> {
    let waiters = (0..WAITERS)
        .map(|_| {
            let lock = lock.clone();
            rt.spawn(move || drop(lock.lock()))
        })
        .collect();
    while rt.snapshot().routines.blocked_by[WaitReason::Lock as usize] < WAITERS as u64 {
        std::thread::yield_now();
    }
    waiters
}

fn look(bencher: divan::Bencher, look: impl Fn(&Runtime) -> u64 + Sync) {
    let rt = Runtime::builder().workers(1).build().unwrap();
    let lock = Arc::new(Mutex::new(()));
    let guard = lock.lock().unwrap();
    let waiters = crowd(&rt, &lock);
    bencher
        .counter(ItemsCount::new(WAITERS))
        .bench_local(|| look(&rt));
    drop(guard);
    waiters.into_iter().for_each(|one| one.join().unwrap());
}

#[divan::bench(sample_count = 50)]
fn list(bencher: divan::Bencher) {
    look(bencher, |rt| {
        let mut waiting = 0;
        rt.handle()
            .routines(&mut |view| waiting += u64::from(view.waits_at.is_some()));
        waiting
    });
}

#[divan::bench(sample_count = 50)]
fn walk_over_waits(bencher: divan::Bencher) {
    look(bencher, |rt| {
        let mut waiting = 0;
        rt.handle()
            .waits(&mut |wait| waiting += u64::from(wait.owner.is_some()));
        waiting
    });
}
