//! Reads what the Openwork runtime publishes: samples, history, timelines, profiles, findings.
#![forbid(unsafe_code)]
