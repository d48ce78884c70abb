//! Profiles on disk: made ids, bounded in number and size.
//!
//! A profile is a record (`<id>.json`) and its contents (`<id>.pb.gz`, `<id>.icicle`, `<id>.dhat`). The record is
//! written last, by renaming a finished file, so what is listed is complete; contents without a record are swept at
//! start. Ids are made here and looked up in memory: a client's text never becomes part of a path.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::limits;

/// What is known of a profile beside its contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Server-made id.
    pub id: String,
    /// What it shows.
    pub kind: Kind,
    /// When it was finished, milliseconds since 1970.
    pub taken_at_ms: u64,
    /// How long it took to take, in nanoseconds.
    pub duration_ns: u64,
    /// Size of the downloadable file.
    pub file_size_bytes: u64,
    /// Size of everything kept for it.
    pub kept_bytes: u64,
    /// Samples in it; `None` where the format does not say.
    pub samples: Option<u64>,
    /// Rate asked for, CPU only.
    pub asked_hz: Option<u32>,
    /// Rate achieved, CPU only, and only if it could be measured.
    pub achieved_hz: Option<f64>,
    /// Samples left out because they fell into a stack switch, CPU only.
    pub skipped_in_switch: Option<u64>,
    /// Samples lost for want of room, CPU only.
    pub lost: Option<u64>,
}

/// The files of a new profile.
#[derive(Clone, Debug)]
pub enum Contents {
    /// A gzipped `profile.proto` and the tree that the page draws.
    Pprof {
        /// What `go tool pprof` reads.
        pprof: Vec<u8>,
        /// JSON of the icicle.
        icicle: Vec<u8>,
    },
    /// A file that dhat has written, to be moved in.
    Dhat(PathBuf),
}

/// A part of a profile that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The gzipped `profile.proto`.
    Pprof,
    /// JSON of the icicle.
    Icicle,
    /// What dhat wrote.
    Dhat,
}

impl Part {
    const ALL: [Part; 3] = [Part::Pprof, Part::Icicle, Part::Dhat];

    fn extension(self) -> &'static str {
        match self {
            Part::Pprof => "pb.gz",
            Part::Icicle => "icicle",
            Part::Dhat => "dhat",
        }
    }
}

/// The profiles kept. A cheap handle; its methods block on the disk.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    records: Mutex<BTreeMap<(u64, String), Record>>,
}

impl Store {
    /// Opens `dir`, creating it if need be, and sweeps what belongs to no profile.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut records = BTreeMap::new();
        let names: Vec<_> = fs::read_dir(&dir)?
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        for name in names.iter().filter_map(|name| name.to_str()) {
            let Some(id) = name.strip_suffix(".json") else {
                continue;
            };
            let record = fs::read(dir.join(name))
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            // A record under another name than its own would be listed and not found.
            if let Some(record) = record.filter(|r| r.id == id) {
                records.insert((record.taken_at_ms, record.id.clone()), record);
            }
        }
        for name in names.iter().filter_map(|name| name.to_str()) {
            let id = name.split('.').next().unwrap_or_default();
            if !records.values().any(|r| r.id == id) {
                let _ = fs::remove_file(dir.join(name));
            }
        }
        Ok(Store {
            inner: Arc::new(Inner {
                dir,
                records: Mutex::new(records),
            }),
        })
    }

    /// A name for a file in the directory that does not exist yet, for tools that write files themselves.
    pub fn scratch(&self, id: &str) -> PathBuf {
        self.inner.dir.join(format!("{id}.part"))
    }

    /// A new id for a profile of this kind taken at `at`: kind, second, and four random digits to tell two apart.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new_id(&self, kind: Kind, at: SystemTime) -> io::Result<String> {
        let timestamp = jiff::Timestamp::try_from(at).map_err(io::Error::other)?;
        let stamp = timestamp.strftime("%Y%m%dt%H%M%S");
        loop {
            let mut bits = [0; 2];
            getrandom::fill(&mut bits).map_err(io::Error::other)?;
            let id = format!("{}-{stamp}-{:04x}", kind.name(), u16::from_ne_bytes(bits));
            if self.get(&id).is_none() {
                return Ok(id);
            }
        }
    }

    /// Keeps a profile and forgets the oldest ones until all bounds hold. Sizes in `record` are filled in.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn add(&self, mut record: Record, contents: Contents) -> io::Result<Record> {
        let write = |part: Part, bytes: &[u8]| -> io::Result<u64> {
            fs::write(self.path(&record.id, part), bytes)?;
            Ok(bytes.len() as u64)
        };
        let written = match &contents {
            Contents::Pprof { pprof, icicle } => write(Part::Pprof, pprof)
                .and_then(|file| Ok((file, file + write(Part::Icicle, icicle)?))),
            Contents::Dhat(from) => {
                let to = self.path(&record.id, Part::Dhat);
                fs::rename(from, &to)
                    .and_then(|()| fs::metadata(&to))
                    .map(|m| (m.len(), m.len()))
            }
        };
        let kept = written.and_then(|(file, kept)| {
            record.file_size_bytes = file;
            record.kept_bytes = kept;
            let json = serde_json::to_vec(&record).map_err(io::Error::other)?;
            let part = self.scratch(&record.id);
            fs::write(&part, json)?;
            fs::rename(part, self.inner.dir.join(format!("{}.json", record.id)))
        });
        if let Err(error) = kept {
            self.remove_files(&record.id);
            return Err(error);
        }
        let forgotten = {
            let mut records = self
                .inner
                .records
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            records.insert((record.taken_at_ms, record.id.clone()), record.clone());
            over_bounds(&mut records)
        };
        for old in forgotten {
            self.remove_files(&old.id);
        }
        Ok(record)
    }

    /// The newest first.
    pub fn list(&self) -> Vec<Record> {
        let records = self
            .inner
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        records.values().rev().cloned().collect()
    }

    /// The profile with this id.
    pub fn get(&self, id: &str) -> Option<Record> {
        let records = self
            .inner
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        records.values().find(|r| r.id == id).cloned()
    }

    /// Where a part of a listed profile lies.
    pub fn path(&self, id: &str, part: Part) -> PathBuf {
        self.inner.dir.join(format!("{id}.{}", part.extension()))
    }

    /// A part of the profile with this id; `None` if there is no such profile, or it has no such part.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(&self, id: &str, part: Part) -> io::Result<Option<Vec<u8>>> {
        let Some(record) = self.get(id) else {
            return Ok(None);
        };
        match fs::read(self.path(&record.id, part)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn remove_files(&self, id: &str) {
        // The record first: what is left without one is swept at the next start.
        let _ = fs::remove_file(self.inner.dir.join(format!("{id}.json")));
        let _ = fs::remove_file(self.scratch(id));
        for part in Part::ALL {
            let _ = fs::remove_file(self.path(id, part));
        }
    }
}

/// Takes the oldest records out until number and size are within bounds. The newest always stays.
fn over_bounds(records: &mut BTreeMap<(u64, String), Record>) -> Vec<Record> {
    let mut forgotten = Vec::new();
    let mut bytes: u64 = records.values().map(|r| r.kept_bytes).sum();
    while records.len() > 1
        && (records.len() as u64 > limits::PROFILES_KEPT.max || bytes > limits::PROFILES_BYTES.max)
    {
        let Some((_, oldest)) = records.pop_first() else {
            break;
        };
        bytes -= oldest.kept_bytes;
        forgotten.push(oldest);
    }
    forgotten
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> Record {
        Record {
            id: format!("heap-{n}"),
            kind: Kind::Heap,
            taken_at_ms: n,
            duration_ns: 1,
            file_size_bytes: 0,
            kept_bytes: 0,
            samples: Some(1),
            asked_hz: None,
            achieved_hz: None,
            skipped_in_switch: None,
            lost: None,
        }
    }

    fn contents() -> Contents {
        Contents::Pprof {
            pprof: b"pprof".to_vec(),
            icicle: b"{}".to_vec(),
        }
    }

    /// Breaks if the bound is not kept, files outlive their record, or a restart forgets or invents profiles.
    #[test]
    fn the_newest_fifty_survive_a_restart_with_their_files_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("profiles");
        let store = Store::open(path.clone()).expect("opened");
        for n in 0..53 {
            store.add(record(n), contents()).expect("kept");
        }
        fs::write(path.join("stray.pb.gz"), "x").expect("written");
        fs::write(
            path.join("liar.json"),
            serde_json::to_vec(&record(99)).expect("json"),
        )
        .expect("written");
        let store = Store::open(path.clone()).expect("opened again");
        let listed: Vec<_> = store.list().iter().map(|r| r.taken_at_ms).collect();
        assert_eq!(listed, (3..53).rev().collect::<Vec<_>>());
        assert_eq!(fs::read_dir(&path).expect("listed").count(), 50 * 3);
        assert_eq!(
            store.read("heap-3", Part::Pprof).expect("read").as_deref(),
            Some(&b"pprof"[..])
        );
        assert_eq!(store.read("heap-2", Part::Pprof).expect("looked"), None);
        assert_eq!(
            store
                .read("../profiles/heap-3", Part::Pprof)
                .expect("looked"),
            None
        );
        assert_eq!(store.get("heap-3").expect("known").kept_bytes, 7);
    }
}
