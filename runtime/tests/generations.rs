//! In which order fresh routines start: children before their parents' cousins, siblings as they were
//! spawned, and nobody never.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use openwork::{JoinHandle, spawn};
use support::{Watchdog, runtime, until};

/// The numbers of `leaves` leaves from `first` on, added up; ten below each parent.
fn sum(first: u64, leaves: u64, most: &'static AtomicU64, now: &'static AtomicU64) -> u64 {
    if leaves == 1 {
        return first;
    }
    most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
    let part = leaves / 10;
    let children: Vec<JoinHandle<u64>> = (0..10)
        .map(|i| spawn(move || sum(first + i * part, part, most, now)))
        .collect();
    let sum = children
        .into_iter()
        .map(|child| child.join().unwrap())
        .sum();
    now.fetch_sub(1, Relaxed);
    sum
}

/// Run level by level it would be all 1,111 parents of a tree of 10,000 leaves that wait at one time.
#[test]
fn few_parents_of_a_tree_wait_at_one_time() {
    static MOST: AtomicU64 = AtomicU64::new(0);
    static NOW: AtomicU64 = AtomicU64::new(0);
    const LEAVES: u64 = 10_000;
    let watchdog = Watchdog::new("tree");
    let rt = runtime(1);
    watchdog.watch("tree", &rt.handle());
    let total = rt.block_on(|| sum(0, LEAVES, &MOST, &NOW));
    assert_eq!(total, LEAVES * (LEAVES - 1) / 2);
    let most = MOST.load(Relaxed);
    // Four, one on each level, and those with which the rotation begins another branch.
    assert!((4..=300).contains(&most), "{most} parents at one time");
}

/// Mostly: when more than a millisecond passes meanwhile, the rotation begins with another one.
#[test]
fn children_start_before_cousins_and_siblings_in_their_order() {
    const ROUNDS: usize = 20;
    // A turn of a portable build takes long beside others that compute.
    const LEAST: usize = if cfg!(portable) { 1 } else { ROUNDS / 2 };
    let rt = runtime(1);
    let in_order = (0..ROUNDS).filter(|_| {
        let started = Arc::new(Mutex::new(Vec::new()));
        let mark = |name: &'static str| {
            let started = started.clone();
            move || started.lock().unwrap().push(name)
        };
        rt.block_on(|| {
            let (elder, younger, first, second) =
                (mark("elder"), mark("younger"), mark("1"), mark("2"));
            let elder = spawn(move || {
                elder();
                let children = [spawn(first), spawn(second)];
                children.into_iter().for_each(|child| child.join().unwrap());
            });
            let younger = spawn(younger);
            elder.join().unwrap();
            younger.join().unwrap();
        });
        let mut started = started.lock().unwrap();
        let in_order = *started == ["elder", "1", "2", "younger"];
        started.sort_unstable();
        assert_eq!(*started, ["1", "2", "elder", "younger"]);
        in_order
    });
    let in_order = in_order.count();
    assert!(in_order >= LEAST, "{in_order} of {ROUNDS}");
}

/// Each routine of the chain is of the last generation, and spawns the next one before it ends: there is
/// always a younger one than the one that waits.
#[test]
fn an_old_one_starts_though_younger_ones_never_end() {
    fn chain(stop: Arc<AtomicBool>, length: Arc<AtomicU64>) {
        length.fetch_add(1, Relaxed);
        if !stop.load(Relaxed) {
            spawn(move || chain(stop, length)).detach();
        }
    }
    let watchdog = Watchdog::new("chain");
    let rt = runtime(1);
    watchdog.watch("chain", &rt.handle());
    let (stop, length) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
    let (to_chain, to_old) = (stop.clone(), stop.clone());
    let counted = length.clone();
    rt.block_on(move || {
        spawn(move || chain(to_chain, counted)).detach();
        for _ in 0..100 {
            // Yields, so that the chain is under way when the old one is spawned.
            openwork::yield_now();
        }
        spawn(move || to_old.store(true, Relaxed)).join().unwrap();
    });
    until("the chain has ended", || rt.snapshot().routines.live() == 0);
    println!("{} were younger", length.load(Relaxed));
    assert!(stop.load(Relaxed));
}
