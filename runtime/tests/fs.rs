//! Files and directories by the blocking pool, with std beside them as the judge.

mod support;

use std::ffi::CString;
use std::fs as std_fs;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use openwork::fs::{self, ChangeKind, File, OpenOptions};
use openwork::snapshot::{RoutineState, WaitReason};
use openwork::{Cancelled, Runtime, spawn, yield_now};
use support::{Watchdog, runtime, until};

const LONG: Duration = Duration::from_secs(100);

/// A directory that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("openwork-{name}-{}", std::process::id()));
        let _ = std_fs::remove_dir_all(&path);
        std_fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std_fs::remove_dir_all(&self.0);
    }
}

fn on_one_worker(name: &str, f: impl FnOnce(&Folder) -> io::Result<()> + Send) {
    let watchdog = Watchdog::new(name);
    let folder = Folder::new(name);
    let rt = runtime(1);
    watchdog.watch(name, &rt.handle());
    rt.block_on(|| f(&folder)).unwrap();
    let pool = rt.snapshot().blocking;
    assert!(pool.done > 0 && pool.done == pool.submitted, "{pool:?}");
    rt.shutdown(LONG).unwrap();
}

#[test]
fn a_file_is_written_and_read() {
    on_one_worker("fs-file", |folder| {
        let path = folder.at("a");
        let mut file = File::create(&path)?;
        file.write_all(b"one\ntwo\nthree\n")?;
        assert_eq!(file.write(b"four\n")?, 5);
        file.flush()?;
        file.sync_all()?;
        file.sync_data()?;
        assert_eq!(std_fs::read(&path)?, b"one\ntwo\nthree\nfour\n");
        assert_eq!(file.metadata()?.len(), 19);
        file.set_len(8)?;
        assert!(File::create_new(&path).is_err());

        let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
        (&file).write_all(b"end")?;
        assert_eq!(file.seek(SeekFrom::Start(4))?, 4);
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        assert_eq!(text, "two\nend");
        assert_eq!(file.seek(SeekFrom::End(-3))?, 8);
        let mut end = [0; 3];
        file.try_clone()?.read_exact(&mut end)?;
        assert_eq!((&end, file.stream_position()?), (b"end", 11));
        assert_eq!(file.read(&mut end)?, 0);

        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        file.write_all_at(b"ONE", 0)?;
        file.read_exact_at(&mut end, 0)?;
        assert_eq!(&end, b"ONE");
        let lines: Vec<_> = BufReader::new(file).lines().collect::<Result<_, _>>()?;
        assert_eq!(lines, ["ONE", "two", "end"]);
        Ok(())
    });
}

#[test]
fn locks_keep_other_open_files_out() {
    on_one_worker("fs-lock", |folder| {
        let (one, two) = (File::create(folder.at("l"))?, File::open(folder.at("l"))?);
        one.lock()?;
        assert!(two.try_lock().is_err());
        // Waits on a thread of the pool until the other routine lets go.
        let waiter = spawn(move || two.lock_shared().map(|()| two));
        for _ in 0..10 {
            yield_now();
        }
        assert!(!waiter.is_finished());
        one.unlock()?;
        let two = waiter.join().unwrap()?;
        assert!(one.try_lock().is_err());
        two.unlock()?;
        one.try_lock().unwrap();
        Ok(())
    });
}

/// A batch is lost, doubled, or ends the walk early.
#[test]
fn a_directory_is_walked_whole() {
    on_one_worker("fs-dir", |folder| {
        let deep = folder.at("x/y/z");
        fs::create_dir_all(&deep)?;
        for n in 0..1000 {
            std_fs::write(deep.join(format!("{n}")), vec![0; n])?;
        }
        let (mut seen, mut bytes) = (vec![false; 1000], 0);
        for entry in fs::read_dir(&deep)? {
            let entry = entry?;
            let n: usize = entry.file_name().to_str().unwrap().parse().unwrap();
            assert!(!std::mem::replace(&mut seen[n], true));
            assert!(entry.file_type()?.is_file());
            assert_eq!(entry.path(), deep.join(entry.file_name()));
            bytes += entry.metadata()?.len();
        }
        assert!(seen.iter().all(|seen| *seen));
        assert_eq!(bytes, 999 * 1000 / 2);
        assert!(fs::read_dir(folder.at("none")).is_err());
        assert!(fs::remove_dir(folder.at("x")).is_err(), "it is not empty");
        fs::remove_dir_all(folder.at("x"))?;
        fs::create_dir(folder.at("x"))?;
        fs::remove_dir(folder.at("x"))?;
        assert!(!fs::exists(folder.at("x"))?);
        Ok(())
    });
}

#[test]
fn names_are_changed() {
    on_one_worker("fs-names", |folder| {
        let (a, b, link) = (folder.at("a"), folder.at("b"), folder.at("link"));
        fs::write(&a, "text")?;
        assert_eq!(fs::copy(&a, &b)?, 4);
        fs::remove_file(&a)?;
        fs::rename(&b, &a)?;
        fs::hard_link(&a, &b)?;
        fs::symlink("a", &link)?;
        assert_eq!(fs::read_link(&link)?, Path::new("a"));
        assert_eq!(fs::canonicalize(&link)?, fs::canonicalize(&a)?);
        assert!(fs::symlink_metadata(&link)?.is_symlink());
        assert!(fs::metadata(&link)?.is_file());
        assert_eq!(fs::read(&b)?, b"text");
        assert_eq!(fs::read_to_string(&link)?, "text");
        fs::set_permissions(&a, fs::Permissions::from_mode(0o400))?;
        assert_eq!(fs::metadata(&b)?.permissions().mode() & 0o777, 0o400);
        let missing = fs::read(folder.at("none")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        Ok(())
    });
}

fn make_fifo(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends in a zero and lives through the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

/// A file that the kernel waits for holds the worker: then the other end is never opened.
#[test]
fn a_file_that_waits_holds_no_worker() {
    on_one_worker("fs-fifo", |folder| {
        make_fifo(&folder.at("fifo"));
        let (reader, writer) = (folder.at("fifo"), folder.at("fifo"));
        let reader = spawn(move || fs::read_to_string(reader));
        let writer = spawn(move || fs::write(writer, "through"));
        assert_eq!(reader.join().unwrap()?, "through");
        writer.join().unwrap()
    });
}

/// A cancel is lost, or costs what was read.
#[test]
fn a_cancel_is_told_by_the_next_call() {
    let watchdog = Watchdog::new("fs-cancel");
    let folder = Folder::new("fs-cancel");
    let rt = Runtime::builder().workers(1).build().unwrap();
    let handle = rt.handle();
    watchdog.watch("fs-cancel", &handle);
    let path = folder.at("fifo");
    make_fifo(&path);
    let (told, was_told) = mpsc::channel();
    let at = path.clone();
    let routine = rt.spawn(move || {
        let first = fs::read_to_string(&at);
        let second = fs::metadata(&at);
        told.send((first, second)).unwrap();
        // Told once: now it unwinds.
        let _ = fs::metadata(&at);
        unreachable!("a second cancel unwinds");
    });
    until("it opens the pipe", || {
        handle.snapshot().blocking.running == 1
    });
    routine.cancel(LONG);
    std_fs::write(&path, "kept").unwrap();
    let (first, second) = was_told.recv().unwrap();
    assert_eq!(first.unwrap(), "kept");
    let second = second.unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::Other);
    assert!(second.get_ref().unwrap().is::<Cancelled>());
    assert!(!routine.join().unwrap_err().is_panic());
    rt.shutdown(LONG).unwrap();
}

/// A change is lost, told of the wrong path, or waited for with the worker.
#[test]
fn a_directory_is_watched() {
    let watchdog = Watchdog::new("fs-watch");
    let folder = Folder::new("fs-watch");
    let other = Folder::new("fs-watch-other");
    let rt = runtime(1);
    let handle = rt.handle();
    watchdog.watch("fs-watch", &handle);
    rt.block_on(|| {
        let mut watcher = fs::watch(&folder.0).unwrap();
        watcher.add(&other.0).unwrap();
        assert!(watcher.add(folder.at("none")).is_err());
        let short = Duration::from_millis(2);
        assert_eq!(watcher.next_change_timeout(short).unwrap(), None);
        let (from, to) = (folder.at("a"), other.at("b"));
        let (a, b) = (from.clone(), to.clone());
        let changer = spawn(move || {
            fs::write(&a, "text").unwrap();
            fs::rename(&a, &b).unwrap();
            fs::set_permissions(&b, fs::Permissions::from_mode(0o400)).unwrap();
            fs::remove_file(&b).unwrap();
            fs::create_dir(&a).unwrap();
        });
        let expected = [
            (ChangeKind::Created, &from),
            (ChangeKind::Written, &from),
            (ChangeKind::Closed, &from),
            (ChangeKind::MovedFrom, &from),
            (ChangeKind::MovedTo, &to),
            (ChangeKind::Attributes, &to),
            (ChangeKind::Removed, &to),
            (ChangeKind::Created, &from),
        ];
        let mut moved = Vec::new();
        for (kind, path) in expected {
            let change = watcher.next_change().unwrap();
            assert_eq!((change.kind, &change.path), (kind, path));
            moved.extend(change.moved);
            assert!(!change.is_dir || kind == ChangeKind::Created);
        }
        assert!(matches!(moved[..], [from, to] if from == to));
        changer.join().unwrap();
        fs::remove_dir_all(&other.0).unwrap();
        let gone = watcher.next().unwrap().unwrap();
        assert_eq!((gone.kind, &gone.path), (ChangeKind::Gone, &other.0));
        let soon = std::time::Instant::now() + short;
        assert_eq!(watcher.next_change_deadline(soon).unwrap(), None);
    });
    let path = folder.0.clone();
    let waiter = rt.spawn(move || fs::watch(path).unwrap().next_change());
    until("it waits", || {
        let state = handle.routine(waiter.id()).map(|view| view.state);
        state == Some(RoutineState::Blocked(WaitReason::Io))
    });
    waiter.cancel(LONG);
    let told = waiter.join().unwrap().unwrap_err();
    assert!(told.get_ref().unwrap().is::<Cancelled>());
    rt.shutdown(LONG).unwrap();
}
