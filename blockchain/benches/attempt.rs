//! What does one attempt cost, and what does the midstate save?
//!
//! Says nothing about routines (see `scaling`) nor about luck: no nonce fits in these ranges.
//!
//! Run: `cargo bench -p openwork-blockchain --bench attempt`
//!
//! Medians on 2 cores of an AMD EPYC with SHA extensions, Linux 6.18, other work on both: an attempt
//! takes 42.6 ns with the midstate and 77 to 91 ns without, a rebase 120 ns.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use openwork_blockchain::{
    Candidate, Chain, ChainOptions, Difficulty, HEADER_VERSION, Hash, Header, Search,
};

fn main() {
    divan::main();
}

const ATTEMPTS: u64 = 10_000;

fn header() -> Header {
    Header {
        version: HEADER_VERSION,
        difficulty: Difficulty::MAX,
        index: 1,
        timestamp_ns: 1_700_000_000_000_000_000,
        previous_hash: Hash::of(b"before"),
        data_hash: Hash::of(b"data"),
        nonce: 0,
    }
}

/// As miners do it: one compression an attempt.
#[divan::bench]
fn with_midstate(bencher: Bencher<'_, '_>) {
    let mut search = Search::new(&header().encode(), Difficulty::MAX);
    bencher
        .counter(ItemsCount::new(ATTEMPTS))
        .bench_local(|| search.find(black_box(0)..black_box(ATTEMPTS)));
}

/// The yardstick: the whole header hashed for each nonce.
#[divan::bench]
fn whole_header(bencher: Bencher<'_, '_>) {
    let mut bytes = header().encode();
    bencher.counter(ItemsCount::new(ATTEMPTS)).bench_local(|| {
        (0..black_box(ATTEMPTS)).find(|nonce| {
            bytes[88..].copy_from_slice(&nonce.to_be_bytes());
            Hash::of(&bytes).leading_zero_bits() >= 32
        })
    });
}

/// What a miner pays for each new head.
#[divan::bench]
fn rebase(bencher: Bencher<'_, '_>) {
    let options = ChainOptions {
        genesis_difficulty: Difficulty::MIN,
        ..ChainOptions::default()
    };
    let chain = Chain::in_memory(options).expect("a chain in memory opens");
    let mut candidate = Candidate::new(&chain, "data", Difficulty::DEFAULT);
    bencher.bench_local(|| candidate.rebase(&chain));
}
