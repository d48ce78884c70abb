//! Every flag: its twin in the environment, which of them wins, and what is refused.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::{Server, openwork, output, stderr_of};
use tempfile::TempDir;

/// Flag, its variable, and whether the flag takes a value.
const FLAGS: [(&str, &str, bool); 23] = [
    ("--listen", "OPENWORK_LISTEN", true),
    ("--data-dir", "OPENWORK_DATA_DIR", true),
    ("--ephemeral", "OPENWORK_EPHEMERAL", false),
    ("--workers", "OPENWORK_WORKERS", true),
    ("--log", "OPENWORK_LOG", true),
    ("--log-format", "OPENWORK_LOG_FORMAT", true),
    ("--drain-timeout", "OPENWORK_DRAIN_TIMEOUT", true),
    ("--run-timeout", "OPENWORK_RUN_TIMEOUT", true),
    ("--max-runs", "OPENWORK_MAX_RUNS", true),
    ("--max-chain-bytes", "OPENWORK_MAX_CHAIN_BYTES", true),
    ("--token-file", "OPENWORK_TOKEN_FILE", true),
    ("--generate-token", "OPENWORK_GENERATE_TOKEN", false),
    ("--allow-host", "OPENWORK_ALLOW_HOST", true),
    ("--demo-faults", "OPENWORK_DEMO_FAULTS", false),
    ("--preemption", "OPENWORK_PREEMPTION", true),
    ("--slice", "OPENWORK_SLICE", true),
    ("--hand-off", "OPENWORK_HAND_OFF", true),
    ("--placement", "OPENWORK_PLACEMENT", true),
    ("--victims", "OPENWORK_VICTIMS", true),
    ("--steal", "OPENWORK_STEAL", true),
    ("--max-workers", "OPENWORK_MAX_WORKERS", true),
    ("--max-threads", "OPENWORK_MAX_THREADS", true),
    ("--travelling-homes", "OPENWORK_TRAVELLING_HOMES", true),
];

#[test]
fn help_names_every_flag_and_its_variable() {
    for arguments in [&["--help"][..], &["serve", "--help"]] {
        let ended = output(arguments);
        assert_eq!(ended.status.code(), Some(0));
        let help = String::from_utf8(ended.stdout).unwrap();
        for (flag, variable, _) in FLAGS {
            assert!(help.contains(flag), "{flag} is not in {help}");
            assert!(help.contains(variable), "{variable} is not in {help}");
        }
    }
}

#[test]
fn the_version_is_told() {
    let ended = output(["--version"]);
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        String::from_utf8(ended.stdout)
            .unwrap()
            .starts_with("openwork ")
    );
}

/// Refused before anything is opened, with status 2 and the flag named.
#[test]
fn nonsense_is_wrong_usage() {
    let table = [
        ("--listen", "here"),
        ("--listen", "127.0.0.1"),
        ("--ephemeral", "maybe"),
        ("--workers", "0"),
        ("--workers", "257"),
        ("--workers", "two"),
        ("--log", "loud=quiet=louder"),
        ("--log-format", "xml"),
        ("--drain-timeout", "soon"),
        ("--drain-timeout", "-1s"),
        ("--drain-timeout", "169h"),
        ("--run-timeout", "0"),
        ("--max-runs", "0"),
        ("--max-runs", "1001"),
        ("--max-chain-bytes", "many"),
        ("--token-file", "/nowhere/token"),
        ("--generate-token", "perhaps"),
        ("--demo-faults", "7"),
        ("--preemption", "later"),
        ("--slice", "200ms"),
        ("--slice", "0"),
        ("--hand-off", "perhaps"),
        ("--placement", "there"),
        ("--victims", "all"),
        ("--steal", "more"),
        ("--max-workers", "0"),
        ("--max-workers", "257"),
        ("--max-threads", "1"),
        ("--max-threads", "4097"),
        ("--max-threads", "many"),
        ("--travelling-homes", "65537"),
        ("--travelling-homes", "some"),
        ("--no-such-flag", "1"),
    ];
    for (flag, value) in table {
        let Some((_, variable, takes_value)) = FLAGS.iter().find(|(name, ..)| *name == flag) else {
            let ended = output([flag, value]);
            assert_eq!(ended.status.code(), Some(2), "{flag}");
            continue;
        };
        if *takes_value {
            let ended = output([
                "--ephemeral",
                "--listen=127.0.0.1:1",
                &format!("{flag}={value}"),
            ]);
            let said = stderr_of(&ended);
            assert_eq!(ended.status.code(), Some(2), "{flag}={value}: {said}");
        }
        let ended = openwork().env(variable, value).output().unwrap();
        let said = stderr_of(&ended);
        assert_eq!(ended.status.code(), Some(2), "{variable}={value}: {said}");
    }
}

/// Of two flags, each of which is right by itself.
#[test]
fn more_workers_than_threads_are_refused_by_name() {
    let ended = output([
        "--ephemeral",
        "--listen=127.0.0.1:0",
        "--workers=3",
        "--max-threads=3",
    ]);
    let said = stderr_of(&ended);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("--max-threads"), "{said}");
    assert!(
        said.contains("4"),
        "names the least that is possible: {said}"
    );
}

#[test]
fn fewer_workers_at_most_than_at_the_start_are_refused_by_name() {
    let ended = output([
        "--ephemeral",
        "--listen=127.0.0.1:0",
        "--workers=3",
        "--max-workers=2",
    ]);
    let said = stderr_of(&ended);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("--max-workers: 2 is out of range, from 3"),
        "{said}"
    );
}

/// With a number, without one, and off; the API says what came of it.
#[test]
fn homes_travel_when_asked() {
    for (flag, value, travel) in [
        ("--travelling-homes", "1024", true),
        ("--travelling-homes=32", "32", true),
        ("--travelling-homes=0", "0", false),
    ] {
        let dir = TempDir::new().unwrap();
        let server = Server::start_with(dir.path(), &["--workers=1", flag], &[]);
        check(&settings(&server), "travelling_homes", value, "flag");
        let homes = &server.get("/api/v1/build").json()["homes"];
        let why = homes["reason"].as_str().expect("a reason");
        assert!(!why.is_empty());
        if travel && homes["version"] == "travelling" {
            let limit = homes["travelling"]["limit"].as_u64().expect("a number");
            assert!(limit <= value.parse().unwrap(), "{homes}");
        } else {
            // Off, or nothing that this system can do.
            assert_eq!(homes["version"], "threads");
            assert!(homes["travelling"].is_null());
        }
    }
}

#[test]
fn two_tokens_contradict_each_other() {
    let ended = output(["--token-file", "x", "--generate-token"]);
    assert_eq!(ended.status.code(), Some(2));
    let ended = openwork()
        .env("OPENWORK_TOKEN", "0123456789abcdef")
        .env("OPENWORK_GENERATE_TOKEN", "true")
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(2), "{}", stderr_of(&ended));
}

/// Name to value and source, as `/api/v1/runtime` tells them.
fn settings(server: &Server) -> BTreeMap<String, (String, String)> {
    let runtime = server.get("/api/v1/runtime").json();
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    runtime["config"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| {
            let name = text(&row["name"]);
            (name, (text(&row["value"]), text(&row["source"])))
        })
        .collect()
}

#[track_caller]
fn check(all: &BTreeMap<String, (String, String)>, name: &str, value: &str, source: &str) {
    let (found, from) = &all[name];
    assert_eq!((found.as_str(), from.as_str()), (value, source), "{name}");
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_default() {
    let dir = TempDir::new().unwrap();
    let server = Server::start_with(
        dir.path(),
        &[
            "--workers",
            "2",
            "--max-runs=3",
            "--max-workers=6",
            "--max-threads=40",
        ],
        &[
            ("OPENWORK_WORKERS", "1"),
            ("OPENWORK_RUN_TIMEOUT", "1m"),
            ("OPENWORK_DEMO_FAULTS", "yes"),
            ("OPENWORK_ALLOW_HOST", "watch.example,other.example"),
        ],
    );
    let all = settings(&server);
    check(&all, "workers", "2", "flag");
    check(&all, "max_runs", "3", "flag");
    check(&all, "max_workers", "6", "flag");
    check(&all, "max_threads", "40", "flag");
    let config = server.get("/api/v1/config").json();
    assert_eq!(config["config"]["max_workers"], 6, "{config}");
    check(&all, "travelling_homes", "as the runtime does", "default");
    check(&all, "run_timeout", "60s", "environment");
    check(&all, "demo_faults", "true", "environment");
    check(
        &all,
        "allow_hosts",
        "watch.example,other.example",
        "environment",
    );
    check(&all, "drain_timeout", "10s", "default");
    check(&all, "ephemeral", "false", "default");
    check(&all, "data_dir", dir.path().to_str().unwrap(), "flag");
}

#[test]
fn an_ephemeral_service_leaves_nothing_behind() {
    let home = TempDir::new().unwrap();
    let ended = {
        let mut server = Server::start_with(
            &home.path().join("unused"),
            &["--ephemeral"],
            &[("HOME", home.path().to_str().unwrap())],
        );
        assert_eq!(server.post("/blocks", r#"{"data":"gone"}"#).status, 201);
        server.signal("TERM");
        server.wait()
    };
    assert_eq!(ended.code(), Some(0));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

fn write_token(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_token_file_must_be_long_enough_and_private() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("token");
    let path = file.to_str().unwrap();
    let start = || {
        output([
            "--ephemeral",
            "--listen",
            "127.0.0.1:1",
            "--token-file",
            path,
        ])
    };
    write_token(&file, "short", 0o600);
    assert_eq!(start().status.code(), Some(2));
    write_token(&file, "0123456789abcdef\n", 0o644);
    let open = start();
    assert_eq!(open.status.code(), Some(2));
    assert!(stderr_of(&open).contains("chmod 600"));
    write_token(&file, "0123456789abcdef\n", 0o600);
    let server = Server::start(&dir.path().join("data"), &["--token-file", path]);
    assert_eq!(server.get("/api/v1/runtime").status, 401);
    let allowed = [("Authorization", "Bearer 0123456789abcdef")];
    assert_eq!(
        server
            .request("GET", "/api/v1/runtime", &allowed, "")
            .status,
        200
    );
    assert!(
        !server.log().contains("0123456789abcdef"),
        "the log is silent about it"
    );
}

#[test]
fn a_generated_token_is_kept_private_and_printed_once() {
    let dir = TempDir::new().unwrap();
    let first = Server::start(dir.path(), &["--generate-token"]);
    let file = dir.path().join("token");
    let token = fs::read_to_string(&file)
        .expect("a kept token")
        .trim()
        .to_owned();
    // 128 bits, six to a character.
    assert_eq!(token.len(), 22);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(first.log().matches(&token).count(), 1, "{}", first.log());
    drop(first);
    let second = Server::start(dir.path(), &["--generate-token"]);
    assert!(!second.log().contains(&token));
    let header = format!("Bearer {token}");
    let allowed = [("Authorization", header.as_str())];
    assert_eq!(
        second
            .request("GET", "/api/v1/runtime", &allowed, "")
            .status,
        200
    );
}

#[test]
fn data_lies_in_the_users_own_directory_by_default() {
    let home = TempDir::new().unwrap();
    let child = openwork()
        .args(["--listen", "127.0.0.1:0", "--workers", "1"])
        .env("HOME", home.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut child = support::Stopped(child);
    child.wait_for_line();
    let dir = home.path().join(".local/share/openwork");
    assert_eq!(
        fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert!(dir.join("chain.redb").exists());
}
