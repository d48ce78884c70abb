//! The bytes of a block in the store.
//!
//! ```text
//! offset  size  field
//!      0     4  mark: the letters OWB and the version of this layout, 1
//!      4     4  length of the data in bytes
//!      8     8  index
//!     16     8  timestamp, ns since the Unix epoch
//!     24     4  difficulty, bits
//!     28     8  nonce
//!     36    32  previous hash
//!     68    32  hash
//!    100    96  header
//!    196     1  1 when the next two fields are known, else 0
//!    197     8  by_routine
//!    205     4  by_worker
//!    209     8  seal: the first 8 bytes of SHA-256(hash, bytes 196..209)
//!    217        data, to the end
//! ```
//!
//! Numbers are big-endian. The header's fields are stored twice on purpose. With one copy a damaged
//! block can only be said not to fit its hash; with two copies and a hash there are three witnesses,
//! so one that was changed is outvoted by the other two and can be named. It costs 92 bytes a block.
//! `mined_by` is no part of the header, so it has a witness of its own, the seal. Mark and length make
//! a record recognisable where the database that held it is lost (`salvage`).

use crate::block::{Block, MinedBy};
use crate::difficulty::Difficulty;
use crate::hash::Hash;
use crate::header::{HEADER_BYTES, HEADER_VERSION, Header, HeaderBytes, NONCE_LIMIT};
use crate::reason::Reason;

/// The first bytes of every record.
pub(crate) const MARK: [u8; 4] = *b"OWB\x01";

const DATA_LENGTH: usize = 4;
const INDEX: usize = 8;
const TIMESTAMP: usize = 16;
const DIFFICULTY: usize = 24;
const NONCE: usize = 28;
const PREVIOUS_HASH: usize = 36;
const HASH: usize = 68;
const HEADER: usize = 100;
const MINED_BY: usize = 196;
const BY_ROUTINE: usize = 197;
const BY_WORKER: usize = 205;
const SEAL: usize = 209;
const DATA: usize = 217;

const SEAL_BYTES: usize = DATA - SEAL;

/// The size of the record of a block whose data has `data_bytes` bytes.
pub(crate) fn record_bytes(data_bytes: usize) -> u64 {
    (DATA + data_bytes) as u64
}

/// The record of `block`.
pub(crate) fn encode(block: &Block) -> Vec<u8> {
    let mut bytes = vec![0; DATA];
    bytes[..DATA_LENGTH].copy_from_slice(&MARK);
    // Data comes from requests of at most 1 MiB and a short suffix.
    let length = u32::try_from(block.data.len()).expect("data is shorter than 4 GiB");
    bytes[DATA_LENGTH..INDEX].copy_from_slice(&length.to_be_bytes());
    bytes[INDEX..TIMESTAMP].copy_from_slice(&block.index.to_be_bytes());
    bytes[TIMESTAMP..DIFFICULTY].copy_from_slice(&block.timestamp_ns.to_be_bytes());
    bytes[DIFFICULTY..NONCE].copy_from_slice(&u32::from(block.difficulty.get()).to_be_bytes());
    bytes[NONCE..PREVIOUS_HASH].copy_from_slice(&block.nonce.to_be_bytes());
    bytes[PREVIOUS_HASH..HASH].copy_from_slice(&block.previous_hash.0);
    bytes[HASH..HEADER].copy_from_slice(&block.hash.0);
    bytes[HEADER..MINED_BY].copy_from_slice(&block.header);
    if let Some(mined_by) = block.mined_by {
        bytes[MINED_BY] = 1;
        bytes[BY_ROUTINE..BY_WORKER].copy_from_slice(&mined_by.routine.to_be_bytes());
        bytes[BY_WORKER..SEAL].copy_from_slice(&mined_by.worker.to_be_bytes());
    }
    let seal = seal(&bytes);
    bytes[SEAL..DATA].copy_from_slice(&seal);
    bytes.extend_from_slice(block.data.as_bytes());
    bytes
}

/// The size of the record that begins with `bytes`, as far as mark and length tell; `None` when no
/// record begins there.
pub(crate) fn announced_bytes(bytes: &[u8]) -> Option<usize> {
    let (mark, rest) = bytes.split_first_chunk()?;
    let (length, _) = rest.split_first_chunk()?;
    (*mark == MARK).then_some(DATA + u32::from_be_bytes(*length) as usize)
}

/// A block that was read from `bytes` and whose parts agree with each other.
///
/// Whether it fits its place in a chain is [`check_place`]'s question.
pub(crate) fn decode(bytes: &[u8]) -> Result<Block, Reason> {
    let stored = Stored::split(bytes)?;
    stored.check_against_header()?;
    // After the vote: if data was added or lost, the data is to blame, not the length.
    if announced_bytes(bytes) != Some(bytes.len()) {
        return Err(Reason::Unreadable {
            what: "its length is wrong",
        });
    }
    if u64::from_be_bytes(take(bytes, NONCE)) >= NONCE_LIMIT {
        return Err(Reason::NonceOutOfRange);
    }
    if bytes[SEAL..DATA] != seal(bytes) {
        return Err(Reason::MinedByChanged);
    }
    let mined_by = match bytes[MINED_BY] {
        0 => None,
        _ => Some(MinedBy {
            routine: u64::from_be_bytes(take(bytes, BY_ROUTINE)),
            worker: u32::from_be_bytes(take(bytes, BY_WORKER)),
        }),
    };
    Ok(Block {
        index: stored.fields.index,
        timestamp_ns: stored.fields.timestamp_ns,
        difficulty: stored.fields.difficulty,
        data: str::from_utf8(stored.data)
            .map_err(|_| Reason::DataNotText)?
            .to_owned(),
        previous_hash: stored.fields.previous_hash,
        hash: stored.hash,
        nonce: stored.fields.nonce,
        header: stored.header,
        mined_by,
    })
}

/// What a block has to know of the one before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Previous {
    pub(crate) hash: Hash,
    pub(crate) timestamp_ns: u64,
}

impl From<&Block> for Previous {
    fn from(block: &Block) -> Previous {
        Previous {
            hash: block.hash,
            timestamp_ns: block.timestamp_ns,
        }
    }
}

/// Whether `block`, whose own parts agree, may stand at `place` after `previous`.
pub(crate) fn check_place(
    block: &Block,
    place: u64,
    previous: Option<Previous>,
) -> Result<(), Reason> {
    if block.index != place {
        return Err(Reason::Misplaced {
            place,
            found: block.index,
        });
    }
    if block.previous_hash != previous.map_or(Hash::ZERO, |previous| previous.hash) {
        return Err(Reason::Unlinked);
    }
    let wanted = u32::from(block.difficulty.get());
    let found = block.hash.leading_zero_bits();
    if found < wanted {
        return Err(Reason::TooEasy { found, wanted });
    }
    match previous {
        Some(previous) if block.timestamp_ns < previous.timestamp_ns => {
            Err(Reason::TimeRunsBackwards)
        }
        None if block.data != crate::block::GENESIS_DATA => Err(Reason::NotGenesis),
        _ => Ok(()),
    }
}

/// A record cut at the offsets of the layout.
struct Stored<'a> {
    /// The header as the fields beside it tell it.
    fields: Header,
    header: HeaderBytes,
    hash: Hash,
    data: &'a [u8],
}

impl Stored<'_> {
    fn split(bytes: &[u8]) -> Result<Stored<'_>, Reason> {
        if bytes.len() < DATA {
            return Err(Reason::Unreadable {
                what: "it is too short",
            });
        }
        if bytes[..DATA_LENGTH] != MARK {
            return Err(Reason::Unreadable {
                what: "its mark is unknown",
            });
        }
        let header: HeaderBytes = take(bytes, HEADER);
        let hash = Hash(take(bytes, HASH));
        let data = &bytes[DATA..];
        let bits = u32::from_be_bytes(take(bytes, DIFFICULTY));
        let Some(difficulty) = Difficulty::new(bits.into()) else {
            // No header can be rebuilt from such a field, so the vote is taken here: a header
            // that says something else and has the hash stands against it.
            let header_differs = header[4..8] != bits.to_be_bytes();
            return Err(if header_differs && Hash::of(&header) == hash {
                Reason::FieldChanged {
                    field: "difficulty",
                }
            } else {
                Reason::DifficultyOutOfRange { bits }
            });
        };
        let fields = Header {
            version: HEADER_VERSION,
            difficulty,
            index: u64::from_be_bytes(take(bytes, INDEX)),
            timestamp_ns: u64::from_be_bytes(take(bytes, TIMESTAMP)),
            previous_hash: Hash(take(bytes, PREVIOUS_HASH)),
            data_hash: Hash::of(data),
            nonce: u64::from_be_bytes(take(bytes, NONCE)),
        };
        Ok(Stored {
            fields,
            header,
            hash,
            data,
        })
    }

    /// The vote of header, fields and hash.
    fn check_against_header(&self) -> Result<(), Reason> {
        let rebuilt = self.fields.encode();
        let difference = (0..HEADER_BYTES).find(|at| rebuilt[*at] != self.header[*at]);
        let hash_fits_header = Hash::of(&self.header) == self.hash;
        match (difference.map(Header::field_at), hash_fits_header) {
            (None, true) => Ok(()),
            (None, false) => Err(Reason::HashChanged),
            (Some(field), true) => Err(Reason::FieldChanged { field }),
            (Some(field), false) if Hash::of(&rebuilt) == self.hash => {
                Err(Reason::HeaderChanged { field })
            }
            (Some(field), false) => Err(Reason::SeveralChanged { field }),
        }
    }
}

fn seal(bytes: &[u8]) -> [u8; SEAL_BYTES] {
    let mut sealed = [0; 32 + SEAL - MINED_BY];
    sealed[..32].copy_from_slice(&bytes[HASH..HEADER]);
    sealed[32..].copy_from_slice(&bytes[MINED_BY..SEAL]);
    take(&Hash::of(&sealed).0, 0)
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Search;

    fn mined() -> Block {
        let mut header = Header {
            version: HEADER_VERSION,
            difficulty: Difficulty::new(8).unwrap(),
            index: 3,
            timestamp_ns: 1_700_000_000_000_000_000,
            previous_hash: Hash::of(b"before"),
            data_hash: Hash::of("hello, wörld".as_bytes()),
            nonce: 0,
        };
        header.nonce = Search::new(&header.encode(), header.difficulty)
            .find(0..NONCE_LIMIT)
            .unwrap();
        Block::new(
            &header,
            "hello, wörld".to_owned(),
            Some(MinedBy {
                routine: 17,
                worker: 1,
            }),
        )
    }

    #[test]
    fn a_block_comes_back_as_it_was_stored() {
        let block = mined();
        assert_eq!(decode(&encode(&block)), Ok(block.clone()));
        let anonymous = Block {
            mined_by: None,
            ..block
        };
        assert_eq!(decode(&encode(&anonymous)), Ok(anonymous));
    }

    /// Every single byte of a record is under some witness: if this fails, a byte can be changed
    /// unnoticed, or the wrong field is blamed.
    #[test]
    fn every_byte_of_a_record_is_guarded_and_its_field_named() {
        let bytes = encode(&mined());
        let name = |at: usize| match at {
            0..INDEX => "record",
            INDEX..TIMESTAMP => "index",
            TIMESTAMP..DIFFICULTY => "timestamp",
            DIFFICULTY..NONCE => "difficulty",
            NONCE..PREVIOUS_HASH => "nonce",
            PREVIOUS_HASH..HASH => "previous_hash",
            HASH..HEADER => "hash",
            HEADER..MINED_BY => "header",
            MINED_BY..DATA => "mined_by",
            _ => "data",
        };
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let reason = decode(&changed).expect_err("a changed byte went unnoticed");
                assert_eq!(reason.field(), name(at), "byte {at}, bit {bit}: {reason}");
            }
        }
    }

    #[test]
    fn a_header_changed_is_named_down_to_its_field() {
        let bytes = encode(&mined());
        for (at, field) in [
            (0, "version"),
            (20, "timestamp"),
            (60, "data"),
            (95, "nonce"),
        ] {
            let mut changed = bytes.clone();
            changed[HEADER + at] ^= 0x40;
            assert_eq!(decode(&changed), Err(Reason::HeaderChanged { field }));
        }
    }

    #[test]
    fn lost_and_added_bytes_are_noticed() {
        let bytes = encode(&mined());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        let longer = [&bytes[..], b"!"].concat();
        assert_eq!(decode(&longer), Err(Reason::FieldChanged { field: "data" }));
    }

    #[test]
    fn two_changes_at_once_are_not_blamed_on_one_field() {
        let mut bytes = encode(&mined());
        bytes[TIMESTAMP] ^= 1;
        bytes[HASH] ^= 1;
        assert_eq!(
            decode(&bytes),
            Err(Reason::SeveralChanged { field: "timestamp" })
        );
    }

    #[test]
    fn a_block_in_the_wrong_place_is_refused() {
        let block = mined();
        let before = Previous {
            hash: block.previous_hash,
            timestamp_ns: 1,
        };
        assert_eq!(check_place(&block, 3, Some(before)), Ok(()));
        assert_eq!(
            check_place(&block, 4, Some(before)),
            Err(Reason::Misplaced { place: 4, found: 3 })
        );
        let stranger = Previous {
            hash: Hash::of(b"stranger"),
            ..before
        };
        assert_eq!(
            check_place(&block, 3, Some(stranger)),
            Err(Reason::Unlinked)
        );
        let later = Previous {
            timestamp_ns: u64::MAX,
            ..before
        };
        assert_eq!(
            check_place(&block, 3, Some(later)),
            Err(Reason::TimeRunsBackwards)
        );
        let harder = Block {
            difficulty: Difficulty::MAX,
            ..block
        };
        assert!(matches!(
            check_place(&harder, 3, Some(before)),
            Err(Reason::TooEasy { wanted: 32, .. })
        ));
    }
}
