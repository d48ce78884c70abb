//! The HTTP service of Openwork: the old routes, the API under `/api/v1`, profiles, metrics, events and the page.
//!
//! This crate alone knows HTTP, JSON and tokio. tokio drives sockets on one thread; whatever takes longer than a few
//! milliseconds runs on routines ([`bridge`]) or on a blocking thread. Everything above the sockets is a value:
//! [`Service::open`] builds the parts, [`app`] turns their handles into a router that a test can call without a port,
//! and [`serve`] adds the sockets, the signals and the end.
#![forbid(unsafe_code)]

pub mod body;
pub mod bridge;
mod config;
pub mod error;
pub mod last_crash;
pub mod lifecycle;
pub mod limits;
mod machine;
pub mod page;
mod panic_log;
pub mod profiles;
pub mod routes;
pub mod runs;
pub mod security;
mod server;
pub mod state;
pub mod stream;
pub mod wire;

pub use config::{Access, Config, LogFormat, Scheduling, Setting, Source};
pub use routes::runtime::COMMIT;
pub use routes::{app, openapi};
pub use security::token::{Token, TokenError};
pub use server::{ServeError, serve};
pub use state::{AppState, Service};
pub use wire::bench_json;
