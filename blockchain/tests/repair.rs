//! Repairing keeps what is good, moves the rest aside and deletes nothing.

mod support;

use std::fs;

use openwork_blockchain::{Chain, OpenError, Reason, RepairError, repair, verify};
use redb::{Database, TableDefinition};
use support::{Place, easy, fill};

const BLOCKS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("blocks");

fn chain(length: u64) -> Place {
    let place = Place::new();
    let chain = place.open();
    fill(&chain, length - 1).unwrap();
    chain.close();
    place
}

fn remove(place: &Place, index: u64) {
    let database = Database::open(place.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    drop(
        transaction
            .open_table(BLOCKS)
            .unwrap()
            .remove(index)
            .unwrap(),
    );
    transaction.commit().unwrap();
}

#[test]
fn a_good_chain_is_left_alone() {
    let place = chain(20);
    let report = repair(place.file()).unwrap();
    assert_eq!(
        (report.kept, report.damage, report.moved_to),
        (20, None, None)
    );
    assert_eq!(place.names(), ["chain.redb"]);
}

#[test]
fn all_blocks_before_the_damage_are_kept() {
    let place = chain(20);
    let good = {
        let chain = place.open();
        chain.newest(20).unwrap()
    };
    remove(&place, 13);
    assert!(matches!(
        Chain::open(place.file(), easy()),
        Err(OpenError::Damaged {
            index: Some(13),
            ..
        })
    ));

    let report = repair(place.file()).unwrap();
    assert_eq!(report.kept, 13);
    let damage = report.damage.unwrap();
    assert_eq!(
        (damage.index, damage.reason),
        (Some(13), Reason::Missing { length: 20 })
    );
    let aside = report.moved_to.unwrap();
    assert_eq!(
        place.names(),
        ["chain.redb", aside.file_name().unwrap().to_str().unwrap()]
    );

    let chain = place.open();
    assert!(verify(&chain).unwrap().valid);
    assert_eq!(chain.newest(20).unwrap(), good[7..]);
    fill(&chain, 3).unwrap();
    chain.close();

    // The file moved aside still holds everything that the damage had spared.
    let database = Database::open(aside).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    let blocks = transaction.open_table(BLOCKS).unwrap();
    assert_eq!(redb::ReadableTableMetadata::len(&blocks).unwrap(), 19);
    assert!(blocks.get(19).unwrap().is_some());
}

#[test]
fn repairing_twice_moves_two_files_aside() {
    let place = chain(20);
    remove(&place, 13);
    let first = repair(place.file()).unwrap().moved_to.unwrap();
    remove(&place, 7);
    let second = repair(place.file()).unwrap();
    assert_eq!(second.kept, 7);
    assert_ne!(first, second.moved_to.unwrap());
    assert_eq!(place.names().len(), 3);
    assert_eq!(place.open().length(), 7);
}

#[test]
fn a_file_that_is_no_database_is_moved_aside_whole() {
    let place = Place::new();
    fs::write(place.file(), "this was a chain once").unwrap();
    assert!(matches!(
        Chain::open(place.file(), easy()),
        Err(OpenError::Damaged { index: None, .. })
    ));
    let report = repair(place.file()).unwrap();
    assert_eq!(report.kept, 0);
    assert_eq!(report.damage.unwrap().index, None);
    assert_eq!(
        fs::read(report.moved_to.unwrap()).unwrap(),
        b"this was a chain once"
    );
    assert_eq!(
        place.open().length(),
        1,
        "the next start begins a new chain"
    );
}

#[test]
fn a_damaged_genesis_leaves_nothing_to_keep() {
    let place = chain(5);
    remove(&place, 0);
    let report = repair(place.file()).unwrap();
    assert_eq!(report.kept, 0);
    assert!(!place.file().exists());
    assert!(report.moved_to.unwrap().exists());
}

#[test]
fn a_chain_in_use_and_a_missing_one_are_not_touched() {
    let place = chain(5);
    let open = place.open();
    assert!(matches!(
        repair(place.file()),
        Err(RepairError::InUse { .. })
    ));
    drop(open);
    let elsewhere = place.folder().join("nothing.redb");
    assert!(matches!(
        repair(&elsewhere),
        Err(RepairError::NotFound { .. })
    ));
    assert_eq!(place.names(), ["chain.redb"]);
}

/// Any one page of the file overwritten: opening names the damage or finds none (the page held
/// nothing of importance), and repairing keeps at least every block before those on the lost page.
#[test]
fn no_lost_page_is_beyond_repair() {
    const PAGE: usize = 4096;
    const LENGTH: u64 = 300;
    let original = chain(LENGTH);
    let headers: Vec<_> = {
        let chain = original.open();
        (0..LENGTH)
            .map(|index| chain.block(index).unwrap().unwrap().header)
            .collect()
    };
    let bytes = fs::read(original.file()).unwrap();
    let mut damaged = 0;
    for (number, page) in bytes.chunks(PAGE).enumerate() {
        if page.iter().all(|byte| *byte == 0) {
            continue;
        }
        let first_lost = headers
            .iter()
            .position(|header| page.windows(header.len()).any(|window| window == header))
            .map_or(LENGTH, |index| index as u64);

        let place = Place::new();
        let mut bytes = bytes.clone();
        bytes[number * PAGE..(number + 1) * PAGE].fill(0x5a);
        fs::write(place.file(), bytes).unwrap();
        match Chain::open(place.file(), easy()) {
            Ok(chain) => assert!(verify(&chain).unwrap().valid, "page {number}"),
            Err(OpenError::Damaged { index, reason, .. }) => {
                damaged += 1;
                let report = repair(place.file()).unwrap();
                let told = format!("page {number}, {index:?}: {reason}; {report:?}");
                assert!(report.kept >= first_lost, "{told}");
                assert_eq!(index, report.damage.unwrap().index, "{told}");
                assert!(report.moved_to.is_some(), "{told}");
                assert_eq!(place.open().length(), report.kept.max(1), "{told}");
            }
            Err(error) => panic!("page {number}: {error:?}"),
        }
    }
    assert!(damaged > 20, "only {damaged} pages mattered");
}
