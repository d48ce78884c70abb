//! What do appending, listing and verifying cost on this disk?
//!
//! Says nothing about mining: blocks cost two attempts here. The file lies in the system's temporary
//! folder; on a tmpfs a commit costs no disk, so look where that is. Reading comes from the system's
//! page cache.
//!
//! Run: `cargo bench -p openwork-blockchain --bench store`
//!
//! Medians on 2 cores of an AMD EPYC, ext4 on a virtual disk, other work on both: a block alone
//! 7.0 ms (0.7 ms at best: the disk's sync is nearly all of it), 1,000 at once 83 us each, verifying
//! 1.5 us a block, listing 2.3 us, reading one 12 us.
//!
//! With a cache of 1 MiB or 32 MiB instead of none: reading one 3 us, verifying and listing the
//! same, since a range reads each page once.

use std::sync::OnceLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use openwork_blockchain::{
    Candidate, Chain, ChainOptions, Difficulty, Listing, NONCE_LIMIT, Order, Receipt, verify,
};

fn main() {
    divan::main();
}

struct Stored {
    chain: Chain,
    _folder: tempfile::TempDir,
}

fn stored() -> Stored {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = ChainOptions {
        genesis_difficulty: Difficulty::MIN,
        ..ChainOptions::default()
    };
    let chain = Chain::open(folder.path().join("chain.redb"), options).expect("a new chain");
    Stored {
        chain,
        _folder: folder,
    }
}

fn append(chain: &Chain) -> Receipt {
    let mut candidate = Candidate::new(chain, "some data", Difficulty::MIN);
    let nonce = candidate.search(0..NONCE_LIMIT).expect("a nonce fits");
    chain.append(candidate.block(nonce, None))
}

/// A chain of 100,000 blocks, shared by the reading benches.
fn long() -> &'static Chain {
    static LONG: OnceLock<Stored> = OnceLock::new();
    let stored = LONG.get_or_init(|| {
        let stored = stored();
        let receipts: Vec<_> = (1..100_000).map(|_| append(&stored.chain)).collect();
        for receipt in receipts {
            receipt.wait().expect("the block is durable");
        }
        stored
    });
    &stored.chain
}

/// One block, durable before the next: a commit each.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn append_one(bencher: Bencher<'_, '_>) {
    let stored = stored();
    bencher.bench_local(|| append(&stored.chain).wait());
}

/// Blocks handed in without waiting: commits of many.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn append_1000_at_once(bencher: Bencher<'_, '_>) {
    let stored = stored();
    bencher.counter(ItemsCount::new(1_000u32)).bench_local(|| {
        let receipts: Vec<_> = (0..1_000).map(|_| append(&stored.chain)).collect();
        receipts
            .into_iter()
            .for_each(|receipt| drop(receipt.wait()));
    });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn verify_100_000(bencher: Bencher<'_, '_>) {
    let chain = long();
    bencher
        .counter(ItemsCount::new(100_000u32))
        .bench_local(|| verify(chain));
}

#[divan::bench(sample_count = 10, sample_size = 1, args = [Order::Ascending, Order::Descending])]
fn list_100_000(bencher: Bencher<'_, '_>, order: Order) {
    let chain = long();
    bencher
        .counter(ItemsCount::new(100_000u32))
        .bench_local(|| {
            let mut pages = chain.list(Listing {
                order,
                ..Listing::default()
            });
            let mut blocks = 0;
            while let Ok(Some(page)) = pages.next_page() {
                blocks += page.len();
            }
            blocks
        });
}

#[divan::bench]
fn read_one(bencher: Bencher<'_, '_>) {
    let chain = long();
    let mut index = 0;
    bencher.bench_local(|| {
        index = (index + 7_919) % 100_000;
        chain.block(index)
    });
}
