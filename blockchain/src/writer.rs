//! The one thread that writes.
//!
//! It takes everything that was accepted since it last looked and commits it in one transaction
//! (group commit): while the disk syncs one commit, the blocks for the next one gather. Nobody else
//! commits, so no worker and no HTTP thread ever waits for a disk.
//!
//! When a commit fails, each case is settled by what the file says after opening it again:
//!
//! | the file can be opened | and its tip is       | the blocks of the commit | the head      |
//! |------------------------|----------------------|--------------------------|---------------|
//! | yes                    | the commit's last    | are durable: answered Ok | stays         |
//! | yes                    | the one before       | are lost: answered Err   | falls to tip  |
//! | no                     | not known            | answered Err             | falls to tip  |
//!
//! In the third case the chain is unavailable until an append or [`Chain::room`] makes the writer
//! try once more. If the file then turns out to hold the commit after all, its blocks are adopted:
//! nobody was told that they are in the chain, and they are valid. In the second and third case
//! blocks accepted meanwhile were built on lost ones and fail with them.
//!
//! [`Chain::room`]: crate::Chain::room

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::block::Block;
use crate::chain::{Accepted, Completion, Head, Shared};
use crate::error::{AppendError, StorageError};
use crate::record::decode;
use crate::store::{Fault, TipRecord};

/// Blocks in one commit at most, so that the first of them does not wait for ever.
const COMMIT_BLOCKS_MAX: usize = 4_096;

/// Bytes of records in one commit beyond which no further block is taken in: the transaction keeps
/// them all in memory.
const COMMIT_BYTES_ENOUGH: usize = 8 << 20;

/// Commits until the chain is closed and everything accepted is settled.
pub(crate) fn run(shared: &Shared) {
    while let Some(job) = next_job(shared) {
        match job {
            Job::Commit(batch) => commit(shared, batch),
            // Who asked has been answered already; the outcome is in the shared state.
            Job::Probe => drop(ensure_open(shared)),
        }
    }
    shared.store.close();
}

enum Job {
    Commit(Vec<Accepted>),
    Probe,
}

/// Waits for work; `None` when the chain is closed and nothing is left to settle.
fn next_job(shared: &Shared) -> Option<Job> {
    let mut state = shared.lock();
    loop {
        if !state.accepted.is_empty() {
            let mut bytes = 0;
            let mut batch = Vec::new();
            while batch.len() < COMMIT_BLOCKS_MAX
                && bytes < COMMIT_BYTES_ENOUGH
                && let Some(accepted) = state.accepted.pop_front()
            {
                bytes += accepted.record.len();
                batch.push(accepted);
            }
            return Some(Job::Commit(batch));
        }
        if state.closing {
            return None;
        }
        if std::mem::take(&mut state.probe) {
            return Some(Job::Probe);
        }
        state = shared
            .work
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

/// The part of an accepted block that outlives its commit.
type Waiting = (Arc<Block>, Completion);

fn commit(shared: &Shared, batch: Vec<Accepted>) {
    let opened = ensure_open(shared);
    let tip = shared.lock().tip;
    // False when opening showed that the file holds more than was known.
    let follows = batch
        .first()
        .is_some_and(|first| first.block.previous_hash == tip.hash);

    let mut end = tip;
    let mut records = Vec::with_capacity(batch.len());
    let mut waiting = Vec::with_capacity(batch.len());
    for accepted in batch {
        end = Head {
            length: end.length + 1,
            hash: accepted.block.hash,
            timestamp_ns: accepted.block.timestamp_ns,
            bytes: end.bytes + accepted.record.len() as u64,
        };
        records.push(accepted.record);
        waiting.push((accepted.block, accepted.completion));
    }
    if let Err(error) = opened {
        return fall_back(shared, waiting, &error.into());
    }
    if !follows {
        return fall_back(shared, waiting, &moved_to(tip));
    }

    let recorded = TipRecord {
        length: end.length,
        hash: end.hash,
        bytes: end.bytes,
    };
    match shared.store.commit(tip.length, &records, recorded) {
        Ok(()) => settle(shared, end, waiting),
        Err(fault) => match reopen(shared) {
            Ok(stored) if stored == end => settle(shared, end, waiting),
            _ => fall_back(shared, waiting, &fault.into_storage_error().into()),
        },
    }
}

/// The blocks up to `end` are durable: publishes them, then answers.
fn settle(shared: &Shared, end: Head, waiting: Vec<Waiting>) {
    shared.lock().tip = end;
    shared.commits.fetch_add(1, Ordering::Relaxed);
    publish(shared, end, waiting.iter().map(|(block, _)| block));
    for (block, completion) in waiting {
        shield(|| completion(Ok(block)));
    }
}

fn publish<'a>(shared: &Shared, end: Head, blocks: impl ExactSizeIterator<Item = &'a Arc<Block>>) {
    shared.length.store(end.length, Ordering::Relaxed);
    shared
        .appended
        .fetch_add(blocks.len() as u64, Ordering::Relaxed);
    let observers = shared
        .observers
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    for block in blocks {
        for observer in observers.iter() {
            shield(|| observer(block));
        }
    }
}

/// The blocks of `lost` are not in the chain, nor is anything built on them: puts the head back to
/// the tip and answers all of them with `error`.
fn fall_back(shared: &Shared, lost: Vec<Waiting>, error: &AppendError) {
    let built_on_lost = {
        let mut state = shared.lock();
        state.head = state.tip;
        shared.head_changed();
        std::mem::take(&mut state.accepted)
    };
    let built_on_lost = built_on_lost
        .into_iter()
        .map(|accepted| accepted.completion);
    for completion in lost
        .into_iter()
        .map(|(_, completion)| completion)
        .chain(built_on_lost)
    {
        shield(|| completion(Err(error.clone())));
    }
}

fn moved_to(tip: Head) -> AppendError {
    AppendError::TipMoved {
        length: tip.length,
        hash: tip.hash,
    }
}

/// Opens the store if a failure has closed it.
fn ensure_open(shared: &Shared) -> Result<(), StorageError> {
    if shared.store.is_open() {
        return Ok(());
    }
    let stored = reopen(shared)?;
    let known = shared.lock().tip;
    if stored != known {
        adopt(shared, known, stored).map_err(|fault| make_unavailable(shared, fault))?;
    }
    Ok(())
}

/// Closes the store, opens it and reads where the chain ends.
fn reopen(shared: &Shared) -> Result<Head, StorageError> {
    let known = shared.lock().tip;
    let reopened = shared.store.reopen().and_then(|()| stored_end(shared));
    match reopened {
        Ok(stored) if stored.length > known.length || stored == known => {
            shared.lock().unavailable = None;
            Ok(stored)
        }
        // Somebody has put another file there. Nothing may be appended to it.
        Ok(_) => {
            let message = "it has lost blocks that had been durable".to_owned();
            Err(make_unavailable(shared, Fault::Damaged(message)))
        }
        Err(fault) => Err(make_unavailable(shared, fault)),
    }
}

/// Closes the store until somebody makes the writer try again.
fn make_unavailable(shared: &Shared, fault: Fault) -> StorageError {
    shared.store.close();
    let error = fault.into_storage_error();
    shared.lock().unavailable = Some(error.clone());
    error
}

fn stored_end(shared: &Shared) -> Result<Head, Fault> {
    let snapshot = shared.store.snapshot()?;
    let missing = || Fault::Damaged("the end of the chain is missing".to_owned());
    let tip = snapshot.tip.ok_or_else(missing)?;
    let record = snapshot
        .get(tip.length.saturating_sub(1))?
        .ok_or_else(missing)?;
    let last = decode(&record).map_err(|reason| Fault::Damaged(reason.to_string()))?;
    Ok(Head {
        length: tip.length,
        hash: tip.hash,
        timestamp_ns: last.timestamp_ns,
        bytes: tip.bytes,
    })
}

/// Takes in the blocks of a commit that was believed lost. What was built on the old tip is stale.
fn adopt(shared: &Shared, known: Head, stored: Head) -> Result<(), Fault> {
    let snapshot = shared.store.snapshot()?;
    let mut blocks = Vec::new();
    for index in known.length..stored.length {
        let record = snapshot.get(index)?;
        let record = record.ok_or_else(|| Fault::Damaged(format!("block {index} is missing")))?;
        let block = decode(&record).map_err(|reason| Fault::Damaged(reason.to_string()))?;
        blocks.push(Arc::new(block));
    }
    if blocks
        .first()
        .is_some_and(|first| first.previous_hash != known.hash)
    {
        return Err(Fault::Damaged(
            "another chain has taken its place".to_owned(),
        ));
    }
    shared.lock().tip = stored;
    publish(shared, stored, blocks.iter());
    fall_back(shared, Vec::new(), &moved_to(stored));
    Ok(())
}

/// Runs code of others; a panic in it must not end the writer, which all appends depend on. The
/// panic hook has already printed it.
fn shield(foreign: impl FnOnce()) {
    drop(catch_unwind(AssertUnwindSafe(foreign)));
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::AtomicBool;
    use std::sync::{Mutex, mpsc};

    use super::*;
    use crate::candidate::Candidate;
    use crate::chain::{Chain, ChainOptions};
    use crate::difficulty::Difficulty;
    use crate::faulty::{Faults, faulty_opener};
    use crate::header::NONCE_LIMIT;
    use crate::receipt::Receipt;
    use crate::verify::verify;

    const EASY: ChainOptions = ChainOptions {
        max_bytes: 1 << 30,
        genesis_difficulty: Difficulty::MIN,
    };

    struct Fixture {
        _folder: tempfile::TempDir,
        path: PathBuf,
        faults: Arc<Faults>,
        chain: Chain,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.redb");
        Chain::open(&path, EASY).unwrap().close();
        let faults = Arc::new(Faults::default());
        let chain = Chain::open_with(&path, faulty_opener(&path, &faults), EASY).unwrap();
        Fixture {
            _folder: folder,
            path,
            faults,
            chain,
        }
    }

    impl Fixture {
        fn set(&self, fault: impl Fn(&Faults) -> &AtomicBool, on: bool) {
            fault(&self.faults).store(on, Ordering::Relaxed);
        }

        /// What a fresh process would find.
        #[track_caller]
        fn reopened_length(self) -> u64 {
            self.chain.close();
            let chain = Chain::open(&self.path, EASY).unwrap();
            assert!(verify(&chain).unwrap().valid);
            chain.length()
        }
    }

    fn append(chain: &Chain, data: &str) -> Receipt {
        let mut candidate = Candidate::new(chain, data, Difficulty::MIN);
        let nonce = candidate.search(0..NONCE_LIMIT).unwrap();
        chain.append(candidate.block(nonce, None))
    }

    /// Holds the writer inside an observer until told to go on.
    fn hold_writer(chain: &Chain) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (held, is_held) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let may_go_on = Mutex::new(may_go_on);
        chain.on_append(move |_| {
            // Both fail once the test has let go of its ends; then nobody is held.
            let _ = held.send(());
            let _ = may_go_on.lock().unwrap().recv();
        });
        (is_held, go_on)
    }

    #[test]
    fn blocks_that_come_during_a_commit_share_the_next_one() {
        let chain = Chain::in_memory(EASY).unwrap();
        let (is_held, go_on) = hold_writer(&chain);
        let first = append(&chain, "first");
        is_held.recv().unwrap();
        let receipts: Vec<_> = (0..100)
            .map(|i| append(&chain, &format!("later {i}")))
            .collect();
        drop((is_held, go_on));
        first.wait().unwrap();
        for receipt in receipts {
            receipt.wait().unwrap();
        }
        assert_eq!((chain.blocks_appended(), chain.commits()), (101, 2));
    }

    #[test]
    fn a_full_disk_fails_the_append_and_loses_no_acknowledged_block() {
        let fixture = fixture();
        let chain = &fixture.chain;
        append(chain, "kept").wait().unwrap();
        let tip = chain.tip();

        fixture.set(|faults| &faults.full, true);
        let error = append(chain, "lost").wait().unwrap_err();
        assert!(
            matches!(&error, AppendError::Storage(error) if error.is_full()),
            "{error:?}"
        );
        assert_eq!(chain.tip(), tip);
        assert_eq!(
            chain.head().hash,
            tip.hash,
            "the head falls back to the tip"
        );

        fixture.set(|faults| &faults.full, false);
        // The file could not be opened again while the disk was full; this append tries anew.
        append(chain, "after").wait().unwrap();
        assert_eq!(chain.newest(2).unwrap().map_data(), ["after", "kept"]);
        assert_eq!(fixture.reopened_length(), 3);
    }

    #[test]
    fn what_was_built_on_a_lost_block_fails_with_it() {
        let fixture = fixture();
        let chain = &fixture.chain;
        let (is_held, go_on) = hold_writer(chain);
        let kept = append(chain, "kept");
        is_held.recv().unwrap();
        // The writer stands in the observer of `kept`: both of these wait, the second on the first.
        let lost = append(chain, "lost");
        let built_on_lost = append(chain, "built on lost");
        fixture.set(|faults| &faults.full, true);
        drop((is_held, go_on));
        kept.wait().unwrap();
        assert!(lost.wait().is_err());
        assert!(built_on_lost.wait().is_err());
        assert_eq!(chain.head().length, 2);
        fixture.set(|faults| &faults.full, false);
        assert_eq!(fixture.reopened_length(), 2);
    }

    #[test]
    fn a_commit_that_arrived_although_the_disk_denied_it_is_acknowledged() {
        let fixture = fixture();
        let chain = &fixture.chain;
        fixture.set(|faults| &faults.sync_lies, true);
        let block = append(chain, "arrived").wait().unwrap();
        assert_eq!(block.data, "arrived");
        append(chain, "next").wait().unwrap();
        assert_eq!(fixture.reopened_length(), 3);
    }

    #[test]
    fn a_commit_found_later_is_adopted() {
        let fixture = fixture();
        let chain = &fixture.chain;
        let (seen, announced) = mpsc::channel();
        chain.on_append(move |block| seen.send(block.data.clone()).unwrap());

        fixture.set(|faults| &faults.sync_lies, true);
        fixture.set(|faults| &faults.unreachable, true);
        assert!(matches!(
            append(chain, "denied").wait(),
            Err(AppendError::Storage(_))
        ));
        assert!(chain.block(0).is_err(), "nothing to read from");
        assert_eq!(chain.length(), 1);

        fixture.set(|faults| &faults.unreachable, false);
        // Built on the tip that was known; the file says that there is one more.
        let stale = append(chain, "stale").wait().unwrap_err();
        assert!(
            matches!(stale, AppendError::TipMoved { length: 2, .. }),
            "{stale:?}"
        );
        assert_eq!(announced.recv().unwrap(), "denied");
        assert_eq!(chain.length(), 2);
        append(chain, "next").wait().unwrap();
        assert_eq!(fixture.reopened_length(), 3);
    }

    /// The attempt to open the file may come from a question for room instead of an append; the
    /// head has to move then too, or the next block would be stored in a place that is taken.
    #[test]
    fn a_commit_found_without_an_append_moves_the_head() {
        let fixture = fixture();
        let chain = &fixture.chain;
        fixture.set(|faults| &faults.sync_lies, true);
        fixture.set(|faults| &faults.unreachable, true);
        assert!(append(chain, "denied").wait().is_err());
        fixture.set(|faults| &faults.unreachable, false);
        while chain.room(0).is_err() {
            std::thread::yield_now();
        }
        while chain.length() == 1 {
            std::thread::yield_now();
        }
        append(chain, "next").wait().unwrap();
        assert_eq!(chain.newest(2).unwrap().map_data(), ["next", "denied"]);
        assert_eq!(fixture.reopened_length(), 3);
    }

    #[test]
    fn a_file_that_has_lost_durable_blocks_is_not_appended_to() {
        let fixture = fixture();
        let chain = &fixture.chain;
        append(chain, "durable").wait().unwrap();
        let older = fixture.path.with_extension("older");
        Chain::open(&older, EASY).unwrap().close();
        fixture.set(|faults| &faults.full, true);
        fixture.set(|faults| &faults.unreachable, true);
        assert!(append(chain, "lost").wait().is_err());

        std::fs::rename(&older, &fixture.path).unwrap();
        fixture.set(|faults| &faults.full, false);
        fixture.set(|faults| &faults.unreachable, false);
        assert!(matches!(
            append(chain, "next").wait(),
            Err(AppendError::Storage(_))
        ));
        assert_eq!(chain.length(), 2);
    }

    #[test]
    fn asking_for_room_makes_the_writer_try_the_disk_again() {
        let fixture = fixture();
        let chain = &fixture.chain;
        fixture.set(|faults| &faults.full, true);
        fixture.set(|faults| &faults.unreachable, true);
        assert!(append(chain, "lost").wait().is_err());
        fixture.set(|faults| &faults.full, false);
        fixture.set(|faults| &faults.unreachable, false);
        // Each call asks for one attempt; the first answer may still be the old one.
        while chain.room(0).is_err() {
            std::thread::yield_now();
        }
        assert_eq!(chain.block(0).unwrap().unwrap().index, 0);
    }

    #[test]
    fn a_panicking_observer_does_not_end_the_writer() {
        let chain = Chain::in_memory(EASY).unwrap();
        chain.on_append(|_| panic!("observer"));
        append(&chain, "one").wait().unwrap();
        append(&chain, "two").wait().unwrap();
        assert_eq!(chain.length(), 3);
    }

    #[test]
    fn closing_settles_what_was_accepted_and_refuses_the_rest() {
        let chain = Chain::in_memory(EASY).unwrap();
        let accepted: Vec<_> = (0..50).map(|i| append(&chain, &i.to_string())).collect();
        chain.close();
        for receipt in accepted {
            receipt.wait().unwrap();
        }
        let refused = append(&chain, "late").wait();
        assert_eq!(refused, Err(AppendError::Storage(StorageError::Closed)));
    }

    trait MapData {
        fn map_data(&self) -> Vec<&str>;
    }

    impl MapData for Vec<Block> {
        fn map_data(&self) -> Vec<&str> {
            self.iter().map(|block| block.data.as_str()).collect()
        }
    }
}
