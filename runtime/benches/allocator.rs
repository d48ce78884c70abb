//! What does counting cost? One block of 64 bytes allocated and freed, by one thread and by two at
//! once, through the system's allocator and through the counting one, whose sampler takes its usual
//! sample in 512 KiB.
//!
//! It says nothing of programs whose blocks do not come back to the same cache line at once: there
//! the system's part is dearer and counting costs the same.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

use openwork::memory::{self, CountingAllocator};

static COUNTING: CountingAllocator<System> = CountingAllocator::new(System);

fn main() {
    divan::main();
}

fn pair(allocator: &impl GlobalAlloc) {
    let layout = Layout::new::<[u64; 8]>();
    // SAFETY: the layout has a size, and the block is freed once, where it came from.
    unsafe {
        let block = black_box(allocator.alloc(black_box(layout)));
        allocator.dealloc(block, layout);
    }
}

#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn system() {
    pair(&System);
}

#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn counting() {
    pair(&COUNTING);
}

/// In routines of one workload, which both workers charge when there are several.
#[divan::bench(args = [1, 8], sample_count = 20)]
fn counting_for_a_workload(bencher: divan::Bencher, routines: usize) {
    const PAIRS: usize = 100_000;
    let runtime = openwork::Runtime::builder().workers(2).build().unwrap();
    let handle = runtime.handle();
    let workload = openwork::Workload::new("allocator");
    bencher
        .counter(divan::counter::ItemsCount::new(PAIRS * routines))
        .bench(|| {
            let running: Vec<_> = (0..routines)
                .map(|_| {
                    let builder = openwork::Builder::new().workload(&workload).on(&handle);
                    let work = || (0..PAIRS).for_each(|_| pair(&COUNTING));
                    builder.spawn(work).unwrap()
                })
                .collect();
            for routine in running {
                routine.join().unwrap();
            }
        });
}

/// The samples' own price: an allocation that is sampled, with a stack of some 15 frames, and its
/// free, which is matched.
#[divan::bench(sample_size = 1000)]
fn one_sample(bencher: divan::Bencher) {
    let usual = memory::sample_interval_bytes();
    memory::set_sample_interval_bytes(1);
    // The change is noticed at the next sample: bring it about.
    let large = Layout::new::<[u8; 1 << 20]>();
    for _ in 0..64 {
        // SAFETY: the layout has a size, and the block is freed once, where it came from.
        unsafe {
            let block = black_box(COUNTING.alloc(large));
            COUNTING.dealloc(block, large);
        }
    }
    bencher.bench_local(|| pair(&COUNTING));
    memory::set_sample_interval_bytes(usual);
}
