//! The HTTP service and dashboard of Openwork.
#![forbid(unsafe_code)]
