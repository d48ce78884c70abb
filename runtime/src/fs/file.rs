//! An open file.

use std::fs as std_fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
#[cfg(unix)]
use std::os::unix::fs::FileExt;
#[cfg(windows)]
use std::os::windows::fs::FileExt;
use std::path::Path;

use super::{FileTimes, Metadata, OpenOptions, Permissions};
use crate::blocking;

/// An open file; as [`std::fs::File`]. It has no buffer of its own: wrap it in
/// [`BufReader`](std::io::BufReader) or [`BufWriter`](std::io::BufWriter) for small pieces, because each
/// call is a job of the pool.
///
/// Dropping it closes it, on the dropping thread.
///
/// ```
/// use openwork::fs::File;
/// use std::io::{Read, Seek, SeekFrom, Write};
///
/// let path = std::env::temp_dir().join(format!("openwork-doc-file-{}", std::process::id()));
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let text = rt.block_on(|| {
///     let mut file = File::options().read(true).write(true).create(true).open(&path)?;
///     file.write_all(b"one two")?;
///     file.seek(SeekFrom::Start(4))?;
///     let mut text = String::new();
///     file.read_to_string(&mut text)?;
///     openwork::fs::remove_file(&path)?;
///     Ok::<_, std::io::Error>(text)
/// });
/// assert_eq!(text.unwrap(), "two");
/// ```
#[derive(Debug)]
pub struct File {
    file: std_fs::File,
}

impl File {
    /// Opens a file for reading.
    ///
    /// ```
    /// use openwork::fs::File;
    /// assert!(File::open("Cargo.toml").is_ok() && File::open("no such file").is_err());
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::open`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing; makes it, or drops what it holds.
    ///
    /// ```
    /// use openwork::fs::File;
    /// use std::io::Write;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-create-{}", std::process::id()));
    /// File::create(&path).unwrap().write_all(b"text").unwrap();
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::create`].
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file that must be new, for reading and writing.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-create_new-{}", std::process::id()));
    /// assert!(File::create_new(&path).is_ok());
    /// assert!(File::create_new(&path).is_err());
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::create_new`].
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).open(path)
    }

    /// Other ways to open a file.
    ///
    /// ```
    /// use openwork::fs::File;
    /// assert!(File::options().read(true).open("Cargo.toml").is_ok());
    /// ```
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Waits until contents and metadata are on the disk.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-sync_all-{}", std::process::id()));
    /// File::create(&path).unwrap().sync_all().unwrap();
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::sync_all`].
    pub fn sync_all(&self) -> io::Result<()> {
        blocking::io(|| self.file.sync_all())
    }

    /// Waits until the contents are on the disk.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-sync_data-{}", std::process::id()));
    /// File::create(&path).unwrap().sync_data().unwrap();
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::sync_data`].
    pub fn sync_data(&self) -> io::Result<()> {
        blocking::io(|| self.file.sync_data())
    }

    /// Cuts the file, or fills it up with zeros.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-set_len-{}", std::process::id()));
    /// let file = File::create(&path).unwrap();
    /// file.set_len(100).unwrap();
    /// assert_eq!(file.metadata().unwrap().len(), 100);
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::set_len`].
    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        blocking::io(|| self.file.set_len(bytes))
    }

    /// What the system knows of it.
    ///
    /// ```
    /// use openwork::fs::File;
    /// assert!(File::open("Cargo.toml").unwrap().metadata().unwrap().is_file());
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::metadata`].
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking::io(|| self.file.metadata())
    }

    /// A second handle to the same open file, with the same position.
    ///
    /// ```
    /// use openwork::fs::File;
    /// use std::io::Read;
    /// let mut file = File::open("Cargo.toml").unwrap();
    /// let mut other = file.try_clone().unwrap();
    /// let mut text = String::new();
    /// file.read_to_string(&mut text).unwrap();
    /// assert_eq!(other.read(&mut [0]).unwrap(), 0); // one position for both
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::try_clone`].
    pub fn try_clone(&self) -> io::Result<File> {
        self.file.try_clone().map(File::from)
    }

    /// Changes who may do what.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-fperm-{}", std::process::id()));
    /// let file = File::create(&path).unwrap();
    /// let mut permissions = file.metadata().unwrap().permissions();
    /// permissions.set_readonly(true);
    /// file.set_permissions(permissions).unwrap();
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::set_permissions`].
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        blocking::io(|| self.file.set_permissions(permissions))
    }

    /// Changes when it was read and written.
    ///
    /// ```
    /// use openwork::fs::File;
    /// use openwork::fs::FileTimes;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-times-{}", std::process::id()));
    /// let then = std::time::SystemTime::UNIX_EPOCH;
    /// let file = File::create(&path).unwrap();
    /// file.set_times(FileTimes::new().set_modified(then)).unwrap();
    /// assert_eq!(file.metadata().unwrap().modified().unwrap(), then);
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::set_times`].
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        blocking::io(|| self.file.set_times(times))
    }

    /// Waits until no other open file holds an advisory lock, and takes it. Processes are kept out,
    /// and so is each other open file of this one.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-lock-{}", std::process::id()));
    /// let (one, two) = (File::create(&path).unwrap(), File::open(&path).unwrap());
    /// one.lock().unwrap();
    /// assert!(two.try_lock().is_err());
    /// one.unlock().unwrap();
    /// two.lock().unwrap();
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::lock`].
    pub fn lock(&self) -> io::Result<()> {
        blocking::io(|| self.file.lock())
    }

    /// As [`lock`](Self::lock), with others that share it.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-lock_shared-{}", std::process::id()));
    /// let (one, two) = (File::create(&path).unwrap(), File::open(&path).unwrap());
    /// one.lock_shared().unwrap();
    /// two.lock_shared().unwrap();
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::lock_shared`].
    pub fn lock_shared(&self) -> io::Result<()> {
        blocking::io(|| self.file.lock_shared())
    }

    /// Takes the lock if it is free. Does not wait.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-try_lock-{}", std::process::id()));
    /// assert!(File::create(&path).unwrap().try_lock().is_ok());
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::try_lock`].
    pub fn try_lock(&self) -> Result<(), std_fs::TryLockError> {
        self.file.try_lock()
    }

    /// Gives the lock back. Does not wait.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-unlock-{}", std::process::id()));
    /// let file = File::create(&path).unwrap();
    /// file.lock().unwrap();
    /// file.unlock().unwrap();
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::File::unlock`].
    pub fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    /// Std's file, for what is not here.
    ///
    /// ```
    /// use openwork::fs::File;
    /// let file: std::fs::File = File::open("Cargo.toml").unwrap().into_std();
    /// ```
    pub fn into_std(self) -> std_fs::File {
        self.file
    }
}

impl From<std_fs::File> for File {
    fn from(file: std_fs::File) -> File {
        File { file }
    }
}

#[cfg(unix)]
impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File { file: fd.into() }
    }
}

#[cfg(unix)]
impl From<File> for OwnedFd {
    fn from(file: File) -> OwnedFd {
        file.file.into()
    }
}

#[cfg(unix)]
impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        blocking::io(|| (&self.file).read(buf))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        blocking::io(|| (&self.file).read_vectored(bufs))
    }

    // Whole, so that it is one job.
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        blocking::io(|| (&self.file).read_to_end(buf))
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        blocking::io(|| (&self.file).read_to_string(buf))
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        blocking::io(|| (&self.file).read_exact(buf))
    }
}

impl Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        blocking::io(|| (&self.file).write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking::io(|| (&self.file).write_vectored(bufs))
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        blocking::io(|| (&self.file).write_all(buf))
    }

    /// There is nothing to flush.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            // A network file system asks its server.
            SeekFrom::End(_) => blocking::io(|| (&self.file).seek(to)),
            SeekFrom::Start(_) | SeekFrom::Current(_) => (&self.file).seek(to),
        }
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        (&*self).read_exact(buf)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        (&*self).write_all(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

#[cfg(unix)]
impl FileExt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        blocking::io(|| self.file.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        blocking::io(|| self.file.write_at(buf, offset))
    }
}

#[cfg(windows)]
impl FileExt for File {
    fn seek_read(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        blocking::io(|| self.file.seek_read(buf, offset))
    }

    fn seek_write(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        blocking::io(|| self.file.seek_write(buf, offset))
    }
}
