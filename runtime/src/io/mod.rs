//! Pipes, the standard streams, and copying, for code that blocks routines and not threads.
//!
//! The traits are std's: [`Read`], [`Write`] and [`Seek`](std::io::Seek) are what files, sockets and pipes
//! implement, so [`BufReader`](std::io::BufReader) and the like work over them. A **pipe** waits by the
//! runtime's poller, as sockets do; **standard output and error** are written by the blocking pool;
//! **standard input** is read by a thread of its own, because nothing can end a read that has begun.

mod output;
#[cfg(unix)]
mod pipe;
#[cfg(windows)]
#[path = "no_pipe.rs"]
mod pipe;
mod stdin;

use std::io::{self, ErrorKind, Read, Write};

pub use output::{Stderr, Stdout, stderr, stdout};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use stdin::{Lines, Stdin, stdin};

/// Bytes moved at once by [`copy`]: a job of the blocking pool costs more than a system call, so more than
/// std's 8 KiB.
const COPY_BYTES: usize = 64 << 10;

/// Moves all that `reader` has left to `writer`, and returns how many bytes that were; as [`std::io::copy`],
/// but in larger pieces, which do not lie on the routine's stack.
///
/// ```
/// let mut text = Vec::new();
/// let bytes = openwork::io::copy(&mut &b"all of it"[..], &mut text).unwrap();
/// assert_eq!((bytes, &text[..]), (9, &b"all of it"[..]));
/// ```
///
/// # Errors
/// The first of reader or writer, except [`ErrorKind::Interrupted`], after which the read is repeated.
pub fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    let mut buf = vec![0; COPY_BYTES];
    let mut moved = 0;
    loop {
        let read = match reader.read(&mut buf) {
            Ok(0) => return Ok(moved),
            Ok(read) => read,
            Err(again) if again.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        writer.write_all(&buf[..read])?;
        moved += read as u64;
        // Neither side need ever wait.
        crate::checkpoint();
    }
}
