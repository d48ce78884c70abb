//! What the counting allocator promises: exact totals, bytes by workload, sites found by sampling,
//! and diverting to an allocator that needs more stack than a routine has.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use openwork::memory::{self, CountingAllocator, HeapSite, SystemBlocks};
use openwork::{Builder, Runtime, Workload};

#[global_allocator]
static ALLOCATOR: CountingAllocator<Hungry> = CountingAllocator::new(Hungry);

/// Stands for a heap profiler: walks the stack with an unwinder and uses 100 KiB of stack for each
/// call, more than a routine's whole stack.
struct Hungry;

static HUNGRY_CALLS: AtomicU64 = AtomicU64::new(0);
/// Frames of the newest backtrace of a block of [`TRACED`] bytes.
static TRACE: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];
const TRACED: usize = 77_777;

thread_local!(static BUSY: Cell<bool> = const { Cell::new(false) });

impl Hungry {
    #[inline(never)]
    fn eat(&self, size: usize) {
        if BUSY.replace(true) {
            return;
        }
        let mut food = [0_u8; 100 * 1024];
        black_box(&mut food);
        HUNGRY_CALLS.fetch_add(1, Relaxed);
        if size == TRACED {
            let mut depth = 0;
            backtrace::trace(|frame| {
                TRACE[depth].store(frame.ip() as usize, Relaxed);
                depth += 1;
                depth < TRACE.len()
            });
        }
        black_box(&mut food);
        BUSY.set(false);
    }
}

// SAFETY: forwards to `System`.
unsafe impl GlobalAlloc for Hungry {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.eat(layout.size());
        // SAFETY: the caller's contract is the callee's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.eat(0);
        // SAFETY: the caller's contract is the callee's.
        unsafe { System.dealloc(block, layout) }
    }
}

// SAFETY: 1 the blocks are `System`'s; 2 nothing in it panics; 3 it knows no routines.
unsafe impl SystemBlocks for Hungry {}

/// The counters are the process's, so tests that read them take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Runtime {
    Runtime::builder().workers(2).build().unwrap()
}

/// Whether one of the functions at these addresses, inlined ones too, has this in its name.
fn mentions(frames: &[usize], name: &str) -> bool {
    frames.iter().any(|&frame| {
        let mut found = false;
        backtrace::resolve(frame as *mut _, |symbol| {
            found |= symbol
                .name()
                .is_some_and(|known| known.to_string().contains(name));
        });
        found
    })
}

fn sites_of(name: &str) -> Vec<HeapSite> {
    let mut sites = memory::heap_sites();
    sites.retain(|site| mentions(&site.frames, name));
    sites
}

/// Blocks that are freed by other threads than those that allocated them, more threads than have
/// a shard to themselves.
#[test]
fn totals_conserve_over_threads() {
    let _alone = alone();
    const THREADS: usize = 250;
    const BLOCKS: usize = 100;
    const SIZE: usize = 1000;
    // What threads and channels need for themselves.
    const SLACK: u64 = 4 << 20;
    let before = memory::totals();
    std::thread::scope(|scope| {
        for _ in 0..THREADS / 2 {
            let (give, take) = mpsc::channel::<Vec<u8>>();
            scope.spawn(move || {
                for _ in 0..BLOCKS {
                    give.send(vec![1; SIZE]).unwrap();
                }
            });
            scope.spawn(move || take.iter().count());
        }
    });
    let after = memory::totals();
    let bytes = (THREADS / 2 * BLOCKS * SIZE) as u64;
    let allocated = after.allocated_bytes - before.allocated_bytes;
    let freed = after.freed_bytes - before.freed_bytes;
    assert!((bytes..bytes + SLACK).contains(&allocated), "{allocated}");
    assert!((bytes..bytes + SLACK).contains(&freed), "{freed}");
    assert!(after.allocated_objects - before.allocated_objects >= (THREADS / 2 * BLOCKS) as u64);
    assert!(after.freed_bytes <= after.allocated_bytes);
    assert!(memory::is_counting());
}

/// A reading never shows more frees than allocations, whatever moment it falls into.
#[test]
fn a_reading_never_shows_a_negative_heap() {
    let _alone = alone();
    std::thread::scope(|scope| {
        let (give, take) = mpsc::sync_channel::<Box<[u8; 64]>>(4);
        let producer = scope.spawn(move || {
            for i in 0..200_000 {
                give.send(Box::new([i as u8; 64])).unwrap();
            }
        });
        scope.spawn(move || take.iter().for_each(drop));
        while !producer.is_finished() {
            let now = memory::totals();
            assert!(now.freed_objects <= now.allocated_objects);
            assert!(now.freed_bytes <= now.allocated_bytes);
        }
    });
}

/// Bytes go to the workload of the routine that allocates, to the byte, and to no other.
#[test]
fn a_workload_is_charged_for_its_own() {
    let _alone = alone();
    let runtime = runtime();
    let [mine, other] = [Workload::new("mine"), Workload::new("other")];
    let spawn = |workload: &Workload, blocks: usize| {
        let own = workload.clone();
        Builder::new()
            .workload(workload)
            .on(&runtime.handle())
            .spawn(move || {
                let before = own.counters();
                let kept: Vec<u8> = Vec::with_capacity(3000);
                for _ in 0..blocks {
                    drop(black_box(vec![0_u8; 500]));
                    openwork::yield_now();
                }
                let after = own.counters();
                drop(kept);
                (before, after)
            })
            .unwrap()
    };
    let (first, second) = (spawn(&mine, 1000), spawn(&other, 10));
    for (routine, blocks) in [(first, 1000), (second, 10)] {
        let (before, after) = routine.join().unwrap();
        assert_eq!(
            after.allocated_bytes - before.allocated_bytes,
            3000 + 500 * blocks
        );
        assert_eq!(
            after.allocated_objects - before.allocated_objects,
            1 + blocks
        );
        assert_eq!(after.freed_bytes - before.freed_bytes, 500 * blocks);
        assert_eq!(after.freed_objects - before.freed_objects, blocks);
    }
}

/// Whoever has joined a routine finds all that it allocated in its workload's counters.
#[test]
fn an_ended_routine_is_settled() {
    let _alone = alone();
    let runtime = runtime();
    for i in 0..200 {
        let workload = Workload::new("short");
        Builder::new()
            .workload(&workload)
            .on(&runtime.handle())
            .spawn(move || drop(black_box(vec![0_u8; 100 + i])))
            .unwrap()
            .join()
            .unwrap();
        let counters = workload.counters();
        assert!(counters.allocated_bytes >= 100 + i as u64);
        assert!(counters.freed_bytes >= 100 + i as u64);
    }
}

#[inline(never)]
fn marked_allocation(kept: &mut Vec<Vec<u8>>) {
    for _ in 0..16_384 {
        kept.push(black_box(vec![1; 4096]));
    }
}

/// 64 MiB from one place: the estimate is right within what 128 samples allow, and falls to nothing
/// when everything is freed, by another thread.
#[test]
fn a_site_is_found_and_its_frees_are_matched() {
    let _alone = alone();
    let runtime = runtime();
    let kept = runtime
        .spawn(|| {
            let mut kept = Vec::with_capacity(16_384);
            marked_allocation(&mut kept);
            kept
        })
        .join()
        .unwrap();
    let bytes = |sites: &[HeapSite]| {
        let sum = |of: fn(&HeapSite) -> u64| sites.iter().map(of).sum::<u64>();
        (sum(|s| s.allocated_bytes), sum(|s| s.freed_bytes))
    };
    let (allocated, freed) = bytes(&sites_of("marked_allocation"));
    let expected = 64_u64 << 20;
    // Five standard deviations.
    let off = allocated.abs_diff(expected);
    assert!(off < expected * 45 / 100, "{allocated} of {expected}");
    assert_eq!(freed, 0);
    drop(kept);
    assert_eq!(
        bytes(&sites_of("marked_allocation")),
        (allocated, allocated)
    );
}

#[inline(never)]
fn deep_allocation(depth: usize) -> usize {
    let block = black_box(vec![depth as u8; 100]);
    let below = if depth == 0 {
        0
    } else {
        deep_allocation(depth - 1)
    };
    below + block.len()
}

/// Every allocation sampled, on stacks of the smallest size and nearly full: a sample must not need
/// more than an ordinary call does.
#[test]
fn sampling_fits_on_a_small_stack() {
    let _alone = alone();
    let usual = memory::sample_interval_bytes();
    memory::set_sample_interval_bytes(1);
    let routine = |stack, depth| {
        let runtime = runtime();
        Builder::new()
            .stack_size(stack)
            .on(&runtime.handle())
            .spawn(move || deep_allocation(depth))
            .unwrap()
            .join()
            .unwrap()
    };
    let sums = [routine(32 << 10, 60), routine(64 << 10, 150)];
    memory::set_sample_interval_bytes(usual);
    assert_eq!(sums, [61 * 100, 151 * 100]);
}

#[inline(never)]
fn marked_diversion(depth: usize) -> Vec<u8> {
    if depth > 0 {
        let block = black_box(vec![0_u8; 50]);
        let found = marked_diversion(depth - 1);
        drop(black_box(block));
        return found;
    }
    black_box(vec![7; TRACED])
}

/// The second allocator gets its stack, can unwind through to the routine's own frames, and blocks
/// from before, during and after the session are freed on either side of its ends.
#[test]
fn a_diverted_allocator_has_stack_enough() {
    let _alone = alone();
    let runtime = runtime();
    let before = vec![1_u8; 5000];
    let early = runtime.spawn(|| vec![2_u8; 5000]).join().unwrap();
    let calls = HUNGRY_CALLS.load(Relaxed);
    memory::divert(true);
    let during = runtime.spawn(|| marked_diversion(100));
    let mut during = during.join().unwrap();
    drop(before);
    runtime.spawn(move || drop(early)).join().unwrap();
    let mut grown = vec![3_u8; 5000];
    memory::divert(false);
    assert!(HUNGRY_CALLS.load(Relaxed) > calls + 200);
    during.extend_from_slice(&[8; 100]);
    grown.resize(9000, 4);
    assert_eq!((during[0], during[TRACED], grown[8999]), (7, 8, 4));
    let trace: Vec<usize> = TRACE.iter().map(|frame| frame.load(Relaxed)).collect();
    assert!(mentions(&trace, "marked_diversion"), "{trace:#x?}");
}

/// Sessions that begin and end while routines of two workers allocate and free.
#[test]
fn sessions_come_and_go_under_load() {
    let _alone = alone();
    let runtime = runtime();
    let routines: Vec<_> = (0..8)
        .map(|seed: usize| {
            runtime.spawn(move || {
                let mut kept = vec![Vec::new(); 16];
                for i in 0..3000 {
                    let slot = &mut kept[(i * 7 + seed) % 16];
                    slot.resize((i * 31 + seed) % 700, i as u8);
                    slot.shrink_to_fit();
                    openwork::yield_now();
                }
                kept.iter().map(Vec::len).sum::<usize>()
            })
        })
        .collect();
    while routines.iter().any(|routine| !routine.is_finished()) {
        memory::divert(true);
        std::thread::yield_now();
        memory::divert(false);
        std::thread::yield_now();
    }
    for routine in routines {
        assert!(routine.join().unwrap() > 0);
    }
}
