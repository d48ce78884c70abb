//! `openwork bench` lists, refuses by name, and measures.

mod support;

use serde_json::Value;
use support::{output, stderr_of};

#[test]
fn the_list_names_every_bench_with_its_question() {
    let ended = output(["bench", "list"]);
    assert_eq!(ended.status.code(), Some(0));
    let text = String::from_utf8(ended.stdout).unwrap();
    for name in [
        "spawn_join",
        "yield_alone",
        "skynet_1m",
        "parked",
        "echo_50",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    assert!(text.matches('?').count() > 20, "{text}");
}

/// Breaks if a mistake is found only after minutes of measuring.
#[test]
fn what_cannot_be_measured_is_wrong_usage_and_named() {
    #[track_caller]
    fn check(arguments: &[&str], expected: &str) {
        let ended = output([&["bench"], arguments].concat());
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        let said = stderr_of(&ended);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(ended.stdout.is_empty());
    }
    check(&["swim"], "`swim`");
    check(&[], "openwork bench list");
    check(
        &["pingpong", "--rounds", "0"],
        "rounds must be between 1 and 100",
    );
    check(
        &["pingpong", "--workers", "1,999"],
        "workers must be between 1 and 256",
    );
    check(&["pingpong", "--workers", "two"], "two");
    check(&["run", "pingpong", "--peers", "java"], "java");
}

/// The measurement is made by a process that this one starts, so both sides of the protocol are in it.
#[test]
fn a_bench_is_measured_beside_threads() {
    let ended = output([
        "bench",
        "run",
        "create",
        "--workers",
        "1",
        "--rounds",
        "2",
        "--peers",
        "std",
        "--json",
    ]);
    assert_eq!(ended.status.code(), Some(0), "{}", stderr_of(&ended));
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["rounds"], 2);
    assert_eq!(report["recorder"], false);
    assert!(report["machine"]["cores"].as_u64() > Some(0));
    let result = &report["results"][0];
    let peers: Vec<_> = result["peers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["peer"])
        .collect();
    assert_eq!(peers, ["openwork", "std"]);
    assert_eq!(
        result["peers"][0]["figures"][0]["runs"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let ratio = &result["ratios"][0];
    // Not a promise of speed: a thread would have to become ten times cheaper than a routine.
    assert!(ratio["median"].as_f64().unwrap() < 10.0, "{ratio}");
}

#[test]
fn a_table_has_the_machine_the_figures_and_the_goals() {
    let ended = output([
        "bench",
        "create",
        "--workers",
        "2",
        "--rounds",
        "1",
        "--peers",
        "std",
    ]);
    assert_eq!(ended.status.code(), Some(0), "{}", stderr_of(&ended));
    let text = String::from_utf8(ended.stdout).unwrap();
    for part in [
        "cores",
        "recorder off",
        "; 1 round\n",
        "create, 2 workers",
        "warm_p50",
        "goal:",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}
