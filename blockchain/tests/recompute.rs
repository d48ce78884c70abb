//! The Python program of the guide agrees with us about every hash, and disagrees when it should.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use openwork_blockchain::{Block, Chain, RECOMPUTE_PY};
use support::{easy, fill};

/// A block as the service shows it, as far as the program looks at it.
fn json(block: &Block) -> String {
    format!(
        r#"{{"index":{},"data":"{}","previous_hash":"{}","hash":"{}","nonce":{},"difficulty":{},"header":"{}"}}"#,
        block.index,
        block.data,
        block.previous_hash,
        block.hash,
        block.nonce,
        block.difficulty,
        block.header_hex(),
    )
}

/// What the program prints, and whether it was content. `None` without a Python 3.
fn python(input: &str) -> Option<(String, bool)> {
    let mut child = Command::new("python3")
        .args(["-c", RECOMPUTE_PY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Some((
        String::from_utf8(output.stdout).unwrap(),
        output.status.success(),
    ))
}

#[test]
fn python_recomputes_every_hash() {
    let chain = Chain::in_memory(easy()).unwrap();
    fill(&chain, 5).unwrap();
    let blocks = chain.newest(6).unwrap();
    let list: Vec<_> = blocks.iter().map(json).collect();
    let Some((printed, content)) = python(&format!("[{}]", list.join(","))) else {
        println!("skipped: no python3 on the path");
        return;
    };
    assert!(content, "{printed}");
    let expected: String = blocks
        .iter()
        .map(|block| format!("{} {} ok\n", block.index, block.hash))
        .collect();
    assert_eq!(printed, expected);

    let (printed, content) = python(&json(&blocks[0])).unwrap();
    assert!(
        content && printed.lines().count() == 1,
        "a single block will do too: {printed}"
    );

    for (what, from, to) in [
        ("data", "block 5", "block 6"),
        ("nonce", "\"nonce\":", "\"nonce\":1"),
        ("header", "\"header\":\"0", "\"header\":\"1"),
        ("hash", "\"hash\":\"", "\"hash\":\"f"),
    ] {
        let changed = json(&blocks[0]).replacen(from, to, 1);
        let (printed, content) = python(&changed).unwrap();
        assert!(!content, "a changed {what} went unnoticed: {printed}");
    }
}
