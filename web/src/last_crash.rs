//! The report of the process before this one, if it ended by a stack overflow.
//!
//! The runtime writes its overflow report to standard error and, from within the signal handler, to the file opened
//! here. The file is opened for appending and never truncated at start, so a report stands until a person dismisses
//! it, however often the service is restarted in between.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Name of the report file in the data directory.
pub const FILE: &str = "last-crash.txt";
/// Most bytes of a report that are shown; the newest end is kept.
const SHOWN_BYTES: usize = 64 << 10;

/// A crash that nobody has dismissed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// When the report was written.
    pub at: SystemTime,
    /// The report.
    pub text: String,
}

/// The crash to show, and the file behind it. A cheap handle.
#[derive(Clone, Debug)]
pub struct LastCrash {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    crash: Mutex<Option<Crash>>,
}

impl LastCrash {
    /// Reads what the file in `dir` holds, creating it if there is none.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(dir.join(FILE))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text =
            String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SHOWN_BYTES)..]).into_owned();
        let crash = match text.trim().is_empty() {
            true => None,
            false => Some(Crash {
                at: file.metadata()?.modified()?,
                text,
            }),
        };
        Ok(LastCrash {
            inner: Arc::new(Inner {
                file,
                crash: Mutex::new(crash),
            }),
        })
    }

    /// A handle to the file for the overflow handler.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn file(&self) -> io::Result<File> {
        self.inner.file.try_clone()
    }

    /// The crash, until it is dismissed.
    pub fn get(&self) -> Option<Crash> {
        self.inner
            .crash
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets the crash, here and at the next start.
    ///
    /// # Errors
    /// The file cannot be emptied; the crash is still shown then.
    pub fn dismiss(&self) -> io::Result<()> {
        self.inner.file.set_len(0)?;
        *self
            .inner
            .crash
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Breaks if opening truncates the file, or dismissing does not reach it.
    #[test]
    fn a_report_stands_over_restarts_until_it_is_dismissed() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = LastCrash::open(dir.path()).expect("opened");
        assert_eq!(first.get(), None);
        first
            .file()
            .expect("a handle")
            .write_all(b"routine 17 overflowed 64 KiB\n")
            .expect("written");
        for _ in 0..2 {
            let next = LastCrash::open(dir.path()).expect("opened again");
            assert_eq!(
                next.get().expect("the report").text,
                "routine 17 overflowed 64 KiB\n"
            );
        }
        let last = LastCrash::open(dir.path()).expect("opened again");
        last.dismiss().expect("dismissed");
        assert_eq!(last.get(), None);
        assert_eq!(
            LastCrash::open(dir.path()).expect("opened again").get(),
            None
        );
    }
}
