//! Files and directories, with the names and signatures of [`std::fs`].
//!
//! Each call runs on a thread of the runtime's blocking pool (see [`blocking()`]); a
//! plain thread runs it itself. So a routine that waits for a disk holds no worker. Porting is a change of
//! `use`; types that only describe (`Metadata`, `Permissions`, `FileType`) are std's own.
//!
//! What is read or written is lent to the call, without a copy, and so nothing ends the call before
//! the kernel does: neither a cancel nor a deadline. A routine that was asked to end is told so by the
//! next call, as an [`io::Error`] whose inner error is [`Cancelled`](crate::Cancelled), once; after
//! that, calls unwind. Where a disk or a network file system may hang, give the work away with all that it
//! needs, by [`blocking_timeout`](crate::blocking_timeout): what is given away can be left behind.
//!
//! ```
//! use openwork::{Runtime, fs};
//!
//! let rt = Runtime::builder().workers(1).build().unwrap();
//! let found = rt.block_on(|| {
//!     let mut found = fs::read_dir(".")?.collect::<std::io::Result<Vec<_>>>()?;
//!     found.sort_by_key(|entry| entry.file_name());
//!     Ok::<_, std::io::Error>(found)
//! });
//! assert!(found.unwrap().iter().any(|entry| entry.file_name() == "Cargo.toml"));
//! ```

mod change;
mod dir;
mod file;
#[cfg(not(target_os = "linux"))]
mod no_watch;
mod options;
#[cfg(target_os = "linux")]
mod watch;

use std::fs as std_fs;
use std::io;
use std::path::{Path, PathBuf};

pub use change::{Change, ChangeKind};
pub use dir::{DirEntry, ReadDir, read_dir};
pub use file::File;
#[cfg(not(target_os = "linux"))]
pub use no_watch::{Watcher, watch};
pub use options::OpenOptions;
pub use std::fs::{FileTimes, FileType, Metadata, Permissions};
#[cfg(target_os = "linux")]
pub use watch::{Watcher, watch};

use crate::blocking;

/// The contents of a file; as [`std::fs::read`].
///
/// ```
/// assert!(openwork::fs::read("Cargo.toml").unwrap().starts_with(b"[package]"));
/// ```
///
/// # Errors
/// As std's.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    blocking::io(|| std_fs::read(path))
}

/// The contents of a file that is UTF-8; as [`std::fs::read_to_string`].
///
/// ```
/// assert!(openwork::fs::read_to_string("Cargo.toml").unwrap().contains("openwork"));
/// ```
///
/// # Errors
/// As std's.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    blocking::io(|| std_fs::read_to_string(path))
}

/// Makes the file, or replaces all that it holds; as [`std::fs::write`].
///
/// ```
/// let path = std::env::temp_dir().join(format!("openwork-doc-write-{}", std::process::id()));
/// openwork::fs::write(&path, "text").unwrap();
/// assert_eq!(openwork::fs::metadata(&path).unwrap().len(), 4);
/// openwork::fs::remove_file(&path).unwrap();
/// assert!(!openwork::fs::exists(&path).unwrap());
/// ```
///
/// # Errors
/// As std's.
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    blocking::io(|| std_fs::write(path, contents))
}

/// Copies a file with its permissions, and returns its bytes; as [`std::fs::copy`].
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-copy-{}", std::process::id()));
/// # fs::create_dir_all(&folder).unwrap();
/// fs::write(folder.join("a"), "text").unwrap();
/// assert_eq!(fs::copy(folder.join("a"), folder.join("b")).unwrap(), 4);
/// # fs::remove_dir_all(&folder).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    blocking::io(|| std_fs::copy(from, to))
}

/// Gives a file another name; as [`std::fs::rename`].
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-rename-{}", std::process::id()));
/// # fs::create_dir_all(&folder).unwrap();
/// fs::write(folder.join("a"), "text").unwrap();
/// fs::rename(folder.join("a"), folder.join("b")).unwrap();
/// assert_eq!(fs::read(folder.join("b")).unwrap(), b"text");
/// # fs::remove_dir_all(&folder).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    blocking::io(|| std_fs::rename(from, to))
}

/// Gives a file a second name; as [`std::fs::hard_link`].
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-hard_link-{}", std::process::id()));
/// # fs::create_dir_all(&folder).unwrap();
/// fs::write(folder.join("a"), "text").unwrap();
/// fs::hard_link(folder.join("a"), folder.join("b")).unwrap();
/// fs::remove_file(folder.join("a")).unwrap();
/// assert_eq!(fs::read(folder.join("b")).unwrap(), b"text");
/// # fs::remove_dir_all(&folder).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    blocking::io(|| std_fs::hard_link(original, link))
}

/// Makes a link that holds a path; as `std::os::unix::fs::symlink`, and on Windows a link to a file.
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-symlink-{}", std::process::id()));
/// # fs::create_dir_all(&folder).unwrap();
/// fs::symlink("target", folder.join("link")).unwrap();
/// assert!(fs::symlink_metadata(folder.join("link")).unwrap().is_symlink());
/// # fs::remove_dir_all(&folder).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    #[cfg(unix)]
    return blocking::io(|| std::os::unix::fs::symlink(original, link));
    #[cfg(windows)]
    blocking::io(|| std::os::windows::fs::symlink_file(original, link))
}

/// The path that a symbolic link holds; as [`std::fs::read_link`].
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-read_link-{}", std::process::id()));
/// # fs::create_dir_all(&folder).unwrap();
/// fs::symlink("target", folder.join("link")).unwrap();
/// assert_eq!(fs::read_link(folder.join("link")).unwrap().as_os_str(), "target");
/// # fs::remove_dir_all(&folder).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking::io(|| std_fs::read_link(path))
}

/// The absolute path without links; as [`std::fs::canonicalize`].
///
/// ```
/// assert!(openwork::fs::canonicalize(".").unwrap().is_absolute());
/// ```
///
/// # Errors
/// As std's.
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    blocking::io(|| std_fs::canonicalize(path))
}

/// Whether there is such a file or directory; as [`std::fs::exists`].
///
/// ```
/// assert!(openwork::fs::exists("Cargo.toml").unwrap());
/// ```
///
/// # Errors
/// As std's: where it cannot be told.
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref();
    blocking::io(|| std_fs::exists(path))
}

/// What the system knows of a file, links followed; as [`std::fs::metadata`].
///
/// ```
/// assert!(openwork::fs::metadata("Cargo.toml").unwrap().is_file());
/// ```
///
/// # Errors
/// As std's.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking::io(|| std_fs::metadata(path))
}

/// What the system knows of a file or link itself; as [`std::fs::symlink_metadata`].
///
/// ```
/// assert!(!openwork::fs::symlink_metadata("Cargo.toml").unwrap().is_symlink());
/// ```
///
/// # Errors
/// As std's.
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    blocking::io(|| std_fs::symlink_metadata(path))
}

/// Changes who may do what; as [`std::fs::set_permissions`].
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-set_permissions-{}", std::process::id()));
/// # fs::create_dir_all(&folder).unwrap();
/// fs::write(folder.join("a"), "text").unwrap();
/// let mut permissions = fs::metadata(folder.join("a")).unwrap().permissions();
/// permissions.set_readonly(true);
/// fs::set_permissions(folder.join("a"), permissions).unwrap();
/// # fs::remove_dir_all(&folder).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    blocking::io(|| std_fs::set_permissions(path, permissions))
}

/// Makes a directory; as [`std::fs::create_dir`].
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-create_dir-{}", std::process::id()));
/// # fs::create_dir_all(&folder).unwrap();
/// fs::create_dir(folder.join("new")).unwrap();
/// assert!(fs::metadata(folder.join("new")).unwrap().is_dir());
/// # fs::remove_dir_all(&folder).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking::io(|| std_fs::create_dir(path))
}

/// Makes a directory and those above it; as [`std::fs::create_dir_all`].
///
/// ```
/// let top = std::env::temp_dir().join(format!("openwork-doc-dirs-{}", std::process::id()));
/// openwork::fs::create_dir_all(top.join("a/b")).unwrap();
/// assert_eq!(openwork::fs::read_dir(&top).unwrap().count(), 1);
/// openwork::fs::remove_dir_all(&top).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking::io(|| std_fs::create_dir_all(path))
}

/// Removes an empty directory; as [`std::fs::remove_dir`].
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-remove_dir-{}", std::process::id()));
/// # fs::create_dir_all(&folder).unwrap();
/// fs::create_dir(folder.join("empty")).unwrap();
/// fs::remove_dir(folder.join("empty")).unwrap();
/// assert!(!fs::exists(folder.join("empty")).unwrap());
/// # fs::remove_dir_all(&folder).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking::io(|| std_fs::remove_dir(path))
}

/// Removes a directory with all that is in it; as [`std::fs::remove_dir_all`].
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-rmall-{}", std::process::id()));
/// fs::create_dir_all(folder.join("a/b")).unwrap();
/// fs::remove_dir_all(&folder).unwrap();
/// assert!(!fs::exists(&folder).unwrap());
/// ```
///
/// # Errors
/// As std's.
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking::io(|| std_fs::remove_dir_all(path))
}

/// Removes a file; as [`std::fs::remove_file`].
///
/// ```
/// use openwork::fs;
/// let folder = std::env::temp_dir().join(format!("openwork-doc-remove_file-{}", std::process::id()));
/// # fs::create_dir_all(&folder).unwrap();
/// fs::write(folder.join("a"), "").unwrap();
/// fs::remove_file(folder.join("a")).unwrap();
/// assert!(!fs::exists(folder.join("a")).unwrap());
/// # fs::remove_dir_all(&folder).unwrap();
/// ```
///
/// # Errors
/// As std's.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    blocking::io(|| std_fs::remove_file(path))
}
