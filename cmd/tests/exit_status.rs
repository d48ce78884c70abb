//! Each way of ending has its status and says what to do next.

mod support;

use std::fs;
use std::net::TcpListener;

use support::{Server, output, stderr_of};
use tempfile::TempDir;

#[test]
fn a_signal_is_an_end_as_asked() {
    for signal in ["INT", "TERM"] {
        let dir = TempDir::new().unwrap();
        let mut server = Server::start(dir.path(), &[]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    }
}

#[test]
fn a_public_address_without_a_token_is_wrong_usage() {
    let dir = TempDir::new().unwrap();
    let ended = output([
        "--listen",
        "0.0.0.0:0",
        "--data-dir",
        dir.path().to_str().unwrap(),
    ]);
    assert_eq!(ended.status.code(), Some(2));
    let said = stderr_of(&ended);
    assert!(said.contains("token"), "{said}");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing was opened"
    );
}

/// Breaks when the database is opened, and so locked or made, before the address is bound.
#[test]
fn a_taken_port_is_named_with_its_holder_before_anything_is_opened() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let ended = output(["--listen", &address, "--data-dir", data.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(3));
    let said = stderr_of(&ended);
    assert!(said.contains(&address), "{said}");
    assert!(
        said.contains(&std::process::id().to_string()),
        "no holder in {said}"
    );
    assert!(said.contains("--listen"), "no next command in {said}");
    assert!(!data.join("chain.redb").exists());
    assert!(ended.stdout.is_empty(), "no address was promised");
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let ended = output([
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        dir.path().to_str().unwrap(),
    ]);
    assert_eq!(ended.status.code(), Some(4), "{}", stderr_of(&ended));
    assert!(stderr_of(&ended).contains(dir.path().to_str().unwrap()));
    assert_eq!(server.get("/healthz").status, 200, "the first goes on");
}

/// Breaks when damage is passed over, when repair deletes, or when a repaired chain does not open.
#[test]
fn a_damaged_chain_is_refused_and_can_be_repaired() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    assert_eq!(server.post("/blocks", r#"{"data":"kept"}"#).status, 201);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    let file = dir.path().join("chain.redb");
    fs::write(&file, b"this is not a chain").unwrap();
    let data = dir.path().to_str().unwrap();
    let refused = output(["--listen", "127.0.0.1:0", "--data-dir", data]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr_of(&refused));
    let said = stderr_of(&refused);
    assert!(said.contains("openwork chain repair"), "{said}");

    let repaired = output(["chain", "repair", "--data-dir", data]);
    assert_eq!(repaired.status.code(), Some(0), "{}", stderr_of(&repaired));
    let aside = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path != &file && fs::read(path).is_ok_and(|b| b == b"this is not a chain"));
    assert!(aside.is_some(), "the old file was moved aside");

    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.get("/blocks/verify").json()["valid"], true);
}

#[test]
fn a_sound_chain_is_left_alone_by_repair() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    server.signal("TERM");
    server.wait();
    let before = fs::read_dir(dir.path()).unwrap().count();
    let repaired = output([
        "chain",
        "repair",
        "--data-dir",
        dir.path().to_str().unwrap(),
    ]);
    assert_eq!(repaired.status.code(), Some(0), "{}", stderr_of(&repaired));
    let said = String::from_utf8_lossy(&repaired.stdout).into_owned();
    assert!(said.contains("nothing wrong"), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before);
}

#[test]
fn there_must_be_a_chain_to_repair() {
    let dir = TempDir::new().unwrap();
    let ended = output([
        "chain",
        "repair",
        "--data-dir",
        dir.path().to_str().unwrap(),
    ]);
    assert_eq!(ended.status.code(), Some(4), "{}", stderr_of(&ended));
}
