//! Whatever is changed in a stored chain is found, and the block and the field are named.

mod support;

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use openwork_blockchain::{Block, Chain, Hash, OpenError, Reason, verify};
use redb::{Database, ReadableTable, TableDefinition};
use support::{Place, easy, fill, mine};

const BLOCKS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("blocks");
const CHAIN: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("chain");

const LENGTH: u64 = 8;
const VICTIM: u64 = 5;

/// A closed chain of `LENGTH` blocks.
fn chain() -> Place {
    let place = Place::new();
    let chain = place.open();
    fill(&chain, LENGTH - 1).unwrap();
    chain.close();
    place
}

/// Changes the database behind the chain's back.
fn tamper(place: &Place, change: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>)) {
    let database = Database::open(place.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&mut transaction.open_table(BLOCKS).unwrap());
    transaction.commit().unwrap();
}

fn tamper_record(place: &Place, index: u64, change: impl FnOnce(&mut Vec<u8>)) {
    tamper(place, |blocks| {
        let mut record = blocks.get(index).unwrap().unwrap().value().to_vec();
        change(&mut record);
        blocks.insert(index, record.as_slice()).unwrap();
    });
}

/// Opening must refuse and name this block and this field.
#[track_caller]
fn check(place: &Place, index: u64, field: &str) -> Reason {
    match Chain::open(place.file(), easy()) {
        Err(OpenError::Damaged {
            index: Some(found),
            reason,
            ..
        }) => {
            assert_eq!((found, reason.field()), (index, field), "{reason}");
            reason
        }
        other => panic!("expected damage at {index}, got {other:?}"),
    }
}

/// The offsets are those of the record layout, written down here a second time on purpose.
#[test]
fn each_stored_field_is_guarded() {
    for (field, at) in [
        ("record", 0),
        ("index", 15),
        ("timestamp", 23),
        ("difficulty", 27),
        ("nonce", 35),
        ("previous_hash", 36),
        ("previous_hash", 67),
        ("hash", 68),
        ("hash", 99),
        ("header", 100),      // version
        ("header", 100 + 7),  // difficulty
        ("header", 100 + 15), // index
        ("header", 100 + 23), // timestamp
        ("header", 100 + 24), // previous hash
        ("header", 100 + 56), // SHA-256 of the data
        ("header", 100 + 95), // nonce
        ("mined_by", 196),    // known or not
        ("mined_by", 204),    // by_routine
        ("mined_by", 208),    // by_worker
        ("mined_by", 216),    // seal
        ("data", 217),
    ] {
        let place = chain();
        tamper_record(&place, VICTIM, |record| record[at] ^= 1);
        check(&place, VICTIM, field);
    }
}

#[test]
fn data_may_neither_grow_nor_shrink() {
    let place = chain();
    tamper_record(&place, VICTIM, |record| record.push(b'!'));
    check(&place, VICTIM, "data");

    let place = chain();
    tamper_record(&place, VICTIM, |record| record.truncate(record.len() - 1));
    check(&place, VICTIM, "data");
}

#[test]
fn a_block_removed_is_missed() {
    let place = chain();
    tamper(&place, |blocks| drop(blocks.remove(VICTIM).unwrap()));
    assert_eq!(
        check(&place, VICTIM, "record"),
        Reason::Missing { length: LENGTH }
    );
}

#[test]
fn the_last_block_removed_is_missed() {
    let place = chain();
    tamper(&place, |blocks| drop(blocks.remove(LENGTH - 1).unwrap()));
    assert_eq!(
        check(&place, LENGTH - 1, "record"),
        Reason::Missing { length: LENGTH }
    );
}

#[test]
fn a_block_too_many_is_noticed() {
    let place = chain();
    tamper(&place, |blocks| {
        let record = blocks.get(VICTIM).unwrap().unwrap().value().to_vec();
        blocks.insert(LENGTH, record.as_slice()).unwrap();
    });
    assert_eq!(
        check(&place, LENGTH, "record"),
        Reason::BeyondEnd { length: LENGTH }
    );
}

#[test]
fn two_blocks_exchanged_are_noticed() {
    let place = chain();
    tamper(&place, |blocks| {
        let one = blocks.get(VICTIM).unwrap().unwrap().value().to_vec();
        let other = blocks.get(VICTIM + 1).unwrap().unwrap().value().to_vec();
        blocks.insert(VICTIM, other.as_slice()).unwrap();
        blocks.insert(VICTIM + 1, one.as_slice()).unwrap();
    });
    let reason = check(&place, VICTIM, "index");
    assert_eq!(
        reason,
        Reason::Misplaced {
            place: VICTIM,
            found: VICTIM + 1
        }
    );
}

/// The forger's best attempt: a block that is right in itself, mined anew over other data.
#[test]
fn a_block_mined_anew_breaks_the_chain_behind_it() {
    let forge = |place: &Place, index: u64| {
        let forged: Block = {
            // A second chain that is the same up to `index`, so that the forged block follows.
            let donor = Place::new();
            fs::copy(place.file(), donor.file()).unwrap();
            tamper(&donor, |blocks| {
                for beyond in index..LENGTH {
                    blocks.remove(beyond).unwrap();
                }
            });
            let kept = openwork_blockchain::repair(donor.file()).unwrap().kept;
            assert_eq!(kept, index);
            let chain = donor.open();
            let block = mine(&chain, "forged");
            chain.append(block.clone()).wait().unwrap();
            chain.close();
            let database = Database::open(donor.file()).unwrap();
            let transaction = database.begin_write().unwrap();
            let record = {
                let blocks = transaction.open_table(BLOCKS).unwrap();
                blocks.get(index).unwrap().unwrap().value().to_vec()
            };
            tamper_record(place, index, |stored| *stored = record);
            block
        };
        assert_eq!(forged.index, index);
    };

    let place = chain();
    forge(&place, VICTIM);
    assert_eq!(check(&place, VICTIM + 1, "previous_hash"), Reason::Unlinked);

    let place = chain();
    forge(&place, LENGTH - 1);
    assert_eq!(check(&place, LENGTH - 1, "hash"), Reason::NotTheTip);
}

#[test]
fn the_record_of_the_end_is_guarded() {
    let change_tip = |change: fn(&mut Vec<u8>)| {
        let place = chain();
        let database = Database::open(place.file()).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(CHAIN).unwrap();
            let mut tip = table.get("tip").unwrap().unwrap().value().to_vec();
            change(&mut tip);
            table.insert("tip", tip.as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        place
    };
    check(&change_tip(|tip| tip[7] += 1), LENGTH, "record");
    check(&change_tip(|tip| tip[7] -= 1), LENGTH - 2, "hash");
    check(&change_tip(|tip| tip[8] ^= 1), LENGTH - 1, "hash");
    check(&change_tip(|tip| tip[47] ^= 1), LENGTH, "record");
    check(&change_tip(|tip| tip.truncate(47)), LENGTH, "record");
}

/// A chain that is being served is read from its file, not from a memory of what was once there.
#[test]
fn a_change_of_the_file_under_an_open_chain_is_found() {
    let place = Place::new();
    let chain = place.open();
    fill(&chain, LENGTH - 1).unwrap();
    assert!(verify(&chain).unwrap().valid);

    let victim = chain.block(VICTIM).unwrap().unwrap();
    let bytes = fs::read(place.file()).unwrap();
    let mut file = fs::File::options().write(true).open(place.file()).unwrap();
    // Copy-on-write leaves older copies of a page behind; all are changed.
    let mut from = 0;
    let mut changed = 0;
    while let Some(at) = find(&bytes[from..], &victim.header) {
        // The last byte of the nonce.
        let nonce_end = from + at + 95;
        file.seek(SeekFrom::Start(nonce_end as u64)).unwrap();
        file.write_all(&[bytes[nonce_end] ^ 1]).unwrap();
        from = nonce_end;
        changed += 1;
    }
    assert!(changed > 0, "the header was not found in the file");

    let report = verify(&chain).unwrap();
    assert!(!report.valid);
    assert_eq!(report.blocks, VICTIM);
    let bad = report.first_bad.unwrap();
    assert_eq!(
        (bad.index, bad.reason),
        (VICTIM, Reason::HeaderChanged { field: "nonce" })
    );
    // And reading it does not show it as if it were good.
    assert!(chain.block(VICTIM).is_err());
    assert_ne!(Hash::of(&victim.header), Hash::ZERO);
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
