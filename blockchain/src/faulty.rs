//! A disk that fails on command, for tests of the writer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageBackend};

use crate::store::Opener;

/// The switches of a faulty disk.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Writes and growth fail as on a full disk.
    pub(crate) full: AtomicBool,
    /// The next sync reaches the disk, reports an error all the same and clears this switch.
    pub(crate) sync_lies: AtomicBool,
    /// The file cannot be opened.
    pub(crate) unreachable: AtomicBool,
}

/// Opens the existing database at `path` on a disk governed by `faults`.
pub(crate) fn faulty_opener(path: &Path, faults: &Arc<Faults>) -> Opener {
    let path: PathBuf = path.to_owned();
    let faults = Arc::clone(faults);
    Box::new(move || {
        if faults.unreachable.load(Ordering::Relaxed) {
            let error = io::Error::from(io::ErrorKind::NotFound);
            return Err(DatabaseError::Storage(redb::StorageError::Io(error)));
        }
        let file = std::fs::File::options().read(true).write(true).open(&path);
        let file = FileBackend::new(file.map_err(redb::StorageError::Io)?)?;
        Database::builder().create_with_backend(FaultyDisk {
            file,
            faults: Arc::clone(&faults),
        })
    })
}

#[derive(Debug)]
struct FaultyDisk {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    fn check_room(&self) -> io::Result<()> {
        if self.faults.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_room()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.faults.sync_lies.swap(false, Ordering::Relaxed) {
            return Err(io::Error::other("the disk says it could not sync"));
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_room()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
