//! What was acknowledged survives.

mod support;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use openwork_blockchain::{
    AppendError, Chain, ChainOptions, Difficulty, GENESIS_DATA, Hash, OpenError, verify,
};
use support::{Place, append, easy, fill, mine};

#[test]
fn a_new_chain_has_a_mined_genesis_and_opens_again_as_it_was() {
    let place = Place::new();
    let options = ChainOptions {
        genesis_difficulty: Difficulty::new(12).unwrap(),
        ..easy()
    };
    let chain = Chain::open(place.file(), options).unwrap();
    let genesis = chain.block(0).unwrap().unwrap();
    assert_eq!(genesis.data, GENESIS_DATA);
    assert_eq!(genesis.previous_hash, Hash::ZERO);
    assert!(genesis.hash.leading_zero_bits() >= 12);
    assert_eq!(Hash::of(&genesis.header), genesis.hash);
    fill(&chain, 10).unwrap();
    let tip = chain.tip();
    drop(chain);

    let chain = place.open();
    assert_eq!(chain.tip(), tip);
    assert_eq!(chain.block(0).unwrap(), Some(genesis));
    assert_eq!(place.names(), ["chain.redb"]);
}

#[test]
fn a_chain_can_be_open_once_only() {
    let place = Place::new();
    let chain = place.open();
    assert!(matches!(
        Chain::open(place.file(), easy()),
        Err(OpenError::InUse { .. })
    ));
    drop(chain);
    place.open();
}

#[test]
fn a_block_that_does_not_follow_the_head_is_refused() {
    let chain = Chain::in_memory(easy()).unwrap();
    let first = mine(&chain, "first");
    let rival = mine(&chain, "rival");
    let accepted = chain.append(first);
    assert!(matches!(
        chain.append(rival).wait(),
        Err(AppendError::TipMoved { length: 2, .. })
    ));
    accepted.wait().unwrap();
    assert_eq!(chain.length(), 2);
}

#[test]
fn a_block_that_lies_about_itself_is_refused() {
    let chain = Chain::in_memory(easy()).unwrap();
    let mut block = mine(&chain, "honest");
    block.data = "dishonest".to_owned();
    assert!(matches!(
        chain.append(block).wait(),
        Err(AppendError::Invalid(reason)) if reason.field() == "data"
    ));
    assert_eq!(chain.length(), 1);
}

#[test]
fn a_full_chain_refuses_and_says_its_limit() {
    let genesis = 217 + GENESIS_DATA.len() as u64;
    let options = ChainOptions {
        max_bytes: genesis + 2 * (217 + 4),
        ..easy()
    };
    let chain = Chain::in_memory(options.clone()).unwrap();
    append(&chain, "1234").wait().unwrap();
    assert_eq!(chain.room(4), Ok(()));
    append(&chain, "1234").wait().unwrap();
    let full = AppendError::Full {
        limit_bytes: options.max_bytes,
    };
    assert_eq!(chain.room(0), Err(full.clone()));
    assert_eq!(append(&chain, "").wait(), Err(full));
    assert_eq!(chain.bytes(), options.max_bytes);
}

/// A start that was killed leaves a draft; the next one must not trip over it.
#[test]
fn a_draft_left_behind_by_a_killed_start_is_no_obstacle() {
    for leftover in ["", "half a database"] {
        let place = Place::new();
        std::fs::write(place.folder().join("chain.redb.new"), leftover).unwrap();
        assert_eq!(place.open().length(), 1, "{leftover:?}");
        assert_eq!(place.names(), ["chain.redb"]);
    }
}

/// Set in the environment of the child that is going to be killed.
const CHILD: &str = "OPENWORK_TEST_APPEND_TO";

/// Not a test of its own: the child process of the test below, which appends until it is killed
/// and says on stdout what was acknowledged.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(path) = env::var_os(CHILD) else {
        return;
    };
    let chain = Chain::open(path, easy()).unwrap();
    let mut stdout = std::io::stdout().lock();
    for number in 0u64.. {
        // Several at once, so that the kill meets commits of more than one block.
        let receipts: Vec<_> = (0..4)
            .map(|part| append(&chain, &format!("{number}.{part}")))
            .collect();
        for receipt in receipts {
            let block = receipt.wait().unwrap();
            // One write a line, so that the parent never reads half a hash as a whole one.
            stdout
                .write_all(format!("\nacknowledged {} {}\n", block.index, block.hash).as_bytes())
                .unwrap();
        }
    }
}

#[test]
fn every_acknowledged_block_survives_kill_9() {
    for kill_after in [1, 50, 333] {
        let place = Place::new();
        let acknowledged = append_until_killed(&place.file(), kill_after);
        let chain = Chain::open(place.file(), easy()).unwrap();
        assert!(verify(&chain).unwrap().valid);
        assert!(chain.length() > acknowledged.len() as u64);
        for (index, hash) in acknowledged {
            let block = chain
                .block(index)
                .unwrap()
                .expect("an acknowledged block is there");
            assert_eq!(block.hash.to_string(), hash);
        }
        fill(&chain, 3).unwrap();
    }
}

/// Runs the child above, kills it after `count` acknowledgements and returns all that it gave.
fn append_until_killed(path: &Path, count: usize) -> Vec<(u64, String)> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "child_that_appends_until_it_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    let mut killed = false;
    while let Some(Ok(line)) = lines.next() {
        if let Some(rest) = line.strip_prefix("acknowledged ")
            && let Some((index, hash)) = rest.split_once(' ')
            && hash.len() == 64
        {
            acknowledged.push((index.parse().unwrap(), hash.to_owned()));
        }
        // What the pipe still holds after the kill was acknowledged too, so reading goes on.
        if acknowledged.len() == count && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    let status = child.wait().unwrap();
    assert!(
        killed && !status.success(),
        "the child ended by itself: {status}"
    );
    acknowledged
}
