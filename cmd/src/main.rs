//! The `openwork` command.
#![forbid(unsafe_code)]
fn main() {}
