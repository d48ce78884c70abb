//! What does a deadline cost, with few others and with a million? Inserting and taking back, and inserting
//! and serving, for the wheel of the crate and, as a yardstick, a heap of four children a node that knows
//! each entry's place (what Go had until it went over to lazy removal); then the whole of a wait that a
//! deadline bounds, and of a sleep, in routines.
//!
//! It says nothing of lateness: that is what the system does with a sleeping thread, and what else there is
//! to do. `openwork bench run timers_20k` measures it beside other runtimes.

use std::time::Duration;

use divan::counter::ItemsCount;
use openwork::{Runtime, channel, scope, spawn, time};

#[expect(dead_code, reason = "the bench uses a part of it")]
#[path = "../src/scheduler/timers/slab.rs"]
mod slab;
#[expect(dead_code, reason = "the bench uses a part of it")]
#[path = "../src/scheduler/timers/wheel.rs"]
mod wheel;

use wheel::Wheel;

/// Deadlines lie within so many nanoseconds from now.
const SPAN: u64 = 10_000_000_000;
/// Operations of one measurement.
const OPERATIONS: u64 = 100_000;
const CROWDS: [u64; 3] = [0, 10_000, 1_000_000];

fn main() {
    divan::main();
}

/// What can hold deadlines.
trait Deadlines {
    type Key;
    fn new() -> Self;
    fn insert(&mut self, at: u64, value: u64) -> Self::Key;
    fn cancel(&mut self, key: Self::Key) -> Option<u64>;
    fn pop(&mut self, now: u64) -> Option<(u64, u64)>;
}

impl Deadlines for Wheel<u64> {
    type Key = wheel::Key;
    fn new() -> Self {
        Wheel::new()
    }
    fn insert(&mut self, at: u64, value: u64) -> wheel::Key {
        Wheel::insert(self, at, value)
    }
    fn cancel(&mut self, key: wheel::Key) -> Option<u64> {
        Wheel::cancel(self, key)
    }
    fn pop(&mut self, now: u64) -> Option<(u64, u64)> {
        Wheel::pop(self, now)
    }
}

/// The yardstick: deadlines in an implicit heap, values in a slab, each knows where the other is.
struct Heap {
    heap: Vec<(u64, u32)>,
    values: Vec<(u64, u32)>,
    free: Vec<u32>,
}

impl Heap {
    const CHILDREN: usize = 4;

    fn put(&mut self, place: usize, item: (u64, u32)) {
        self.heap[place] = item;
        self.values[item.1 as usize].1 = place as u32;
    }

    fn sift_up(&mut self, mut place: usize) {
        let item = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / Self::CHILDREN;
            if self.heap[parent].0 <= item.0 {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, item);
    }

    fn sift_down(&mut self, mut place: usize) {
        let item = self.heap[place];
        loop {
            let first = place * Self::CHILDREN + 1;
            let last = (first + Self::CHILDREN).min(self.heap.len());
            let Some(child) = (first..last).min_by_key(|&child| self.heap[child].0) else {
                break;
            };
            if item.0 <= self.heap[child].0 {
                break;
            }
            self.put(place, self.heap[child]);
            place = child;
        }
        self.put(place, item);
    }

    fn remove_at(&mut self, place: usize) -> (u64, u64) {
        let (at, index) = self.heap[place];
        let last = self.heap.pop().unwrap();
        if place < self.heap.len() {
            self.put(place, last);
            self.sift_up(place);
            self.sift_down(self.values[last.1 as usize].1 as usize);
        }
        self.free.push(index);
        (at, self.values[index as usize].0)
    }
}

impl Deadlines for Heap {
    type Key = u32;
    fn new() -> Self {
        Heap {
            heap: Vec::new(),
            values: Vec::new(),
            free: Vec::new(),
        }
    }
    fn insert(&mut self, at: u64, value: u64) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.values.push((0, 0));
            self.values.len() as u32 - 1
        });
        self.values[index as usize].0 = value;
        self.heap.push((at, index));
        self.sift_up(self.heap.len() - 1);
        index
    }
    fn cancel(&mut self, key: u32) -> Option<u64> {
        let place = self.values[key as usize].1 as usize;
        Some(self.remove_at(place).1)
    }
    fn pop(&mut self, now: u64) -> Option<(u64, u64)> {
        let first = self.heap.first()?;
        (first.0 <= now).then(|| self.remove_at(0))
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

fn filled<D: Deadlines>(crowd: u64) -> (D, Vec<D::Key>, Random) {
    let (mut deadlines, mut random) = (D::new(), Random(7));
    let keys = (0..crowd)
        .map(|i| deadlines.insert(SPAN + random.below(SPAN), i))
        .collect();
    (deadlines, keys, random)
}

/// A wait that is answered: its deadline is a second away, and taken back at once.
#[divan::bench(types = [Wheel<u64>, Heap], args = CROWDS, sample_count = 20)]
fn insert_and_cancel<D: Deadlines>(bencher: divan::Bencher, crowd: u64) {
    let (mut deadlines, _keys, _) = filled::<D>(crowd);
    let mut now = 0;
    bencher
        .counter(ItemsCount::new(OPERATIONS))
        .bench_local(|| {
            for i in 0..OPERATIONS {
                now += 100;
                let key = deadlines.insert(now + SPAN / 10, i);
                divan::black_box(deadlines.cancel(key));
            }
        });
}

/// Any one of the crowd is taken back, and another one takes its place.
#[divan::bench(types = [Wheel<u64>, Heap], args = &CROWDS[1..], sample_count = 20)]
fn replace_any<D: Deadlines>(bencher: divan::Bencher, crowd: u64) {
    let (mut deadlines, mut keys, mut random) = filled::<D>(crowd);
    bencher
        .counter(ItemsCount::new(OPERATIONS))
        .bench_local(|| {
            for i in 0..OPERATIONS {
                let key = deadlines.insert(SPAN + random.below(SPAN), i);
                let place = random.below(crowd) as usize;
                deadlines.cancel(std::mem::replace(&mut keys[place], key));
            }
        });
}

/// A crowd comes, and each is served when its time has come, in steps of 100 us.
#[divan::bench(types = [Wheel<u64>, Heap], args = &CROWDS[1..], sample_count = 5)]
fn insert_and_serve<D: Deadlines>(bencher: divan::Bencher, crowd: u64) {
    bencher.counter(ItemsCount::new(crowd)).bench_local(|| {
        let (mut deadlines, _, _) = filled::<D>(crowd);
        let mut now = SPAN;
        let mut served = 0;
        while served < crowd {
            now += 100_000;
            while let Some(due) = deadlines.pop(now) {
                divan::black_box(due);
                served += 1;
            }
        }
    });
}

/// The longest step of serving a crowd: what a deadline may be late by because others are sorted.
#[divan::bench(types = [Wheel<u64>, Heap], args = &CROWDS[1..], sample_count = 5)]
fn longest_step<D: Deadlines>(bencher: divan::Bencher, crowd: u64) {
    bencher
        // The block behind the crowd keeps the allocator from giving all memory back in one step.
        .with_inputs(|| (filled::<D>(crowd).0, Box::new([0u8; 1024])))
        .bench_local_values(|(mut deadlines, _behind)| {
            let (mut now, mut served, mut longest) = (SPAN, 0, Duration::ZERO);
            while served < crowd {
                now += 100_000;
                let began = thread_time();
                while let Some(due) = deadlines.pop(now) {
                    divan::black_box(due);
                    served += 1;
                }
                longest = longest.max(thread_time() - began);
            }
            eprintln!("longest step: {longest:?}");
        });
}

/// Processor time of this thread: what others make it wait is not counted.
fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes the value that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn runtime() -> Runtime {
    Runtime::builder().workers(1).build().unwrap()
}

/// A value that comes before the deadline of the wait for it, which blocks first; and without a deadline.
#[divan::bench(args = [true, false], sample_count = 20)]
fn wait_in_routine(bencher: divan::Bencher, bounded: bool) {
    const WAITS: usize = 20_000;
    let rt = runtime();
    bencher.counter(ItemsCount::new(WAITS)).bench(|| {
        rt.block_on(|| {
            let (tx, rx) = channel::rendezvous();
            spawn(move || (0..WAITS).for_each(|i| tx.send(i).unwrap())).detach();
            for _ in 0..WAITS {
                divan::black_box(match bounded {
                    true => rx.recv_timeout(Duration::from_secs(1)).unwrap(),
                    false => rx.recv().unwrap(),
                });
            }
        });
    });
}

/// A thousand sleepers at a time, whose deadlines lie within a tenth of a millisecond.
#[divan::bench(sample_count = 20)]
fn sleep_in_routine(bencher: divan::Bencher) {
    const SLEEPERS: usize = 1000;
    let rt = runtime();
    bencher.counter(ItemsCount::new(SLEEPERS)).bench(|| {
        rt.block_on(|| {
            scope(|s| {
                for i in 0..SLEEPERS {
                    let pause = Duration::from_nanos((i * 7919 % 100_000) as u64);
                    s.spawn(move || time::sleep(pause));
                }
            });
        });
    });
}
