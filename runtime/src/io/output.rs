//! Standard output and standard error.

use std::io::{self, Write};

use crate::blocking;

/// The process's standard output; as [`std::io::stdout`], whose buffer and lock it uses.
///
/// ```
/// use std::io::Write;
/// openwork::io::stdout().write_all(b"written without holding a worker\n").unwrap();
/// ```
pub fn stdout() -> Stdout {
    Stdout(())
}

/// The process's standard error; as [`std::io::stderr`].
///
/// ```
/// use std::io::Write;
/// openwork::io::stderr().write_all(b"a warning\n").unwrap();
/// ```
pub fn stderr() -> Stderr {
    Stderr(())
}

/// See [`stdout`]. Each call is a job of the blocking pool: a terminal or a pipe that takes nothing holds no
/// worker. `println!` writes on the calling thread, and does.
///
/// ```
/// use openwork::io::{Stdout, stdout};
/// use std::io::Write;
/// let mut out: Stdout = stdout();
/// writeln!(out, "one line").unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stdout(());

/// See [`stderr`], and [`Stdout`].
///
/// ```
/// use openwork::io::{Stderr, stderr};
/// use std::io::Write;
/// let mut out: Stderr = stderr();
/// writeln!(out, "one line").unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stderr(());

macro_rules! output {
    ($stream:ident, $std:path) => {
        impl Write for $stream {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                blocking::io(|| $std().write(buf))
            }

            // Whole, so that it is one job and no other writer comes in between.
            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                blocking::io(|| $std().lock().write_all(buf))
            }

            fn flush(&mut self) -> io::Result<()> {
                blocking::io(|| $std().flush())
            }
        }
    };
}

output!(Stdout, io::stdout);
output!(Stderr, io::stderr);
