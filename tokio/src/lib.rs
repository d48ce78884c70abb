//! Routines and tokio's tasks in one process: each awaits the other.
//!
//! The runtime knows no executor. Its join handles and channel ends are futures, and
//! [`openwork::block_on`] awaits any future, so most of what two worlds need to talk needs nothing else:
//! a task awaits `handle.spawn(f)`, a routine awaits a tokio channel. This crate has the rest: futures that
//! must be polled within tokio ([`Bridge::block_on`], [`InTokio`]), work that ends when nobody awaits it any
//! more ([`Running`]), streams of bytes of either side for the other ([`io`]), and an end in the right
//! order ([`Pair`]).
//!
//! ```
//! use std::time::Duration;
//! use openwork_tokio::Pair;
//!
//! let routines = openwork::Runtime::builder().workers(2).build().unwrap();
//! let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! let pair = Pair::new(routines, tokio).unwrap();
//!
//! // A routine waits for tokio: its worker runs others meanwhile.
//! let bridge = pair.bridge().clone();
//! let slept = pair.bridge().spawn(move || {
//!     bridge.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await; 1 })
//! });
//! assert_eq!(slept.join().unwrap(), 1);
//!
//! // A task waits for a routine.
//! let bridge = pair.bridge().clone();
//! let task = pair.bridge().spawn_task(async move { bridge.run(|| 6 * 7).await.unwrap() });
//! assert_eq!(openwork::block_on(task).unwrap(), 42);
//!
//! pair.shutdown(Duration::from_secs(5)).unwrap();
//! ```
#![forbid(unsafe_code)]

mod bridge;
mod in_tokio;
pub mod io;
mod pair;
mod running;

pub use bridge::Bridge;
pub use in_tokio::InTokio;
pub use pair::Pair;
pub use running::Running;
