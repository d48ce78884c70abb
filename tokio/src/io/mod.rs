//! Streams of bytes of one side for the other.

mod blocking;
mod ours;

pub use blocking::Blocking;
pub use ours::{Async, Ours, OursToRead, OursToWrite};
