//! What a watcher tells.

use std::path::PathBuf;

/// One change.
///
/// ```
/// use openwork::fs;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let folder = std::env::temp_dir().join(format!("openwork-doc-change-{}", std::process::id()));
/// rt.block_on(|| {
///     fs::create_dir(&folder)?;
///     let mut watcher = fs::watch(&folder)?;
///     fs::create_dir(folder.join("below"))?;
///     let change = watcher.next_change()?;
///     assert!(change.is_dir && change.path.ends_with("below") && change.moved.is_none());
///     fs::remove_dir_all(&folder)
/// }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Where: the watched path, and the name of the entry if it happened to one. Empty for
    /// [`ChangeKind::Lost`].
    pub path: PathBuf,
    /// Whether that is a directory.
    pub is_dir: bool,
    /// The two changes of one move have the same number.
    pub moved: Option<u32>,
}

/// See [`Change`].
///
/// ```
/// use openwork::fs::{self, ChangeKind};
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let folder = std::env::temp_dir().join(format!("openwork-doc-kind-{}", std::process::id()));
/// rt.block_on(|| {
///     fs::create_dir(&folder)?;
///     fs::write(folder.join("old"), "text")?;
///     let mut watcher = fs::watch(&folder)?;
///     fs::rename(folder.join("old"), folder.join("new"))?;
///     assert_eq!(watcher.next_change()?.kind, ChangeKind::MovedFrom);
///     assert_eq!(watcher.next_change()?.kind, ChangeKind::MovedTo);
///     fs::remove_dir_all(&folder)
/// }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// A file or directory was made.
    Created,
    /// Something was written.
    Written,
    /// A file that was open for writing was closed.
    Closed,
    /// Metadata changed.
    Attributes,
    /// It was moved away from here.
    MovedFrom,
    /// It was moved to here.
    MovedTo,
    /// It was removed.
    Removed,
    /// What is watched was itself removed or moved, or its file system is gone.
    Gone,
    /// More happened than the kernel keeps; look yourself.
    Lost,
}
