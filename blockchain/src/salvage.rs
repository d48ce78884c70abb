//! Finding blocks in a file whose database cannot be read any more.
//!
//! Each record begins with a mark and its length, and proves itself: its hash must fit and must have
//! cost the work. So the file is searched for marks, whatever redb thinks of it, and the records
//! found are put together by their previous hashes. The file may hold old copies of a block, and
//! blocks of a commit that failed. Where two blocks follow the same one, the later one is kept: it
//! was mined after the commit with the earlier one had failed, so it alone can have been acknowledged.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::block::Block;
use crate::hash::Hash;
use crate::record::{MARK, Previous, announced_bytes, check_place, decode, record_bytes};

/// The file is searched this many bytes at a time.
const WINDOW_BYTES: usize = 8 << 20;

/// No record is longer: twice what the longest request's data could need.
const RECORD_BYTES_MAX: usize = 2 << 20;

/// The chain of blocks that a file holds.
#[derive(Debug)]
pub(crate) struct Salvage {
    file: File,
    /// From genesis on.
    places: Vec<Place>,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    bytes: usize,
}

/// A record found, with what is needed to put it in its place.
struct Found {
    index: u64,
    hash: Hash,
    previous_hash: Hash,
    timestamp_ns: u64,
    place: Place,
}

impl Salvage {
    /// Reads the whole file at `path`.
    pub(crate) fn scan(path: &Path) -> io::Result<Salvage> {
        let mut file = File::open(path)?;
        let found = find_all(&mut file)?;
        let places = chain_of(found);
        Ok(Salvage { file, places })
    }

    /// Number of blocks.
    pub(crate) fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// The records from block `first` on, `count` at most, with the block that the last one holds.
    pub(crate) fn read(&mut self, first: u64, count: u64) -> io::Result<(Vec<Vec<u8>>, Block)> {
        let first = usize::try_from(first).map_err(io::Error::other)?;
        let count = usize::try_from(count).map_err(io::Error::other)?;
        let mut records = Vec::new();
        for place in self.places[first..].iter().take(count) {
            let mut record = vec![0; place.bytes];
            self.file.seek(SeekFrom::Start(place.offset))?;
            self.file.read_exact(&mut record)?;
            records.push(record);
        }
        let last = records.last().map(|record| decode(record));
        match last {
            Some(Ok(block)) => Ok((records, block)),
            _ => Err(io::Error::other("the file changes while it is being read")),
        }
    }
}

fn find_all(file: &mut File) -> io::Result<Vec<Found>> {
    let length = file.metadata()?.len();
    let mut found = Vec::new();
    let mut window = Vec::new();
    let mut start = 0;
    while start < length {
        // Records that begin in the window may end behind it.
        window.clear();
        file.seek(SeekFrom::Start(start))?;
        file.take((WINDOW_BYTES + RECORD_BYTES_MAX) as u64)
            .read_to_end(&mut window)?;
        let begins = window.len().min(WINDOW_BYTES);
        for at in (0..begins).filter(|at| window[*at..].starts_with(&MARK)) {
            let Some(bytes) = announced_bytes(&window[at..]) else {
                continue;
            };
            let Some(record) = window.get(at..at + bytes) else {
                continue;
            };
            let place = Place {
                offset: start + at as u64,
                bytes,
            };
            found.extend(self_evident(record, place));
        }
        start += begins as u64;
    }
    Ok(found)
}

/// A record that is right in itself and has cost its work.
fn self_evident(record: &[u8], place: Place) -> Option<Found> {
    let block = decode(record).ok()?;
    debug_assert_eq!(record_bytes(block.data.len()), place.bytes as u64);
    let previous = (block.index > 0).then_some(Previous {
        hash: block.previous_hash,
        timestamp_ns: 0,
    });
    check_place(&block, block.index, previous).ok()?;
    let Block {
        index,
        hash,
        previous_hash,
        timestamp_ns,
        ..
    } = block;
    Some(Found {
        index,
        hash,
        previous_hash,
        timestamp_ns,
        place,
    })
}

fn chain_of(found: Vec<Found>) -> Vec<Place> {
    let mut latest: HashMap<Hash, Found> = HashMap::with_capacity(found.len());
    for block in found {
        match latest.entry(block.previous_hash) {
            Entry::Occupied(rival) if rival.get().timestamp_ns >= block.timestamp_ns => {}
            Entry::Occupied(mut rival) => drop(rival.insert(block)),
            Entry::Vacant(vacancy) => drop(vacancy.insert(block)),
        }
    }
    let mut places = Vec::new();
    let mut hash = Hash::ZERO;
    while let Some(block) = latest.get(&hash)
        && block.index == places.len() as u64
    {
        places.push(block.place);
        hash = block.hash;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(index: u64, hash: u8, previous_hash: u8, timestamp_ns: u64) -> Found {
        let place = Place {
            offset: u64::from(hash),
            bytes: 0,
        };
        let [hash, previous_hash] = [hash, previous_hash].map(|byte| Hash([byte; 32]));
        Found {
            index,
            hash,
            previous_hash,
            timestamp_ns,
            place,
        }
    }

    #[track_caller]
    fn check(found: Vec<Found>, expected: &[u64]) {
        let chain: Vec<_> = chain_of(found).iter().map(|place| place.offset).collect();
        assert_eq!(chain, expected);
    }

    #[test]
    fn blocks_are_put_together_whatever_their_order_in_the_file() {
        check(
            vec![found(2, 3, 2, 30), found(0, 1, 0, 10), found(1, 2, 1, 20)],
            &[1, 2, 3],
        );
        check(vec![found(0, 1, 0, 10), found(2, 3, 2, 30)], &[1]);
        check(vec![found(1, 2, 1, 20)], &[]);
        check(Vec::new(), &[]);
    }

    #[test]
    fn the_later_of_two_branches_is_kept_even_if_it_is_shorter() {
        let mut blocks = vec![
            found(0, 1, 0, 10),
            found(1, 2, 1, 20), // lost with its commit
            found(2, 3, 2, 21),
            found(1, 4, 1, 30),
        ];
        check(blocks.drain(..).rev().collect(), &[1, 4]);
    }

    #[test]
    fn a_block_that_lies_about_its_place_ends_the_chain() {
        check(vec![found(0, 1, 0, 10), found(7, 2, 1, 20)], &[1]);
    }
}
