//! Listing shows what was durable, in either direction, in pages that fit together.

mod support;

use openwork_blockchain::{Block, Chain, Listing, Order};
use support::{append, easy, fill};

fn indices(chain: &Chain, listing: Listing) -> Vec<u64> {
    let mut pages = chain.list(listing);
    let mut indices = Vec::new();
    while let Some(page) = pages.next_page().unwrap() {
        assert!(!page.is_empty() && page.len() <= 256);
        indices.extend(page.iter().map(|block| block.index));
    }
    assert_eq!(pages.remaining(), 0);
    indices
}

#[test]
fn offset_limit_and_order_are_kept() {
    let chain = Chain::in_memory(easy()).unwrap();
    fill(&chain, 599).unwrap();
    #[track_caller]
    fn check(
        chain: &Chain,
        offset: u64,
        limit: Option<u64>,
        order: Order,
        expected: impl Iterator<Item = u64>,
    ) {
        let listing = Listing {
            offset,
            limit,
            order,
        };
        assert_eq!(
            indices(chain, listing),
            expected.collect::<Vec<_>>(),
            "{listing:?}"
        );
    }
    check(&chain, 0, None, Order::Ascending, 0..600);
    check(&chain, 0, None, Order::Descending, (0..600).rev());
    check(&chain, 10, Some(300), Order::Ascending, 10..310);
    check(&chain, 10, Some(300), Order::Descending, (290..590).rev());
    check(&chain, 590, Some(300), Order::Ascending, 590..600);
    check(&chain, 599, Some(1), Order::Descending, 0..1);
    check(&chain, 600, Some(1), Order::Ascending, 0..0);
    check(&chain, u64::MAX, Some(u64::MAX), Order::Descending, 0..0);
    check(&chain, 0, Some(0), Order::Ascending, 0..0);
}

#[test]
fn pages_of_large_blocks_stay_small() {
    let chain = Chain::in_memory(easy()).unwrap();
    let data = "x".repeat(64 << 10);
    for _ in 0..40 {
        append(&chain, &data).wait().unwrap();
    }
    let mut pages = chain.list(Listing::default());
    let mut sizes = Vec::new();
    while let Some(page) = pages.next_page().unwrap() {
        sizes.push(page.len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 41);
    assert!(sizes.iter().all(|size| *size <= 17), "{sizes:?}");
}

#[test]
fn a_listing_ends_where_the_chain_ended_when_it_was_made() {
    let chain = Chain::in_memory(easy()).unwrap();
    fill(&chain, 9).unwrap();
    let mut pages = chain.list(Listing {
        order: Order::Descending,
        ..Listing::default()
    });
    fill(&chain, 5).unwrap();
    let page = pages.next_page().unwrap().unwrap();
    assert_eq!(pages.total(), 10);
    assert_eq!(page.first().map(|block| block.index), Some(9));
    assert_eq!(page.len(), 10);
    assert_eq!(pages.next_page(), Ok(None));
}

#[test]
fn the_newest_blocks_come_newest_first() {
    let chain = Chain::in_memory(easy()).unwrap();
    fill(&chain, 3).unwrap();
    let data = |blocks: Vec<Block>| -> Vec<String> {
        blocks.into_iter().map(|block| block.data).collect()
    };
    assert_eq!(data(chain.newest(2).unwrap()), ["block 3", "block 2"]);
    assert_eq!(
        data(chain.newest(100).unwrap()),
        ["block 3", "block 2", "block 1", "Genesis Block"]
    );
    assert_eq!(chain.block(2).unwrap().unwrap().data, "block 2");
    assert_eq!(chain.block(4).unwrap(), None);
}
