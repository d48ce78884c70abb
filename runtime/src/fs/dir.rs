//! Walking a directory.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs as std_fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{FileType, Metadata};
use crate::blocking;

/// Entries read in one job: the kernel gives about as many at once, and a directory of a million files
/// is not held in memory.
const BATCH: usize = 128;

/// The entries of a directory; as [`std::fs::read_dir`].
///
/// ```
/// let names: Vec<_> = openwork::fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name()).collect();
/// assert!(names.iter().any(|name| name == "Cargo.toml"));
/// ```
///
/// # Errors
/// As std's.
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    Ok(ReadDir {
        entries: blocking::io(|| std_fs::read_dir(path))?,
        ahead: VecDeque::new(),
        at_end: false,
    })
}

/// Iterates over a directory's entries; made by [`read_dir`]. Reads some ahead.
///
/// ```
/// use openwork::fs;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let names = rt.block_on(|| {
///     let entries: fs::ReadDir = fs::read_dir("src")?;
///     entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()
/// });
/// assert!(names.unwrap().iter().any(|name| name == "lib.rs"));
/// ```
#[derive(Debug)]
pub struct ReadDir {
    entries: std_fs::ReadDir,
    ahead: VecDeque<io::Result<DirEntry>>,
    at_end: bool,
}

/// One entry of a directory.
///
/// ```
/// use openwork::fs::{self, DirEntry};
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     for entry in fs::read_dir("src").unwrap() {
///         let entry: DirEntry = entry.unwrap();
///         assert!(entry.path().starts_with("src"));
///     }
/// });
/// ```
#[derive(Debug)]
pub struct DirEntry {
    entry: std_fs::DirEntry,
    /// Known when the entry is read, on most file systems. An error is kept by its number: it is to be
    /// told each time.
    file_type: Result<FileType, Option<i32>>,
}

impl ReadDir {
    fn read_ahead(&mut self) -> io::Result<()> {
        blocking::io(|| {
            while self.ahead.len() < BATCH {
                let Some(entry) = self.entries.next() else {
                    self.at_end = true;
                    break;
                };
                self.ahead.push_back(entry.map(|entry| DirEntry {
                    file_type: entry.file_type().map_err(|error| error.raw_os_error()),
                    entry,
                }));
            }
            Ok(())
        })
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.ahead.is_empty()
            && !self.at_end
            && let Err(cancelled) = self.read_ahead()
        {
            return Some(Err(cancelled));
        }
        self.ahead.pop_front()
    }
}

impl DirEntry {
    /// The directory's path and the name.
    ///
    /// ```
    /// let entry = openwork::fs::read_dir("src").unwrap().next().unwrap().unwrap();
    /// assert!(entry.path().starts_with("src"));
    /// ```
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// The name alone.
    ///
    /// ```
    /// let entry = openwork::fs::read_dir("src").unwrap().next().unwrap().unwrap();
    /// assert_eq!(entry.path().file_name().unwrap(), entry.file_name());
    /// ```
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }

    /// What it is; links are not followed. Known since the directory was read.
    ///
    /// ```
    /// let entry = openwork::fs::read_dir("src").unwrap().next().unwrap().unwrap();
    /// let kind = entry.file_type().unwrap();
    /// assert!(kind.is_file() || kind.is_dir());
    /// ```
    ///
    /// # Errors
    /// As std's.
    pub fn file_type(&self) -> io::Result<FileType> {
        self.file_type.map_err(|code| match code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other("the file's type could not be read"),
        })
    }

    /// What the system knows of it; links are not followed.
    ///
    /// ```
    /// let entry = openwork::fs::read_dir("src").unwrap().next().unwrap().unwrap();
    /// assert_eq!(entry.metadata().unwrap().is_dir(), entry.file_type().unwrap().is_dir());
    /// ```
    ///
    /// # Errors
    /// As std's.
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking::io(|| self.entry.metadata())
    }
}
