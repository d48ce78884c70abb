//! The files the page is made of, inside the binary: they are there offline, and always of the page's own version.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::error::ApiError;

/// A file, and the tag by which a browser asks whether it has changed.
struct Asset {
    path: String,
    kind: &'static str,
    text: &'static str,
    tag: String,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! scripts {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../assets/js/", $name)))),*]
    };
}

/// Every module, in the order of its name; a test compares the list with the directory.
static SCRIPTS: &[(&str, &str)] = scripts! {
    "about.js" "absencerows.js" "absences.js" "api.js" "backoff.js" "bench.js" "blockheader.js" "canvas.js" "cards.js" "cells.js" "chain.js" "chance.js" "columns.js"
    "config.js" "connection.js" "curl.js" "decimate.js" "dom.js" "drawer.js" "foot.js" "format.js" "frame.js" "header.js"
    "icicle.js" "io.js" "keys.js" "lanelegend.js" "lanes.js" "lanetiles.js" "lanetip.js" "launch.js" "main.js"
    "memory.js" "panel.js" "pointer.js" "profile.js" "projector.js" "queues.js" "rate.js" "ring.js" "routine.js"
    "runs.js" "scale.js" "sentence.js" "sites.js" "stacks.js" "steals.js" "store.js" "theme.js" "threads.js" "ticks.js" "timebase.js"
    "timechart.js" "timers.js" "view.js" "waiting.js" "words.js"
};

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let scripts = SCRIPTS
        .iter()
        .map(|&(name, text)| tagged(format!("js/{name}"), SCRIPT, text));
    let style = tagged(
        "style.css".to_owned(),
        STYLE,
        include_str!("../../assets/style.css"),
    );
    scripts.chain([style]).collect()
});

fn tagged(path: String, kind: &'static str, text: &'static str) -> Asset {
    // Not a digest against forgery, only a name for this content.
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Asset {
        path,
        kind,
        text,
        tag: format!("\"{:016x}\"", hasher.finish()),
    }
}

/// Names of the modules, for the page to announce.
pub(super) fn modules() -> Vec<&'static str> {
    SCRIPTS.iter().map(|&(name, _)| name).collect()
}

/// `GET /assets/{*path}`
pub(super) async fn asset(
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve(&path, &headers)
}

/// Looks the path up among the known ones: it never reaches a file system.
fn serve(path: &str, asked: &HeaderMap) -> Result<Response, ApiError> {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.path == path)
        .ok_or_else(|| ApiError::no_such("asset", path))?;
    let known = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == asset.tag);
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => asset.text.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    // Kept, but asked about each time: after an update no page runs with half of its modules old.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&asset.tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Breaks if a module is added to the directory but not to the binary: the page would stop at its import.
    #[test]
    fn every_module_of_the_directory_is_in_the_binary() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/js");
        let there: BTreeSet<String> = std::fs::read_dir(directory)
            .expect("the assets are in the source tree")
            .map(|entry| {
                entry
                    .expect("readable")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .filter(|name| name.ends_with(".js"))
            .collect();
        let here: BTreeSet<String> = modules().into_iter().map(str::to_owned).collect();
        assert_eq!(there, here);
    }

    /// Breaks if a module imports what the binary does not serve, or anything from another place.
    #[test]
    fn every_import_is_of_a_module_that_is_served() {
        for (name, text) in SCRIPTS {
            for line in text
                .lines()
                .filter(|line| line.starts_with("import ") || line.starts_with("} from "))
            {
                let Some(from) = line.split('\'').nth(1) else {
                    continue;
                };
                let wanted = from
                    .strip_prefix("./")
                    .unwrap_or_else(|| panic!("{name} imports {from}"));
                assert!(modules().contains(&wanted), "{name} imports {from}");
            }
        }
    }

    /// Breaks if a browser that has the file is sent it again.
    #[test]
    fn a_known_tag_is_answered_without_a_body() {
        let first = serve("js/ring.js", &HeaderMap::new()).expect("known");
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].clone();
        let mut asked = HeaderMap::new();
        asked.insert(header::IF_NONE_MATCH, tag);
        assert_eq!(
            serve("js/ring.js", &asked).expect("known").status(),
            StatusCode::NOT_MODIFIED
        );
    }

    /// Breaks if a name is taken for a path.
    #[test]
    fn names_that_are_none_of_ours_are_not_found() {
        for name in [
            "",
            "..",
            "js/../style.css",
            "js/",
            "../style.css",
            "ring.js",
            "js/RING.js",
            "js/ring.js\0",
            "/etc/passwd",
        ] {
            assert!(serve(name, &HeaderMap::new()).is_err(), "{name:?}");
        }
    }
}
