//! What a theft costs, seen from outside: the runtime counts thefts, and clocks of threads say what they took.

use std::sync::atomic::{
    AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use openwork::channel::{self, Receiver, Sender};
use openwork::snapshot::WorkerSnapshot;
use openwork::spawn;

use super::Setup;
use super::ours::{got, runtime};
use super::sleepers;
use crate::measure::{Figure, thread_cpu};

/// One worker spawns, and computes while the other runs everything: each batch must be stolen.
///
/// The price of a theft is the processor time that the thief took beyond that for as many fresh routines
/// of one's own, divided by the thefts. That it touches what another core wrote last is part of it.
pub(super) fn steal(setup: &Setup) -> Vec<Figure> {
    let size = setup.size;
    let alone = runtime(&Setup {
        workers: 1,
        ..*setup
    });
    let own = alone.block_on(|| {
        let (crowd, all_ended) = crowd(size);
        let began = thread_cpu();
        got(all_ended.recv());
        crowd.ended_at.load(Relaxed) - began
    });
    drop(alone);
    let shared = runtime(setup);
    let thief = |figure: fn(&WorkerSnapshot) -> u64| {
        shared.snapshot().workers.iter().map(figure).sum::<u64>()
    };
    let (held, released, began) = (latch(), latch(), latch());
    let (foreign, thefts, moved) = shared.block_on(|| {
        spawn(move || {
            held.store(1, Release);
            spin_until(|| released.load(Acquire) == 1);
            began.store(thread_cpu(), Relaxed);
        })
        .detach();
        spin_until(|| held.load(Acquire) == 1);
        let before = (thief(|worker| worker.steals), thief(|worker| worker.stolen));
        let (crowd, all_ended) = crowd(size);
        released.store(1, Release);
        spin_until(|| all_ended.try_recv().is_ok());
        let taken = crowd.ended_at.load(Relaxed) - began.load(Relaxed);
        let thefts = thief(|worker| worker.steals) - before.0;
        (taken, thefts, thief(|worker| worker.stolen) - before.1)
    });
    let thefts = thefts.max(1) as f64;
    vec![
        Figure::new("theft", "ns", (foreign as f64 - own as f64) / thefts),
        Figure::new("batch", "routines", moved as f64 / thefts),
        Figure::new("own", "ns", own as f64 / size as f64),
        Figure::new("stolen", "ns", foreign as f64 / size as f64),
    ]
}

/// Routines that only count their ends. The last one reads the clock of its thread.
struct Crowd {
    left: AtomicU64,
    ended_at: AtomicU64,
    last: Sender<()>,
}

fn crowd(size: u64) -> (&'static Crowd, Receiver<()>) {
    let (last, all_ended) = channel::bounded(1);
    let crowd: &'static Crowd = Box::leak(Box::new(Crowd {
        left: AtomicU64::new(size),
        ended_at: AtomicU64::new(0),
        last,
    }));
    for _ in 0..size {
        spawn(move || {
            if crowd.left.fetch_sub(1, AcqRel) == 1 {
                crowd.ended_at.store(thread_cpu(), Relaxed);
                got(crowd.last.send(()));
            }
        })
        .detach();
    }
    (crowd, all_ended)
}

fn latch() -> &'static AtomicU64 {
    Box::leak(Box::new(AtomicU64::new(0)))
}

/// Looks seldom, so that looking does not take the cache line from who writes it.
fn spin_until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        sleepers::compute();
    }
}
