//! Blocks, proof of work and a durable chain, mined on Openwork routines.
#![forbid(unsafe_code)]
