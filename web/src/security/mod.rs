//! Who may ask.
//!
//! The service listens on loopback, which keeps other machines out but not other pages: any site open in the same
//! browser can send requests to `127.0.0.1`, and by DNS rebinding even read the answers. Four layers stand before the
//! router, from outside in: [`headers`] (what a browser may do with an answer), [`host`] (against rebinding),
//! [`token`] (needed off loopback) and [`csrf`] (against pages of other origins). There is no CORS header anywhere:
//! nothing of this service is meant for another origin.

pub mod csrf;
pub mod headers;
pub mod host;
pub mod token;
