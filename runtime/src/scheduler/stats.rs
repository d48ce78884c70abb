//! A worker's counters. One writer each: a load and a store, no read-modify-write.

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64};

use crate::monitor::LatencyCounts;
use crate::routine::Header;
use crate::routine::context::Deeper;
use crate::scheduler::strategy::choose::Appetite;
use crate::snapshot::{Source, WaitReason, WorkerState};
use crate::stack::sites::{Sight, Sites};
use crate::topology::Topology;

/// Of [`WorkerStats::processor`]: it has not looked.
const NO_PROCESSOR: u32 = u32::MAX;

/// Written by the thread that holds the worker, read by anyone. Aligned to two cache lines, because
/// processors fetch lines in pairs.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct WorkerStats {
    pub(crate) state: AtomicU8,
    pub(crate) thread_id: AtomicI32,
    /// The block of the routine that runs, null between turns.
    pub(crate) routine: AtomicPtr<Header>,
    pub(crate) turn_started: AtomicU64,
    pub(crate) turns: [AtomicU64; Source::COUNT],
    /// Of turns that were recorded.
    pub(crate) turn_lengths: LatencyCounts,
    pub(crate) steal_attempts: AtomicU64,
    pub(crate) steals: AtomicU64,
    pub(crate) stolen_from: Box<[AtomicU64]>,
    /// What an adaptive thief takes at once now, and how often it looks.
    pub(crate) steal_amount: AtomicU32,
    pub(crate) search_rounds: AtomicU32,
    /// Where the worker ran when it last looked, or [`NO_PROCESSOR`].
    pub(crate) processor: AtomicU32,
    /// Requests to fetch work from another worker that were fulfilled, and routines fetched.
    pub(crate) rebalances: AtomicU64,
    pub(crate) rebalanced: AtomicU64,
    /// Turns of routines that had run elsewhere before, and keyed ones fetched.
    pub(crate) migrations: AtomicU64,
    pub(crate) parks: AtomicU64,
    pub(crate) wakes: AtomicU64,
    pub(crate) yields: AtomicU64,
    /// Routines that came here because of their key.
    pub(crate) keyed: AtomicU64,
    /// Turns under a travelling home, and those put off because it was taken.
    pub(crate) mounts: AtomicU64,
    pub(crate) busy_homes: AtomicU64,
    pub(crate) stack_growths: AtomicU64,
    pub(crate) busy_ns: AtomicU64,
    pub(crate) searching_ns: AtomicU64,
    pub(crate) spawned: AtomicU64,
    pub(crate) started: AtomicU64,
    /// Routines whose result is stored.
    pub(crate) ended: AtomicU64,
    /// Routines that have left their stack for the last time: no code of theirs will run.
    pub(crate) gone: AtomicU64,
    pub(crate) panicked: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) blocks: [AtomicU64; WaitReason::COUNT],
    pub(crate) readies: [AtomicU64; WaitReason::COUNT],
    /// Routines that came into a bucket here less those that left one here; only the sum over all
    /// workers is a count.
    pub(crate) high_water: [AtomicI64; 16],
    /// How deep stacks were, by spawn site.
    pub(crate) sites: Sites,
}

/// Adds to a counter that only the calling thread writes.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    // Release pairs with the acquire loads of the snapshot, which reads later stages of a routine's
    // life before earlier ones.
    counter.store(counter.load(Relaxed) + n, Release);
}

impl WorkerStats {
    pub(crate) fn new(workers: usize) -> WorkerStats {
        WorkerStats {
            state: AtomicU8::new(WorkerState::Parked as u8),
            thread_id: AtomicI32::new(0),
            routine: AtomicPtr::new(std::ptr::null_mut()),
            turn_started: AtomicU64::new(0),
            turns: Default::default(),
            turn_lengths: LatencyCounts::new(),
            steal_attempts: AtomicU64::new(0),
            steals: AtomicU64::new(0),
            stolen_from: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            steal_amount: AtomicU32::new(Appetite::FIRST.amount),
            search_rounds: AtomicU32::new(Appetite::FIRST.rounds),
            processor: AtomicU32::new(NO_PROCESSOR),
            rebalances: AtomicU64::new(0),
            rebalanced: AtomicU64::new(0),
            migrations: AtomicU64::new(0),
            parks: AtomicU64::new(0),
            wakes: AtomicU64::new(0),
            yields: AtomicU64::new(0),
            keyed: AtomicU64::new(0),
            mounts: AtomicU64::new(0),
            busy_homes: AtomicU64::new(0),
            stack_growths: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            searching_ns: AtomicU64::new(0),
            spawned: AtomicU64::new(0),
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            blocks: Default::default(),
            readies: Default::default(),
            high_water: Default::default(),
            sites: Sites::new(),
        }
    }

    /// The processor on which the worker ran when it last looked.
    pub(crate) fn processor(&self) -> Option<u32> {
        Some(self.processor.load(Relaxed)).filter(|processor| *processor != NO_PROCESSOR)
    }

    /// The memory node of that, if there are several.
    pub(crate) fn node(&self) -> Option<u32> {
        Topology::of_machine()?.node(self.processor()?)
    }

    pub(crate) fn count_turn(&self, source: Source) {
        add(&self.turns[source as usize], 1);
    }

    pub(crate) fn count_block(&self, why: WaitReason) {
        add(&self.blocks[why as usize], 1);
    }

    pub(crate) fn count_ready(&self, why: WaitReason) {
        add(&self.readies[why as usize], 1);
    }

    pub(crate) fn set_state(&self, state: WorkerState) {
        self.state.store(state as u8, Relaxed);
    }

    /// A routine was seen deeper than ever before. Not inlined: most turns end without it.
    #[inline(never)]
    pub(crate) fn count_depth(&self, header: &Header, seen: Deeper) {
        let grown = seen.from.is_some_and(|from| from != seen.to);
        let sight = Sight {
            class: header.class(),
            depth: seen.depth,
            first: seen.from.is_none(),
            grown,
        };
        self.sites.note(header.site(), sight);
        if seen.from != Some(seen.to) {
            self.count_growth(seen.from, seen.to);
        }
    }

    /// A routine's deepest stack moved to another bucket.
    fn count_growth(&self, from: Option<usize>, to: usize) {
        let step = |bucket: usize, by: i64| {
            let cell = &self.high_water[bucket];
            cell.store(cell.load(Relaxed) + by, Relaxed);
        };
        if let Some(from) = from {
            step(from, -1);
            add(&self.stack_growths, 1);
        }
        step(to, 1);
    }
}

/// What threads that are no workers did. Many writers, so read-modify-write; rare.
#[derive(Debug, Default)]
pub(crate) struct ForeignStats {
    pub(crate) spawned: AtomicU64,
    /// Routines that never ran: see [`crate::routine::body::Unrun`].
    pub(crate) ended: AtomicU64,
    pub(crate) gone: AtomicU64,
    pub(crate) panicked: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) readies: [AtomicU64; WaitReason::COUNT],
    pub(crate) wakes: AtomicU64,
}
