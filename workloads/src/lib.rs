//! Stress, crowds and faults: ordinary programs on Openwork routines.
#![forbid(unsafe_code)]
