//! Child processes, with the names and signatures of [`std::process`].
//!
//! ```
//! use openwork::{Runtime, process::Command};
//!
//! let rt = Runtime::builder().workers(1).build().unwrap();
//! let output = rt.block_on(|| Command::new("echo").arg("hello").output()).unwrap();
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"hello\n");
//! ```
//!
//! A child is started by the standard library on a thread of the blocking pool: by `posix_spawn` where the
//! command allows it, otherwise by `fork` and `exec`. A routine that waits for its end is parked by the
//! poller, which watches the child's pidfd; on kernels before Linux 5.3 it waits by the blocking pool. Its
//! pipes are those of [`io`](crate::io). Cancels and time-outs end the waits, and never the child, except
//! where it would be left without anybody who knows it: [`Command::status`] and [`Command::output`] kill it.
//!
//! A child whose handle is dropped goes on, and stays in the process table when it has ended, as with the
//! standard library.

mod child;
mod command;
mod exit;

pub use child::Child;
pub use command::Command;
pub use std::process::{ExitCode, ExitStatus, Output, Stdio, id};

/// A child's standard input.
pub use crate::io::PipeWriter as ChildStdin;
/// A child's standard output or standard error.
pub use crate::io::{PipeReader as ChildStdout, PipeReader as ChildStderr};
