//! Tells the crate two facts about its own build: whether frames can be walked, and which commit it is of.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=OPENWORK_COMMIT");

    // Profiles and stack dumps follow frame pointers; without the flag they would be cut short without a word.
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let kept = flags
        .split('\u{1f}')
        .any(|f| f.contains("force-frame-pointers") && !f.ends_with("=no"));
    println!(
        "cargo:rustc-env=OPENWORK_FRAME_POINTERS={}",
        if kept { "yes" } else { "no" }
    );

    // Debug builds leave the commit out, so that a commit does not rebuild the crate.
    let release = std::env::var("PROFILE").is_ok_and(|p| p == "release");
    let given = std::env::var("OPENWORK_COMMIT")
        .ok()
        .filter(|c| !c.is_empty());
    if let Some(commit) = given.or_else(|| release.then(head).flatten()) {
        println!("cargo:rustc-env=OPENWORK_COMMIT={commit}");
    }
    if release {
        println!("cargo:rerun-if-changed=../.git/HEAD");
        println!("cargo:rerun-if-changed=../.git/refs/heads");
    }
}

fn head() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}
