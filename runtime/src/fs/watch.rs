//! What happens in directories, told by the kernel (inotify).

use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, OsStr};
use std::fs as std_fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::change::{Change, ChangeKind};
use crate::blocking;
use crate::net::socket::Socket;
use crate::poller::Direction;
use crate::scheduler::timers::NEVER;
use crate::time;

/// Bytes of events taken at once; one has at most 272.
const READ_BYTES: usize = 4 << 10;

/// Bytes of an event before its name.
const HEADER: usize = 16;

/// Watches a directory, or a single file. What is in directories below is not watched: [`add`](Watcher::add)
/// them.
///
/// ```
/// use openwork::fs::{self, ChangeKind};
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let folder = std::env::temp_dir().join(format!("openwork-doc-watch-{}", std::process::id()));
/// rt.block_on(|| {
///     fs::create_dir(&folder)?;
///     let mut watcher = fs::watch(&folder)?;
///     fs::write(folder.join("new"), "text")?;
///     let change = watcher.next_change()?;
///     assert_eq!((change.kind, change.path), (ChangeKind::Created, folder.join("new")));
///     fs::remove_dir_all(&folder)
/// }).unwrap();
/// ```
///
/// # Errors
/// Those of the system calls; the kernel bounds watchers and watches by user
/// (`/proc/sys/fs/inotify`).
pub fn watch(path: impl AsRef<Path>) -> io::Result<Watcher> {
    // SAFETY: the call reads a number.
    let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut watcher = Watcher {
        events: Socket::new(std_fs::File::from(fd)),
        paths: HashMap::new(),
        ahead: VecDeque::new(),
    };
    watcher.add(path)?;
    Ok(watcher)
}

/// Tells of changes as they happen; made by [`watch`]. Waits by the poller, like a socket.
///
/// Iterating gives each change, without end.
///
/// ```
/// use openwork::fs::{self, Watcher};
/// use std::time::Duration;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// rt.block_on(|| {
///     let mut watcher: Watcher = fs::watch("src").unwrap();
///     watcher.add("tests").unwrap();
///     let nothing = watcher.next_change_timeout(Duration::from_millis(1));
///     assert_eq!(nothing.unwrap(), None);
/// });
/// ```
#[derive(Debug)]
pub struct Watcher {
    events: Socket<std_fs::File>,
    /// What was asked for, by the kernel's number.
    paths: HashMap<i32, PathBuf>,
    ahead: VecDeque<Change>,
}

const KINDS: [(u32, ChangeKind); 11] = [
    (libc::IN_CREATE, ChangeKind::Created),
    (libc::IN_MODIFY, ChangeKind::Written),
    (libc::IN_CLOSE_WRITE, ChangeKind::Closed),
    (libc::IN_ATTRIB, ChangeKind::Attributes),
    (libc::IN_MOVED_FROM, ChangeKind::MovedFrom),
    (libc::IN_MOVED_TO, ChangeKind::MovedTo),
    (libc::IN_DELETE, ChangeKind::Removed),
    (libc::IN_DELETE_SELF, ChangeKind::Gone),
    (libc::IN_MOVE_SELF, ChangeKind::Gone),
    (libc::IN_UNMOUNT, ChangeKind::Gone),
    (libc::IN_Q_OVERFLOW, ChangeKind::Lost),
];

impl Watcher {
    /// Watches another path too.
    ///
    /// ```
    /// use openwork::fs;
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     let mut watcher = fs::watch(std::env::temp_dir()).unwrap();
    ///     watcher.add("src").unwrap();
    /// });
    /// ```
    ///
    /// # Errors
    /// As [`watch`].
    pub fn add(&mut self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let name = CString::new(path.as_os_str().as_bytes())?;
        let fd = self.events.inner().as_raw_fd();
        let asked = KINDS.iter().fold(0, |mask, (bit, _)| mask | bit);
        let asked = asked & !(libc::IN_UNMOUNT | libc::IN_Q_OVERFLOW);
        let number = blocking::io(|| {
            // SAFETY: the name ends in a zero and lives through the call, and the descriptor is ours.
            match unsafe { libc::inotify_add_watch(fd, name.as_ptr(), asked) } {
                -1 => Err(io::Error::last_os_error()),
                number => Ok(number),
            }
        })?;
        self.paths.insert(number, path.to_owned());
        Ok(())
    }

    /// Waits for the next change.
    ///
    /// ```
    /// use openwork::fs;
    ///
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let folder = std::env::temp_dir().join(format!("openwork-doc-next-{}", std::process::id()));
    /// rt.block_on(|| {
    ///     fs::create_dir(&folder)?;
    ///     let mut watcher = fs::watch(&folder)?;
    ///     fs::write(folder.join("new"), "text")?;
    ///     assert_eq!(watcher.next_change()?.path, folder.join("new"));
    ///     fs::remove_dir_all(&folder)
    /// }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the system call; or as [sockets](crate::net) say that the routine was asked to end.
    pub fn next_change(&mut self) -> io::Result<Change> {
        self.next_until(NEVER)
    }

    /// As [`next_change`](Self::next_change), but waits no longer than `timeout`: then `None`.
    ///
    /// ```
    /// use openwork::fs;
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let change = rt.block_on(|| {
    ///     let mut watcher = fs::watch("src").unwrap();
    ///     watcher.next_change_timeout(std::time::Duration::from_millis(1))
    /// });
    /// assert_eq!(change.unwrap(), None);
    /// ```
    ///
    /// # Errors
    /// As [`next_change`](Self::next_change).
    pub fn next_change_timeout(&mut self, timeout: Duration) -> io::Result<Option<Change>> {
        in_time(self.next_until(time::deadline(timeout).min(NEVER - 1)))
    }

    /// As [`next_change`](Self::next_change), but waits no longer than until `deadline`.
    ///
    /// ```
    /// use openwork::{fs, time};
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// let change = rt.block_on(|| fs::watch("src").unwrap().next_change_deadline(time::now()));
    /// assert_eq!(change.unwrap(), None);
    /// ```
    ///
    /// # Errors
    /// As [`next_change`](Self::next_change).
    pub fn next_change_deadline(&mut self, deadline: Instant) -> io::Result<Option<Change>> {
        in_time(self.next_until(time::ns_of(deadline)))
    }

    fn next_until(&mut self, deadline: u64) -> io::Result<Change> {
        let mut buf = [0; READ_BYTES];
        while self.ahead.is_empty() {
            let read = self.events.run_until(
                Direction::Read,
                deadline,
                "Watcher::next_change",
                |mut events, _| events.read(&mut buf).into(),
            )?;
            self.note(&buf[..read]);
        }
        Ok(self.ahead.pop_front().expect("the loop ends with one"))
    }

    /// Takes the kernel's records apart.
    fn note(&mut self, mut records: &[u8]) {
        while records.len() >= HEADER {
            let word = |at: usize| {
                let bytes = records[at..at + 4].try_into().expect("four bytes");
                u32::from_ne_bytes(bytes)
            };
            let (number, mask, cookie, len) = (word(0), word(4), word(8), word(12) as usize);
            let end = (HEADER + len).min(records.len());
            let name = &records[HEADER..end];
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            records = &records[end..];
            let number = number.cast_signed();
            let watched = self.paths.get(&number).cloned().unwrap_or_default();
            if mask & libc::IN_IGNORED != 0 {
                // The kernel has given up the watch: its number may be given anew.
                self.paths.remove(&number);
            }
            for (_, kind) in KINDS.iter().filter(|(bit, _)| mask & bit != 0) {
                self.ahead.push_back(Change {
                    kind: *kind,
                    path: match name {
                        [] => watched.clone(),
                        name => watched.join(OsStr::from_bytes(name)),
                    },
                    is_dir: mask & libc::IN_ISDIR != 0,
                    moved: (cookie != 0).then_some(cookie),
                });
            }
        }
    }
}

fn in_time(result: io::Result<Change>) -> io::Result<Option<Change>> {
    match result {
        Ok(change) => Ok(Some(change)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}

impl Iterator for Watcher {
    type Item = io::Result<Change>;

    fn next(&mut self) -> Option<io::Result<Change>> {
        Some(self.next_change())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's queue runs over: the record names no watch.
    #[test]
    fn what_the_kernel_lost_is_told() {
        let mut watcher = watch(std::env::temp_dir()).unwrap();
        let mut record = Vec::new();
        for word in [u32::MAX, libc::IN_Q_OVERFLOW, 0, 0] {
            record.extend(word.to_ne_bytes());
        }
        watcher.note(&record);
        // A record that is cut off is no reason to fail.
        watcher.note(&record[..10]);
        let lost = watcher.ahead.pop_front().unwrap();
        assert_eq!((lost.kind, lost.path), (ChangeKind::Lost, PathBuf::new()));
        assert!(watcher.ahead.is_empty());
    }
}
