//! The chain: one handle for appending, reading and verifying.
//!
//! Two ends of the chain are kept apart. The **tip** is the last block that is durable; readers see
//! the chain up to there. The **head** is the last block that was accepted; it is ahead of the tip
//! by the blocks that the writer thread has not committed yet, and it is what miners build on. A
//! block that is accepted becomes the head at once, so the others need not wait for the disk, and
//! its append is acknowledged when it is durable. If its commit fails, the head falls back to the
//! tip and nobody who was answered has lost a block.
//!
//! Who comes first is decided in one place, [`Chain::submit`]: under one lock the block is compared
//! with the head and either becomes it or is refused.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use crate::block::{Block, GENESIS_DATA, timestamp_ns_not_before};
use crate::difficulty::Difficulty;
use crate::error::{AppendError, OpenError, ReadError, StorageError};
use crate::hash::Hash;
use crate::header::{HEADER_VERSION, Header, NONCE_LIMIT};
use crate::listing::{Listing, Order, Pages};
use crate::proof::Search;
use crate::reason::Reason;
use crate::receipt::{Appended, Receipt, receipt};
use crate::record::{Previous, check_place, decode, encode, record_bytes};
use crate::salvage::Salvage;
use crate::store::{
    Fault, Opener, Snapshot, Store, TipRecord, file_creator, file_opener, memory_opener,
};
use crate::verify::{Broken, FirstBad, Stretch, Walk};
use crate::writer;

/// How a chain is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainOptions {
    /// The chain may not grow beyond this sum of record sizes, in bytes. A record is the block's
    /// data and 217 bytes. The file is larger: redb's pages are partly empty, and it grows in steps.
    pub max_bytes: u64,
    /// Difficulty of the genesis block, when one has to be mined.
    pub genesis_difficulty: Difficulty,
}

impl Default for ChainOptions {
    /// 4 GiB, and a genesis block of the default difficulty.
    fn default() -> ChainOptions {
        ChainOptions {
            max_bytes: 4 << 30,
            genesis_difficulty: Difficulty::DEFAULT,
        }
    }
}

/// The durable end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Number of blocks, genesis included.
    pub length: u64,
    /// Hash of the last block.
    pub hash: Hash,
    /// Timestamp of the last block, in nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
}

/// What the next block has to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: u64,
    pub(crate) hash: Hash,
    pub(crate) timestamp_ns: u64,
    pub(crate) bytes: u64,
}

/// Runs on the writer thread once a block is durable, or is known not to be.
pub(crate) type Completion = Box<dyn FnOnce(Appended) + Send>;

/// A block that was accepted and is not durable yet.
pub(crate) struct Accepted {
    pub(crate) block: Arc<Block>,
    pub(crate) record: Vec<u8>,
    pub(crate) completion: Completion,
}

type Observer = Box<dyn Fn(&Arc<Block>) + Send + Sync>;

/// A handle to an open chain. Clones share it; the file is closed when the last one is dropped, or
/// by [`close`](Chain::close).
#[derive(Clone)]
pub struct Chain {
    owner: Arc<Owner>,
}

/// Ends the writer thread with the last handle.
struct Owner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What handles and the writer thread share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) state: Mutex<State>,
    /// Signalled when the writer has something to do.
    pub(crate) work: Condvar,
    pub(crate) observers: RwLock<Vec<Observer>>,
    /// Counts changes of the head. A miner compares it between attempts instead of taking the lock.
    pub(crate) head_changes: AtomicU64,
    /// `state.tip.length`, for readers that want no lock.
    pub(crate) length: AtomicU64,
    pub(crate) appended: AtomicU64,
    pub(crate) commits: AtomicU64,
    max_bytes: u64,
}

pub(crate) struct State {
    pub(crate) tip: Head,
    pub(crate) head: Head,
    /// Accepted, in chain order; not yet taken by the writer.
    pub(crate) accepted: VecDeque<Accepted>,
    /// The store could not be opened again after a failure.
    pub(crate) unavailable: Option<StorageError>,
    /// Somebody wants to know whether the store can be opened again by now.
    pub(crate) probe: bool,
    pub(crate) closing: bool,
}

impl Chain {
    /// Opens the chain in the file `path` after verifying every block of it; creates it, with a
    /// mined genesis block, when there is no such file. Its folder must exist.
    ///
    /// Blocks the calling thread for as long as the verification takes.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] while the file is open elsewhere, [`OpenError::Damaged`] with the first
    /// bad block, [`OpenError::Storage`] when the system refuses.
    pub fn open(path: impl AsRef<Path>, options: ChainOptions) -> Result<Chain, OpenError> {
        let path = path.as_ref();
        if !path
            .try_exists()
            .map_err(|error| storage(path, error.into()))?
        {
            create(path, &options)?;
        }
        Chain::open_with(path, file_opener(path), options)
    }

    /// A chain that lives as long as its handles and touches no disk.
    ///
    /// # Errors
    ///
    /// [`OpenError::Storage`] when the writer thread cannot be started.
    pub fn in_memory(options: ChainOptions) -> Result<Chain, OpenError> {
        let path = Path::new(":memory:");
        let store = Store::open(memory_opener()).map_err(|fault| opening(path, fault))?;
        write_genesis(&store, &options).map_err(|fault| opening(path, fault))?;
        Chain::verified(path, store, options)
    }

    pub(crate) fn open_with(
        path: &Path,
        opener: Opener,
        options: ChainOptions,
    ) -> Result<Chain, OpenError> {
        let store = Store::open(opener).map_err(|fault| opening(path, fault))?;
        Chain::verified(path, store, options)
    }

    fn verified(path: &Path, store: Store, options: ChainOptions) -> Result<Chain, OpenError> {
        let tip = walk_all(&store).map_err(|broken| match broken {
            Broken::Bad(FirstBad { index, reason }) => OpenError::Damaged {
                path: path.to_owned(),
                index: match reason {
                    Reason::Database { .. } => first_lost(path).or(Some(index)),
                    _ => Some(index),
                },
                reason,
            },
            Broken::Fault(fault) => opening(path, fault),
        })?;
        let shared = Arc::new(Shared {
            store,
            state: Mutex::new(State {
                tip,
                head: tip,
                accepted: VecDeque::new(),
                unavailable: None,
                probe: false,
                closing: false,
            }),
            work: Condvar::new(),
            observers: RwLock::default(),
            head_changes: AtomicU64::new(0),
            length: AtomicU64::new(tip.length),
            appended: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            max_bytes: options.max_bytes,
        });
        let writer = thread::Builder::new()
            .name("chain-writer".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || writer::run(&shared)
            })
            .map_err(|error| storage(path, error.into()))?;
        Ok(Chain {
            owner: Arc::new(Owner {
                shared,
                writer: Mutex::new(Some(writer)),
            }),
        })
    }

    /// The last durable block. Takes a lock for some nanoseconds.
    pub fn tip(&self) -> Tip {
        let tip = self.shared().lock().tip;
        Tip {
            length: tip.length,
            hash: tip.hash,
            timestamp_ns: tip.timestamp_ns,
        }
    }

    /// Number of durable blocks, genesis included. Takes no lock.
    pub fn length(&self) -> u64 {
        self.shared().length.load(Ordering::Relaxed)
    }

    /// Blocks appended, and durable, since the chain was opened. Takes no lock.
    pub fn blocks_appended(&self) -> u64 {
        self.shared().appended.load(Ordering::Relaxed)
    }

    /// Durable commits since the chain was opened. One commit can hold many blocks, so this stays
    /// below [`blocks_appended`](Chain::blocks_appended) when blocks come faster than the disk
    /// takes them.
    pub fn commits(&self) -> u64 {
        self.shared().commits.load(Ordering::Relaxed)
    }

    /// Sum of the sizes of the durable blocks' records, in bytes.
    pub fn bytes(&self) -> u64 {
        self.shared().lock().tip.bytes
    }

    /// The limit that the chain was opened with, in bytes of records.
    pub fn max_bytes(&self) -> u64 {
        self.shared().max_bytes
    }

    /// Whether a block with `data_bytes` bytes of data could be appended now. Worth asking before
    /// starting to mine one.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`] at the chain's limit; [`AppendError::Storage`] while the store is
    /// unavailable after a failure, in which case asking also makes the writer try it again.
    pub fn room(&self, data_bytes: usize) -> Result<(), AppendError> {
        let shared = self.shared();
        let mut state = shared.lock();
        if let Some(error) = state.unavailable.clone() {
            state.probe = true;
            shared.work.notify_one();
            return Err(error.into());
        }
        shared.check_room(&state, data_bytes)
    }

    /// Calls `observer` for every block appended from now on, on the writer thread, after the block
    /// is durable and in chain order. An observer that takes long delays all appends, and one that
    /// registers another observer or closes the chain deadlocks: let it hand the block on.
    pub fn on_append(&self, observer: impl Fn(&Arc<Block>) + Send + Sync + 'static) {
        let mut observers = self
            .shared()
            .observers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        observers.push(Box::new(observer));
    }

    /// Appends `block`, which must follow the chain's last accepted block.
    ///
    /// Returns at once; the receipt tells when the block is durable.
    pub fn append(&self, block: Block) -> Receipt {
        let (answer, receipt) = receipt();
        self.submit(Arc::new(block), Box::new(|appended| answer.send(appended)));
        receipt
    }

    /// As [`append`](Chain::append), with the writer calling `completion`. When the block is
    /// refused at once, `completion` runs before this returns.
    pub(crate) fn submit(&self, block: Arc<Block>, completion: Completion) {
        let shared = self.shared();
        // Encoding and checking hash the data; not under the lock.
        let record = encode(&block);
        if let Err(reason) = decode(&record) {
            return completion(Err(AppendError::Invalid(reason)));
        }
        let mut state = shared.lock();
        match shared.accept(&mut state, &block) {
            Ok(()) => {
                state.accepted.push_back(Accepted {
                    block,
                    record,
                    completion,
                });
                shared.work.notify_one();
            }
            Err(error) => {
                drop(state);
                completion(Err(error));
            }
        }
    }

    /// The block at `index`; `None` at and beyond the end. Reads from the disk unless cached.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the block is damaged or the store fails.
    pub fn block(&self, index: u64) -> Result<Option<Block>, ReadError> {
        let damaged = |reason| ReadError::Damaged { index, reason };
        let record = self
            .snapshot()
            .and_then(|snapshot| snapshot.get(index))
            .map_err(|fault| reading(index, fault))?;
        record
            .map(|record| decode(&record).map_err(damaged))
            .transpose()
    }

    /// The `count` newest blocks, newest first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when a block is damaged or the store fails.
    pub fn newest(&self, count: u64) -> Result<Vec<Block>, ReadError> {
        let mut pages = self.list(Listing {
            limit: Some(count),
            order: Order::Descending,
            offset: 0,
        });
        let mut blocks = Vec::new();
        while let Some(page) = pages.next_page()? {
            blocks.extend(page);
        }
        Ok(blocks)
    }

    /// Lists the blocks that are durable now, a page at a time.
    pub fn list(&self, listing: Listing) -> Pages {
        Pages::new(self.clone(), self.length(), listing)
    }

    /// Waits until everything accepted is durable, then ends the writer and closes the file.
    /// Afterwards appends and reads fail with [`StorageError::Closed`].
    pub fn close(&self) {
        self.owner.close();
    }

    pub(crate) fn head(&self) -> Head {
        self.shared().lock().head
    }

    /// A number that is another one whenever the head is another one.
    pub(crate) fn head_changes(&self) -> u64 {
        // Acquire pairs with the Release in `Shared::head_changed`: who sees the number sees at
        // least that head under the lock. (The lock alone would do; the pairing keeps a miner from
        // reading an old head with a new number and then building on it for a whole turn.)
        self.shared().head_changes.load(Ordering::Acquire)
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, Fault> {
        self.shared().store.snapshot()
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("tip", &self.tip())
            .finish_non_exhaustive()
    }
}

impl Owner {
    fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // The last handle may die on the writer thread itself, inside a completion; it then ends
        // by itself when its queue is empty.
        if let Some(writer) = writer
            && writer.thread().id() != thread::current().id()
        {
            // The writer shields itself against every panic of others; a panic of its own has
            // been printed, and there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// A panic while the lock is held could leave head and queue apart, but no code under it
    /// panics; going on is better than failing every later append.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called under the lock, after the head was changed.
    pub(crate) fn head_changed(&self) {
        // Release pairs with the Acquire in `Chain::head_changes`.
        self.head_changes.fetch_add(1, Ordering::Release);
    }

    /// Makes `block` the head, or says why not.
    fn accept(&self, state: &mut State, block: &Block) -> Result<(), AppendError> {
        if state.closing {
            return Err(StorageError::Closed.into());
        }
        let head = state.head;
        if block.previous_hash != head.hash || block.index != head.length {
            return Err(AppendError::TipMoved {
                length: head.length,
                hash: head.hash,
            });
        }
        let previous = Previous {
            hash: head.hash,
            timestamp_ns: head.timestamp_ns,
        };
        check_place(block, head.length, Some(previous)).map_err(AppendError::Invalid)?;
        self.check_room(state, block.data.len())?;
        state.head = Head {
            length: head.length + 1,
            hash: block.hash,
            timestamp_ns: block.timestamp_ns,
            bytes: head.bytes + record_bytes(block.data.len()),
        };
        self.head_changed();
        Ok(())
    }

    fn check_room(&self, state: &State, data_bytes: usize) -> Result<(), AppendError> {
        if state.head.bytes + record_bytes(data_bytes) > self.max_bytes {
            return Err(AppendError::Full {
                limit_bytes: self.max_bytes,
            });
        }
        Ok(())
    }
}

/// Writes a chain of one mined block to `path`, or leaves what somebody else put there meanwhile.
///
/// The file is made under another name and linked to `path` when it is whole: whoever is killed in
/// between leaves no half-made chain, and `hard_link` never replaces a file as `rename` would.
fn create(path: &Path, options: &ChainOptions) -> Result<(), OpenError> {
    let failed = |error: io::Error| storage(path, error.into());
    let draft = sibling(path, "new");
    // A draft that nobody holds open is what a killed start left behind. One that is held open
    // makes the next line fail with `InUse`.
    let store = match Store::open(file_creator(&draft)) {
        Err(Fault::Damaged(_)) => {
            fs::remove_file(&draft).map_err(failed)?;
            Store::open(file_creator(&draft))
        }
        opened => opened,
    }
    .map_err(|fault| opening(path, fault))?;
    write_genesis(&store, options).map_err(|fault| opening(path, fault))?;
    store.close();
    match fs::hard_link(&draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    fs::remove_file(&draft).map_err(failed)?;
    sync_folder(path).map_err(failed)
}

/// Makes the names in the folder of `path` durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::File::open(folder)?.sync_all()
}

/// `path` with `.suffix` behind its file name.
pub(crate) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn write_genesis(store: &Store, options: &ChainOptions) -> Result<(), Fault> {
    let mut header = Header {
        version: HEADER_VERSION,
        difficulty: options.genesis_difficulty,
        index: 0,
        timestamp_ns: timestamp_ns_not_before(0),
        previous_hash: Hash::ZERO,
        data_hash: Hash::of(GENESIS_DATA.as_bytes()),
        nonce: 0,
    };
    let mut search = Search::new(&header.encode(), header.difficulty);
    // 2^53 attempts for at most 32 bits fail with a probability of e^-2097152.
    header.nonce = search
        .find(0..NONCE_LIMIT)
        .expect("a nonce below 2^53 fits");
    let genesis = Block::new(&header, GENESIS_DATA.to_owned(), None);
    let record = encode(&genesis);
    let tip = TipRecord {
        length: 1,
        hash: genesis.hash,
        bytes: record.len() as u64,
    };
    store.commit(0, &[record], tip)
}

/// Verifies everything and returns the end of the chain.
fn walk_all(store: &Store) -> Result<Head, Broken> {
    let snapshot = store.snapshot().map_err(Broken::Fault)?;
    let mut walk = Walk::new(&snapshot);
    while walk.advance(&snapshot, u64::MAX)? == Stretch::More {}
    let last = walk.last().ok_or(Broken::Bad(FirstBad {
        index: 0,
        reason: Reason::Missing { length: 0 },
    }))?;
    Ok(Head {
        length: walk.good(),
        hash: last.hash,
        timestamp_ns: last.timestamp_ns,
        bytes: walk.bytes(),
    })
}

fn storage(path: &Path, source: StorageError) -> OpenError {
    OpenError::Storage {
        path: path.to_owned(),
        source,
    }
}

fn opening(path: &Path, fault: Fault) -> OpenError {
    match fault {
        Fault::InUse => OpenError::InUse {
            path: path.to_owned(),
        },
        Fault::Damaged(message) => OpenError::Damaged {
            path: path.to_owned(),
            index: first_lost(path),
            reason: Reason::Database { message },
        },
        Fault::Failed(error) => storage(path, error),
    }
}

/// The first block that a file does not hold any more. A damaged database cannot say which one it
/// lost, but those that are still there can. `None` when there is none at all.
fn first_lost(path: &Path) -> Option<u64> {
    let found = Salvage::scan(path).ok()?.len();
    (found > 0).then_some(found)
}

/// A fault met while reading the block at `index`.
pub(crate) fn reading(index: u64, fault: Fault) -> ReadError {
    match fault {
        Fault::Damaged(message) => ReadError::Damaged {
            index,
            reason: Reason::Database { message },
        },
        fault => ReadError::Storage(fault.into_storage_error()),
    }
}
