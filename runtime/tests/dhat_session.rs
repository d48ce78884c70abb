//! A session of dhat over routines: what `/debug` offers as the exact heap profile. Needs the
//! feature `dhat`.
#![cfg(feature = "dhat")]

use std::hint::black_box;

use openwork::memory::{self, CountingAllocator};
use openwork::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: CountingAllocator<dhat::Alloc> = CountingAllocator::new(dhat::Alloc);

/// Blocks of a routine that is `depth` calls deep, on a stack of the smallest size.
#[inline(never)]
fn blocks(depth: usize) -> Vec<Vec<u8>> {
    if depth > 0 {
        let mut below = blocks(depth - 1);
        below.push(black_box(vec![1; 1000]));
        return below;
    }
    Vec::new()
}

/// dhat sees exactly the blocks of the session, in routines too, and those from before are none the
/// worse for being freed in it, nor the session's for being freed after it.
#[test]
fn dhat_sees_what_routines_allocate() {
    let runtime = Runtime::builder().workers(2).build().unwrap();
    let spawn = |depth| {
        Builder::new()
            .stack_size(32 << 10)
            .on(&runtime.handle())
            .spawn(move || blocks(depth))
            .unwrap()
    };
    let before = spawn(50).join().unwrap();
    let profiler = dhat::Profiler::builder().testing().build();
    memory::divert(true);
    let start = dhat::HeapStats::get();
    let during: Vec<_> = (0..20).map(|_| spawn(50)).collect();
    let mut during: Vec<_> = during.into_iter().map(|r| r.join().unwrap()).collect();
    let end = dhat::HeapStats::get();
    let new = (end.curr_bytes - start.curr_bytes) as u64;
    drop(before);
    during[0][0].push(2);
    memory::divert(false);
    drop(profiler);
    assert!((20 * 50_000..20 * 50_000 + 200_000).contains(&new), "{new}");
    during[1][0].push(3);
    assert_eq!((during[0][0][1000], during[1][0][1000]), (2, 3));
}
