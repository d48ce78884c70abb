//! The promises that the tree makes about itself: who may depend on whom, links that lead somewhere,
//! a map that names every file, unsafe code in one crate, no unfinished work.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each package with all it may use of the others. `runtime` knows nobody; `web` alone knows HTTP.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("runtime", &[]),
    ("tokio", &["openwork"]),
    ("observatory", &["openwork"]),
    ("blockchain", &["openwork"]),
    ("workloads", &["openwork"]),
    ("bench", &["openwork"]),
    (
        "web",
        &[
            "openwork",
            "openwork-bench",
            "openwork-observatory",
            "openwork-blockchain",
            "openwork-workloads",
        ],
    ),
    (
        "cmd",
        &[
            "openwork",
            "openwork-bench",
            "openwork-blockchain",
            "openwork-web",
        ],
    ),
];

/// Packages from outside that only these crates may use: HTTP and JSON stay in `web`, and so does tokio, but
/// for the bridge to it and for the benches, which measure it.
const ONLY_IN: [(&str, &[&str]); 7] = [
    ("tokio", &["web", "tokio", "bench"]),
    ("axum", &["web"]),
    ("hyper", &["web"]),
    ("serde", &["web"]),
    ("serde_json", &["web"]),
    ("corosensei", &["runtime"]),
    ("libc", &["runtime"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace")
        .to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` whose names end in one of `endings`, without what tools have made.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    const MADE: [&str; 5] = ["target", "node_modules", ".git", "bin", "vendor"];
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if path.is_dir() {
                if !MADE.contains(&&*name) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    let path = path.strip_prefix(root()).unwrap_or(path);
    path.display().to_string()
}

/// Names in the `[dependencies]` table of a manifest; those for tests and builds do not count.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_depend_in_one_direction() {
    for (package, allowed) in MAY_USE {
        let used = dependencies(&read(&root().join(package).join("Cargo.toml")));
        for name in &used {
            let ours = name == "openwork" || name.starts_with("openwork-");
            assert!(
                !ours || allowed.contains(&name.as_str()),
                "{package} must not depend on {name}"
            );
            if let Some((_, owners)) = ONLY_IN.iter().find(|(only, _)| only == name) {
                assert!(
                    owners.contains(&package),
                    "{package} must not depend on {name}"
                );
            }
        }
    }
}

/// The table above names packages; this looks at all that they bring along.
#[test]
fn the_runtime_brings_no_executor() {
    const EXECUTORS: [&str; 5] = [
        "tokio",
        "mio",
        "async-io",
        "async-executor",
        "futures-executor",
    ];
    let tree = |package: &str| {
        let cargo = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--locked",
                "--offline",
                "--edges",
                "normal,build",
                "--prefix",
                "none",
            ])
            .args(["--package", package])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(
            cargo.status.success(),
            "{}",
            String::from_utf8_lossy(&cargo.stderr)
        );
        String::from_utf8(cargo.stdout).expect("names are UTF-8")
    };
    let holds = |tree: &str, name: &str| {
        tree.lines()
            .any(|line| line.split(' ').next() == Some(name))
    };
    let runtime = tree("openwork");
    for executor in EXECUTORS {
        assert!(
            !holds(&runtime, executor),
            "openwork brings {executor}:\n{runtime}"
        );
    }
    // The look can fail.
    assert!(holds(&tree("openwork-tokio"), "tokio"));
}

/// Every link of a Markdown page, without those in fenced blocks and code spans.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for part in prose.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                found.push((index + 1, target.to_owned()));
            }
        }
    }
    found
}

/// The anchors that headings make: lower case, spaces to hyphens, other marks dropped.
fn anchors(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut dead = Vec::new();
    for page in files(&root(), &[".md"]) {
        let text = read(&page);
        let here = page.parent().expect("a folder");
        for (line, target) in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = match path {
                "" => page.clone(),
                path => here.join(path),
            };
            let found =
                file.exists() && (anchor.is_empty() || anchors(&read(&file)).contains(anchor));
            if !found {
                dead.push(format!("{}:{line}: {target}", shown(&page)));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// A file is on the map when the map names it, or names the folder that it lies in (`memory/`), both
/// from the root of the tree.
#[test]
fn the_map_names_every_source_file() {
    let map = read(&root().join("docs/ARCHITECTURE.md"));
    let mut missing = Vec::new();
    for (package, _) in MAY_USE {
        let source = root().join(package).join("src");
        for file in files(&source, &[".rs"]) {
            let named = map.contains(&shown(&file));
            let covered = file
                .ancestors()
                .skip(1)
                .take_while(|folder| *folder != source)
                .any(|folder| map.contains(&format!("{}/", shown(folder))));
            if !named && !covered {
                missing.push(shown(&file));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "not in docs/ARCHITECTURE.md:\n{}",
        missing.join("\n")
    );
}

/// Whether a line of code, without its comment and texts, holds this word.
fn holds_word(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or("");
    let code: String = code.split('"').step_by(2).collect();
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|found| found == word)
}

/// The crate attribute binds a crate's own files; its tests, examples and benches are crates of
/// their own and are read here.
#[test]
fn unsafe_code_lives_in_the_runtime_alone() {
    for (package, _) in MAY_USE.iter().filter(|(package, _)| *package != "runtime") {
        let folder = root().join(package);
        let main = ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file));
        for file in main.iter().filter(|file| file.exists()) {
            assert!(
                read(file).contains("#![forbid(unsafe_code)]"),
                "{} does not forbid unsafe code",
                shown(file)
            );
        }
        for file in files(&folder, &[".rs"]) {
            if file.starts_with(folder.join("src")) || file.ends_with("cmd/tests/tidy.rs") {
                continue;
            }
            for (index, line) in read(&file).lines().enumerate() {
                assert!(
                    !holds_word(line, "unsafe"),
                    "{}:{}: unsafe code outside the runtime",
                    shown(&file),
                    index + 1
                );
            }
        }
    }
}

/// Words of unfinished work, in two halves so that this file does not hold them.
const UNFINISHED: [(&str, &str); 8] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X:"),
    ("to", "do!("),
    ("unimplemented", "!("),
    ("db", "g!("),
    ("lorem", " ipsum"),
    ("place", "holder text"),
];

/// File names that say nothing about what a file knows.
const DRAWERS: [&str; 6] = [
    "util.rs",
    "utils.rs",
    "helpers.rs",
    "misc.rs",
    "common.rs",
    "util.js",
];

#[test]
fn nothing_is_left_unfinished() {
    let mut found = Vec::new();
    for file in files(
        &root(),
        &[".rs", ".js", ".mjs", ".html", ".css", ".md", ".toml"],
    ) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if DRAWERS.contains(&&*name) {
            found.push(format!("{}: a drawer", shown(&file)));
        }
        for (index, line) in read(&file).lines().enumerate() {
            for (first, second) in UNFINISHED {
                if line.contains(&format!("{first}{second}")) {
                    found.push(format!("{}:{}: {first}{second}", shown(&file), index + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "unfinished:\n{}", found.join("\n"));
}

/// The checks above can fail.
#[test]
fn the_checks_see_what_they_look_for() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nopenwork.workspace = true\n\
                    serde = \"1\"\n# note\n[dev-dependencies]\nlibc = \"1\"\n";
    let used: Vec<_> = dependencies(manifest).into_iter().collect();
    assert_eq!(used, ["openwork", "serde"]);
    assert_eq!(
        links("see [a](b.md#c) and `[d](e)`\n```\n[f](g)\n```\n[h](i)"),
        [(1, "b.md#c".to_owned()), (5, "i".to_owned())]
    );
    assert!(anchors("## 9. Check a hash, yourself").contains("9-check-a-hash-yourself"));
    assert!(holds_word("    unsafe { x }", "unsafe"));
    assert!(!holds_word("#![forbid(unsafe_code)] // unsafe", "unsafe"));
    assert!(!holds_word("csp.contains(\"unsafe\")", "unsafe"));
}
