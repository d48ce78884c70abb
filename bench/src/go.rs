//! The Go program, built when a `go` is on the path.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const SOURCE: &str = include_str!("../go/main.go");
const MODULE: &str = include_str!("../go/go.mod");

/// Benches that the program has.
pub(crate) const PROGRAMS: [&str; 24] = [
    "spawn_run",
    "spawn_batch",
    "spawn_future",
    "spawn_join",
    "create",
    "yield_alone",
    "yield_pair",
    "pingpong",
    "chan_self",
    "mpmc",
    "mpsc",
    "select",
    "mutex_uncontended",
    "mutex_contended",
    "skynet_10k",
    "skynet_1m",
    "parked",
    "unstarted",
    "timers_20k",
    "timers_100k",
    "timers_busy",
    "echo_50",
    "echo_1000",
    "sha256",
];

/// The built program, in a directory that goes with this value.
#[derive(Debug)]
pub(crate) struct GoProgram {
    folder: TempDir,
    version: String,
}

/// Why there is no Go program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GoError {
    /// There is no `go`.
    #[error("there is no `go` on the path")]
    Missing,
    /// It could not be asked, or the files not be written.
    #[error("go: {0}")]
    Io(#[from] io::Error),
    /// It refused the program.
    #[error("go build: {0}")]
    Build(String),
}

impl GoProgram {
    /// Builds the program with the `go` that is on the path. Nothing is fetched: it uses the standard library alone.
    ///
    /// # Errors
    /// See [`GoError`].
    pub(crate) fn build() -> Result<GoProgram, GoError> {
        let folder = TempDir::with_prefix("openwork-bench-")?;
        fs::write(folder.path().join("main.go"), SOURCE)?;
        fs::write(folder.path().join("go.mod"), MODULE)?;
        let go = |arguments: &[&str]| {
            let mut command = Command::new("go");
            command
                .args(arguments)
                .current_dir(folder.path())
                .envs([
                    ("GOTOOLCHAIN", "local"),
                    ("GOFLAGS", ""),
                    ("GOPROXY", "off"),
                ])
                .env("GOWORK", "off")
                .output()
        };
        let version = go(&["env", "GOVERSION"]).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GoError::Missing,
            _ => GoError::Io(error),
        })?;
        let built = go(&["build", "-o", "bench", "."])?;
        if !built.status.success() {
            let said = String::from_utf8_lossy(&built.stderr);
            return Err(GoError::Build(said.trim().to_owned()));
        }
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        Ok(GoProgram { folder, version })
    }

    /// Of the toolchain, like `go1.27.3`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new(self.folder.path()).join("bench")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::named;

    #[test]
    fn the_program_has_what_the_list_says_and_no_more() {
        let table = SOURCE
            .lines()
            .skip_while(|line| !line.starts_with("var programs"));
        let entries: Vec<_> = table
            .skip(1)
            .take_while(|line| *line != "}")
            .filter_map(|line| line.trim().strip_prefix('"')?.split('"').next())
            .collect();
        assert_eq!(entries, PROGRAMS);
    }

    #[test]
    fn each_of_its_programs_is_a_bench() {
        for name in PROGRAMS {
            assert!(!named(name).is_empty(), "{name}");
        }
    }
}
