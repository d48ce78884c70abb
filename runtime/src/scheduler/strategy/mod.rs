//! What is decided by strategies: where a fresh routine goes, whom a thief looks at first, how much it
//! takes.
//!
//! [`choose`] decides over plain values; [`class`] says what a routine's own history makes of it. The default of each strategy costs the hot path one relaxed load,
//! or nothing where it is asked for in a search only.

pub(crate) mod choose;
pub(crate) mod class;
