//! What can be wrong with a stored block.

/// Why a block is bad. Its text is a sentence about the block, without the block's index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// A field stored beside the header is not what the header says, and the hash stands with the
    /// header: the field was changed.
    #[error("{field} was changed: it differs from the header, and the hash fits the header")]
    FieldChanged {
        /// The field's name in a block's JSON.
        field: &'static str,
    },
    /// The header is not what the fields stored beside it say, and the hash stands with the fields.
    #[error("header was changed at {field}: the hash fits the fields, not the header")]
    HeaderChanged {
        /// The field within the header, by its name in a block's JSON.
        field: &'static str,
    },
    /// Header and fields agree, and the hash is not the header's.
    #[error("hash was changed: it is not the SHA-256 of the header")]
    HashChanged,
    /// Neither header nor fields have the stored hash, and they differ from each other.
    #[error("several fields were changed: header, fields and hash all disagree, first at {field}")]
    SeveralChanged {
        /// The first field that differs between header and fields.
        field: &'static str,
    },
    /// The record of who mined the block does not fit its seal.
    #[error("mined_by was changed: it does not fit its seal")]
    MinedByChanged,
    /// A whole block that belongs elsewhere in the chain.
    #[error("index is {found}, but the block is stored at {place}")]
    Misplaced {
        /// Where it is stored.
        place: u64,
        /// What its header says.
        found: u64,
    },
    /// The block does not follow the one before it.
    #[error("previous_hash is not the hash of the block before")]
    Unlinked,
    /// The hash does not meet the block's own difficulty.
    #[error("hash has {found} leading zero bits, its difficulty asks for {wanted}")]
    TooEasy {
        /// Leading zero bits of the hash.
        found: u32,
        /// Bits of the difficulty.
        wanted: u32,
    },
    /// The header's difficulty lies outside 1 to 32 bits.
    #[error("difficulty is {bits}, it must be between 1 and 32 bits")]
    DifficultyOutOfRange {
        /// The stored number.
        bits: u32,
    },
    /// The nonce is 2^53 or more.
    #[error("nonce is 2^53 or more")]
    NonceOutOfRange,
    /// The block is older than the one before it.
    #[error("timestamp is before that of the block before")]
    TimeRunsBackwards,
    /// The data is not UTF-8.
    #[error("data is not text in UTF-8")]
    DataNotText,
    /// The first block is a mined block, but not a genesis block.
    #[error("data of the first block is not `Genesis Block`")]
    NotGenesis,
    /// There is no block of this index, although the chain's record says it is longer.
    #[error("block is missing: the chain is recorded with {length} blocks")]
    Missing {
        /// The recorded number of blocks.
        length: u64,
    },
    /// There is a block of this index, although the chain's record says it is shorter.
    #[error("block is beyond the end: the chain is recorded with {length} blocks")]
    BeyondEnd {
        /// The recorded number of blocks.
        length: u64,
    },
    /// The last block is not the one that the chain's record names.
    #[error("hash is not the one recorded for the end of the chain")]
    NotTheTip,
    /// The sizes of all records do not add up to what the chain's record says.
    #[error("the record of the chain's size in bytes was changed")]
    WrongSize,
    /// The chain has blocks but no record of its length and last hash, or one of a wrong size.
    #[error("the record of the chain's length and last hash is missing or unreadable")]
    NoTipRecord,
    /// The stored bytes are no block record.
    #[error("record is unreadable: {what}")]
    Unreadable {
        /// What is wrong with the bytes.
        what: &'static str,
    },
    /// The database could not hand out the bytes.
    #[error("database is damaged: {message}")]
    Database {
        /// The database's own words.
        message: String,
    },
}

impl Reason {
    /// The name of the field that is wrong, as in a block's JSON; `record` when no single field
    /// can be named.
    pub fn field(&self) -> &'static str {
        match self {
            Reason::FieldChanged { field } => field,
            Reason::HeaderChanged { .. } => "header",
            Reason::HashChanged | Reason::TooEasy { .. } | Reason::NotTheTip => "hash",
            Reason::MinedByChanged => "mined_by",
            Reason::Misplaced { .. } => "index",
            Reason::Unlinked => "previous_hash",
            Reason::DifficultyOutOfRange { .. } => "difficulty",
            Reason::NonceOutOfRange => "nonce",
            Reason::TimeRunsBackwards => "timestamp",
            Reason::DataNotText | Reason::NotGenesis => "data",
            Reason::SeveralChanged { .. }
            | Reason::Missing { .. }
            | Reason::BeyondEnd { .. }
            | Reason::WrongSize
            | Reason::NoTipRecord
            | Reason::Unreadable { .. }
            | Reason::Database { .. } => "record",
        }
    }
}
