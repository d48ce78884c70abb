//! What does a value cost through a channel? Per value: one routine that sends to itself; a round trip of
//! two over two rendezvous channels; four senders and four receivers on one bounded channel; a `select!`
//! over two channels that a partner fills. With the standard library's channels on plain threads as a
//! yardstick, where it has the like.
//!
//! It says nothing of programs that do something with their values: there the caches are colder and
//! partners come at their own pace.

use std::sync::mpsc;

use divan::counter::ItemsCount;
use openwork::channel::{self, Receiver};
use openwork::{Runtime, select, spawn};

const VALUES: usize = 100_000;

fn main() {
    divan::main();
}

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().unwrap()
}

#[divan::bench(sample_count = 30)]
fn alone(bencher: divan::Bencher) {
    let rt = runtime(1);
    bencher.counter(ItemsCount::new(VALUES)).bench(|| {
        rt.block_on(|| {
            let (tx, rx) = channel::bounded(16);
            for i in 0..VALUES {
                tx.send(i).unwrap();
                divan::black_box(rx.recv().unwrap());
            }
        });
    });
}

#[divan::bench(sample_count = 30)]
fn alone_std(bencher: divan::Bencher) {
    bencher.counter(ItemsCount::new(VALUES)).bench(|| {
        let (tx, rx) = mpsc::sync_channel(16);
        for i in 0..VALUES {
            tx.send(i).unwrap();
            divan::black_box(rx.recv().unwrap());
        }
    });
}

#[divan::bench(args = [1, 2], sample_count = 30)]
fn ping_pong(bencher: divan::Bencher, workers: usize) {
    let rt = runtime(workers);
    bencher.counter(ItemsCount::new(VALUES)).bench(|| {
        rt.block_on(|| {
            let (ping, to) = channel::rendezvous();
            let (back, pong) = channel::rendezvous();
            let partner = spawn(move || to.iter().for_each(|i: usize| back.send(i).unwrap()));
            for i in 0..VALUES {
                ping.send(i).unwrap();
                divan::black_box(pong.recv().unwrap());
            }
            drop(ping);
            partner.join().unwrap();
        });
    });
}

#[divan::bench(args = [1, 2], sample_count = 30)]
fn four_to_four(bencher: divan::Bencher, workers: usize) {
    let rt = runtime(workers);
    bencher.counter(ItemsCount::new(VALUES)).bench(|| {
        rt.block_on(|| {
            let (tx, rx) = channel::bounded(128);
            for _ in 0..4 {
                let tx = tx.clone();
                spawn(move || (0..VALUES / 4).for_each(|i| tx.send(i).unwrap()));
            }
            drop(tx);
            let receivers: Vec<_> = (0..4)
                .map(|_| {
                    let rx = rx.clone();
                    spawn(move || rx.iter().count())
                })
                .collect();
            let all: usize = receivers.into_iter().map(|r| r.join().unwrap()).sum();
            assert_eq!(all, VALUES);
        });
    });
}

#[divan::bench(args = [1, 2], sample_count = 30)]
fn select_of_two(bencher: divan::Bencher, workers: usize) {
    let rt = runtime(workers);
    bencher.counter(ItemsCount::new(VALUES)).bench(|| {
        rt.block_on(|| {
            let fill = || -> Receiver<usize> {
                let (tx, rx) = channel::bounded(128);
                spawn(move || (0..VALUES / 2).for_each(|i| tx.send(i).unwrap()));
                rx
            };
            let (a, b) = (fill(), fill());
            let (mut open, mut count) = (2, 0);
            // A closed channel is ready for ever: the last values are taken without it.
            while open == 2 {
                select! {
                    value = a.recv() => if value.is_ok() { count += 1 } else { open = 1 },
                    value = b.recv() => if value.is_ok() { count += 1 } else { open = 1 },
                }
            }
            assert_eq!(count + a.iter().count() + b.iter().count(), VALUES);
        });
    });
}
