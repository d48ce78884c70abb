//! A real full disk: a small tmpfs. Needs root; without it the test says so and passes.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use openwork_blockchain::{AppendError, Chain, verify};
use support::{append, easy};

/// Unmounts when dropped.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(mib: u32) -> Result<SmallDisk, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let output = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={mib}m"),
                "openwork-test",
            ])
            .arg(folder.path())
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(SmallDisk { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "{:?} stays",
            self.path()
        );
    }
}

/// Takes what room there is, down to single bytes.
fn fill_disk(folder: &Path) -> PathBuf {
    let path = folder.join("ballast");
    let mut ballast = fs::File::create(&path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        let piece = vec![1; size];
        while std::io::Write::write_all(&mut ballast, &piece).is_ok() {}
    }
    path
}

#[test]
fn a_full_disk_loses_no_block_and_is_overcome_when_there_is_room_again() {
    let disk = match SmallDisk::mount(8) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: no tmpfs could be mounted (needs root): {reason}");
            return;
        }
    };
    let file = disk.path().join("chain.redb");
    let chain = Chain::open(&file, easy()).unwrap();
    append(&chain, "first").wait().unwrap();
    let ballast = fill_disk(disk.path());

    // Blocks as large as they get, until the disk is full. Which one fails depends on the free
    // pages that the database still has.
    let data = "x".repeat(64 << 10);
    let error = loop {
        match append(&chain, &data).wait() {
            Ok(_) => assert!(chain.length() < 200, "8 MiB hold no 200 blocks of 64 KiB"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, AppendError::Storage(error) if error.is_full()),
        "{error:?}"
    );
    let length = chain.length();

    // Full is full: no progress, no loss, as often as one asks.
    for _ in 0..3 {
        assert!(matches!(
            append(&chain, &data).wait(),
            Err(AppendError::Storage(_))
        ));
        assert_eq!(chain.length(), length);
        // Reading goes on meanwhile.
        assert_eq!(chain.block(1).unwrap().unwrap().data, "first");
    }

    fs::remove_file(ballast).unwrap();
    append(&chain, "room again").wait().unwrap();
    assert_eq!(chain.length(), length + 1);
    assert!(verify(&chain).unwrap().valid);
    drop(chain);
    let chain = Chain::open(&file, easy()).unwrap();
    assert_eq!(chain.length(), length + 1);
    assert_eq!(chain.block(1).unwrap().unwrap().data, "first");
    drop(chain);
}
