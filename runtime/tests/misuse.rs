//! What must not compile, does not; and for the reason that it should.
//!
//! Each program in `misuse/` marks the lines that must not pass: `//~ E0277` for an error of that code with
//! its beginning there, `//~ error` for one without a code. It must have these errors and no others. The
//! codes are the compiler's promise; its texts change with every version, so they are not compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Code and line of an error, by program.
type Errors = BTreeMap<String, Vec<(usize, String)>>;

#[test]
fn misuse_does_not_compile() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("misuse");
    let expected = lay_out(&here.join("tests/misuse"), &package, here);
    assert!(expected.len() > 10 && expected["proper_use"].is_empty());

    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--bins", "--keep-going", "--offline"])
        .args(["--message-format=short", "--color=never"])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    let mut found: Errors = expected
        .keys()
        .map(|name| (name.clone(), Vec::new()))
        .collect();
    for (program, error) in said.lines().filter_map(parse) {
        let errors = found.get_mut(&program).unwrap_or_else(|| panic!("{said}"));
        errors.push(error);
    }
    for errors in found.values_mut() {
        errors.sort();
        errors.dedup();
    }
    for (program, errors) in &expected {
        assert_eq!(
            &found[program], errors,
            "{program}.rs, found and expected:\n{said}"
        );
    }
    assert!(!output.status.success());
}

/// Makes a package whose programs are the files; returns what they are marked with.
fn lay_out(files: &Path, package: &Path, openwork: &Path) -> Errors {
    let programs = package.join("src/bin");
    let _ = fs::remove_dir_all(&programs);
    fs::create_dir_all(&programs).unwrap();
    let manifest = format!(
        "[package]\nname = \"misuse\"\nedition = \"2024\"\n\n[dependencies]\nopenwork = {{ path = {:?} }}\n\n\
         [workspace]\n",
        openwork
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // The same versions, which are there.
    let lock: PathBuf = openwork.join("../Cargo.lock");
    fs::copy(lock, package.join("Cargo.lock")).unwrap();
    let mut expected = Errors::new();
    for file in fs::read_dir(files).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(programs.join(path.file_name().unwrap()), &text).unwrap();
        let marks = text.lines().enumerate().filter_map(|(index, line)| {
            let (_, mark) = line.split_once("//~ ")?;
            let code = if mark == "error" { "" } else { mark };
            Some((index + 1, code.to_owned()))
        });
        expected.insert(name, marks.collect());
    }
    expected
}

/// An error in a line like `src/bin/x.rs:5:10: error[E0277]: text`.
fn parse(line: &str) -> Option<(String, (usize, String))> {
    let (place, error) = line.split_once(": error")?;
    let place = place.strip_prefix("src/bin/")?;
    let mut parts = place.split(':');
    let program = parts.next()?.strip_suffix(".rs")?.to_owned();
    let line = parts.next()?.parse().ok()?;
    let code = error
        .strip_prefix('[')
        .and_then(|code| code.split(']').next());
    Some((program, (line, code.unwrap_or("").to_owned())))
}
