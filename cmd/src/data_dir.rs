//! Where data lies when nobody says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// `$XDG_DATA_HOME/openwork`, or `~/.local/share/openwork`.
///
/// # Errors
/// A sentence when neither variable names an absolute path.
pub(crate) fn standard() -> Result<PathBuf, String> {
    below(std::env::var_os("XDG_DATA_HOME"), std::env::var_os("HOME"))
}

/// A relative `$XDG_DATA_HOME` is ignored, as the XDG base directory specification asks.
fn below(data_home: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, String> {
    let absolute = |dir: OsString| Some(PathBuf::from(dir)).filter(|dir| dir.is_absolute());
    let share = data_home
        .and_then(absolute)
        .or_else(|| Some(home.and_then(absolute)?.join(".local/share")));
    match share {
        Some(share) => Ok(share.join("openwork")),
        None => Err(
            "no place for data: set HOME or XDG_DATA_HOME, or use --data-dir or --ephemeral"
                .to_owned(),
        ),
    }
}

/// The chain's file in a data directory.
pub(crate) fn chain_file(dir: &Path) -> PathBuf {
    dir.join("chain.redb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data_home: Option<&str>, home: Option<&str>, expected: Option<&str>) {
        let found = below(data_home.map(Into::into), home.map(Into::into));
        assert_eq!(found.ok(), expected.map(PathBuf::from));
    }

    #[test]
    fn the_data_home_wins_over_the_home() {
        check(Some("/data"), Some("/home/a"), Some("/data/openwork"));
        check(None, Some("/home/a"), Some("/home/a/.local/share/openwork"));
        check(
            Some("relative"),
            Some("/home/a"),
            Some("/home/a/.local/share/openwork"),
        );
        check(None, None, None);
        check(Some(""), Some(""), None);
    }
}
